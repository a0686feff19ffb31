"""The view `people`: how somebody is reached, sealed, and who is in HR."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

from sqlalchemy import Boolean, Column, Date, Index, MetaData, SmallInteger, Table, bindparam, or_, select
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Upsert, Write, live
from lms.kernel.schema import name
from lms.kernel.sealed import Sealed
from lms.kernel.statements import Statement
from lms.notifications.decider import HR
from lms.notifications.upstream import (
    EmployeeContactChanged,
    EmployeeErased,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeRolesChanged,
)

people = Table(
    "people",
    MetaData(),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("in_hr", Boolean, nullable=False, server_default="0"),
    Column("last_day", Date),
    Column("sealed_name", LONGTEXT),
    Column("sealed_email", LONGTEXT),
    Column("erased", Boolean, nullable=False, server_default="0"),
    Index("people_in_hr", "generation", "in_hr"),
)


def _roles(event: EmployeeJoined | EmployeeRolesChanged, _envelope: Envelope) -> Iterable[Write]:
    yield Upsert(people, {"employee_id": event.employee_id, "in_hr": HR in event.roles})


def _left(event: EmployeeLeft, _envelope: Envelope) -> Iterable[Write]:
    yield Upsert(people, {"employee_id": event.employee_id, "last_day": event.last_day})


def _contact(event: EmployeeContactChanged, _envelope: Envelope) -> Iterable[Write]:
    row = {"sealed_name": event.name.model_dump_json(), "sealed_email": event.email.model_dump_json()}
    yield Upsert(people, {"employee_id": event.employee_id, **row})


def _erased(event: EmployeeErased, _envelope: Envelope) -> Iterable[Write]:
    row = {"in_hr": False, "sealed_name": None, "sealed_email": None, "erased": True}
    yield Upsert(people, {"employee_id": event.employee_id, **row})


class People(Projection):
    """Everybody; of who was erased nothing is left but that they were."""

    name: ClassVar[str] = "people"
    tables: ClassVar[tuple[Table, ...]] = (people,)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {
        EmployeeJoined: _roles,
        EmployeeRolesChanged: _roles,
        EmployeeLeft: _left,
        EmployeeContactChanged: _contact,
        EmployeeErased: _erased,
    }


@dataclass(frozen=True, slots=True)
class Contact:
    """How somebody is called and reached, sealed."""

    name: Sealed
    email: Sealed


_AMONG = (live(people, People.name), people.c.employee_id.in_(bindparam("people", expanding=True)))
_CONTACTS = Statement(
    select(people.c.employee_id, people.c.sealed_name, people.c.sealed_email).where(
        *_AMONG, people.c.sealed_email.is_not(None)
    )
)
HOLD = Statement(
    select(people.c.employee_id, people.c.erased)
    .where(*_AMONG)
    .order_by(people.c.employee_id)
    .with_for_update(read=True)
)
"""Whether each of the `people` was `erased`; the others cannot be until the transaction ends."""


async def contacts(connection: AsyncConnection, employee_ids: Collection[str]) -> dict[str, Contact]:
    """Return the contacts of those who have one."""
    rows = await _CONTACTS.rows(connection, people=sorted(employee_ids))
    return {
        row.employee_id: Contact(
            Sealed.model_validate_json(row.sealed_name), Sealed.model_validate_json(row.sealed_email)
        )
        for row in rows
    }


async def everybody_in_hr(connection: AsyncConnection, on: date) -> tuple[str, ...]:
    """Return who is in HR and employed on a day, in the order of their ids."""
    rows = await connection.execute(
        select(people.c.employee_id)
        .where(
            live(people, People.name),
            people.c.in_hr.is_(True),
            or_(people.c.last_day.is_(None), people.c.last_day >= on),
        )
        .order_by(people.c.employee_id)
    )
    return tuple(row.employee_id for row in rows)
