"""Recovery: what each service does after its schema was restored, or Kafka was lost, before it may run again.

`lms restore` brings every schema back to one instant of one database server, and leaves a row in each service's
`restoration`; while it is there the service does not start. `--republish` does what the row asks for, and removes it:

1. The service's topics are made anew and get every fact of its log, in the order of the log, under the epoch that each
   fact was appended in. So a consumer that had seen a fact skips it, and one that had not applies it.
2. In one transaction the log's epoch is raised, for all that is appended from now on; what waited in the outbox and is
   in the log is taken out of it; and the service's consumers forget where they stood in topics that are gone: they read
   the new ones from the beginning, and know by the versions that they have seen what is old. Parked keys are forgotten
   with the offsets that they name, and park anew; those that a person must look at stay parked.
3. Behind the last fact of before, `Restored` stands in every partition of every topic, in the new epoch.

All schemas came back to one point in the order of the server's commits. A fact is published, and then consumed, only
after it was committed, so no consumer of ours has seen a fact that the restored logs lack. Subscribers that keep their
own books may have: `Restored` tells them what to do.

Every step may be repeated, so that an interrupted run is simply run again.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

import orjson
import structlog
from redis.asyncio import Redis
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.clock import OFFSET_KEY
from lms.kernel.cloudevents import encode_headers
from lms.kernel.database import Database, error_number, is_transient
from lms.kernel.event import Event
from lms.kernel.eventstore import Append, Causality, EventStore, topic_of
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, Topic, is_away, recreate
from lms.kernel.rebuild import Progress, Tell
from lms.kernel.schema import (
    consumer_offsets,
    events,
    job_leases,
    log,
    outbox,
    parked_events,
    parked_keys,
    relay_lease,
    restoration,
)

PAGE = 2_000
"""Facts that are read and sent at once."""

ANSWER_SECONDS = 3.0
"""How long a starting service waits for its database to say whether a restore is under way."""

PUBLISH_SECONDS = 180.0
"""How long facts are sent again to a broker that does not take them."""

_NO_SUCH_TABLE = 1146

_log = structlog.get_logger(__name__)


class Restored(Event):
    """The topic was made anew. It stands in every partition, behind all that was kept and before all that is new.

    `restored_to` is the instant (UTC) that the database was brought back to, None when Kafka alone was lost. `kept` are
    the facts of the topic before this one, and `kept_head` is the id of the newest of them. `abandoned` are the facts
    that were recorded after that instant and are void, `abandoned_head` is the id of the newest of those; None where
    nobody knows, because the database's log was lost with them.

    A subscriber that meets a higher `logepoch` than it knows, here or on another fact, begins at the first offset of
    every partition again, and skips what it has seen by (logepoch, streamversion). When it comes to this fact, whatever
    it holds of a stream of this partition beyond the version that it met again in front of it was abandoned.
    """

    TYPE: ClassVar[str] = "log.restored"

    restored_to: datetime | None
    kept: int
    kept_head: str | None
    abandoned: int | None
    abandoned_head: str | None


EXAMPLE = Restored(
    restored_to=datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
    kept=1841,
    kept_head="01954f1e-7a3b-7c2d-8e4f-5a6b7c8d9e0f",
    abandoned=3,
    abandoned_head="01954f2a-1b2c-7d3e-9f40-6b7c8d9e0f1a",
)


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Facts of one topic that a restore gave up: how many, and the id of the newest."""

    facts: int = 0
    head: str | None = None


@dataclass(frozen=True, slots=True)
class Restoration:
    """What was done to a service's schema and is not finished.

    `log_epoch` is the epoch of what is appended from now on. `restored_to` is None when the database is as it was and
    Kafka was lost. `abandoned` is what is known of given-up facts by topic (a topic that is not there lost none), None
    where nothing is known.
    """

    log_epoch: int
    restored_to: datetime | None
    abandoned: Mapping[str, Abandoned] | None = None

    def values(self) -> dict[str, Any]:
        """Return the row."""
        told: str | None = None
        if self.abandoned is not None:
            told = orjson.dumps({topic: (one.facts, one.head) for topic, one in self.abandoned.items()}).decode()
        return {"id": 1, "log_epoch": self.log_epoch, "restored_to": self.restored_to, "abandoned": told}


