"""What a colleague sees of somebody's leave."""

from dataclasses import replace
from datetime import UTC, date, datetime, time

from lms.requests.api.answers import Absence
from lms.requests.events import ChargedDay
from lms.requests.projections.leave_requests import RevisionRow

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (date(2026, 6, day) for day in range(1, 6))
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def leave(*days: date) -> RevisionRow:
    """Leave of these days."""
    return RevisionRow(
        request_id="r1",
        revision=1,
        employee_id="anna",
        leave_type="sick",
        start_date=days[0],
        end_date=days[-1],
        start_part="full",
        end_part="full",
        from_time=None,
        to_time=None,
        days=tuple(ChargedDay(date=day, part="full", entitlement_minutes=480, scheduled_minutes=480) for day in days),
        entitlement_minutes=480 * len(days),
        scheduled_minutes=480 * len(days),
        reason=None,
        requested_by="anna",
        recorded_at=NOON,
        status="approved",
        code=None,
        shown=True,
        settled=True,
        open_revision=None,
        updated_at=NOON,
        version=3,
    )


def days_seen(row: RevisionRow, since: date, until: date) -> list[date] | None:
    seen = Absence.of(row, since, until, named=True)
    return None if seen is None else seen.days


def test_nobody_is_absent_on_a_day_that_they_have_cancelled() -> None:
    without_wednesday = leave(MONDAY, TUESDAY, THURSDAY, FRIDAY)
    assert days_seen(without_wednesday, WEDNESDAY, WEDNESDAY) is None
    assert days_seen(without_wednesday, MONDAY, FRIDAY) == [MONDAY, TUESDAY, THURSDAY, FRIDAY]


def test_an_absence_that_takes_one_of_the_days_is_seen_whole() -> None:
    assert days_seen(leave(MONDAY, TUESDAY, THURSDAY), WEDNESDAY, THURSDAY) == [MONDAY, TUESDAY, THURSDAY]
    assert days_seen(leave(MONDAY, TUESDAY, THURSDAY), FRIDAY, FRIDAY) is None


def test_hours_are_seen_as_hours() -> None:
    seen = Absence.of(replace(leave(MONDAY), from_time=time(9), to_time=time(10)), MONDAY, FRIDAY, named=False)
    assert seen is not None
    assert (seen.from_time, seen.to_time) == (time(9), time(10))


def test_who_may_not_know_the_type_sees_neither_it_nor_the_request() -> None:
    seen = [Absence.of(leave(MONDAY), MONDAY, MONDAY, named=named) for named in (True, False)]
    assert [(one.leave_type, one.request_id) for one in seen if one] == [("sick", "r1"), ("absent", None)]
