"""Who is employed when and where, and who reports to whom: the directory's facts as balances needs them."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, ClassVar

from sqlalchemy import Column, Date, MetaData, SmallInteger, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.balances.decider.rulebook import Employment, Location
from lms.balances.upstream import (
    EmployeeJoined,
    EmployeeLeft,
    EmployeeLocationChanged,
    EmployeeManagerChanged,
)
from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Update, Upsert, Write, live
from lms.kernel.schema import name

_TALLEST_TREE = 50
"""Reporting lines longer than this are a fault of the directory; the walk up stops there."""

_metadata = MetaData()

people = Table(
    "people",
    _metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("employed_from", Date, nullable=False),
    Column("last_day", Date, nullable=True),
)
person_locations = Table(
    "person_locations",
    _metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("effective_from", Date, primary_key=True),
    Column("location_id", name(36), nullable=False),
)
person_managers = Table(
    "person_managers",
    _metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("effective_from", Date, primary_key=True),
    Column("manager_id", name(36), nullable=True),
)


def _joined(event: EmployeeJoined, _envelope: Envelope) -> Iterable[Write]:
    who = {"employee_id": event.employee_id}
    since = {**who, "effective_from": event.employed_from}
    return (
        Upsert(people, {**who, "employed_from": event.employed_from, "last_day": None}),
        Upsert(person_locations, {**since, "location_id": event.location_id}),
        Upsert(person_managers, {**since, "manager_id": event.manager_id}),
    )


def _left(event: EmployeeLeft, _envelope: Envelope) -> Iterable[Write]:
    return (Update(people, {"employee_id": event.employee_id}, {"last_day": event.last_day}),)


def _moved(event: EmployeeLocationChanged, _envelope: Envelope) -> Iterable[Write]:
    row = {
        "employee_id": event.employee_id,
        "effective_from": event.effective_from,
        "location_id": event.location_id,
    }
    return (Upsert(person_locations, row),)


def _reports_to(event: EmployeeManagerChanged, _envelope: Envelope) -> Iterable[Write]:
    row = {
        "employee_id": event.employee_id,
        "effective_from": event.effective_from,
        "manager_id": event.manager_id,
    }
    return (Upsert(person_managers, row),)


class People(Projection):
    """The view `people` with its two histories."""

    name: ClassVar[str] = "people"
    tables: ClassVar[tuple[Table, ...]] = (people, person_locations, person_managers)
    handlers: ClassVar[Mapping[type[Any], Callable[[Any, Envelope], Iterable[Write]]]] = {
        EmployeeJoined: _joined,
        EmployeeLeft: _left,
        EmployeeLocationChanged: _moved,
        EmployeeManagerChanged: _reports_to,
    }


async def employment_of(connection: AsyncConnection, employee_id: str) -> Employment | None:
    """Return somebody's employment, None for a person that the directory has not told of."""
    row = (
        await connection.execute(
            select(people.c.employed_from, people.c.last_day).where(
                live(people, People.name), people.c.employee_id == employee_id
            )
        )
    ).first()
    if row is None:
        return None
    places = await connection.execute(
        select(person_locations.c.effective_from, person_locations.c.location_id)
        .where(live(person_locations, People.name), person_locations.c.employee_id == employee_id)
        .order_by(person_locations.c.effective_from)
    )
    return Employment(
        row.employed_from, row.last_day, tuple(Location(one.effective_from, one.location_id) for one in places)
    )


async def exists(connection: AsyncConnection, employee_id: str) -> bool:
    """Say whether the directory has told of this person."""
    found = await connection.scalar(
        select(people.c.employee_id).where(live(people, People.name), people.c.employee_id == employee_id)
    )
    return found is not None


async def manages(connection: AsyncConnection, manager_id: str, employee_id: str, on: date) -> bool:
    """Say whether somebody stands above somebody else in the reporting line on a day, directly or further up."""
    current: str | None = employee_id
    for _ in range(_TALLEST_TREE):
        current = await connection.scalar(
            select(person_managers.c.manager_id)
            .where(
                live(person_managers, People.name),
                person_managers.c.employee_id == current,
                person_managers.c.effective_from <= on,
            )
            .order_by(person_managers.c.effective_from.desc())
            .limit(1)
        )
        if current is None or current == manager_id:
            break
    return current == manager_id


async def count(connection: AsyncConnection) -> int:
    """Return how many people there are."""
    return int(await connection.scalar(select(func.count()).select_from(people).where(live(people, People.name))) or 0)


async def after(connection: AsyncConnection, employee_id: str, limit: int) -> list[str]:
    """Return the next employee ids after `employee_id`, in their order."""
    rows = await connection.execute(
        select(people.c.employee_id)
        .where(live(people, People.name), people.c.employee_id > employee_id)
        .order_by(people.c.employee_id)
        .limit(limit)
    )
    return [str(one) for one in rows.scalars()]
