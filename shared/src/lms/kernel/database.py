"""The database of one service: pool, transactions, and which failures pass by themselves."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pymysql.err
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only

from lms.kernel.metrics import DB_CONNECTION_WAIT
from lms.kernel.statements import Call, Result, Statement, together
from lms.kernel.wire import connect

IDLE_SECONDS = 1.0
"""A connection that was idle for longer is asked whether its server still answers: a host that vanished closes none."""

PING_SECONDS = 2.0
"""How long it may take to answer."""

SILENCE_SECONDS = 10
"""How long a server may leave what was sent to it unacknowledged, or probes unanswered, before its connection counts as
lost: the network's own limits are a quarter of an hour for the one and two hours for the other."""

SILENT_TRANSACTION_SECONDS = 30
"""How long a client may say nothing inside a transaction that has written; the server then rolls it back. A process
that was stopped, or whose host vanished, would else hold its locks for as long as `wait_timeout` says: hours."""

_COMMIT = Statement(text("COMMIT")).having()
_PROBE_SECONDS = 2
_IDLE_SINCE = "lms.idle_since"
_DEADLOCK = 1213
_LOCK_TIMEOUT = 1205
_DUPLICATE = 1062
_MIXED_COLLATIONS = 1267
# 1317 and 4031 are how MySQL announces a connection that was killed or timed out, where MariaDB just closes it.
_LOST = frozenset(
    {1040, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1317, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031}
)
_FULL = frozenset({1021, 1114, 3, 28})
_READ_ONLY = frozenset({1290, 1836})


