"""The real servers and services that the tests run on: started once per session, on ports and in a folder of their own.

`servers` is Kafka, MySQL and Redis; `system` adds every service, two copies of each. Both start only when a test asks.
What needs the servers' addresses alone also runs on containers: `LMS_TEST_SERVERS=containers` (`make test-containers`).
"""

import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy.engine import URL, make_url
from tests import containers

from lms.cli.system import System

# How fast an example runs says something about the machine, and nothing about the code.
settings.register_profile("lms", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lms")

TESTER = "lms_tester"
_FIXTURES_WITH_SERVERS = {"servers", "system", "addresses", "database_url", "redis_url", "kafka_bootstrap"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs real servers, so that the rest can be run alone and in parallel."""
    for item in items:
        if _FIXTURES_WITH_SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)


def sql_of_the_tester(password: str) -> tuple[str, ...]:
    """Return the SQL that makes the user by whom tests look at everything."""
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
    system = System(test_home, copies=2, environment="test", extra_sql=(), kafka_metrics=True)
    system.extra_sql = sql_of_the_tester(system.home.secret(f"mysql:{TESTER}"))
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
    await servers.prepare()
    await servers.start_services()
    return servers


@dataclass(frozen=True)
class Addresses:
    """Where the servers are; `mysql` lacks the schema, and its user may do anything."""

    mysql: URL
    kafka: str
    redis: str


@pytest.fixture(scope="session")
def addresses(request: pytest.FixtureRequest) -> Iterator[Addresses]:
    """The addresses of child processes, or of containers where the session was asked for them."""
    if os.environ.get("LMS_TEST_SERVERS", "processes") == "containers":
        with containers.started() as found:
            yield Addresses(make_url(found.mysql), found.kafka, found.redis)
        return
    servers: System = request.getfixturevalue("servers")
    redis = servers.redis.url.removesuffix("/0") + "/1"  # apart from the one that the services use
    yield Addresses(make_url(servers.mysql.url(TESTER, "")), servers.kafka.bootstrap_servers, redis)


@pytest.fixture(scope="session")
def database_url(addresses: Addresses) -> Callable[[str], str]:
    """Return a function that makes a schema of its own for a name and gives its URL, for a user who may do anything."""

    def make(name: str) -> str:
        schema = "t_" + re.sub(r"\W", "_", name) + os.environ.get("PYTEST_XDIST_WORKER", "")
        mysql = addresses.mysql
        connection = pymysql.connect(
            host=mysql.host or "", port=mysql.port or 0, user=mysql.username, password=mysql.password or ""
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`")
        return mysql.set(database=schema).render_as_string(hide_password=False)

    return make


@pytest.fixture(scope="session")
def kafka_bootstrap(addresses: Addresses) -> str:
    """Where Kafka is."""
    return addresses.kafka


@pytest.fixture(scope="session")
def redis_url(addresses: Addresses) -> str:
    """A Redis database of the tests' own."""
    return addresses.redis
