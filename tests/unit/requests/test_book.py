from collections.abc import Callable
from datetime import date, time
from typing import Any

import pytest

from lms.kernel.errors import Stale
from lms.kernel.sealed import Sealed
from lms.kernel.testing import Given, given
from lms.requests.decider import BOOK, errors
from lms.requests.decider.book import (
    AmendLeave,
    CancelDays,
    CancelLeave,
    Changes,
    Command,
    RecordApproval,
    RecordInsufficient,
    RecordRejection,
    RecordReservation,
    RequestLeave,
)
from lms.requests.decider.chargeable import Schedule, Work
from lms.requests.decider.rules import Facts, PolicyVersion
from lms.requests.decider.states import Book
from lms.requests.events import (
    BookEvent,
    LeaveAmended,
    LeaveApprovalRequested,
    LeaveCancellationRequested,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveDecisionLapsed,
    LeaveRefused,
    LeaveRequested,
)

MONDAY = date(2026, 6, 1)
TUESDAY = date(2026, 6, 2)
WEDNESDAY = date(2026, 6, 3)
THURSDAY = date(2026, 6, 4)
FRIDAY = date(2026, 6, 5)
BEFORE = date(2026, 1, 5)
SECRET = Sealed(sealed="c2VhbGVk", subject="anna", key="1")

Ask = Callable[..., RequestLeave]
BookGiven = Given[Command, Book, BookEvent]


def reserved(revision: int = 1) -> RecordReservation:
    return RecordReservation("r1", "anna", revision)


def approved(revision: int = 1) -> RecordApproval:
    return RecordApproval("r1", "anna", revision, "ben")


def rejected(revision: int = 1) -> RecordRejection:
    return RecordRejection("r1", "anna", revision, "ben", SECRET)


def cancel(today: date = BEFORE, **changes: Any) -> CancelLeave:
    return CancelLeave("r1", "anna", None, today, **changes)


def cancel_days(*dates: date, today: date = BEFORE) -> CancelDays:
    return CancelDays("r1", "anna", frozenset(dates), None, "anna", today)


@pytest.fixture
def amend(facts: Callable[..., Facts]) -> Callable[..., AmendLeave]:
    def build(**changes: Any) -> AmendLeave:
        today, version = changes.pop("today", BEFORE), changes.pop("expected_version", None)
        known = facts(**changes.pop("facts", {}))
        return AmendLeave("r1", "anna", Changes(**changes), "anna", known, today, version)

    return build


Amend = Callable[..., AmendLeave]


@pytest.fixture
def pending(ask: Ask) -> BookGiven:
    return given(BOOK).after(ask(MONDAY, FRIDAY))


@pytest.fixture
def confirmed(pending: BookGiven) -> BookGiven:
    return pending.after(reserved(), approved())


def request(book: BookGiven) -> Any:
    return book.state.requests["r1"]


def charged(events: list[BookEvent]) -> list[tuple[int, int]]:
    """The day of the month and the minutes of each charged day of a revision."""
    (event,) = events
    assert isinstance(event, LeaveRequested | LeaveAmended)
    return [(day.date.day, day.entitlement_minutes) for day in event.days]


def only(events: list[BookEvent], kind: type[Any]) -> Any:
    (event,) = events
    assert isinstance(event, kind)
    return event


def test_asking_for_leave_records_each_charged_day_and_waits_for_balances(ask: Ask) -> None:
    event = only(given(BOOK).when(ask(date(2026, 6, 4), date(2026, 6, 8))), LeaveRequested)
    assert [day.date.day for day in event.days] == [4, 5, 8]
    assert event.revision == 1
    assert event.needs_approval
    state = request(given(BOOK, event))
    assert (state.status, state.settled) == ("pending", False)


def test_a_reserved_request_asks_for_approval_and_is_settled_until_somebody_decides(pending: BookGiven) -> None:
    event = only(pending.when(reserved()), LeaveApprovalRequested)
    assert (event.kind, event.start_date, event.end_date, event.needs_approval) == ("leave", MONDAY, FRIDAY, True)
    state = request(pending.after(reserved()))
    assert (state.status, state.settled) == ("pending", True)


