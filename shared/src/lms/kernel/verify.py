"""Verification: whether a service's tables, topics and views say the same, looked at while the system runs.

    async for check in verify(runtime, tell):
        print(check.name, check.examined, check.faults, check.named)

Each check looks at one moment: at a snapshot of the database, and at Kafka up to offsets that fit it. So a fault is
never just work under way. The checks are

- `rest`: what was waiting when the check began is published and consumed without standing still, keys that were held
  or had a gap then are free, and nothing is poison;
- `answers`: what an answer to an idempotency key says was written is in the log;
- `streams`: the versions of every stream are 1, 2, 3, …;
- `topics`: the topics hold exactly the facts of the log that are not in the outbox, each stream in its order, and
  every copy of those that stand in every partition;
- `consumers`: each consumer has seen every fact before its offsets, beside what it has set aside;
- the service's own `invariants`, by their names;
- `view …`: every view equals a fresh rebuild; what differs is named by row and column.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import CHAR, Column, Select, String, Table, and_, cast, delete, false, func, or_, select
from sqlalchemy.dialects.mysql import INTEGER
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.cloudevents import COPIES_HEADER, is_further_copy
from lms.kernel.consistency import HEADER as CONSISTENCY_TOKEN
from lms.kernel.consistency import named_in
from lms.kernel.consumer import Projector, Reactor
from lms.kernel.database import Database
from lms.kernel.decider import C, Decider, E, S
from lms.kernel.event import Envelope, Event
from lms.kernel.eventstore import EventStore, Loaded, Recorded
from lms.kernel.idempotency import stored_replies
from lms.kernel.kafka import ends_of, messages_between
from lms.kernel.parking import Kind
from lms.kernel.projection import Projection
from lms.kernel.rebuild import Heard, RebuildingRuntime, Tell, compare, views_of
from lms.kernel.schema import consumer_offsets, consumer_versions, events, outbox, parked_keys, verifications
from lms.kernel.versions import Seen, Verdict, judge_position

NAMED = 20
"""Faults that a check names; it counts the others."""

COUNTED = 10_000
"""Rows of one kind, in one table, that are looked at one by one."""

REST_SECONDS = 30.0

_PASSING: tuple[Kind, ...] = ("gap", "held", "retry")
"""What keys are parked for that may pass by itself; under load some are at any moment."""

_CHUNK = 10_000
_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: a sentence, and for a view where: table, key, column, expected and found."""

    text: str
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Check:
    """What a check found: how much it looked at, how many faults, the first of them, and what a reader must know."""

    name: str
    examined: int = 0
    faults: int = 0
    named: list[Fault] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    digest: str | None = None

    def fault(self, text: str, **where: Any) -> None:
        """Count a fault, and name it while there are few."""
        self.faults += 1
        if len(self.named) < NAMED:
            self.named.append(Fault(text, where))


@dataclass
class Evidence:
    """What an invariant may look at, all of one moment: the database, the events, and what a consumer has heard.

    `settings` are the service's own; `examined` counts the states and facts that were given out; `remarks` are told
    with the check, and are no faults.
    """

    connection: AsyncConnection
    store: EventStore
    bootstrap_servers: str
    settings: Any
    examined: int = 0
    remarks: list[str] = field(default_factory=list)

    async def states(self, decider: Decider[C, S, E]) -> AsyncIterator[tuple[str, Loaded[S]]]:
        """Return the id and state of every aggregate of a kind, folded from its first event on."""
        async for found in self.store.states(self.connection, decider):
            self.examined += 1
            yield found

    async def logged(self, models: Sequence[type[Event]]) -> AsyncIterator[Recorded]:
        """Return every fact of some kinds of the service's own, in the order of the log."""
        types = sorted(model.TYPE for model in models)
        position = 0
        newest = int(await self.connection.scalar(select(func.max(events.c.global_position))) or 0)
        while position < newest:
            rows = await self.connection.execute(
                select(events)
                .where(
                    events.c.global_position > position,
                    events.c.global_position <= position + _CHUNK,
                    events.c.type.in_(types),
                )
                .order_by(events.c.global_position)
            )
            for row in rows:
                self.examined += 1
                yield self.store.recorded(row)
            position += _CHUNK

    async def heard(self, consumer: Projector | Reactor) -> AsyncIterator[tuple[Any, Envelope]]:
        """Return every fact that a consumer reads and has heard, each stream in its order."""
        async for found in Heard(self.bootstrap_servers, self.connection, consumer).facts(consumer.models()):
            self.examined += 1
            yield found


