from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from lms.kernel.database import Database
from lms.kernel.keyring import DDL


@pytest.fixture
async def database(emptied: Callable[..., str]) -> AsyncIterator[Database]:
    url = emptied("kit")
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        connection.execute(text("CREATE DATABASE IF NOT EXISTS keyring"))
        if connection.scalar(text("SHOW TABLES FROM keyring LIKE 'data_keys'")) is None:
            connection.execute(text(DDL))
        connection.execute(text("DELETE FROM keyring.data_keys"))  # those of other tests have another ENCRYPTION_KEY
    engine.dispose()
    database = Database(url, pool_size=10)
    yield database
    await database.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    redis = Redis.from_url(redis_url)
    yield redis
    await redis.aclose()
