"""The rules that real systems got wrong, each with its exact figures."""

from datetime import date
from typing import Any

import pytest

from lms.balances.decider.account import Overdrawn
from lms.balances.events import BalanceDebited, BalanceExpired, BalanceInsufficient, ChargedDay

DAY = 480


def off(*dates: str, minutes: int = DAY) -> tuple[ChargedDay, ...]:
    return tuple(
        ChargedDay(date=date.fromisoformat(one), entitlement_minutes=minutes, scheduled_minutes=minutes)
        for one in dates
    )


def week(first: str, days: int = 5) -> tuple[ChargedDay, ...]:
    start = date.fromisoformat(first)
    return off(*(date.fromordinal(start.toordinal() + number).isoformat() for number in range(days)))


def test_1_leave_across_new_year_is_charged_to_the_year_of_each_day(hire: Any) -> None:
    ada = hire(days=25, carry_over_limit_minutes=0, today=date(2017, 12, 1))
    ada.take(
        "noel",
        off(
            "2017-12-25", "2017-12-26", "2017-12-27", "2017-12-28", "2017-12-29",
            "2018-01-01", "2018-01-02", "2018-01-03",
        ),
    )  # fmt: skip
    assert ada.standing(date(2017, 12, 31)).taken == 5 * DAY
    assert ada.standing(date(2018, 1, 31)).taken == 3 * DAY
    assert ada.days(date(2018, 1, 31)) == 22


def test_2_leave_approved_after_new_year_has_used_the_old_year_for_its_old_days(hire: Any) -> None:
    ada = hire(today=date(2017, 1, 1), carry_over_limit_minutes=None)
    ada.adjust("opening", 7 * DAY, date(2017, 1, 1))
    leave = off("2017-12-27", "2017-12-28", "2017-12-29", "2018-01-02")
    assert ada.reserves("bridge", leave)
    ada.run(date(2018, 1, 1))
    assert ada.standing(date(2018, 1, 1)).carried == 4 * DAY
    ada.today = date(2018, 1, 3)
    ada.confirm("bridge", leave)
    assert ada.days(date(2018, 1, 1)) == 4
    assert ada.days(date(2018, 1, 2)) == 3


@pytest.mark.parametrize(("used", "expired", "remaining"), [(0, 10, 20), (8, 2, 20), (10, 0, 20), (12, 0, 18)])
def test_3_days_carried_over_are_used_first_and_what_is_left_of_them_expires(
    hire: Any, used: int, expired: int, remaining: int
) -> None:
    ada = hire(days=20, joined=date(2025, 1, 1), carry_over_limit_minutes=10 * DAY, carry_over_expires="03-31")
    ada.run(date(2026, 1, 1))
    ada.run(date(2026, 2, 1))
    ada.take("winter", off(*(f"2026-02-{day:02}" for day in range(1, used + 1))))
    assert ada.days(date(2026, 3, 31)) == 30 - used
    ada.run(date(2026, 4, 1))
    lapsed = [one.minutes for one in ada.events if isinstance(one, BalanceExpired) and one.cause == "validity"]
    assert sum(lapsed) == expired * DAY
    assert ada.days(date(2026, 4, 1)) == remaining


def test_4_leave_before_the_expiry_spends_what_expires(hire: Any) -> None:
    ada = hire(days=20, today=date(2026, 1, 1), joined=date(2026, 1, 1))
    ada.adjust("carried", 5 * DAY, date(2026, 1, 1), expires_on=date(2026, 3, 31))
    ada.take("february", week("2026-02-02"))
    assert ada.days(date(2026, 4, 1)) == 20


