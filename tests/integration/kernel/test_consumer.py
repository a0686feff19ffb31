"""Consumers on a real Kafka and a real database: exactly once in effect, whatever comes twice, late or broken."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import psutil
import pytest
from sqlalchemy import BigInteger, Column, Integer, MetaData, SmallInteger, Table, func, select
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from tests.waiting import becomes

from lms.kernel import dead_letters, failpoints
from lms.kernel.cloudevents import encode_headers
from lms.kernel.consumer import (
    REACTIONS,
    Consumer,
    ConsumerRunner,
    Fenced,
    NotYetKnown,
    Projector,
    Reactor,
    Received,
    Recorder,
)
from lms.kernel.decider import Decider
from lms.kernel.event import Envelope, Event, ForeignEvent, Prerequisite
from lms.kernel.execution import UnitOfWork
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, Topic, declare
from lms.kernel.parking import HELD_POLL, ParkedEvent, park
from lms.kernel.projection import Projection, Upsert, Write, live
from lms.kernel.schema import consumer_offsets, consumer_versions, name, outbox
from lms.kernel.service import Runtime, Service
from lms.kernel.settings import KernelSettings

tables = MetaData()
totals = Table(
    "totals",
    tables,
    Column("account", name(80), primary_key=True),
    Column("minutes", BigInteger, nullable=False),
    Column("events", Integer, nullable=False),
)
balances = Table(
    "balances",
    tables,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("account", name(80), primary_key=True),
    Column("minutes", BigInteger, nullable=False),
)


class Deposited(ForeignEvent):
    """Minutes came in, upstream."""

    TYPE: ClassVar[str] = "account.deposited"
    account: str
    minutes: int


class Counted(Event):
    """A deposit was counted."""

    TYPE: ClassVar[str] = "count.counted"
    minutes: int


COUNT: Decider[int, int, Counted] = Decider(
    category="count",
    topic="",
    initial=0,
    decide=lambda minutes, _: [Counted(minutes=minutes)],
    evolve=lambda sum_, event: sum_ + event.minutes,
    state_type=int,
)


def _deposited(event: Deposited, _: Envelope) -> Iterable[Write]:
    yield Upsert(balances, {"account": event.account, "minutes": event.minutes})


class Balances(Projection):
    """The last deposit of each account."""

    name = "balances"
    tables = (balances,)
    handlers: ClassVar[dict[Any, Any]] = {Deposited: _deposited}


async def add(unit: UnitOfWork, event: Deposited, _: Envelope) -> None:
    """Add to a total: applied twice, it would show."""
    if event.minutes < 0:
        raise ValueError("a negative deposit")
    statement = upsert(totals).values(account=event.account, minutes=event.minutes, events=1)
    await unit.connection.execute(
        statement.on_duplicate_key_update(minutes=totals.c.minutes + event.minutes, events=totals.c.events + 1)
    )
    await unit.handle(COUNT, event.account, event.minutes, key=event.account)


@dataclass
class World:
    """One upstream topic, one database, and as many copies of a consuming service as a test starts."""

    topic: str
    facts: str
    settings: KernelSettings
    producer: Producer
    running: list[Runtime] = field(default_factory=list)
    suffix: str = field(default_factory=lambda: new_id()[-8:])

    async def start(self, *consumers: Consumer) -> Runtime:
        own = Topic(f"counts.{self.suffix}", partitions=3)
        service = Service(
            name=f"test-{self.suffix}", deciders=(COUNT,), publishes={own.name: (Counted,)}, consumers=consumers
        )
        dead = [Topic(f"dlq.{service.name}.{consumer.name}", partitions=3) for consumer in consumers]
        await declare(self.settings.kafka_bootstrap_servers, [own, *dead])
        object.__setattr__(COUNT, "topic", own.name)
        runtime = Runtime(service, self.settings)
        await runtime.start(worker=True)
        self.running.append(runtime)
        return runtime

    async def stop(self) -> None:
        await asyncio.gather(*(runtime.stop() for runtime in self.running))
        self.running.clear()

    def deposit(self, account: str, version: int, minutes: int, *, payload: str | None = None, **more: Any) -> Message:
        envelope = Envelope(
            event_id=new_id(), source="bank", type=more.get("type", Deposited.TYPE), schema_version=1,
            stream=f"account-{account}", version=version, log_epoch=more.get("epoch", 1), key=account,
            time=datetime.now(UTC), data={}, correlation_id=more.get("correlation_id", "c"), causation_id="c",
            traceparent=more.get("traceparent"), prerequisites=more.get("rests_on", ()),
        )  # fmt: skip
        body = payload or f'{{"account": "{account}", "minutes": {minutes}, "more": "ignored"}}'
        return Message(more.get("topic", self.topic), account, body, encode_headers(envelope))

    async def send(self, *messages: Message) -> None:
        await self.producer.send_all(messages)

    async def totals(self) -> dict[str, tuple[int, int]]:
        async with self.running[0].database.read() as connection:
            rows = await connection.execute(select(totals))
            return {row.account: (row.minutes, row.events) for row in rows}

    async def caught_up(self, sent: int, consumer: str = "count") -> None:
        async def there() -> bool:
            async with self.running[0].database.read() as connection:
                rows = await connection.execute(
                    select(consumer_offsets.c.next_offset).where(
                        consumer_offsets.c.consumer == consumer, consumer_offsets.c.topic == self.topic
                    )
                )
                return bool(sum(row.next_offset for row in rows) >= sent)

        await becomes(there, f"{consumer} did not reach {sent} events")

    async def parked(self) -> list[dead_letters.ParkedKey]:
        async with self.running[0].database.read() as connection:
            return await dead_letters.parked(connection)


@pytest.fixture
async def world(settings_of: Callable[..., KernelSettings], kafka_bootstrap: str) -> AsyncIterator[World]:
    settings = settings_of("consumer", tables)
    made = World("", "", settings, Producer(kafka_bootstrap, client_id="test"))
    made.topic, made.facts = f"bank.{made.suffix}", f"facts.{made.suffix}"
    await declare(kafka_bootstrap, [Topic(made.topic, partitions=6), Topic(made.facts, partitions=6)])
    yield made
    await made.stop()
    await made.producer.stop()


def counting(world: World, waits_for: str | None = None) -> Reactor:
    return Reactor("count", (world.topic,), {Deposited: add}, waits_for)


def batches_of(runner: ConsumerRunner, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Received]]:
    """Return the list to which the runner adds what it handles in one transaction, from now on."""
    batches: list[Sequence[Received]] = []
    react = runner._react

    async def note_and_react(batch: Sequence[Received]) -> None:
        batches.append(batch)
        await react(batch)

    monkeypatch.setattr(runner, "_react", note_and_react)
    return batches


async def test_events_that_wait_share_a_transaction_and_one_that_is_poison_is_set_aside_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [f"a{n}" for n in range(20)]
    await world.start(counting(world))
    batches = batches_of(world.running[0].runners[0], monkeypatch)
    await world.send(*(world.deposit(account, version, 1) for version in (1, 2, 3) for account in accounts))
    await world.caught_up(60)
    assert await world.totals() == dict.fromkeys(accounts, (3, 3))
    assert len(batches) < 30
    assert max(map(len, batches)) <= REACTIONS
    await world.send(*(world.deposit(account, 4, -1 if account == "a7" else 1) for account in accounts))
    await world.caught_up(80)
    assert await world.totals() == dict.fromkeys(accounts, (4, 4)) | {"a7": (3, 3)}
    assert [one.key for one in await world.parked()] == ["a7"]


async def test_a_topic_delivered_twice_has_its_effect_once(world: World) -> None:
    messages = [world.deposit(f"a{n % 7}", n // 7 + 1, n) for n in range(210)]
    await world.send(*messages)
    await world.start(counting(world))
    await world.send(*messages)
    await world.caught_up(420)
    found = await world.totals()
    assert sum(minutes for minutes, _ in found.values()) == sum(range(210))
    assert {events for _, events in found.values()} == {30}


async def test_without_the_version_check_a_repeated_topic_would_be_counted_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "_off", frozenset({"consumer.version-check"}))
    messages = [world.deposit("a", n + 1, 1) for n in range(10)]
    await world.start(counting(world))
    await world.send(*messages, *messages)
    await world.caught_up(20)
    assert await world.totals() == {"a": (20, 20)}


async def test_copies_that_come_and_go_share_the_work_and_count_once(world: World) -> None:
    accounts = [f"a{n}" for n in range(40)]
    first = await world.start(counting(world))
    await world.send(*(world.deposit(account, 1, 1) for account in accounts))
    second, third = await world.start(counting(world)), await world.start(counting(world))
    for version in range(2, 12):
        await world.send(*(world.deposit(account, version, 1) for account in accounts))
    await second.stop()
    await third.stop()
    world.running = [first]
    for version in range(12, 16):
        await world.send(*(world.deposit(account, version, 1) for account in accounts))
    await world.caught_up(40 * 15)
    assert await world.totals() == dict.fromkeys(accounts, (15, 15))


async def test_a_member_that_cannot_leave_its_group_at_once_closes_its_connections_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start(counting(world))
    await world.send(world.deposit("a", 1, 5))
    await world.caught_up(1)
    (member,) = world.running[0].runners
    before = _connections_to(world.settings.kafka_bootstrap_servers)
    monkeypatch.setattr("lms.kernel.kafka._STOP_SECONDS", 0.0)
    await member.stop()

    async def closed() -> bool:  # one to the broker, one to the group's coordinator
        return _connections_to(world.settings.kafka_bootstrap_servers) == before - 2

    await becomes(closed, "connections are still open")


def _connections_to(servers: str) -> int:
    """Return how many connections this process holds to a server (host:port)."""
    port = int(servers.rpartition(":")[2])
    return sum(
        bool(one.raddr) and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED
        for one in psutil.Process().net_connections("tcp")
    )


async def test_a_member_that_lost_its_partition_without_noticing_changes_nothing(world: World) -> None:
    runtime = await world.start(counting(world))
    await world.send(world.deposit("a", 1, 1))
    await world.caught_up(1)
    zombie = runtime.runners[0]
    for partition in list(zombie._positions):
        zombie._positions[partition] = 0
    await world.send(world.deposit("a", 2, 1), world.deposit("a", 3, 1))
    await world.caught_up(3)
    assert await world.totals() == {"a": (3, 3)}


@pytest.mark.parametrize("fencing", [True, False])
async def test_two_members_that_hold_the_same_batch_apply_it_once_thanks_to_the_fencing(
    world: World, monkeypatch: pytest.MonkeyPatch, fencing: bool
) -> None:
    off = {"consumer.version-check"} if fencing else {"consumer.version-check", "consumer.fencing"}
    monkeypatch.setattr(failpoints, "_off", frozenset(off))
    await world.start(counting(world))
    await world.send(world.deposit("a", 1, 5))
    await world.caught_up(1)
    owner = world.running[0].runners[0]
    batches = batches_of(owner, monkeypatch)
    await world.send(world.deposit("a", 2, 7))
    await world.caught_up(2)
    zombie = ConsumerRunner(world.running[0], counting(world))
    if fencing:
        with pytest.raises(Fenced):
            await zombie._react(batches[0])
        assert await world.totals() == {"a": (12, 2)}
    else:
        await zombie._react(batches[0])
        assert await world.totals() == {"a": (19, 3)}


async def test_a_missing_version_parks_its_key_and_heals_when_it_comes(world: World) -> None:
    await world.start(counting(world))
    await world.send(
        world.deposit("a", 1, 1), world.deposit("a", 3, 4), world.deposit("a", 4, 8), world.deposit("b", 1, 1)
    )
    await world.caught_up(4)
    assert await world.totals() == {"a": (1, 1), "b": (1, 1)}
    (waiting,) = await world.parked()
    assert (waiting.kind, waiting.events) == ("gap", 2)
    assert waiting.reason == "account-a jumped from version 1 to version 3"
    await world.send(world.deposit("a", 2, 2))

    async def healed() -> bool:
        return not await world.parked()

    await becomes(healed, "the key did not heal")
    assert await world.totals() == {"a": (15, 4), "b": (1, 1)}


async def test_an_event_is_held_until_the_projector_has_seen_what_it_rests_on(world: World) -> None:
    facts = Projector("facts", (world.facts,), (Balances,))
    await world.start(facts, counting(world, "facts"))
    rests_on = (Prerequisite(world.facts, "account-fact", 2),)
    await world.send(world.deposit("a", 1, 1, rests_on=rests_on), world.deposit("a", 2, 2), world.deposit("b", 1, 1))
    await world.caught_up(3)
    assert await world.totals() == {"b": (1, 1)}
    assert [(one.kind, one.key) for one in await world.parked()] == [("held", "a")]
    await world.send(world.deposit("fact", 1, 5, topic=world.facts), world.deposit("fact", 2, 6, topic=world.facts))

    async def released() -> bool:
        return (await world.totals()).get("a") == (3, 2)

    await becomes(released, "the held key was not released")
    async with world.running[0].database.read() as connection:
        found = await connection.scalar(select(balances.c.minutes).where(live(balances, "balances")))
    assert found == 6


async def test_an_event_that_the_projector_reads_too_is_held_until_the_projector_has_seen_it(world: World) -> None:
    facts = Projector("facts", (world.topic,), (Balances,))

    async def add_what_the_view_shows(unit: UnitOfWork, event: Deposited, around: Envelope) -> None:
        shown = await unit.connection.scalar(
            select(balances.c.minutes).where(live(balances, "balances"), balances.c.account == event.account)
        )
        await add(unit, Deposited(account=event.account, minutes=0 if shown is None else shown), around)

    reader = Reactor("count", (world.topic,), {Deposited: add_what_the_view_shows}, "facts")
    await world.start(reader, facts)
    accounts = [f"a{n}" for n in range(20)]
    await world.send(*(world.deposit(account, 1, 7) for account in accounts))

    async def all_counted() -> bool:
        return len(await world.totals()) == len(accounts) and not await world.parked()

    await becomes(all_counted, "an event is held for ever")
    assert await world.totals() == dict.fromkeys(accounts, (7, 1))


async def test_an_event_that_the_projector_is_just_writing_is_not_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start(counting(world, "facts"), Projector("facts", (world.topic,), (Balances,)))
    accounts = [f"a{n}" for n in range(20)]
    await world.send(*(world.deposit(account, 1, 7) for account in accounts))
    await world.caught_up(20)
    await world.caught_up(20, "facts")
    held: list[str] = []

    async def note_and_park(connection: AsyncConnection, name: str, event: ParkedEvent, **why: Any) -> None:
        held.append(event.key)
        await park(connection, name, event, **why)

    monkeypatch.setattr("lms.kernel.consumer.park", note_and_park)
    for version in range(2, 12):
        await world.send(*(world.deposit(account, version, 7) for account in accounts))
        await world.caught_up(20 * version)
    assert held == []


async def test_an_event_whose_handler_lacks_a_fact_is_held_until_the_handler_finds_it(world: World) -> None:
    known = False

    async def add_when_known(unit: UnitOfWork, event: Deposited, around: Envelope) -> None:
        await add(unit, event, around)
        if event.account == "a" and not known:
            raise NotYetKnown("the currency of a")

    await world.start(Reactor("count", (world.topic,), {Deposited: add_when_known}))
    await world.send(world.deposit("a", 1, 1), world.deposit("a", 2, 2), world.deposit("b", 1, 1))
    await world.caught_up(3)
    (waiting,) = await world.parked()
    assert (waiting.kind, waiting.key, waiting.events, waiting.reason) == ("held", "a", 2, "the currency of a")
    assert await world.totals() == {"b": (1, 1)}
    known = True

    async def released() -> bool:
        return not await world.parked()

    await becomes(released, "the held key was not released")
    assert await world.totals() == {"a": (3, 2), "b": (1, 1)}


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ("not json", "The value is not JSON"),
        ('{"account": "a"}', "account.deposited does not have the fields that count reads: minutes"),
        ('{"account": "a", "minutes": -1}', "ValueError at test_consumer.py"),  # its text might name somebody
    ],
)
async def test_poison_parks_its_key_and_the_rest_flows(world: World, payload: str, told: str) -> None:
    await world.start(counting(world))
    await world.send(world.deposit("a", 1, 0, payload=payload), world.deposit("a", 2, 7), world.deposit("b", 1, 1))
    await world.caught_up(3)
    assert await world.totals() == {"b": (1, 1)}
    (waiting,) = await world.parked()
    assert (waiting.kind, waiting.events) == ("poison", 2)
    assert told in waiting.reason
    async with world.running[0].database.transaction() as connection:
        await dead_letters.skip(connection, "count", "a")

    async def healed() -> bool:
        return not await world.parked()

    await becomes(healed, "skipping did not heal the key")
    assert await world.totals() == {"a": (7, 1), "b": (1, 1)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"ce_stream": "account-\u00e9"}, {"ce_stream": "a" * 161}, {"ce_stream": ""}, {"ce_streamversion": str(2**31)},
        {"ce_logepoch": "x"}, {"ce_id": "\u00e9"}, {"ce_prerequisites": '[["facts", "account-\u00e9", 1]]'},
    ],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
async def test_what_no_table_could_look_up_is_poison_like_any_other_and_can_be_skipped(
    world: World, wrong: dict[str, str]
) -> None:
    await world.start(Projector("facts", (world.topic,), (Balances,)), counting(world, "facts"))
    broken = world.deposit("a", 1, 1)
    await world.send(
        broken._replace(headers={**broken.headers, **wrong}), world.deposit("a", 1, 7), world.deposit("b", 1, 1)
    )
    await world.caught_up(3)

    async def the_rest_flows() -> bool:
        return await world.totals() == {"b": (1, 1)}

    await becomes(the_rest_flows, "what is behind a broken message does not come")

    async def both_have_parked_it() -> bool:  # and a key that was held for a moment is free again
        parked = sorted((one.consumer, one.kind, one.events) for one in await world.parked())
        return parked == [("count", "poison", 2), ("facts", "poison", 2)]

    await becomes(both_have_parked_it, "not both have set the key aside")
    for consumer in ("count", "facts"):
        async with world.running[0].database.transaction() as connection:
            await dead_letters.skip(connection, consumer, "a")

    async def healed() -> bool:
        return not await world.parked()

    await becomes(healed, "skipping did not heal the key")
    assert await world.totals() == {"a": (7, 1), "b": (1, 1)}


async def test_what_is_poison_behind_an_event_that_waits_is_set_aside_when_its_turn_comes(world: World) -> None:
    """Else `skip` would give up the one that waits."""
    facts = Projector("facts", (world.facts,), (Balances,))
    await world.start(facts, counting(world, "facts"))
    rests_on = (Prerequisite(world.facts, "account-fact", 1),)
    await world.send(world.deposit("a", 1, 1, rests_on=rests_on), world.deposit("a", 2, 0, payload="not json"))
    await world.caught_up(2)
    looks = 0

    async def looked_at() -> bool:
        nonlocal looks
        looks += 1
        return looks > 2 * HELD_POLL / 0.03 and [one.kind for one in await world.parked()] == ["held"]

    await becomes(looked_at, "what is behind a held event counts against it")
    await world.send(world.deposit("fact", 1, 5, topic=world.facts))

    async def poisoned() -> bool:
        return [(one.kind, one.events) for one in await world.parked()] == [("poison", 1)]

    await becomes(poisoned, "the second event is not set aside in its turn")
    assert await world.totals() == {"a": (1, 1)}


async def test_an_event_that_was_just_held_goes_on_as_soon_as_its_fact_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when a consumer for which nothing waits looks by itself."""
    monkeypatch.setattr("lms.kernel.consumer.UNASKED_LOOK_SECONDS", 3600.0)
    facts = Projector("facts", (world.facts,), (Balances,))
    await world.start(facts, counting(world, "facts"))
    commit = AsyncConnection.commit

    async def slowly(connection: AsyncConnection) -> None:
        await asyncio.sleep(0.02)  # the drain looks before what was parked shows
        await commit(connection)

    monkeypatch.setattr(AsyncConnection, "commit", slowly)
    rests_on = (Prerequisite(world.facts, "account-fact", 1),)
    await world.send(world.deposit("a", 1, 1, rests_on=rests_on))
    await world.caught_up(1)
    await world.send(world.deposit("fact", 1, 5, topic=world.facts))

    async def released() -> bool:
        return not await world.parked()

    await becomes(released, "the held key was not released")


