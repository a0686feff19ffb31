"""The view `employees`: who is employed when, in which department, where, for whom, and by which schedule."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date
from typing import Any, ClassVar, Literal

from sqlalchemy import (
    VARCHAR,
    Column,
    Date,
    Index,
    Integer,
    MetaData,
    Select,
    SmallInteger,
    Table,
    and_,
    bindparam,
    exists,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Update, Upsert, Write, live
from lms.kernel.schema import name
from lms.kernel.statements import Statement
from lms.requests.upstream import (
    EmployeeCostCentreChanged,
    EmployeeDepartmentChanged,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeLocationChanged,
    EmployeeManagerChanged,
    EmployeeScheduleAssigned,
)

Kind = Literal["department", "location", "manager", "schedule"]

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
"""`version` is the newest of the employee's stream that this view read."""

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

cost_centres = Table(
    "employee_cost_centres",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("effective_from", Date, primary_key=True),
    Column("cost_centre", VARCHAR(80), nullable=False),
)
"""Where somebody's cost is booked from which day on; empty: nowhere in particular."""


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
    values: dict[Kind, str | None] = {
        "department": event.department_id,
        "location": event.location_id,
        "manager": event.manager_id,
        "schedule": event.schedule_id,
    }
    for kind, value in values.items():
        yield _assignment(event.employee_id, kind, event.employed_from, value)
    yield _cost_centre(event.employee_id, event.employed_from, event.cost_centre)


def _left(event: EmployeeLeft, envelope: Envelope) -> Iterable[Write]:
    yield Update(
        employees, {"employee_id": event.employee_id}, {"last_day": event.last_day, "version": envelope.version}
    )


def _manager_changed(event: EmployeeManagerChanged, envelope: Envelope) -> Iterable[Write]:
    yield _seen(event.employee_id, envelope)
    yield _assignment(event.employee_id, "manager", event.effective_from, event.manager_id)


def _department_changed(event: EmployeeDepartmentChanged, envelope: Envelope) -> Iterable[Write]:
    yield _seen(event.employee_id, envelope)
    yield _assignment(event.employee_id, "department", event.effective_from, event.department_id)


def _location_changed(event: EmployeeLocationChanged, envelope: Envelope) -> Iterable[Write]:
    yield _seen(event.employee_id, envelope)
    yield _assignment(event.employee_id, "location", event.effective_from, event.location_id)


def _schedule_assigned(event: EmployeeScheduleAssigned, envelope: Envelope) -> Iterable[Write]:
    yield _seen(event.employee_id, envelope)
    yield _assignment(event.employee_id, "schedule", event.effective_from, event.schedule_id)


def _cost_centre_changed(event: EmployeeCostCentreChanged, envelope: Envelope) -> Iterable[Write]:
    yield _seen(event.employee_id, envelope)
    yield _cost_centre(event.employee_id, event.effective_from, event.cost_centre)


def _seen(employee_id: str, envelope: Envelope) -> Write:
    return Update(employees, {"employee_id": employee_id}, {"version": envelope.version})


def _assignment(employee_id: str, kind: Kind, since: date, value: str | None) -> Write:
    return Upsert(assignments, {"employee_id": employee_id, "kind": kind, "effective_from": since, "value": value})


def _cost_centre(employee_id: str, since: date, value: str) -> Write:
    return Upsert(cost_centres, {"employee_id": employee_id, "effective_from": since, "cost_centre": value})


class Employees(Projection):
    """Everybody who was ever employed."""

    name: ClassVar[str] = "employees"
    tables: ClassVar[tuple[Table, ...]] = (employees, assignments, cost_centres)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {
        EmployeeJoined: _joined,
        EmployeeLeft: _left,
        EmployeeManagerChanged: _manager_changed,
        EmployeeDepartmentChanged: _department_changed,
        EmployeeLocationChanged: _location_changed,
        EmployeeScheduleAssigned: _schedule_assigned,
        EmployeeCostCentreChanged: _cost_centre_changed,
    }


_HISTORY = (
    select(
        employees.c.employed_from,
        employees.c.last_day,
        employees.c.version,
        assignments.c.kind,
        assignments.c.effective_from,
        assignments.c.value,
    )
    .join(
        assignments,
        and_(
            assignments.c.generation == employees.c.generation,
            assignments.c.employee_id == employees.c.employee_id,
        ),
    )
    .where(live(employees, Employees.name), employees.c.employee_id == bindparam("employee_id"))
    .order_by(assignments.c.effective_from)
)
HISTORY = Statement(_HISTORY)
"""The employee's row joined with each of their assignments, oldest first: every request for leave asks this."""