Invariant = Callable[[Evidence], AsyncIterator[str]]
"""A rule of a service's own: it yields each breach as a sentence, and is shown under the function's name."""


def check_name(invariant: Invariant) -> str:
    """Return the name under which an invariant is shown."""
    return invariant.__name__.replace("_", " ")


class VerifyingRuntime(RebuildingRuntime, Protocol):
    """What is needed of a process; it need not have been started."""


async def keep(connection: AsyncConnection, check: Check) -> None:
    """Write down what a check found, in place of what it found before: the metrics of drift are read from there."""
    statement = upsert(verifications).values(
        check_=check.name, examined=check.examined, faults=check.faults, checked_at=datetime.now(UTC)
    )
    found = statement.inserted
    await connection.execute(
        statement.on_duplicate_key_update(examined=found.examined, faults=found.faults, checked_at=found.checked_at)
    )


async def keep_only(connection: AsyncConnection, checks: Collection[str]) -> None:
    """Forget what was found by checks that are made no more."""
    await connection.execute(delete(verifications).where(verifications.c.check_.not_in(sorted(checks))))


async def verification_is_due(connection: AsyncConnection, every: timedelta) -> bool:
    """Say whether the oldest check, or without any the log's first fact, is older than that."""
    since = await connection.scalar(select(func.min(verifications.c.checked_at)))
    if since is None:
        since = await connection.scalar(select(events.c.recorded_at).order_by(events.c.global_position).limit(1))
    return since is not None and datetime.now(UTC) - since.replace(tzinfo=UTC) > every


async def verify(runtime: VerifyingRuntime, tell: Tell, *, rest_seconds: float = REST_SECONDS) -> AsyncIterator[Check]:
    """Make every check, one after the other."""
    bootstrap, database = runtime.settings.kafka_bootstrap_servers, runtime.database
    yield await _rest(runtime, rest_seconds)
    yield await _answers(runtime)
    yield await _streams(database)
    yield await _topics(database, bootstrap, runtime.service)
    for consumer in runtime.service.consumers:
        check = Check(f"consumer {consumer.name}")
        async with database.snapshot() as connection:
            await _consumer(check, connection, bootstrap, consumer)
        yield check
    for invariant in runtime.service.invariants:
        check = Check(check_name(invariant))
        async with database.snapshot() as connection:
            evidence = Evidence(connection, runtime.store, bootstrap, runtime.settings)
            async for breach in invariant(evidence):
                check.fault(breach)
            check.examined, check.remarks = evidence.examined, evidence.remarks
        yield check
    found: list[Check] = []

    async def look(connection: AsyncConnection, view: type[Projection], live: int, fresh: int) -> None:
        found.append(await _view(connection, view, live, fresh))

    await compare(runtime, list(views_of(runtime.service)), tell, look)
    for check in found:
        yield check


# What comes to rest ---------------------------------------------------------------------------------------------------


