"""Rebuilding and verifying views on real servers: readers and writers notice nothing, and drift has a name."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import orjson
import pytest
from sqlalchemy import (
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel import dead_letters, verify
from lms.kernel import rebuild as rebuilding
from lms.kernel.cloudevents import encode_headers
from lms.kernel.consumer import Projector
from lms.kernel.decider import Decider
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.execution import UnitOfWork
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, Topic, declare, ends_of
from lms.kernel.projection import Delete, Projection, Update, Upsert, Write, live
from lms.kernel.rebuild import Busy, NotAView, Progress, compare, rebuild
from lms.kernel.schema import consumer_offsets, events, job_leases, name, outbox, view_generations
from lms.kernel.service import Runtime, Service
from lms.kernel.settings import KernelSettings

tables = MetaData()
accounts = Table(
    "accounts",
    tables,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("account", name(80), primary_key=True),
    Column("minutes", Integer, nullable=False),
    Column("version", Integer, nullable=False),
)
deposits = Table(
    "deposits",
    tables,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("account", name(80), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("minutes", Integer, nullable=False),
    Index("deposits_minutes", "generation", "minutes"),
)
standings = Table(
    "standings",
    tables,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("account", name(80), primary_key=True),
    Column("total", Integer, nullable=False),
)


class Opened(Event):
    """An account was opened."""

    TYPE: ClassVar[str] = "account.opened"
    account: str


class Deposited(Event):
    """Minutes came in; version 1 called them `amount`."""

    TYPE: ClassVar[str] = "account.deposited"
    SCHEMA_VERSION: ClassVar[int] = 2
    account: str
    minutes: int
    total: int


class Closed(Event):
    """An account was closed."""

    TYPE: ClassVar[str] = "account.closed"
    account: str


class ForeignDeposited(ForeignEvent):
    """What the views of the consumer read of a deposit."""

    TYPE: ClassVar[str] = "account.deposited"
    SCHEMA_VERSIONS: ClassVar[frozenset[int]] = frozenset({1, 2})
    account: str
    minutes: int
    total: int


class ForeignClosed(ForeignEvent):
    """What the views of the consumer read of a closing."""

    TYPE: ClassVar[str] = "account.closed"
    account: str


@dataclass(frozen=True)
class State:
    """An account: open or not, and its minutes."""

    total: int = 0
    is_open: bool = False


def _decide(command: tuple[str, int | str], state: State) -> list[Event]:
    account, what = command
    opening: list[Event] = [] if state.is_open else [Opened(account=account)]
    if what == "close":
        return [*opening, Closed(account=account)]
    assert isinstance(what, int)
    return [*opening, Deposited(account=account, minutes=what, total=state.total + what)]


def _evolve(_: State, event: Event) -> State:
    match event:
        case Opened():
            return State(0, is_open=True)
        case Deposited(total=total):
            return State(total, is_open=True)
        case _:
            return State()


ACCOUNT: Decider[tuple[str, int | str], State, Event] = Decider(
    category="account", topic="", initial=State(), decide=_decide, evolve=_evolve, state_type=State
)


class Accounts(Projection):
    """Open accounts, written with the command."""

    name = "accounts"
    tables = (accounts,)

    @staticmethod
    def opened(event: Opened, envelope: Envelope) -> Iterable[Write]:
        yield Upsert(accounts, {"account": event.account, "minutes": 0, "version": envelope.version})

    @staticmethod
    def deposited(event: Deposited, envelope: Envelope) -> Iterable[Write]:
        yield Update(accounts, {"account": event.account}, {"minutes": event.total, "version": envelope.version})

    @staticmethod
    def closed(event: Closed, _: Envelope) -> Iterable[Write]:
        yield Delete(accounts, {"account": event.account})

    handlers: ClassVar[dict[Any, Any]] = {Opened: opened, Deposited: deposited, Closed: closed}


class Deposits(Projection):
    """Every deposit of accounts that are open."""

    name = "deposits"
    tables = (deposits,)

    @staticmethod
    def deposited(event: ForeignDeposited, envelope: Envelope) -> Iterable[Write]:
        row = {"account": event.account, "version": envelope.version, "minutes": event.minutes}
        if event.minutes == 13:
            raise ValueError("an unlucky deposit")
        yield Upsert(deposits, row)

    @staticmethod
    def closed(event: ForeignClosed, _: Envelope) -> Iterable[Write]:
        yield Delete(deposits, {"account": event.account})

    handlers: ClassVar[dict[Any, Any]] = {ForeignDeposited: deposited, ForeignClosed: closed}


class Standings(Projection):
    """The total of each account."""

    name = "standings"
    tables = (standings,)

    @staticmethod
    def deposited(event: ForeignDeposited, _: Envelope) -> Iterable[Write]:
        yield Upsert(standings, {"account": event.account, "total": event.total})

    handlers: ClassVar[dict[Any, Any]] = {ForeignDeposited: deposited}


def _lifted(data: dict[str, Any]) -> dict[str, Any]:
    return {"account": data["account"], "minutes": data["amount"], "total": data["total"]}


VIEWS = ("accounts", "deposits", "standings")


def silent(_: Progress) -> None:
    """Tell nobody."""


@dataclass
class World:
    """One service that publishes a topic and projects it, in as many copies as a test starts."""

    settings: KernelSettings
    producer: Producer
    suffix: str = field(default_factory=lambda: new_id()[-8:])
    running: list[Runtime] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return f"accounts.{self.suffix}"

    @property
    def service(self) -> Service:
        return Service(
            name=f"bank-{self.suffix}",
            upcasters={("account.deposited", 1): _lifted},
            deciders=(ACCOUNT,),
            publishes={self.topic: (Opened, Deposited, Closed)},
            inline=(Accounts,),
            consumers=(Projector("facts", (self.topic,), (Deposits, Standings)),),
        )

    async def start(self, copies: int = 1) -> Runtime:
        object.__setattr__(ACCOUNT, "topic", self.topic)
        topics = [Topic(one.name, partitions=4) for one in self.service.topics()]
        await declare(self.settings.kafka_bootstrap_servers, topics)
        for _ in range(copies):
            runtime = Runtime(self.service, self.settings)
            await runtime.start(worker=True)
            self.running.append(runtime)
        return self.running[0]

    async def stop(self) -> None:
        await asyncio.gather(*(runtime.stop() for runtime in self.running))
        self.running.clear()

    async def do(self, account: str, what: int | str, copy: int = 0) -> None:
        async def use_case(unit: UnitOfWork) -> None:
            await unit.handle(ACCOUNT, account, (account, what), key=account)

        await self.running[copy].executor.run(use_case)

    async def send(self, *messages: Message) -> None:
        await self.producer.send_all(messages)

    def foreign(self, account: str, version: int, minutes: int, payload: str | None = None) -> Message:
        """Return a deposit of another service on the same topic."""
        envelope = Envelope(
            event_id=new_id(), source="elsewhere", type="account.deposited", schema_version=1,
            stream=f"foreign-{account}", version=version, log_epoch=1, key=account, time=datetime.now(UTC), data={},
            correlation_id="c", causation_id="c",
        )  # fmt: skip
        body = payload or orjson.dumps({"account": account, "minutes": minutes, "total": minutes}).decode()
        return Message(self.topic, account, body, encode_headers(envelope))

    async def at_rest(self, messages: int) -> None:
        """Wait until the consumer has so many messages behind it."""
        async with asyncio.timeout(30):
            while True:
                async with self.running[0].database.read() as connection:
                    stands = await connection.scalar(select(func.sum(consumer_offsets.c.next_offset)))
                    unpublished = await connection.scalar(select(func.count()).select_from(outbox))
                if (stands or 0) >= messages and not unpublished:
                    return
                await asyncio.sleep(0.02)

    async def rows(self, table: Table, view: str) -> list[tuple[Any, ...]]:
        columns = [column for column in table.columns if column.name != "generation"]
        async with self.running[0].database.read() as connection:
            found = await connection.execute(select(*columns).where(live(table, view)).order_by(*columns))
            return [tuple(row) for row in found]

    async def all_rows(self) -> dict[str, list[tuple[Any, ...]]]:
        return {
            "accounts": await self.rows(accounts, "accounts"),
            "deposits": await self.rows(deposits, "deposits"),
            "standings": await self.rows(standings, "standings"),
        }

    async def generations(self) -> dict[str, set[int]]:
        async with self.running[0].database.read() as connection:
            return {
                table.name: set((await connection.execute(select(table.c.generation).distinct())).scalars())
                for table in (accounts, deposits, standings)
            }

    async def checks(self) -> dict[str, verify.Check]:
        return {one.name: one async for one in verify.verify(self.running[0], silent, rest_seconds=10)}

    async def faults(self) -> dict[str, list[str]]:
        return {
            name: [fault.text for fault in check.named] for name, check in (await self.checks()).items() if check.faults
        }


@pytest.fixture
async def world(settings_of: Callable[..., KernelSettings], kafka_bootstrap: str) -> AsyncIterator[World]:
    settings = settings_of("rebuild", tables, database_pool=20)
    made = World(settings, Producer(kafka_bootstrap, client_id="test"))
    yield made
    await made.stop()
    await made.producer.stop()


async def some_accounts(world: World, number: int = 20, each: int = 5) -> int:
    """Open accounts, close some; return how many facts that made."""
    for account in range(number):
        for minutes in range(1, each + 1):
            await world.do(f"a{account}", minutes)
    for account in range(0, number, 4):
        await world.do(f"a{account}", "close")
    return number * (each + 1) + len(range(0, number, 4))


async def test_a_rebuilt_view_has_the_same_rows_in_a_new_generation(world: World) -> None:
    runtime = await world.start()
    await world.at_rest(await some_accounts(world))
    before = await world.all_rows()
    assert [len(rows) for rows in before.values()] == [15, 75, 20]
    rebuilt = await rebuild(runtime, VIEWS, silent)
    assert {one.view: one.generation for one in rebuilt} == dict.fromkeys(VIEWS, 2)
    assert await world.all_rows() == before
    assert await world.generations() == {"accounts": {2}, "deposits": {2}, "standings": {2}}
    await world.do("a1", 50)
    assert ("a1", 65, 7) in await world.rows(accounts, "accounts")
    assert await world.generations() == {"accounts": {2}, "deposits": {2}, "standings": {2}}


async def test_a_rebuild_repairs_what_was_altered_and_verify_names_it_before(world: World) -> None:
    runtime = await world.start()
    await world.at_rest(await some_accounts(world))
    assert await world.faults() == {}
    async with runtime.database.transaction() as connection:
        await connection.execute(update(accounts).where(accounts.c.account == "a1").values(minutes=99))
        await connection.execute(deposits.delete().where(deposits.c.account == "a2", deposits.c.version == 3))
        await connection.execute(insert(standings).values(generation=1, account="nobody", total=7))
    assert await world.faults() == {
        "view accounts": ["accounts account=a1: minutes is 99, and a rebuild gives 15"],
        "view deposits": ["deposits account=a2 version=3: the row is missing"],
        "view standings": ["standings account=nobody: a rebuild gives no such row"],
    }
    (fault,) = (await world.checks())["view accounts"].named
    assert fault.where == {
        "table": "accounts", "key": {"account": "a1"}, "column": "minutes", "expected": 15, "found": 99,
    }  # fmt: skip
    await rebuild(runtime, ["deposits", "accounts"], silent)
    assert set(await world.faults()) == {"view standings"}
    await rebuild(runtime, VIEWS, silent)
    assert await world.faults() == {}


async def test_a_rebuild_under_load_shows_readers_nothing_and_loses_nothing(world: World) -> None:
    """Two copies write through commands and consumers, views are rebuilt again and again, readers look all the time."""
    runtime = await world.start(copies=2)
    names = [f"a{n}" for n in range(30)]
    for account in names:
        await world.do(account, 1)
    await world.at_rest(60)
    written = 0
    stop = asyncio.Event()

    async def write(copy: int, number: int) -> None:
        nonlocal written
        while not stop.is_set():
            await world.do(names[(number * 7 + written) % len(names)], 1, copy)
            written += 1

    async def look() -> None:
        totals = dict.fromkeys(names, 0)
        while not stop.is_set():
            rows = await world.rows(accounts, "accounts")
            assert [account for account, _, _ in rows] == sorted(names)
            assert all(minutes >= totals[account] for account, minutes, _ in rows)
            totals = {account: minutes for account, minutes, _ in rows}
            found = await world.rows(standings, "standings")
            assert [account for account, _ in found] == sorted(names)
            assert len(await world.rows(deposits, "deposits")) >= len(names)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(write(number % 2, number))
        group.create_task(look())
        for _ in range(6):
            before = written
            await rebuild(runtime, VIEWS, silent)
            while written < before + 20:  # noqa: ASYNC110  # counted by the writers
                await asyncio.sleep(0.01)
        assert await world.faults() == {}
        stop.set()
    await world.at_rest(60 + written)
    assert await world.faults() == {}
    rows = await world.rows(accounts, "accounts")
    assert sum(minutes for _, minutes, _ in rows) == len(names) + written
    assert sum(minutes for _, _, minutes in await world.rows(deposits, "deposits")) == len(names) + written


async def test_an_interrupted_rebuild_is_begun_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = await world.start()
    await world.at_rest(await some_accounts(world))
    before = await world.all_rows()
    monkeypatch.setattr(rebuilding, "BATCH", 10)
    monkeypatch.setattr(rebuilding, "LEASE_SECONDS", 1)

    class Killed(BaseException):
        pass

    def die(progress: Progress) -> None:
        if progress.done > 40:
            raise Killed

    with pytest.raises(Killed):
        await rebuild(runtime, ["deposits"], die)
    assert (await world.generations())["deposits"] == {1, 2}
    async with runtime.database.transaction() as connection:  # as a kill would leave it
        await connection.execute(
            update(job_leases).where(job_leases.c.job == "rebuild deposits").values(expires_at=func.now(6))
        )
        await connection.execute(insert(deposits).values(generation=2, account="left over", version=1, minutes=1))
    assert await world.all_rows() == before
    await rebuild(runtime, ["deposits"], silent)
    assert await world.all_rows() == before
    assert (await world.generations())["deposits"] == {2}


async def test_of_two_rebuilds_of_a_view_the_second_waits_and_another_views_does_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = await world.start()
    await world.at_rest(await some_accounts(world))
    monkeypatch.setattr(rebuilding, "LEASE_SECONDS", 0.5)
    async with rebuilding._leased(runtime.database, ["deposits"]) as lease:
        keeping = asyncio.create_task(lease.keep())
        with pytest.raises(Busy):
            await rebuild(runtime, ["deposits"], silent)
        await rebuild(runtime, ["standings"], silent)
        keeping.cancel()
    await asyncio.gather(rebuild(runtime, ["deposits"], silent), rebuild(runtime, ["standings"], silent))
    assert await world.faults() == {}


async def test_a_rebuild_that_slept_past_its_lease_writes_nothing_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = await world.start()
    await world.at_rest(await some_accounts(world))

    async def stolen() -> None:
        async with runtime.database.transaction() as connection:
            await connection.execute(update(job_leases).values(holder="somebody else"))

    waiting: list[asyncio.Task[None]] = []
    filled = rebuilding._Generations._fill

    async def fill_after_a_sleep(self: Any) -> None:
        if not waiting:
            waiting.append(asyncio.create_task(stolen()))
            await waiting[0]
        await filled(self)

    monkeypatch.setattr(rebuilding._Generations, "_fill", fill_after_a_sleep)
    with pytest.raises(Busy):
        await rebuild(runtime, ["deposits"], silent)
    assert (await world.generations())["deposits"] == {1}


async def test_what_is_parked_stays_out_until_the_consumer_applies_it(world: World) -> None:
    runtime = await world.start()
    await world.send(
        world.foreign("p", 1, 1), world.foreign("p", 2, 2, '{"account": "p"}'), world.foreign("p", 3, 3),
        world.foreign("g", 1, 1), world.foreign("g", 3, 3), world.foreign("u", 1, 13), world.foreign("u", 2, 2),
    )  # fmt: skip
    await world.at_rest(7)
    before = await world.all_rows()
    assert before["deposits"] == [("g", 1, 1), ("p", 1, 1)]
    await rebuild(runtime, VIEWS, silent)
    assert await world.all_rows() == before
    assert set(await world.faults()) == {"rest"}
    await world.send(world.foreign("g", 2, 2))
    async with runtime.database.transaction() as connection:
        await dead_letters.skip(connection, "facts", "p")
        await dead_letters.skip(connection, "facts", "u")
    async with asyncio.timeout(30):
        while len(await world.rows(deposits, "deposits")) < 6:  # noqa: ASYNC110  # a condition in a database
            await asyncio.sleep(0.02)
    healed = await world.all_rows()
    assert {row for row in healed["deposits"] if row[0] != "g"} == {("p", 1, 1), ("p", 3, 3), ("u", 2, 2)}
    await rebuild(runtime, VIEWS, silent)
    assert await world.all_rows() == healed
    assert await world.faults() == {}


async def test_a_key_that_is_free_before_long_is_no_fault(world: World) -> None:
    await world.start()
    await world.send(world.foreign("g", 1, 1), world.foreign("g", 3, 3))
    await world.at_rest(2)
    finding = asyncio.create_task(world.faults())
    await asyncio.wait({finding}, timeout=0.5)
    assert not finding.done(), "it waits for the key"
    await world.send(world.foreign("g", 2, 2))
    assert await finding == {}


async def test_an_event_that_a_consumer_dropped_is_named(world: World) -> None:
    runtime = await world.start()
    await world.at_rest(await some_accounts(world, 3, 2))
    await world.stop()
    runtime = Runtime(world.service, world.settings)
    world.running.append(runtime)
    await world.send(world.foreign("lost", 1, 1))
    async with runtime.database.transaction() as connection:
        before = await connection.scalar(select(func.sum(consumer_offsets.c.next_offset)))
        for one, end in (await ends_of(world.settings.kafka_bootstrap_servers, [world.topic])).items():
            await connection.execute(
                update(consumer_offsets)
                .where(consumer_offsets.c.topic == one.topic, consumer_offsets.c.partition_no == one.partition)
                .values(next_offset=end)
            )
        assert await connection.scalar(select(func.sum(consumer_offsets.c.next_offset))) == before + 1
    faults = await world.faults()
    assert faults == {
        "consumer facts": ["facts has seen nothing of foreign-lost, and its topics have version 1 before its offset"],
        "view deposits": ["deposits account=lost version=1: the row is missing"],
        "view standings": ["standings account=lost: the row is missing"],
    }


async def test_old_versions_of_events_are_lifted(world: World) -> None:
    runtime = await world.start()
    await world.do("a", 5)
    await world.at_rest(2)
    async with runtime.database.transaction() as connection:
        await connection.execute(
            update(events)
            .where(events.c.stream == "account-a", events.c.version == 2)
            .values(schema_version=1, data='{"account": "a", "amount": 5, "total": 5}')
        )
    await rebuild(runtime, ["accounts"], silent)
    assert await world.rows(accounts, "accounts") == [("a", 5, 2)]


async def test_a_hole_in_the_log_and_a_fact_that_never_came_to_kafka_are_named(world: World) -> None:
    runtime = await world.start()
    await world.do("a", 1)
    await world.do("a", 2)
    await world.at_rest(3)
    async with runtime.database.transaction() as connection:
        await connection.execute(update(events).where(events.c.version == 3).values(version=4, event_id=new_id()))
    faults = await world.faults()
    assert faults["streams"] == ["account-a has 3 events, and its versions go from 1 to 4"]
    assert len(faults["topics"]) == 2


async def test_an_unknown_view_is_refused_with_the_names_of_those_there_are(world: World) -> None:
    runtime = await world.start()
    with pytest.raises(NotAView, match="it has accounts, deposits, standings"):
        await rebuild(runtime, ["nothing"], silent)


async def test_both_generations_are_compared_at_the_same_facts(world: World) -> None:
    runtime = await world.start()
    await world.at_rest(await some_accounts(world, 4, 2))
    looked: list[str] = []

    async def look(connection: AsyncConnection, view: type[Projection], old: int, new: int) -> None:
        await world.do("later", 1)
        looked.append(view.name)
        for table in view.tables:
            assert await verify.digest(connection, table, old) == await verify.digest(connection, table, new)

    await compare(runtime, VIEWS, silent, look)
    assert looked == list(VIEWS)
    async with runtime.database.read() as connection:
        assert set((await connection.execute(select(view_generations.c.live))).scalars()) == {1}
    assert await world.generations() == {"accounts": {1}, "deposits": {1}, "standings": {1}}