async def test_keys_that_wait_for_ever_do_not_keep_others_from_their_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lms.kernel.parking.KEYS_AT_ONCE", 3)
    monkeypatch.setattr("lms.kernel.consumer.KEYS_AT_ONCE", 3)
    facts = Projector("facts", (world.facts,), (Balances,))
    await world.start(facts, counting(world, "facts"))
    never = (Prerequisite(world.facts, "account-never", 1),)
    await world.send(*(world.deposit(f"a{number}", 1, 1, rests_on=never) for number in range(7)))
    await world.caught_up(7)
    rests_on = (Prerequisite(world.facts, "account-fact", 1),)
    await world.send(world.deposit("z", 1, 1, rests_on=rests_on))
    await world.caught_up(8)
    await world.send(world.deposit("fact", 1, 5, topic=world.facts))

    async def released() -> bool:
        return sorted(one.key for one in await world.parked()) == [f"a{number}" for number in range(7)]

    await becomes(released, "a key is never looked at")
    assert await world.totals() == {"z": (1, 1)}


async def test_a_dead_letter_of_a_huge_event_holds_nothing_up(world: World) -> None:
    """What Kafka would not take stays in the outbox, and everything that is written after it."""
    await world.start(counting(world))
    broken = world.deposit("a", 1, 1)
    size = 4 * 1024 * 1024 - 1000  # as much as Kafka takes with the event's own headers, and not with a dead letter's
    await world.send(broken._replace(value="x" * size), world.deposit("b", 1, 1))
    await world.caught_up(2)

    async def relayed() -> bool:
        async with world.running[0].database.read() as connection:
            return await connection.scalar(select(func.count()).select_from(outbox)) == 0

    await becomes(relayed, "the outbox is not emptied")
    async with world.running[0].database.read() as connection:
        (event,) = await dead_letters.show(connection, "count", "a")
    assert event.payload is not None
    assert len(event.payload) == size


