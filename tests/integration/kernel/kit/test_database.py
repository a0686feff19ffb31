"""The pool: connections that the server has closed meanwhile are replaced before anybody notices."""

import asyncio

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel import database as databases
from lms.kernel.database import Database


async def _number(database: Database) -> int:
    async with database.transaction() as connection:
        return int(await connection.scalar(select(func.connection_id())) or 0)


@pytest.fixture
async def single(database: Database) -> Database:
    """A pool of one connection, which everything uses in turn."""
    return Database(database.url.render_as_string(hide_password=False), pool_size=1)


async def test_a_connection_that_the_server_closed_is_replaced(database: Database, single: Database) -> None:
    before = await _number(single)
    async with database.transaction() as connection:
        await connection.execute(text(f"KILL {before}"))
    async with asyncio.timeout(10):
        while await _lives(database, before):  # noqa: ASYNC110  # a condition in a database has no event
            await asyncio.sleep(0.01)
    assert await _number(single) != before
    await single.close()


async def test_a_connection_that_was_idle_is_asked_whether_its_server_answers(
    single: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await _number(single)
    monkeypatch.setattr(databases, "IDLE_SECONDS", -1.0)
    assert await _number(single) == before, "it answered"

    async def silent(_: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr("aiomysql.Connection.ping", silent)
    assert await _number(single) != before
    await single.close()


async def test_a_transaction_costs_no_round_trip_beside_its_statements_and_its_end(single: Database) -> None:
    async with single.transaction() as connection:
        before = await _questions(connection)
    async with single.transaction() as connection:
        after = await _questions(connection)
    assert after - before == 2, "the end of the first transaction, and the question itself"
    await single.close()


async def _questions(connection: AsyncConnection) -> int:
    found = await connection.execute(text("SHOW SESSION STATUS LIKE 'Questions'"))
    return int(found.one()[1])


async def _lives(database: Database, number: int) -> bool:
    async with database.transaction() as connection:
        rows = await connection.execute(text("SHOW PROCESSLIST"))
        return number in {int(row[0]) for row in rows}
