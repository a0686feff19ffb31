"""The business clock: real UTC time, which development and tests may move ahead for all services at once.

The offset (seconds, a decimal number) lives in Redis under `lms:clock:offset`; whoever sets it publishes on the
channel of the same name, and every clock also looks once a second. Production refuses to start with an offset set and
reads none afterwards. While Redis is away the last known offset holds.
"""

import asyncio
import contextlib
from datetime import UTC, date, datetime, timedelta

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from lms.kernel.errors import ClockUnavailable
from lms.kernel.metrics import CLOCK_OFFSET
from lms.kernel.waiting import cancelled

OFFSET_KEY = "lms:clock:offset"
CHANNEL = "lms:clock:offset"
POLL = 1.0

_log = structlog.get_logger(__name__)
_AWAY = (RedisError, OSError, TimeoutError)


class ClockMovedInProduction(Exception):
    """The business clock has an offset where real people depend on it."""


class BusinessClock:
    """Tells the business instant and date. `start` it before the first use, `stop` it at the end."""

    def __init__(self, redis: Redis, *, production: bool = False) -> None:
        self._redis = redis
        self._production = production
        self._offset = timedelta()
        self._task: asyncio.Task[None] | None = None

    @property
    def offset(self) -> timedelta:
        """How far the business clock is ahead of real time."""
        return self._offset

    def now(self) -> datetime:
        """Return the business instant, in UTC."""
        return datetime.now(UTC) + self._offset

    def today(self) -> date:
        """Return the business date, in UTC."""
        return self.now().date()

    async def start(self) -> None:
        """Read the offset and follow it. Raises ClockMovedInProduction if production finds one."""
        with contextlib.suppress(*_AWAY):
            await self._read()
        if self._production:
            if self._offset:
                raise ClockMovedInProduction(
                    f"The business clock is {self._offset} ahead; delete the Redis key {OFFSET_KEY} and start again."
                )
            return
        self._task = asyncio.create_task(self._follow(), name="business clock")

    async def stop(self) -> None:
        """Stop following the offset."""
        if self._task is not None:
            await cancelled([self._task])
            self._task = None

    async def set_offset(self, offset: timedelta) -> None:
        """Move the clock of every process. Raises ClockMovedInProduction in production."""
        if self._production:
            raise ClockMovedInProduction("The business clock cannot be moved in production.")
        try:
            await write_offset(self._redis, offset)
        except _AWAY as error:
            raise ClockUnavailable("Redis is away, so the clock cannot be moved; try again.") from error
        self._offset = offset

    async def _read(self) -> None:
        found = await self._redis.get(OFFSET_KEY)
        offset = timedelta(seconds=float(found or 0))
        if offset != self._offset:
            self._offset = offset
            CLOCK_OFFSET.set(offset.total_seconds())
            _log.info("the business clock moved", offset_seconds=offset.total_seconds())

    async def _follow(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(CHANNEL)
                    while True:
                        await self._read()
                        await channel.get_message(ignore_subscribe_messages=True, timeout=POLL)
            except _AWAY:
                await asyncio.sleep(POLL)


class FixedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, instant: datetime) -> None:
        self._instant = instant.astimezone(UTC)

    def now(self) -> datetime:
        """Return the instant at which the clock stands."""
        return self._instant

    def today(self) -> date:
        """Return the date of that instant."""
        return self._instant.date()

    def advance(self, by: timedelta) -> None:
        """Move the clock ahead."""
        self._instant += by


async def write_offset(redis: Redis, offset: timedelta) -> None:
    """Move the business clock of every process that shares this Redis; zero brings real time back."""
    seconds = offset.total_seconds()
    if seconds:
        await redis.set(OFFSET_KEY, repr(seconds))
    else:
        await redis.delete(OFFSET_KEY)
    await redis.publish(CHANNEL, repr(seconds))