@dataclass(frozen=True, slots=True)
class Republished:
    """What was done: facts brought to Kafka, and how long it took."""

    log_epoch: int
    facts: int
    seconds: float


class NothingToRepublish(Exception):
    """No restore waits to be finished."""


class RestoreUnfinished(Exception):
    """The schema was restored, and its topics were not made anew yet: the service must not run."""


class EpochUsed(Exception):
    """The log stands at this epoch already, or at a later one."""


class UnknownTopic(Exception):
    """The log has facts for a topic that this deployment does not publish to."""


class RecoveringRuntime(Protocol):
    """What is needed of a process; it need not have been started."""

    database: Database
    store: EventStore
    producer: Producer
    redis: Redis

    @property
    def service(self) -> Any:
        """The wiring: what it publishes, its consumers, and what it does itself when it was restored."""
        ...

    @property
    def settings(self) -> Any:
        """The settings, for `kafka_bootstrap_servers`."""
        ...


async def begin(connection: AsyncConnection, restoration_: Restoration) -> None:
    """Leave word in a service's schema, in the caller's transaction, that a restore waits to be finished.

    Raises EpochUsed unless the log stands at an earlier epoch.
    """
    current = int(await connection.scalar(select(log.c.log_epoch).where(log.c.id == 1)) or 1)
    if current >= restoration_.log_epoch:
        raise EpochUsed(f"The log epoch {restoration_.log_epoch} is not new: the log stands at {current}.")
    await connection.execute(delete(restoration))
    await connection.execute(insert(restoration).values(restoration_.values()))


async def pending(connection: AsyncConnection) -> Restoration | None:
    """Return the restore that waits to be finished, if one does."""
    try:
        row = (await connection.execute(select(restoration).where(restoration.c.id == 1))).first()
    except ProgrammingError as error:
        if error_number(error) == _NO_SUCH_TABLE:
            return None
        raise
    if row is None:
        return None
    told = None if row.abandoned is None else orjson.loads(row.abandoned)
    return Restoration(
        log_epoch=row.log_epoch,
        restored_to=None if row.restored_to is None else row.restored_to.replace(tzinfo=UTC),
        abandoned=None if told is None else {topic: Abandoned(*one) for topic, one in told.items()},
    )


