"""The event store: streams of facts in MySQL, appended together with their outbox rows.

A stream is changed only by whoever knows its version: `UNIQUE(stream, version)` decides every race, whatever the
isolation level. Streams that are long are read from their newest snapshot.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple

import orjson
from cachetools import LRUCache
from pydantic import ValidationError
from sqlalchemy import bindparam, func, insert, literal, or_, select, union_all
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.cloudevents import PARTITION_HEADER, encode_headers
from lms.kernel.database import error_number, is_duplicate
from lms.kernel.decider import C, Decider, E, S
from lms.kernel.event import Codec, Envelope, Event, Prerequisite, StreamVersion
from lms.kernel.failpoints import disabled
from lms.kernel.ids import new_id
from lms.kernel.kafka import PARTITIONS
from lms.kernel.schema import events, log, outbox, snapshots
from lms.kernel.statements import Call, Result, Statement, together

SNAPSHOT_EVERY = 200
"""Events after which a stream gets a new snapshot."""

REMEMBERED_EVENTS = 50_000
"""Events of the streams whose states a process keeps in memory, together; those used last."""

_PAGE = 5_000

_ENTER_EVENTS = Statement(insert(events))
_ENTER_OUTBOX = Statement(insert(outbox))
_EVENTS = select(events.c.version, events.c.type, events.c.schema_version, events.c.data, events.c.event_id).where(
    events.c.stream == bindparam("stream")
)
_OF_SNAPSHOT = (snapshots.c.stream == bindparam("stream"), snapshots.c.evolve_version == bindparam("evolve_version"))
_LOAD = Statement(
    union_all(
        select(
            snapshots.c.version,
            literal("").label("type"),
            literal(0).label("schema_version"),
            snapshots.c.state.label("data"),
            literal("").label("event_id"),
        ).where(*_OF_SNAPSHOT),
        _EVENTS.where(
            events.c.version >= func.coalesce(select(snapshots.c.version).where(*_OF_SNAPSHOT).scalar_subquery(), 0)
        ),
    )
)
"""The snapshot, which has no type, its last event and those behind; one statement, so that they are of one moment."""
_LOAD_EVENTS = Statement(_EVENTS)
_LOAD_SINCE = Statement(_EVENTS.where(events.c.version >= bindparam("version")))


class ConcurrencyConflict(Exception):
    """Somebody else appended to the stream first; load it again and decide anew."""

    def __init__(self, stream: str, expected: int) -> None:
        super().__init__(f"The stream {stream} no longer stands at version {expected}.")
        self.stream = stream
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Append:
    """Facts to append to one stream that stands at `expected` (0: a new stream); `every_partition` as in `Decider`."""

    topic: str
    stream: str
    key: str
    expected: int
    events: Sequence[Event]
    prerequisites: tuple[Prerequisite, ...] = ()
    every_partition: bool = False


@dataclass(frozen=True, slots=True)
class Causality:
    """Who and what led to the facts: they travel in every envelope."""

    correlation_id: str
    causation_id: str
    actor: str | None = None
    traceparent: str | None = None
    on_behalf_of: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as it stands in the log."""

    event: Event
    envelope: Envelope
    global_position: int


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """An aggregate's state and the version of its stream; version 0 is a stream without events."""

    state: S
    version: int
    snapshot_version: int = 0


class _Remembered(NamedTuple):
    """The state of a stream, and the id of the event that it stands at."""

    loaded: Loaded[Any]
    event_id: str


