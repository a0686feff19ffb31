"""What every copy measures of the stores, whether or not it is the one that relays or consumes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import TopicPartition
from prometheus_client import REGISTRY
from sqlalchemy import delete, insert, update

from lms.kernel.consumer import Projector
from lms.kernel.ids import new_id
from lms.kernel.kafka import Ends, Message, Producer, Topic, declare
from lms.kernel.measurement import measure_stores
from lms.kernel.schema import consumer_offsets, events, outbox, parked_events, parked_keys
from lms.kernel.service import Runtime, Service
from lms.kernel.settings import KernelSettings
from lms.kernel.verify import Check, keep, keep_only, verification_is_due

TOPIC = f"measured.{new_id()[-8:]}"
FACTS = Projector("facts", (TOPIC,), ())


@pytest.fixture
async def runtime(settings_of: Callable[..., KernelSettings], kafka_bootstrap: str) -> AsyncIterator[Runtime]:
    """A service whose consumer does not run."""
    await declare(kafka_bootstrap, [Topic(TOPIC, partitions=3)])
    settings = settings_of("measured")
    made = Runtime(Service(name="measured", consumers=(FACTS,)), settings)
    measuring = asyncio.create_task(measure_stores(made))
    yield made
    measuring.cancel()
    await asyncio.gather(measuring, return_exceptions=True)
    await made.stop()


async def test_measuring_ends_although_a_look_ends_at_the_moment_of_the_cancellation(
    settings_of: Callable[..., KernelSettings],
) -> None:
    async def look(_: Any) -> None:
        asyncio.get_running_loop().call_soon(measuring.cancel)

    made = Runtime(Service(name="measured", measures=(look,)), settings_of("measured"))
    measuring = asyncio.create_task(measure_stores(made))
    await asyncio.wait({measuring}, timeout=15)
    assert measuring.cancelled()
    await made.stop()


async def becomes(enough: Callable[[float], bool], metric: str, **labels: str) -> None:
    """Wait until a metric has a value that is enough; the stores are looked at every five seconds."""
    async with asyncio.timeout(30):
        while (found := REGISTRY.get_sample_value(metric, labels)) is None or not enough(found):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def write(runtime: Runtime, statement: Any, values: Any = None) -> None:
    async with runtime.database.transaction() as connection:
        await connection.execute(statement, values)


async def test_the_outbox_is_measured_by_a_copy_that_does_not_relay(runtime: Runtime) -> None:
    row = {
        "id": new_id(), "aggregatetype": TOPIC, "aggregateid": "k", "type": "t", "payload": "{}", "headers": "{}",
        "recorded_at": datetime.now(UTC) - timedelta(minutes=5),
    }  # fmt: skip
    await write(runtime, insert(outbox), [row])
    await becomes(lambda age: age >= 300, "outbox_oldest_age_seconds")
    await becomes(lambda count: count == 1, "outbox_pending_messages")
    await write(runtime, delete(outbox))
    await becomes(lambda age: age == 0, "outbox_oldest_age_seconds")


async def test_a_consumer_that_does_not_run_has_a_lag_that_grows_older(runtime: Runtime, kafka_bootstrap: str) -> None:
    producer = Producer(kafka_bootstrap, client_id="test")
    await producer.send_all([Message(TOPIC, f"k{n}", "{}", {}, n % 3) for n in range(30)])
    await producer.stop()
    await becomes(lambda lag: lag == 30, "consumer_lag_events", consumer="facts", topic=TOPIC)
    await becomes(lambda age: age > 1, "consumer_lag_seconds", consumer="facts")
    stands = [{"consumer": "facts", "topic": TOPIC, "partition_no": n, "next_offset": 10} for n in range(3)]
    await write(runtime, insert(consumer_offsets), stands)
    await becomes(lambda lag: lag == 0, "consumer_lag_events", consumer="facts", topic=TOPIC)
    await becomes(lambda age: age == 0, "consumer_lag_seconds", consumer="facts")
    await write(runtime, update(consumer_offsets).where(consumer_offsets.c.partition_no == 1).values(next_offset=4))
    await becomes(lambda lag: lag == 6, "consumer_lag_events", consumer="facts", topic=TOPIC)
    await becomes(lambda age: age > 1, "consumer_lag_seconds", consumer="facts")


async def test_the_age_of_a_message_is_told_again_and_again(runtime: Runtime, kafka_bootstrap: str) -> None:
    del runtime  # it has declared the topic
    producer = Producer(kafka_bootstrap, client_id="test")
    before = datetime.now(UTC).timestamp()
    ends = Ends(kafka_bootstrap)
    first = (await ends.of([TOPIC]))[TopicPartition(TOPIC, 0)]
    await producer.send_all([Message(TOPIC, "k", "{}", {}, 0) for _ in range(3)])
    await producer.stop()
    for position in (first, first + 2, first):
        (written,) = (await ends.written_at({TopicPartition(TOPIC, 0): position})).values()
        assert before - 1 < written < datetime.now(UTC).timestamp() + 1
    assert await ends.written_at({TopicPartition(TOPIC, 0): first + 3}) == {}, "there is none"
    assert (await ends.of([TOPIC]))[TopicPartition(TOPIC, 0)] == first + 3
    await ends.close()


async def test_parked_keys_are_measured_with_what_waits_behind_them(runtime: Runtime) -> None:
    since = datetime.now(UTC) - timedelta(minutes=2)
    key = {"consumer": "facts", "key_": "k", "kind": "held", "reason": "", "since": since}
    event = {"consumer": "facts", "key_": "k", "topic": TOPIC, "partition_no": 0, "offset_": 1, "headers": "[]"}
    await write(runtime, insert(parked_keys), [key])
    await write(runtime, insert(parked_events), [event, event])
    await becomes(lambda age: age >= 120, "consumer_parked_oldest_age_seconds", consumer="facts", kind="held")
    await becomes(lambda count: count == 1, "consumer_parked_keys", consumer="facts", kind="held")
    await becomes(lambda count: count == 2, "consumer_parked_events", consumer="facts")
    await write(runtime, delete(parked_keys))
    await write(runtime, delete(parked_events))
    await becomes(lambda count: count == 0, "consumer_parked_keys", consumer="facts", kind="held")


async def test_what_a_verification_found_is_a_metric_until_the_next_one(runtime: Runtime) -> None:
    async with runtime.database.transaction() as connection:
        await keep(connection, Check("streams", examined=7, faults=2))
        await keep(connection, Check("view old", examined=1, faults=1))
    await becomes(lambda faults: faults == 2, "drift_faults", check="streams")
    async with runtime.database.transaction() as connection:
        await keep(connection, Check("streams", examined=8, faults=0))
        await keep_only(connection, ["streams"])
    await becomes(lambda faults: faults == 0, "drift_faults", check="streams")
    await becomes(lambda examined: examined == 8, "drift_examined", check="streams")
    assert REGISTRY.get_sample_value("drift_faults", {"check": "view old"}) is None


async def test_a_verification_is_due_when_the_last_one_or_else_the_first_fact_is_old(runtime: Runtime) -> None:
    fact = {
        "stream": "s", "version": 1, "event_id": new_id(), "type": "t", "schema_version": 1, "log_epoch": 1,
        "data": "{}", "metadata": "{}", "recorded_at": datetime.now(UTC) - timedelta(hours=30),
    }  # fmt: skip
    async with runtime.database.transaction() as connection:
        assert not await verification_is_due(connection, timedelta(hours=24)), "there is nothing to verify"
        await connection.execute(insert(events), [fact])
        assert await verification_is_due(connection, timedelta(hours=24))
        assert not await verification_is_due(connection, timedelta(hours=48))
        await keep(connection, Check("streams"))
        assert not await verification_is_due(connection, timedelta(hours=24))