async def refuse_while_pending(database: Database) -> None:
    """Raise RestoreUnfinished if a restore waits to be finished. A database that is away, or hangs, says nothing."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS), database.read() as connection:
            found = await pending(connection)
    except Exception as error:
        if not is_transient(error):
            raise
        return
    if found is not None:
        raise RestoreUnfinished(
            f"{database.schema} was restored, and its topics were not made anew yet (log epoch {found.log_epoch}): run"
            " `lms restore` again, or this service with `--republish`."
        )


async def republish(runtime: RecoveringRuntime, tell: Tell) -> Republished:
    """Finish the restore of a service; no process of it may run. Raises NothingToRepublish."""
    began = time.monotonic()
    async with runtime.database.read() as connection:
        found = await pending(connection)
        if found is None:
            raise NothingToRepublish("No restore waits to be finished; `lms restore` begins one.")
    service = runtime.service
    topics = [Topic(one) for one in service.publishes] + service.dead_letter_topics()
    await recreate(runtime.settings.kafka_bootstrap_servers, topics)
    kept = await _publish_all(runtime, tell)
    await forget_caches(runtime.redis)
    async with runtime.database.transaction() as connection:
        await connection.execute(update(log).where(log.c.id == 1).values(log_epoch=found.log_epoch))
        await _begin_anew(connection)
        await _tell_restored(connection, runtime.store, found, kept)
    if service.on_restored is not None:
        await service.on_restored(runtime, found)
    async with runtime.database.transaction() as connection:
        await connection.execute(delete(restoration))
    return Republished(found.log_epoch, sum(one.facts for one in kept.values()), time.monotonic() - began)


async def forget_caches(redis: Redis) -> None:
    """Empty Redis, which may know of what was abandoned; the business clock of a demo stays where it was moved to."""
    offset = await redis.get(OFFSET_KEY)
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.flushdb()
        if offset is not None:
            pipeline.set(OFFSET_KEY, offset)
        await pipeline.execute()


@dataclass(slots=True)
class _Kept:
    """The facts of a topic."""

    facts: int = 0
    head: str | None = None


async def _publish_all(runtime: RecoveringRuntime, tell: Tell) -> dict[str, _Kept]:
    """Bring every fact of the log to Kafka, in the order of the log; return what stands in each topic."""
    kept = {topic: _Kept() for topic in runtime.service.publishes}
    topics = tuple(kept)
    async with runtime.database.snapshot() as connection:
        total = int(await connection.scalar(select(func.max(events.c.global_position))) or 0)
        for start in range(0, total, PAGE):
            rows = await connection.execute(
                select(events)
                .where(events.c.global_position > start, events.c.global_position <= start + PAGE)
                .order_by(events.c.global_position)
            )
            run: list[Message] = []
            for row in rows:
                topic, envelope = topic_of(row), runtime.store.envelope(row)
                headers = encode_headers(envelope)
                if topic not in kept:
                    raise UnknownTopic(f"{envelope.stream} goes to {topic}, and {runtime.service.name} does not.")
                kept[topic].facts += 1
                kept[topic].head = envelope.event_id
                if envelope.copies == 1:
                    run.append(Message(topic, envelope.key, row.data, headers))
                    continue
                await _send(runtime.producer, run)  # its copies stand behind all that was recorded before it
                copies = [Message(topic, envelope.key, row.data, headers, number) for number in range(envelope.copies)]
                await _send(runtime.producer, copies)
                run = []
            await _send(runtime.producer, run)
            tell(Progress(topics, "publishing", min(start + PAGE, total), total))
    return kept


async def _send(producer: Producer, messages: Sequence[Message]) -> None:
    """Send facts, again while the broker is not up to it: it has just deleted and made all the topics.

    What it took of them before comes twice, which is harmless. Raises what the last try raised after PUBLISH_SECONDS.
    """
    until, pause = time.monotonic() + PUBLISH_SECONDS, 0.5
    while True:
        try:
            await producer.send_all(messages)
        except Exception as error:
            if not is_away(error) or time.monotonic() > until:
                raise
            _log.warning("facts could not be sent; they are sent again", reason=error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
        else:
            return


async def _begin_anew(connection: AsyncConnection) -> None:
    """Forget what was bound to topics and processes that are gone."""
    recorded = select(events.c.event_id).where(events.c.event_id == outbox.c.id)
    await connection.execute(delete(outbox).where(recorded.exists()))
    await connection.execute(delete(consumer_offsets))
    await connection.execute(delete(parked_events))
    await connection.execute(delete(parked_keys).where(parked_keys.c.kind != "poison"))
    await connection.execute(update(relay_lease).values(expires_at=func.now(6)))
    await connection.execute(delete(job_leases))


async def _tell_restored(
    connection: AsyncConnection, store: EventStore, found: Restoration, kept: Mapping[str, _Kept]
) -> None:
    """Append `Restored` to each topic, unless an interrupted run has."""
    cause = new_id()
    for topic, facts in kept.items():
        stream = f"log-{topic}"
        newest = await connection.scalar(select(func.max(events.c.log_epoch)).where(events.c.stream == stream))
        if newest == found.log_epoch:
            continue
        lost = None if found.abandoned is None else found.abandoned.get(topic, Abandoned())
        told = Restored(
            restored_to=found.restored_to,
            kept=facts.facts,
            kept_head=facts.head,
            abandoned=None if lost is None else lost.facts,
            abandoned_head=None if lost is None else lost.head,
        )
        expected = await store.head(connection, stream)
        append = Append(topic, stream, stream, expected, [told], every_partition=True)
        await store.append(connection, [append], Causality(cause, cause))
