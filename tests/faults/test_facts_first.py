"""A fact that arrives before what it rests on waits, and goes its way once that has come; it is no dead letter."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from tests.e2e.company import FULL, OFF, Company
from tests.faults import invariants
from tests.waiting import eventually

from lms.cli.system import System


@contextmanager
def deaf(system: System, service: str) -> Iterator[None]:
    """Keep a service from learning facts of other services: somebody else holds the rows that its projector moves."""
    with invariants.mysql(system) as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            f"SELECT next_offset FROM lms_{service}.consumer_offsets"  # noqa: S608  # our own names
            " WHERE consumer = 'facts' FOR UPDATE"
        )
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def parked(system: System, service: str, key: str) -> list[tuple[str, str]]:
    """Return which consumers of a service have set a key aside, and why."""
    sql = f"SELECT consumer, kind FROM lms_{service}.parked_keys WHERE key_ = '{key}'"  # noqa: S608  # our own names
    return [(str(consumer), str(kind)) for consumer, kind in invariants.rows(system, sql)]


@pytest.mark.parametrize(("service", "reactor"), [("balances", "life-of-request"), ("approvals", "cases")])
async def test_a_request_that_rests_on_unknown_facts_is_held_until_they_come(
    system: System, company: Company, service: str, reactor: str
) -> None:
    slug = company.leave_type()
    company.policy(slug, 5, "2026-01-01")
    manager = company.hire(roles=("employee", "manager"))
    known = company.hire(manager=manager)
    company.becomes(known, slug, "5.00")
    await invariants.at_rest(system)

    def ask_early() -> tuple[str, str]:
        four_days = company.schedule([FULL] * 4 + [OFF] * 3)
        person = company.hire(manager=manager, schedule=four_days)
        body = {"leave_type": slug, "start_date": "2026-11-02", "end_date": "2026-11-06"}

        def ask() -> Any:
            answer = company.call("POST", "/leave-requests", person, body)
            return answer.json() if answer.status_code == 201 else None

        asked = eventually(ask, f"requests does not know {person}")
        held = partial(parked, system, service, person.id)
        assert eventually(held, f"{service} did not hold the request") == [(reactor, "held")]
        request = company.request(asked["id"])
        assert (request["status"], request["amount"]["days"]) == ("pending", "4.00")
        assert company.case(manager, request["id"]) is None
        return person.id, str(request["id"])

    with deaf(system, service):
        person, request_id = await asyncio.to_thread(ask_early)
    case = await asyncio.to_thread(
        eventually, lambda: company.case(manager, request_id), "the request did not go its way"
    )
    assert case["revision"] == 1
    await invariants.at_rest(system)
    await invariants.check(system)
    assert parked(system, service, person) == []
    letters = await invariants.messages(system, f"dlq.{service}.{reactor}")
    assert [one for one in letters if one.key == person.encode()] == []