def test_a_type_without_approval_settles_only_with_its_automatic_decision(ask: Ask) -> None:
    book = given(BOOK).after(ask(MONDAY, needs_approval=False), reserved())
    assert not request(book).settled
    assert request(book.after(approved())).settled


def test_a_request_that_the_balance_does_not_cover_is_refused_with_that_reason(pending: BookGiven) -> None:
    insufficient = RecordInsufficient("r1", "anna", 1, "balance-insufficient")
    event = only(pending.when(insufficient), LeaveRefused)
    assert (event.code, event.standing_revision) == ("balance-insufficient", None)
    assert request(pending.after(insufficient)).status == "rejected"


def test_an_approved_request_is_confirmed(confirmed: BookGiven) -> None:
    event = confirmed.past[-1]
    assert isinstance(event, LeaveConfirmed)
    assert (event.revision, event.decided_by, len(event.days)) == (1, "ben", 5)
    assert request(confirmed).status == "approved"


def test_a_rejected_request_is_refused_with_the_approvers_reason(pending: BookGiven) -> None:
    book = pending.after(reserved(), rejected())
    event = book.past[-1]
    assert isinstance(event, LeaveRefused)
    assert (event.code, event.decided_by, event.reason) == ("rejected", "ben", SECRET)
    assert request(book).status == "rejected"


def test_leave_within_approved_leave_is_refused(ask: Ask) -> None:
    book = given(BOOK).after(ask(date(2026, 2, 9), date(2026, 2, 13)), reserved(), approved())
    error = book.refuses(ask(date(2026, 2, 10), date(2026, 2, 12), name="r2"), errors.Overlapping)
    assert error.status == 409


def test_a_half_day_on_a_booked_full_day_is_refused(ask: Ask) -> None:
    book = given(BOOK).after(ask(MONDAY))
    book.refuses(ask(MONDAY, name="r2", start_part="morning"), errors.Overlapping)


def test_a_morning_and_an_afternoon_are_two_requests_and_one_day(ask: Ask) -> None:
    book = given(BOOK).after(
        ask(MONDAY, start_part="morning", end_part="morning"),
        ask(MONDAY, name="r2", start_part="afternoon", end_part="afternoon"),
    )
    assert sum(event.days[0].entitlement_minutes for event in book.past if isinstance(event, LeaveRequested)) == 480
    book.refuses(ask(MONDAY, name="r3", start_part="morning"), errors.Overlapping)


def test_the_afternoon_of_a_half_working_day_cannot_be_added(ask: Ask) -> None:
    half = Work(((date(2016, 1, 1), Schedule(date(2024, 1, 1), (((240, 0),) * 7,))),))
    book = given(BOOK).after(ask(date(2026, 12, 31), work=half))
    book.refuses(
        ask(date(2026, 12, 31), name="r2", start_part="afternoon", end_part="afternoon", work=half),
        errors.NothingToCharge,
    )


def test_hours_overlap_by_time(ask: Ask) -> None:
    def hours(begin: int, end: int, name: str) -> RequestLeave:
        return ask(MONDAY, name=name, unit="hour", from_time=time(begin), to_time=time(end))

    book = given(BOOK).after(hours(9, 11, "r1"))
    book.refuses(hours(10, 12, "r2"), errors.Overlapping)
    book.refuses(ask(MONDAY, name="r2", start_part="morning"), errors.Overlapping)
    assert book.when(hours(11, 12, "r2"))
    assert book.when(ask(MONDAY, name="r2", start_part="afternoon"))


def test_what_was_rejected_or_cancelled_books_nothing(ask: Ask, pending: BookGiven) -> None:
    assert pending.after(reserved(), rejected()).when(ask(MONDAY, name="r2"))
    assert pending.after(cancel()).when(ask(MONDAY, name="r2"))