class EventStore:
    """Appends to and reads from the streams of one service.

    States that were loaded are kept in memory: to load one again takes the events since. What is kept counts only if
    the stream still holds, at that version, the very event that was folded last; so it may come from a transaction
    that was rolled back, or be older than a restore.

    `source` is the service's name, as it stands in `ce_source`. `views_exist` says whether the inline views have been
    held here before, so that their rows in `view_generations` are there.
    """

    def __init__(self, source: str, codec: Codec) -> None:
        self.source = source
        self.codec = codec
        self.views_exist = False
        self._log_epoch: int | None = None
        self._remembered: LRUCache[str, _Remembered] = LRUCache(
            REMEMBERED_EVENTS, getsizeof=lambda one: min(one.loaded.version, REMEMBERED_EVENTS)
        )

    async def log_epoch(self, connection: AsyncConnection) -> int:
        """Return the epoch that new events carry. A restore raises it while no service runs."""
        if self._log_epoch is None:
            found = await connection.scalar(select(log.c.log_epoch).where(log.c.id == 1))
            self._log_epoch = int(found) if found is not None else 1
        return self._log_epoch

    async def append(
        self, connection: AsyncConnection, appends: Sequence[Append], causality: Causality
    ) -> list[Recorded]:
        """Append events and their outbox rows in the caller's transaction; return them with their envelopes.

        Streams are written in the order of their names, so that two appends to the same streams cannot deadlock.
        Raises ConcurrencyConflict unless every stream stands at its `expected` version; the transaction must then be
        rolled back.
        """
        recorded, _ = await self.append_behind(connection, (), appends, causality)
        return recorded

    async def append_behind(
        self, connection: AsyncConnection, ahead: Sequence[Call], appends: Sequence[Append], causality: Causality
    ) -> tuple[list[Recorded], Sequence[Result]]:
        """Append as `append` does, behind statements that go in the same round trip; return what came of them too."""
        epoch = await self.log_epoch(connection)
        now = datetime.now(UTC)
        recorded: list[Recorded] = []
        for append in sorted(appends, key=lambda one: one.stream):
            expected = append.expected
            if disabled("store.version-check"):
                expected = await self.head(connection, append.stream)
            for number, event in enumerate(append.events, start=expected + 1):
                envelope = Envelope(
                    event_id=new_id(),
                    source=self.source,
                    type=event.TYPE,
                    schema_version=event.SCHEMA_VERSION,
                    stream=append.stream,
                    version=number,
                    log_epoch=epoch,
                    key=append.key,
                    time=now,
                    data={},
                    correlation_id=causality.correlation_id,
                    causation_id=causality.causation_id,
                    traceparent=causality.traceparent,
                    actor=causality.actor,
                    on_behalf_of=causality.on_behalf_of,
                    prerequisites=append.prerequisites,
                    copies=PARTITIONS if append.every_partition else 1,
                )
                recorded.append(Recorded(event, envelope, 0))
        topics = {append.stream: append.topic for append in appends}
        event_rows: list[dict[str, Any]] = []
        outbox_rows: list[dict[str, Any]] = []
        for one in recorded:
            headers = encode_headers(one.envelope)
            data = self.codec.encode(one.event)
            event_rows.append(
                {
                    "stream": one.envelope.stream,
                    "version": one.envelope.version,
                    "event_id": one.envelope.event_id,
                    "type": one.envelope.type,
                    "schema_version": one.envelope.schema_version,
                    "log_epoch": epoch,
                    "data": data,
                    "metadata": _metadata(topics[one.envelope.stream], one.envelope),
                    "recorded_at": now,
                }
            )
            outbox_rows += [
                {
                    "id": one.envelope.event_id,
                    "aggregatetype": topics[one.envelope.stream],
                    "aggregateid": one.envelope.key,
                    "type": one.envelope.type,
                    "payload": data,
                    "headers": orjson.dumps({**headers, **partition}).decode(),
                    "recorded_at": now,
                }
                for partition in _partitions(one.envelope.copies)
            ]
        try:
            results = await together(connection, *ahead, _ENTER_EVENTS.of(event_rows), _ENTER_OUTBOX.of(outbox_rows))
        except IntegrityError as error:
            if error_number(error) is not None and not is_duplicate(error):  # no number: not MySQL
                raise
            first = min(appends, key=lambda one: one.stream)
            taken = next((one for one in appends if one.stream in str(error.orig)), first)
            raise ConcurrencyConflict(taken.stream, taken.expected) from error
        return recorded, results[: len(ahead)]

    async def load(self, connection: AsyncConnection, decider: Decider[C, S, E], aggregate_id: str) -> Loaded[S]:
        """Return the state of an aggregate, from what is remembered of it, else from its newest usable snapshot on."""
        loaded, _ = await self.load_beside(connection, decider, aggregate_id)
        return loaded

    async def load_beside(
        self, connection: AsyncConnection, decider: Decider[C, S, E], aggregate_id: str, *calls: Call
    ) -> tuple[Loaded[S], Sequence[Result]]:
        """Load an aggregate in one round trip with other statements, behind them; return what came of them too."""
        stream = decider.stream(aggregate_id)
        known = self._remembered.get(stream)
        results: Sequence[Result] = ()
        if known is not None:
            since = _LOAD_SINCE.having(stream=stream, version=known.loaded.version)
            *results, read = await together(connection, *calls, since)
            rows = sorted(read.rows)
            if rows and rows[0].event_id == known.event_id:
                return self._folded(decider, stream, known.loaded, rows), results
            del self._remembered[stream]
            calls = ()
        whole = _LOAD.having(stream=stream, evolve_version=decider.evolve_version)
        *more, read = await together(connection, *calls, whole)
        rows = sorted(read.rows)
        loaded = Loaded(decider.initial, 0)
        if rows and not rows[0].type:
            snapshot, *rows = rows
            try:
                state, version = decider.snapshot_adapter.validate_json(snapshot.data), int(snapshot.version)
                loaded = Loaded(state, version, version)
            except ValidationError:  # a snapshot is only a shortcut: read the events instead
                rows = sorted(await _LOAD_EVENTS.rows(connection, stream=stream))
        return self._folded(decider, stream, loaded, rows), results or more

    def _folded(self, decider: Decider[C, S, E], stream: str, loaded: Loaded[S], rows: Sequence[Any]) -> Loaded[S]:
        """Fold the rows that lie behind a state, and remember what comes of them."""
        state, version = loaded.state, loaded.version
        for row in rows:
            if row.version > version:
                state = decider.evolve(state, self.codec.decode(row.type, row.schema_version, row.data))  # type: ignore[arg-type]  # the category holds E only
                version = int(row.version)
        found = Loaded(state, version, loaded.snapshot_version)
        if rows:
            self._remembered[stream] = _Remembered(found, rows[-1].event_id)
        return found

    async def snapshot(
        self, connection: AsyncConnection, decider: Decider[C, S, E], aggregate_id: str, loaded: Loaded[S]
    ) -> bool:
        """Store a snapshot if the stream has grown by SNAPSHOT_EVERY events since the last; say whether it did."""
        if loaded.version - loaded.snapshot_version < SNAPSHOT_EVERY:
            return False
        statement = upsert(snapshots).values(
            stream=decider.stream(aggregate_id),
            evolve_version=decider.evolve_version,
            version=loaded.version,
            state=decider.snapshot_adapter.dump_json(loaded.state).decode(),
        )
        self._remembered.pop(decider.stream(aggregate_id), None)  # which does not know of it
        await connection.execute(
            statement.on_duplicate_key_update(
                evolve_version=statement.inserted.evolve_version,
                version=statement.inserted.version,
                state=statement.inserted.state,
            )
        )
        return True

    async def head(self, connection: AsyncConnection, stream: str) -> int:
        """Return the version at which the stream stands; 0 without events."""
        found = await connection.scalar(select(func.max(events.c.version)).where(events.c.stream == stream))
        return int(found or 0)

    async def read(
        self, connection: AsyncConnection, stream: str, *, after_version: int = 0, limit: int | None = None
    ) -> list[Recorded]:
        """Return the events of one stream in order, with their envelopes."""
        rows = await connection.execute(
            select(events)
            .where(events.c.stream == stream, events.c.version > after_version)
            .order_by(events.c.version)
            .limit(limit)
        )
        return [self.recorded(row) for row in rows]

    async def states(
        self, connection: AsyncConnection, decider: Decider[C, S, E]
    ) -> AsyncIterator[tuple[str, Loaded[S]]]:
        """Return the id and state of every aggregate of a kind, folded from its first event on."""
        first, behind = f"{decider.category}-", f"{decider.category}."  # the character after the hyphen
        stream, version, state = first, 0, decider.initial
        while True:
            rows = await connection.execute(
                select(events.c.stream, events.c.version, events.c.type, events.c.schema_version, events.c.data)
                .where(
                    events.c.stream >= stream,
                    events.c.stream < behind,
                    or_(events.c.stream > stream, events.c.version > version),
                )
                .order_by(events.c.stream, events.c.version)
                .limit(_PAGE)
            )
            page = rows.all()
            for row in page:
                if row.stream != stream:
                    if version:
                        yield stream.removeprefix(first), Loaded(state, version)
                    stream, state = row.stream, decider.initial
                state = decider.evolve(state, self.codec.decode(row.type, row.schema_version, row.data))  # type: ignore[arg-type]  # the category holds E only
                version = int(row.version)
            if len(page) < _PAGE:
                if version:
                    yield stream.removeprefix(first), Loaded(state, version)
                return

    def recorded(self, row: Any) -> Recorded:
        """Return a row of the event table as the event and envelope that it holds."""
        envelope = self.envelope(row)
        event = self.codec.decode(row.type, row.schema_version, envelope.data)
        return Recorded(event, envelope, row.global_position)

    def envelope(self, row: Any) -> Envelope:
        """Return the envelope of a row of the event table, of whatever type and version the event is."""
        metadata = orjson.loads(row.metadata)
        return Envelope(
            event_id=row.event_id,
            source=self.source,
            type=row.type,
            schema_version=row.schema_version,
            stream=row.stream,
            version=row.version,
            log_epoch=row.log_epoch,
            key=metadata["key"],
            time=row.recorded_at.replace(tzinfo=UTC),
            data=orjson.loads(row.data),
            correlation_id=metadata["correlation_id"],
            causation_id=metadata["causation_id"],
            traceparent=metadata.get("traceparent"),
            actor=metadata.get("actor"),
            on_behalf_of=metadata.get("on_behalf_of"),
            prerequisites=tuple(Prerequisite(*one) for one in metadata.get("prerequisites", ())),
            copies=metadata.get("copies", 1),
        )


