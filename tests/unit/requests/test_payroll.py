"""What payroll hears of an employee's absences, and how its months are closed."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from lms.kernel.testing import Given, given
from lms.requests.decider import ABSENCES, CALENDAR
from lms.requests.decider.payroll import (
    AbsenceCommand,
    Absences,
    BookAbsence,
    Booked,
    ClosePeriod,
    Payment,
    PeriodNotBegun,
    PeriodOutOfOrder,
    RevokeAbsence,
    next_month,
)
from lms.requests.events import (
    AbsenceConfirmed,
    AbsenceCorrected,
    AbsenceEvent,
    AbsenceRevoked,
    ChargedDay,
    PayrollLine,
    PeriodClosed,
)

THURSDAY, FRIDAY, MONDAY = date(2026, 7, 30), date(2026, 7, 31), date(2026, 8, 3)
PAYMENT = Payment("ANN", paid=True, cost_centres=((date(2020, 1, 1), "4100"), (date(2026, 8, 1), "4200")))


def day(on: date, minutes: int = 480, scheduled: int | None = None, part: Any = "full") -> ChargedDay:
    scheduled = minutes if scheduled is None else scheduled
    return ChargedDay(date=on, part=part, entitlement_minutes=minutes, scheduled_minutes=scheduled)


def book(*days: ChargedDay, revision: int = 1, closed: str | None = None, payment: Payment = PAYMENT) -> BookAbsence:
    return BookAbsence("r1", revision, "anna", "annual", days, payment, closed)


def revoke(closed: str | None = None) -> RevokeAbsence:
    return RevokeAbsence("r1", 2, "anna", "annual", closed)


def line(on: date, minutes: int, period: str, **changes: Any) -> PayrollLine:
    fields = {
        "date": on, "part": "full", "entitlement_minutes": minutes, "scheduled_minutes": minutes, "pay_code": "ANN",
        "paid": True, "cost_centre": "4100" if on < date(2026, 8, 1) else "4200", "period": period,
        "original_period": None, **changes,
    }  # fmt: skip
    return PayrollLine(**fields)


def told(kind: type[AbsenceEvent], *lines: PayrollLine, revision: int = 1) -> AbsenceEvent:
    return kind(absence_id="r1", revision=revision, employee_id="anna", leave_type="annual", lines=lines)


BOOKED = told(AbsenceConfirmed, line(FRIDAY, 480, "2026-07"), line(MONDAY, 480, "2026-08"))


def test_confirmed_leave_is_booked_in_the_months_of_its_days_with_the_cost_centre_of_each_day() -> None:
    assert given(ABSENCES).when(book(day(FRIDAY), day(MONDAY))) == [BOOKED]


def test_both_amounts_are_told() -> None:
    (event,) = given(ABSENCES).when(book(day(FRIDAY, 480, scheduled=384)))
    assert (event.lines[0].entitlement_minutes, event.lines[0].scheduled_minutes) == (480, 384)


def test_what_is_confirmed_late_is_booked_in_the_next_open_month_and_names_the_original() -> None:
    late = line(FRIDAY, 480, "2026-09", original_period="2026-07")
    soon = line(MONDAY, 480, "2026-09", original_period="2026-08")
    assert given(ABSENCES).when(book(day(FRIDAY), day(MONDAY), closed="2026-08")) == [
        told(AbsenceConfirmed, late, soon)
    ]


def test_an_amendment_takes_back_what_is_gone_books_what_is_new_and_leaves_the_rest_alone() -> None:
    amended = book(day(MONDAY), day(THURSDAY), revision=2)
    assert given(ABSENCES, BOOKED).when(amended) == [
        told(AbsenceCorrected, line(FRIDAY, -480, "2026-07"), line(THURSDAY, 480, "2026-07"), revision=2)
    ]


def test_a_day_that_changes_is_taken_back_and_booked_anew() -> None:
    halved = book(day(FRIDAY, 240, part="morning"), day(MONDAY), revision=2)
    assert given(ABSENCES, BOOKED).when(halved) == [
        told(
            AbsenceCorrected,
            line(FRIDAY, -480, "2026-07"),
            line(FRIDAY, 240, "2026-07", part="morning"),
            revision=2,
        )
    ]


def test_a_correction_after_the_close_is_booked_in_the_next_month_and_names_the_closed_one() -> None:
    amended = book(day(MONDAY), revision=2, closed="2026-07")
    assert given(ABSENCES, BOOKED).when(amended) == [
        told(AbsenceCorrected, line(FRIDAY, -480, "2026-08", original_period="2026-07"), revision=2)
    ]


def test_an_amendment_that_costs_the_same_says_nothing() -> None:
    assert given(ABSENCES, BOOKED).when(book(day(MONDAY), day(FRIDAY), revision=2)) == []


def test_what_is_taken_back_keeps_the_code_that_it_was_booked_under() -> None:
    moved = Payment("HOL", paid=False, cost_centres=((date(2020, 1, 1), "9999"),))
    amended = book(day(FRIDAY, 240, part="morning"), day(MONDAY), revision=2, payment=moved)
    assert given(ABSENCES, BOOKED).when(amended) == [
        told(
            AbsenceCorrected,
            line(FRIDAY, -480, "2026-07"),
            line(FRIDAY, 240, "2026-07", part="morning", pay_code="HOL", paid=False, cost_centre="9999"),
            revision=2,
        )
    ]


def test_a_holiday_within_a_closed_month_is_taken_back_in_the_next_one() -> None:
    taken_back = line(FRIDAY, -480, "2026-08", original_period="2026-07")
    assert given(ABSENCES, BOOKED).when(book(day(MONDAY), closed="2026-07")) == [told(AbsenceCorrected, taken_back)]


def test_leave_that_costs_nothing_any_more_and_then_something_again_is_confirmed_anew() -> None:
    nothing_left = given(ABSENCES, BOOKED).after(book())
    assert nothing_left.when(book(day(MONDAY))) == [told(AbsenceConfirmed, line(MONDAY, 480, "2026-08"))]


def test_cancelled_leave_is_revoked_whole() -> None:
    revoked = told(AbsenceRevoked, line(FRIDAY, -480, "2026-07"), line(MONDAY, -480, "2026-08"), revision=2)
    assert given(ABSENCES, BOOKED).when(revoke()) == [revoked]
    assert given(ABSENCES, BOOKED, revoked).state == Absences()


def test_leave_that_payroll_never_heard_of_is_not_revoked() -> None:
    assert given(ABSENCES).when(revoke()) == []


def test_absences_of_one_person_do_not_touch_each_other() -> None:
    other = BookAbsence("r2", 1, "anna", "sick", (day(FRIDAY, 240, part="afternoon"),), PAYMENT, None)
    after = given(ABSENCES, BOOKED).after(other, revoke()).state
    assert set(after.standing) == {"r2"}


days = st.lists(
    st.builds(day, st.dates(date(2026, 6, 1), date(2026, 9, 30)), st.sampled_from([240, 480]), st.integers(1, 480)),
    min_size=1, max_size=6, unique_by=lambda one: one.date,
)  # fmt: skip
closings = st.integers(0, 3)


@drawn(st.lists(st.tuples(st.sampled_from(["r1", "r2"]), st.none() | days, closings), max_size=12))
def test_lines_add_up_to_what_stands_and_no_line_is_booked_in_a_closed_month(
    life: list[tuple[str, list[ChargedDay] | None, int]],
) -> None:
    past: Given[AbsenceCommand, Absences, AbsenceEvent] = given(ABSENCES)
    confirmed: dict[tuple[str, date], tuple[int, int]] = {}
    last_closed = "2026-05"
    for number, (absence, wanted, closed) in enumerate(life, start=1):
        for _ in range(closed):
            last_closed = next_month(last_closed)
        command: AbsenceCommand = RevokeAbsence(absence, number, "anna", "annual", last_closed)
        if wanted is not None:
            command = BookAbsence(absence, number, "anna", "annual", tuple(wanted), PAYMENT, last_closed)
        for event in past.when(command):
            assert all(one.period > last_closed for one in event.lines)
            months = [(one.date.strftime("%Y-%m"), one) for one in event.lines]
            assert all(one.original_period == (None if one.period == month else month) for month, one in months)
        past = past.after(command)
        confirmed = {key: minutes for key, minutes in confirmed.items() if key[0] != absence}
        confirmed |= {(absence, one.date): (one.entitlement_minutes, one.scheduled_minutes) for one in wanted or ()}
    totals: dict[tuple[str, date], tuple[int, int]] = {}
    for event in past.past:
        for one in event.lines:
            entitlement, scheduled = totals.get((event.absence_id, one.date), (0, 0))
            totals[event.absence_id, one.date] = (
                entitlement + one.entitlement_minutes,
                scheduled + one.scheduled_minutes,
            )
    assert {key: minutes for key, minutes in totals.items() if minutes != (0, 0)} == confirmed
    standing = {(name, one.date) for name, lines in past.state.standing.items() for one in lines}
    assert standing == set(confirmed)


# The months -----------------------------------------------------------------------------------------------------------

TODAY = date(2026, 8, 20)


def close(period: str, first_booked: str | None = None, booked: Booked = Booked()) -> ClosePeriod:  # noqa: B008  # frozen
    return ClosePeriod(period, "pat", TODAY, booked, first_booked)


def closed(period: str, lines: int = 0, entitlement: int = 0, scheduled: int = 0) -> PeriodClosed:
    return PeriodClosed(
        period=period, closed_by="pat", line_count=lines, entitlement_minutes=entitlement, scheduled_minutes=scheduled
    )


def test_a_month_is_closed_with_its_control_totals() -> None:
    assert given(CALENDAR).when(close("2026-07", booked=Booked(3, 480, 384))) == [closed("2026-07", 3, 480, 384)]


def test_a_month_that_has_begun_may_be_closed_before_it_ends_and_a_later_one_not() -> None:
    july = given(CALENDAR, closed("2026-07"))
    assert july.when(close("2026-08")) == [closed("2026-08")]
    july.refuses(close("2026-09"), PeriodNotBegun)


def test_months_are_closed_one_after_the_other() -> None:
    december = given(CALENDAR, closed("2025-12"))
    assert "2026-01" in str(december.refuses(close("2026-02"), PeriodOutOfOrder))
    assert december.when(close("2026-01")) == [closed("2026-01")]


def test_the_first_month_to_be_closed_is_the_first_in_which_anything_is_booked_or_an_earlier_one() -> None:
    assert "2026-05" in str(given(CALENDAR).refuses(close("2026-06", "2026-05"), PeriodOutOfOrder))
    for period in ("2026-05", "2026-03"):
        assert given(CALENDAR).when(close(period, "2026-05")) == [closed(period)]


@pytest.mark.parametrize("period", ["2026-07", "2026-06", "2019-01"])
def test_a_month_that_is_closed_stays_closed(period: str) -> None:
    assert given(CALENDAR, closed("2026-07")).when(close(period)) == []