async def _rest(runtime: VerifyingRuntime, seconds: float) -> Check:
    """Wait until what was in the outbox, in the topics or held when we came is published, consumed and free.

    It may take long, as after a restore, when consumers pass over whole topics; it may not stand still for `seconds`.
    """
    check = Check("rest")
    database, service, came = runtime.database, runtime.service, datetime.now(UTC)
    held = parked_keys.c.kind.in_(_PASSING) & (parked_keys.c.since <= came)
    async with database.read() as connection:
        newest = int(await connection.scalar(select(func.max(outbox.c.position))) or 0)
    ends = await ends_of(runtime.settings.kafka_bootstrap_servers, service.subscribes)
    until, least = 0.0, -1
    while True:
        async with database.read() as connection:
            unpublished = int(
                await connection.scalar(select(func.count()).select_from(outbox).where(outbox.c.position <= newest))
                or 0
            )
            rows = await connection.execute(select(consumer_offsets))
            stands = {(row.consumer, row.topic, row.partition_no): int(row.next_offset) for row in rows}
            parked = int(await connection.scalar(select(func.count()).select_from(parked_keys).where(held)) or 0)
        behind = {
            (consumer.name, one): (stands.get((consumer.name, *one), 0), end)
            for consumer in service.consumers
            for one, end in sorted(ends.items())
            if one.topic in consumer.topics and stands.get((consumer.name, *one), 0) < end
        }
        left = unpublished + parked + sum(end - at for at, end in behind.values())
        if least < 0 or left < least:
            until, least = time.monotonic() + seconds, left
        if not left or time.monotonic() > until:
            break
        await asyncio.sleep(0.1)
    check.examined = len(stands)
    if unpublished:
        check.fault(f"{unpublished} facts are still in the outbox after {seconds:.0f} s without progress")
    for (name, one), (at, end) in behind.items():
        check.fault(f"{name} stands at {at} of {end} in {one.topic}/{one.partition} after {seconds:.0f} s")
    async with database.read() as connection:
        stuck = select(parked_keys).where(held | parked_keys.c.kind.not_in(_PASSING)).order_by(parked_keys.c.since)
        for row in await connection.execute(stuck):
            check.fault(f"{row.consumer} has parked {row.key_} ({row.kind}): {row.reason[:200]}")
    return check


# The log --------------------------------------------------------------------------------------------------------------


async def _answers(runtime: VerifyingRuntime) -> Check:
    """Each answer that says yes names in its Consistency-Token what it wrote: that must be in the log."""
    check = Check("answers")
    async with runtime.database.snapshot() as connection:
        heads = await _heads(connection)
        async for about, reply in stored_replies(connection, *runtime.settings.encryption_keys()):
            check.examined += 1
            if reply is None:
                check.fault(f"the key {about} is claimed and has no answer")
            elif reply.status in _SUCCESS:
                header = next(
                    (value for name, value in reply.headers.items() if name.lower() == CONSISTENCY_TOKEN.lower()), ""
                )
                for written in named_in(header) if header else ():
                    if written.service == runtime.service.name and heads.get(written.stream, 0) < written.version:
                        check.fault(
                            f"the answer to {about} tells of {written.stream} version {written.version}, and the log"
                            f" has {heads.get(written.stream, 0)}"
                        )
    return check


async def _heads(connection: AsyncConnection) -> dict[str, int]:
    rows = await connection.execute(select(events.c.stream, func.max(events.c.version)).group_by(events.c.stream))
    return {stream: int(version) for stream, version in rows}


async def _streams(database: Database) -> Check:
    check = Check("streams")
    counted = func.count().label("counted")
    highest, lowest = func.max(events.c.version).label("highest"), func.min(events.c.version).label("lowest")
    grouped = select(events.c.stream, counted, highest, lowest).group_by(events.c.stream)
    async with database.snapshot() as connection:
        check.examined = int(await connection.scalar(select(func.count(events.c.stream.distinct()))) or 0)
        for row in await connection.execute(grouped.having(or_(counted != highest, lowest != 1))):
            check.fault(
                f"{row.stream} has {row.counted} events, and its versions go from {row.lowest} to {row.highest}"
            )
    return check


