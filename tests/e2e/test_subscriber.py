"""Payroll, end to end: what people and managers do comes out as files that add up to the leave balances, to the minute.

Two copies of every service run; the example subscriber is killed, and the whole topic is delivered to it twice. What is
compared stands on Kafka alone.
"""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiokafka import AIOKafkaProducer
from tests.e2e.company import Company, Employee
from tests.faults import invariants
from tests.waiting import eventually

from lms.cli.system import System

TOPIC = "leave.payroll.v1"
ASYNCAPI: dict[str, Any] = json.loads((Path(__file__).parents[2] / "docs/asyncapi.json").read_text(encoding="utf-8"))
PART_TIME = [{"morning_minutes": 192, "afternoon_minutes": 192}] * 4 + [
    {"morning_minutes": 0, "afternoon_minutes": 0}
] * 3
Minutes = Counter[tuple[str, str]]
"""By employee and leave type."""

pytestmark = pytest.mark.timeout(600)


class Subscriber:
    """The example, following the topic as a process of its own, until it is killed."""

    def __init__(self, system: System, folder: Path) -> None:
        self.folder = folder
        self._system = system
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, "the subscriber has ended by itself"
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            self.kill()

    def once(self, *more: str) -> None:
        """Read what there is, and end."""
        done = subprocess.run(self._command("--once", *more), capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def _command(self, *more: str) -> list[str]:
        return [
            sys.executable, "-m", "payroll_subscriber", "--bootstrap-servers", self._system.kafka.bootstrap_servers,
            "--folder", str(self.folder), *more,
        ]  # fmt: skip

    def files(self) -> dict[str, list[dict[str, str]]]:
        """Return the lines of each file by its month."""
        found = {}
        for path in sorted(self.folder.glob("absences-*.csv")):
            with path.open(encoding="utf-8", newline="") as file:
                found[path.stem.removeprefix("absences-")] = list(csv.DictReader(file))
        return found

    def bytes(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob("*.csv"))}


@pytest.fixture
def subscriber(system: System, tmp_path: Path) -> Iterator[Subscriber]:
    made = Subscriber(system, tmp_path / "followed")
    yield made
    made.close()


@pytest.fixture(scope="module")
def pat(company: Company) -> Employee:
    """Somebody of payroll."""
    return company.hire(roles=("employee", "payroll"))


def close_through(company: Company, pat: Employee, last: str) -> None:
    """Close every month up to one that nobody has closed yet, from the first in which anything is booked."""
    items = company.do("GET", "/payroll/periods?limit=200", pat)["items"]
    closed = [one["period"] for one in items if one["state"] == "closed"]
    period = _next(closed[-1]) if closed else min(one["period"] for one in items)
    while period <= last:
        assert company.do("POST", f"/payroll/periods/{period}/close", pat)["state"] == "closed"
        period = _next(period)


def _next(period: str) -> str:
    year, month = map(int, period.split("-"))
    return f"{year + month // 12}-{month % 12 + 1:02}"


async def on_topic(system: System, topic: str) -> list[tuple[dict[str, str], Any, Any]]:
    """Return headers, value and message of every fact of a service on a topic, each once, each stream in its order."""
    seen: set[tuple[str, str, int]] = set()
    found = []
    for message in await invariants.messages(system, topic):
        headers = {name: text.decode() for name, text in message.headers}
        copy = message.partition if "ce_copies" in headers else 0
        key = (headers["ce_stream"], headers["ce_streamversion"], copy)
        if key not in seen and headers["ce_source"] != "test":
            seen.add(key)
            found.append((headers, json.loads(message.value), message))
    return found


async def debits(system: System) -> Minutes:
    """Return what the balances' topic says that everybody has taken."""
    taken: Minutes = Counter()
    for headers, fact, _ in await on_topic(system, "leave.balances.v1"):
        recharged = headers["ce_type"] == "balance.recharged" and fact["booking"] == "debit"
        if recharged or headers["ce_type"] in {"balance.debited", "balance.credited"}:
            for entry in fact["entries"]:
                taken[fact["employee_id"], fact["leave_type"]] -= entry["minutes"]
    return taken


async def booked(system: System, *, through: str | None = None) -> Minutes:
    """Return what the payroll topic books for everybody, in all months or up to one."""
    found: Minutes = Counter()
    for headers, fact, _ in await on_topic(system, TOPIC):
        if headers["ce_type"].startswith("absence."):
            for line in fact["lines"]:
                if through is None or line["period"] <= through:
                    found[fact["employee_id"], fact["leave_type"]] += line["entitlement_minutes"]
    return found


async def deliver_again(system: System) -> None:
    """Let the whole topic come a second time, each message in its partition."""
    producer = AIOKafkaProducer(bootstrap_servers=system.kafka.bootstrap_servers, acks="all")
    await producer.start()
    for message in await invariants.messages(system, TOPIC):
        await producer.send(
            TOPIC, message.value, key=message.key, partition=message.partition, headers=list(message.headers)
        )
    await producer.stop()