async def test_the_log_of_a_poison_event_names_the_request_and_the_trace_that_it_comes_from(world: World) -> None:
    await world.start(counting(world))
    trace = "0af7651916cd43dd8448eb211c80319c"
    expected = {
        ("an event cannot be applied", "req-1", trace),
        ("an event is poison; its key is parked", "req-1", trace),
        ("an event is missing; its key waits", "req-2", None),
    }
    with capture_logs([merge_contextvars]) as told:

        async def all_told() -> bool:
            trails = ((one["event"], one.get("labels.correlation_id"), one.get("trace.id")) for one in told)
            return expected <= set(trails)

        await world.send(
            world.deposit("a", 1, -1, correlation_id="req-1", traceparent=f"00-{trace}-b7ad6b7169203331-01"),
            world.deposit("b", 1, 1, correlation_id="req-2"),
            world.deposit("b", 3, 1, correlation_id="req-2"),
        )
        await becomes(all_told, "a line lacks its trail")


async def test_a_key_heals_by_retry_once_its_cause_is_mended(world: World) -> None:
    broken = True

    async def add_when_mended(unit: UnitOfWork, event: Deposited, envelope: Envelope) -> None:
        if broken:
            raise LookupError("a rule that nobody thought of")
        await add(unit, event, envelope)

    await world.start(Reactor("count", (world.topic,), {Deposited: add_when_mended}))
    await world.send(world.deposit("a", 1, 1), world.deposit("a", 2, 2))
    await world.caught_up(2)
    assert [one.kind for one in await world.parked()] == ["poison"]
    broken = False
    async with world.running[0].database.transaction() as connection:
        await dead_letters.retry(connection, "count", "a")

    async def healed() -> bool:
        return not await world.parked()

    await becomes(healed, "the retry did not heal the key")
    assert await world.totals() == {"a": (3, 2)}


