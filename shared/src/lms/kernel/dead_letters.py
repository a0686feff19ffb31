"""What a person does about parked keys: look, release, or give an event up.

    found = await parked(connection)                                # every key that waits, with its reason
    await retry(connection, "life-of-request", "employee-1")        # after the cause is mended
    await skip(connection, "life-of-request", "employee-1")         # the first event will never be applied

The running consumer does the rest: it looks at released keys every few seconds and applies their events in order.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.cloudevents import MalformedMessage, decode
from lms.kernel.errors import NotFound
from lms.kernel.event import Envelope
from lms.kernel.parking import ParkedEvent, delete_parked, lock_key, parked_events_of, set_kind
from lms.kernel.schema import consumer_versions, given_up_events, parked_events, parked_keys


class NotParked(NotFound):
    """The consumer has not parked that key."""

    code = "not-parked"


@dataclass(frozen=True, slots=True)
class ParkedKey:
    """A key that a consumer has set aside; `kind` is poison, gap, held or retry."""

    consumer: str
    key: str
    kind: str
    reason: str
    since: datetime
    events: int


async def parked(connection: AsyncConnection) -> list[ParkedKey]:
    """Return every parked key of the service, the longest waiting first."""
    counted = (
        select(func.count())
        .where(parked_events.c.consumer == parked_keys.c.consumer, parked_events.c.key_ == parked_keys.c.key_)
        .scalar_subquery()
    )
    rows = await connection.execute(select(parked_keys, counted.label("waiting")).order_by(parked_keys.c.since))
    return [
        ParkedKey(row.consumer, row.key_, row.kind, row.reason, row.since.replace(tzinfo=UTC), row.waiting)
        for row in rows
    ]


async def show(connection: AsyncConnection, consumer: str, key: str, limit: int = 50) -> list[ParkedEvent]:
    """Return the waiting events of a key, in order. Raises NotParked."""
    found = await parked_events_of(connection, consumer, key, limit)
    if not found:
        raise NotParked(f"{consumer} has parked nothing under {key!r}; `lms dlq list` shows what is parked.")
    return found


async def retry(connection: AsyncConnection, consumer: str, key: str) -> None:
    """Release a key: the consumer tries its events again, in order. Raises NotParked."""
    if not await set_kind(connection, consumer, key, "retry", "released by a person"):
        raise NotParked(f"{consumer} has not parked {key!r}; `lms dlq list` shows what is parked.")


async def skip(connection: AsyncConnection, consumer: str, key: str) -> ParkedEvent:
    """Give up the first event of a key, count it as seen, and release the rest; return what was given up.

    It stays given up: a rebuild of the consumer's views passes it over too.

    Raises NotParked, also while the consumer has the key in hand at this moment.
    """
    if await lock_key(connection, consumer, key) is None:
        raise NotParked(f"{consumer} has not parked {key!r}, or is applying it right now; look at `lms dlq list`.")
    first, *_ = await show(connection, consumer, key, 1)
    envelope = _envelope_of(first)
    if envelope is not None:
        statement = upsert(consumer_versions).values(
            consumer=consumer, stream=envelope.stream, log_epoch=envelope.log_epoch, version=envelope.version
        )
        seen, given_up = consumer_versions.c, statement.inserted
        later = tuple_(given_up.log_epoch, given_up.version) > tuple_(seen.log_epoch, seen.version)
        await connection.execute(
            statement.on_duplicate_key_update(
                [  # in this order: the first looks at both columns as they were
                    ("version", func.if_(later, given_up.version, seen.version)),
                    ("log_epoch", func.greatest(seen.log_epoch, given_up.log_epoch)),
                ]
            )
        )
        await connection.execute(
            upsert(given_up_events).prefix_with("IGNORE"), {"consumer": consumer, "event_id": envelope.event_id}
        )
    await delete_parked(connection, first.position)
    await retry(connection, consumer, key)
    return first


def _envelope_of(event: ParkedEvent) -> Envelope | None:
    """Return what an event's headers say, whatever its value is; None where they are no event's: it counts nowhere."""
    try:
        return decode(((name, value.encode()) for name, value in event.headers), b"{}")
    except MalformedMessage:
        return None
