"""Projections: views made from events, by pure handlers, in generations.

    class OpenCases(Projection):
        name = "open_cases"
        tables = (open_cases,)                       # each with `generation` as its first primary-key column
        handlers = {CaseOpened: _opened, CaseClosed: _closed}

    def _opened(event: CaseOpened, envelope: Envelope) -> Iterable[Write]:
        yield Upsert(open_cases, {"case_id": event.case_id, "assignee": event.assignee})

    query = select(open_cases.c.case_id).where(live(open_cases, OpenCases.name), open_cases.c.assignee == caller)

A handler gets the parsed event and its envelope and returns the rows to write; it reads nothing, so that a view is a
function of its events alone and a rebuild gives the same rows. The kernel adds the generation, and sends rows of the
same shape together.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Executable, Table, bindparam, delete, func, select, update
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.schema import view_generations
from lms.kernel.statements import Call, Result, Statement, later, together

FIRST_GENERATION = 1

Fact = Event | ForeignEvent
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Upsert:
    """Insert the row, or replace the named columns of the row with the same key."""

    table: Table
    row: Row


@dataclass(frozen=True, slots=True)
class Update:
    """Set columns of the rows that match; no row may match."""

    table: Table
    where: Row
    values: Row


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the rows that match; no row may match."""

    table: Table
    where: Row


Write = Upsert | Update | Delete
Handler = Callable[[Any, Envelope], Iterable[Write]]


class Projection:
    """One view: its tables, and one pure handler per event that it reads. Never instantiated."""

    name: ClassVar[str]
    tables: ClassVar[tuple[Table, ...]]
    handlers: ClassVar[Mapping[type[Event] | type[ForeignEvent], Handler]]


def live(table: Table, view_name: str) -> ColumnElement[bool]:
    """Return the condition that limits a query to the generation that readers see."""
    current = select(view_generations.c.live).where(view_generations.c.view_name == view_name).scalar_subquery()
    return table.c.generation == func.coalesce(current, FIRST_GENERATION)


_GENERATIONS = (
    select(view_generations.c.view_name, view_generations.c.live)
    .where(view_generations.c.view_name.in_(bindparam("views", expanding=True)))
    .order_by(view_generations.c.view_name)
)
_SHARE = Statement(_GENERATIONS.with_for_update(read=True))
_HOLD_ALONE = Statement(_GENERATIONS.with_for_update())


def sharing(views: Collection[str]) -> Call:
    """Return the statement by which a writer holds views with other writers; its result is for `generations_of`."""
    return _SHARE.having(views=sorted(views))


def generations_of(held: Result) -> dict[str, int]:
    """Return the generation of each view that is held; a view that was never written has none."""
    return {row.view_name: int(row.live) for row in held.rows}


async def hold_generations(
    connection: AsyncConnection, views: Collection[str], *, alone: bool = False
) -> dict[str, int]:
    """Return the live generation of each view, and keep it from changing until the transaction ends.

    Writers of a view share its row; with `alone`, nobody who writes the view is between this call and their commit.
    """
    hold = (_HOLD_ALONE if alone else _SHARE).having(views=sorted(views))
    (held,) = await together(connection, hold)
    missing = set(views) - set(generations_of(held))
    if missing:  # the view's first write: a row that does not exist cannot be held
        first = [{"view_name": view, "live": FIRST_GENERATION} for view in sorted(missing)]
        await connection.execute(upsert(view_generations).prefix_with("IGNORE"), first)
        (held,) = await together(connection, hold)
    return generations_of(held)


async def write_views(
    connection: AsyncConnection,
    projections: Sequence[type[Projection]],
    facts: Sequence[tuple[Fact, Envelope]],
    generations: Mapping[str, int] | None = None,
) -> None:
    """Bring the live generation of each view up to date with `facts`, in the caller's transaction.

    `generations` are those that the caller holds already; else each view that is written is held here.
    """
    written = {projection.name: writes for projection in projections if (writes := writes_of(projection, facts))}
    if written:
        held = await hold_generations(connection, written) if generations is None else generations
        for view, writes in written.items():
            await apply(connection, writes, held[view])


def writes_of(projection: type[Projection], facts: Sequence[tuple[Fact, Envelope]]) -> list[Write]:
    """Return what a view changes by `facts`, in their order."""
    handlers = projection.handlers
    return [
        write
        for fact, envelope in facts
        if (handler := handlers.get(type(fact))) is not None
        for write in handler(fact, envelope)
    ]


async def apply(connection: AsyncConnection, writes: Iterable[Write], generation: int) -> None:
    """Execute writes in order, with the next round trip; neighbours of the same shape are one statement."""
    groups: list[tuple[tuple[Any, ...], list[Row]]] = []
    for write in writes:
        shape, row = _shape(write)
        row["g"] = generation
        if groups and groups[-1][0] == shape:
            groups[-1][1].append(row)
        else:
            groups.append((shape, [row]))
    await later(connection, *(_statement(shape).of(rows) for shape, rows in groups))


_statements: dict[tuple[Any, ...], Statement] = {}


def _shape(write: Write) -> tuple[tuple[Any, ...], Row]:
    match write:
        case Upsert(table, row):
            return ("upsert", table, tuple(row)), {f"v_{name}": value for name, value in row.items()}
        case Update(table, where, values):
            return ("update", table, tuple(where), tuple(values)), _named(where, values)
        case Delete(table, where):
            return ("delete", table, tuple(where)), _named(where, {})


def _named(where: Row, values: Row) -> Row:
    return {f"w_{name}": value for name, value in where.items()} | {
        f"v_{name}": value for name, value in values.items()
    }


def _statement(shape: tuple[Any, ...]) -> Statement:
    found = _statements.get(shape)
    if found is None:
        found = _statements[shape] = Statement(_built(shape))
    return found


def _built(shape: tuple[Any, ...]) -> Executable:
    kind, table, names = shape[0], shape[1], shape[2]
    if "generation" not in table.primary_key.columns:
        raise TypeError(f"The view table {table.name} needs `generation` as its first primary-key column.")
    if kind == "upsert":
        values: Row = {name: bindparam(f"v_{name}") for name in names}
        insert = upsert(table).values(generation=bindparam("g"), **values)
        keys = {column.name for column in table.primary_key.columns}
        changed = {name: insert.inserted[name] for name in names if name not in keys}
        return insert.on_duplicate_key_update(changed or {"generation": insert.inserted.generation})
    conditions = [table.c.generation == bindparam("g"), *(table.c[name] == bindparam(f"w_{name}") for name in names)]
    if kind == "delete":
        return delete(table).where(*conditions)
    return update(table).where(*conditions).values({name: bindparam(f"v_{name}") for name in shape[3]})
