"""The real servers and services that the tests run on: started once per session, on ports and in a folder of their own.

`servers` is Kafka, MySQL and Redis; `system` adds every service, two copies of each. Both start only when a test asks.
"""

import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pymysql
import pytest

from lms.cli.system import System

TESTER = "lms_tester"
_FIXTURES_WITH_SERVERS = {"servers", "system", "database_url", "redis_url", "kafka_bootstrap"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs real servers, so that the rest can be run alone and in parallel."""
    for item in items:
        if _FIXTURES_WITH_SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)


def _sql_of_the_tester(password: str) -> tuple[str, ...]:
    user = f"'{TESTER}'@'127.0.0.1'"
    return (
        f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}';",
        f"ALTER USER {user} IDENTIFIED BY '{password}';",
        f"GRANT ALL ON *.* TO {user} WITH GRANT OPTION;",
    )


@pytest.fixture(scope="session")
def test_home() -> Path:
    """An empty folder that the database server's own account can reach."""
    folder = Path(tempfile.mkdtemp(prefix="lms-test-", dir=os.environ.get("LMS_TEST_FOLDER")))
    folder.chmod(0o711)
    return folder


@pytest.fixture(scope="session")
async def servers(test_home: Path) -> AsyncIterator[System]:
    """Kafka, MySQL and Redis; the services are configured and not started."""
    system = System(test_home, copies=2, environment="test", extra_sql=())
    system.extra_sql = _sql_of_the_tester(system.home.secret(f"mysql:{TESTER}"))
    system.configure()
    try:
        await system.start_servers()
        yield system
    finally:
        system.down()
        if os.environ.get("LMS_TEST_KEEP"):
            print(f"\nthe logs of the test's servers are in {system.supervisor.logs}")  # noqa: T201  # asked for
        else:
            shutil.rmtree(test_home, ignore_errors=True)


@pytest.fixture(scope="session")
async def system(servers: System) -> System:
    """The whole system: every service, two copies of each, behind one gateway."""
    await servers.migrate()
    await servers.start_services()
    return servers


@pytest.fixture(scope="session")
def database_url(servers: System) -> Callable[[str], str]:
    """Return a function that makes a schema of its own for a name and gives its URL, for a user who may do anything."""

    def make(name: str) -> str:
        schema = "t_" + re.sub(r"\W", "_", name) + os.environ.get("PYTEST_XDIST_WORKER", "")
        connection = pymysql.connect(
            host="127.0.0.1", port=servers.mysql.port, user=TESTER, password=servers.home.secret(f"mysql:{TESTER}")
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`")
        return servers.mysql.url(TESTER, schema)

    return make


@pytest.fixture(scope="session")
def kafka_bootstrap(servers: System) -> str:
    """Where Kafka is."""
    return servers.kafka.bootstrap_servers


@pytest.fixture(scope="session")
def redis_url(servers: System) -> str:
    """A Redis database apart from the one that the services use."""
    return servers.redis.url.removesuffix("/0") + "/1"
