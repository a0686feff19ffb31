"""Parked keys: what a consumer sets aside, so that the rest flows.

A key is parked for one consumer over all its topics, for one of three reasons: `poison` (an event can never be applied:
a person looks at it, see `dead_letters.py`), `gap` (a version is missing) or `held` (an event rests on a fact that the
consumer's projector has not seen). The last two heal by themselves. Later events of a parked key queue up behind it.
Whoever touches a parked key holds the lock of its row in `parked_keys`, so that arriving and draining take turns.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson
import structlog
from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Prerequisite
from lms.kernel.ids import new_id
from lms.kernel.metrics import PARKED_EVENTS, PARKED_KEYS, PARKED_OLDEST_AGE
from lms.kernel.pages import behind
from lms.kernel.schema import consumer_versions, outbox, parked_events, parked_keys
from lms.kernel.statements import Call, Statement

Kind = Literal["poison", "gap", "held", "retry"]
"""Why a key waits; `retry` is a poisoned key that a person has released."""

KINDS: tuple[Kind, ...] = ("poison", "gap", "held", "retry")
HELD_POLL = 0.25
"""Seconds between two looks at waiting keys while there are any."""

HELD_ALERT = timedelta(seconds=60)
KEYS_AT_ONCE = 200
"""Waiting keys that are looked at in one round; the next round goes on behind them."""

LARGEST_DEAD_LETTER = 1_000_000
"""Bytes of an event's value that a dead letter repeats: Kafka takes nothing larger than 4 MB, nor what is behind it."""

_EVENTS_AT_ONCE = 500

Waiting = Prerequisite

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """A message as it came from Kafka, waiting; `position` orders the events of a key."""

    position: int
    key: str
    topic: str
    partition: int
    offset: int
    headers: tuple[tuple[str, str], ...]
    payload: str | None


_PARKED = Statement(
    select(parked_keys.c.key_, parked_keys.c.kind)
    .where(parked_keys.c.consumer == bindparam("consumer"), parked_keys.c.key_.in_(bindparam("keys", expanding=True)))
    .order_by(parked_keys.c.key_)
    .with_for_update()
)
_KNOWN = Statement(
    select(consumer_versions.c.stream, consumer_versions.c.version).where(
        consumer_versions.c.consumer == bindparam("consumer"),
        consumer_versions.c.stream.in_(bindparam("streams", expanding=True)),
    )
)


def parked_among(consumer: str, keys: Collection[str]) -> Call:
    """Return the query for which of the keys are parked, and why (`key_`, `kind`), which also locks their rows."""
    return _PARKED.having(consumer=consumer, keys=sorted(keys))


async def park(
    connection: AsyncConnection,
    consumer: str,
    event: ParkedEvent,
    *,
    kind: Kind | None = None,
    reason: str = "",
    waiting: Waiting | None = None,
) -> None:
    """Set an event aside; with a `kind` its key is parked too, without it the key is parked already."""
    if kind is not None:
        await connection.execute(
            upsert(parked_keys).prefix_with("IGNORE"),
            {
                "consumer": consumer,
                "key_": event.key,
                "kind": kind,
                "reason": reason,
                "waiting_topic": waiting.topic if waiting else None,
                "waiting_stream": waiting.stream if waiting else None,
                "waiting_version": waiting.version if waiting else None,
                "since": datetime.now(UTC),
            },
        )
    await connection.execute(
        insert(parked_events),
        {
            "consumer": consumer,
            "key_": event.key,
            "topic": event.topic,
            "partition_no": event.partition,
            "offset_": event.offset,
            "headers": orjson.dumps(event.headers).decode(),
            "payload": event.payload,
        },
    )


Place = tuple[datetime, str]
"""Where a key stands among those that wait: since when, and its name."""


async def drainable_keys(connection: AsyncConnection, consumer: str, after: Place | None = None) -> list[Place]:
    """Return KEYS_AT_ONCE keys that may heal, the longest waiting first, `after` the last one that was looked at."""
    order = (parked_keys.c.since, parked_keys.c.key_)
    statement = select(*order).where(parked_keys.c.consumer == consumer, parked_keys.c.kind != "poison")
    if after is not None:
        statement = statement.where(behind(order, after))
    rows = await connection.execute(statement.order_by(*order).limit(KEYS_AT_ONCE))
    return [(row.since, row.key_) for row in rows]


async def lock_key(connection: AsyncConnection, consumer: str, key: str) -> str | None:
    """Lock a parked key and return its kind; None when it is not parked, or another copy has it in hand."""
    found = await connection.scalar(
        select(parked_keys.c.kind)
        .where(parked_keys.c.consumer == consumer, parked_keys.c.key_ == key)
        .with_for_update(skip_locked=True)
    )
    return None if found is None else str(found)


