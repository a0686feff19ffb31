"""The event store and command execution on a real database: nobody overwrites, nothing is half written."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar

import pytest
from sqlalchemy import delete, func, insert, select, update

from lms.kernel import failpoints
from lms.kernel.database import Database
from lms.kernel.decider import Decider
from lms.kernel.errors import RuleBroken
from lms.kernel.event import Codec, Event, Prerequisite
from lms.kernel.eventstore import SNAPSHOT_EVERY, Append, Causality, ConcurrencyConflict, EventStore
from lms.kernel.execution import CommandContext, Executor, UnitOfWork
from lms.kernel.schema import events, outbox, snapshots


class Deposited(Event):
    """Minutes came in."""

    TYPE: ClassVar[str] = "account.deposited"
    minutes: int


class Full(RuleBroken):
    """The account takes no more."""

    code = "full"


LIMIT = 10_000_000


def _decide(minutes: int, balance: int) -> list[Event]:
    if balance + minutes > LIMIT:
        raise Full("The account takes no more.")
    return [Deposited(minutes=minutes)]


ACCOUNT: Decider[int, int, Event] = Decider(
    category="account",
    topic="test.v1",
    initial=0,
    decide=_decide,
    evolve=lambda balance, event: balance + (event.minutes if isinstance(event, Deposited) else 0),
    state_type=int,
)
CODEC = Codec((Deposited,))
WHO = Causality("c1", "c1", "anna")


class WallClock:
    """The clock of these tests."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture
async def database(emptied: Callable[..., str]) -> AsyncIterator[Database]:
    found = Database(emptied("store"), pool_size=20)
    yield found
    await found.close()


@pytest.fixture
def store() -> EventStore:
    return EventStore("test", CODEC)


@pytest.fixture
def executor(database: Database, store: EventStore) -> Executor:
    return Executor(database, store, WallClock())


async def deposit(unit: UnitOfWork, account: str, minutes: int) -> int:
    return (await unit.handle(ACCOUNT, account, minutes, key=account)).version


async def test_events_and_outbox_rows_are_written_together(database: Database, store: EventStore) -> None:
    rests_on = (Prerequisite("leave.directory.v1", "employee-1", 3),)
    facts = Append("test.v1", "account-1", "key-1", 0, [Deposited(minutes=1), Deposited(minutes=2)], rests_on)
    async with database.transaction() as connection:
        await store.append(connection, [facts], WHO)
    async with database.read() as connection:
        read = await store.read(connection, "account-1")
        queued = (await connection.execute(select(outbox).order_by(outbox.c.position))).all()
    assert [one.event for one in read] == [Deposited(minutes=1), Deposited(minutes=2)]
    assert [(one.envelope.version, one.envelope.key, one.envelope.actor) for one in read] == [
        (1, "key-1", "anna"),
        (2, "key-1", "anna"),
    ]
    assert read[0].envelope.prerequisites == rests_on
    assert [(row.id, row.aggregatetype, row.aggregateid) for row in queued] == [
        (one.envelope.event_id, "test.v1", "key-1") for one in read
    ]


async def test_who_appends_from_an_old_version_writes_nothing(database: Database, store: EventStore) -> None:
    async with database.transaction() as connection:
        await store.append(connection, [Append("test.v1", "account-1", "k", 0, [Deposited(minutes=1)])], WHO)
    with pytest.raises(ConcurrencyConflict, match="account-1 no longer stands at version 0"):
        async with database.transaction() as connection:
            await store.append(
                connection,
                [
                    Append("test.v1", "account-0", "k", 0, [Deposited(minutes=5)]),
                    Append("test.v1", "account-1", "k", 0, [Deposited(minutes=5)]),
                ],
                WHO,
            )
    async with database.read() as connection:
        assert await store.head(connection, "account-0") == 0
        assert await store.head(connection, "account-1") == 1
        assert await connection.scalar(select(func.count()).select_from(outbox)) == 1


