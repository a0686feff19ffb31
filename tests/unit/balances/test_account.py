"""The leave account beyond the numbered rules: amendments, late facts, closed years, changes of employment."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from lms.balances.decider.account import (
    LEAVE_ACCOUNT,
    AdjustmentRefused,
    Debit,
    NoAccount,
    RecordDue,
    Reserve,
    beyond,
)
from lms.balances.decider.rulebook import Employment, Location
from lms.balances.decider.state import Account
from lms.balances.events import (
    BalanceAdjusted,
    BalanceCarriedOver,
    BalanceCredited,
    BalanceDebited,
    BalanceExpired,
    BalanceGrantCorrected,
    BalanceReleased,
    ChargedDay,
)

DAY = 480
NEW_YEAR = date(2027, 1, 1)


def week(first: str, days: int = 5) -> tuple[ChargedDay, ...]:
    start = date.fromisoformat(first)
    return tuple(
        ChargedDay(date=start + timedelta(days=number), entitlement_minutes=DAY, scheduled_minutes=DAY)
        for number in range(days)
    )


def names(events: list[Any]) -> list[str]:
    return [one.TYPE for one in events]


def test_a_moved_leave_of_the_same_length_needs_nothing_more(hire: Any) -> None:
    ada = hire(days=5, joined=date(2026, 1, 1))
    ada.take("summer", week("2026-06-01"))
    assert ada.reserves("summer", week("2026-07-06"), revision=2, replaces_revision=1)
    assert ada.days(date(2026, 12, 31)) == 0
    confirmed = ada.confirm("summer", week("2026-07-06"), revision=2, replaces_revision=1)
    assert names(confirmed) == ["balance.credited", "balance.debited"]
    assert ada.days(date(2026, 6, 30)) == 5
    assert ada.days(date(2026, 7, 31)) == 0


def test_a_longer_leave_sets_aside_what_it_needs_beyond_the_confirmed_one(hire: Any) -> None:
    ada = hire(days=7, joined=date(2026, 1, 1))
    ada.take("summer", week("2026-06-01"))
    reserved = ada.reserve("summer", week("2026-06-01", 7), revision=2, replaces_revision=1)
    assert [(one.date.day, one.minutes) for one in reserved[0].entries] == [(6, -DAY), (7, -DAY)]
    assert not ada.reserves("other", week("2026-08-03", 1))
    ada.refuse("summer", revision=2)
    assert ada.days(date(2026, 12, 31)) == 2
    assert ada.reserves("another", week("2026-08-03", 1))


def test_a_longer_leave_than_the_balance_bears_is_insufficient_and_the_confirmed_one_stands(hire: Any) -> None:
    ada = hire(days=5, joined=date(2026, 1, 1))
    ada.take("summer", week("2026-06-01"))
    assert names(ada.reserve("summer", week("2026-06-01", 7), revision=2, replaces_revision=1)) == [
        "balance.insufficient"
    ]
    assert ada.standing(date(2026, 12, 31)).taken == 5 * DAY


def test_nothing_is_accepted_that_an_open_amendment_could_not_bear_once_confirmed(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1))
    ada.adjust("spring", 5 * DAY, date(2026, 1, 1), expires_on=date(2026, 3, 31))
    ada.adjust("summer", 5 * DAY, date(2026, 4, 1))
    ada.take("leave", week("2026-03-02"))
    assert ada.reserves("leave", week("2026-06-01"), revision=2, replaces_revision=1)
    assert not ada.reserves("other", week("2026-07-06"))
    ada.refuse("leave", revision=2)
    assert ada.reserves("another", week("2026-07-06"))


def test_a_newer_revision_supersedes_an_open_one(hire: Any) -> None:
    ada = hire(days=5, joined=date(2026, 1, 1))
    ada.reserve("summer", week("2026-06-01"))
    amended = ada.reserve("summer", week("2026-07-06"), revision=2)
    assert names(amended) == ["balance.released", "balance.reserved"]
    assert ada.reserve("summer", week("2026-06-01"), revision=1) == []


def test_an_insufficient_amendment_releases_the_open_one_that_it_supersedes(hire: Any) -> None:
    ada = hire(days=5, joined=date(2026, 1, 1))
    ada.reserve("summer", week("2026-06-01"))
    assert names(ada.reserve("summer", week("2026-06-01", 6), revision=2)) == [
        "balance.released", "balance.insufficient",
    ]  # fmt: skip
    assert ada.days(date(2026, 12, 31)) == 5


def test_cancelling_releases_the_open_revision_and_credits_the_confirmed_one(hire: Any) -> None:
    ada = hire(days=10, joined=date(2026, 1, 1))
    ada.take("summer", week("2026-06-01"))
    ada.reserve("summer", week("2026-06-01", 7), revision=2, replaces_revision=1)
    assert names(ada.cancel("summer")) == ["balance.released", "balance.credited"]
    assert ada.days(date(2026, 12, 31)) == 10


def test_every_fact_may_come_twice_or_too_late(hire: Any) -> None:
    ada = hire(days=10, joined=date(2026, 1, 1))
    days = week("2026-06-01")
    ada.reserve("summer", days)
    assert ada.reserve("summer", days) == []
    ada.confirm("summer", days)
    assert ada.confirm("summer", days) == []
    assert ada.refuse("summer") == []
    ada.cancel("summer")
    assert ada.confirm("summer", days) == []
    assert ada.refuse("summer") == []
    assert ada.cancel("unknown") == []
    assert ada.refuse("unknown") == []
    assert ada.days(date(2026, 12, 31)) == 10


def test_a_confirmation_is_debited_also_without_a_reservation(hire: Any) -> None:
    ada = hire(days=3, joined=date(2026, 1, 1))
    debited = ada.confirm("summer", week("2026-06-01"))
    assert isinstance(debited[0], BalanceDebited)
    assert sum(one.minutes for one in debited[0].entries) == -5 * DAY


def test_a_release_in_a_closed_year_corrects_what_was_carried_over(hire: Any) -> None:
    ada = hire(days=20, joined=date(2026, 1, 1), carry_over_limit_minutes=5 * DAY)
    ada.reserve("december", week("2026-12-01", 18))
    ada.run(NEW_YEAR)
    assert ada.standing(NEW_YEAR).carried == 2 * DAY
    released = ada.refuse("december")
    assert isinstance(released[0], BalanceReleased)
    carried = [one for one in released if isinstance(one, BalanceCarriedOver)]
    lapsed = [one for one in released if isinstance(one, BalanceExpired)]
    assert [(one.minutes, one.correction) for one in carried] == [(3 * DAY, True)]
    assert [(one.minutes, one.cause, one.correction) for one in lapsed] == [(15 * DAY, "year-end", True)]
    assert ada.standing(NEW_YEAR).carried == 5 * DAY


def test_a_release_into_an_expired_lot_expires_at_once(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1))
    ada.adjust("gift", 5 * DAY, date(2026, 1, 1), expires_on=date(2026, 3, 31))
    ada.take("march", week("2026-03-02"))
    ada.run(date(2026, 4, 1))
    credited = ada.cancel("march")
    assert [one.minutes for one in credited if isinstance(one, BalanceExpired)] == [5 * DAY]
    assert ada.days(date(2026, 4, 1)) == 0


def test_leave_entered_late_takes_back_what_had_expired(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1))
    ada.adjust("gift", 5 * DAY, date(2026, 1, 1), expires_on=date(2026, 3, 31))
    ada.run(date(2026, 4, 1))
    assert ada.days(date(2026, 4, 1)) == 0
    reserved = ada.reserve("march", week("2026-03-02", 2))
    assert [one.minutes for one in reserved if isinstance(one, BalanceExpired)] == [-2 * DAY]
    assert ada.days(date(2026, 4, 1)) == 0


def test_the_next_lot_repays_an_overdraft(hire: Any) -> None:
    ada = hire(days=12, accrual="monthly", joined=date(2026, 1, 1), negative_limit_minutes=2 * DAY)
    ada.take("january", week("2026-01-12", 3))
    assert ada.days(date(2026, 1, 31)) == -2
    assert ada.days(date(2026, 2, 1)) == -1
    assert ada.days(date(2026, 3, 1)) == 0


def test_an_overdraft_that_was_repaid_excuses_no_later_one(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1))
    ada.confirm("january", week("2026-01-12", 2))
    ada.adjust("gift", 2 * DAY, date(2026, 2, 2))
    assert ada.days(date(2026, 2, 2)) == 0
    assert not ada.reserves("february", week("2026-02-09", 1))


def test_an_overdraft_of_the_past_refuses_no_leave_that_later_days_cover(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1))
    ada.confirm("january", week("2026-01-12", 2))
    ada.adjust("gift", 5 * DAY, date(2026, 2, 2))
    assert not ada.reserves("early", week("2026-01-20", 1))
    assert ada.reserves("february", week("2026-02-09", 3))


def test_a_moved_leave_that_is_still_open_blocks_no_other_that_both_futures_bear(hire: Any) -> None:
    ada = hire(days=10, joined=date(2026, 1, 1))
    ada.take("summer", week("2026-06-01"))
    assert ada.reserves("summer", week("2026-07-06"), revision=2, replaces_revision=1)
    assert ada.reserves("other", week("2026-08-03"))


def test_of_many_open_amendments_none_can_overdraw(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1))
    ada.adjust("spring", 6 * DAY, date(2026, 1, 1), expires_on=date(2026, 3, 31))
    ada.adjust("summer", 6 * DAY, date(2026, 4, 1))
    for number in range(6):
        ada.take(f"leave-{number}", week(f"2026-03-{10 + number}", 1))
    for number in range(6):
        moved = week(f"2026-06-{10 + number}", 1)
        assert ada.reserves(f"leave-{number}", moved, revision=2, replaces_revision=1)
    assert not ada.reserves("other", week("2026-07-06", 1))


def test_a_clock_that_is_set_back_undoes_nothing(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1))
    ada.adjust("gift", 5 * DAY, date(2026, 1, 1), expires_on=date(2026, 3, 31))
    ada.run(date(2026, 4, 1))
    assert ada.run(date(2026, 1, 5)) == []


def test_what_was_carried_over_is_spent_before_what_is_new(hire: Any) -> None:
    ada = hire(days=10, joined=date(2025, 1, 1), carry_over_limit_minutes=None)
    ada.run(date(2026, 1, 1))
    reserved = ada.reserve("winter", week("2026-01-12", 1))
    assert [one.lot_id for one in reserved[0].entries] == ["annual.2026.carry-over"]


def test_who_leaves_gives_back_the_share_of_the_year_not_worked(hire: Any) -> None:
    ada = hire(days=24, joined=date(2026, 1, 1), pro_rata="months")
    ada.run(date(2026, 5, 1))
    corrected = ada.employ(Employment(date(2026, 1, 1), date(2026, 6, 30), (Location(date(2026, 1, 1), "paris"),)))
    assert [one.minutes for one in corrected if isinstance(one, BalanceAdjusted)] == [-12 * DAY]
    assert ada.days(date(2026, 5, 1)) == 12
    assert ada.run(date(2027, 6, 1)) is not None
    assert ada.standing(date(2027, 6, 1)).granted == 0


def test_an_earlier_beginning_grants_what_was_missed(hire: Any) -> None:
    ada = hire(days=12, accrual="monthly", joined=date(2026, 2, 1), pro_rata="months")
    ada.run(date(2026, 3, 1))
    ada.employ(Employment(date(2025, 12, 1), None, (Location(date(2025, 12, 1), "paris"),)))
    assert [period for period, _, _ in sorted(ada.granted())] == ["2025-12", "2026-01", "2026-02", "2026-03"]


def test_the_same_employment_twice_changes_nothing(hire: Any) -> None:
    ada = hire(days=12, joined=date(2026, 1, 1))
    assert ada.employ(ada.state.employment) == []


def test_a_new_version_counts_from_its_effective_date(hire: Any, policy: Any) -> None:
    first = policy(entitlement_minutes=12 * DAY, accrual="monthly")
    second = policy(entitlement_minutes=24 * DAY, accrual="monthly", version=2, effective_from=date(2026, 3, 1))
    ada = hire(policies=(first, second), joined=date(2026, 1, 1))
    ada.run(date(2026, 4, 1))
    assert [minutes for _, minutes, _ in ada.granted()] == [DAY, DAY, 2 * DAY, 2 * DAY]


def test_a_version_that_holds_from_today_reaches_who_was_granted_something_today(hire: Any, policy: Any) -> None:
    ada = hire(policies=(policy(entitlement_minutes=20 * DAY),), joined=date(2026, 1, 1))
    ada.run(NEW_YEAR)
    ada.publish(policy(entitlement_minutes=25 * DAY, version=2, effective_from=NEW_YEAR))
    assert ada.run(NEW_YEAR) == [
        BalanceGrantCorrected(
            employee_id="ada", leave_type="annual", lot_id="annual.2027", minutes=5 * DAY, effective_date=NEW_YEAR,
            policy_id="annual", policy_version=2,
        )
    ]  # fmt: skip
    assert ada.run(NEW_YEAR) == []
    assert ada.days(NEW_YEAR) == 25
    assert [(lot.minutes, lot.policy_version) for lot in ada.standing(NEW_YEAR).grants] == [(25 * DAY, 2)]
    assert names(ada.move("rome", NEW_YEAR)) == ["leave-account.employment-noted"]


def test_a_version_that_raises_the_accrual_of_today_leaves_nobody_a_month_behind(hire: Any, policy: Any) -> None:
    first = policy(entitlement_minutes=12 * DAY, accrual="monthly")
    ada = hire(policies=(first,), joined=date(2026, 1, 1))
    ada.run(date(2026, 7, 1))
    july = date(2026, 7, 1)
    ada.publish(policy(entitlement_minutes=24 * DAY, accrual="monthly", version=2, effective_from=july))
    assert [(one.lot_id, one.minutes) for one in ada.run(july)] == [("annual.2026-07", DAY)]
    ada.run(date(2026, 12, 31))
    assert ada.days(date(2026, 12, 31)) == 6 * 1 + 6 * 2


def test_a_version_that_grants_fewer_from_today_takes_back_no_leave(hire: Any, policy: Any) -> None:
    ada = hire(policies=(policy(entitlement_minutes=25 * DAY),), joined=date(2026, 1, 1))
    ada.run(NEW_YEAR)
    ada.take("summer", week("2027-06-01", 22))
    ada.publish(policy(entitlement_minutes=20 * DAY, version=2, effective_from=NEW_YEAR))
    assert [one.minutes for one in ada.run(NEW_YEAR)] == [-5 * DAY]
    assert ada.days(date(2027, 12, 31)) == -2
    assert not ada.reserves("autumn", week("2027-10-04", 1))


def test_a_version_that_turns_todays_grant_into_accruals_takes_it_back(hire: Any, policy: Any) -> None:
    ada = hire(policies=(policy(entitlement_minutes=24 * DAY),), joined=date(2026, 1, 1))
    ada.run(NEW_YEAR)
    ada.publish(policy(entitlement_minutes=24 * DAY, accrual="monthly", version=2, effective_from=NEW_YEAR))
    changed = ada.run(NEW_YEAR)
    assert [(one.lot_id, one.minutes, one.policy_version) for one in changed] == [
        ("annual.2027", -24 * DAY, 2), ("annual.2027-01", 2 * DAY, 2),
    ]  # fmt: skip
    ada.run(date(2027, 12, 31))
    assert ada.days(date(2027, 12, 31)) == 24


def test_a_policy_for_a_location_that_holds_from_today_reaches_who_was_granted_something_today(
    hire: Any, policy: Any
) -> None:
    ada = hire(policies=(policy(entitlement_minutes=20 * DAY),), joined=date(2026, 1, 1))
    ada.run(NEW_YEAR)
    local = policy(
        entitlement_minutes=25 * DAY, policy_id="annual-paris", locations=("paris",), effective_from=NEW_YEAR
    )
    ada.publish(local)
    corrected = ada.run(NEW_YEAR)
    assert [(one.minutes, one.policy_id, one.policy_version) for one in corrected] == [(5 * DAY, "annual-paris", 1)]


def test_who_a_policy_leaves_out_from_today_loses_what_it_granted_today(hire: Any, policy: Any) -> None:
    ada = hire(policies=(policy(entitlement_minutes=20 * DAY, locations=("paris",)),), joined=date(2026, 1, 1))
    ada.run(NEW_YEAR)
    ada.publish(
        policy(entitlement_minutes=20 * DAY, version=2, locations=("rome",), effective_from=NEW_YEAR),
    )
    corrected = ada.run(NEW_YEAR)
    assert [(one.TYPE, one.minutes, one.policy_id) for one in corrected] == [
        ("balance.grant-corrected", -20 * DAY, None)
    ]
    assert ada.days(NEW_YEAR) == 0


def test_a_new_version_counts_before_anybody_has_recorded_what_it_changes(hire: Any, policy: Any) -> None:
    ada = hire(policies=(policy(entitlement_minutes=20 * DAY),), joined=date(2026, 1, 1))
    ada.run(NEW_YEAR)
    ada.publish(policy(entitlement_minutes=25 * DAY, version=2, effective_from=NEW_YEAR))
    assert ada.days(NEW_YEAR) == 25
    reserved = ada.reserve("summer", week("2027-06-01", 25))
    assert names(reserved) == ["balance.reserved", "balance.grant-corrected"]


def test_years_before_the_running_one_stand_as_they_were_granted(hire: Any, policy: Any) -> None:
    ada = hire(policies=(policy(entitlement_minutes=20 * DAY),), joined=date(2026, 1, 1))
    ada.run(NEW_YEAR)
    ada.publish(policy(entitlement_minutes=25 * DAY, version=2, effective_from=date(2026, 1, 1)))
    assert [one.lot_id for one in ada.run(NEW_YEAR)] == ["annual.2027"]
    assert names(ada.move("rome", date(2027, 3, 1))) == ["leave-account.employment-noted"]


def test_a_change_of_employment_does_not_answer_for_what_a_policy_changed(hire: Any, policy: Any) -> None:
    rome = policy(entitlement_minutes=30 * DAY, policy_id="annual-rome", locations=("rome",))
    ada = hire(policies=(policy(entitlement_minutes=20 * DAY), rome), joined=date(2026, 1, 1))
    ada.run(NEW_YEAR)
    ada.publish(policy(entitlement_minutes=25 * DAY, version=2, effective_from=NEW_YEAR))
    changed = ada.move("rome", date(2026, 12, 31))[1:]
    assert [(one.TYPE, one.minutes) for one in changed] == [
        ("balance.grant-corrected", 5 * DAY), ("balance.adjusted", 5 * DAY),
    ]  # fmt: skip
    assert isinstance(changed[1], BalanceAdjusted)
    assert changed[1].cause == "employment-changed"


@pytest.mark.parametrize("accrual", ["monthly", "up-front"])
@pytest.mark.parametrize("begins", [date(2026, 7, 1), date(2026, 7, 15)])
def test_cover_that_resumes_within_a_year_grants_what_a_colleague_there_gets(
    hire: Any, policy: Any, accrual: str, begins: date
) -> None:
    here = policy(entitlement_minutes=20 * DAY, policy_id="annual-paris", locations=("paris",))
    there = policy(
        entitlement_minutes=24 * DAY, policy_id="annual-rome", locations=("rome",), accrual=accrual,
        effective_from=begins,
    )  # fmt: skip
    ada = hire(policies=(here, there), joined=date(2024, 1, 1))
    ada.move("rome", date(2025, 3, 1))
    bob = hire(policies=(here, there), joined=date(2024, 1, 1))
    bob.employ(Employment(date(2024, 1, 1), None, (Location(date(2024, 1, 1), "rome"),)))
    for one in (ada, bob):
        one.run(date(2026, 12, 31))
    of_2026 = [grant for grant in ada.granted() if grant[2].year == 2026]
    assert of_2026 == [grant for grant in bob.granted() if grant[2].year == 2026]
    if accrual == "monthly" and begins == date(2026, 7, 1):
        assert ada.standing(date(2026, 12, 31)).granted == 12 * DAY


def test_cover_that_resumes_within_a_month_accrues_from_that_day(hire: Any, policy: Any) -> None:
    here = policy(entitlement_minutes=12 * DAY, policy_id="annual-paris", locations=("paris",), accrual="monthly")
    there = policy(
        entitlement_minutes=24 * DAY, policy_id="annual-rome", locations=("rome",), accrual="monthly",
        effective_from=date(2026, 7, 15),
    )  # fmt: skip
    ada = hire(policies=(here, there), joined=date(2026, 1, 1))
    ada.move("rome", date(2026, 3, 1))
    ada.run(date(2026, 8, 1))
    assert ada.granted() == [
        ("2026-01", DAY, date(2026, 1, 1)), ("2026-02", DAY, date(2026, 2, 1)),
        ("2026-07", round(2 * DAY * 17 / 31), date(2026, 7, 15)), ("2026-08", 2 * DAY, date(2026, 8, 1)),
    ]  # fmt: skip


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (5 * DAY, 5), (None, 24)])
def test_a_year_that_ends_without_a_policy_closes_under_the_last_one(
    hire: Any, policy: Any, limit: int | None, kept: int
) -> None:
    paris = policy(entitlement_minutes=24 * DAY, locations=("paris",), carry_over_limit_minutes=limit)
    ada = hire(policies=(paris,), joined=date(2025, 1, 1))
    ada.today = date(2025, 10, 1)
    ada.move("rome", date(2025, 10, 1))
    assert ada.days(date(2025, 12, 31)) == 24
    closed = ada.run(date(2026, 1, 1))
    lapsed = [(one.minutes, one.cause) for one in closed if isinstance(one, BalanceExpired)]
    assert lapsed == ([((24 - kept) * DAY, "year-end")] if kept < 24 else [])
    assert [ada.days(day) for day in (date(2026, 1, 1), date(2026, 6, 1), date(2030, 6, 1))] == 3 * [kept]
    assert {one.policy_version for one in closed if isinstance(one, BalanceCarriedOver)} == ({1} if kept else set())


def test_what_was_given_by_hand_where_no_policy_ever_was_stands(hire: Any) -> None:
    ada = hire(policies=(), joined=date(2025, 1, 1))
    ada.adjust("gift", 5 * DAY, date(2025, 6, 1))
    ada.run(date(2027, 1, 1))
    assert ada.days(date(2027, 1, 1)) == 5


def test_no_year_is_granted_twice_when_a_policy_turns_from_up_front_to_monthly(hire: Any, policy: Any) -> None:
    first = policy(entitlement_minutes=12 * DAY)
    second = policy(entitlement_minutes=12 * DAY, accrual="monthly", version=2, effective_from=date(2026, 7, 1))
    ada = hire(policies=(first, second), joined=date(2026, 1, 1))
    ada.run(date(2027, 1, 31))
    assert [period for period, _, _ in ada.granted()] == ["2026", "2027-01"]


def test_a_policy_for_the_location_precedes_the_one_for_all(hire: Any, policy: Any) -> None:
    general = policy(entitlement_minutes=20 * DAY)
    local = policy(entitlement_minutes=25 * DAY, policy_id="annual-paris", locations=("paris",))
    assert hire(policies=(general, local), joined=date(2026, 1, 1)).days(date(2026, 1, 1)) == 25


def test_monthly_roundings_never_drift(hire: Any) -> None:
    ada = hire(days=12150 / DAY, accrual="monthly", joined=date(2026, 1, 1))
    ada.run(date(2026, 12, 31))
    assert ada.granted()[0][1:] == (1012, date(2026, 1, 1))
    assert ada.standing(date(2026, 12, 31)).granted == 12150


def test_accrual_at_the_end_of_the_month_comes_on_its_last_day(hire: Any) -> None:
    ada = hire(days=12, accrual="monthly", accrual_at="end", joined=date(2026, 1, 1))
    assert ada.days(date(2026, 1, 30)) == 0
    assert ada.days(date(2026, 1, 31)) == 1


def test_adjustments_are_refused_where_they_contradict_themselves(hire: Any) -> None:
    ada = hire(days=5, joined=date(2026, 1, 1))
    for minutes, expires_on in ((0, None), (-DAY, date(2026, 3, 1)), (DAY, date(2025, 1, 1))):
        with pytest.raises(AdjustmentRefused):
            ada.adjust("x", minutes, date(2026, 1, 1), expires_on)
    nobody = replace(ada, events=[])
    with pytest.raises(NoAccount):
        nobody.adjust("x", DAY, date(2026, 1, 1))


def test_an_adjustment_counts_once(hire: Any) -> None:
    ada = hire(days=5, joined=date(2026, 1, 1))
    ada.adjust("x", -DAY, date(2026, 1, 1))
    assert ada.adjust("x", -DAY, date(2026, 1, 1)) == []
    assert ada.days(date(2026, 1, 1)) == 4


def test_the_figures_of_a_year_add_up(hire: Any) -> None:
    ada = hire(days=20, joined=date(2025, 1, 1), carry_over_limit_minutes=5 * DAY, carry_over_expires="03-31")
    ada.run(date(2026, 1, 1))
    ada.take("winter", week("2026-02-02", 2))
    ada.reserve("summer", week("2026-07-06"))
    ada.take("autumn", week("2026-10-05", 4))
    ada.adjust("gift", DAY, date(2026, 2, 1))
    now = ada.standing(date(2026, 8, 1))
    assert (now.carried, now.granted, now.adjusted) == (5 * DAY, 20 * DAY, DAY)
    assert (now.expired, now.taken, now.pending, now.upcoming) == (3 * DAY, 2 * DAY, 5 * DAY, 4 * DAY)
    assert now.balance == 16 * DAY
    assert now.available == 12 * DAY


def test_what_remains_available_spends_first_what_would_expire(hire: Any) -> None:
    ada = hire(joined=date(2026, 1, 1))
    ada.adjust("spring", 5 * DAY, date(2026, 1, 1), expires_on=date(2026, 3, 31))
    ada.adjust("year", 20 * DAY, date(2026, 1, 1))
    ada.take("april", week("2026-04-06", 20))
    assert ada.available_days(date(2026, 2, 1)) == 5
    assert ada.available_days(date(2026, 4, 30)) == 0


@pytest.mark.parametrize(
    ("standing", "wanted", "held"),
    [
        ([(1, 480)], [(1, 480), (2, 480)], [(2, 480)]),
        ([(1, 480)], [(5, 480)], []),
        ([(1, 480)], [(5, 480), (6, 480)], [(6, 480)]),
        ([(1, 480)], [(1, 240)], []),
        ([(1, 240)], [(1, 480)], [(1, 240)]),
    ],
)
def test_an_amendment_holds_only_what_it_needs_beyond(standing: Any, wanted: Any, held: Any) -> None:
    def dated(days: list[tuple[int, int]]) -> tuple[tuple[date, int], ...]:
        return tuple((date(2026, 6, day), minutes) for day, minutes in days)

    assert beyond(dated(standing), dated(wanted)) == dated(held)


def test_an_account_of_forty_years_is_read_back_from_its_snapshot_as_it_was(hire: Any) -> None:
    ada = hire(
        days=25, accrual="monthly", joined=date(1986, 1, 1), today=date(1986, 1, 1), carry_over_limit_minutes=5 * DAY,
        policies=None, effective_from=date(1986, 1, 1),
    )  # fmt: skip
    for year in range(1986, 2026):
        ada.events += LEAVE_ACCOUNT.decide(_due(ada, date(year, 12, 31)), ada.state)
        state = ada.state
        for month in range(2, 12):
            days = week(f"{year}-{month:02}-10", 2)
            booked = LEAVE_ACCOUNT.decide(_confirm(ada, f"{year}-{month}", days), state)
            ada.events += booked
            state = LEAVE_ACCOUNT.fold(booked, state)
    state = ada.state
    assert LEAVE_ACCOUNT.decide(_reserve(ada, "new"), state)
    adapter = TypeAdapter(Account)
    assert adapter.validate_json(adapter.dump_json(state)) == state


def _due(ada: Any, day: date) -> Any:
    return RecordDue(employee_id="ada", today=day, rulebook=ada.rulebook)


def _confirm(ada: Any, request: str, days: tuple[ChargedDay, ...]) -> Any:
    return Debit(
        employee_id="ada", today=days[0].date, rulebook=ada.rulebook, request_id=request, revision=1,
        leave_type="annual", days=days,
    )  # fmt: skip


def _reserve(ada: Any, request: str) -> Any:
    return Reserve(
        employee_id="ada", today=date(2026, 1, 1), rulebook=ada.rulebook, request_id=request, revision=1,
        leave_type="annual", days=week("2026-06-01"),
    )  # fmt: skip


def test_a_credit_names_the_revision_that_replaced_the_leave(hire: Any) -> None:
    ada = hire(days=10, joined=date(2026, 1, 1))
    ada.take("summer", week("2026-06-01"))
    ada.reserve("summer", week("2026-06-02"), revision=2, replaces_revision=1)
    credited = ada.confirm("summer", week("2026-06-02"), revision=2, replaces_revision=1)[0]
    assert isinstance(credited, BalanceCredited)
    assert (credited.revision, credited.replaced_by_revision, credited.cause) == (1, 2, "replaced")
