"""Two commands at once, over and over, with two copies of every service: exactly one of them stands.

The long form is as long as `LMS_TEST_RACES` says; its full length is 1,000 times.
"""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from tests.e2e.company import Company, Employee

MONDAY = date(2026, 11, 2)
LONG = int(os.environ.get("LMS_TEST_RACES", "60"))
TIMES = [
    pytest.param(30, id="short"), pytest.param(LONG, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(3600)])
]  # fmt: skip
AT_ONCE = 8
WEEKS = 10
"""How many weeks one person asks for, a pair of requests for each."""


def day(number: int) -> str:
    """Return a day counted from the Monday of these tests."""
    return (MONDAY + timedelta(days=number)).isoformat()


def both(company: Company, who: Employee, leave_type: str, first: int, second: int) -> tuple[str, ...]:
    """Ask for three days from each start at the same moment; return what became of both, sorted."""
    with ThreadPoolExecutor(2) as pair:
        answers = list(
            pair.map(lambda start: company.try_to_ask(who, leave_type, day(start), day(start + 2)), (first, second))
        )
    return tuple(sorted(one.json()["status"] if one.status_code == 201 else str(one.status_code) for one in answers))


@pytest.mark.parametrize("times", TIMES)
def test_of_two_requests_for_the_last_days_exactly_one_stands(company: Company, times: int) -> None:
    slug = company.leave_type()
    company.policy(slug, 3, "2026-01-01")
    outcomes: Counter[tuple[str, ...]] = Counter()
    for begin in range(0, times, 50):
        people = [company.hire() for _ in range(min(50, times - begin))]
        for person in people:
            company.becomes(person, slug, "3.00")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes.update(pool.map(lambda person: both(company, person, slug, 0, 7), people))
    assert outcomes == {("pending", "rejected"): times}, outcomes


@pytest.mark.parametrize("times", TIMES)
def test_of_two_overlapping_requests_exactly_one_stands(company: Company, times: int) -> None:
    unlimited = company.leave_type(limited=False)
    people = [company.hire() for _ in range(times // WEEKS)]
    outcomes: Counter[tuple[str, ...]] = Counter()

    def weeks(person: Employee) -> list[tuple[str, ...]]:
        return [both(company, person, unlimited, 7 * week, 7 * week + 2) for week in range(WEEKS)]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in pool.map(weeks, people):
            outcomes.update(done)
    assert outcomes == {("409", "pending"): times}, outcomes