async def _topics(database: Database, bootstrap: str, service: Any) -> Check:
    """Compare the log with the topics: what is committed and not in the outbox was acknowledged by the broker."""
    check = Check("topics")
    async with database.snapshot() as connection:
        waiting = set((await connection.execute(select(outbox.c.id))).scalars())
        logged = {hash(tuple(row)) async for row in _log(connection) if row.event_id not in waiting}
    published = _Published()
    strangers: dict[str, str] = {}
    ends = await ends_of(bootstrap, service.publishes)
    async for record in messages_between(bootstrap, {}, ends):
        headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
        if headers.get("ce_source") == service.name and "ce_stream" in headers:
            check.examined += 1
            what, mark, in_order = published.add(headers, record.partition)
            if mark not in logged:
                strangers[headers["ce_id"]] = what
            if not in_order:
                check.fault(f"{record.topic} has {what} before its predecessor")
    for what, partitions, copies in published.copied(logged):
        check.fault(f"Kafka has {what} in {partitions} of {copies} partitions")
    async with database.snapshot() as connection:
        await _forget_younger(connection, strangers)
        for event_id, what in strangers.items():
            check.fault(f"Kafka has {what} (event {event_id}), and the log has not")
        lost = logged - published.marks
        if lost:
            async for row in _log(connection):
                if hash(tuple(row)) in lost:
                    check.fault(f"the log has {row.stream} version {row.version} (event {row.event_id}), not Kafka")
    return check


@dataclass
class _Published:
    """What the topics hold of a service's facts; `marks` are their ids, streams and versions as numbers."""

    marks: set[int] = field(default_factory=set)
    seen: dict[str, Seen] = field(default_factory=dict)
    copies: dict[int, tuple[str, int, set[int]]] = field(default_factory=dict)

    def add(self, headers: Mapping[str, str], partition: int) -> tuple[str, int, bool]:
        """Take a message; return what it is, its mark, and whether it does not come before its predecessor."""
        stream, position = headers["ce_stream"], Seen(int(headers["ce_logepoch"]), int(headers["ce_streamversion"]))
        what, mark = f"{stream} version {position.version}", hash((headers["ce_id"], stream, position.version))
        self.marks.add(mark)
        copies = int(headers.get(COPIES_HEADER, "1"))
        if copies > 1:
            self.copies.setdefault(mark, (what, copies, set()))[2].add(partition)
        if is_further_copy(partition, copies):
            return what, mark, True
        verdict = judge_position(position, self.seen.get(stream))
        if verdict is not Verdict.SKIP:
            self.seen[stream] = position
        return what, mark, verdict is not Verdict.GAP

    def copied(self, marks: Container[int]) -> Iterator[tuple[str, int, int]]:
        """Return which of the facts that should stand in every partition do not, and in how many they do."""
        for mark, (what, copies, partitions) in self.copies.items():
            if mark in marks and len(partitions) < copies:
                yield what, len(partitions), copies


async def _forget_younger(connection: AsyncConnection, strangers: dict[str, str]) -> None:
    """Remove what was logged and published since the log was read."""
    ids = sorted(strangers)
    for start in range(0, len(ids), _CHUNK):
        known = await connection.execute(
            select(events.c.event_id, events.c.stream, events.c.version).where(
                events.c.event_id.in_(ids[start : start + _CHUNK])
            )
        )
        for row in known:
            if strangers[row.event_id] == f"{row.stream} version {row.version}":
                del strangers[row.event_id]


async def _log(connection: AsyncConnection) -> AsyncIterator[Any]:
    """Return id, stream and version of every event."""
    position = 0
    newest = int(await connection.scalar(select(func.max(events.c.global_position))) or 0)
    while position < newest:
        rows = await connection.execute(
            select(events.c.event_id, events.c.stream, events.c.version).where(
                events.c.global_position > position, events.c.global_position <= position + _CHUNK
            )
        )
        for row in rows:
            yield row
        position += _CHUNK


# Consumers ------------------------------------------------------------------------------------------------------------


async def _consumer(check: Check, connection: AsyncConnection, bootstrap: str, consumer: Any) -> None:
    """Compare what a consumer has seen with what the topics have before its offsets."""
    rows = await connection.execute(
        select(consumer_versions.c.stream, consumer_versions.c.log_epoch, consumer_versions.c.version).where(
            consumer_versions.c.consumer == consumer.name
        )
    )
    has_seen = {row.stream: Seen(row.log_epoch, row.version) for row in rows}
    heard = Heard(bootstrap, connection, consumer)
    async for _ in heard.facts(()):
        pass
    due = heard.versions
    check.examined = len(due)
    for stream in sorted(due.keys() | has_seen.keys()):
        expected, found = due.get(stream), has_seen.get(stream)
        if expected != found:
            check.fault(
                f"{consumer.name} has seen {_at(found)} of {stream}, and its topics have {_at(expected)} before its"
                " offset"
            )


