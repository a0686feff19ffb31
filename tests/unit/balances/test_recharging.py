"""Booked leave that costs something else since holidays, a schedule or a location changed."""

from datetime import date, timedelta
from typing import Any

import pytest
from tests.unit.balances.conftest import DAY, workdays

from lms.balances.decider.account import LEAVE_ACCOUNT, Recharge
from lms.balances.events import (
    BalanceCarriedOver,
    BalanceExpired,
    BalanceInsufficient,
    BalanceRecharged,
    BalanceReserved,
    ChargedDay,
    CountedDay,
    LedgerEntry,
    RestsOn,
)
from lms.balances.projections.ledger import lines

MONDAY, WEDNESDAY, FRIDAY = date(2026, 6, 1), date(2026, 6, 3), date(2026, 6, 5)
WEEK = workdays(MONDAY, FRIDAY)
SHORT_WEEK = workdays(MONDAY, FRIDAY, holidays=[WEDNESDAY])
JOINED = date(2026, 1, 1)
NEW_YEAR = date(2027, 1, 1)


def names(events: list[Any]) -> list[str]:
    return [one.TYPE for one in events]


def test_a_holiday_within_confirmed_leave_is_credited_to_the_lot_that_it_came_from(hire: Any) -> None:
    ada = hire(days=20, joined=JOINED)
    ada.take("summer", WEEK)
    (event,) = ada.recharge("summer", SHORT_WEEK)
    credit = LedgerEntry(lot_id="annual.2026", date=WEDNESDAY, minutes=DAY)
    assert (event.booking, event.entries) == ("debit", (credit,))
    assert lines(event) == [("credit", credit)]
    assert event.days == tuple(CountedDay(date=one.date, entitlement_minutes=DAY) for one in SHORT_WEEK)
    assert ada.days(date(2026, 12, 31)) == 16


def test_the_entries_name_the_facts_that_the_days_rest_on(hire: Any) -> None:
    ada = hire(days=20, joined=JOINED)
    ada.take("summer", WEEK)
    rests_on = (RestsOn(stream="calendar-france", version=3),)
    (event,) = LEAVE_ACCOUNT.decide(
        Recharge(
            employee_id="ada", today=ada.today, rulebook=ada.rulebook, request_id="summer", revision=1,
            cause="schedule", days=SHORT_WEEK, rests_on=rests_on,
        ),
        ada.state,
    )  # fmt: skip
    assert isinstance(event, BalanceRecharged)
    assert (event.cause, event.rests_on) == ("schedule", rests_on)


def test_what_is_recharged_twice_is_booked_once(hire: Any) -> None:
    ada = hire(days=20, joined=JOINED)
    ada.take("summer", WEEK)
    ada.recharge("summer", SHORT_WEEK)
    assert ada.recharge("summer", SHORT_WEEK) == []


def test_other_scheduled_minutes_of_the_same_days_change_no_balance(hire: Any) -> None:
    ada = hire(days=20, joined=JOINED)
    ada.take("summer", WEEK)
    shorter = tuple(one.model_copy(update={"scheduled_minutes": 384}) for one in WEEK)
    assert ada.recharge("summer", shorter) == []


def test_confirmed_leave_that_comes_to_cost_more_is_debited_beyond_the_limit(hire: Any) -> None:
    ada = hire(days=4, joined=JOINED)
    ada.take("summer", SHORT_WEEK)
    (event,) = ada.recharge("summer", WEEK)
    assert event.entries == (
        LedgerEntry(lot_id="annual.2026", date=WEDNESDAY, minutes=-DAY),
        LedgerEntry(lot_id=None, date=FRIDAY, minutes=-DAY),
        LedgerEntry(lot_id="annual.2026", date=FRIDAY, minutes=DAY),
    )
    assert ada.days(date(2026, 12, 31)) == -1


def test_a_reservation_follows(hire: Any) -> None:
    ada = hire(days=5, joined=JOINED)
    assert ada.reserves("summer", WEEK)
    (event,) = ada.recharge("summer", SHORT_WEEK)
    assert lines(event) == [("release", LedgerEntry(lot_id="annual.2026", date=WEDNESDAY, minutes=DAY))]
    assert ada.reserves("autumn", workdays(date(2026, 9, 1), date(2026, 9, 1)))
    ada.confirm("summer", SHORT_WEEK)
    assert ada.days(date(2026, 12, 31)) == 0


def test_a_reservation_that_comes_to_cost_more_than_there_is_is_given_back_and_refused(hire: Any) -> None:
    ada = hire(days=4, joined=JOINED)
    assert ada.reserves("summer", SHORT_WEEK)
    released, refused = ada.recharge("summer", WEEK)
    assert (released.TYPE, released.cause) == ("balance.released", "refused")
    assert isinstance(refused, BalanceInsufficient)
    assert (refused.requested_minutes, refused.available_minutes, refused.cause) == (5 * DAY, 4 * DAY, "balance")
    assert ada.days(date(2026, 12, 31)) == 4
    assert ada.recharge("summer", SHORT_WEEK) == []
    assert ada.refuse("summer") == []


def test_approval_that_crosses_the_refusal_is_debited_all_the_same(hire: Any) -> None:
    ada = hire(days=4, joined=JOINED)
    assert ada.reserves("summer", SHORT_WEEK)
    ada.recharge("summer", WEEK)
    ada.confirm("summer", WEEK)
    assert ada.days(date(2026, 12, 31)) == -1


