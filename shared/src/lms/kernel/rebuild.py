"""Rebuilding views while the system runs: a new generation beside the live one, then a switch.

    await rebuild(runtime, ["leave_requests"], tell)      # fill, switch, delete the old generation
    await compare(runtime, ["leave_requests"], tell)      # fill, compare with the live one, delete the new one

A view is a function of its facts (`projection.py`), so its rows are made anew by giving its handlers all facts from the
first one on. Views fed by one projector are filled together from its topics, inline views together from the event
table. Both end in the same way, and the argument that nothing is lost or seen half done is this:

1. Whoever writes a view holds its row in `view_generations` shared, from before the write until the commit, and writes
   into the generation that the row names (`hold_generations`). A projector does so after moving its offsets, a drained
   parked key after locking its row, a command before inserting its facts.
2. The last stretch is filled while one transaction, the *switch*, holds those rows alone (and, for a projector, its
   offset rows before them, which is the order in which the projector takes them). So no writer of the view is then
   between its write and its commit: the live generation holds exactly the committed facts.
3. The *mark* says which facts those are. For a projector: the offsets that it stands at, without what it has parked
   and what a person gave up; these commit in the transaction that writes the view. For inline views: every fact up to
   the newest position of the event table, because positions are given at the insert, which comes after the hold: a
   fact that is inserted later gets a later position, and none that is inserted earlier is uncommitted.
4. The new generation is filled up to the mark, the pointer is updated, and the switch commits. A writer that waited
   then reads the new pointer (a locking read sees the newest commit), so it writes into the new generation. A reader
   finds the pointer in the statement that reads the rows, so it sees one whole generation or the other.

Before the switch the stretches are filled without holding anything, until little is left. A projector's facts are read
only up to offsets that it has committed, so that the new generation is never ahead of the live one. An inline mark
holds the rows alone for the time of one statement.

Within a stream, facts are applied in the order of their versions, by the rule that the consumer follows
(`versions.py`). What is parked for the consumer is missing from the live view, and so it is left out here too, until
the consumer has applied it; what a person gave up (`lms dlq skip`) stays out. Facts of different streams may come in
another order than they once did: views in which that makes a difference are not functions of their facts.

One process at a time works on a view, by a lease (`job_leases`) that each of its transactions renews; one that slept
past its lease can write nothing more. Whatever an interrupted run left behind, the next one deletes first.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka import ConsumerRecord, TopicPartition
from pydantic import ValidationError
from sqlalchemy import String, Table, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel import leases
from lms.kernel.cloudevents import COPIES_HEADER, MalformedMessage, decode, is_further_copy
from lms.kernel.consumer import Projector
from lms.kernel.database import Database, is_transient
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.eventstore import EventStore
from lms.kernel.failpoints import failpoint
from lms.kernel.ids import new_id
from lms.kernel.kafka import messages_between
from lms.kernel.projection import (
    Delete,
    Fact,
    Projection,
    Row,
    Update,
    Upsert,
    Write,
    apply,
    hold_generations,
    writes_of,
)
from lms.kernel.schema import (
    consumer_offsets,
    events,
    given_up_events,
    parked_events,
    view_generations,
)
from lms.kernel.versions import Seen, Verdict, judge_position
from lms.kernel.waiting import cancelled

BATCH = 5_000
"""Facts that are written in one transaction."""

NEARLY_THERE = 500
"""With so few facts left, the switch begins."""

LEASE_SECONDS = 15
DELETE_ROWS = 5_000
"""Rows that are deleted in one transaction: so many, and those with the same first key column as the last of them."""

LARGEST_GENERATION = 32_000

Facts = list[tuple[Fact, Envelope]]

_ROUNDS = 20
_LOCK_ATTEMPTS = 20


class NotAView(Exception):
    """The service has no view of that name; the text lists those that it has."""


class Busy(Exception):
    """Another process works on one of the views."""


class Unreadable(Exception):
    """A fact that the view once took cannot be read any more: this version of the code is wrong, or too old."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work on some views is: `done` of `total` facts; `total` grows while the system runs."""

    views: tuple[str, ...]
    phase: str
    done: int
    total: int


Tell = Callable[[Progress], None]