def _at(seen: Seen | None) -> str:
    return f"version {seen.version}" if seen is not None else "nothing"


# Views ----------------------------------------------------------------------------------------------------------------


async def _view(connection: AsyncConnection, view: type[Projection], live: int, fresh: int) -> Check:
    check = Check(f"view {view.name}", digest="")
    for table in view.tables:
        found, expected = await digest(connection, table, live), await digest(connection, table, fresh)
        check.examined += found[0]
        check.digest = f"{check.digest}{table.name}={found[0]}:{found[1]:x} ".lstrip()
        if found != expected:
            await _differences(check, connection, table, live, fresh)
    check.digest = (check.digest or "").strip()
    return check


async def digest(connection: AsyncConnection, table: Table, generation: int) -> tuple[int, int]:
    """Return how many rows a generation has and a sum over them that does not depend on their order."""
    values = [func.coalesce(_exact(column), "-") for column in table.columns if column.name != "generation"]
    row = func.conv(func.left(func.sha2(func.concat_ws(",", *values), 256), 15), 16, 10)
    summed = func.coalesce(func.sum(cast(row, INTEGER(unsigned=True))), 0)
    found = await connection.execute(select(func.count(), summed).where(table.c.generation == generation))
    count, total = found.one()
    return int(count), int(total)


def _exact(column: Column[Any]) -> Any:
    """Return a column's value so that only what is the same byte by byte compares as equal."""
    return func.hex(column if isinstance(column.type, String) else cast(column, CHAR))


async def _differences(check: Check, connection: AsyncConnection, table: Table, live: int, fresh: int) -> None:
    found, expected = table.alias("found"), table.alias("expected")
    key = [column.name for column in table.primary_key.columns if column.name != "generation"]
    values = [column.name for column in table.columns if column.name not in {*key, "generation"}]
    same = [found.c[name] == expected.c[name] for name in key]
    differ = [func.not_(_exact(found.c[name]).op("<=>")(_exact(expected.c[name]))) for name in values]
    both = and_(*same, found.c.generation == live, expected.c.generation == fresh)
    pairs = (
        select(found, expected)
        .join_from(found, expected, both)
        .where(or_(false(), *differ))
        .order_by(*(found.c[name] for name in key))
        .limit(COUNTED)
    )
    for row in await connection.execute(pairs):
        for name in values:
            was, should = row._mapping[found.c[name]], row._mapping[expected.c[name]]  # noqa: SLF001  # its public name
            if was != should:
                where = {one: row._mapping[found.c[one]] for one in key}  # noqa: SLF001  # its public name
                check.fault(
                    f"{table.name} {_named(where)}: {name} is {was!r}, and a rebuild gives {should!r}",
                    table=table.name, key=where, column=name, expected=should, found=was,
                )  # fmt: skip
    for row in await connection.execute(_only(found, expected, key, live, fresh)):
        where = dict(zip(key, row, strict=True))
        text = f"{table.name} {_named(where)}: a rebuild gives no such row"
        check.fault(text, table=table.name, key=where, column=None, expected=None, found="a row")
    for row in await connection.execute(_only(expected, found, key, fresh, live)):
        where = dict(zip(key, row, strict=True))
        text = f"{table.name} {_named(where)}: the row is missing"
        check.fault(text, table=table.name, key=where, column=None, expected="a row", found=None)


def _only(here: Any, there: Any, key: Sequence[str], generation: int, other: int) -> Select[Any]:
    """Return the keys of rows that only one of the generations has."""
    same = and_(*(here.c[name] == there.c[name] for name in key), there.c.generation == other)
    columns = [here.c[name] for name in key]
    return (
        select(*columns)
        .select_from(here.outerjoin(there, same))
        .where(here.c.generation == generation, there.c.generation.is_(None))
        .order_by(*columns)
        .limit(COUNTED)
    )


def _named(key: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in key.items())
