"""What the tests of the kernel stand on: schemas of their own, and the settings of a service that has one."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import MetaData, create_engine
from sqlalchemy.engine import make_url

from lms.kernel.auth import public_key_of
from lms.kernel.schema import log, metadata
from lms.kernel.settings import KernelSettings, load


@pytest.fixture
def emptied(database_url: Callable[[str], str]) -> Callable[..., str]:
    """Return what makes a schema with the kernel's tables, and a test's own, all empty; it returns the URL."""

    def empty(schema: str, *own: MetaData) -> str:
        url = database_url(schema)
        engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
        for one in (*own, metadata):
            one.drop_all(engine)
            one.create_all(engine)
        with engine.begin() as connection:
            connection.execute(log.insert().values(id=1, log_epoch=1))
        engine.dispose()
        return url

    return empty


@pytest.fixture
def settings_of(emptied: Callable[..., str], kafka_bootstrap: str, redis_url: str) -> Callable[..., KernelSettings]:
    """Return what makes such a schema, and returns the settings of a service that has it."""

    def settings(schema: str, *own: MetaData, **more: Any) -> KernelSettings:
        given = {
            "database_url": SecretStr(emptied(schema, *own)),
            "redis_url": SecretStr(redis_url),
            "kafka_bootstrap_servers": kafka_bootstrap,
            "encryption_key": SecretStr("k" * 40),
            "jwt_public_key": public_key_of("s" * 64),
        }
        return load(KernelSettings, **{**given, **more})

    return settings
