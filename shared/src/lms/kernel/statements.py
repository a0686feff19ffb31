"""Statements of hot paths: built by SQLAlchemy Core once, sent by the driver itself, several in one round trip.

    FIND = Statement(select(cases.c.status).where(cases.c.case_id == bindparam("case_id")))
    ENTER = Statement(insert(cases))

    (row,) = await FIND.rows(connection, case_id="c-1")                      # row.status
    found, _ = await together(connection, FIND.having(case_id="c-1"), ENTER.of([{"case_id": "c-2", "status": "open"}]))

What they read and write belongs to the transaction of the connection, as if Core had executed them there; the values
and the errors are Core's own. Left out is what Core does anew at each execution (looking for the compiled form;
contexts, cursors and results of its own), which costs more than the driver's work itself. For statements whose shape
changes with their arguments there is Core; and on connections of other drivers Core executes these, one by one.

What is only to be written need not be waited for: `later` sends it with the next round trip of its transaction.
"""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from pymysql.constants.SERVER_STATUS import SERVER_STATUS_NO_BACKSLASH_ESCAPES as _NO_BACKSLASH_ESCAPES
from pymysql.err import MySQLError
from sqlalchemy import Executable, Insert, SelectBase
from sqlalchemy.dialects.mysql.aiomysql import dialect as aiomysql_dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.wire import Answer, Connection, Part

LONGEST = 4 * 1024 * 1024
"""Characters of one round trip at most; more rows, or more statements, go in several."""

_DIALECT: Any = aiomysql_dialect(paramstyle="pyformat")
_UPSERT = " ON DUPLICATE KEY UPDATE "
_VALUES = " VALUES "


class Result(NamedTuple):
    """What came of a statement: the rows of a query, or how many rows it concerned (an upsert counts changes twice)."""

    rows: Sequence[Any]
    rowcount: int


class Call(NamedTuple):
    """A statement with its arguments, of which an INSERT may have several rows."""

    statement: "Statement"
    arguments: Sequence[Mapping[str, Any]]


