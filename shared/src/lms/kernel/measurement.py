"""What must be looked up to be measured: outbox, lag, parked keys, drift, and a service's own gauges.

Every copy that works looks for itself, every few seconds, into MySQL and Kafka: what a copy does not have in hand (a
consumer that has stopped, a lease that another one holds) it still tells truly, and dashboards take the largest of the
copies' answers. A look that fails leaves its gauges as they were and `gauges_measured_timestamp_seconds` behind, which
an alert watches.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from aiokafka import TopicPartition
from sqlalchemy import func, select

from lms.kernel.consumer import Consumer
from lms.kernel.database import Database
from lms.kernel.kafka import Ends
from lms.kernel.metrics import (
    CONSUMER_LAG,
    CONSUMER_LAG_SECONDS,
    DRIFT_CHECKED,
    DRIFT_EXAMINED,
    DRIFT_FAULTS,
    EVENT_LOOP_LAG,
    GAUGES_MEASURED,
    OUTBOX_OLDEST_AGE,
    OUTBOX_PENDING,
)
from lms.kernel.parking import measure as measure_parked
from lms.kernel.schema import consumer_offsets, outbox, verifications

EVERY = 5.0
"""Seconds between two looks."""

PATIENCE = 10.0
"""Seconds that a look may take."""

_LOOP_TICK = 0.5

_log = structlog.get_logger(__name__)

Measure = Callable[[Any], Awaitable[None]]
"""Brings a service's own gauges up to date, given its Runtime; named by the function in logs and metrics."""


class MeasuredService(Protocol):
    """What is needed of the wiring."""

    @property
    def consumers(self) -> Sequence[Consumer]:
        """The service's consumers."""
        ...

    @property
    def measures(self) -> Sequence[Measure]:
        """What the service measures of its own."""
        ...

    @property
    def subscribes(self) -> Sequence[str]:
        """The topics that its consumers read."""
        ...


class MeasuredRuntime(Protocol):
    """What is needed of a process."""

    database: Database

    @property
    def settings(self) -> Any:
        """Its settings."""
        ...

    @property
    def service(self) -> MeasuredService:
        """The wiring of the service."""
        ...


async def measure_event_loop() -> None:
    """Observe for ever how late this process's event loop is."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LOOP_TICK
        await asyncio.sleep(_LOOP_TICK)
        EVENT_LOOP_LAG.observe(max(0.0, loop.time() - due))


async def measure_stores(runtime: MeasuredRuntime) -> None:
    """Bring the gauges up to date for ever; what fails is told once and tried again."""
    ends = Ends(runtime.settings.kafka_bootstrap_servers)
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "outbox": lambda: _outbox(runtime.database),
        "parked-keys": lambda: _parked(runtime),
        "drift": lambda: _drift(runtime.database),
    }
    if runtime.service.consumers:
        parts["lag"] = lambda: _lag(runtime, ends)
    for measure in runtime.service.measures:
        parts[measure.__name__.replace("_", "-")] = _bound(measure, runtime)
    failing: set[str] = set()
    try:
        while True:
            for part, look in parts.items():
                try:
                    async with asyncio.timeout(PATIENCE):
                        await look()
                except Exception as error:  # noqa: BLE001  # the next look may succeed
                    if part not in failing:
                        failing.add(part)
                        _log.warning("a measurement failed; it is tried again", part=part, reason=error)
                else:
                    failing.discard(part)
                    GAUGES_MEASURED.labels(part).set_to_current_time()
            await asyncio.sleep(EVERY)
    finally:
        await ends.close()


def _bound(measure: Measure, runtime: MeasuredRuntime) -> Callable[[], Awaitable[None]]:
    return lambda: measure(runtime)


async def _outbox(database: Database) -> None:
    async with database.read() as connection:
        row = (await connection.execute(select(func.count(), func.min(outbox.c.recorded_at)))).one()
    pending, oldest = int(row[0]), row[1]
    OUTBOX_PENDING.set(pending)
    OUTBOX_OLDEST_AGE.set(_age(oldest))


async def _parked(runtime: MeasuredRuntime) -> None:
    for consumer in runtime.service.consumers:
        async with runtime.database.read() as connection:
            await measure_parked(connection, consumer.name)


async def _drift(database: Database) -> None:
    async with database.read() as connection:
        rows = (await connection.execute(select(verifications))).all()
    for gauge in (DRIFT_FAULTS, DRIFT_EXAMINED, DRIFT_CHECKED):
        gauge.clear()  # a check that is no more says nothing more
    for row in rows:
        DRIFT_FAULTS.labels(row.check_).set(row.faults)
        DRIFT_EXAMINED.labels(row.check_).set(row.examined)
        DRIFT_CHECKED.labels(row.check_).set(row.checked_at.replace(tzinfo=UTC).timestamp())


async def _lag(runtime: MeasuredRuntime, ends: Ends) -> None:
    """Compare where the consumers stand in the database with where the topics end."""
    last = await ends.of(runtime.service.subscribes)  # first the ends: what is consumed meanwhile counts as no lag
    async with runtime.database.read() as connection:
        rows = await connection.execute(select(consumer_offsets))
        stands = {(row.consumer, row.topic, row.partition_no): int(row.next_offset) for row in rows}
    behind: dict[str, dict[TopicPartition, int]] = {}
    for consumer in runtime.service.consumers:
        lags = dict.fromkeys(consumer.topics, 0)
        for one, end in last.items():
            if one.topic in lags:
                stand = stands.get((consumer.name, one.topic, one.partition), 0)
                lags[one.topic] += max(0, end - stand)
                if stand < end:
                    behind.setdefault(consumer.name, {})[one] = stand
        for topic, lag in lags.items():
            CONSUMER_LAG.labels(consumer.name, topic).set(lag)
    for consumer in runtime.service.consumers:
        written = await ends.written_at(behind.get(consumer.name, {}))
        oldest = min(written.values(), default=None)
        CONSUMER_LAG_SECONDS.labels(consumer.name).set(0.0 if oldest is None else max(0.0, time.time() - oldest))


def _age(since: datetime | None) -> float:
    return 0.0 if since is None else max(0.0, (datetime.now(UTC) - since.replace(tzinfo=UTC)).total_seconds())


def settle(gauge: Any, values: Mapping[str, float]) -> None:
    """Set a gauge's values by its one label, and forget the values that are not named."""
    gauge.clear()
    for label, value in values.items():
        gauge.labels(label).set(value)