def test_a_reservation_that_costs_less_stays_though_the_balance_was_overdrawn_meanwhile(hire: Any) -> None:
    ada = hire(days=9, joined=JOINED)
    ada.take("spring", workdays(date(2026, 4, 6), date(2026, 4, 9)))
    assert ada.reserves("summer", WEEK)
    ada.recharge("spring", workdays(date(2026, 4, 6), date(2026, 4, 10)))
    assert names(ada.recharge("summer", SHORT_WEEK)) == ["balance.recharged"]


def test_an_open_amendment_keeps_what_it_needs_beyond_leave_that_costs_less(hire: Any) -> None:
    ada = hire(days=10, joined=JOINED)
    ada.take("summer", WEEK)
    later = workdays(date(2026, 7, 6), date(2026, 7, 10))
    (reserved,) = ada.reserve("summer", later, revision=2, replaces_revision=1)
    assert isinstance(reserved, BalanceReserved)
    assert reserved.entries == ()
    standing, open_ = ada.recharge("summer", SHORT_WEEK)
    assert (standing.revision, standing.booking) == (1, "debit")
    assert (open_.revision, open_.booking) == (2, "reservation")
    assert open_.entries == (LedgerEntry(lot_id="annual.2026", date=date(2026, 7, 10), minutes=-DAY),)
    ada.confirm("summer", later, revision=2, replaces_revision=1)
    assert ada.days(date(2026, 12, 31)) == 5


def test_an_open_amendment_that_is_no_longer_covered_is_refused_and_the_leave_stands(hire: Any) -> None:
    ada = hire(days=5, joined=JOINED)
    ada.take("summer", SHORT_WEEK)
    longer = (*SHORT_WEEK, *workdays(date(2026, 6, 8), date(2026, 6, 8)))
    assert ada.reserves("summer", longer, revision=2, replaces_revision=1)
    events = ada.recharge("summer", WEEK)
    assert names(events) == ["balance.recharged", "balance.recharged"]
    events = ada.recharge("summer", (*WEEK, longer[-1]), revision=2)
    assert names(events) == ["balance.released", "balance.insufficient"]
    assert ada.days(date(2026, 12, 31)) == 0


def test_leave_that_is_over_or_unknown_is_left_alone(hire: Any) -> None:
    ada = hire(days=5, joined=JOINED)
    assert ada.recharge("unknown", WEEK) == []
    ada.take("summer", WEEK)
    ada.cancel("summer")
    assert ada.recharge("summer", SHORT_WEEK) == []


def test_an_unlimited_type_is_recharged_without_a_balance(hire: Any) -> None:
    ada = hire(days=5, joined=JOINED)
    ada.reserve("ill", WEEK, leave_type="sick")
    ada.confirm("ill", WEEK, leave_type="sick")
    (event,) = ada.recharge("ill", SHORT_WEEK)
    assert event.entries == (LedgerEntry(lot_id=None, date=WEDNESDAY, minutes=DAY),)


@pytest.mark.parametrize(("limit", "carried", "expired"), [(5, 1, 0), (0, 0, 1)])
def test_a_credit_in_a_closed_year_is_carried_over_or_expires(
    hire: Any, limit: int, carried: int, expired: int
) -> None:
    ada = hire(days=5, joined=JOINED, carry_over_limit_minutes=limit * DAY)
    ada.take("summer", WEEK)
    ada.run(NEW_YEAR + timedelta(days=30))
    events = ada.recharge("summer", SHORT_WEEK)
    assert sum(one.minutes for one in events if isinstance(one, BalanceCarriedOver) and one.correction) == carried * DAY
    assert sum(one.minutes for one in events if isinstance(one, BalanceExpired) and one.correction) == expired * DAY
    assert ada.days(NEW_YEAR + timedelta(days=30)) == 5 + carried


def test_a_debit_in_a_closed_year_takes_back_what_was_carried_over(hire: Any) -> None:
    ada = hire(days=5, joined=JOINED, carry_over_limit_minutes=5 * DAY)
    ada.take("summer", SHORT_WEEK)
    ada.run(NEW_YEAR + timedelta(days=30))
    assert ada.days(NEW_YEAR + timedelta(days=30)) == 6
    events = ada.recharge("summer", WEEK)
    assert [one.minutes for one in events if isinstance(one, BalanceCarriedOver)] == [-DAY]
    assert ada.days(NEW_YEAR + timedelta(days=30)) == 5


def test_a_credit_to_a_lot_that_has_expired_expires_too(hire: Any) -> None:
    ada = hire(days=20, joined=JOINED, carry_over_limit_minutes=5 * DAY, carry_over_expires="03-31")
    ada.run(NEW_YEAR)
    ada.take("winter", workdays(date(2027, 2, 1), date(2027, 2, 5)))
    ada.run(date(2027, 4, 15))
    assert ada.days(date(2027, 4, 15)) == 20
    events = ada.recharge("winter", workdays(date(2027, 2, 1), date(2027, 2, 4)))
    assert [(one.lot_id, one.minutes) for one in events if isinstance(one, BalanceExpired)] == [
        ("annual.2027.carry-over", DAY)
    ]
    assert ada.days(date(2027, 4, 15)) == 20


def test_what_was_recharged_is_given_back_whole_when_it_is_cancelled(hire: Any) -> None:
    ada = hire(days=20, joined=JOINED)
    ada.take("summer", WEEK)
    ada.recharge("summer", SHORT_WEEK)
    ada.cancel("summer")
    assert ada.days(date(2026, 12, 31)) == 20
    half = (ChargedDay(date=MONDAY, entitlement_minutes=240, scheduled_minutes=240),)
    ada.take("half", half)
    assert ada.recharge("half", ()) != []
    assert ada.days(date(2026, 12, 31)) == 20
