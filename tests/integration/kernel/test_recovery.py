"""After a restore: topics are made anew from the log, everything flows again, and nothing counts twice."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, select, text
from sqlalchemy.dialects.mysql import insert as upsert

from lms.kernel import dead_letters
from lms.kernel.clock import OFFSET_KEY
from lms.kernel.consumer import Reactor
from lms.kernel.decider import Decider
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.execution import UnitOfWork
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, declare, ends_of, messages_between
from lms.kernel.recovery import (
    Abandoned,
    EpochUsed,
    NothingToRepublish,
    Restoration,
    Restored,
    RestoreUnfinished,
    begin,
    pending,
    refuse_while_pending,
    republish,
)
from lms.kernel.schema import consumer_offsets, events, name, outbox
from lms.kernel.service import Runtime, Service
from lms.kernel.settings import KernelSettings

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
PARTITIONS = 24

tables = MetaData()
totals = Table(
    "totals",
    tables,
    Column("account", name(80), primary_key=True),
    Column("minutes", BigInteger, nullable=False),
    Column("events", Integer, nullable=False),
)


class Deposited(Event):
    """Minutes came in."""

    TYPE: ClassVar[str] = "account.deposited"
    minutes: int


class ForeignDeposited(ForeignEvent):
    """Minutes came in, upstream."""

    TYPE: ClassVar[str] = "account.deposited"
    minutes: int


async def add(unit: UnitOfWork, event: ForeignDeposited, envelope: Envelope) -> None:
    """Add to a total: applied twice, it would show."""
    if event.minutes < 0:
        raise ValueError("a negative deposit")
    statement = upsert(totals).values(account=envelope.key, minutes=event.minutes, events=1)
    await unit.connection.execute(
        statement.on_duplicate_key_update(minutes=totals.c.minutes + event.minutes, events=totals.c.events + 1)
    )


@dataclass
class World:
    """A service that records deposits and a service that counts them, each with its own schema."""

    bank: Service
    counter: Service
    account: Decider[int, int, Deposited]
    settings: dict[str, KernelSettings]
    running: list[Runtime] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    kept: dict[str, list[tuple[str, list[Any]]]] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        return self.account.topic

    def runtime(self, service: Service) -> Runtime:
        found = Runtime(service, self.settings[service.name])
        self.running.append(found)
        return found

    async def start(self) -> None:
        for service in (self.bank, self.counter):
            await self.runtime(service).start(worker=True)

    async def stop(self) -> None:
        await asyncio.gather(*(one.stop() for one in self.running))
        self.running.clear()

    async def deposit(self, account: str, *minutes: int) -> None:
        bank = next(one for one in self.running if one.service is self.bank)
        for one in minutes:

            async def use_case(uow: UnitOfWork, one: int = one) -> None:
                await uow.handle(self.account, account, one, key=account)

            await bank.executor.run(use_case)

    async def totals(self) -> dict[str, tuple[int, int]]:
        async with self.running[-1].database.read() as connection:
            return {row.account: (row.minutes, row.events) for row in await connection.execute(select(totals))}

    async def become(self, expected: dict[str, tuple[int, int]]) -> None:
        async with asyncio.timeout(60):
            while await self.totals() != expected:  # noqa: ASYNC110  # a condition in a database has no event
                await asyncio.sleep(0.05)

    async def at_rest(self) -> None:
        """Wait until the outbox is empty and the counter has read all."""
        bank, counter = self.running[-2:]
        async with asyncio.timeout(60):
            while True:
                async with bank.database.read() as connection:
                    waiting = (await connection.execute(select(outbox.c.id))).all()
                ends = await ends_of(bank.settings.kafka_bootstrap_servers, [self.topic])
                async with counter.database.read() as connection:
                    at = (await connection.execute(select(consumer_offsets.c.next_offset))).scalars()
                    if not waiting and sum(at) == sum(ends.values()) > 0:
                        return
                await asyncio.sleep(0.05)

    async def remember(self) -> None:
        """Keep every row of both schemas, as a back-up of one instant does."""
        for service in (self.bank, self.counter):
            async with self.runtime(service).database.snapshot() as connection:
                self.kept[service.name] = []
                for table in (await connection.execute(text("SHOW TABLES"))).scalars():
                    rows = (await connection.execute(text(f"SELECT * FROM {table}"))).mappings()  # noqa: S608  # ours
                    self.kept[service.name].append((table, [dict(one) for one in rows]))

    async def lived(self) -> dict[str, tuple[int, int]]:
        """Start, let eighteen deposits be counted, and remember that; return the totals."""
        await self.start()
        for one in range(6):
            await self.deposit(f"a{one}", 1, 2, 3)
        await self.at_rest()
        before = await self.totals()
        await self.remember()
        return before

    async def bring_back(self, restoration: Restoration) -> None:
        """Bring both schemas back to what was kept, as `lms restore` does."""
        for service in (self.bank, self.counter):
            async with self.runtime(service).database.transaction() as connection:
                for table, rows in self.kept[service.name]:
                    await connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608  # our own tables
                    if rows:
                        columns, values = ", ".join(rows[0]), ", ".join(f":{one}" for one in rows[0])
                        await connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), rows)  # noqa: S608
                await begin(connection, restoration)

    async def republish(self, *services: Service) -> None:
        for service in services or (self.bank, self.counter):
            await republish(self.runtime(service), lambda _: None)

    async def messages(self) -> list[Any]:
        bootstrap = self.settings[self.bank.name].kafka_bootstrap_servers
        ends = await ends_of(bootstrap, [self.topic])
        return [one async for one in messages_between(bootstrap, {}, ends)]


def header(message: Any, wanted: str) -> str:
    return str(dict(message.headers)[wanted], "utf-8")


@pytest.fixture
async def world(settings_of: Callable[..., KernelSettings], kafka_bootstrap: str) -> AsyncIterator[World]:
    suffix = new_id()[-8:]
    topic = f"bank.{suffix}"
    account: Decider[int, int, Deposited] = Decider(
        category="account",
        topic=topic,
        initial=0,
        decide=lambda minutes, _: [Deposited(minutes=minutes)],
        evolve=lambda total, event: total + event.minutes,
        state_type=int,
    )
    calls: list[str] = []

    def told(service: str) -> Callable[[Runtime, Restoration], Awaitable[None]]:
        async def restored(runtime: Runtime, restoration: Restoration) -> None:
            calls.append(f"{service} {restoration.log_epoch}")
            if calls.count(calls[-1]) == 1 and service == "counter":
                raise TimeoutError("something was away")
            assert await runtime.redis.dbsize() <= 1

        return restored

    bank = Service(
        name=f"bank-{suffix}", publishes={topic: (Deposited,)}, deciders=(account,), on_restored=told("bank")
    )
    count = Reactor("count", (topic,), {ForeignDeposited: add})
    counter = Service(name=f"counter-{suffix}", consumers=(count,), on_restored=told("counter"))
    settings: dict[str, KernelSettings] = {}
    for service, schema in ((bank, "bank"), (counter, "counter")):
        settings[service.name] = settings_of(schema, tables)
        await declare(kafka_bootstrap, service.topics())
    made = World(bank, counter, account, settings, calls=calls)
    yield made
    await made.stop()


async def test_what_was_kept_flows_once_and_what_was_abandoned_is_gone(world: World) -> None:
    before = await world.lived()
    await world.deposit("a0", 100)
    await world.deposit("late", 100)
    await world.at_rest()
    abandoned = (await world.messages())[-1]
    await world.stop()

    lost = {world.topic: Abandoned(2, header(abandoned, "ce_id"))}
    await world.bring_back(Restoration(3, NOON, lost))
    with pytest.raises(TimeoutError):
        await world.republish()  # the counter's own part fails the first time
    await world.republish(world.counter)
    with pytest.raises(NothingToRepublish):
        await world.republish(world.bank)
    await world.stop()

    await world.start()
    await world.at_rest()
    assert await world.totals() == before
    await world.deposit("a0", 7)
    await world.become({**before, "a0": (13, 4)})

    found = await world.messages()
    facts = [one for one in found if header(one, "ce_type") != Restored.TYPE]
    assert Counter(header(one, "ce_logepoch") for one in facts) == {"1": 18, "3": 1}
    assert len({header(one, "ce_id") for one in facts}) == 19
    (newest,) = [one for one in facts if header(one, "ce_logepoch") == "3"]
    assert (header(newest, "ce_stream"), header(newest, "ce_streamversion")) == ("account-a0", "4")
    markers = [one for one in found if header(one, "ce_type") == Restored.TYPE]
    assert sorted(one.partition for one in markers) == list(range(PARTITIONS))
    told = Restored.model_validate_json(markers[0].value)
    assert (told.restored_to, told.kept, told.abandoned) == (NOON, 18, 2)
    assert told.abandoned_head == header(abandoned, "ce_id")
    for marker in markers:
        behind = [one for one in facts if one.partition == marker.partition and one.offset > marker.offset]
        assert all(header(one, "ce_logepoch") == "3" for one in behind)


async def test_facts_that_a_busy_broker_does_not_acknowledge_are_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await world.lived()
    await world.stop()
    await world.bring_back(Restoration(3, NOON, {}))
    send_all, tries = Producer.send_all, itertools.count(1)

    async def send_and_hear_nothing_the_first_time(producer: Producer, messages: Sequence[Message]) -> None:
        await send_all(producer, messages)
        if next(tries) == 1:
            raise TimeoutError("Kafka did not acknowledge what was sent.")

    monkeypatch.setattr(Producer, "send_all", send_and_hear_nothing_the_first_time)
    await world.republish(world.bank)
    with pytest.raises(TimeoutError, match="something was away"):
        await world.republish(world.counter)
    await world.republish(world.counter)
    await world.stop()
    await world.start()
    await world.at_rest()
    assert await world.totals() == before
    assert next(tries) > 2


async def test_what_was_not_consumed_yet_at_the_instant_is_consumed_after_the_restore(world: World) -> None:
    await world.start()
    await world.deposit("a", 1)
    await world.at_rest()
    counter = world.running.pop()
    await counter.stop()
    await world.deposit("a", 2, 4)
    await world.remember()
    await world.stop()
    await world.bring_back(Restoration(2, NOON))
    world.calls.append("counter 2")  # so that its own part does not fail
    await world.republish()
    await world.stop()
    await world.start()
    await world.become({"a": (7, 3)})
    facts = [one for one in await world.messages() if header(one, "ce_type") == Deposited.TYPE]
    assert [header(one, "ce_streamversion") for one in facts] == ["1", "2", "3"]


async def test_a_key_that_a_person_must_look_at_stays_parked_with_its_events_alone(world: World) -> None:
    await world.start()
    await world.deposit("a", 1, -1, 2)
    await world.at_rest()
    await world.remember()
    await world.stop()
    await world.bring_back(Restoration(2, NOON))
    world.calls.append("counter 2")
    await world.republish()
    await world.stop()
    await world.start()
    await world.at_rest()
    database = world.running[-1].database
    async with database.read() as connection:
        (parked,) = await dead_letters.parked(connection)
    assert (parked.key, parked.kind, parked.events) == ("a", "poison", 2)
    async with database.transaction() as connection:
        await dead_letters.skip(connection, "count", "a")
    await world.become({"a": (3, 2)})


async def test_a_service_does_not_run_before_its_restore_is_finished(world: World) -> None:
    database = world.runtime(world.bank).database
    await refuse_while_pending(database)
    async with database.transaction() as connection:
        await begin(connection, Restoration(2, NOON, {}))
    with pytest.raises(RestoreUnfinished, match="--republish"):
        await refuse_while_pending(database)
    async with database.read() as connection:
        assert await pending(connection) == Restoration(2, NOON, {})
    async with database.transaction() as connection:
        with pytest.raises(EpochUsed):
            await begin(connection, Restoration(1, NOON))


async def test_a_schema_without_the_table_waits_for_nothing(world: World) -> None:
    database = world.runtime(world.bank).database
    async with database.transaction() as connection:
        await connection.execute(text("DROP TABLE restoration"))
    await refuse_while_pending(database)


async def test_caches_are_emptied_and_the_moved_clock_of_a_demo_stays(world: World, redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        await redis.set("lms:some:cache", "of what was abandoned")
        await redis.set(OFFSET_KEY, "86400.0")
        runtime = world.runtime(world.bank)
        async with runtime.database.transaction() as connection:
            await begin(connection, Restoration(2, None, {}))
        await republish(runtime, lambda _: None)
        assert await redis.get("lms:some:cache") is None
        assert await redis.get(OFFSET_KEY) == b"86400.0"
        await redis.delete(OFFSET_KEY)
    async with runtime.database.read() as connection:
        (data,) = (await connection.execute(select(events.c.data).where(events.c.type == Restored.TYPE))).scalars()
    assert Restored.model_validate_json(data) == Restored(
        restored_to=None, kept=0, kept_head=None, abandoned=0, abandoned_head=None
    )