def _some(minutes: Minutes) -> dict[tuple[str, str], int]:
    return {key: value for key, value in minutes.items() if value}


class Story:
    """Four people, one manager, and what they do in a summer."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.annual = company.leave_type(pay_code="ANN")
        self.hours = company.leave_type(pay_code="HRS", unit="hour", limited=False)
        company.policy(self.annual, 20, "2026-01-01")
        self.manager = company.hire(roles=("employee", "manager"))
        part_time = company.schedule(PART_TIME)
        self.anna, self.carl = company.hire(manager=self.manager), company.hire(manager=self.manager)
        self.ben = company.hire(manager=self.manager, schedule=part_time)
        location, self.calendar = company.location()
        self.dora = company.hire(manager=self.manager, location=location)
        for person in (self.anna, self.ben, self.carl):
            company.becomes(person, self.annual, "20.00")

    def take(self, who: Employee, start: str, end: str, leave_type: str | None = None, **more: Any) -> Any:
        return self.company.take(who, self.manager, leave_type or self.annual, start, end, **more)

    def amend(self, who: Employee, request: Any, **changes: str) -> None:
        """Amend, and have it approved."""
        changed = self.company.do("POST", f"/leave-requests/{request['id']}/amend", who, changes, Prefer="wait=10")
        self._decided(request, changed)

    def cancel(self, who: Employee, request: Any, *days: str, asked: bool = False) -> None:
        """Cancel the leave, or days of it; `asked`: it has begun, and the manager agrees."""
        body = {"dates": list(days)} if days else {}
        changed = self.company.do("POST", f"/leave-requests/{request['id']}/cancel", who, body, Prefer="wait=10")
        if asked:
            self._decided(request, changed)
        elif not days:
            self.company.until_status(request["id"], "cancelled")
        else:
            self._stands(request)

    def _decided(self, request: Any, changed: Any) -> None:
        answer = self.company.decide(self.manager, request, revision=changed["revision"])
        assert answer.is_success, answer.text
        self._stands(request)

    def _stands(self, request: Any) -> None:
        eventually(
            lambda: (now := self.company.request(request["id"])) and now["open"] is None and now["settled"],
            f"{request['id']} does not settle",
        )

    def june_and_july(self) -> None:
        """Plan: part-time leave, amended leave, cancelled days, cancelled leave, hours, leave over a month's end."""
        self.over_the_month = self.take(self.anna, "2026-07-30", "2026-08-04")
        self.june = self.take(self.ben, "2026-06-08", "2026-06-12")
        self.amend(self.anna, self.over_the_month, end_date="2026-08-05")
        self.cancel(self.ben, self.june, "2026-06-09")
        self.cancel(self.carl, self.take(self.carl, "2026-06-15", "2026-06-19"))
        self.july = self.take(self.carl, "2026-07-06", "2026-07-10")
        self.take(self.carl, "2026-07-13", "2026-07-13", self.hours, from_time="09:00", to_time="10:30")
        self.of_dora = self.take(self.dora, "2026-07-01", "2026-07-02", self.hours)

    def after_the_close_of_july(self) -> None:
        """Correct what is closed, and confirm late."""
        self.cancel(self.carl, self.july, "2026-07-07", asked=True)
        self.cancel(self.anna, self.over_the_month, asked=True)
        self.take(self.ben, "2026-07-20", "2026-07-21")
        holiday = {"date": "2026-07-02", "name": "Proclaimed later", "part": "morning"}
        self.company.do("POST", f"/holiday-calendars/{self.calendar}/holidays", body={"holidays": [holiday]})
        eventually(
            lambda: self.company.request(self.of_dora["id"])["amount"]["minutes"] == 480 + 240,
            "the morning that became a holiday is not taken out",
        )


async def test_the_files_of_a_subscriber_equal_the_debits_of_the_balances(
    system: System, company: Company, pat: Employee, subscriber: Subscriber, tmp_path: Path
) -> None:
    company.set_clock("2026-05-11")
    story = await asyncio.to_thread(Story, company)
    subscriber.start()
    await asyncio.to_thread(story.june_and_july)
    subscriber.kill()
    company.set_clock("2026-08-10")
    await asyncio.to_thread(close_through, company, pat, "2026-07")
    subscriber.start()
    await asyncio.to_thread(story.after_the_close_of_july)
    await deliver_again(system)
    subscriber.kill()
    subscriber.start()
    await asyncio.to_thread(close_through, company, pat, "2026-08")
    await invariants.at_rest(system)
    await asyncio.to_thread(eventually, lambda: "2026-08" in subscriber.files(), "the subscriber writes no August")
    subscriber.kill()
    subscriber.once()
    await _says_what_happened(story, subscriber.files())
    await _adds_up(system, subscriber.files())
    fresh = Subscriber(system, tmp_path / "fresh")
    fresh.once()
    assert fresh.bytes() == subscriber.bytes()
    fresh.once("--from-beginning")
    assert fresh.bytes() == subscriber.bytes()
    await invariants.check(system)