def test_a_pending_request_is_cancelled_at_once(pending: BookGiven) -> None:
    event = only(pending.when(cancel()), LeaveCancelled)
    assert (event.open_revision, event.confirmed_revision) == (1, None)
    assert request(pending.after(cancel())).status == "cancelled"


def test_approved_leave_that_has_not_begun_is_cancelled_at_once(confirmed: BookGiven) -> None:
    event = only(confirmed.when(cancel(date(2026, 5, 31))), LeaveCancelled)
    assert (event.open_revision, event.confirmed_revision) == (None, 1)


def test_leave_that_begins_today_has_begun_and_an_approver_decides_on_its_cancellation(confirmed: BookGiven) -> None:
    asked, approval = confirmed.when(cancel(MONDAY))
    assert isinstance(asked, LeaveCancellationRequested)
    assert isinstance(approval, LeaveApprovalRequested)
    assert (asked.revision, asked.confirmed_revision, approval.kind, approval.revision) == (2, 1, "cancellation", 2)
    waiting = confirmed.after(cancel(MONDAY))
    assert request(waiting).status == "cancellation-requested"
    event = only(waiting.when(approved(2)), LeaveCancelled)
    assert (event.confirmed_revision, event.decided_by) == (1, "ben")
    kept = waiting.after(rejected(2))
    assert request(kept).status == "approved"
    refused = kept.past[-1]
    assert isinstance(refused, LeaveRefused)
    assert (refused.code, refused.standing_revision) == ("cancellation-rejected", 1)


def test_while_a_cancellation_waits_the_request_cannot_be_changed(confirmed: BookGiven, amend: Amend) -> None:
    waiting = confirmed.after(cancel(MONDAY))
    waiting.refuses(cancel(MONDAY), errors.CancellationPending)
    waiting.refuses(amend(end_date=TUESDAY), errors.CancellationPending)


def test_a_cancellation_that_was_refused_can_be_asked_for_again(confirmed: BookGiven) -> None:
    again = confirmed.after(cancel(MONDAY), rejected(2), cancel(MONDAY), approved(3))
    assert request(again).status == "cancelled"


def test_a_cancellation_of_begun_leave_ends_an_open_amendment_first(confirmed: BookGiven, amend: Amend) -> None:
    book = confirmed.after(amend(end_date=WEDNESDAY), reserved(2))
    refused, asked, _ = book.when(cancel(MONDAY))
    assert isinstance(refused, LeaveRefused)
    assert (refused.revision, refused.code, refused.standing_revision) == (2, "superseded", 1)
    assert isinstance(asked, LeaveCancellationRequested)
    assert asked.revision == 3
    only(book.after(cancel(MONDAY)).when(approved(2)), LeaveDecisionLapsed)


def test_an_approval_that_comes_after_the_cancellation_lapses_once(pending: BookGiven) -> None:
    cancelled = pending.after(reserved(), cancel())
    event = only(cancelled.when(approved()), LeaveDecisionLapsed)
    assert (event.decision, event.standing_state) == ("approved", "cancelled")
    assert cancelled.after(approved()).when(approved()) == []


def test_answers_that_were_heard_before_change_nothing(confirmed: BookGiven, pending: BookGiven) -> None:
    assert confirmed.when(reserved()) == []
    assert confirmed.when(approved()) == []
    refused = pending.after(reserved(), rejected())
    assert refused.when(rejected()) == []
    only(refused.when(approved()), LeaveDecisionLapsed)


def test_a_late_reservation_of_a_cancelled_or_superseded_revision_changes_nothing(
    pending: BookGiven, amend: Amend
) -> None:
    assert pending.after(cancel()).when(reserved()) == []
    assert pending.after(amend(end_date=TUESDAY)).when(reserved(1)) == []


def test_answers_about_requests_or_revisions_that_the_book_does_not_know_change_nothing(pending: BookGiven) -> None:
    assert given(BOOK).when(approved()) == []
    assert given(BOOK).when(reserved()) == []
    assert pending.when(approved(7)) == []
    assert pending.when(rejected(1)) == []