class RebuildingRuntime(Protocol):
    """What is needed of a process; it need not have been started."""

    @property
    def database(self) -> Database:
        """The service's database."""
        ...

    @property
    def store(self) -> EventStore:
        """The service's events."""
        ...

    @property
    def service(self) -> Any:
        """The wiring: its `inline` views and its `consumers`."""
        ...

    @property
    def settings(self) -> Any:
        """The settings, for `kafka_bootstrap_servers`."""
        ...


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A view after its rebuild: the generation that is live now, and how long it took."""

    view: str
    generation: int
    facts: int
    seconds: float


def views_of(service: Any) -> dict[str, type[Projection]]:
    """Return every view of a service by its name."""
    found: dict[str, type[Projection]] = {view.name: view for view in service.inline}
    for consumer in service.consumers:
        if isinstance(consumer, Projector):
            found |= {view.name: view for view in consumer.projections}
    return found


async def rebuild(runtime: RebuildingRuntime, views: Sequence[str], tell: Tell) -> list[Rebuilt]:
    """Make views anew from their facts and switch to them; return what was done.

    Readers and writers of the views go on meanwhile; writers wait for the short last stretch. Raises NotAView, Busy
    and Unreadable; then, and when it is killed, the live generation stays as it is.
    """
    rebuilt: list[Rebuilt] = []
    for source, projections in _sources(runtime, views):
        began = time.monotonic()
        names = [one.name for one in projections]
        async with _leased(runtime.database, names) as lease:
            generations = _Generations(runtime.database, lease, projections, source, tell)
            await generations.prepare()
            async with generations.filled() as switch:
                failpoint("rebuild.before-swap")
                await lease.renew(switch)
                for view in names:
                    await switch.execute(
                        update(view_generations)
                        .where(view_generations.c.view_name == view)
                        .values(live=generations.new[view])
                    )
            seconds = time.monotonic() - began
            rebuilt += [Rebuilt(view, generations.new[view], generations.facts, seconds) for view in names]
            await generations.delete_all_but(generations.new)
    return rebuilt


Compare = Callable[[AsyncConnection, type[Projection], int, int], Awaitable[None]]


async def compare(runtime: RebuildingRuntime, views: Sequence[str], tell: Tell, look: Compare) -> None:
    """Fill a new generation of views, and let `look` compare it with the live one (connection, view, live, new).

    Both stand at the same facts, in one snapshot of the database; writers wait for the short last stretch only.
    """
    for source, projections in _sources(runtime, views):
        async with _leased(runtime.database, [one.name for one in projections]) as lease:
            generations = _Generations(runtime.database, lease, projections, source, tell)
            await generations.prepare()
            async with runtime.database.snapshot() as snapshot:
                async with generations.filled():
                    await snapshot.execute(select(view_generations))  # the snapshot is taken here
                renewal = asyncio.create_task(lease.keep())
                try:
                    for view in projections:
                        await look(snapshot, view, generations.live[view.name], generations.new[view.name])
                finally:
                    renewal.cancel()
            await generations.delete_all_but(generations.live)


def _sources(runtime: RebuildingRuntime, views: Sequence[str]) -> list[tuple["_Source", tuple[type[Projection], ...]]]:
    known = views_of(runtime.service)
    for view in views:
        if view not in known:
            raise NotAView(f"{runtime.service.name} has no view {view!r}; it has {', '.join(sorted(known))}.")
    found: list[tuple[_Source, tuple[type[Projection], ...]]] = []
    inline = tuple(view for view in runtime.service.inline if view.name in views)
    if inline:
        found.append((_Log(runtime.database, runtime.store, inline), inline))
    for consumer in runtime.service.consumers:
        if isinstance(consumer, Projector):
            fed = tuple(view for view in consumer.projections if view.name in views)
            if fed:
                models = [model for view in fed for model in view.handlers]
                found.append((_Topics(runtime.settings.kafka_bootstrap_servers, consumer, models), fed))
    return found


# The lease ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lease:
    """Who works on the views; renewed in each transaction of the work, which fences a process that slept."""

    database: Database
    jobs: tuple[str, ...]
    holder: str = field(default_factory=lambda: f"{socket.gethostname()[:30]}.{os.getpid()}.{new_id()[-8:]}")

    async def take(self) -> bool:
        async with self.database.transaction() as connection:
            for job in self.jobs:
                if not await leases.take(connection, job, self.holder, LEASE_SECONDS):
                    await connection.rollback()
                    return False
        return True

    async def renew(self, connection: AsyncConnection) -> None:
        """Renew it in the caller's transaction, whose writes are then ours alone to make. Raises Busy."""
        for job in self.jobs:
            if not await leases.renew(connection, job, self.holder, LEASE_SECONDS):
                raise Busy("Another process took the work over while this one stood still.")

    async def keep(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            async with self.database.transaction() as connection:
                await self.renew(connection)

    async def give_back(self) -> None:
        async with self.database.transaction() as connection:
            for job in self.jobs:
                await leases.give_back(connection, job, self.holder)


@asynccontextmanager
async def _leased(database: Database, views: Iterable[str]) -> AsyncIterator[_Lease]:
    """Hold the lease of the views; wait for that of a process which was killed. Raises Busy if one still works."""
    lease = _Lease(database, tuple(f"rebuild {view}" for view in sorted(views)))
    until = time.monotonic() + LEASE_SECONDS + 1
    while not await lease.take():
        if time.monotonic() > until:
            raise Busy(f"Another process works on {', '.join(sorted(views))}; wait for it to finish.")
        await asyncio.sleep(0.2)
    try:
        yield lease
    finally:
        with contextlib.suppress(Exception):  # it expires by itself
            await lease.give_back()


# The generations ------------------------------------------------------------------------------------------------------


class _Generations:
    """The generations of views that have one source: `live` as found, `new` as they are filled."""

    def __init__(
        self,
        database: Database,
        lease: _Lease,
        projections: tuple[type[Projection], ...],
        source: "_Source",
        tell: Tell,
    ) -> None:
        self._database = database
        self._lease = lease
        self._projections = projections
        self._source = source
        self._tell = tell
        self._names = tuple(one.name for one in projections)
        self._condensers = {table: Condenser(table) for view in projections for table in view.tables}
        self.live: dict[str, int] = {}
        self.new: dict[str, int] = {}
        self.facts = 0

    async def prepare(self) -> None:
        """Choose the new generations, and delete what an interrupted run left of them."""
        async with self._database.transaction() as connection:
            self.live = await hold_generations(connection, self._names)
        self.new = {view: live % LARGEST_GENERATION + 1 for view, live in self.live.items()}
        await self.delete_all_but(self.live)

    @asynccontextmanager
    async def filled(self) -> AsyncIterator[AsyncConnection]:
        """Fill the new generations; within the block they hold the same facts as the live ones, and no writer writes.

        The block's connection is the switch: what is executed on it commits when the block ends.
        """
        for _ in range(_ROUNDS):
            async with self._database.transaction() as connection:
                await self._source.mark(connection, self._names)
            left = self._source.total - self._source.done
            await self._fill()
            if left <= NEARLY_THERE:
                break
        for attempt in range(1, _LOCK_ATTEMPTS + 1):
            async with self._database.transaction() as switch:
                try:
                    await self._source.hold(switch)
                    await hold_generations(switch, self._names, alone=True)
                except Exception as error:
                    if not is_transient(error) or attempt == _LOCK_ATTEMPTS:
                        raise
                    await switch.rollback()
                    await asyncio.sleep(0.01 * attempt)
                    continue
                await self._source.mark(switch, self._names)
                await self._fill()
                yield switch
                return

    async def _fill(self) -> None:
        """Write what lies before the mark, in batches; while the database writes one, the next one is read."""
        writing: asyncio.Task[None] | None = None
        try:
            async for facts in self._source.read():
                changes = {view: self._condensed(view, facts) for view in self._projections}
                if writing is not None:
                    await writing
                writing = asyncio.create_task(self._write(changes))
                self.facts += len(facts)
                self._tell(Progress(self._names, "filling", self._source.done, self._source.total))
            if writing is not None:
                await writing
        finally:
            if writing is not None:
                await cancelled([writing])

    def _condensed(self, view: type[Projection], facts: Facts) -> list[Write]:
        for write in writes_of(view, facts):
            self._condensers[write.table].add(write)
        return [write for table in view.tables for write in self._condensers[table].done()]

    async def _write(self, writes: Mapping[type[Projection], Sequence[Write]]) -> None:
        pause = 0.01
        while True:
            try:
                async with self._database.transaction() as connection:
                    await self._lease.renew(connection)
                    for view, changes in writes.items():
                        await apply(connection, changes, self.new[view.name])
                    failpoint("rebuild.in-batch")
            except Exception as error:
                if not is_transient(error) or pause > 5:  # noqa: PLR2004  # ten attempts
                    raise
                await asyncio.sleep(pause)
                pause *= 2
            else:
                return

    async def delete_all_but(self, kept: Mapping[str, int]) -> None:
        """Delete every other generation of the views, in short transactions."""
        for view in self._projections:
            for table in view.tables:
                async with self._database.read() as connection:
                    rows = await connection.execute(select(table.c.generation).distinct())
                    others = sorted({int(row.generation) for row in rows} - {kept[view.name]})
                for generation in others:
                    await self._delete(table, generation)

    async def _delete(self, table: Table, generation: int) -> None:
        """Delete by ranges of the key: rows that are deleted already and not purged yet are not walked over again."""
        first = next(column for column in table.primary_key.columns if column.name != "generation")
        rest = [table.c.generation == generation]
        more = True
        while more:
            async with self._database.transaction() as connection:
                await self._lease.renew(connection)
                until = await connection.scalar(
                    select(first).where(*rest).order_by(first).offset(DELETE_ROWS - 1).limit(1)
                )
                more = until is not None
                await connection.execute(delete(table).where(*rest, *([first <= until] if more else [])))
            rest = [table.c.generation == generation, first > until] if more else rest
            self._tell(Progress(self._names, "cleaning", self._source.done, self._source.total))


class Condenser:
    """Turns the writes of one table, batch by batch, into fewer ones that leave the same rows in an empty generation.

    Writes that name different values of the first key column touch different rows, so they may change places. While
    all rows of such a value, a *family*, are of the batch in hand, writes are applied to them here, and the rows are
    inserted once, whole. Writes to a family of an earlier batch stay as they are, in their order.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._key = tuple(column.name for column in table.primary_key.columns if column.name != "generation")
        # Text that the database compares otherwise than Python does cannot tell families or rows apart.
        self._exact = frozenset(
            column.name
            for column in table.primary_key.columns
            if not isinstance(column.type, String) or str(column.type.collation or "").endswith("_bin")
        )
        self._stored: set[Any] = set()
        self._fresh: dict[Any, dict[tuple[Any, ...], Row]] = {}
        self._later: dict[Any, list[Write]] = {}
        self._done: list[Write] = []

    def add(self, write: Write) -> None:
        """Take the next write."""
        named = write.row if isinstance(write, Upsert) else write.where
        family = named.get(self._key[0])
        moves = isinstance(write, Update) and not write.values.keys().isdisjoint(self._key)
        if family is None or moves or self._key[0] not in self._exact:
            self._settle()
            self._done.append(write)
            self._stored |= {family, write.values.get(self._key[0]) if isinstance(write, Update) else None}
        elif family in self._stored:
            self._queue(family, write)
        elif isinstance(write, Upsert):
            rows = self._fresh.setdefault(family, {})
            key = tuple(write.row[name] for name in self._key)
            rows[key] = rows.get(key, {}) | write.row
        elif not self._change(self._fresh.get(family, {}), write):
            self._store(family)
            self._queue(family, write)

    def _change(self, rows: dict[tuple[Any, ...], Row], write: Update | Delete) -> bool:
        """Apply a write to the rows of a family; say whether that could be done here."""
        if not self._exact.issuperset(write.where):
            return False
        if any(type(row[name]) is not type(value) for row in rows.values() for name, value in write.where.items()):
            return False
        chosen = [key for key, row in rows.items() if all(row[name] == value for name, value in write.where.items())]
        for key in chosen:
            if isinstance(write, Delete):
                del rows[key]
            else:
                rows[key] |= write.values
        return True

    def _queue(self, family: Any, write: Write) -> None:
        queue = self._later.setdefault(family, [])
        last = queue[-1] if queue else None
        match last, write:
            case Update(_, before), Update(table, where, values) if before == where and self._exact.issuperset(where):
                queue[-1] = Update(table, where, last.values | values)
            case _:
                queue.append(write)

    def _store(self, family: Any) -> None:
        self._done += [Upsert(self._table, row) for row in self._fresh.pop(family, {}).values()]
        self._stored.add(family)

    def _settle(self) -> None:
        """Put everything in hand among what is done; writes of one shape stand together."""
        fresh = [Upsert(self._table, row) for rows in self._fresh.values() for row in rows.values()]
        fresh.sort(key=lambda one: tuple(one.row))
        self._done += fresh
        self._stored |= self._fresh.keys()
        self._fresh = {}
        queues, self._later = list(self._later.values()), {}
        for turn in range(max(map(len, queues), default=0)):
            writes = [queue[turn] for queue in queues if turn < len(queue)]
            self._done += sorted(writes, key=_shape_of)

    def done(self) -> list[Write]:
        """Return the writes of the batch, and begin the next one."""
        self._settle()
        done, self._done = self._done, []
        return done


def _shape_of(write: Write) -> tuple[str, ...]:
    match write:
        case Upsert(_, row):
            return ("upsert", *row)
        case Update(_, where, values):
            return ("update", *where, *values)
        case Delete(_, where):
            return ("delete", *where)


# Where facts come from ------------------------------------------------------------------------------------------------


class _Source(Protocol):
    """Facts in their order, up to a mark that moves on; progress is counted in steps of the source's own."""

    @property
    def done(self) -> int:
        """How many steps were read."""
        ...

    @property
    def total(self) -> int:
        """How many steps lie before the mark in all."""
        ...

    async def hold(self, switch: AsyncConnection) -> None:
        """Lock what the writer locks before the view's row."""
        ...

    async def mark(self, connection: AsyncConnection, views: Sequence[str]) -> None:
        """Move the mark to where the live generation stands, or stood a moment ago."""
        ...

    def read(self) -> AsyncIterator[Facts]:
        """Return the facts before the mark, in batches."""
        ...


class _Log:
    """The service's own events, in the order of the log: what inline views are made from."""

    def __init__(self, database: Database, store: EventStore, projections: Sequence[type[Projection]]) -> None:
        self._database = database
        self._store = store
        self._types = sorted({model.TYPE for projection in projections for model in projection.handlers})
        self._done = 0
        self._mark = 0

    @property
    def done(self) -> int:
        return self._done

    @property
    def total(self) -> int:
        return self._mark

    async def hold(self, switch: AsyncConnection) -> None:
        """Do nothing: a command locks nothing of ours before the view's row."""

    async def mark(self, connection: AsyncConnection, views: Sequence[str]) -> None:
        await hold_generations(connection, views, alone=True)
        self._mark = int(await connection.scalar(select(func.max(events.c.global_position))) or 0)

    async def read(self) -> AsyncIterator[Facts]:
        while self._done < self._mark:
            until = min(self._done + BATCH, self._mark)
            async with self._database.read() as connection:
                rows = await connection.execute(
                    select(events)
                    .where(
                        events.c.global_position > self._done,
                        events.c.global_position <= until,
                        events.c.type.in_(self._types),
                    )
                    .order_by(events.c.global_position)
                )
                recorded = [self._store.recorded(row) for row in rows]
            self._done = until
            yield [(one.event, one.envelope) for one in recorded]


Place = tuple[str, int, int]
"""A message's topic, partition and offset."""


class NamedConsumer(Protocol):
    """What is needed of a consumer's wiring."""

    @property
    def name(self) -> str:
        """The consumer's name."""
        ...

    @property
    def topics(self) -> tuple[str, ...]:
        """What it reads."""
        ...


class _Topics:
    """What a consumer has applied of its topics: what a projector's views are made from.

    Messages that wait for an earlier version of their stream, or are parked for the consumer, are kept in memory.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        consumer: NamedConsumer,
        models: Iterable[type[Event] | type[ForeignEvent]] = (),
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._consumer = consumer.name
        self._topics = consumer.topics
        self._models = {model.TYPE: model for model in models}
        self._next: dict[TopicPartition, int] = {}
        self._mark: dict[TopicPartition, int] = {}
        self._parked: set[Place] = set()
        self._given_up: set[str] = set()
        self.seen: dict[str, Seen] = {}
        self._waiting: dict[str, list[ConsumerRecord[bytes, bytes]]] = {}

    @property
    def done(self) -> int:
        return sum(self._next.values())

    @property
    def total(self) -> int:
        return sum(self._mark.values())

    async def hold(self, switch: AsyncConnection) -> None:
        await switch.execute(
            select(consumer_offsets.c.next_offset)
            .where(consumer_offsets.c.consumer == self._consumer)
            .order_by(consumer_offsets.c.topic, consumer_offsets.c.partition_no)
            .with_for_update()
        )

    async def mark(self, connection: AsyncConnection, views: Sequence[str]) -> None:
        """Read the offsets first: what is parked later lies behind them, or was parked before."""
        del views
        offsets, parked, given_up = consumer_offsets.c, parked_events.c, given_up_events.c
        rows = await connection.execute(
            select(offsets.topic, offsets.partition_no, offsets.next_offset).where(
                offsets.consumer == self._consumer, offsets.topic.in_(self._topics)
            )
        )
        self._mark = {TopicPartition(row.topic, row.partition_no): int(row.next_offset) for row in rows}
        rows = await connection.execute(
            select(parked.topic, parked.partition_no, parked.offset_).where(parked.consumer == self._consumer)
        )
        self._parked = {(row.topic, row.partition_no, row.offset_) for row in rows}
        ids = await connection.execute(select(given_up.event_id).where(given_up.consumer == self._consumer))
        self._given_up = set(ids.scalars())

    async def read(self) -> AsyncIterator[Facts]:
        facts: Facts = []
        for stream in list(self._waiting):
            self._retry(stream, facts)
        async for record in messages_between(self._bootstrap_servers, self._next, self._mark):
            self._next[TopicPartition(record.topic, record.partition)] = record.offset + 1
            moved = self._take(record, facts)
            if moved is not None and moved in self._waiting:
                self._retry(moved, facts)
            if len(facts) >= BATCH:
                yield facts
                facts = []
        yield facts

    def _take(self, record: "ConsumerRecord[bytes, bytes]", facts: Facts) -> str | None:
        """Judge a message as the consumer did, and add its fact if it counts; return the stream that moved on."""
        headers = dict(record.headers)
        try:
            if is_further_copy(record.partition, int(headers.get(COPIES_HEADER, 1))):
                return None
            stream: str = headers["ce_stream"].decode()
            position = Seen(int(headers["ce_logepoch"]), int(headers["ce_streamversion"]))
            event_id = headers["ce_id"].decode()
        except (KeyError, ValueError):
            return None  # nobody can apply it: it is parked, or was given up
        place = (record.topic, record.partition, record.offset)
        seen = self.seen.get(stream)
        verdict = judge_position(position, seen)
        if verdict is Verdict.SKIP:
            return None
        if event_id in self._given_up:
            self.seen[stream] = max(position, seen or position)
            return stream
        if verdict is Verdict.GAP or place in self._parked:
            self._waiting.setdefault(stream, []).append(record)
            return None
        self.seen[stream] = position
        model = self._models.get(headers.get("ce_type", b"").decode())
        if model is not None:
            fact = _fact(record, model)
            if fact is not None:
                facts.append(fact)
        return stream

    def _retry(self, stream: str, facts: Facts) -> None:
        """Take what waited of a stream, as far as it can be taken now."""
        while stream in self._waiting:
            waiting = self._waiting.pop(stream)
            moved = [record for record in waiting if self._take(record, facts) is not None]
            if not moved:
                return


class Heard:
    """What a consumer has heard: the facts before its offsets, without those that it has set aside or were given up.

    The connection must see offsets and parked events in one snapshot. `versions` is where each stream then stands.
    """

    def __init__(self, bootstrap_servers: str, connection: AsyncConnection, consumer: NamedConsumer) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._connection = connection
        self._consumer = consumer
        self.versions: dict[str, Seen] = {}

    async def facts(self, models: Iterable[type[Event] | type[ForeignEvent]]) -> AsyncIterator[tuple[Fact, Envelope]]:
        """Return the facts that `models` read, each stream in its order. Raises Unreadable."""
        topics = _Topics(self._bootstrap_servers, self._consumer, models)
        await topics.mark(self._connection, ())
        async for facts in topics.read():
            for fact in facts:
                yield fact
        self.versions = topics.seen


def _fact(record: "ConsumerRecord[bytes, bytes]", model: Any) -> tuple[Fact, Envelope] | None:
    """Return the fact of a message; None for a version of it that the model does not read. Raises Unreadable."""
    try:
        envelope = decode(record.headers, record.value)
        versions = model.SCHEMA_VERSIONS if issubclass(model, ForeignEvent) else {model.SCHEMA_VERSION}
        return (model.model_validate(envelope.data), envelope) if envelope.schema_version in versions else None
    except (MalformedMessage, ValidationError) as error:
        raise Unreadable(
            f"{record.topic}/{record.partition}@{record.offset} was applied once and cannot be read now: {error}"
        ) from error
