"""What must hold after every fault, looked at from outside: in MySQL, in Kafka, and through the API."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pymysql
from scripts import services
from tests.conftest import TESTER
from tests.e2e.company import Company, Employee
from tests.waiting import eventually

from lms.cli.servers import SCHEMAS
from lms.cli.system import System
from lms.kernel.kafka import ends_of, messages_between

TOPICS = sorted({topic for service in services.load() for topic in service.publishes})
_PASSING = {
    "consumer_offsets", "consumer_versions", "outbox", "relay_lease", "job_leases", "idempotency", "snapshots",
    "alembic_version", "parked_keys", "parked_events", "given_up_events", "view_generations", "accrual_runs",
}  # fmt: skip
"""Tables that say how far the work is, not what it led to."""


@contextmanager
def mysql(system: System) -> Iterator[Any]:
    """Open a cursor that may look at everything."""
    connection = pymysql.connect(
        host="127.0.0.1",
        port=system.mysql.port,
        user=TESTER,
        password=system.home.secret(f"mysql:{TESTER}"),
        autocommit=True,
    )
    with connection, connection.cursor() as cursor:
        yield cursor


def rows(system: System, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with mysql(system) as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


async def messages(system: System, topic: str) -> list[Any]:
    """Return every message of a topic, each partition in its order."""
    brokers = system.kafka.bootstrap_servers
    return [one async for one in messages_between(brokers, {}, await ends_of(brokers, [topic]))]


async def ends(system: System, topics: set[str]) -> dict[tuple[str, int], int]:
    """Return the end offset of every partition of the topics."""
    found = await ends_of(system.kafka.bootstrap_servers, topics)
    return {(one.topic, one.partition): offset for one, offset in found.items()}


async def at_rest(system: System, seconds: float = 150.0) -> None:
    """Wait until every outbox is empty and every consumer has read all there is."""
    until = time.monotonic() + seconds
    while True:
        waiting = await _waiting(system)
        if not waiting:
            return
        assert time.monotonic() < until, f"still at work after {seconds:.0f} s: {waiting[:10]}"
        await asyncio.sleep(0.2)


async def signed_for(system: System, seconds: float = 90.0) -> None:
    """Wait until the newest checkpoint covers the whole audit log: there is one every while, whatever else happens."""
    size = "SELECT size FROM lms_audit.head"
    signed = "SELECT MAX(CAST(JSON_VALUE(data, '$.size') AS SIGNED)) FROM lms_audit.events"

    def covered() -> bool:
        return rows(system, f"{signed} WHERE type = 'audit.checkpoint-signed'") == rows(system, size)

    await asyncio.to_thread(eventually, covered, "no checkpoint covers the audit log", seconds)


async def mailed(system: System, seconds: float = 90.0) -> None:
    """Wait until no mail has to go out any more: they are sent after the facts that they tell of."""
    pending = "SELECT COUNT(*) FROM lms_notifications.mails WHERE status = 'pending'"
    await asyncio.to_thread(eventually, lambda: rows(system, pending) == [(0,)], "mails still wait", seconds)


async def _waiting(system: System) -> list[str]:
    pending: list[str] = []
    offsets: dict[str, dict[tuple[str, str, int], int]] = {}
    for service in SCHEMAS:
        ((count,),) = rows(system, f"SELECT COUNT(*) FROM lms_{service}.outbox")  # noqa: S608  # our own names
        if count:
            pending.append(f"{service}: {count} facts in the outbox")
        found = rows(
            system,
            f"SELECT consumer, topic, partition_no, next_offset FROM lms_{service}.consumer_offsets",  # noqa: S608
        )
        offsets[service] = {(consumer, topic, number): offset for consumer, topic, number, offset in found}
    high = await ends(system, {topic for one in offsets.values() for _, topic, _ in one})
    pending += [
        f"{service}/{consumer}: {topic}/{number} at {offset} of {high[topic, number]}"
        for service, found_offsets in offsets.items()
        for (consumer, topic, number), offset in found_offsets.items()
        if offset < high[topic, number]
    ]
    return pending


def parked(system: System, key: str) -> list[tuple[str, str]]:
    """Return the service and consumer of everybody who has parked a key."""
    return [
        (service, consumer)
        for service in SCHEMAS
        for (consumer,) in rows(
            system,
            f"SELECT consumer FROM lms_{service}.parked_keys WHERE key_ = '{key}'",  # noqa: S608  # our own
        )
    ]


async def check(system: System, *service: str) -> None:
    """Assert that `lms verify` finds nothing, in one service or in any."""
    faults = faults_of(await asyncio.to_thread(verified, system, *service))
    assert faults == {}, faults


def lms(system: System, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the `lms` command on a system."""
    command = [sys.executable, "-m", "lms.cli.main", *arguments, "--home", str(system.home.folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def verified(system: System, *service: str) -> dict[str, Any]:
    """Return what `lms verify --json` says of one service, or of all."""
    answer = lms(system, "verify", *service, "--json")
    assert answer.stdout, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    assert answer.returncode == (0 if found["sound"] else 1), answer.stderr
    return found


def faults_of(found: dict[str, Any]) -> dict[str, list[str]]:
    """Return the sentences of each check that found something, by service and check."""
    return {
        f"{service}: {check['name']}": [fault["text"] for fault in check["named"]]
        for service, checks in found["services"].items()
        for check in checks
        if check["faults"]
    }


def digest(system: System) -> dict[str, str]:
    """Return a digest of every table that holds what the facts led to, whatever generation it is in."""
    found: dict[str, str] = {}
    columns: dict[tuple[str, str], list[str]] = {}
    for schema in (f"lms_{service}" for service in SCHEMAS):
        sql = f"SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = '{schema}'"  # noqa: S608  # our own names
        for table, column in rows(system, f"{sql} ORDER BY table_name, ordinal_position"):
            if table not in _PASSING and column != "generation":
                columns.setdefault((schema, table), []).append(f"`{column}`")
    for (schema, table), names in columns.items():
        lines = sorted(map(repr, rows(system, f"SELECT {', '.join(names)} FROM `{schema}`.`{table}`")))  # noqa: S608
        found[f"{schema}.{table}"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return found


def agree(company: Company, people: list[Employee], leave_type: str, entitled: float) -> Counter[str]:
    """Assert that each person's requests of a year and its balance say the same; return how many are in which state."""
    states: Counter[str] = Counter()
    for person in people:
        items = company.every(f"/leave-requests?employee_id={person.id}")
        assert all(one["settled"] for one in items), items
        states.update(one["status"] for one in items)
        found = company.balances(person)
        (balance,) = [one for one in found["items"] if one["leave_type"] == leave_type]
        minutes: Counter[str] = Counter()
        for one in items:
            if date.fromisoformat(one["start_date"]).year == balance["entitlement_year"]:
                minutes[one["status"]] += one["amount"]["minutes"]
        taken = balance["taken"]["minutes"] + balance["upcoming"]["minutes"]
        assert taken == minutes["approved"], (person, items, balance)
        assert balance["pending"]["minutes"] == minutes["pending"], (person, items, balance)
        assert taken + minutes["pending"] <= entitled * 480, (person, items, balance)
    return states
