"""A start prepares what is not as this version left it: schemas, tables and topics."""

import pymysql
from aiokafka.admin import AIOKafkaAdminClient
from sqlalchemy.engine import make_url
from tests.conftest import TESTER

from lms.cli import preparation
from lms.cli.system import System
from lms.kernel.kafka import Topic, declare


def execute(system: System, statement: str) -> None:
    url = make_url(system.mysql.url(TESTER, "lms_audit"))
    with pymysql.connect(
        host=url.host,
        port=url.port or 0,
        user=url.username,
        password=str(url.password),
        database=url.database,
        autocommit=True,
    ) as connection:
        connection.cursor().execute(statement)


async def found(system: System) -> str:
    return await preparation.found(system.mysql.url("lms_migrator", "lms_directory"), system.kafka)


async def test_a_start_prepares_again_only_what_is_not_as_it_was_left(system: System) -> None:
    await system.prepare()
    assert not await system.prepare()
    execute(system, "DROP TABLE idempotency")  # of the audit log, which takes no commands
    assert await system.prepare()
    execute(system, "SELECT * FROM idempotency")
    assert not await system.prepare()


async def test_a_schema_of_another_revision_shows(system: System) -> None:
    before = await found(system)
    execute(system, "UPDATE alembic_version SET version_num = CONCAT('-', version_num)")
    try:
        assert await found(system) != before
    finally:
        execute(system, "UPDATE alembic_version SET version_num = SUBSTR(version_num, 2)")
    assert await found(system) == before


async def test_other_topics_than_before_show(system: System) -> None:
    before = await found(system)
    brokers = system.kafka.bootstrap_servers
    await declare(brokers, [Topic("test.of.preparation", partitions=1)])
    after = await found(system)
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    try:
        await admin.start()
        await admin.delete_topics(["test.of.preparation"])
    finally:
        await admin.close()
    assert after != before