class Statement:
    """A SELECT, INSERT, UPDATE or DELETE of Core, compiled once.

    Its arguments are the statement's `bindparam`s, of which the `expanding` ones take a collection; those of an INSERT
    without values are all columns that the database does not number itself. `core` is what it was made from, `text`
    its SQL without the arguments.
    """

    def __init__(self, statement: Executable) -> None:
        self.core = statement
        clause: Any = statement
        compiled = clause.compile(dialect=_DIALECT)
        if " NOT IN (__[POSTCOMPILE_" in str(compiled):
            raise ValueError("NOT IN among no values would find nothing: let Core execute such a statement")
        if isinstance(statement, Insert):
            columns = [column.name for column in clause.table.columns]
            numbered = clause.table.autoincrement_column
            if numbered is not None and set(compiled.bind_names.values()) == set(columns):  # it has no values itself
                columns.remove(numbered.name)
                compiled = clause.compile(dialect=_DIALECT, column_keys=columns)
        self._fixed: dict[str, Any] = {}
        self._expanding: set[str] = set()
        self._binding: dict[str, Any] = {}
        text = str(compiled)
        for bind, name in compiled.bind_names.items():
            if not bind.required:
                self._fixed[name] = bind.value
            if bind.expanding:
                self._expanding.add(name)
                text = text.replace(f"__[POSTCOMPILE_{name}]", f"%({name})s")
            processor = bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
            if processor is not None:
                self._binding[name] = processor
        self.text = text
        self._insert = _parts(text) if isinstance(statement, Insert) else None
        selected = list(statement.selected_columns) if isinstance(statement, SelectBase) else []
        make_type: Any = collections.namedtuple  # noqa: PYI024  # the fields are known only here
        self._row = make_type("Row", [str(one.key) for one in selected], rename=True)
        self._reading = {
            place: processor
            for place, one in enumerate(selected)
            if (processor := one.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None)) is not None
        }

    def having(self, **arguments: Any) -> Call:
        """Return the statement with its arguments, for `together`."""
        return Call(self, (arguments,))

    def of(self, arguments: Sequence[Mapping[str, Any]]) -> Call:
        """Return the statement with its arguments many times over, for `together`: an INSERT of rows is then one."""
        return Call(self, arguments)

    async def rows(self, connection: AsyncConnection, **arguments: Any) -> Sequence[Any]:
        """Return the rows of a query, each with its columns as attributes."""
        (result,) = await together(connection, self.having(**arguments))
        return result.rows

    async def execute(self, connection: AsyncConnection, **arguments: Any) -> int:
        """Execute the statement; return how many rows it concerned."""
        (result,) = await together(connection, self.having(**arguments))
        return result.rowcount

    def texts(self, raw: Any, arguments: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """Return the SQL to send: one text, or several where an INSERT has very many rows."""
        if self._insert is None:
            for one in arguments:
                yield self.text % self._escaped(raw, one)
            return
        before, values, behind = self._insert
        parts: list[str] = []
        length = 0
        for one in arguments:
            part = values % self._escaped(raw, one)
            if parts and length + len(part) > LONGEST:
                yield f"{before}{', '.join(parts)}{behind}"
                parts, length = [], 0
            parts.append(part)
            length += len(part)
        if parts:
            yield f"{before}{', '.join(parts)}{behind}"

    def read(self, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return what the driver read as rows with attributes."""
        make = self._row._make
        if not self._reading:
            return [make(row) for row in rows]
        reading = self._reading.get
        return [
            make([value if (read := reading(place)) is None else read(value) for place, value in enumerate(row)])
            for row in rows
        ]

    def _escaped(self, raw: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
        given = {**self._fixed, **arguments} if self._fixed else arguments
        escaped: dict[str, str] = {}
        for name, value in given.items():
            values = value if name in self._expanding else (value,)
            if (processor := self._binding.get(name)) is not None:
                values = map(processor, values)
            escaped[name] = ", ".join([_literal(raw, one) for one in values]) or "NULL"
        return escaped


def _literal(raw: Any, value: Any) -> str:
    """Return a value as SQL, as the driver writes it; in a third of its time for what most columns hold.

    In a text within single quotes only those and the backslash have a meaning (MySQL's manual, "String Literals"), so
    that the driver's other replacements can be left out. The connection's character set is UTF-8, none of whose
    characters contains either byte.
    """
    kind: type[Any] = type(value)
    if kind is str and not raw.server_status & _NO_BACKSLASH_ESCAPES:
        text: str = value
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if kind is int:
        return str(value)
    if kind is datetime:
        return f"'{value.replace(tzinfo=None).isoformat(' ')}'"
    if kind is date:
        return f"'{value.isoformat()}'"
    return str(raw.escape(value))


async def together(connection: AsyncConnection, *calls: Call) -> list[Result]:
    """Send statements in one round trip, behind what waits (`later`); return what came of each, in their order.

    The first one that fails is the last one that is executed: its error is raised, as Core would raise it, and the
    transaction should be rolled back.
    """
    raw = _driver_of(connection)
    if raw is None:
        return [await _by_core(connection, call) for call in calls]
    results = [Result((), 0)] * len(calls)
    waiting: list[tuple[int, str]] = []
    length = 0
    for number, call in enumerate(calls):
        for text in call.statement.texts(raw, call.arguments):
            if waiting and length + len(text) > LONGEST:
                await _send(connection, raw, calls, waiting, results)
                waiting, length = [], 0
            waiting.append((number, text))
            length += len(text)
    if waiting:
        await _send(connection, raw, calls, waiting, results)
    return results


async def later(
    connection: AsyncConnection, *calls: Call, refused: Callable[[MySQLError], Exception | None] = lambda _: None
) -> None:
    """Have statements sent with the next round trip of the transaction, at the latest with its commit.

    They are executed before whatever comes next, so that it sees their effect; their failure shows there. `refused`
    returns what to raise for a failure, None for the driver's error itself. For writes whose outcome nobody looks at.
    """
    raw = _driver_of(connection)
    if raw is None:
        await together(connection, *calls)
        return
    raw.waiting += [
        Part(text, call.statement.text, refused) for call in calls for text in call.statement.texts(raw, call.arguments)
    ]
    if sum(len(one.text) for one in raw.waiting) > LONGEST:
        await _answers(connection, raw, ())


def _driver_of(connection: AsyncConnection) -> Connection | None:
    """Return the driver's connection; None where Core has to do."""
    if connection.dialect.driver != _DIALECT.driver:
        return None
    sync: Any = connection.sync_connection
    raw = sync.connection.driver_connection
    return raw if isinstance(raw, Connection) else None


async def _by_core(connection: AsyncConnection, call: Call) -> Result:
    done = [await connection.execute(call.statement.core, arguments) for arguments in call.arguments]
    rows = [row for one in done if one.returns_rows for row in one]
    return Result(rows, sum(one.rowcount for one in done))


async def _send(
    connection: AsyncConnection,
    raw: Connection,
    calls: Sequence[Call],
    texts: Sequence[tuple[int, str]],
    into: list[Result],
) -> None:
    answers = await _answers(connection, raw, [Part(text, calls[number].statement.text) for number, text in texts])
    for (number, _), answer in zip(texts, answers, strict=True):
        rows = () if answer.rows is None else calls[number].statement.read(answer.rows)
        before = into[number]
        into[number] = Result([*before.rows, *rows], before.rowcount + answer.rowcount)


async def _answers(connection: AsyncConnection, raw: Connection, parts: Sequence[Part]) -> list[Answer]:
    """Send statements; raise a failure as Core does. A connection that broke is invalid from now on."""
    try:
        return await raw.ask(parts)
    except MySQLError as error:
        lost = connection.dialect.is_disconnect(error, None, None)
        if lost:
            await connection.invalidate(error)
        raised = DBAPIError.instance(
            raw.failed.about, None, error, MySQLError, hide_parameters=True, connection_invalidated=lost,
            dialect=connection.dialect,
        )  # fmt: skip
        raise raised from error


def _parts(text: str) -> tuple[str, str, str]:
    """Return an INSERT as what stands before its values, the values, and what stands behind them."""
    body, upsert, changes = text.partition(_UPSERT)
    before, values, row = body.partition(_VALUES)
    return (before + values) % (), row, (upsert + changes) % ()
