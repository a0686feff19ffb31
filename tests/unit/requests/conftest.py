from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from lms.requests.decider.book import RequestLeave
from lms.requests.decider.chargeable import Interval, Schedule, Work
from lms.requests.decider.rules import Employment, Facts, LeaveTerms

FULL_TIME = Schedule(date(2024, 1, 1), (((240, 240),) * 5 + ((0, 0),) * 2,))


@pytest.fixture
def facts() -> Callable[..., Facts]:
    def build(**changes: Any) -> Facts:
        terms = LeaveTerms(
            leave_type="annual",
            unit=changes.pop("unit", "half-day"),
            needs_approval=changes.pop("needs_approval", True),
            min_notice_days=changes.pop("min_notice_days", 0),
            max_length_days=changes.pop("max_length_days", None),
        )
        fields: dict[str, Any] = {
            "employment": Employment(date(2016, 1, 1), None, ((date(2016, 1, 1), "berlin"),)),
            "work": Work(((date(2016, 1, 1), FULL_TIME),)),
            "terms": terms,
        }
        return Facts(**(fields | changes))

    return build


@pytest.fixture
def ask(facts: Callable[..., Facts]) -> Callable[..., RequestLeave]:
    def build(first: date, last: date | None = None, *, name: str = "r1", **changes: Any) -> RequestLeave:
        interval = {
            key: changes.pop(key) for key in ("start_part", "end_part", "from_time", "to_time") if key in changes
        }
        return RequestLeave(
            request_id=name,
            employee_id="anna",
            interval=Interval(first, last or first, **interval),
            reason=None,
            requested_by="anna",
            today=changes.pop("today", date(2026, 1, 5)),
            facts=facts(**changes),
        )

    return build
