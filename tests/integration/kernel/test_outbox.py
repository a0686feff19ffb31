"""The relay, on a real database and a real broker."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import func, insert, select, text
from tests.waiting import becomes

from lms.kernel import failpoints
from lms.kernel.database import Database
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, Topic, declare, ends_of, messages_between
from lms.kernel.outbox import LeaseLost, Relay
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


async def commit(database: Database, topic: str, count: int) -> list[tuple[int, str]]:
    """Commit facts; return the position and the value of each fact that waits."""
    async with database.transaction() as connection:
        for number in range(count):
            await connection.execute(insert(outbox), fact(topic) | {"payload": f'"{new_id()}-{number}"'})
    async with database.read() as connection:
        rows = await connection.execute(select(outbox.c.position, outbox.c.payload).order_by(outbox.c.position))
        return [(row.position, row.payload) for row in rows]


async def values(kafka: str, topic: str) -> list[str]:
    """Return the value of each message of a topic."""
    return [one.value.decode() async for one in messages_between(kafka, {}, await ends_of(kafka, [topic]))]


@pytest.mark.parametrize("fencing", [True, False])
async def test_a_relay_that_slept_past_its_lease_repeats_facts_and_forgets_none_that_another_answers_for(
    database: Database, topic: str, relay: Relay, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, fencing: bool
) -> None:
    """It remembers facts by their positions, which begin anew where a replica that lacked the newest ones takes over.

    Without the fencing it would then forget facts that nobody has published.
    """
    monkeypatch.setattr(failpoints, "_off", frozenset() if fencing else frozenset({"relay.fencing"}))
    old = await commit(database, topic, 2)
    sent, go_on = asyncio.Event(), asyncio.Event()
    producer = Producer(kafka_bootstrap, client_id="test.zombie")
    send_all = producer.send_all

    async def send_and_sleep(messages: Sequence[Message]) -> None:
        await send_all(messages)
        sent.set()
        await go_on.wait()

    monkeypatch.setattr(producer, "send_all", send_and_sleep)
    zombie = Relay(database, producer, "test")
    assert await zombie._hold()
    publishing = asyncio.create_task(zombie._publish_batch())
    await sent.wait()
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE relay_lease SET expires_at = NOW(6)"))
    relay.start()
    await becomes(partial(empty, database), "nobody takes the lease over")
    await relay.stop()
    async with database.transaction() as connection:
        await connection.execute(text(f"ALTER TABLE outbox AUTO_INCREMENT = {old[0][0]}"))
    new = await commit(database, topic, 2)
    assert [position for position, _ in new] == [position for position, _ in old]
    go_on.set()
    if fencing:
        with pytest.raises(LeaseLost):
            await publishing
    else:
        await publishing
    assert await waiting(database) == (2 if fencing else 0)
    successor = Relay(database, producer, "test")
    successor.start()
    await becomes(partial(empty, database), "what waits does not leave")
    await successor.stop()
    await producer.stop()
    repeated = [value for _, value in old] * 2
    assert await values(kafka_bootstrap, topic) == repeated + ([value for _, value in new] if fencing else [])
