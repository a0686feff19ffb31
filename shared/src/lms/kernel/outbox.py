"""The outbox relay: brings committed facts to Kafka, in order, at least once.

Facts are written to `outbox` in the transaction of their events. One relay per service publishes them at a time; it
holds a lease by the database's clock with an epoch that rises with every change of holder. A row is deleted only after
the broker acknowledged it, in a transaction that checks the epoch. A holder that slept past its lease may repeat facts
on the wire (consumers skip them by their stream version) but can never lose one.

Rows are read by what is unpublished, not by `position > last`: auto-increment values commit out of order, and whoever
remembers a position loses the row that commits late. Facts of one stream commit in the order of their positions, for
each append needs its predecessor committed; so order per stream holds.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Any

import orjson
import structlog
from sqlalchemy import bindparam, delete, func, select, text
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.exc import DBAPIError

from lms.kernel.cloudevents import PARTITION_HEADER
from lms.kernel.database import Database, is_contention, is_transient
from lms.kernel.failpoints import disabled, failpoint
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, is_away
from lms.kernel.metrics import RELAY_FAILURES, RELAY_LEASE, RELAYED
from lms.kernel.schema import outbox, relay_lease
from lms.kernel.statements import Statement
from lms.kernel.tracing import exporting, record
from lms.kernel.waiting import at_most

BATCH = 500
LEASE = timedelta(seconds=5)
POLL = 1.0
_log = structlog.get_logger(__name__)


_held_by = (relay_lease.c.id == 1, relay_lease.c.holder == bindparam("holder"))
_UNPUBLISHED = Statement(select(outbox).order_by(outbox.c.position).limit(BATCH))
_LEASE = Statement(select(relay_lease.c.epoch).where(*_held_by).with_for_update())
_FORGET = Statement(
    delete(outbox).where(
        outbox.c.position == bindparam("position"),
        select(relay_lease.c.epoch).where(*_held_by).scalar_subquery() == bindparam("epoch"),
    )
)
"""Sent behind `_LEASE`, which has the lease's row locked: a holder of another epoch forgets nothing.

