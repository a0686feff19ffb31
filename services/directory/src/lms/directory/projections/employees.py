"""The view `employees`: everybody's employment, roles, and what held of them from which day on."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Literal, cast

from sqlalchemy import (
    VARCHAR,
    Column,
    ColumnElement,
    Date,
    Index,
    Integer,
    ScalarSelect,
    Select,
    SmallInteger,
    Table,
    func,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.directory.events import (
    EmployeeContactChanged,
    EmployeeCostCentreChanged,
    EmployeeDepartmentChanged,
    EmployeeErased,
    EmployeeInvited,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeLocationChanged,
    EmployeeManagerChanged,
    EmployeePasswordChosen,
    EmployeeRolesChanged,
    EmployeeScheduleAssigned,
    Role,
)
from lms.directory.store import matches_name, metadata, people
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.pages import behind
from lms.kernel.projection import Handler, Projection, Update, Upsert, Write, live
from lms.kernel.schema import name

Kind = Literal["department", "location", "manager", "schedule", "cost_centre"]
KINDS: tuple[Kind, ...] = ("department", "location", "manager", "schedule", "cost_centre")

employees = Table(
    "employees",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("employed_from", Date, nullable=False),
    Column("last_day", Date, nullable=True),
    Column("roles", VARCHAR(100), nullable=False),
    Column("version", Integer, nullable=False),
)
"""`roles` are separated by blanks; `version` is the stream's, and the ETag."""

assignments = Table(
    "employee_assignments",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("kind", name(12), primary_key=True),
    Column("effective_from", Date, primary_key=True),
    Column("value", VARCHAR(80), nullable=True),
    Index("employee_assignments_value", "generation", "kind", "value"),
)
"""What holds from which day on: a department, a location, a manager (or none), a schedule, a cost centre."""