@pytest.mark.parametrize("payload", ['{"account": "a"}', '{"account": "a", "minutes": -1}'])
@pytest.mark.parametrize("kind", ["reactor", "recorder"])
async def test_what_was_seen_or_given_up_is_old_when_the_topic_comes_again(
    world: World, payload: str, kind: str
) -> None:
    messages = [world.deposit("a", 1, 1), world.deposit("a", 2, 0, payload=payload), world.deposit("a", 3, 3)]
    consumer = counting(world) if kind == "reactor" else recording(world)
    await world.start(consumer)
    await world.send(*messages, *(world.deposit("b", one + 1, 1) for one in range(200)))
    await world.caught_up(203, consumer.name)
    if kind == "reactor":
        assert [one.events for one in await world.parked()] == [2]
        await world.send(messages[0])  # it was applied, so it does not queue up behind the parked ones
        await world.caught_up(204)
        assert [one.events for one in await world.parked()] == [2]
        async with world.running[0].database.transaction() as connection:
            await dead_letters.skip(connection, "count", "a")

        async def healed() -> bool:
            return not await world.parked()

        await becomes(healed, "skipping did not heal the key")
    before = await world.totals()
    await world.send(*messages, *(world.deposit("b", one + 1, 1) for one in range(200)))
    await world.caught_up(406, consumer.name)
    assert await world.parked() == []
    assert await world.totals() == before


