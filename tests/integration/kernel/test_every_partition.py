"""A fact for every partition closes what came before it in each of them, and counts once for whoever consumes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import pytest
from aiokafka import TopicPartition
from sqlalchemy import Column, Integer, MetaData, SmallInteger, Table, delete, select
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel import verify
from lms.kernel.cloudevents import decode
from lms.kernel.consumer import Projector, Reactor, Received, Recorder
from lms.kernel.decider import Decider
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.execution import UnitOfWork
from lms.kernel.ids import new_id
from lms.kernel.kafka import PARTITIONS, declare, ends_of, messages_between
from lms.kernel.projection import Projection, Upsert, Write
from lms.kernel.rebuild import rebuild
from lms.kernel.schema import consumer_offsets, name, outbox
from lms.kernel.service import Runtime, Service
from lms.kernel.settings import KernelSettings

EMPLOYEES = [f"e{number}" for number in range(60)]

tables = MetaData()
counted = Table(
    "counted",
    tables,
    Column("what", name(80), primary_key=True),
    Column("times", Integer, nullable=False),
)
days = Table(
    "days",
    tables,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
)


class Worked(Event):
    """Somebody worked."""

    TYPE: ClassVar[str] = "somebody.worked"
    day: int


class DayEnded(Event):
    """The day is over, for everybody."""

    TYPE: ClassVar[str] = "day.ended"
    day: int


class ForeignDayEnded(ForeignEvent):
    """The day is over, as others read it."""

    TYPE: ClassVar[str] = "day.ended"
    day: int


def _work(topic: str) -> Decider[int, int, Worked]:
    return Decider("work", topic, 0, lambda day, _: [Worked(day=day)], lambda state, _: state, int)


def _day(topic: str) -> Decider[int, int, DayEnded]:
    return Decider(
        "day", topic, 0, lambda day, _: [DayEnded(day=day)], lambda state, _: state, int, every_partition=True
    )


async def count(connection: AsyncConnection, what: str) -> None:
    statement = upsert(counted).values(what=what, times=1)
    await connection.execute(statement.on_duplicate_key_update(times=counted.c.times + 1))


async def react(unit: UnitOfWork, event: ForeignDayEnded, _: Envelope) -> None:
    await count(unit.connection, f"reacted to day {event.day}")


async def record(connection: AsyncConnection, received: Sequence[Received]) -> None:
    for one in received:
        assert one.envelope is not None
        if one.envelope.type == DayEnded.TYPE:
            await count(connection, f"recorded version {one.envelope.version}")


class Days(Projection):
    """The days that are over."""

    name = "days"
    tables = (days,)

    @staticmethod
    def ended(event: ForeignDayEnded, _: Envelope) -> Iterable[Write]:
        yield Upsert(days, {"day": event.day})

    handlers: ClassVar[dict[Any, Any]] = {ForeignDayEnded: ended}


class World:
    """A service that publishes and consumes a topic, in as many copies as a test starts."""

    def __init__(self, settings: KernelSettings) -> None:
        self.settings = settings
        suffix = new_id()[-8:]
        self.topic = f"days.{suffix}"
        self.work, self.day = _work(self.topic), _day(self.topic)
        self.service = Service(
            name=f"days-{suffix}",
            deciders=(self.work, self.day),
            publishes={self.topic: (Worked, DayEnded)},
            consumers=(
                Projector("facts", (self.topic,), (Days,)),
                Reactor("react", (self.topic,), {ForeignDayEnded: react}),
                Recorder("record", (self.topic,), record),
            ),
        )
        self.runtime = Runtime(self.service, settings)
        self.running: list[Runtime] = []

    async def start(self, copies: int) -> None:
        for _ in range(copies):
            runtime = Runtime(self.service, self.settings)
            await runtime.start(worker=True)
            self.running.append(runtime)

    async def stop(self) -> None:
        await asyncio.gather(*(runtime.stop() for runtime in self.running))
        self.running.clear()

    async def live(self, number: int) -> None:
        """Let some days pass on which everybody works."""
        for day in range(1, number + 1):
            await self.runtime.executor.run(partial(self._work, day))
            await self.runtime.executor.run(partial(self._end, day))

    async def _work(self, day: int, unit: UnitOfWork) -> None:
        for employee in EMPLOYEES:
            await unit.handle(self.work, employee, day, key=employee)

    async def _end(self, day: int, unit: UnitOfWork) -> None:
        await unit.handle(self.day, "all", day, key="all")

    async def consumed(self, messages: int) -> None:
        """Wait until each of the three consumers has so many messages behind it."""
        async with asyncio.timeout(30):
            while True:
                async with self.runtime.database.read() as connection:
                    rows = await connection.execute(select(consumer_offsets.c.next_offset))
                    if sum(row.next_offset for row in rows) >= 3 * messages:
                        return
                await asyncio.sleep(0.02)

    async def counted(self) -> dict[str, int]:
        async with self.runtime.database.read() as connection:
            return {row.what: row.times for row in await connection.execute(select(counted))}

    async def faults(self) -> dict[str, list[str]]:
        found = [one async for one in verify.verify(self.runtime, lambda _: None, rest_seconds=10)]
        return {one.name: [fault.text for fault in one.named] for one in found if one.faults}


@pytest.fixture
async def world(settings_of: Callable[..., KernelSettings], kafka_bootstrap: str) -> AsyncIterator[World]:
    settings = settings_of("copies", tables)
    made = World(settings)
    await declare(kafka_bootstrap, made.service.topics())
    yield made
    await made.stop()
    await made.runtime.database.close()
    await made.runtime.redis.aclose()


async def test_in_every_partition_it_stands_behind_all_that_was_committed_before(world: World) -> None:
    await world.live(3)
    await world.start(1)
    await world.consumed(3 * (len(EMPLOYEES) + PARTITIONS))
    bootstrap = world.settings.kafka_bootstrap_servers
    found: dict[TopicPartition, list[tuple[str, int]]] = {}
    async for message in messages_between(bootstrap, {}, await ends_of(bootstrap, [world.topic])):
        envelope = decode(message.headers, message.value)
        assert envelope.copies == (PARTITIONS if envelope.type == DayEnded.TYPE else 1)
        assert "lms-partition" not in dict(message.headers)
        place = TopicPartition(message.topic, message.partition)
        found.setdefault(place, []).append((envelope.type, envelope.data["day"]))
    assert len(found) == PARTITIONS
    for messages in found.values():
        assert [day for kind, day in messages if kind == DayEnded.TYPE] == [1, 2, 3]
        assert messages == sorted(messages, key=lambda one: (one[1], one[0] == DayEnded.TYPE))
    async with world.runtime.database.read() as connection:
        (first, *_) = await world.runtime.store.read(connection, "day-all")
    assert first.envelope.copies == PARTITIONS


async def test_every_consumer_counts_it_once_however_many_read_its_copies(world: World) -> None:
    await world.start(3)
    await world.live(3)
    await world.consumed(3 * (len(EMPLOYEES) + PARTITIONS))
    once = {f"reacted to day {day}" for day in (1, 2, 3)} | {f"recorded version {day}" for day in (1, 2, 3)}
    assert await world.counted() == dict.fromkeys(once, 1)
    assert await world.faults() == {}
    await rebuild(world.runtime, ["days"], lambda _: None)
    assert await world.faults() == {}


async def test_a_partition_without_its_copy_is_named(world: World) -> None:
    await world.live(1)
    async with world.runtime.database.transaction() as connection:
        copies = select(outbox.c.position).where(outbox.c.type == DayEnded.TYPE).order_by(outbox.c.position.desc())
        last = await connection.scalar(copies)
        await connection.execute(delete(outbox).where(outbox.c.position == last))
    await world.start(1)
    await world.consumed(len(EMPLOYEES) + PARTITIONS - 1)
    assert await world.faults() == {"topics": [f"Kafka has day-all version 1 in {PARTITIONS - 1} of 24 partitions"]}
