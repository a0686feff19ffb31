"""Consumers: foreign facts in, effects out, exactly once in effect.

A `Projector` feeds views in batches; a `Recorder` writes events down as they came, in batches; a `Reactor` turns facts
into commands, under load several in one transaction. Either way the effect, the appended events, the stream versions
seen and the offset commit in one MySQL transaction. The offset moves by compare-and-set, so that a member which slept
through a rebalance changes nothing; the stream versions make a repeated event, at whatever offset, harmless. What
passes by itself (contention, a lost connection) is tried again for ever; what can never succeed is set aside with its
key (`parking.py`), and the rest flows on.
"""

import asyncio
import contextlib
import itertools
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from pydantic import ValidationError
from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.cloudevents import MalformedMessage, decode, is_further_copy
from lms.kernel.database import Database, is_transient
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.eventstore import Causality, ConcurrencyConflict
from lms.kernel.execution import Executor, UnitOfWork
from lms.kernel.failpoints import disabled, failpoint
from lms.kernel.kafka import begin, connection, end, is_away
from lms.kernel.logs import harmless_text, told, trail
from lms.kernel.metrics import (
    CONSUMED,
    CONSUMER_FENCED,
    CONSUMER_REBALANCES,
    CONSUMER_RETRIES,
    CONSUMER_SKIPPED,
    CONSUMER_STOPPED,
    CONSUMER_UNREAD,
    DLQ_MESSAGES,
    PROJECTION_LAG,
    PROJECTION_POSITION,
    announce_consumer,
)
from lms.kernel.parking import (
    HELD_POLL,
    KEYS_AT_ONCE,
    Kind,
    ParkedEvent,
    Place,
    Waiting,
    dead_letter,
    delete_key,
    delete_parked,
    drainable_keys,
    first_missing,
    known_of,
    lock_key,
    park,
    parked_among,
    parked_events_of,
    poisoned_since,
    set_kind,
)
from lms.kernel.projection import Projection, write_views
from lms.kernel.schema import consumer_offsets, consumer_versions
from lms.kernel.settings import KernelSettings
from lms.kernel.statements import Statement, later, together
from lms.kernel.tracing import current_traceparent, exporting, record, span
from lms.kernel.versions import Seen, Verdict, judge
from lms.kernel.waiting import at_most, cancelled

T = TypeVar("T")
Model = type[Event] | type[ForeignEvent]
Reaction = Callable[[UnitOfWork, Any, Envelope], Awaitable[None]]
Fetched = Mapping[TopicPartition, Sequence["ConsumerRecord[bytes, bytes]"]]

BATCH = 1000
"""Messages worked on at once; a projector writes them in one transaction."""

CONCURRENT_TRANSACTIONS = 4
"""Transactions of a reactor at a time, each with partitions of its own; within a partition, order holds."""

REACTIONS = 16
"""Events that a reactor handles in one transaction at most: what they touch is locked until it ends."""

PROJECTOR_SECONDS = 0.1
"""How long a reactor lets its process's projector go ahead, where both read the same, before it holds events."""

POISON_LIMIT = 20
POISON_WINDOW_SECONDS = 300
"""More keys poisoned than this within the window stop the consumer: then it is the code that is wrong."""

LINGER_SECONDS = 0.05
"""How long events that change nothing which anybody waits for (those that a consumer does not read, and all events of a
recorder) are gathered, so that they are noted together and not each in a transaction of its own."""

UNASKED_LOOK_SECONDS = 2.0
"""Between two looks at parked keys while none is known to wait: another copy may have parked one."""

STALL_SECONDS = 30.0
"""A consumer with lag whose position stands still for so long is rebuilt (aiokafka #1037, #847, #703)."""

# How long the broker holds a fetch that finds nothing: each costs both sides a look at every partition, and until it is
# answered a connection gives nothing else, such as the first messages of partitions that were just taken over.
_HELD_MS = 2000
_FETCH_MS = 500
# Between two tries to reach a broker or its coordinator: with the default of 100 ms all consumers of a system together
# slow the return of a broker that was away.
_RETRY_MS = 400
_ADVICE_SECONDS = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Projector:
    """Feeds views from topics, in batches; each view's handlers are pure."""

    name: str
    topics: tuple[str, ...]
    projections: tuple[type[Projection], ...]

    def models(self) -> frozenset[Model]:
        """Return the models of the events that it reads."""
        return frozenset(model for projection in self.projections for model in projection.handlers)


@dataclass(frozen=True)
class Reactor:
    """Turns facts into commands.

    Each handler has a unit of work of its own; under load those of several events commit together. Should one of them
    fail, each is tried alone. `waits_for` names the projector whose views the handlers read: an event that rests on a
    fact which that projector has not seen yet is held, with its key, until it has. So is an event of a topic that the
    projector reads itself, until the projector has seen that very event.
    """

    name: str
    topics: tuple[str, ...]
    handlers: Mapping[type[ForeignEvent], Reaction]
    waits_for: str | None = None

    def models(self) -> frozenset[Model]:
        """Return the models of the events that it reads."""
        return frozenset(self.handlers)


@dataclass(frozen=True)
class Recorder:
    """Writes down every event of its topics as it came, of whatever type and version, in batches.

    `record` gets those that are new, each stream in its order, in the transaction that moves the offsets.
    """

    name: str
    topics: tuple[str, ...]
    record: "Callable[[AsyncConnection, Sequence[Received]], Awaitable[None]]"

    def models(self) -> frozenset[Model]:
        """Return no models: what an event says is not looked at."""
        return frozenset()


