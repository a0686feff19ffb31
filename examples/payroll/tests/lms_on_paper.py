"""LMS as far as its payroll topic goes: it books, closes months, and can be restored to an earlier moment."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from payroll_subscriber.store import Message

CALENDAR = "payroll-calendar-monthly"
LOG = "log-leave.payroll.v1"


@dataclass
class Recorded:
    """A fact in the log; `partition` None: in every one."""

    stream: str
    epoch: int
    version: int
    type: str
    data: dict[str, Any]
    partition: int | None


@dataclass
class Lms:
    """The log, and the topic as it stands; `furthest`: so many months were ever closed."""

    partitions: int = 3
    epoch: int = 1
    furthest: int = 0
    log: list[Recorded] = field(default_factory=list)
    topic: list[list[Message]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.topic = [[] for _ in range(self.partitions)]

    @property
    def open_month(self) -> int:
        """The first month that is not closed, counted from 0."""
        return sum(1 for one in self.log if one.stream == CALENDAR)

    def book(self, employee: int, *lines: tuple[int, int], kind: str = "absence.confirmed") -> None:
        """Tell of an absence: (month, minutes) of each line, booked in the first open month if theirs is closed."""
        told = [
            {
                "date": f"{month(number)}-0{place + 1}", "part": "full", "entitlement_minutes": minutes,
                "scheduled_minutes": minutes // 2, "pay_code": "ANN", "paid": True, "cost_centre": "4100",
                "period": month(max(number, self.open_month)),
                "original_period": None if number >= self.open_month else month(number),
            }
            for place, (number, minutes) in enumerate(lines)
        ]  # fmt: skip
        data = {
            "absence_id": f"absence-{len(self.log)}", "revision": 1, "employee_id": f"e{employee}",
            "leave_type": "annual", "lines": told,
        }  # fmt: skip
        self._append(f"absences-e{employee}", kind, data, employee % self.partitions)

    def close(self) -> None:
        """Close the next month, with its control totals."""
        period = month(self.open_month)
        lines = [line for one in self.log for line in one.data.get("lines", ()) if line["period"] == period]
        data = {
            "period": period, "closed_by": "pat", "line_count": len(lines),
            "entitlement_minutes": sum(line["entitlement_minutes"] for line in lines),
            "scheduled_minutes": sum(line["scheduled_minutes"] for line in lines),
        }  # fmt: skip
        self._append(CALENDAR, "period.closed", data, None)
        self.furthest = max(self.furthest, self.open_month)

    def restore(self, kept: int) -> None:
        """Go back to the moment after so many facts: the topic is made anew, with what was kept."""
        lost = self.log[kept:]
        self.log, self.epoch = self.log[:kept], self.epoch + 1
        self.topic = [[] for _ in range(self.partitions)]
        for one in self.log:
            self._publish(one)
        self._append(LOG, "log.restored", {"kept": kept, "abandoned": len(lost)}, None)

    def totals(self) -> Counter[str]:
        """Entitlement minutes by employee, as the log stands."""
        found: Counter[str] = Counter()
        for one in self.log:
            for line in one.data.get("lines", ()):
                found[one.data["employee_id"]] += line["entitlement_minutes"]
        return found

    @property
    def last_booked(self) -> str:
        """The last month in which anything is booked."""
        return max((line["period"] for one in self.log for line in one.data.get("lines", ())), default="")

    def messages(self) -> list[Message]:
        """Everything on the topic, partition by partition."""
        return [message for partition in self.topic for message in partition]

    def repeat(self, partition: int, until: int) -> None:
        """Deliver a prefix of a partition again, at new offsets."""
        for message in self.topic[partition][:until]:
            self._put(partition, list(message.headers), message.value or b"")

    def tell(self, stream: str, kind: str, data: dict[str, Any], partition: int) -> None:
        """Record any fact."""
        self._append(stream, kind, data, partition)

    def _append(self, stream: str, kind: str, data: dict[str, Any], partition: int | None) -> None:
        version = sum(1 for one in self.log if one.stream == stream) + 1
        self.log.append(Recorded(stream, self.epoch, version, kind, data, partition))
        self._publish(self.log[-1])

    def _publish(self, fact: Recorded) -> None:
        headers = {
            "ce_id": f"{fact.stream}.{fact.version}.{fact.epoch}", "ce_source": "requests", "ce_type": fact.type,
            "ce_stream": fact.stream, "ce_streamversion": str(fact.version), "ce_logepoch": str(fact.epoch),
        }  # fmt: skip
        if fact.partition is None:
            headers["ce_copies"] = str(self.partitions)
        for number in range(self.partitions) if fact.partition is None else (fact.partition,):
            self._put(number, [(name, text.encode()) for name, text in headers.items()], json.dumps(fact.data).encode())

    def _put(self, partition: int, headers: list[tuple[str, bytes]], value: bytes) -> None:
        self.topic[partition].append(Message(partition, len(self.topic[partition]), headers, value))


def month(number: int) -> str:
    """Return the month of a number: 0 is January 2026."""
    return f"{2026 + number // 12}-{number % 12 + 1:02}"