def test_an_amendment_of_a_pending_request_supersedes_the_open_revision(pending: BookGiven, amend: Amend) -> None:
    event = only(pending.after(reserved()).when(amend(end_date=TUESDAY)), LeaveAmended)
    assert (event.revision, event.supersedes_revision, event.replaces_revision) == (2, 1, None)
    assert len(event.days) == 2
    amended = pending.after(reserved(), amend(end_date=TUESDAY))
    lapsed = only(amended.when(approved(1)), LeaveDecisionLapsed)
    assert lapsed.standing_state == "pending"
    assert request(amended.after(reserved(2), approved(2))).status == "approved"


def test_approved_leave_stands_until_its_amendment_is_confirmed(confirmed: BookGiven, amend: Amend, ask: Ask) -> None:
    book = confirmed.after(amend(start_date=date(2026, 6, 8), end_date=date(2026, 6, 9)))
    event = book.past[-1]
    assert isinstance(event, LeaveAmended)
    assert (event.supersedes_revision, event.replaces_revision) == (None, 1)
    assert (request(book).status, request(book).settled) == ("approved", False)
    for day in (MONDAY, date(2026, 6, 8)):
        book.refuses(ask(day, name="r2"), errors.Overlapping)
    done = book.after(reserved(2), approved(2))
    last = done.past[-1]
    assert isinstance(last, LeaveConfirmed)
    assert last.replaces_revision == 1
    assert done.when(ask(MONDAY, name="r2"))


@pytest.mark.parametrize("answer", [RecordInsufficient("r1", "anna", 2, "balance-insufficient"), rejected(2)])
def test_approved_leave_goes_on_to_stand_when_its_amendment_is_refused(
    confirmed: BookGiven, amend: Amend, answer: Command
) -> None:
    book = confirmed.after(amend(end_date=date(2026, 6, 8)), reserved(2))
    if isinstance(answer, RecordInsufficient):
        book = confirmed.after(amend(end_date=date(2026, 6, 8)))
    event = only(book.when(answer), LeaveRefused)
    assert event.standing_revision == 1
    after = book.after(answer)
    assert request(after).status == "approved"
    assert request(after).standing.number == 1


def test_cancelling_ends_both_what_stands_and_what_is_open(confirmed: BookGiven, amend: Amend) -> None:
    event = only(confirmed.after(amend(end_date=TUESDAY)).when(cancel()), LeaveCancelled)
    assert (event.open_revision, event.confirmed_revision, event.revision) == (2, 1, 2)


def test_single_days_are_cancelled_by_a_revision_without_them(confirmed: BookGiven, ask: Ask) -> None:
    event = only(confirmed.when(cancel_days(WEDNESDAY)), LeaveAmended)
    assert (event.change, event.replaces_revision, event.needs_approval) == ("cancel-days", 1, False)
    assert [day.date.day for day in event.days] == [1, 2, 4, 5]
    done = confirmed.after(cancel_days(WEDNESDAY), reserved(2), approved(2))
    assert done.when(ask(WEDNESDAY, name="r2"))
    done.refuses(ask(TUESDAY, name="r2"), errors.Overlapping)


def test_the_first_days_cancelled_move_the_beginning(confirmed: BookGiven) -> None:
    event = only(confirmed.when(cancel_days(MONDAY, TUESDAY)), LeaveAmended)
    assert (event.start_date, event.end_date) == (WEDNESDAY, FRIDAY)


def test_days_that_have_begun_are_cancelled_with_approval(confirmed: BookGiven) -> None:
    event = only(confirmed.when(cancel_days(TUESDAY, today=TUESDAY)), LeaveAmended)
    assert event.needs_approval


def test_what_remains_of_a_pending_request_still_needs_approval(pending: BookGiven) -> None:
    event = only(pending.when(cancel_days(FRIDAY)), LeaveAmended)
    assert (event.supersedes_revision, event.needs_approval) == (1, True)


