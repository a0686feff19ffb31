"""Two commands at once, over and over, with two copies of every service: exactly one of them stands.

The long form is as long as `LMS_TEST_RACES` says; its full length is 1,000 times.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from threading import Barrier

import pytest
from tests.e2e.company import Company, Employee
from tests.faults import invariants
from tests.waiting import eventually

from lms.cli.system import System

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


# A cancellation and an approval ---------------------------------------------------------------------------------------


def cancel(company: Company, who: Employee, request_id: str) -> None:
    answer = company.call("POST", f"/leave-requests/{request_id}/cancel", who, {})
    assert answer.is_success, answer.text


def approve(company: Company, manager: Employee, request_id: str) -> None:
    answer = company.call("POST", f"/approvals/{request_id}/approve", manager, {"revision": 1})
    assert answer.status_code in {200, 404, 409, 412}, answer.text


def at_once(*actions: Callable[[], None]) -> None:
    """Let two do something, each beginning when the other does too."""
    start = Barrier(len(actions))

    def begin(action: Callable[[], None]) -> None:
        start.wait(30)
        action()

    with ThreadPoolExecutor(len(actions)) as pair:
        for done in [pair.submit(begin, action) for action in actions]:
            done.result()


def race(company: Company, who: Employee, manager: Employee, leave_type: str, number: int) -> str:
    """Let somebody cancel what is being approved, with another lead in each number; return the request."""
    asked = str(company.ask(who, leave_type, day(7 * number), day(7 * number + 1))["id"])
    eventually(lambda: company.case(manager, asked), f"no case of {asked}")
    cancelling, approving = partial(cancel, company, who, asked), partial(approve, company, manager, asked)
    match number % 6:
        case 0:  # the cancellation leads by an answer, and the fact of it is on its way
            cancelling()
            approving()
        case 1:
            at_once(cancelling, approving)
        case 2:
            at_once(approving, cancelling)
        case 3:  # the approval leads by an answer
            approving()
            cancelling()
        case 4:  # and by one more
            approving()
            company.request(asked)
            cancelling()
        case _:  # and by all that follows from it
            approving()
            company.until_status(asked, "approved")
            cancelling()
    company.until_status(asked, "cancelled")
    return asked


def told_of(system: System, request_id: str) -> tuple[str, ...]:
    """Return what the leave book says of a request from when it was asked for, in its order."""
    sql = f"SELECT type FROM lms_requests.events WHERE stream LIKE 'leave-book-%' AND data LIKE '%{request_id}%'"  # noqa: S608  # our own id
    return tuple(kind for (kind,) in invariants.rows(system, f"{sql} ORDER BY version"))


@pytest.mark.parametrize("times", TIMES)
async def test_of_a_cancellation_and_an_approval_either_may_be_first_and_the_end_is_the_same(
    system: System, company: Company, times: int
) -> None:
    slug = company.leave_type()
    company.policy(slug, 30, "2026-01-01")
    manager = company.hire(roles=("employee", "manager"))
    people = [company.hire(manager=manager) for _ in range(times // 6)]

    def races(person: Employee) -> list[str]:
        company.becomes(person, slug, "30.00")
        return [race(company, person, manager, slug, number) for number in range(6)]

    def all_races() -> list[str]:
        with ThreadPoolExecutor(AT_ONCE // 2) as pool:
            return [one for done in pool.map(races, people) for one in done]

    requests = await asyncio.to_thread(all_races)
    await invariants.at_rest(system)
    outcomes = Counter(told_of(system, one) for one in requests)
    first, then = ("leave.requested", "leave.approval-requested"), ("leave.cancelled",)
    approved = (*first, "leave.confirmed", *then)
    lapsed = (*first, *then, "leave.decision-lapsed")
    unheard = (*first, *then)
    assert set(outcomes) <= {approved, lapsed, unheard}, outcomes
    assert outcomes[approved], outcomes
    assert outcomes[lapsed] + outcomes[unheard], outcomes
    for person in people:
        company.becomes(person, slug, "30.00")
        assert company.days_left(person, slug, figure="available") == "30.00"
        sql = f"SELECT type FROM lms_requests.events WHERE stream = 'absences-{person.id}'"  # noqa: S608  # our own id
        told = Counter(kind for (kind,) in invariants.rows(system, sql))
        assert told["absence.confirmed"] == told["absence.revoked"], told