One row at a time: for a list of positions the database would rather look through the whole of a short table, and wait
for every row that a command under way has inserted and not committed.
"""
_FORGET_UNFENCED = Statement(delete(outbox).where(outbox.c.position == bindparam("position")))


class LeaseLost(Exception):
    """Another copy relays now."""


class Relay:
    """Publishes one service's outbox; every copy of the service runs one, and one of them holds the lease."""

    def __init__(self, database: Database, producer: Producer, service: str) -> None:
        self._database = database
        self._producer = producer
        self._service = service
        self._holder = f"{socket.gethostname()[:30]}.{os.getpid()}.{new_id()[-8:]}"
        self._epoch: int | None = None
        self._renew_at = 0.0
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Tell the relay that there is something to publish; without it the relay looks once a second."""
        self._wake.set()

    def start(self) -> None:
        """Run in the background until `stop`."""
        self._task = asyncio.create_task(self._run(), name=f"{self._service} outbox relay")

    @property
    def holds_lease(self) -> bool:
        """Whether this copy is the one that publishes, as far as it knows."""
        return self._epoch is not None

    async def stop(self, *, flush: float = 2.0) -> None:
        """Publish what is left, for at most `flush` seconds, and give the lease back."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(flush):
                    await self._task
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1.0):
                await self._release()

    async def _run(self) -> None:
        pause = 0.05
        while True:
            try:
                busy = await self._step()
                pause = 0.05
            except LeaseLost:
                _log.info("the outbox lease went to another copy", holder=self._holder)
                self._lost()
                continue
            except Exception as error:  # noqa: BLE001  # nothing may end the relay: what failed is tried again
                RELAY_FAILURES.inc()
                _log.warning(
                    "the outbox relay tries again",
                    reason=error,
                    exc_info=not (is_transient(error) or is_away(error)),
                )
                if self._stopping:
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
                continue
            if not busy:
                if self._stopping:
                    return
                await self._sleep(POLL)

    async def _step(self) -> bool:
        """Publish one batch if this copy holds the lease; say whether there is more at once.

        What is committed while a batch that was not full goes out wakes the relay by itself.
        """
        published = await self._publish_batch() if await self._hold() else 0
        return published == BATCH or (self._stopping and published > 0)

    async def _sleep(self, seconds: float) -> None:
        await at_most(seconds, self._wake.wait())
        self._wake.clear()

    async def _hold(self) -> bool:
        """Renew the lease or take a free one; say whether this copy may publish."""
        seconds = LEASE.total_seconds()
        if self._epoch is not None and time.monotonic() < self._renew_at:
            return True
        renew_at = time.monotonic() + seconds / 2
        async with self._database.transaction() as connection:
            if self._epoch is not None:
                renewed = await connection.execute(
                    text(
                        "UPDATE relay_lease SET expires_at = NOW(6) + INTERVAL :seconds SECOND"
                        " WHERE id = 1 AND holder = :holder AND epoch = :epoch"
                    ),
                    {"seconds": seconds, "holder": self._holder, "epoch": self._epoch},
                )
                if renewed.rowcount:
                    self._renew_at = renew_at
                    return True
                self._lost()
            # Not IGNORE: its shared lock, made exclusive below, would deadlock with a holder who publishes.
            await connection.execute(
                upsert(relay_lease)
                .values(id=1, holder="", epoch=0, expires_at=func.now(6))
                .on_duplicate_key_update(id=1)
            )
            taken = await connection.execute(
                text(
                    "UPDATE relay_lease SET holder = :holder, epoch = epoch + 1,"
                    " expires_at = NOW(6) + INTERVAL :seconds SECOND WHERE id = 1 AND expires_at <= NOW(6)"
                ),
                {"seconds": seconds, "holder": self._holder},
            )
            if not taken.rowcount:
                return False
            self._epoch = int(await connection.scalar(select(relay_lease.c.epoch).where(relay_lease.c.id == 1)) or 0)
            self._renew_at = renew_at
            RELAY_LEASE.set(1)
            _log.info("this copy relays the outbox", holder=self._holder, epoch=self._epoch)
            return True

    def _lost(self) -> None:
        self._epoch = None
        RELAY_LEASE.set(0)

    async def _release(self) -> None:
        if self._epoch is None:
            return
        async with self._database.transaction() as connection:
            await connection.execute(
                text("UPDATE relay_lease SET expires_at = NOW(6) WHERE id = 1 AND holder = :holder AND epoch = :epoch"),
                {"holder": self._holder, "epoch": self._epoch},
            )

    async def _publish_batch(self) -> int:
        (unpublished,) = await self._database.at_once(_UNPUBLISHED.having())
        rows = unpublished.rows
        if not rows:
            return 0
        failpoint("relay.after-read")
        await self._send(rows)
        failpoint("relay.after-publish")
        if exporting():
            self._trace(rows)
        await self._mark_patiently([row.position for row in rows])
        failpoint("relay.after-mark")
        RELAYED.inc(len(rows))
        return len(rows)

    def _trace(self, rows: Sequence[Any]) -> None:
        """Show in the trace of each fact how long it waited, and when the broker had it."""
        ended = time.time_ns()
        for row in rows:
            record(
                f"send {row.aggregatetype}",
                traceparent=orjson.loads(row.headers).get("traceparent"),
                kind="producer",
                begin_ns=int(row.recorded_at.replace(tzinfo=UTC).timestamp() * 1e9),
                end_ns=ended,
                attributes={
                    "messaging.system": "kafka",
                    "messaging.operation.name": "send",
                    "messaging.destination.name": row.aggregatetype,
                    "messaging.message.id": row.id,
                    "lms.event.type": row.type,
                },
            )

    async def _send(self, rows: Sequence[Any]) -> None:
        """Send in order; the copies of a fact for every partition wait until all before them is acknowledged."""
        run: list[Message] = []
        for row in rows:
            headers: dict[str, str] = orjson.loads(row.headers)
            partition = headers.pop(PARTITION_HEADER, None)
            if partition is not None and run and run[-1].partition is None:
                await self._producer.send_all(run)
                run = []
            run.append(
                Message(
                    row.aggregatetype,
                    row.aggregateid,
                    row.payload,
                    headers,
                    None if partition is None else int(partition),
                )
            )
        await self._producer.send_all(run)

    async def _mark_patiently(self, positions: Sequence[int]) -> None:
        """Mark, again and again while commands stand in the way: publishing the batch anew would cost more."""
        while True:
            try:
                return await self._mark(positions)
            except DBAPIError as error:
                if not is_contention(error):
                    raise

    async def _mark(self, positions: Sequence[int]) -> None:
        fenced = not disabled("relay.fencing")
        forget, fence = (_FORGET, {"holder": self._holder, "epoch": self._epoch}) if fenced else (_FORGET_UNFENCED, {})
        lease, _ = await self._database.at_once(
            _LEASE.having(holder=self._holder), forget.of([{**fence, "position": one} for one in positions])
        )
        if fenced and (not lease.rows or lease.rows[0].epoch != self._epoch):
            raise LeaseLost