def test_cancelling_all_days_cancels_the_request(confirmed: BookGiven) -> None:
    days = [date(2026, 6, number) for number in range(1, 6)]
    only(confirmed.when(cancel_days(*days)), LeaveCancelled)


def test_days_outside_the_request_cannot_be_cancelled(confirmed: BookGiven) -> None:
    confirmed.refuses(cancel_days(date(2026, 6, 8)), errors.NotInRequest)


def test_leave_can_be_shortened_when_notice_is_over_but_not_extended(confirmed: BookGiven, amend: Amend) -> None:
    late = {"today": date(2026, 5, 31), "facts": {"min_notice_days": 14}}
    assert confirmed.when(amend(end_date=WEDNESDAY, **late))
    confirmed.refuses(amend(end_date=date(2026, 6, 8), **late), errors.NoticeTooShort)


def test_an_amendment_that_changes_nothing_is_refused_and_a_new_reason_alone_keeps_the_days(
    confirmed: BookGiven, amend: Amend
) -> None:
    confirmed.refuses(amend(end_date=FRIDAY), errors.NothingChanged)
    without_wednesday = confirmed.after(cancel_days(WEDNESDAY), reserved(2), approved(2))
    event = only(without_wednesday.when(amend(reason=SECRET)), LeaveAmended)
    assert WEDNESDAY not in {day.date for day in event.days}
    assert event.reason == SECRET


def test_an_amendment_may_overlap_its_own_request_but_no_other(confirmed: BookGiven, amend: Amend, ask: Ask) -> None:
    book = confirmed.after(ask(date(2026, 6, 8), name="r2"))
    book.refuses(amend(end_date=date(2026, 6, 8)), errors.Overlapping)
    assert book.when(amend(start_date=TUESDAY))


def test_who_saw_an_older_state_of_the_request_is_told(pending: BookGiven, amend: Amend, ask: Ask) -> None:
    seen = request(pending).version
    other = pending.after(ask(date(2026, 6, 8), name="r2"))
    assert other.when(cancel(expected_version=seen))
    moved = other.after(reserved())
    moved.refuses(cancel(expected_version=seen), Stale)
    moved.refuses(amend(end_date=TUESDAY, expected_version=seen), Stale)


def test_what_is_over_cannot_be_changed(pending: BookGiven, amend: Amend) -> None:
    over = pending.after(cancel())
    over.refuses(cancel(), errors.RequestClosed)
    over.refuses(amend(end_date=TUESDAY), errors.RequestClosed)
    given(BOOK).refuses(cancel(), errors.NoSuchRequest)


def closed_on(*days: date) -> Work:
    """Full-time work with holidays."""
    full_time = Schedule(date(2024, 1, 1), (((240, 240),) * 5 + ((0, 0),) * 2,))
    return Work(((date(2016, 1, 1), full_time),), ((date(2016, 1, 1), dict.fromkeys(days, "full")),))


@pytest.fixture
def without_wednesday(confirmed: BookGiven) -> BookGiven:
    return confirmed.after(cancel_days(WEDNESDAY), reserved(2), approved(2))


def test_a_cancelled_day_stays_cancelled_when_the_dates_are_amended(without_wednesday: BookGiven, amend: Amend) -> None:
    assert charged(without_wednesday.when(amend(end_date=THURSDAY))) == [(1, 480), (2, 480), (4, 480)]
    assert charged(without_wednesday.when(amend(end_date=date(2026, 6, 8), end_part="morning"))) == [
        (1, 480), (2, 480), (4, 480), (5, 480), (8, 240),
    ]  # fmt: skip


def test_a_cancelled_day_stays_cancelled_through_every_later_revision(
    without_wednesday: BookGiven, amend: Amend
) -> None:
    book = without_wednesday.after(amend(reason=SECRET), amend(end_part="morning"), cancel_days(THURSDAY))
    assert charged(book.when(amend(end_part="full"))) == [(1, 480), (2, 480), (5, 480)]