def topic_of(row: Any) -> str:
    """Return the topic that the event of a row goes to."""
    return str(orjson.loads(row.metadata)["topic"])


def stream_versions(recorded: Sequence[Recorded], topics: dict[str, str]) -> list[StreamVersion]:
    """Return where each stream stands after `recorded`."""
    heads: dict[str, int] = {}
    for one in recorded:
        heads[one.envelope.stream] = one.envelope.version
    return [StreamVersion(topics[stream], stream, version) for stream, version in heads.items()]


def _partitions(copies: int) -> list[dict[str, str]]:
    """Return what the headers of each outbox row say of its partition."""
    return [{}] if copies == 1 else [{PARTITION_HEADER: str(number)} for number in range(copies)]


def _metadata(topic: str, envelope: Envelope) -> str:
    fields: dict[str, Any] = {
        "topic": topic,
        "key": envelope.key,
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
    }
    if envelope.actor is not None:
        fields["actor"] = envelope.actor
    if envelope.on_behalf_of is not None:
        fields["on_behalf_of"] = envelope.on_behalf_of
    if envelope.traceparent is not None:
        fields["traceparent"] = envelope.traceparent
    if envelope.prerequisites:
        fields["prerequisites"] = [tuple(one) for one in envelope.prerequisites]
    if envelope.copies > 1:
        fields["copies"] = envelope.copies
    return orjson.dumps(fields).decode()