def _joined(event: EmployeeJoined, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(
        employees,
        {
            "employee_id": event.employee_id,
            "employed_from": event.employed_from,
            "last_day": None,
            "roles": " ".join(event.roles),
            "version": envelope.version,
        },
    )
    values: dict[Kind, str | None] = {
        "department": event.department_id,
        "location": event.location_id,
        "manager": event.manager_id,
        "schedule": event.schedule_id,
        "cost_centre": event.cost_centre,
    }
    for kind, value in values.items():
        yield _assignment(event.employee_id, kind, event.employed_from, value)


def _left(event: EmployeeLeft, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope, last_day=event.last_day)


def _manager_changed(event: EmployeeManagerChanged, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope)
    yield _assignment(event.employee_id, "manager", event.effective_from, event.manager_id)


def _department_changed(event: EmployeeDepartmentChanged, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope)
    yield _assignment(event.employee_id, "department", event.effective_from, event.department_id)


def _location_changed(event: EmployeeLocationChanged, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope)
    yield _assignment(event.employee_id, "location", event.effective_from, event.location_id)


def _schedule_assigned(event: EmployeeScheduleAssigned, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope)
    yield _assignment(event.employee_id, "schedule", event.effective_from, event.schedule_id)


def _cost_centre_changed(event: EmployeeCostCentreChanged, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope)
    yield _assignment(event.employee_id, "cost_centre", event.effective_from, event.cost_centre)


def _roles_changed(event: EmployeeRolesChanged, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope, roles=" ".join(event.roles))


def _contact_changed(event: EmployeeContactChanged, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope)


def _invited(event: EmployeeInvited, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope)


def _password_chosen(event: EmployeePasswordChosen, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope)


def _erased(event: EmployeeErased, envelope: Envelope) -> Iterable[Write]:
    yield _employee(event.employee_id, envelope)


def _employee(employee_id: str, envelope: Envelope, **values: Any) -> Write:
    return Update(employees, {"employee_id": employee_id}, {**values, "version": envelope.version})


def _assignment(employee_id: str, kind: Kind, since: date, value: str | None) -> Write:
    return Upsert(
        assignments,
        {"employee_id": employee_id, "kind": kind, "effective_from": since, "value": value},
    )


class Employees(Projection):
    """Everybody who was ever employed."""

    name: ClassVar[str] = "employees"
    tables: ClassVar[tuple[Table, ...]] = (employees, assignments)
    handlers: ClassVar[Mapping[type[Event] | type[ForeignEvent], Handler]] = {
        EmployeeJoined: _joined,
        EmployeeLeft: _left,
        EmployeeManagerChanged: _manager_changed,
        EmployeeDepartmentChanged: _department_changed,
        EmployeeLocationChanged: _location_changed,
        EmployeeScheduleAssigned: _schedule_assigned,
        EmployeeCostCentreChanged: _cost_centre_changed,
        EmployeeRolesChanged: _roles_changed,
        EmployeeContactChanged: _contact_changed,
        EmployeeInvited: _invited,
        EmployeePasswordChosen: _password_chosen,
        EmployeeErased: _erased,
    }


@dataclass(frozen=True)
class EmployeeRow:
    """An employee as of one day; before the first day of employment, as of that day."""

    id: str
    given_name: str
    family_name: str
    email: str
    account: Literal["invited", "active"]
    employed_from: date
    last_day: date | None
    roles: tuple[Role, ...]
    version: int
    department_id: str
    location_id: str
    manager_id: str | None
    schedule_id: str
    cost_centre: str

    def has_left_by(self, day: date) -> bool:
        """Say whether the employment was over before `day`."""
        return self.last_day is not None and self.last_day < day


@dataclass(frozen=True)
class Criteria:
    """What a list of employees is narrowed by; None does not narrow."""

    ids: frozenset[str] | None = None
    department_id: str | None = None
    location_id: str | None = None
    manager_id: str | None = None
    status: Literal["invited", "active", "left"] | None = None
    email_hmacs: tuple[str, ...] | None = None
    """The look-up values that one address may have."""
    name: str | None = None
    current_only: bool = False
    """Leave out those who have left or have yet to come (for callers who may not know of them)."""

    @property
    def names_few(self) -> bool:
        """Say whether it is narrowed to those whom an index finds, such as the members of a department."""
        return any(
            one is not None
            for one in (self.ids, self.department_id, self.location_id, self.manager_id, self.email_hmacs)
        )


def _current(kind: Kind, today: date) -> ScalarSelect[Any]:
    held = assignments.alias()
    day = func.greatest(employees.c.employed_from, today)
    return (
        select(held.c.value)
        .where(
            held.c.generation == employees.c.generation,
            held.c.employee_id == employees.c.employee_id,
            held.c.kind == kind,
            held.c.effective_from <= day,
        )
        .order_by(held.c.effective_from.desc())
        .limit(1)
        .correlate(employees)
        .scalar_subquery()
    )


def _rows(today: date) -> Select[Any]:
    return (
        select(
            employees.c.employee_id,
            people.c.given_name,
            people.c.family_name,
            people.c.email,
            people.c.status,
            employees.c.employed_from,
            employees.c.last_day,
            employees.c.roles,
            employees.c.version,
            *(_current(kind, today).label(kind) for kind in KINDS),
        )
        .join(people, people.c.employee_id == employees.c.employee_id)
        .where(live(employees, "employees"))
    )


def _row(row: Any) -> EmployeeRow:
    return EmployeeRow(
        id=row.employee_id,
        given_name=row.given_name,
        family_name=row.family_name,
        email=row.email,
        account=row.status,
        employed_from=row.employed_from,
        last_day=row.last_day,
        roles=cast("tuple[Role, ...]", tuple(row.roles.split())),
        version=row.version,
        department_id=row.department,
        location_id=row.location,
        manager_id=row.manager,
        schedule_id=row.schedule,
        cost_centre=row.cost_centre,
    )


def _held_now(kind: Kind, value: str, today: date) -> list[ColumnElement[bool]]:
    """Return conditions that use the index first and then look whether the value is the current one."""
    ever = select(assignments.c.employee_id).where(
        live(assignments, "employees"), assignments.c.kind == kind, assignments.c.value == value
    )
    return [employees.c.employee_id.in_(ever), _current(kind, today) == value]


def _conditions(criteria: Criteria, today: date) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    narrowed: tuple[tuple[Kind, str | None], ...] = (
        ("department", criteria.department_id),
        ("location", criteria.location_id),
        ("manager", criteria.manager_id),
    )
    for kind, value in narrowed:
        if value is not None:
            conditions += _held_now(kind, value, today)
    here = or_(employees.c.last_day.is_(None), employees.c.last_day >= today)
    if criteria.ids is not None:
        conditions.append(employees.c.employee_id.in_(sorted(criteria.ids)))
    if criteria.status == "left":
        conditions.append(employees.c.last_day < today)
    elif criteria.status is not None:
        conditions += [people.c.status == criteria.status, here]
    if criteria.email_hmacs is not None:
        conditions.append(people.c.email_hmac.in_(criteria.email_hmacs))
    if criteria.name is not None:
        conditions.append(matches_name(criteria.name))
    if criteria.current_only:
        conditions += [here, employees.c.employed_from <= today]
    return conditions


async def find(
    connection: AsyncConnection,
    criteria: Criteria,
    today: date,
    *,
    limit: int,
    after: tuple[str, str, str] | None = None,
) -> list[EmployeeRow]:
    """Return employees by family name, given name and id, from behind `after` on."""
    key = (people.c.family_name, people.c.given_name, people.c.employee_id)
    wanted = (
        select(*key)
        .join(employees, employees.c.employee_id == people.c.employee_id)
        .where(live(employees, Employees.name), *_conditions(criteria, today))
        .order_by(*key)
        .limit(limit)
    )
    if not criteria.names_few:
        # In the order of names until the page is full. Left alone, the database reads and sorts everybody.
        wanted = wanted.prefix_with("STRAIGHT_JOIN")
    if after is not None:
        wanted = wanted.where(behind(key, after))
    ids = [row.employee_id for row in await connection.execute(wanted)]
    if not ids:
        return []
    found = await connection.execute(_rows(today).where(employees.c.employee_id.in_(ids)))
    rows = {row.employee_id: _row(row) for row in found}
    return [rows[one] for one in ids if one in rows]  # whoever was erased between the two is left out


async def count(connection: AsyncConnection) -> int:
    """Return how many people there are."""
    known = select(func.count()).select_from(employees).where(live(employees, Employees.name))
    return int(await connection.scalar(known) or 0)


async def one(connection: AsyncConnection, employee_id: str, today: date) -> EmployeeRow | None:
    """Return one employee."""
    found = await connection.execute(_rows(today).where(employees.c.employee_id == employee_id))
    row = found.first()
    return None if row is None else _row(row)


async def history(connection: AsyncConnection, employee_id: str) -> list[tuple[Kind, date, str | None]]:
    """Return everything that held of one employee, by kind and day."""
    rows = await connection.execute(
        select(assignments.c.kind, assignments.c.effective_from, assignments.c.value)
        .where(live(assignments, "employees"), assignments.c.employee_id == employee_id)
        .order_by(assignments.c.kind, assignments.c.effective_from)
    )
    return [(row.kind, row.effective_from, row.value) for row in rows]


async def lines_upwards(connection: AsyncConnection, ids: Collection[str], today: date) -> dict[str, frozenset[str]]:
    """Return everybody above each of the employees, up to the top of the tree."""
    above: dict[str, str | None] = {}
    level = set(ids)
    while level:
        rows = await connection.execute(
            select(employees.c.employee_id, _current("manager", today).label("manager")).where(
                live(employees, "employees"), employees.c.employee_id.in_(level)
            )
        )
        above |= dict.fromkeys(level) | {row.employee_id: row.manager for row in rows}
        level = {to for to in above.values() if to is not None} - set(above)
    chains: dict[str, frozenset[str]] = {}
    for employee_id in ids:
        chain: list[str] = []
        up = above.get(employee_id)
        while up is not None and up not in chain:
            chain.append(up)
            up = above.get(up)
        chains[employee_id] = frozenset(chain)
    return chains


async def has_reports(connection: AsyncConnection, employee_id: str, today: date) -> bool:
    """Say whether somebody who is employed reports to this person today."""
    criteria = Criteria(manager_id=employee_id, current_only=True)
    return bool(await find(connection, criteria, today, limit=1))


async def others_have(connection: AsyncConnection, roles: Collection[Role], but: str, today: date) -> bool:
    """Say whether somebody else who is employed today has one of the roles. It looks through everybody."""
    words = func.concat(" ", employees.c.roles, " ")
    found = await connection.scalar(
        select(employees.c.employee_id)
        .where(
            live(employees, Employees.name),
            employees.c.employee_id != but,
            or_(*(words.like(f"% {role} %") for role in sorted(roles))),
            employees.c.employed_from <= today,
            or_(employees.c.last_day.is_(None), employees.c.last_day >= today),
        )
        .limit(1)
    )
    return found is not None