async def _says_what_happened(story: Story, files: dict[str, list[dict[str, str]]]) -> None:
    def lines(period: str, who: Employee) -> list[tuple[str, str, int, int, str]]:
        return [
            (one["date"], one["pay_code"], int(one["entitlement_minutes"]), int(one["scheduled_minutes"]),
             one["original_period"])
            for one in files[period] if one["employee_id"] == who.id
        ]  # fmt: skip

    # Ben works four short days: a day is 480 nominal and 384 real minutes. One was cancelled, the fifth is his day off.
    june = [(day, "ANN", sign * 480, sign * 384, "") for day, sign in (
        ("2026-06-08", 1), ("2026-06-09", 1), ("2026-06-09", -1), ("2026-06-10", 1), ("2026-06-11", 1),
    )]  # fmt: skip
    assert lines("2026-06", story.ben) == june
    assert sum(minutes for _, _, minutes, _, _ in lines("2026-06", story.carl)) == 0
    july = [("2026-07-30", "ANN", 480, 480, ""), ("2026-07-31", "ANN", 480, 480, "")]
    assert lines("2026-07", story.anna) == july
    assert ("2026-07-13", "HRS", 90, 90, "") in lines("2026-07", story.carl)
    # What was corrected after the close of July is in August's file, and names July.
    revoked = [(day, "ANN", -480, -480, "2026-07") for day in ("2026-07-30", "2026-07-31")]
    august = [(f"2026-08-0{day}", "ANN", sign * 480, sign * 480, "") for day in (3, 4, 5) for sign in (1, -1)]
    assert lines("2026-08", story.anna) == revoked + august
    assert lines("2026-08", story.carl) == [("2026-07-07", "ANN", -480, -480, "2026-07")]
    halved = [("2026-07-02", "HRS", -480, -480, "2026-07"), ("2026-07-02", "HRS", 240, 240, "2026-07")]
    assert lines("2026-08", story.dora) == halved
    late = [(day, "ANN", 480, 384, "2026-07") for day in ("2026-07-20", "2026-07-21")]
    assert lines("2026-08", story.ben) == late


async def _adds_up(system: System, files: dict[str, list[dict[str, str]]]) -> None:
    """Compare everybody whom the whole session has employed."""
    taken, told = await debits(system), await booked(system)
    assert _some(told) == _some(taken)
    filed: Minutes = Counter()
    for lines in files.values():
        for line in lines:
            filed[line["employee_id"], line["leave_type"]] += int(line["entitlement_minutes"])
    assert _some(filed) == _some(await booked(system, through=max(files)))


async def test_a_month_is_closed_in_every_partition_behind_all_its_lines(system: System, company: Company) -> None:
    assert company
    closed: dict[int, list[str]] = {}
    for headers, fact, message in await on_topic(system, TOPIC):
        if headers["ce_type"] == "period.closed":
            assert headers["ce_copies"] == "24"
            closed.setdefault(message.partition, []).append(fact["period"])
        else:
            behind = max(closed.get(message.partition, [""]))
            assert all(line["period"] > behind for line in fact["lines"]), (message.partition, fact)
    assert len(closed) == 24
    assert len({tuple(periods) for periods in closed.values()}) == 1


async def test_what_stands_on_the_topic_is_what_the_asyncapi_document_says(system: System, company: Company) -> None:
    assert company
    messages = await on_topic(system, TOPIC)
    assert {headers["ce_type"] for headers, _, _ in messages} == {
        "absence.confirmed", "absence.corrected", "absence.revoked", "period.closed",
    }  # fmt: skip
    channel = ASYNCAPI["channels"][TOPIC]
    assert channel["bindings"]["kafka"]["partitions"] == 24
    for headers, fact, _ in messages:
        message = ASYNCAPI["components"]["messages"][f"{headers['ce_type']}.v1"]
        for schema, value in ((message["headers"], headers), (message["payload"], fact)):
            whole = {"allOf": [schema], "components": ASYNCAPI["components"]}
            jsonschema.Draft202012Validator(whole).validate(value)


def test_the_same_lines_can_be_pulled(company: Company, pat: Employee) -> None:
    """The months that the first test has closed, through the gateway."""
    months = {one["period"]: one for one in company.do("GET", "/payroll/periods?limit=200", pat)["items"]}
    assert months["2026-07"]["state"] == "closed"
    pulled = company.every("/payroll/absences?period=2026-07", pat, limit=5)
    assert len(pulled) == months["2026-07"]["line_count"] > 5
    assert sum(one["entitlement_minutes"] for one in pulled) == months["2026-07"]["entitlement_minutes"]
    for who in (company.hire(), company.hire(roles=("employee", "hr"))):
        refused = company.call("GET", "/payroll/absences?period=2026-07", who)
        assert (refused.status_code, refused.headers["Content-Type"]) == (403, "application/problem+json")
