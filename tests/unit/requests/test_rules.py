from collections.abc import Callable
from dataclasses import replace
from datetime import date, time
from typing import Any

import pytest

from lms.kernel.errors import DomainError
from lms.kernel.testing import given
from lms.requests.decider import BOOK, errors
from lms.requests.decider.book import RequestLeave
from lms.requests.decider.chargeable import Interval
from lms.requests.decider.rules import Employment, Facts, PolicyVersion, shaped

MONDAY = date(2026, 6, 1)
FRIDAY = date(2026, 6, 5)
Ask = Callable[..., RequestLeave]


def test_leave_that_ends_before_it_starts_is_refused(ask: Ask) -> None:
    given(BOOK).refuses(ask(FRIDAY, MONDAY), errors.EndBeforeStart)


def test_leave_of_more_than_366_days_is_refused_at_once(ask: Ask) -> None:
    given(BOOK).refuses(ask(date(2026, 1, 1), date(2027, 1, 2)), errors.IntervalTooLong)
    assert given(BOOK).when(ask(date(2026, 1, 1), date(2027, 1, 1)))


def test_a_weekend_is_nothing_to_charge(ask: Ask) -> None:
    given(BOOK).refuses(ask(date(2026, 6, 6), date(2026, 6, 7)), errors.NothingToCharge)


def test_leave_before_or_after_the_employment_is_refused(ask: Ask) -> None:
    employment = Employment(MONDAY, FRIDAY, ((MONDAY, "berlin"),))
    given(BOOK).refuses(ask(date(2026, 5, 29), MONDAY, employment=employment), errors.OutsideEmployment)
    given(BOOK).refuses(ask(FRIDAY, date(2026, 6, 8), employment=employment), errors.OutsideEmployment)
    assert given(BOOK).when(ask(MONDAY, FRIDAY, employment=employment))


def test_notice_counts_calendar_days_up_to_the_first_day_of_leave(ask: Ask) -> None:
    given(BOOK).refuses(ask(MONDAY, min_notice_days=7, today=date(2026, 5, 26)), errors.NoticeTooShort)
    assert given(BOOK).when(ask(MONDAY, min_notice_days=7, today=date(2026, 5, 25)))


def test_a_type_without_notice_can_be_asked_for_afterwards(ask: Ask) -> None:
    assert given(BOOK).when(ask(MONDAY, today=date(2026, 6, 20)))


def test_leave_longer_than_the_type_allows_is_refused(ask: Ask) -> None:
    given(BOOK).refuses(ask(MONDAY, FRIDAY, max_length_days=4), errors.LongerThanAllowed)
    assert given(BOOK).when(ask(MONDAY, date(2026, 6, 7), max_length_days=5))
    assert given(BOOK).when(ask(MONDAY, date(2026, 6, 2), end_part="morning", max_length_days=2))


def policy(**changes: Any) -> PolicyVersion:
    return replace(PolicyVersion(policy_id="annual", version=1, effective_from=date(2016, 1, 1)), **changes)


def test_leave_in_a_blackout_is_refused_and_beside_it_is_not(ask: Ask) -> None:
    policies = (policy(blackouts=((date(2026, 6, 3), date(2026, 6, 4)),)),)
    given(BOOK).refuses(ask(MONDAY, FRIDAY, policies=policies), errors.InBlackout)
    assert given(BOOK).when(ask(MONDAY, date(2026, 6, 2), policies=policies))


def test_leave_within_the_waiting_period_is_refused(ask: Ask) -> None:
    employment = Employment(MONDAY, None, ((MONDAY, "berlin"),))
    policies = (policy(waiting_period_days=90),)
    given(BOOK).refuses(ask(date(2026, 8, 28), employment=employment, policies=policies), errors.WithinWaitingPeriod)
    assert given(BOOK).when(ask(date(2026, 8, 31), employment=employment, policies=policies))


def test_the_policy_of_the_location_precedes_the_one_for_everywhere_and_the_newest_version_counts(
    facts: Callable[..., Facts],
) -> None:
    everywhere = policy(policy_id="all")
    old = policy(policy_id="berlin", locations=("berlin",))
    new = policy(policy_id="berlin", version=2, locations=("berlin",), effective_from=MONDAY)
    paris = policy(policy_id="paris", locations=("paris",))
    known = facts(policies=(everywhere, old, new, paris))
    assert known.policy_on(date(2026, 5, 31)) == old
    assert known.policy_on(MONDAY) == new
    assert facts(policies=(paris,)).policy_on(MONDAY) is None


@pytest.mark.parametrize(
    ("start", "end", "meant"),
    [
        ("full", "full", "full"),
        ("morning", "morning", "morning"),
        ("morning", "full", "morning"),
        ("full", "afternoon", "afternoon"),
        ("morning", "afternoon", "full"),
    ],
)
def test_the_parts_of_a_single_day_are_made_one(start: Any, end: Any, meant: str) -> None:
    interval = shaped(Interval(MONDAY, MONDAY, start, end), "half-day")
    assert (interval.start_part, interval.end_part) == (meant, meant)


def wrong(error: type[DomainError], unit: Any, first: date, last: date, **parts: Any) -> None:
    with pytest.raises(error):
        shaped(Interval(first, last, **parts), unit)


def test_parts_that_contradict_leave_a_gap_or_do_not_suit_the_unit_are_refused() -> None:
    wrong(errors.EndBeforeStart, "half-day", MONDAY, MONDAY, start_part="afternoon", end_part="morning")
    wrong(errors.PartNotAllowed, "half-day", MONDAY, FRIDAY, start_part="morning")
    wrong(errors.PartNotAllowed, "half-day", MONDAY, FRIDAY, end_part="afternoon")
    wrong(errors.PartNotAllowed, "day", MONDAY, MONDAY, start_part="morning")


def test_hours_are_those_of_one_day_of_a_type_in_hours() -> None:
    hours = {"from_time": time(9, 0), "to_time": time(11, 0)}
    assert shaped(Interval(MONDAY, MONDAY, from_time=time(9, 0), to_time=time(11, 0)), "hour")
    wrong(errors.HoursNotAllowed, "half-day", MONDAY, MONDAY, **hours)
    wrong(errors.HoursNotAllowed, "hour", MONDAY, FRIDAY, **hours)
    wrong(errors.HoursNotAllowed, "hour", MONDAY, MONDAY, from_time=time(9, 0))
    wrong(errors.HoursNotAllowed, "hour", MONDAY, MONDAY, from_time=time(9, 0, 30), to_time=time(11, 0))
    wrong(errors.EndBeforeStart, "hour", MONDAY, MONDAY, from_time=time(11, 0), to_time=time(9, 0))
