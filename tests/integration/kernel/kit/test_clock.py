import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from lms.kernel.clock import OFFSET_KEY, BusinessClock, ClockMovedInProduction

YEAR = timedelta(days=365)


@pytest.fixture(autouse=True)
async def _real_time(redis: Redis) -> AsyncIterator[None]:
    await redis.delete(OFFSET_KEY)
    yield
    await redis.delete(OFFSET_KEY)


def near(one: datetime, other: datetime) -> bool:
    return abs(one - other) < timedelta(seconds=5)


async def test_moving_the_clock_moves_every_process(redis: Redis) -> None:
    here, there = BusinessClock(redis), BusinessClock(redis)
    await here.start()
    await there.start()
    try:
        await asyncio.sleep(0.1)
        await here.set_offset(YEAR)
        assert near(here.now(), datetime.now(UTC) + YEAR)
        await asyncio.sleep(1.5)  # longer than the poll, which is what remains when a publish is lost
        assert there.offset == YEAR
        assert there.today() == here.today()
    finally:
        await here.stop()
        await there.stop()


async def test_a_process_that_starts_later_finds_the_clock_moved(redis: Redis) -> None:
    await BusinessClock(redis).set_offset(YEAR)
    late = BusinessClock(redis)
    await late.start()
    await late.stop()
    assert near(late.now(), datetime.now(UTC) + YEAR)


async def test_production_refuses_a_moved_clock(redis: Redis) -> None:
    with pytest.raises(ClockMovedInProduction):
        await BusinessClock(redis, production=True).set_offset(YEAR)
    await BusinessClock(redis).set_offset(YEAR)
    with pytest.raises(ClockMovedInProduction, match=OFFSET_KEY):
        await BusinessClock(redis, production=True).start()


async def test_the_clock_runs_on_while_redis_is_away() -> None:
    clock = BusinessClock(Redis.from_url("redis://127.0.0.1:1"))
    await clock.start()
    assert near(clock.now(), datetime.now(UTC))
    await clock.stop()
