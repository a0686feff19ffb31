from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis
from tests.schemas import with_keyring

from lms.kernel.database import Database


@pytest.fixture
async def database(emptied: Callable[..., str]) -> AsyncIterator[Database]:
    # the keys of other tests have another ENCRYPTION_KEY
    database = Database(with_keyring(emptied("kit"), emptied=True), pool_size=10)
    yield database
    await database.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    redis = Redis.from_url(redis_url)
    yield redis
    await redis.aclose()