Consumer = Projector | Reactor | Recorder


def dead_letter_topic(service: str, consumer: str) -> str:
    """Return the topic that a consumer's dead letters go to."""
    return f"dlq.{service}.{consumer}"


class NamedService(Protocol):
    """What a runner needs of the wiring."""

    @property
    def name(self) -> str:
        """The service's name."""
        ...


class ConsumingRuntime(Protocol):
    """What a runner needs of its process."""

    database: Database
    executor: Executor
    runners: "list[ConsumerRunner]"

    @property
    def settings(self) -> KernelSettings:
        """The settings of the process."""
        ...

    @property
    def service(self) -> NamedService:
        """The wiring of the service."""
        ...


class Fenced(Exception):
    """The offset in the database is not where this member left it: another member has the partition."""


class Stalled(Exception):
    """There is lag, and nothing arrives."""


class Unreadable(Exception):
    """A message that this consumer can never apply; the text is the dead letter's reason."""


class NotYetKnown(Exception):
    """A handler lacks a fact that is to come; the text says which one.

    What the handler did is undone, and the event is held with its key until the handler finds what it needs. Facts
    whose stream and version are known stand in the event's prerequisites instead.
    """


@dataclass(slots=True)
class Received:
    """A message as it came: parsed as far as it can be. `fault` says why it cannot be applied, if it cannot."""

    topic: str
    partition: int
    offset: int
    key: str
    headers: Sequence[tuple[str, bytes]]
    payload: bytes | None
    envelope: Envelope | None = None
    fact: Event | ForeignEvent | None = None
    fault: str | None = None


