"""The view `employees`: who is employed when, where, and for whom they work."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, ClassVar, Literal

from sqlalchemy import Column, Date, Index, Integer, MetaData, SmallInteger, Table, bindparam, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.approvals.decider import Line, Superior
from lms.approvals.upstream import EmployeeJoined, EmployeeLeft, EmployeeLocationChanged, EmployeeManagerChanged
from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Update, Upsert, Write, live
from lms.kernel.schema import name
from lms.kernel.statements import Call, Result, Statement, together

Kind = Literal["location", "manager"]

LONGEST_LINE = 50
"""Levels of reporting that are followed; a ring in the facts ends there."""

metadata = MetaData()

employees = Table(
    "employees",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("employed_from", Date, nullable=False),
    Column("last_day", Date, nullable=True),
    Column("version", Integer, nullable=False),
)
"""`version` is the newest of the employee's stream that this view read: every fact about the line changes the row."""

assignments = Table(
    "employee_assignments",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("kind", name(12), primary_key=True),
    Column("effective_from", Date, primary_key=True),
    Column("value", name(36), nullable=True),
    Index("employee_assignments_value", "generation", "kind", "value"),
)
"""What holds from which day on, until the next row of the same kind."""


def _joined(event: EmployeeJoined, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(
        employees,
        {
            "employee_id": event.employee_id,
            "employed_from": event.employed_from,
            "last_day": None,
            "version": envelope.version,
        },
    )
    yield _assignment(event.employee_id, "location", event.employed_from, event.location_id)
    yield _assignment(event.employee_id, "manager", event.employed_from, event.manager_id)


def _left(event: EmployeeLeft, envelope: Envelope) -> Iterable[Write]:
    yield Update(
        employees, {"employee_id": event.employee_id}, {"last_day": event.last_day, "version": envelope.version}
    )


def _manager_changed(event: EmployeeManagerChanged, envelope: Envelope) -> Iterable[Write]:
    yield _seen(event.employee_id, envelope)
    yield _assignment(event.employee_id, "manager", event.effective_from, event.manager_id)


def _location_changed(event: EmployeeLocationChanged, envelope: Envelope) -> Iterable[Write]:
    yield _seen(event.employee_id, envelope)
    yield _assignment(event.employee_id, "location", event.effective_from, event.location_id)


def _seen(employee_id: str, envelope: Envelope) -> Write:
    return Update(employees, {"employee_id": employee_id}, {"version": envelope.version})


def _assignment(employee_id: str, kind: Kind, since: date, value: str | None) -> Write:
    return Upsert(assignments, {"employee_id": employee_id, "kind": kind, "effective_from": since, "value": value})


class Employees(Projection):
    """Everybody who was ever employed."""

    name: ClassVar[str] = "employees"
    tables: ClassVar[tuple[Table, ...]] = (employees, assignments)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {
        EmployeeJoined: _joined,
        EmployeeLeft: _left,
        EmployeeManagerChanged: _manager_changed,
        EmployeeLocationChanged: _location_changed,
    }


async def line_of(
    connection: AsyncConnection, employee_id: str, on: date, *, below: Sequence[Result] | None = None
) -> Line:
    """Return who stands above an employee on a day, up to the first who is employed and not the employee.

    Everybody on the way is locked against change until the transaction ends: a case that rests on this line is either
    committed before the line changes, and then found by whoever re-routes, or decided on the changed line. Somebody of
    whom nothing is known yet counts as employed; the directory names nobody who never joined.
    `below` is what came of `locking` the employee, where that was sent before.
    """
    line: list[Superior] = []
    passed = {employee_id}
    _, superior = _standing(below or await together(connection, *locking(employee_id)), on)
    while superior is not None and superior not in passed and len(line) < LONGEST_LINE:
        row, further = _standing(await together(connection, *locking(superior)), on)
        employed = row is None or (row.employed_from <= on and (row.last_day is None or on <= row.last_day))
        line.append(Superior(superior, employed))
        if employed:
            break
        passed.add(superior)
        superior = further
    return tuple(line)


_LOCKED = Statement(
    select(employees.c.employed_from, employees.c.last_day)
    .where(live(employees, Employees.name), employees.c.employee_id == bindparam("employee_id"))
    .with_for_update(read=True)
)
_ASSIGNED = Statement(
    select(assignments.c.effective_from, assignments.c.value)
    .where(
        live(assignments, Employees.name),
        assignments.c.employee_id == bindparam("employee_id"),
        assignments.c.kind == bindparam("kind"),
    )
    .order_by(assignments.c.effective_from)
)


def locking(employee_id: str) -> tuple[Call, Call]:
    """Return what locks an employee's row against change and finds their managers, for `line_of`."""
    return _LOCKED.having(employee_id=employee_id), assigned(employee_id, "manager")


def _standing(locked: Sequence[Result], on: date) -> tuple[Any | None, str | None]:
    """Return an employee's locked row, None if nothing is known, and their manager on a day."""
    rows, managers = locked
    return (rows.rows[0] if rows.rows else None), value_on(managers.rows, on)


async def reports_of(connection: AsyncConnection, manager_id: str, on: date) -> set[str]:
    """Return everybody whose reporting line leads up to the manager on a day, the manager left out."""
    found: set[str] = set()
    level = {manager_id}
    for _ in range(LONGEST_LINE):
        level = await _managed_by(connection, level, on) - found - {manager_id}
        if not level:
            break
        found |= level
    return found


def assigned(employee_id: str, kind: Kind) -> Call:
    """Return what finds an employee's locations or managers, for `value_on`."""
    return _ASSIGNED.having(employee_id=employee_id, kind=kind)


def value_on(rows: Iterable[Any], on: date) -> str | None:
    """Return which of the dated values holds on a day; before the first, the first."""
    value: str | None = None
    for number, row in enumerate(rows):
        if number == 0 or row.effective_from <= on:
            value = row.value
    return value


async def _managed_by(connection: AsyncConnection, managers: Iterable[str], on: date) -> set[str]:
    later = assignments.alias()
    rows = await connection.execute(
        select(assignments.c.employee_id).where(
            live(assignments, Employees.name),
            assignments.c.kind == "manager",
            assignments.c.value.in_(sorted(managers)),
            assignments.c.effective_from <= on,
            ~exists().where(
                later.c.generation == assignments.c.generation,
                later.c.employee_id == assignments.c.employee_id,
                later.c.kind == assignments.c.kind,
                later.c.effective_from > assignments.c.effective_from,
                later.c.effective_from <= on,
            ),
        )
    )
    return {row.employee_id for row in rows}
