"""The pool: connections are given out in turn; those that the server has closed are replaced before anybody notices."""

import asyncio

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import TimeoutError as PoolTimeout
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


async def test_whoever_waits_for_a_connection_gets_it_before_those_who_ask_later(single: Database) -> None:
    served: list[str] = []

    async def use(who: str) -> None:
        async with single.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            served.append(who)

    async def use_again_and_again(who: str) -> None:
        for _ in range(20):
            await use(who)

    await _number(single)  # the connection is there
    await asyncio.gather(use_again_and_again("busy"), use("patient"), use("late"))
    assert served[:4] == ["busy", "patient", "late", "busy"]
    await single.close()


async def test_who_waited_too_long_is_told_what_is_short(database: Database) -> None:
    url = database.url.render_as_string(hide_password=False)
    hurried = Database(url, pool_size=1, pool_timeout=0.05)
    async with hurried.transaction():
        with pytest.raises(PoolTimeout, match=r"1 connections to \S+ were in use for 0\.05 s"):
            await _number(hurried)
    assert await _number(hurried) > 0, "the connection is free again"
    await hurried.close()


async def _questions(connection: AsyncConnection) -> int:
    found = await connection.execute(text("SHOW SESSION STATUS LIKE 'Questions'"))
    return int(found.one()[1])


async def _lives(database: Database, number: int) -> bool:
    async with database.transaction() as connection:
        rows = await connection.execute(text("SHOW PROCESSLIST"))
        return number in {int(row[0]) for row in rows}