HISTORY_HELD = Statement(_HISTORY.with_for_update(read=True))
"""The same, held until the transaction ends (`facts.py` says what for)."""


def assigned_ever(kind: Kind) -> Select[str | None]:
    """Return the query for every department, location, manager or schedule that `:employee_id` was ever given."""
    return select(assignments.c.value).where(
        live(assignments, Employees.name),
        assignments.c.employee_id == bindparam("employee_id"),
        assignments.c.kind == kind,
    )


def ever_at(locations: Collection[str]) -> Select[str]:
    """Return the query for everybody who was ever assigned to one of the locations, or will be."""
    return select(assignments.c.employee_id).where(
        live(assignments, Employees.name),
        assignments.c.kind == "location",
        assignments.c.value.in_(sorted(locations)),
    )


async def ever_at_after(connection: AsyncConnection, locations: Collection[str], after: str, limit: int) -> list[str]:
    """Return the next ids of those whom `ever_at` finds, in their order."""
    employee_id = assignments.c.employee_id
    found = ever_at(locations).where(employee_id > after).distinct().order_by(employee_id).limit(limit)
    return list((await connection.execute(found)).scalars())


async def history_of(connection: AsyncConnection, employee_id: str) -> list[Any]:
    """Return the rows of HISTORY; nothing if nobody is known."""
    return list(await HISTORY.rows(connection, employee_id=employee_id))


async def reports_of(connection: AsyncConnection, manager_id: str, on: date) -> set[str]:
    """Return everybody whose reporting line leads up to the manager on a day, the manager left out."""
    found: set[str] = set()
    level = {manager_id}
    for _ in range(LONGEST_LINE):
        level = await _assigned(connection, "manager", level, on, on) - found - {manager_id}
        if not level:
            break
        found |= level
    return found


async def is_above(connection: AsyncConnection, manager_id: str, employee_id: str, on: date) -> bool:
    """Say whether the employee's reporting line leads up to the manager on a day."""
    person: str | None = employee_id
    for _ in range(LONGEST_LINE):
        person = await assigned_to(connection, "manager", person, on) if person is not None else None
        if person == manager_id or person is None:
            return person is not None
    return False


async def members_of(connection: AsyncConnection, department_id: str, first: date, last: date) -> set[str]:
    """Return everybody who belongs to the department on any of the days."""
    return await _assigned(connection, "department", {department_id}, first, last)


async def assigned_to(connection: AsyncConnection, kind: Kind, employee_id: str, on: date) -> str | None:
    """Return the department, location, manager or schedule of an employee on a day; before the first, the first."""
    rows = await connection.execute(
        select(assignments.c.effective_from, assignments.c.value)
        .where(live(assignments, Employees.name), assignments.c.employee_id == employee_id, assignments.c.kind == kind)
        .order_by(assignments.c.effective_from)
    )
    value: str | None = None
    for number, row in enumerate(rows):
        if number == 0 or row.effective_from <= on:
            value = row.value
    return value


COST_CENTRES = Statement(
    select(cost_centres.c.effective_from, cost_centres.c.cost_centre, employees.c.version)
    .join(
        employees,
        and_(
            employees.c.generation == cost_centres.c.generation,
            employees.c.employee_id == cost_centres.c.employee_id,
        ),
    )
    .where(live(cost_centres, Employees.name), cost_centres.c.employee_id == bindparam("employee_id"))
    .order_by(cost_centres.c.effective_from)
)
"""Each `effective_from` and `cost_centre` of an employee, oldest first, with their newest `version`."""


async def _assigned(
    connection: AsyncConnection, kind: Kind, values: Iterable[str], first: date, last: date
) -> set[str]:
    later = assignments.alias()
    rows = await connection.execute(
        select(assignments.c.employee_id).where(
            live(assignments, Employees.name),
            assignments.c.kind == kind,
            assignments.c.value.in_(sorted(values)),
            assignments.c.effective_from <= last,
            ~exists().where(
                later.c.generation == assignments.c.generation,
                later.c.employee_id == assignments.c.employee_id,
                later.c.kind == assignments.c.kind,
                later.c.effective_from > assignments.c.effective_from,
                later.c.effective_from <= first,
            ),
        )
    )
    return {row.employee_id for row in rows}