def error_number(error: BaseException) -> int | None:
    """Return the server's or client's MySQL error number behind `error`, if there is one."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(origin, pymysql.err.MySQLError) and origin.args and isinstance(origin.args[0], int):
        return origin.args[0]
    return None


def is_contention(error: BaseException) -> bool:
    """Say whether another transaction stood in the way: a deadlock or a lock time-out, right to retry at once."""
    return error_number(error) in {_DEADLOCK, _LOCK_TIMEOUT}


def is_unavailable(error: BaseException) -> bool:
    """Say whether the database cannot be reached or cannot write now: right to retry later."""
    if isinstance(error, PoolTimeout | ConnectionError | asyncio.IncompleteReadError | TimeoutError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    number = error_number(error)
    if number in _LOST | _FULL | _READ_ONLY:
        return True
    return isinstance(error, InterfaceError) or (isinstance(error, OperationalError) and number is None)


def is_duplicate(error: BaseException) -> bool:
    """Say whether a row was to be inserted that is there already, by a unique key."""
    return error_number(error) == _DUPLICATE


def is_foreign_text(error: BaseException) -> bool:
    """Say whether an identifier was looked for with characters that its column cannot hold: nothing has that name."""
    return error_number(error) == _MIXED_COLLATIONS


def is_transient(error: BaseException) -> bool:
    """Say whether the same work may succeed when tried again: contention, or a database that is away."""
    return is_contention(error) or is_unavailable(error)


def _note_idle(_: Any, record: ConnectionPoolEntry) -> None:
    record.info[_IDLE_SINCE] = time.monotonic()


def _require_open(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """Let the pool replace a connection that the server has closed since it was used last."""
    idle_since = record.info.get(_IDLE_SINCE)
    reader = connection.driver_connection._reader  # noqa: SLF001  # aiomysql's own pool looks there too
    if reader is None or reader._eof or reader._buffer:  # noqa: SLF001  # what comes unasked is a last word
        raise InvalidatePoolError("the server closed the connection")
    if idle_since is not None and time.monotonic() - idle_since > IDLE_SECONDS:
        try:
            await_only(_answers(connection.driver_connection))
        except Exception as error:
            raise InvalidatePoolError("the server does not answer on the connection") from error


async def _answers(opened: Any) -> None:
    async with asyncio.timeout(PING_SECONDS):
        await opened.ping(reconnect=False)


def _bound_silence(connection: Any, _: ConnectionPoolEntry) -> None:
    """Let the kernel end a connection whose other end has vanished: a query that waits for it then fails."""
    opened = connection.driver_connection._writer.get_extra_info("socket")  # noqa: SLF001  # nobody else has it
    if opened.family == socket.AF_UNIX:
        return
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _PROBE_SECONDS),
        ("TCP_KEEPINTVL", _PROBE_SECONDS),
        ("TCP_KEEPCNT", SILENCE_SECONDS // _PROBE_SECONDS - 1),
        ("TCP_USER_TIMEOUT", SILENCE_SECONDS * 1000),
    ):
        if hasattr(socket, name):  # each system knows some of them
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _tls_of(url: URL) -> dict[str, ssl.SSLContext]:
    """Return how the server is checked where the URL names an authority: by a certificate of it, for that host."""
    authority = url.query.get("ssl_ca")
    return {"ssl": ssl.create_default_context(cafile=str(authority))} if authority else {}


def _require_tls(connection: Any, _: ConnectionPoolEntry) -> None:
    """Refuse a connection in clear: a server that offers no TLS, or whoever stands in for it, gets one otherwise."""
    opened = connection.driver_connection
    if opened._writer.get_extra_info("ssl_object") is None:  # noqa: SLF001  # nobody else knows
        opened.close()
        raise OperationalError("connect", None, ConnectionError("the server offers no TLS, and ssl_ca asks for it"))


def _beginnings() -> str:
    """Return what each connection begins with; MariaDB and MySQL each read what the other takes for a comment.

    MySQL knows no limit for transactions alone. A connection that it ends while idle is replaced before its next use.
    """
    seconds = SILENT_TRANSACTION_SECONDS
    return (
        "SET time_zone = '+00:00'"
        f" /*M!100300 , idle_write_transaction_timeout = {seconds} */ /*!80000 , wait_timeout = {seconds} */"
    )


class Database:
    """A pool of connections to one schema, at READ COMMITTED.

    `url` has the form `mysql://user:password@host:port/schema`; `?ssl_ca=FILE` demands TLS, with a certificate of that
    authority for the URL's host. Connections are checked before use, so that a restarted server costs no failed
    request: by what the server has said since (a closed socket), and by a round trip only after IDLE_SECONDS. A
    cancelled task closes its connection instead of returning it half-used.

    Who waits for a connection is served before those who ask later, and gets sqlalchemy.exc.TimeoutError after
    `pool_timeout` seconds. (SQLAlchemy's own pool gives a connection to whoever asks at the right moment, so that under
    load one request waits for seconds while others do not wait at all.)
    """

    def __init__(
        self, url: str, *, pool_size: int = 10, pool_timeout: float = 5.0, connect_timeout: float = 5.0
    ) -> None:
        parsed = make_url(url).set(drivername="mysql+aiomysql")
        tls = _tls_of(parsed)
        parsed = parsed.difference_update_query(["ssl_ca"])  # the driver wants a context, and no file
        self.url = parsed
        self.engine: AsyncEngine = create_async_engine(
            parsed.update_query_dict({"charset": "utf8mb4"}),
            pool_size=pool_size,
            max_overflow=0,
            pool_recycle=1800,
            pool_reset_on_return=None,  # `transaction` has ended it, or the connection is invalid
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            connect_args={
                "async_creator_fn": connect,
                "connect_timeout": connect_timeout,
                "init_command": _beginnings(),
                **tls,
            },
        )
        self._size, self._patience = pool_size, pool_timeout
        self._turns = asyncio.Semaphore(pool_size)
        event.listen(self.engine.sync_engine, "connect", _bound_silence)
        if tls:
            event.listen(self.engine.sync_engine, "connect", _require_tls)
        event.listen(self.engine.sync_engine, "checkin", _note_idle)
        event.listen(self.engine.sync_engine, "checkout", _require_open)

    @property
    def schema(self) -> str:
        """The name of the schema."""
        return str(self.url.database)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction: committed at the end of the block, rolled back by any exception.

        The commit is shielded from cancellation; a connection whose task was cancelled is invalidated.
        """
        async with self._turn():
            connection = await self.engine.connect()
            sync: Any = connection.sync_connection
            try:
                sync.begin()  # says so to SQLAlchemy alone: MySQL begins with the first statement
                yield connection
                await asyncio.shield(connection.commit())
            except BaseException as error:
                try:
                    if isinstance(error, asyncio.CancelledError):
                        await asyncio.shield(connection.invalidate())
                    elif not connection.invalidated:
                        with contextlib.suppress(DBAPIError):  # a lost connection has rolled back by itself
                            await asyncio.shield(connection.rollback())
                finally:
                    await asyncio.shield(connection.close())
                raise
            sync.close()  # nothing is under way, so that this only puts the connection back

    async def at_once(self, *calls: Call) -> list[Result]:
        """Execute statements as a transaction of their own, in one round trip with its commit; return their results."""
        async with self._turn():
            connection = await self.engine.connect()
            try:
                *results, _ = await together(connection, *calls, _COMMIT)
            except BaseException:
                await asyncio.shield(connection.invalidate())  # what was executed is rolled back with it
                raise
            finally:
                await asyncio.shield(connection.close())
            return results

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until one of the connections is free, first come first served."""
        asked = time.perf_counter()
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError:
            raise PoolTimeout(
                f"All {self._size} connections to {self.schema} were in use for {self._patience} s."
            ) from None
        DB_CONNECTION_WAIT.observe(time.perf_counter() - asked)
        try:
            yield
        finally:
            self._turns.release()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for queries that decide nothing."""
        async with self.transaction() as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection on which every query sees the moment of the first one, however long it is silent."""
        async with self._turn(), self.engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            await connection.exec_driver_sql("SET @patient = 1 /*!80000 , wait_timeout = @@GLOBAL.wait_timeout */")
            yield connection
            await connection.rollback()
            await connection.exec_driver_sql(_beginnings())

    async def ping(self) -> None:
        """Run one trivial query; raises what the driver raises when the database is away."""
        async with self._turn(), self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()