def test_a_day_whose_cancellation_still_waits_is_left_out_of_an_amendment_too(
    confirmed: BookGiven, amend: Amend
) -> None:
    waiting = confirmed.after(cancel_days(WEDNESDAY, today=WEDNESDAY), reserved(2))
    assert charged(waiting.when(amend(end_date=THURSDAY))) == [(1, 480), (2, 480), (4, 480)]
    kept = waiting.after(rejected(2))
    assert charged(kept.when(amend(end_date=THURSDAY))) == [(1, 480), (2, 480), (3, 480), (4, 480)]


def test_a_cancelled_day_that_was_booked_as_something_else_does_not_stop_an_amendment(
    without_wednesday: BookGiven, amend: Amend, ask: Ask
) -> None:
    book = without_wednesday.after(ask(WEDNESDAY, name="r2"))
    assert charged(book.when(amend(end_date=THURSDAY))) == [(1, 480), (2, 480), (4, 480)]
    book.refuses(amend(end_date=WEDNESDAY), errors.Overlapping)


def test_an_amendment_that_starts_or_ends_on_a_cancelled_day_asks_for_it_again(
    without_wednesday: BookGiven, amend: Amend
) -> None:
    assert charged(without_wednesday.when(amend(end_date=WEDNESDAY))) == [(1, 480), (2, 480), (3, 480)]
    book = without_wednesday.after(amend(start_date=WEDNESDAY))
    assert charged(book.when(amend(start_date=MONDAY)))[2] == (3, 480)


def test_days_cancelled_at_either_end_only_make_the_leave_shorter(confirmed: BookGiven, amend: Amend) -> None:
    book = confirmed.after(cancel_days(MONDAY, THURSDAY, FRIDAY), reserved(2), approved(2))
    assert charged(book.when(amend(start_date=MONDAY, end_date=FRIDAY))) == [(day, 480) for day in range(1, 6)]


def test_a_day_that_was_a_holiday_is_charged_by_an_amendment_once_it_is_none(ask: Ask, amend: Amend) -> None:
    book = given(BOOK).after(ask(MONDAY, FRIDAY, work=closed_on(TUESDAY)), reserved(), approved())
    book = book.after(cancel_days(WEDNESDAY), reserved(2), approved(2))
    assert charged(book.when(amend(end_date=THURSDAY))) == [(1, 480), (2, 480), (4, 480)]
    still = {"work": closed_on(TUESDAY)}
    assert charged(book.when(amend(end_date=THURSDAY, facts=still))) == [(1, 480), (4, 480)]


def test_a_cancellation_of_before_cancelled_dates_were_recorded_reads_as_it_did(confirmed: BookGiven) -> None:
    event = only(confirmed.when(cancel_days(WEDNESDAY)), LeaveAmended)
    assert event.cancelled_dates == (WEDNESDAY,)
    older = event.model_dump()
    del older["cancelled_dates"]
    read = LeaveAmended.model_validate(older)
    assert read == event.model_copy(update={"cancelled_dates": ()})
    assert request(given(BOOK, *confirmed.past, read)).open.days == event.days


LATE = date(2026, 5, 31)
NOTICE = {"min_notice_days": 14}


def blackout(first: date, last: date) -> dict[str, Any]:
    return {"policies": (PolicyVersion("annual", 1, date(2016, 1, 1), blackouts=((first, last),)),)}


@pytest.mark.parametrize(
    ("rule", "error"), [(NOTICE, errors.NoticeTooShort), (blackout(MONDAY, FRIDAY), errors.InBlackout)]
)
def test_more_of_a_booked_day_keeps_the_rules_as_the_rest_by_itself_would(
    ask: Ask, amend: Amend, rule: dict[str, Any], error: Any
) -> None:
    book = given(BOOK).after(ask(MONDAY, start_part="morning"), reserved(), approved())
    book.refuses(ask(MONDAY, name="r2", start_part="afternoon", today=LATE, **rule), error)
    book.refuses(amend(start_part="full", end_part="full", today=LATE, facts=rule), error)