async def test_an_event_that_nobody_reads_is_passed_over_and_its_version_counts(world: World) -> None:
    await world.start(counting(world))
    await world.send(
        world.deposit("a", 1, 1), world.deposit("a", 2, 0, type="account.renamed"), world.deposit("a", 3, 2)
    )
    await world.caught_up(3)
    assert await world.totals() == {"a": (3, 2)}
    assert await world.parked() == []


async def test_after_a_restore_the_new_epoch_continues_where_the_restored_log_ended(world: World) -> None:
    await world.start(counting(world))
    await world.send(
        world.deposit("a", 1, 1), world.deposit("a", 2, 2),
        world.deposit("a", 2, 10, epoch=2), world.deposit("a", 3, 20, epoch=2),
        world.deposit("a", 3, 99),
    )  # fmt: skip
    await world.caught_up(5)
    assert await world.totals() == {"a": (33, 4)}


async def test_an_event_of_a_new_epoch_that_is_given_up_counts_as_seen_in_that_epoch(world: World) -> None:
    await world.start(counting(world))
    await world.send(world.deposit("a", 1, 1), world.deposit("a", 2, 2), world.deposit("a", 2, -1, epoch=2))
    await world.caught_up(3)
    async with world.running[0].database.transaction() as connection:
        await dead_letters.skip(connection, "count", "a")
    async with world.running[0].database.read() as connection:
        seen = (await connection.execute(select(consumer_versions.c.log_epoch, consumer_versions.c.version))).all()
    assert [tuple(one) for one in seen] == [(2, 2)]


