"""What cannot be applied stops its own key and nothing else, and a person can heal it by the command line."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
from tests.e2e.company import Company
from tests.faults import invariants
from tests.waiting import eventually

from lms.cli.system import System
from lms.kernel.cloudevents import encode_headers
from lms.kernel.event import Envelope
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer
from lms.kernel.parking import LARGEST_DEAD_LETTER

REQUESTS = "leave.requests.v1"
TWO_MEGABYTES = 2 * 1024 * 1024


def lms(system: System, *arguments: str) -> str:
    """Run the lms command against the system, and return what it prints."""
    environment = {**os.environ, "LMS_HOME": str(system.home.folder), "COLUMNS": "250"}
    done = subprocess.run(["lms", *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fact(key: str, version: int, payload: str, *, kind: str = "leave.requested", schema_version: int = 1) -> Message:
    """Return a message of somebody's leave book."""
    envelope = Envelope(
        event_id=new_id(), source="test", type=kind, schema_version=schema_version, stream=f"leave-book-{key}",
        version=version, log_epoch=1, key=key, time=datetime.now(UTC), data={}, correlation_id=key, causation_id=key,
    )  # fmt: skip
    return Message(REQUESTS, key, payload, encode_headers(envelope))


async def send(system: System, *messages: Message) -> None:
    producer = Producer(system.kafka.bootstrap_servers, client_id="test")
    await producer.send_all(messages)
    await producer.stop()


def life_goes_on(company: Company) -> None:
    """Let somebody else take leave."""
    slug = company.leave_type()
    company.policy(slug, 5, "2026-01-01")
    manager = company.hire(roles=("employee", "manager"))
    person = company.hire(manager=manager)
    company.becomes(person, slug, "5.00")
    company.take(person, manager, slug, "2026-11-02", "2026-11-03")


async def healed(system: System, key: str) -> None:
    """Wait until nobody has parked a key."""
    await asyncio.to_thread(eventually, lambda: not invariants.parked(system, key), f"{key} did not heal")


async def test_a_broken_fact_parks_its_key_the_rest_flows_and_skip_heals(system: System, company: Company) -> None:
    key = new_id()
    await send(system, fact(key, 1, '{"employee_id": "somebody"}'))

    def parked() -> str:
        listed = lms(system, "dlq", "list")
        return listed if key in listed else ""

    listed = await asyncio.to_thread(eventually, parked, "the key was not parked")
    assert "life-of-request" in listed
    assert "poison" in listed
    shown = json.loads(lms(system, "dlq", "show", "balances", "life-of-request", key))
    assert (shown["topic"], shown["payload"]) == ("leave.requests.v1", '{"employee_id": "somebody"}')

    await asyncio.to_thread(life_goes_on, company)
    letters = [
        one for one in await invariants.messages(system, "dlq.balances.life-of-request") if one.key == key.encode()
    ]
    assert "does not have the fields" in dict(letters[0].headers)["lms-reason"].decode()
    await invariants.at_rest(system)
    for service, consumer in invariants.parked(system, key):
        lms(system, "dlq", "skip", service, consumer, key)
    await healed(system, key)


@contextmanager
def unwritable(system: System, stream: str) -> Iterator[None]:
    """Let the database of balances refuse whatever is appended to a stream, as a mistake in a migration might."""
    trigger = f"lms_balances.t_{new_id().replace('-', '')}"
    with invariants.mysql(system) as cursor:
        cursor.execute(
            f"CREATE TRIGGER {trigger} BEFORE INSERT ON lms_balances.events FOR EACH ROW"
            f" IF NEW.stream = '{stream}' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a mistake'; END IF"
        )
        try:
            yield
        finally:
            cursor.execute(f"DROP TRIGGER {trigger}")


async def test_what_could_not_be_applied_goes_its_way_by_retry_once_the_cause_is_mended(
    system: System, company: Company
) -> None:
    slug = company.leave_type()
    company.policy(slug, 5, "2026-01-01")
    manager = company.hire(roles=("employee", "manager"))
    person = company.hire(manager=manager)
    company.becomes(person, slug, "5.00")
    sql = f"SELECT kind FROM lms_balances.parked_keys WHERE key_ = '{person.id}'"  # noqa: S608  # our own id
    retry = ("dlq", "retry", "balances", "life-of-request", person.id)

    async def poisoned() -> None:
        def look() -> bool:
            return invariants.rows(system, sql) == [("poison",)]

        await asyncio.to_thread(eventually, look, "the request is not set aside")

    with unwritable(system, f"leave-account-{person.id}"):
        body = {"leave_type": slug, "start_date": "2026-11-02", "end_date": "2026-11-03"}
        asked = company.do("POST", "/leave-requests", person, body)
        await poisoned()
        listed = [one for one in lms(system, "dlq", "list").splitlines() if person.id in one]
        assert len(listed) == 1, listed
        assert "life-of-request" in listed[0]
        assert "1644" in listed[0]
        await asyncio.to_thread(life_goes_on, company)
        lms(system, *retry)
        await poisoned()
    lms(system, *retry)
    await healed(system, person.id)
    assert (await asyncio.to_thread(company.decide, manager, asked)).is_success
    await asyncio.to_thread(company.until_status, asked["id"], "approved")
    await invariants.at_rest(system)
    await asyncio.to_thread(
        eventually, lambda: company.days_left(person, slug, figure="available") == "3.00", "it is not debited once"
    )
    for service in ("balances", "requests"):
        await invariants.check(system, service)


def passed_over(system: System, service: str) -> float:
    """Return how many events the copies of a service have passed over because they do not read them."""
    texts = [httpx.get(f"{system.url_of(one)}/metrics").text for one in system.programs_of(service)]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("consumer_unread_total{")]
    assert lines, f"{service} does not count what it does not read"
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def test_facts_of_unknown_types_and_versions_are_counted_and_passed_over_and_huge_ones_go_their_way(
    system: System, company: Company
) -> None:
    key = new_id()
    readers = ("balances", "approvals", "notifications")
    before = {service: passed_over(system, service) for service in readers}
    huge = f'{{"employee_id": "{key}", "text": "{"x" * TWO_MEGABYTES}"}}'
    await send(
        system,
        fact(key, 1, "{}", kind="leave.invented"),
        fact(key, 2, "{}", schema_version=99),
        fact(key, 3, huge, kind="leave.invented"),
    )
    await invariants.at_rest(system)
    assert invariants.parked(system, key) == []
    for service in readers:
        assert passed_over(system, service) >= before[service] + 3, service
    sql = f"SELECT version, LENGTH(payload) FROM lms_audit_log.records WHERE key_ = '{key}' ORDER BY version"  # noqa: S608  # our own id
    assert invariants.rows(system, sql) == [(1, 2), (2, 2), (3, len(huge))]

    await send(system, fact(key, 4, huge))  # a request that says nothing of what a request must
    await invariants.at_rest(system)
    poisoned = invariants.parked(system, key)
    assert {service for service, _ in poisoned} == {"balances", "notifications"}
    await asyncio.to_thread(life_goes_on, company)
    for service, consumer in poisoned:
        (letter,) = [
            one for one in await invariants.messages(system, f"dlq.{service}.{consumer}") if one.key == key.encode()
        ]
        headers = {name: value.decode() for name, value in letter.headers}
        assert "does not have the fields" in headers["lms-reason"]
        assert (len(letter.value), int(headers["lms-whole-size"])) == (LARGEST_DEAD_LETTER, len(huge))
        assert json.loads(lms(system, "dlq", "show", service, consumer, key))["payload"] == huge
        lms(system, "dlq", "skip", service, consumer, key)
    await healed(system, key)