def test_more_hours_of_a_booked_day_need_notice_and_fewer_do_not(ask: Ask, amend: Amend) -> None:
    late = {"today": LATE, "facts": {**NOTICE, "unit": "hour"}}
    asked = ask(MONDAY, unit="hour", from_time=time(9), to_time=time(11))
    book = given(BOOK).after(asked, reserved(), approved())
    book.refuses(amend(to_time=time(12), **late), errors.NoticeTooShort)
    assert charged(book.when(amend(to_time=time(10), **late))) == [(1, 60)]
    assert charged(book.when(amend(from_time=time(8), to_time=time(10), **late))) == [(1, 120)]


def test_what_an_open_amendment_asked_for_in_time_is_not_asked_for_anew(ask: Ask, amend: Amend) -> None:
    book = given(BOOK).after(ask(MONDAY, start_part="morning"), reserved(), approved())
    book = book.after(amend(end_date=TUESDAY, start_part="full", end_part="full", facts=NOTICE))
    late = {"today": LATE, "facts": NOTICE}
    assert charged(book.when(amend(end_date=MONDAY, **late))) == [(1, 480)]
    refused = book.after(RecordInsufficient("r1", "anna", 2, "balance-insufficient"))
    refused.refuses(amend(start_part="full", end_part="full", **late), errors.NoticeTooShort)


def test_a_cancelled_day_that_is_asked_for_again_needs_notice_again(without_wednesday: BookGiven, amend: Amend) -> None:
    late = {"today": LATE, "facts": NOTICE}
    assert charged(without_wednesday.when(amend(end_date=THURSDAY, **late))) == [(1, 480), (2, 480), (4, 480)]
    without_wednesday.refuses(amend(end_date=WEDNESDAY, **late), errors.NoticeTooShort)


def test_leave_can_be_shortened_also_when_its_days_have_come_to_cost_more(ask: Ask, amend: Amend) -> None:
    asked = ask(MONDAY, FRIDAY, work=closed_on(TUESDAY))
    book = given(BOOK).after(asked, reserved(), approved())
    late = {"today": LATE, "facts": {**NOTICE, **blackout(MONDAY, FRIDAY)}}
    assert charged(book.when(amend(end_date=WEDNESDAY, **late))) == [(1, 480), (2, 480), (3, 480)]
    short_days = Work(((date(2016, 1, 1), Schedule(date(2024, 1, 1), (((192, 192),) * 7,))),))
    book = given(BOOK).after(ask(MONDAY, FRIDAY, unit="hour", work=short_days), reserved(), approved())
    assert charged(book.when(amend(end_date=MONDAY, today=LATE, facts={**NOTICE, "unit": "hour"}))) == [(1, 480)]


def hours(ask: Ask, work: Work, begin: int, end: int, name: str = "r1") -> RequestLeave:
    return ask(MONDAY, name=name, unit="hour", from_time=time(begin), to_time=time(end), work=work)


def works(morning: int, afternoon: int) -> Work:
    return Work(((date(2016, 1, 1), Schedule(date(2024, 1, 1), (((morning, afternoon),) * 7,))),))


@pytest.mark.parametrize(
    ("work", "first", "second", "left"),
    [
        (works(240, 240), (13, 17), (17, 21), None),
        (works(120, 240), (8, 10), (10, 12), None),
        (works(240, 240), (13, 16), (16, 21), 60),
        (works(240, 240), (16, 18), (12, 16), 120),
        (works(240, 240), (8, 10), (10, 12), 120),
        (works(120, 240), (8, 10), (10, 14), 120),
        (works(120, 240), (10, 14), (8, 10), None),
        (works(240, 240), (8, 12), (12, 17), 240),
    ],
)
def test_hours_cost_together_at_most_what_each_half_holds(
    ask: Ask, work: Work, first: tuple[int, int], second: tuple[int, int], left: int | None
) -> None:
    book = given(BOOK).after(hours(ask, work, *first))
    more = hours(ask, work, *second, "r2")
    if left is None:
        book.refuses(more, errors.NothingToCharge)
    else:
        assert charged(book.when(more)) == [(1, left)]