def test_5_one_and_a_half_days_carry_over_as_one_and_a_half(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1), carry_over_limit_minutes=None)
    ada.adjust("opening", 3 * DAY // 2, date(2026, 6, 1))
    ada.run(date(2027, 1, 1))
    assert ada.standing(date(2027, 1, 1)).carried == 720
    assert ada.days(date(2027, 1, 1)) == 1.5


def test_6_carry_over_and_cap_limit_the_next_year(hire: Any) -> None:
    ada = hire(days=21, joined=date(2026, 1, 1), cap_minutes=28 * DAY, carry_over_limit_minutes=7 * DAY)
    ada.take("spring", week("2026-03-02", 15))
    ada.run(date(2027, 1, 1))
    assert ada.days(date(2027, 1, 1)) == 27
    bob = hire(days=20, joined=date(2026, 1, 1), carry_over_limit_minutes=0)
    bob.take("spring", week("2026-03-02", 10))
    bob.run(date(2027, 1, 1))
    assert bob.days(date(2027, 1, 1)) == 20


def test_6_what_would_pass_the_cap_is_not_kept(hire: Any) -> None:
    ada = hire(days=21, joined=date(2026, 1, 1), cap_minutes=25 * DAY, carry_over_limit_minutes=7 * DAY)
    ada.run(date(2027, 1, 1))
    assert ada.days(date(2027, 1, 1)) == 25


def test_7_a_half_working_day_costs_half_a_day(hire: Any) -> None:
    ada = hire(days=10, joined=date(2026, 1, 1))
    ada.take("eve", off("2026-12-31", minutes=240))
    assert ada.days(date(2026, 12, 31)) == 9.5


def test_8_two_weeks_cost_the_scheduled_days_of_each(hire: Any) -> None:
    ada = hire(days=25, joined=date(2026, 1, 1))
    ada.take("summer", week("2026-07-06") + week("2026-07-13", 4))
    assert ada.standing(date(2026, 12, 31)).taken == 9 * DAY


def test_9_two_halves_of_a_day_are_one_day(hire: Any) -> None:
    ada = hire(days=10, joined=date(2026, 1, 1))
    ada.take("morning", off("2026-02-09", minutes=240))
    ada.take("afternoon", off("2026-02-09", minutes=240))
    assert ada.days(date(2026, 12, 31)) == 9


def test_10_the_clock_change_costs_nothing(hire: Any) -> None:
    ada = hire(days=10, joined=date(2026, 1, 1))
    ada.take("autumn", off("2026-10-26"))
    assert ada.days(date(2026, 10, 25)) == 10
    assert ada.days(date(2026, 10, 26)) == 9


def test_11_twelve_a_year_monthly_give_one_to_who_joins_on_1_december(hire: Any) -> None:
    ada = hire(days=12, accrual="monthly", joined=date(2026, 12, 1))
    assert ada.days(date(2026, 12, 1)) == 1


def test_11_monthly_by_days_gives_who_joins_on_24_january_8_of_31_days_of_the_month(hire: Any) -> None:
    ada = hire(days=21, accrual="monthly", pro_rata="days", joined=date(2026, 1, 24))
    assert ada.granted() == [("2026-01", 217, date(2026, 1, 24))]
    assert round(217 / DAY, 2) == 0.45


def test_12_a_late_accrual_run_that_runs_twice_grants_once_with_the_original_date(hire: Any) -> None:
    ada = hire(days=12, accrual="monthly", joined=date(2026, 1, 1), today=date(2026, 1, 1))
    ada.run(date(2026, 2, 3))
    assert ada.run(date(2026, 2, 3)) == []
    assert ada.granted() == [("2026-01", DAY, date(2026, 1, 1)), ("2026-02", DAY, date(2026, 2, 1))]


def test_13_an_expiring_carry_over_leaves_the_current_days_alone(hire: Any) -> None:
    ada = hire(days=20, joined=date(2025, 1, 1), carry_over_limit_minutes=5 * DAY, carry_over_expires="03-31")
    ada.run(date(2026, 1, 1))
    ada.take("winter", week("2026-02-02", 15))
    ada.run(date(2026, 4, 1))
    assert ada.days(date(2026, 4, 1)) == 10
    bob = hire(days=20, joined=date(2025, 1, 1), carry_over_limit_minutes=5 * DAY, carry_over_expires="03-31")
    bob.run(date(2026, 1, 1))
    bob.take("spring", week("2026-04-06", 10))
    bob.run(date(2026, 5, 1))
    assert bob.days(date(2026, 5, 1)) == 10


def test_14_of_two_requests_for_the_last_days_exactly_one_is_reserved(hire: Any) -> None:
    ada = hire(days=5, joined=date(2026, 1, 1))
    assert ada.reserves("june", week("2026-06-01"))
    assert not ada.reserves("july", week("2026-07-06"))


def test_14_pending_days_are_spoken_for(hire: Any) -> None:
    ada = hire(days=2, joined=date(2026, 1, 1))
    assert ada.reserves("june", week("2026-06-01", 2))
    refused = ada.reserve("july", week("2026-07-06", 2))
    assert [one for one in refused if isinstance(one, BalanceInsufficient)] == refused
    assert refused[0].requested_minutes == 2 * DAY
    assert refused[0].available_minutes == 0


def test_15_leave_is_cancelled_whatever_the_balance(hire: Any) -> None:
    ada = hire(days=5, joined=date(2026, 1, 1), negative_limit_minutes=5 * DAY)
    ada.take("june", week("2026-06-01", 10))
    assert ada.days(date(2026, 12, 31)) == -5
    credited = ada.cancel("june")
    assert ada.days(date(2026, 12, 31)) == 5
    assert ada.cancel("june") == []
    assert sum(entry.minutes for entry in credited[0].entries) == 10 * DAY


def test_16_future_leave_is_not_available_a_second_time(hire: Any) -> None:
    ada = hire(days=80, joined=date(2026, 1, 1))
    ada.take("october", week("2026-10-05", 7))
    assert ada.days(date(2026, 6, 1)) == 80
    assert ada.available_days(date(2026, 6, 1)) == 73


def test_18_a_negative_limit_is_a_limit(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1), negative_limit_minutes=5 * DAY)
    assert ada.reserves("a", week("2026-06-01", 3))
    assert ada.reserves("b", week("2026-06-08", 2))
    assert not ada.reserves("c", week("2026-06-15", 1))
    with pytest.raises(Overdrawn):
        ada.adjust("d", -1, date(2026, 7, 1))