async def test_racing_commands_are_each_decided_once(executor: Executor, database: Database, store: EventStore) -> None:
    versions = await asyncio.gather(*(executor.run(lambda unit: deposit(unit, "hot", 1)) for _ in range(12)))
    assert sorted(versions) == list(range(1, 13))
    async with database.read() as connection:
        assert (await store.load(connection, ACCOUNT, "hot")).state == 12


@pytest.mark.parametrize("checked", [True, False])
async def test_who_decided_on_what_is_no_longer_so_decides_anew_and_without_the_version_check_would_break_the_rule(
    executor: Executor, database: Database, monkeypatch: pytest.MonkeyPatch, checked: bool
) -> None:
    monkeypatch.setattr(failpoints, "_off", frozenset() if checked else frozenset({"store.version-check"}))
    another = Executor(database, EventStore("test", CODEC), WallClock())
    decided: list[int] = []

    async def deposit_too_late(unit: UnitOfWork) -> int:
        decided.append((await unit.load(ACCOUNT, "a")).state)
        if len(decided) == 1:
            await another.run(lambda first: deposit(first, "a", LIMIT))
        return await deposit(unit, "a", 1)

    if checked:
        with pytest.raises(Full):
            await executor.run(deposit_too_late)
    else:
        await executor.run(deposit_too_late)
    assert decided == ([0, LIMIT] if checked else [0])
    async with database.read() as connection:
        found = await EventStore("test", CODEC).load(connection, ACCOUNT, "a")
    assert found.state == (LIMIT if checked else LIMIT + 1)


async def test_a_refused_command_leaves_nothing_behind(executor: Executor, database: Database) -> None:
    async def deposit_then_refuse(unit: UnitOfWork) -> None:
        await deposit(unit, "a", 1)
        await deposit(unit, "b", LIMIT + 1)

    with pytest.raises(Full):
        await executor.run(deposit_then_refuse)
    async with database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(events)) == 0


async def test_the_trail_of_a_command_is_in_its_facts(
    executor: Executor, database: Database, store: EventStore
) -> None:
    context = CommandContext(
        actor="service:loader",
        correlation_id="corr",
        causation_id="cause",
        traceparent="00-1-2-01",
        on_behalf_of="anna",
    )
    await executor.run(lambda unit: deposit(unit, "a", 1), context=context)
    async with database.read() as connection:
        (recorded,) = await store.read(connection, "account-a")
    envelope = recorded.envelope
    assert (envelope.actor, envelope.on_behalf_of, envelope.in_the_name_of) == ("service:loader", "anna", "anna")
    assert (envelope.correlation_id, envelope.causation_id, envelope.traceparent) == ("corr", "cause", "00-1-2-01")


async def test_what_waits_for_the_commit_runs_after_it_and_may_fail(executor: Executor, database: Database) -> None:
    seen: list[int] = []

    async def count_committed() -> None:
        async with database.read() as connection:
            seen.append(int(await connection.scalar(select(func.count()).select_from(events)) or 0))

    async def fail() -> None:
        raise RuntimeError("a cache is away")

    async def use_case(unit: UnitOfWork) -> int:
        unit.after_commit(fail)
        unit.after_commit(count_committed)
        return await deposit(unit, "a", 1)

    assert await executor.run(use_case) == 1
    assert seen == [1]


async def test_a_long_stream_loads_from_its_snapshot(executor: Executor, database: Database, store: EventStore) -> None:
    async def fill(unit: UnitOfWork) -> None:
        facts = [Deposited(minutes=1)] * (SNAPSHOT_EVERY - 1)
        await unit.append(ACCOUNT, "long", 0, facts, key="long")

    await executor.run(fill)
    await executor.run(lambda unit: deposit(unit, "long", 1))
    async with database.read() as connection:
        loaded = await store.load(connection, ACCOUNT, "long")
    assert (loaded.state, loaded.version, loaded.snapshot_version) == (SNAPSHOT_EVERY,) * 3


