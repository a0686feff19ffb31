"""The pool: connections are given out in turn; those that the server has closed are replaced before anybody notices."""

import asyncio
import socket

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


class Wire:
    """A way to the database's server on which nothing comes through any more once it is `cut`, and nothing closes."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._open: list[list[asyncio.StreamWriter]] = []
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass everything on, both ways, until it is cut."""
        far_reader, far_writer = await asyncio.open_connection(*self._server)
        ways = [writer, far_writer]
        self._open.append(ways)
        self._ends += ways
        for source, end in ((reader, 1), (far_reader, 0)):
            task = asyncio.create_task(self._pass(source, ways, end))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, ways: list[asyncio.StreamWriter], end: int) -> None:
        while data := await source.read(65536):
            if ways in self._open:
                ways[end].write(data)

    def cut(self) -> None:
        """Let nothing more through on what is open now."""
        self._open.clear()

    async def close(self) -> None:
        """Close both ends of everything."""
        for end in self._ends:
            end.close()
        await asyncio.gather(*self._tasks)


async def test_a_server_that_says_nothing_any_more_is_not_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "IDLE_SECONDS", -1.0)
    monkeypatch.setattr(databases, "PING_SECONDS", 0.3)
    wire = Wire(str(database.url.host), int(database.url.port or 0))
    async with await asyncio.start_server(wire.accept, "127.0.0.1", 0) as listener:
        url = database.url.set(host="127.0.0.1", port=listener.sockets[0].getsockname()[1])
        through = Database(url.render_as_string(hide_password=False), pool_size=1)
        before = await _number(through)
        assert await _number(through) == before
        wire.cut()
        async with asyncio.timeout(5):
            assert await _number(through) != before
        await through.close()
        await wire.close()


async def test_a_query_does_not_wait_for_a_server_that_vanished(single: Database) -> None:
    """The kernel ends the connection when nothing is acknowledged: no test can cut a wire of the machine's own."""
    async with single.read() as connection:
        raw = await connection.get_raw_connection()
        opened = raw.driver_connection._writer.get_extra_info("socket")  # type: ignore[union-attr]  # aiomysql's
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == databases.SILENCE_SECONDS * 1000
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        probes = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        each = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        idle = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert idle + probes * each <= databases.SILENCE_SECONDS
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