class ConsumerRunner:
    """Runs one consumer in this process as a member of its group, until `stop`."""

    def __init__(self, runtime: ConsumingRuntime, consumer: Consumer) -> None:
        self.consumer = consumer
        announce_consumer(consumer.name)
        self._runtime = runtime
        self._service = runtime.service.name
        self._database = runtime.database
        self._models = {model.TYPE: model for model in consumer.models()}
        self._positions: dict[TopicPartition, int] = {}
        self._stopping = False
        self._finished = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._drain_wake = asyncio.Event()
        self._waiting = False
        self._looked_at: Place | None = None  # the last waiting key of a round that was full
        self._joined = False
        self._gathered: dict[TopicPartition, list[Received]] = {}
        self._gathered_since = 0.0
        self._assignment = 0  # grows whenever positions are read from the database
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._progress = asyncio.Event()  # another one after each step
        self._last_progress = time.monotonic()
        self._projections = consumer.projections if isinstance(consumer, Projector) else ()
        reactor = consumer if isinstance(consumer, Reactor) else None
        self._handlers: Mapping[Any, Reaction] = reactor.handlers if reactor else {}
        self._record = consumer.record if isinstance(consumer, Recorder) else None
        self._waits_for = reactor.waits_for if reactor else None

    # The life of the member ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Consume until `stop`; whatever breaks a session, the next one begins where the database says."""
        pause = 0.2
        draining = asyncio.create_task(self._drain_for_ever(), name=f"drain {self.consumer.name}")
        try:
            while not self._stopping:
                started = time.monotonic()
                try:
                    await self._session()
                except asyncio.CancelledError:
                    raise
                except Exception as error:  # noqa: BLE001  # a consumer never gives up; it says why and begins anew
                    known = is_transient(error) or is_away(error) or isinstance(error, Fenced | Stalled)
                    _log.warning(
                        "a consumer begins anew", consumer=self.consumer.name, reason=error,
                        exc_info=not known,
                    )  # fmt: skip
                    pause = 0.2 if time.monotonic() - started > 30 else min(pause * 2, 5.0)  # noqa: PLR2004
                    await self._interruptible(pause)
        finally:
            await cancelled([draining])
            self._finished.set()

    async def stop(self) -> None:
        """Stop fetching, finish what is in hand, leave the group."""
        self._stopping = True
        self._stop_asked.set()
        self._drain_wake.set()
        await at_most(3.0, self._finished.wait())

    def wake_drain(self) -> None:
        """Look at the parked keys again now: something that they may wait for has happened."""
        if self._waiting:
            self._drain_wake.set()

    async def _interruptible(self, seconds: float) -> None:
        await at_most(seconds, self._stop_asked.wait())

    async def _session(self) -> None:
        """Be a member of the group until stopped or broken."""
        instance = self._runtime.settings.instance
        client = AIOKafkaConsumer(
            **connection(self._runtime.settings.kafka_bootstrap_servers),
            group_id=f"lms.{self._service}.{self.consumer.name}",
            group_instance_id=f"{instance}.{self.consumer.name}" if instance else None,
            client_id=f"lms-{self._service}-{self.consumer.name}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=10_000,
            heartbeat_interval_ms=2_000,
            max_poll_interval_ms=300_000,
            fetch_max_wait_ms=_HELD_MS,
            retry_backoff_ms=_RETRY_MS,
            fetch_max_bytes=4 * 1024 * 1024,
            max_partition_fetch_bytes=1024 * 1024,
            metadata_max_age_ms=30_000,
        )
        client.subscribe(list(self.consumer.topics), listener=_Assignments(self, client))
        self._gathered = {}
        advice = asyncio.create_task(self._advise(client), name=f"advise {self.consumer.name}")
        try:
            await begin(client, 30.0)
            self._last_progress = time.monotonic()
            while not self._stopping:
                wait = _FETCH_MS if not self._gathered else int(LINGER_SECONDS * 1000)
                # All that was fetched: with a part left, aiokafka would fetch for the other partitions alone, and this
                # one would wait until they have something.
                records = await client.getmany(timeout_ms=wait)
                if records or self._gathered:
                    await self._work_off(client, records)
                    self._last_progress = time.monotonic()
                else:
                    self._watch(client)
        finally:
            await cancelled([advice])
            await end(client)  # where the group forms anew that is finished in the background

    async def assigned(self, client: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
        """Take partitions over: continue where the database says."""
        wanted = list(partitions)
        self._assigned = frozenset(wanted)
        self._gathered = {}
        self._assignment += 1
        CONSUMER_REBALANCES.labels(self.consumer.name).inc()
        for topic_partition, offset in (await self._stored_offsets(wanted)).items():
            self._positions[topic_partition] = offset
            client.seek(topic_partition, offset)
        self._last_progress = time.monotonic()
        self._joined = True

    def revoked(self) -> None:
        """Give no advice until the group has formed anew: a commit in between would make this member join again."""
        self._joined = False
        self._assigned = frozenset()

    async def _stored_offsets(self, wanted: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        if not wanted:
            return {}
        offsets = consumer_offsets
        pause = 0.1
        while True:
            try:
                async with self._database.transaction() as connection:
                    await connection.execute(
                        upsert(offsets).prefix_with("IGNORE"),
                        [
                            {"consumer": self.consumer.name, "topic": one.topic, "partition_no": one.partition,
                             "next_offset": 0}
                            for one in sorted(wanted)
                        ],
                    )  # fmt: skip
                    rows = await connection.execute(select(offsets).where(offsets.c.consumer == self.consumer.name))
                    found = {TopicPartition(row.topic, row.partition_no): int(row.next_offset) for row in rows}
                    return {one: found[one] for one in wanted}
            except Exception as error:
                if not is_transient(error) or self._stopping:
                    raise
                await self._interruptible(pause)
                pause = min(pause * 2, 2.0)

    async def _advise(self, client: AIOKafkaConsumer) -> None:
        """Tell Kafka where the consumer stands, for whoever measures lag there; nothing here depends on it."""
        told: dict[TopicPartition, int] = {}
        while True:
            await asyncio.sleep(_ADVICE_SECONDS)
            standing = {
                one: offset for one, offset in self._positions.items() if one in client.assignment() and offset > 0
            }
            changed = {one: offset for one, offset in standing.items() if told.get(one) != offset}
            for one, offset in standing.items():
                PROJECTION_POSITION.labels(self.consumer.name, one.topic, one.partition).set(offset)
            if changed and self._joined:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(5.0):
                        await client.commit(changed)
                    told.update(changed)

    def _watch(self, client: AIOKafkaConsumer) -> None:
        behind = any(
            (high := client.highwater(one)) is not None and high > self._positions.get(one, high)
            for one in client.assignment()
        )
        if not behind:
            self._last_progress = time.monotonic()
        elif time.monotonic() - self._last_progress > STALL_SECONDS:
            raise Stalled(f"{self.consumer.name} has lag and has received nothing for {STALL_SECONDS:.0f} s")

    # A fetch -------------------------------------------------------------------------------------------------------

    async def _work_off(self, client: AIOKafkaConsumer, records: Fetched) -> None:
        """Work on what was fetched, a BATCH at a time, for as long as it begins where this member stands."""
        assignment = self._assignment
        for part in _parts(records):
            await self._work(client, part)
            if self._stopping or assignment != self._assignment:
                return

    async def _work(self, client: AIOKafkaConsumer, records: Fetched) -> None:
        fetched = {
            one: [
                self._received(record) for record in found if record.offset >= self._positions.get(one, record.offset)
            ]
            for one, found in records.items()
        }
        if not self._gathered:
            self._gathered_since = time.monotonic()
        batches = {
            one: batch
            for one in {**self._gathered, **fetched}
            if (batch := [*self._gathered.get(one, ()), *fetched.get(one, ())])
        }
        due = time.monotonic() - self._gathered_since >= LINGER_SECONDS or sum(map(len, batches.values())) >= BATCH
        if not due and not any(self._is_awaited(received) for received in _in_order(batches)):
            self._gathered = batches
            return
        self._gathered, assignment = {}, self._assignment
        try:
            if isinstance(self.consumer, Projector | Recorder):
                await self._in_batches(_in_order(batches))
            else:
                await self._let_projector_go_ahead(batches)
                left = await self._react_to_partitions(batches)
                if due:
                    await self._pass_over(_in_order(left))
                elif assignment == self._assignment:  # else it comes again from where the database says
                    self._gathered = left
        except* Fenced:
            CONSUMER_FENCED.labels(self.consumer.name).inc()
            self._assignment += 1
            held = [one for one in batches if one in client.assignment()]
            for one, offset in (await self._stored_offsets(held)).items():
                self._positions[one] = offset
                client.seek(one, offset)

    def _is_awaited(self, received: Received) -> bool:
        """Say whether anything waits for what an event changes here; else it may be gathered with others."""
        if self._record is not None:
            return False
        return received.envelope is None or received.envelope.type in self._awaited

    @cached_property
    def _awaited(self) -> frozenset[str]:
        """The types of the events that this consumer reads, and the reactors that wait for it."""
        waiting = [one for one in self._runtime.runners if one._waits_for == self.consumer.name]  # noqa: SLF001  # runners of one process know each other
        return frozenset(name for one in (self, *waiting) for name in one._models)  # noqa: SLF001

    def _received(self, record: "ConsumerRecord[bytes, bytes]") -> Received:
        key = record.key.decode("utf-8", "replace") if record.key else f"{record.topic}/{record.partition}"
        return self._parsed(
            Received(record.topic, record.partition, record.offset, key[:160], record.headers, record.value)
        )

    def _parsed(self, received: Received) -> Received:
        try:
            envelope = received.envelope = decode(received.headers, received.payload)
        except MalformedMessage as error:
            received.fault = str(error)
            return received
        model = self._models.get(envelope.type)
        if model is None or envelope.schema_version not in _versions(model):
            if self._record is None:
                CONSUMER_UNREAD.labels(self.consumer.name).inc()
            return received
        try:
            received.fact = model.model_validate(envelope.data)
        except ValidationError as error:
            fields = ", ".join("/".join(map(str, one["loc"])) or "/" for one in error.errors(include_input=False))
            received.fault = f"{envelope.type} does not have the fields that {self.consumer.name} reads: {fields}"
        return received

    # Projecting and recording --------------------------------------------------------------------------------------

    async def _in_batches(self, everything: Sequence[Received]) -> None:
        """Write a fetch in one transaction; should one event be poison, event by event."""
        if not everything:
            return
        try:
            await self._patiently(lambda: self._apply_batch(everything))
        except Fenced:
            raise
        except Exception:  # noqa: BLE001  # one of them is poison: find it
            for received in everything:
                await self._one_by_one(received)
        self._tell_reactors()

    async def _one_by_one(self, received: Received) -> None:
        try:
            await self._patiently(lambda: self._apply_batch([received]))
        except Fenced:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it will not pass by itself
            reason = _reason(error)
            await self._patiently(lambda: self._set_aside(received, "poison", reason))

    async def _apply_batch(self, batch: Sequence[Received]) -> None:
        """Apply what is new of a batch, in one transaction; raises Unreadable for a message that nobody can apply."""
        began = time.time_ns()
        async with self._database.transaction() as connection:
            parked, seen, _ = await self._enter(connection, batch)
            fresh: list[tuple[Event | ForeignEvent, Envelope]] = []
            new: list[Received] = []
            advanced: dict[str, Seen] = {}
            old = 0
            for one in batch:
                if self._was_seen(one, seen):
                    old += 1
                elif one.key in parked:
                    await park(connection, self.consumer.name, _parked(one))
                elif one.envelope is None or one.fault is not None:
                    raise Unreadable(one.fault or "not an event")
                else:
                    verdict = self._judge(one, one.envelope, seen.get(one.envelope.stream))
                    if verdict is Verdict.GAP:
                        await self._park_gap(connection, one, seen.get(one.envelope.stream))
                        parked[one.key] = "gap"
                    else:
                        seen[one.envelope.stream] = advanced[one.envelope.stream] = Seen.of(one.envelope)
                        new.append(one)
                        if one.fact is not None:
                            fresh.append((one.fact, one.envelope))
            await write_views(connection, self._projections, fresh)
            if self._record is not None and new:
                await self._record(connection, new)
            failpoint("consumer.in-batch")
            await self._store_seen(connection, advanced)
            failpoint("consumer.before-commit")
        failpoint("consumer.after-commit")
        self._moved(batch, waits=old + len(new) < len(batch))
        CONSUMER_SKIPPED.labels(self.consumer.name).inc(old)
        CONSUMED.labels(self.consumer.name).inc(len(advanced))
        last = new[-1].envelope if new and (fresh or self._record is not None) else None
        if last is not None:
            self._observe_age(last)
        if exporting():
            self._trace([one for one in new if one.fact is not None or self._record is not None], began)

    def _trace(self, applied: Sequence[Received], began: int) -> None:
        """Show in the trace of each event when this consumer had it."""
        ended = time.time_ns()
        for one in applied:
            if one.envelope is not None:
                record(
                    f"process {one.topic}", traceparent=one.envelope.traceparent, kind="consumer", begin_ns=began,
                    end_ns=ended, attributes=self._described(one.topic, one.envelope),
                )  # fmt: skip

    def _described(self, topic: str, envelope: Envelope) -> dict[str, str | int]:
        return {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.destination.name": topic,
            "messaging.consumer.group.name": f"lms.{self._service}.{self.consumer.name}",
            "messaging.message.id": envelope.event_id,
            "lms.event.type": envelope.type,
        }

    # Reacting ------------------------------------------------------------------------------------------------------

    async def _let_projector_go_ahead(self, batches: Mapping[TopicPartition, Sequence[Received]]) -> None:
        """Wait a moment where the projector that this reactor waits for is just writing the same events.

        To hold them with their keys, and to release them, would cost three transactions each.
        """
        read = {one: offsets[-1] for one, batch in batches.items() if (offsets := [r.offset for r in batch if r.fact])}
        for runner in self._runtime.runners:
            if runner.consumer.name == self._waits_for:
                await runner.has_passed(read, PROJECTOR_SECONDS)

    async def _react_to_partitions(
        self, batches: Mapping[TopicPartition, list[Received]]
    ) -> dict[TopicPartition, list[Received]]:
        """React to the events of several partitions; return those behind the last one that is read, to be passed over.

        What is there is spread over a few transactions side by side, each with all of some partitions' events: under
        load many events share what a transaction costs, and a single one is not held up.
        """
        groups: list[list[list[Received]]] = [[] for _ in range(CONCURRENT_TRANSACTIONS)]
        left: dict[TopicPartition, list[Received]] = {}
        for partition, batch in batches.items():
            end = max((place for place, one in enumerate(batch, start=1) if _is_read(one)), default=0)
            if batch[end:]:
                left[partition] = batch[end:]
            if end:
                min(groups, key=lambda group: sum(map(len, group))).append(batch[:end])
        async with asyncio.TaskGroup() as tasks:
            for group in filter(None, groups):
                tasks.create_task(self._react_to_group(group))
        return left

    async def _react_to_group(self, partitions: Sequence[Sequence[Received]]) -> None:
        """React to all events of some partitions, a REACTIONS at a time, those of each partition in their order."""
        for part in _portions(partitions, REACTIONS):
            try:
                if len(part) > 1:
                    await self._react(part)
                    continue
            except Fenced:
                raise
            except Exception:  # noqa: BLE001  # one of them cannot be done, or others are in the way: event by event
                CONSUMER_RETRIES.labels(self.consumer.name).inc()
            for received in part:
                await self._react_to(received)

    async def _pass_over(self, unread: Sequence[Received]) -> None:
        if unread:
            batch = list(unread)
            await self._patiently(lambda: self._apply_batch(batch))

    async def _react_to(self, received: Received) -> None:
        if received.fault is not None:
            reason = received.fault
            await self._patiently(lambda: self._set_aside(received, "poison", reason))
            return
        try:
            await self._patiently(lambda: self._react([received]))
        except Fenced:
            raise
        except NotYetKnown as missing:
            reason = str(missing)
            await self._patiently(lambda: self._hold(received, reason))
        except Exception as error:  # noqa: BLE001  # whatever it is, it will not pass by itself
            with _trail_of(received):
                _log.exception(
                    "an event cannot be applied", consumer=self.consumer.name, topic=received.topic,
                    offset=received.offset,
                )  # fmt: skip
            reason = _reason(error)
            await self._patiently(lambda: self._set_aside(received, "poison", reason))

    async def _react(self, batch: Sequence[Received]) -> None:
        """React to events in one transaction, those of each partition in their order.

        Raises Unreadable for a message that nobody can apply, and whatever a handler raises; nothing is then done.
        """
        units: list[UnitOfWork] = []
        wanted = [self._wanted(one) for one in batch]
        async with self._database.transaction() as connection:
            standing = await self._enter(connection, batch, [fact for facts in wanted for fact in facts])
            applied: list[Received] = []
            advanced: dict[str, Seen] = {}
            old = 0
            for one, resting_on in zip(batch, wanted, strict=True):
                if self._was_seen(one, standing.seen):
                    old += 1
                elif one.key in standing.parked:
                    await park(connection, self.consumer.name, _parked(one))
                elif one.envelope is None or one.fault is not None:
                    raise Unreadable(one.fault or "not an event")
                elif await self._is_due(connection, one, one.envelope, resting_on, standing):
                    if (unit := await self._apply(connection, one, one.envelope)) is not None:
                        units.append(unit)
                    applied.append(one)
                    standing.seen[one.envelope.stream] = advanced[one.envelope.stream] = Seen.of(one.envelope)
            await self._store_seen(connection, advanced)
            failpoint("consumer.before-commit")
        failpoint("consumer.after-commit")
        self._moved(batch, waits=old + len(applied) < len(batch))
        CONSUMER_SKIPPED.labels(self.consumer.name).inc(old)
        for one in applied:
            self._count(one)
        for unit in units:
            await self._committed(unit)

    async def _is_due(
        self,
        connection: AsyncConnection,
        received: Received,
        envelope: Envelope,
        wanted: Sequence[Waiting],
        standing: "_Standing",
    ) -> bool:
        """Say whether an event that is not old is to be applied now; one that came too early is parked with its key."""
        seen = standing.seen.get(envelope.stream)
        if self._judge(received, envelope, seen) is Verdict.GAP:
            await self._park_gap(connection, received, seen)
            standing.parked[received.key] = "gap"
            return False
        missing = first_missing(wanted, standing.known)
        if missing is not None:
            reason = f"waits until {self._waits_for} has seen {missing.stream} version {missing.version}"
            await park(connection, self.consumer.name, _parked(received), kind="held", reason=reason, waiting=missing)
            standing.parked[received.key] = "held"
            return False
        return True

    async def _apply(self, connection: AsyncConnection, received: Received, envelope: Envelope) -> UnitOfWork | None:
        """Let the effect of one event happen; whoever calls it notes that the event was seen."""
        unit: UnitOfWork | None = None
        if self._record is not None:
            await self._record(connection, [received])
        elif received.fact is not None and self._projections:
            await write_views(connection, self._projections, [(received.fact, envelope)])
        elif received.fact is not None:
            with span(
                f"process {received.topic}", traceparent=envelope.traceparent, kind="consumer",
                attributes=self._described(received.topic, envelope),
            ):  # fmt: skip
                traceparent = current_traceparent()
                causality = Causality(envelope.correlation_id, envelope.event_id, None, traceparent)
                unit = self._runtime.executor.unit_of_work(connection, causality)
                with trail(correlation_id=envelope.correlation_id, traceparent=traceparent):
                    await self._handlers[type(received.fact)](unit, received.fact, envelope)
        failpoint("consumer.in-batch")
        return unit

    async def _committed(self, unit: UnitOfWork | None) -> None:
        if unit is not None:
            if unit.written:
                self._runtime.executor.wake()
            await unit.committed()

    def _wanted(self, received: Received) -> list[Waiting]:
        """Return the facts that the consumer's projector must have seen before this event."""
        envelope = received.envelope
        if self._waits_for is None or envelope is None or received.fact is None:
            return []
        topics = next(one.consumer.topics for one in self._runtime.runners if one.consumer.name == self._waits_for)
        itself = Waiting(received.topic, envelope.stream, envelope.version)
        return [one for one in (*envelope.prerequisites, itself) if one.topic in topics]

    def _count(self, applied: Received) -> None:
        CONSUMED.labels(self.consumer.name).inc()
        if applied.envelope is not None and applied.fact is not None:
            self._observe_age(applied.envelope)

    def _observe_age(self, envelope: Envelope) -> None:
        age = datetime.now(UTC) - envelope.time
        PROJECTION_LAG.labels(self.consumer.name).observe(max(0.0, age.total_seconds()))

    # Shared by both ------------------------------------------------------------------------------------------------

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it, again and again while what stops it passes by itself."""
        pause = 0.005
        while True:
            try:
                return await work()
            except Exception as error:
                if not (isinstance(error, ConcurrencyConflict) or is_transient(error)):
                    raise
                if self._stopping and pause > 0.1:  # noqa: PLR2004  # the next member does it
                    raise
                CONSUMER_RETRIES.labels(self.consumer.name).inc()
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    def _judge(self, received: Received, envelope: Envelope, seen: Seen | None) -> Verdict:
        if is_further_copy(received.partition, envelope.copies):
            return Verdict.SKIP
        if disabled("consumer.version-check"):
            return Verdict.APPLY
        return judge(envelope, seen)

    def _was_seen(self, received: Received, seen: Mapping[str, Seen]) -> bool:
        """Say whether an event was applied or given up before; then it counts for nothing, parked key or not."""
        envelope = received.envelope
        return envelope is not None and self._judge(received, envelope, seen.get(envelope.stream)) is Verdict.SKIP

    async def _enter(
        self, connection: AsyncConnection, batch: Sequence[Received], wanted: Sequence[Waiting] = ()
    ) -> "_Standing":
        """Move the offset rows past the batch, and return what is known of its keys and streams, in one round trip.

        The keys' rows are locked first: what a drain moves on shows. Raises Fenced if an offset is not where this
        member left it.
        """
        ends: dict[TopicPartition, int] = {}
        starts: dict[TopicPartition, int] = {}
        for one in batch:
            partition = TopicPartition(one.topic, one.partition)
            starts.setdefault(partition, self._positions.get(partition, one.offset))
            ends[partition] = one.offset + 1
        rows = [
            {"c": self.consumer.name, "t": one.topic, "p": one.partition, "expected": starts[one], "next": ends[one]}
            for one in sorted(ends)
        ]
        name = self.consumer.name
        streams = {one.envelope.stream for one in batch if one.envelope is not None}
        moved, parked, seen, known = await together(
            connection,
            (_UNFENCED if disabled("consumer.fencing") else _MOVE).of(rows),
            parked_among(name, {one.key for one in batch}),
            _SEEN.having(consumer=name, streams=streams),
            known_of(self._waits_for or "", wanted),
        )
        if moved.rowcount != len(rows) and not disabled("consumer.fencing"):
            raise Fenced(f"{name}: another member has moved the offset")
        return _Standing(
            {row.key_: row.kind for row in parked.rows},
            _seen_of(seen.rows),
            known.rows,
        )

    def _moved(self, batch: Sequence[Received], *, waits: bool = False) -> None:
        """Note what was committed: where the partitions stand, and whether some of the batch was parked and waits."""
        for one in batch:
            self._positions[TopicPartition(one.topic, one.partition)] = one.offset + 1
        if waits:
            self._wait()
        self._progress.set()
        self._progress = asyncio.Event()

    async def has_passed(self, offsets: Mapping[TopicPartition, int], seconds: float) -> None:
        """Wait until this consumer has passed the offsets, of those partitions that it holds, and no longer."""
        until = time.monotonic() + seconds
        while any(self._positions.get(one, 0) <= offset for one, offset in offsets.items() if one in self._assigned):
            left = until - time.monotonic()
            if left <= 0:
                return
            await at_most(left, self._progress.wait())

    async def _store_seen(self, connection: AsyncConnection, advanced: Mapping[str, Seen]) -> None:
        if advanced:
            rows = [
                {"consumer": self.consumer.name, "stream": stream, "log_epoch": seen.log_epoch, "version": seen.version}
                for stream, seen in sorted(advanced.items())
            ]
            await later(connection, _STORE_SEEN.of(rows))

    async def _park_gap(self, connection: AsyncConnection, received: Received, seen: Seen | None) -> None:
        envelope = received.envelope
        if envelope is None:
            raise Unreadable("not an event")
        after = f"version {seen.version}" if seen else "nothing"
        reason = f"{envelope.stream} jumped from {after} to version {envelope.version}"
        with _trail_of(received):
            _log.warning("an event is missing; its key waits", consumer=self.consumer.name, reason=reason)
        await park(connection, self.consumer.name, _parked(received), kind="gap", reason=reason)

    async def _set_aside(self, received: Received, kind: Kind, reason: str) -> None:
        """Park a poison event with its key, publish the dead letter, and move on; one seen before is just old."""
        async with self._database.transaction() as connection:
            standing = await self._enter(connection, [received])
            if old := self._was_seen(received, standing.seen):
                CONSUMER_SKIPPED.labels(self.consumer.name).inc()
            elif standing.parked:
                await park(connection, self.consumer.name, _parked(received))
            else:
                await park(connection, self.consumer.name, _parked(received), kind=kind, reason=reason)
                await dead_letter(
                    connection, dead_letter_topic(self._service, self.consumer.name), _parked(received), reason
                )
                DLQ_MESSAGES.labels(self.consumer.name).inc()
            poisoned = await poisoned_since(connection, self.consumer.name, POISON_WINDOW_SECONDS)
        self._moved([received])
        if old:
            return
        self._runtime.executor.wake()
        with _trail_of(received):
            _log.error(
                "an event is poison; its key is parked", consumer=self.consumer.name, topic=received.topic,
                partition=received.partition, offset=received.offset, reason=reason,
            )  # fmt: skip
        if poisoned > POISON_LIMIT:
            CONSUMER_STOPPED.labels(self.consumer.name).set(1)
            self._stopping = True
            self._stop_asked.set()
            _log.error(
                "the consumer stops: too many keys were poisoned; see `lms dlq list`", consumer=self.consumer.name,
                keys=poisoned,
            )  # fmt: skip

    async def _hold(self, received: Received, reason: str) -> None:
        """Park an event that came too early with its key, and move on."""
        async with self._database.transaction() as connection:
            standing = await self._enter(connection, [received])
            kind: Kind | None = None if standing.parked else "held"
            await park(connection, self.consumer.name, _parked(received), kind=kind, reason=reason)
        self._moved([received], waits=True)

    def _tell_reactors(self) -> None:
        for runner in self._runtime.runners:
            if runner._waits_for == self.consumer.name:  # noqa: SLF001  # runners of one process know each other
                runner.wake_drain()

    # Parked keys ---------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Have the waiting keys looked at. Only after the commit: what parked one does not show before."""
        self._waiting = True
        self._drain_wake.set()

    async def _drain_for_ever(self) -> None:
        """Try the keys that wait, when something happened and every HELD_POLL while any waits."""
        while not self._stopping:
            self._drain_wake.clear()
            before, self._waiting = self._waiting, False  # whoever parks a key meanwhile says so
            try:
                still = await self._drain()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001  # the next look may succeed
                still = before
                _log.warning("parked keys could not be looked at", reason=error)
            self._waiting = self._waiting or still
            await at_most(HELD_POLL if self._waiting else UNASKED_LOOK_SECONDS, self._drain_wake.wait())

    async def _drain(self) -> bool:
        """Apply what can be applied of some of the waiting keys, all in turn; say whether any key still waits."""
        async with self._database.read() as connection:
            keys = await drainable_keys(connection, self.consumer.name, self._looked_at)
            if not keys and self._looked_at is not None:
                keys = await drainable_keys(connection, self.consumer.name)
        self._looked_at = keys[-1] if len(keys) == KEYS_AT_ONCE else None
        for _, key in keys:
            while await self._drain_one(key):
                pass
        return bool(keys)

    async def _drain_one(self, key: str) -> bool:
        """Apply the first event of a waiting key that can be applied; say whether there may be more.

        Poison is always the first one, which `lms dlq skip` gives up: what fails behind another waits too.
        """
        chosen: Received | None = None
        is_first = False
        try:
            unit: UnitOfWork | None = None
            async with self._database.transaction() as connection:
                if await lock_key(connection, self.consumer.name, key) in {None, "poison"}:
                    return False
                waiting = await parked_events_of(connection, self.consumer.name, key)
                if not waiting:
                    await delete_key(connection, self.consumer.name, key)
                    return False
                for number, event in enumerate(waiting):
                    chosen, is_first = self._parsed(_unparked(event)), number == 0
                    done, unit = await self._try_parked(connection, chosen)
                    if done:
                        await delete_parked(connection, event.position)
                        break
                else:
                    chosen = None
                    return False
            await self._committed(unit)
        except NotYetKnown:
            return False
        except Exception as error:
            if isinstance(error, ConcurrencyConflict) or is_transient(error) or chosen is None:
                raise
            if is_first:
                await self._poison_parked(key, chosen, _reason(error))
            return False
        if self._projections:
            self._tell_reactors()
        return True

    async def _poison_parked(self, key: str, chosen: Received, reason: str) -> None:
        """Note that the first event of a waiting key can never be applied, and publish its dead letter."""
        async with self._database.transaction() as connection:
            await set_kind(connection, self.consumer.name, key, "poison", reason)
            topic = dead_letter_topic(self._service, self.consumer.name)
            await dead_letter(connection, topic, _parked(chosen), reason)
        DLQ_MESSAGES.labels(self.consumer.name).inc()
        self._runtime.executor.wake()
        with _trail_of(chosen):
            _log.exception("a parked event is poison", consumer=self.consumer.name, reason=reason)

    async def _try_parked(self, connection: AsyncConnection, received: Received) -> tuple[bool, UnitOfWork | None]:
        if received.envelope is None or received.fault is not None:
            raise Unreadable(received.fault or "not an event")
        envelope = received.envelope
        wanted = self._wanted(received)
        seen, known = await together(
            connection,
            _SEEN.having(consumer=self.consumer.name, streams={envelope.stream}),
            known_of(self._waits_for or "", wanted),
        )
        verdict = self._judge(received, envelope, _seen_of(seen.rows).get(envelope.stream))
        if verdict is Verdict.SKIP:
            return True, None
        if verdict is Verdict.GAP or first_missing(wanted, known.rows) is not None:
            return False, None
        unit = await self._apply(connection, received, envelope)
        await self._store_seen(connection, {envelope.stream: Seen.of(envelope)})
        self._count(received)
        return True, unit


class _Assignments(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Seeks to the database's offsets; takes no lock, so that it cannot deadlock with a fetch."""

    def __init__(self, runner: ConsumerRunner, client: AIOKafkaConsumer) -> None:
        self._runner = runner
        self._client = client

    async def on_partitions_revoked(self, _: Iterable[TopicPartition]) -> None:
        """Wait for nothing: a batch in hand either commits before the next owner looks, or is fenced."""
        self._runner.revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Continue where the database says."""
        await self._runner.assigned(self._client, assigned)


def _parts(records: Fetched) -> Iterator[Fetched]:
    """Give what was fetched in parts of at most BATCH messages, with a share of every partition; nothing once."""
    partitions = list(records)
    share = max(1, BATCH // max(1, len(partitions)))
    longest = max(map(len, records.values()), default=0)
    for at in range(0, max(1, longest), share):
        for first in range(0, max(1, len(partitions)), BATCH):  # one time, unless BATCH is less than the partitions
            chosen = partitions[first : first + BATCH]
            yield {one: part for one in chosen if (part := records[one][at : at + share])}


def _is_read(received: Received) -> bool:
    """Say whether a reactor has to do more about an event than to move past it."""
    return received.fact is not None or received.fault is not None


def _portions(partitions: Sequence[Sequence[Received]], size: int) -> Iterator[list[Received]]:
    """Give the events of partitions in portions with `size` that are read, those of each partition in their order."""
    portion: list[Received] = []
    read = 0
    for one in itertools.chain.from_iterable(partitions):
        portion.append(one)
        read += _is_read(one)
        if read == size:
            yield portion
            portion, read = [], 0
    if portion:
        yield portion


def _seen_of(rows: Sequence[Any]) -> dict[str, Seen]:
    """Return how far each stream was seen, of the rows of _SEEN."""
    return {row.stream: Seen(row.log_epoch, row.version) for row in rows}


def _in_order(batches: Mapping[TopicPartition, Sequence[Received]]) -> list[Received]:
    """Return the events of all partitions, those of each in their order."""
    return [received for _, batch in sorted(batches.items()) for received in batch]


class _Standing(NamedTuple):
    """What is known as a batch begins: its parked keys, its streams, and how far the projector is that it waits for."""

    parked: dict[str, str]
    seen: dict[str, Seen]
    known: Sequence[Any]


_offset = (
    consumer_offsets.c.consumer == bindparam("c"),
    consumer_offsets.c.topic == bindparam("t"),
    consumer_offsets.c.partition_no == bindparam("p"),
)
_MOVE = Statement(
    update(consumer_offsets)
    .where(*_offset, consumer_offsets.c.next_offset == bindparam("expected"))
    .values(next_offset=bindparam("next"))
)
_UNFENCED = Statement(
    update(consumer_offsets).where(*_offset, bindparam("expected") >= 0).values(next_offset=bindparam("next"))
)
_SEEN = Statement(
    select(consumer_versions.c.stream, consumer_versions.c.log_epoch, consumer_versions.c.version).where(
        consumer_versions.c.consumer == bindparam("consumer"),
        consumer_versions.c.stream.in_(bindparam("streams", expanding=True)),
    )
)
_insert_seen = upsert(consumer_versions)
_STORE_SEEN = Statement(
    _insert_seen.on_duplicate_key_update(
        log_epoch=_insert_seen.inserted.log_epoch, version=_insert_seen.inserted.version
    )
)


def _versions(model: Model) -> frozenset[int]:
    return model.SCHEMA_VERSIONS if issubclass(model, ForeignEvent) else frozenset({model.SCHEMA_VERSION})


def _trail_of(received: Received) -> AbstractContextManager[None]:
    """Let lines say what caused an event, as far as it can be read: the request that it goes back to, and its trace."""
    envelope = received.envelope
    if envelope is None:
        return contextlib.nullcontext()
    return trail(correlation_id=envelope.correlation_id, traceparent=envelope.traceparent)


def _reason(error: BaseException) -> str:
    """Return why an event cannot be applied, without what the error may quote: this goes to Kafka, and stays there."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{told(error)}{'' if harmless_text(error) else place}"[:2000]


def _parked(received: Received) -> ParkedEvent:
    return ParkedEvent(
        position=0,
        key=received.key,
        topic=received.topic,
        partition=received.partition,
        offset=received.offset,
        headers=tuple((name, value.decode("utf-8", "replace")) for name, value in received.headers),
        payload=None if received.payload is None else received.payload.decode("utf-8", "replace"),
    )


def _unparked(event: ParkedEvent) -> Received:
    return Received(
        event.topic,
        event.partition,
        event.offset,
        event.key,
        tuple((name, value.encode()) for name, value in event.headers),
        None if event.payload is None else event.payload.encode(),
    )
