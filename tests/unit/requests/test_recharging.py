"""Leave whose days come to cost something else, because holidays, a schedule or a location changed later."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, time
from typing import Any

import pytest
from tests.unit.requests.conftest import FULL_TIME

from lms.kernel.testing import Given, given
from lms.requests.decider import BOOK
from lms.requests.decider.book import (
    AmendLeave,
    CancelDays,
    CancelLeave,
    Changes,
    Command,
    RechargeLeave,
    RecordApproval,
    RecordInsufficient,
    RecordReservation,
    RequestLeave,
)
from lms.requests.decider.chargeable import Schedule, Unit, Work
from lms.requests.decider.recharging import Changed, touched
from lms.requests.decider.rules import Facts
from lms.requests.decider.states import Book
from lms.requests.events import (
    BookEvent,
    DayPart,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveRecharged,
    LeaveRefused,
    RestsOn,
)

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (date(2026, 6, day) for day in range(1, 6))
BEFORE, LONG_AFTER = date(2026, 1, 5), date(2026, 9, 1)
SINCE = date(2016, 1, 1)
CALENDAR = RestsOn(stream="calendar-c", version=7)

Ask = Callable[..., RequestLeave]
BookGiven = Given[Command, Book, BookEvent]

RESERVED, APPROVED = RecordReservation("r1", "anna", 1), RecordApproval("r1", "anna", 1, "ben")


def working(
    *schedules: tuple[date, Schedule], holidays: Mapping[date, DayPart] | None = None, **changes: Any
) -> RechargeLeave:
    """The change to these schedules (full time at first) and these holidays."""
    changed = changes.pop("changed", None) or Changed(dates=frozenset(holidays or ()))
    units: dict[str, Unit] = {"annual": changes.pop("unit", "half-day")}
    work = Work(((SINCE, FULL_TIME), *schedules), ((SINCE, holidays or {}),))
    return RechargeLeave("anna", "holidays", changed, work, units, (CALENDAR,))


def only_full(day: date) -> RechargeLeave:
    return working(holidays={day: "full"})


def no_holiday(day: date) -> RechargeLeave:
    return working(changed=Changed(dates=frozenset({day})))


def costs(event: Any) -> list[tuple[int, int, int]]:
    """The day of the month, the entitlement and the scheduled minutes of each charged day."""
    return [(day.date.day, day.entitlement_minutes, day.scheduled_minutes) for day in event.days]


def only(events: list[BookEvent], kind: type[Any] = LeaveRecharged) -> Any:
    (event,) = events
    assert isinstance(event, kind)
    return event


@pytest.fixture
def pending(ask: Ask) -> BookGiven:
    return given(BOOK).after(ask(MONDAY, FRIDAY), RESERVED)


@pytest.fixture
def confirmed(pending: BookGiven) -> BookGiven:
    return pending.after(APPROVED)


def test_a_holiday_added_later_inside_approved_leave_takes_its_day_out(confirmed: BookGiven) -> None:
    event = only(confirmed.when(only_full(WEDNESDAY)))
    assert (event.request_id, event.revision, event.confirmed, event.cause) == ("r1", 1, True, "holidays")
    assert costs(event) == [(1, 480, 480), (2, 480, 480), (4, 480, 480), (5, 480, 480)]
    assert [day.date.day for day in event.days_before] == [1, 2, 3, 4, 5]
    assert event.rests_on == (CALENDAR,)
    assert confirmed.after(only_full(WEDNESDAY)).state.requests["r1"].status == "approved"


def test_the_same_change_twice_changes_nothing(confirmed: BookGiven) -> None:
    assert confirmed.after(only_full(WEDNESDAY)).when(only_full(WEDNESDAY)) == []


def test_a_change_that_leave_has_no_day_of_changes_nothing(confirmed: BookGiven) -> None:
    assert confirmed.when(only_full(date(2026, 6, 6))) == []
    assert touched(confirmed.state, Changed(dates=frozenset({date(2026, 6, 8)}))) is None


def test_half_a_holiday_halves_its_day_whatever_the_length_of_the_half(confirmed: BookGiven) -> None:
    event = only(confirmed.when(working(holidays={WEDNESDAY: "afternoon"})))
    assert costs(event)[2] == (3, 240, 240)


def test_a_holiday_that_is_removed_brings_its_day_back(confirmed: BookGiven) -> None:
    event = only(confirmed.after(only_full(WEDNESDAY)).when(no_holiday(WEDNESDAY)))
    assert [day.date.day for day in event.days] == [1, 2, 3, 4, 5]


def test_leave_whose_every_day_is_a_holiday_stands_and_costs_again_later(ask: Ask) -> None:
    book = given(BOOK).after(ask(MONDAY), RESERVED, APPROVED, only_full(MONDAY))
    assert book.state.requests["r1"].status == "approved"
    assert book.state.requests["r1"].standing is not None
    assert book.state.requests["r1"].standing.days == ()
    assert costs(only(book.when(no_holiday(MONDAY)))) == [(1, 480, 480)]


def test_other_days_keep_what_they_cost_when_they_were_asked_for(confirmed: BookGiven) -> None:
    mornings = Schedule(date(2024, 1, 1), (((240, 0),) * 5 + ((0, 0),) * 2,))
    changed = Changed(dates=frozenset({WEDNESDAY}))
    event = only(confirmed.when(working((MONDAY, mornings), changed=changed)))
    assert [minutes for _, minutes, _ in costs(event)] == [480, 480, 240, 480, 480]


def test_a_schedule_of_shorter_days_costs_as_many_days_and_fewer_scheduled_minutes(confirmed: BookGiven) -> None:
    shorter = Schedule(date(2024, 1, 1), (((192, 192),) * 5 + ((0, 0),) * 2,))
    event = only(confirmed.when(working((WEDNESDAY, shorter), changed=Changed(since=WEDNESDAY))))
    assert costs(event) == [(1, 480, 480), (2, 480, 480), (3, 480, 384), (4, 480, 384), (5, 480, 384)]


def test_a_schedule_of_four_days_a_week_costs_a_day_less(confirmed: BookGiven) -> None:
    four = Schedule(date(2024, 1, 1), (((240, 240),) * 4 + ((0, 0),) * 3,))
    event = only(confirmed.when(working((WEDNESDAY, four), changed=Changed(since=WEDNESDAY))))
    assert [day for day, _, _ in costs(event)] == [1, 2, 3, 4]


def test_hours_cost_what_is_left_of_their_half(ask: Ask) -> None:
    hours = {"from_time": time(9), "to_time": time(15), "unit": "hour"}
    book = given(BOOK).after(ask(MONDAY, **hours), RESERVED, APPROVED)
    event = only(book.when(working(holidays={MONDAY: "morning"}, unit="hour")))
    assert costs(event) == [(1, 180, 180)]
    short = Schedule(date(2024, 1, 1), (((90, 120),) * 5 + ((0, 0),) * 2,))
    event = only(book.when(working((MONDAY, short), changed=Changed(since=MONDAY), unit="hour")))
    assert costs(event) == [(1, 210, 210)]


def test_hours_of_one_half_share_what_a_shorter_schedule_leaves_of_it_the_first_asked_first(ask: Ask) -> None:
    early = {"from_time": time(8), "to_time": time(10), "unit": "hour"}
    late = {"from_time": time(10), "to_time": time(12), "unit": "hour"}
    book = given(BOOK).after(ask(MONDAY, **late), ask(MONDAY, name="r2", **early))
    short = Schedule(date(2024, 1, 1), (((150, 240),) * 5 + ((0, 0),) * 2,))
    shorter = working((MONDAY, short), changed=Changed(since=MONDAY), unit="hour")
    event = only(book.when(shorter))
    assert (event.request_id, costs(event)) == ("r2", [(1, 30, 30)])
    assert book.after(shorter).when(shorter) == []


def test_half_days_stay_half_days(ask: Ask) -> None:
    book = given(BOOK).after(ask(MONDAY, start_part="morning", end_part="morning"), RESERVED, APPROVED)
    assert book.when(working(holidays={MONDAY: "afternoon"})) == []
    assert costs(only(book.when(working(holidays={MONDAY: "morning"})))) == []


def test_pending_leave_is_charged_anew_and_confirmed_at_that(pending: BookGiven) -> None:
    event = only(pending.when(only_full(WEDNESDAY)))
    assert not event.confirmed
    approved = only(pending.after(only_full(WEDNESDAY)).when(APPROVED), LeaveConfirmed)
    assert [day.date.day for day in approved.days] == [1, 2, 4, 5]


def test_pending_leave_that_is_no_longer_covered_is_refused_though_an_approver_was_asked(pending: BookGiven) -> None:
    book = pending.after(only_full(WEDNESDAY), no_holiday(WEDNESDAY))
    event = only(book.when(RecordInsufficient("r1", "anna", 1, "balance-insufficient")), LeaveRefused)
    assert (event.code, event.standing_revision) == ("balance-insufficient", None)


def test_leave_that_was_approved_in_the_meantime_stands_though_it_is_no_longer_covered(confirmed: BookGiven) -> None:
    assert confirmed.when(RecordInsufficient("r1", "anna", 1, "balance-insufficient")) == []


def test_an_open_amendment_and_the_leave_that_stands_are_both_charged_anew(
    confirmed: BookGiven, facts: Callable[..., Facts]
) -> None:
    changes = Changes(start_date=TUESDAY)
    amended = confirmed.after(AmendLeave("r1", "anna", changes, "anna", facts(), BEFORE))
    standing, open_ = amended.when(only_full(WEDNESDAY))
    assert isinstance(standing, LeaveRecharged)
    assert isinstance(open_, LeaveRecharged)
    assert (standing.revision, standing.confirmed, [day for day, _, _ in costs(standing)]) == (1, True, [1, 2, 4, 5])
    assert (open_.revision, open_.confirmed, [day for day, _, _ in costs(open_)]) == (2, False, [2, 4, 5])
    refused = RecordInsufficient("r1", "anna", 2, "balance-insufficient")
    after = amended.after(only_full(WEDNESDAY), refused).state.requests["r1"]
    assert (after.status, after.open) == ("approved", None)
    assert after.standing is not None
    assert [day.date.day for day in after.standing.days] == [1, 2, 4, 5]


def test_days_that_were_cancelled_stay_cancelled(confirmed: BookGiven) -> None:
    without = CancelDays("r1", "anna", frozenset({WEDNESDAY}), None, "anna", BEFORE)
    book = confirmed.after(without, RecordReservation("r1", "anna", 2), RecordApproval("r1", "anna", 2, None))
    everything = working(changed=Changed())
    assert book.when(everything) == []
    event = only(book.when(only_full(THURSDAY)))
    assert [day for day, _, _ in costs(event)] == [1, 2, 5]


def test_leave_that_is_over_is_left_alone(pending: BookGiven) -> None:
    cancelled = pending.after(CancelLeave("r1", "anna", None, BEFORE))
    assert cancelled.when(only_full(WEDNESDAY)) == []
    refused = pending.after(RecordInsufficient("r1", "anna", 1, "balance-insufficient"))
    assert refused.when(only_full(WEDNESDAY)) == []


def test_past_leave_that_is_to_be_cancelled_is_corrected_too(confirmed: BookGiven) -> None:
    asked = confirmed.after(CancelLeave("r1", "anna", None, LONG_AFTER))
    assert only(asked.when(only_full(WEDNESDAY))).confirmed
    cancelled = asked.after(only_full(WEDNESDAY)).when(RecordApproval("r1", "anna", 2, "ben"))
    assert only(cancelled, LeaveCancelled).confirmed_revision == 1


def test_a_day_that_comes_back_is_taken_by_the_leave_that_was_asked_for_first(ask: Ask) -> None:
    holiday = Work(((SINCE, FULL_TIME),), ((SINCE, {WEDNESDAY: "full"}),))
    book = given(BOOK).after(ask(MONDAY, WEDNESDAY, work=holiday), ask(WEDNESDAY, FRIDAY, name="r2", work=holiday))
    event = only(book.when(no_holiday(WEDNESDAY)))
    assert (event.request_id, [day for day, _, _ in costs(event)]) == ("r1", [1, 2, 3])
    assert book.after(no_holiday(WEDNESDAY)).when(no_holiday(WEDNESDAY)) == []


def test_what_it_rests_on_keeps_the_newest_version_of_each_stream(confirmed: BookGiven) -> None:
    older = replace(only_full(WEDNESDAY), rests_on=(RestsOn(stream="calendar-c", version=3),))
    newer = replace(
        only_full(THURSDAY), work=Work(((SINCE, FULL_TIME),), ((SINCE, {WEDNESDAY: "full", THURSDAY: "full"}),))
    )
    event = only(confirmed.after(newer).when(replace(older, changed=Changed(dates=frozenset({WEDNESDAY})))))
    assert event.rests_on == (CALENDAR,)
