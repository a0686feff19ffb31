"""One service in this process, without servers: its real use cases, consumers and views, on SQLite in memory.

Nothing of the service is replaced but what it stands on. `MemoryDatabase` speaks to SQLite where `lms.kernel.database`
speaks to MySQL; the few words of MySQL that the services use are said in SQLite's below. No coroutine ever waits here:
`finish` runs one to its end, always in the same order.
"""

import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Connection, CursorResult, Table, create_engine, delete, event, select
from sqlalchemy.dialects.mysql import LONGTEXT, VARCHAR
from sqlalchemy.dialects.mysql.dml import OnDuplicateClause
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import StaticPool
from sqlalchemy.sql.compiler import SQLCompiler

from lms.kernel import schema
from lms.kernel.consumer import ConsumerRunner, Projector
from lms.kernel.database import Database
from lms.kernel.event import Codec
from lms.kernel.eventstore import EventStore, Recorded
from lms.kernel.execution import Executor
from lms.kernel.projection import FIRST_GENERATION
from lms.kernel.service import Service

T = TypeVar("T")


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing to its end."""
    try:
        work.send(None)
    except StopIteration as done:
        answer: T = done.value
        return answer
    work.close()
    raise RuntimeError("The work waits for something, and there is nothing to wait for.")


@compiles(BigInteger, "sqlite")
def _big_integer(*_: Any, **__: Any) -> str:
    return "INTEGER"  # only this counts up by itself


@compiles(LONGTEXT, "sqlite")
@compiles(VARCHAR, "sqlite")
def _text(*_: Any, **__: Any) -> str:
    return "TEXT"  # compared byte by byte, as the collations in MySQL say


@compiles(OnDuplicateClause, "sqlite")
def _on_duplicate(clause: Any, compiler: SQLCompiler, **more: Any) -> str:
    def said(name: str, value: Any) -> str:
        if getattr(value, "table", None) is clause.inserted_alias:
            return f"{name} = excluded.{value.name}"
        return f"{name} = {compiler.process(value, use_schema=False, **more)}"

    return "ON CONFLICT DO UPDATE SET " + ", ".join(said(name, value) for name, value in clause.update.items())


class MemoryConnection(AsyncConnection):
    """What services use of a connection, answered at once."""

    def __init__(self, connection: Connection) -> None:  # a connection of the other kind is what this stands for
        self._now = connection

    dialect: Any = property(lambda connection: connection._now.dialect, doc="SQLite's: Core executes every statement.")

    async def execute(self, statement: Any, parameters: Any = None, **_: Any) -> CursorResult[Any]:
        """Execute a statement."""
        return self._now.execute(statement, parameters)

    async def scalar(self, statement: Any, parameters: Any = None, **_: Any) -> Any:
        """Return the first column of the first row; None without one."""
        return self._now.scalar(statement, parameters)


class MemoryDatabase(Database):
    """One database with one connection; whoever opens a transaction has it alone."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self.memory = create_engine("sqlite://", poolclass=StaticPool)
        event.listen(self.memory, "before_cursor_execute", _in_sqlite, retval=True)
        with self.memory.begin() as connection:
            for table in tables:
                table.create(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction: committed at the end of the block, rolled back by any exception."""
        with self.memory.begin() as connection:
            yield MemoryConnection(connection)

    def rows(self, statement: Any) -> Sequence[Any]:
        """Return all rows of a query."""
        with self.memory.begin() as connection:
            return connection.execute(statement).fetchall()

    def copied(self) -> sqlite3.Connection:
        """Return a copy of everything."""
        copy = sqlite3.connect(":memory:")
        self._raw().backup(copy)
        return copy

    def become(self, copy: sqlite3.Connection) -> None:
        """Be again what the copy holds."""
        copy.backup(self._raw())

    def _raw(self) -> sqlite3.Connection:
        raw = self.memory.raw_connection().driver_connection
        if not isinstance(raw, sqlite3.Connection):
            raise TypeError("not SQLite")
        return raw


def _in_sqlite(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
    return statement.replace("INSERT IGNORE INTO", "INSERT OR IGNORE INTO", 1), parameters


@dataclass
class MemoryClock:
    """The business clock, moved by hand."""

    at: datetime = field(default_factory=lambda: datetime(2026, 3, 2, 9, tzinfo=UTC))

    def now(self) -> datetime:
        """Return the business instant."""
        return self.at

    def today(self) -> date:
        """Return the business date."""
        return self.at.date()

    def pass_by(self, days: int) -> None:
        """Move on."""
        self.at += timedelta(days=days)


class MemoryProcess:
    """A service that runs: what consumers, jobs and use cases expect of `lms.kernel.service.Runtime`."""

    def __init__(self, service: Service, clock: MemoryClock, own_tables: Iterable[Table] = ()) -> None:
        views = [view for one in service.consumers if isinstance(one, Projector) for view in one.projections]
        self.views = (*service.inline, *views)
        tables = [*schema.metadata.sorted_tables, *own_tables, *(table for view in self.views for table in view.tables)]
        self.service = service
        self.settings: Any = None
        self.clock = clock
        self.database: Any = MemoryDatabase(tables)
        self.connect()

    def connect(self) -> None:
        """Begin with nothing remembered, as after a restart."""
        self.store = EventStore(self.service.name, Codec(self.service.events, self.service.upcasters))
        self.executor = Executor(self.database, self.store, self.clock, inline=self.service.inline)
        self.parts: dict[str, Any] = {}
        self.runners: list[ConsumerRunner] = [ConsumerRunner(self, one) for one in self.service.consumers]

    def log(self) -> list[Recorded]:
        """Return every fact of the service, in the order in which it came to stand."""
        return [
            self.store.recorded(row)
            for row in self.database.rows(select(schema.events).order_by(schema.events.c.global_position))
        ]

    def take_outbox(self) -> list[Any]:
        """Return the facts that were not relayed, in their order, and forget them."""
        found = self.database.rows(select(schema.outbox).order_by(schema.outbox.c.position))
        if found:
            with self.database.memory.begin() as connection:
                connection.execute(delete(schema.outbox))
        return list(found)

    def view(self, table: Table) -> dict[tuple[Any, ...], dict[str, Any]]:
        """Return the rows of a view's table by their keys, without the generation."""
        keys = [one.name for one in table.primary_key.columns if one.name != "generation"]
        found = {}
        for row in self.database.rows(select(table).where(table.c.generation == FIRST_GENERATION)):
            values = {name: value for name, value in row._mapping.items() if name != "generation"}
            found[tuple(values[name] for name in keys)] = values
        return found