async def note(connection: AsyncConnection, received: Sequence[Received]) -> None:
    """Count what was recorded, by stream and version: recorded twice, it would show."""
    for one in received:
        assert one.envelope is not None
        statement = upsert(totals).values(account=f"{one.envelope.stream}/{one.envelope.version}", minutes=0, events=1)
        await connection.execute(statement.on_duplicate_key_update(events=totals.c.events + 1))


def recording(world: World) -> Recorder:
    return Recorder("record", (world.topic,), note)


async def test_a_recorder_gets_every_event_once_also_of_types_that_nobody_knows(world: World) -> None:
    messages = [
        world.deposit("a", 1, 1),
        world.deposit("a", 2, 1, type="account.invented"),
        world.deposit("b", 1, -1, payload='{"something": "else"}'),
        world.deposit("a", 3, 1),
    ]
    await world.start(recording(world))
    await world.send(*messages, *messages)
    await world.caught_up(8, "record")
    assert await world.totals() == dict.fromkeys(("account-a/1", "account-a/2", "account-a/3", "account-b/1"), (0, 1))


async def test_a_recorder_waits_for_a_version_that_is_missing(world: World) -> None:
    await world.start(recording(world))
    await world.send(world.deposit("a", 1, 1), world.deposit("a", 3, 1), world.deposit("b", 1, 1))
    await world.caught_up(3, "record")
    assert set(await world.totals()) == {"account-a/1", "account-b/1"}
    await world.send(world.deposit("a", 2, 1))

    async def healed() -> bool:
        return not await world.parked()

    await becomes(healed, "the key did not heal")
    assert set(await world.totals()) == {"account-a/1", "account-a/2", "account-a/3", "account-b/1"}
