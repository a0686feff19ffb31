"""What must hold after every fault, looked at from outside: in MySQL, in Kafka, and through the API."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.conftest import TESTER
from tests.e2e.company import Company, Employee

from lms.cli.servers import SCHEMAS
from lms.cli.system import System

TOPICS = {name: f"leave.{name}.v1" for name in SCHEMAS}
_PASSING = {
    "consumer_offsets", "consumer_versions", "outbox", "relay_lease", "job_leases", "idempotency", "snapshots",
    "alembic_version", "parked_keys", "parked_events", "accrual_runs",
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
    """Return every message of a topic, partition by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=system.kafka.bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        if not partitions:  # the client has not heard of the topic yet
            consumer.subscribe([topic])
            await consumer.getmany(timeout_ms=1000)
            consumer.unsubscribe()
            partitions = [TopicPartition(topic, number) for number in range(24)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[Any] = []
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found += batch
        return found
    finally:
        await consumer.stop()


async def ends(system: System, topics: set[str]) -> dict[tuple[str, int], int]:
    """Return the end offset of every partition of the topics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=system.kafka.bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        found = await consumer.end_offsets([TopicPartition(one, number) for one in topics for number in range(24)])
        return {(one.topic, one.partition): offset for one, offset in found.items()}
    finally:
        await consumer.stop()


async def at_rest(system: System, seconds: float = 60.0) -> None:
    """Wait until every outbox is empty and every consumer has read all there is."""
    until = time.monotonic() + seconds
    while True:
        waiting = await _waiting(system)
        if not waiting:
            return
        assert time.monotonic() < until, f"still at work after {seconds:.0f} s: {waiting[:10]}"
        await asyncio.sleep(0.2)


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


async def check(system: System) -> None:
    """Assert that no stream has a hole, that Kafka has exactly the facts of the log, and that no key is parked."""
    for service in SCHEMAS:
        holes = rows(
            system,
            f"SELECT stream, COUNT(*), MAX(version) FROM lms_{service}.events"  # noqa: S608  # our own names
            " GROUP BY stream HAVING COUNT(*) <> MAX(version)",
        )
        assert holes == [], f"{service} has streams with holes: {holes[:5]}"
        waiting = rows(system, f"SELECT consumer, key_, kind, reason FROM lms_{service}.parked_keys")  # noqa: S608
        assert waiting == [], f"{service} has parked {waiting[:5]}"
        logged = {one for (one,) in rows(system, f"SELECT event_id FROM lms_{service}.events")}  # noqa: S608
        published = {dict(one.headers)["ce_id"].decode() for one in await messages(system, TOPICS[service])}
        assert logged <= published, f"{service}: {len(logged - published)} facts never came to Kafka"


def digest(system: System) -> dict[str, str]:
    """Return a digest of every table that holds what the facts led to."""
    found: dict[str, str] = {}
    with mysql(system) as cursor:
        for service in SCHEMAS:
            schema = f"lms_{service}"
            cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (schema,))
            for (table,) in cursor.fetchall():
                if table not in _PASSING:
                    cursor.execute(f"SELECT * FROM `{schema}`.`{table}`")  # noqa: S608  # our own names
                    lines = sorted(repr(row) for row in cursor.fetchall())
                    found[f"{schema}.{table}"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return found


def agree(company: Company, people: list[Employee], leave_type: str, entitled: float) -> Counter[str]:
    """Assert that each person's requests and balance say the same; return how many requests are in which state."""
    states: Counter[str] = Counter()
    for person in people:
        items = company.do("GET", f"/leave-requests?employee_id={person.id}&limit=200")["items"]
        assert all(one["settled"] for one in items), items
        states.update(one["status"] for one in items)
        minutes: Counter[str] = Counter()
        for one in items:
            minutes[one["status"]] += one["amount"]["minutes"]
        found = company.balances(person)
        (balance,) = [one for one in found["items"] if one["leave_type"] == leave_type]
        taken = balance["taken"]["minutes"] + balance["upcoming"]["minutes"]
        assert taken == minutes["approved"], (person, items, balance)
        assert balance["pending"]["minutes"] == minutes["pending"], (person, items, balance)
        assert taken + minutes["pending"] <= entitled * 480, (person, items, balance)
    return states