async def test_a_snapshot_is_only_a_shortcut(executor: Executor, database: Database) -> None:
    await executor.run(lambda unit: deposit(unit, "a", 7))
    unusable = {"stream": "account-a", "version": 1, "state": '"broken"', "evolve_version": 1}
    async with database.transaction() as connection:
        await connection.execute(insert(snapshots).values(**unusable))
    async with database.read() as connection:
        assert (await EventStore("test", CODEC).load(connection, ACCOUNT, "a")).state == 7
    async with database.transaction() as connection:
        await connection.execute(update(snapshots).values(evolve_version=0, state="999"))
    async with database.read() as connection:
        assert (await EventStore("test", CODEC).load(connection, ACCOUNT, "a")).state == 7


async def test_a_state_that_was_loaded_before_takes_only_the_events_since(
    executor: Executor, database: Database, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await executor.run(lambda unit: deposit(unit, "a", 1))
    async with database.read() as connection:
        await store.load(connection, ACCOUNT, "a")
    another = Executor(database, EventStore("test", CODEC), WallClock())
    await another.run(lambda unit: deposit(unit, "a", 10))
    decoded: list[int] = []
    decode = store.codec.decode

    def note_and_decode(type_: str, schema_version: int, data: str) -> Event:
        event = decode(type_, schema_version, data)
        decoded.append(event.minutes if isinstance(event, Deposited) else 0)
        return event

    monkeypatch.setattr(store.codec, "decode", note_and_decode)
    async with database.read() as connection:
        loaded = await store.load(connection, ACCOUNT, "a")
    assert (loaded.state, loaded.version) == (15, 6)
    assert decoded == [10]


async def test_what_was_loaded_in_a_transaction_that_was_rolled_back_is_forgotten(
    executor: Executor, database: Database, store: EventStore
) -> None:
    await executor.run(lambda unit: deposit(unit, "a", 1))

    async def deposit_and_look(unit: UnitOfWork) -> None:
        await deposit(unit, "a", 100)
        assert (await store.load(unit.connection, ACCOUNT, "a")).state == 101
        raise Full("The account takes no more.")

    with pytest.raises(Full):
        await executor.run(deposit_and_look)
    async with database.read() as connection:
        assert (await store.load(connection, ACCOUNT, "a")).state == 1
    await executor.run(lambda unit: deposit(unit, "a", 5))
    async with database.read() as connection:
        assert (await store.load(connection, ACCOUNT, "a")).state == 6


async def test_what_was_loaded_before_the_log_was_brought_back_to_an_earlier_instant_is_forgotten(
    executor: Executor, database: Database, store: EventStore
) -> None:
    for minutes in (1, 2, 4):
        await executor.run(partial(deposit, account="a", minutes=minutes))
    async with database.read() as connection:
        assert (await store.load(connection, ACCOUNT, "a")).state == 7
    async with database.transaction() as connection:
        await connection.execute(delete(events).where(events.c.version > 1))
    elsewhere = Executor(database, EventStore("test", CODEC), WallClock())
    for minutes in (10, 20, 30):
        await elsewhere.run(partial(deposit, account="a", minutes=minutes))
    async with database.read() as connection:
        loaded = await store.load(connection, ACCOUNT, "a")
    assert (loaded.state, loaded.version) == (61, 4)


async def test_what_is_remembered_is_bounded_by_the_events_of_its_streams(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lms.kernel.eventstore.REMEMBERED_EVENTS", 10)
    few = EventStore("test", CODEC)
    monkeypatch.setattr(executor, "_store", few)
    for number in range(30):
        for _ in range(2):
            await executor.run(partial(deposit, account=f"a{number}", minutes=1))
    assert 0 < sum(one.loaded.version for one in few._remembered.values()) <= 10