def test_a_balance_is_checked_at_the_dates_of_the_leave(hire: Any) -> None:
    ada = hire(days=12, accrual="monthly", joined=date(2026, 1, 1))
    assert not ada.reserves("early", week("2026-03-02", 4))
    assert ada.reserves("later", week("2026-04-06", 4))


def test_days_that_will_have_expired_cover_no_later_leave(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1))
    ada.adjust("gift", 5 * DAY, date(2026, 1, 1), expires_on=date(2026, 3, 31))
    assert not ada.reserves("april", week("2026-04-06", 1))
    assert ada.reserves("march", week("2026-03-30", 2))


def test_a_new_leave_does_not_starve_a_later_one(hire: Any) -> None:
    ada = hire(days=12, accrual="monthly", joined=date(2026, 1, 1))
    assert ada.reserves("may", week("2026-05-04", 5))
    assert not ada.reserves("march", week("2026-03-02", 3))
    assert ada.reserves("june", week("2026-06-01", 1))


def test_a_reservation_on_next_years_entitlement_is_possible_before_it_is_granted(hire: Any) -> None:
    ada = hire(days=20, joined=date(2026, 1, 1), today=date(2026, 11, 24))
    assert ada.reserves("february", week("2027-02-01", 20))
    assert not ada.reserves("more", week("2027-03-01", 1))
    ada.run(date(2027, 1, 1))
    assert ada.days(date(2027, 2, 28)) == 0


def test_the_waiting_period_grants_but_does_not_let_take(hire: Any) -> None:
    ada = hire(days=20, joined=date(2026, 1, 1), waiting_period_days=90)
    assert ada.reserve("early", week("2026-03-30", 1))[0].cause == "waiting-period"
    assert ada.available_days(date(2026, 3, 31)) == 0
    assert ada.available_days(date(2026, 4, 1)) == 20
    assert ada.reserves("later", week("2026-04-01", 1))


def test_a_type_without_a_limit_is_booked_without_lots(hire: Any) -> None:
    ada = hire(days=5, joined=date(2026, 1, 1))
    assert ada.reserves("flu", week("2026-03-02", 30), leave_type="sick")
    debited = ada.confirm("flu", week("2026-03-02", 30), leave_type="sick")
    assert isinstance(debited[0], BalanceDebited)
    assert {entry.lot_id for entry in debited[0].entries} == {None}
    assert ada.days(date(2026, 12, 31)) == 5


def test_a_type_that_nobody_defined_is_answered_not_failed(hire: Any) -> None:
    ada = hire(days=5, joined=date(2026, 1, 1))
    assert ada.reserve("x", week("2026-03-02"), leave_type="moon")[0].cause == "unknown-leave-type"