async def parked_events_of(
    connection: AsyncConnection, consumer: str, key: str, limit: int = _EVENTS_AT_ONCE
) -> list[ParkedEvent]:
    """Return the waiting events of a key, in the order of their arrival."""
    rows = await connection.execute(
        select(parked_events)
        .where(parked_events.c.consumer == consumer, parked_events.c.key_ == key)
        .order_by(parked_events.c.position)
        .limit(limit)
    )
    return [_event(row) for row in rows]


async def delete_parked(connection: AsyncConnection, position: int) -> None:
    """Forget a parked event: it was applied, or is of no use."""
    await connection.execute(delete(parked_events).where(parked_events.c.position == position))


async def delete_key(connection: AsyncConnection, consumer: str, key: str) -> None:
    """Let a key flow again."""
    await connection.execute(delete(parked_keys).where(parked_keys.c.consumer == consumer, parked_keys.c.key_ == key))


async def set_kind(connection: AsyncConnection, consumer: str, key: str, kind: Kind, reason: str) -> bool:
    """Change why a key waits; say whether it is parked at all."""
    changed = await connection.execute(
        update(parked_keys)
        .where(parked_keys.c.consumer == consumer, parked_keys.c.key_ == key)
        .values(kind=kind, reason=reason, since=datetime.now(UTC))
    )
    return bool(changed.rowcount)


def known_of(projector: str, wanted: Sequence[Prerequisite]) -> Call:
    """Return the query for how far a projector has seen the streams of the facts; `first_missing` reads its rows."""
    return _KNOWN.having(consumer=projector, streams={one.stream for one in wanted})


def first_missing(wanted: Sequence[Prerequisite], known: Sequence[Any]) -> Prerequisite | None:
    """Return the first of the facts that a projector has not seen."""
    seen: dict[str, int] = {row.stream: row.version for row in known}
    return next((one for one in wanted if seen.get(one.stream, 0) < one.version), None)


async def dead_letter(connection: AsyncConnection, topic: str, event: ParkedEvent, reason: str) -> None:
    """Publish a copy of a poison event, with its reason and where it was found, through the outbox.

    Of a very large value only the beginning goes with it: the whole is parked.
    """
    payload = (event.payload or "").encode()
    found_at = {
        "lms-reason": reason,
        "lms-topic": event.topic,
        "lms-partition-no": str(event.partition),
        "lms-offset": str(event.offset),
    }
    if len(payload) > LARGEST_DEAD_LETTER:
        found_at["lms-whole-size"] = str(len(payload))
    await connection.execute(
        insert(outbox),
        {
            "id": new_id(),
            "aggregatetype": topic,
            "aggregateid": event.key,
            "type": "dead-letter",
            "payload": payload[:LARGEST_DEAD_LETTER].decode("utf-8", "ignore"),
            "headers": orjson.dumps(dict(event.headers) | found_at).decode(),
            "recorded_at": datetime.now(UTC),
        },
    )


async def poisoned_since(connection: AsyncConnection, consumer: str, seconds: int) -> int:
    """Return how many keys were poisoned within the last `seconds`."""
    found = await connection.scalar(
        select(func.count())
        .select_from(parked_keys)
        .where(
            parked_keys.c.consumer == consumer,
            parked_keys.c.kind == "poison",
            parked_keys.c.since > datetime.now(UTC) - timedelta(seconds=seconds),
        )
    )
    return int(found or 0)


async def measure(connection: AsyncConnection, consumer: str) -> None:
    """Bring the gauges of parked keys up to date, and warn of a key that has been held for long."""
    rows = await connection.execute(
        select(parked_keys.c.kind, func.count().label("parked"), func.min(parked_keys.c.since).label("since"))
        .where(parked_keys.c.consumer == consumer)
        .group_by(parked_keys.c.kind)
    )
    found: dict[str, Any] = {row.kind: row for row in rows}
    for kind in KINDS:
        age = timedelta()
        if kind in found:
            age = datetime.now(UTC) - found[kind].since.replace(tzinfo=UTC)
        PARKED_KEYS.labels(consumer, kind).set(found[kind].parked if kind in found else 0)
        PARKED_OLDEST_AGE.labels(consumer, kind).set(max(0.0, age.total_seconds()))
        if kind == "held" and age > HELD_ALERT:
            _log.warning("a key is held for long: a fact that it rests on does not come", consumer=consumer)
    waiting = await connection.scalar(
        select(func.count()).select_from(parked_events).where(parked_events.c.consumer == consumer)
    )
    PARKED_EVENTS.labels(consumer).set(waiting or 0)


def _event(row: Any) -> ParkedEvent:
    return ParkedEvent(
        position=row.position,
        key=row.key_,
        topic=row.topic,
        partition=row.partition_no,
        offset=row.offset_,
        headers=tuple((str(name), str(value)) for name, value in orjson.loads(row.headers)),
        payload=row.payload,
    )
