"""The relay, on a real database and a real broker."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import func, insert, select
from tests.waiting import becomes

from lms.kernel.database import Database
from lms.kernel.ids import new_id
from lms.kernel.kafka import Producer, Topic, declare
from lms.kernel.outbox import Relay
from lms.kernel.schema import outbox

AT_ONCE = 2.0
"""Seconds: a relay takes some hundredths, and whoever waits for another transaction here waits for ever."""


@pytest.fixture
async def database(emptied: Callable[..., str]) -> AsyncIterator[Database]:
    database = Database(emptied("outbox"))
    yield database
    await database.close()


@pytest.fixture
async def topic(kafka_bootstrap: str) -> str:
    topic = f"test.outbox.{new_id()}"
    await declare(kafka_bootstrap, [Topic(topic, partitions=1)])
    return topic


@pytest.fixture
async def relay(database: Database, kafka_bootstrap: str) -> AsyncIterator[Relay]:
    producer = Producer(kafka_bootstrap, client_id="test.outbox")
    relay = Relay(database, producer, "test")
    yield relay
    await relay.stop()
    await producer.stop()


def fact(topic: str) -> dict[str, object]:
    return {
        "id": new_id(), "aggregatetype": topic, "aggregateid": "somebody", "type": "test.done", "payload": "{}",
        "headers": "{}", "recorded_at": datetime.now(UTC).replace(tzinfo=None),
    }  # fmt: skip


async def waiting(database: Database) -> int:
    async with database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(outbox)) or 0)


async def empty(database: Database) -> bool:
    return await waiting(database) == 0


async def test_what_was_published_is_forgotten_at_once_although_commands_beside_it_are_not_done(
    database: Database, topic: str, relay: Relay
) -> None:
    """Its rows lie between those of commands under way; whoever waits for these holds up the next facts."""
    async with database.transaction() as under_way:
        await under_way.execute(insert(outbox), fact(topic))
        for _ in range(3):
            async with database.transaction() as done:
                await done.execute(insert(outbox), [fact(topic), fact(topic)])
            await under_way.execute(insert(outbox), fact(topic))
        assert await waiting(database) == 6
        relay.start()
        await becomes(partial(empty, database), "the marking waits for somebody else's transaction", AT_ONCE)
    relay.wake()
    await becomes(partial(empty, database), "what was committed later does not leave", AT_ONCE)
