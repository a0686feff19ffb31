"""What the tests of the kernel stand on: schemas of their own, and the settings of a service that has one."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import MetaData
from tests import schemas
from tests.integration.kernel.town import Town, founded

from lms.kernel.auth import public_key_of
from lms.kernel.settings import KernelSettings, load


@pytest.fixture
def emptied(database_url: Callable[[str], str]) -> Callable[..., str]:
    """Return what makes a schema with the kernel's tables, and a test's own, all empty; it returns the URL."""

    def empty(schema: str, *own: MetaData) -> str:
        return schemas.emptied(database_url(schema), *own)

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


@pytest.fixture
async def town(emptied: Callable[..., str], kafka_bootstrap: str, redis_url: str) -> AsyncIterator[Town]:
    """A bank and those who count its deposits, none of them started."""
    async with founded(emptied, kafka_bootstrap, redis_url) as made:
        yield made