def test_hours_that_follow_several_others_cost_what_is_left(ask: Ask) -> None:
    work = works(240, 240)
    book = given(BOOK).after(hours(ask, work, 13, 14), hours(ask, work, 14, 16, "r2"))
    assert charged(book.when(hours(ask, work, 16, 20, "r3"))) == [(1, 60)]


def test_the_free_half_beside_a_booked_one_costs_all_that_it_holds(ask: Ask) -> None:
    work = works(240, 240)
    book = given(BOOK).after(ask(MONDAY, start_part="morning", work=work))
    assert charged(book.when(hours(ask, work, 13, 18, "r2"))) == [(1, 240)]
    assert charged(book.when(ask(MONDAY, name="r2", start_part="afternoon", work=work))) == [(1, 240)]


def test_hours_that_overlap_are_refused_for_that_also_when_nothing_is_left(ask: Ask) -> None:
    work = works(240, 240)
    book = given(BOOK).after(hours(ask, work, 13, 17))
    book.refuses(hours(ask, work, 16, 18, "r2"), errors.Overlapping)
    book.refuses(hours(ask, work, 13, 17, "r2"), errors.Overlapping)


def test_an_amendment_of_hours_leaves_the_others_their_minutes_and_gives_back_its_own(ask: Ask, amend: Amend) -> None:
    work = works(240, 240)
    known = {"unit": "hour", "work": work}
    book = given(BOOK).after(hours(ask, work, 13, 16), hours(ask, work, 16, 20, "r2"))
    assert charged(book.when(amend(to_time=time(15), facts=known))) == [(1, 120)]
    assert charged(book.when(amend(from_time=time(12), facts=known))) == [(1, 180)]
    freed = book.after(cancel(), hours(ask, work, 13, 16, "r3"))
    assert charged([freed.past[-1]]) == [(1, 180)]


def test_of_a_request_that_is_being_amended_the_dearer_revision_counts(ask: Ask, amend: Amend) -> None:
    work = works(240, 240)
    known = {"unit": "hour", "work": work}
    book = given(BOOK).after(hours(ask, work, 13, 16), reserved(), approved(), amend(to_time=time(14), facts=known))
    assert charged(book.when(hours(ask, work, 16, 20, "r2"))) == [(1, 60)]
    done = book.after(reserved(2), approved(2))
    assert charged(done.when(hours(ask, work, 16, 20, "r2"))) == [(1, 180)]


def test_hours_freed_late_can_be_left_out_again_without_notice(ask: Ask, amend: Amend) -> None:
    work = works(240, 240)
    book = given(BOOK).after(hours(ask, work, 17, 20, "r2"), hours(ask, work, 13, 17))
    assert charged([book.past[-1]]) == [(1, 60)]
    freed = book.after(CancelLeave("r2", "anna", None, BEFORE))
    late = {"today": LATE, "facts": {**NOTICE, "unit": "hour", "work": work}}
    assert charged(freed.when(amend(to_time=time(15), **late))) == [(1, 120)]


def test_a_snapshot_of_the_book_reads_back_as_it_was(confirmed: BookGiven, amend: Amend, ask: Ask) -> None:
    book = confirmed.after(
        amend(end_date=TUESDAY, reason=SECRET),
        ask(date(2026, 6, 8), name="r2", unit="hour", from_time=time(9), to_time=time(11)),
        ask(date(2026, 6, 9), name="r3"),
        CancelLeave("r3", "anna", SECRET, BEFORE),
        ask(date(2026, 6, 15), date(2026, 6, 17), name="r4"),
        CancelDays("r4", "anna", frozenset({date(2026, 6, 16)}), None, "anna", BEFORE),
    )
    assert book.state.requests["r4"].booking[0].cancelled == {date(2026, 6, 16)}
    adapter = BOOK.snapshot_adapter
    assert adapter.validate_json(adapter.dump_json(book.state)) == book.state
