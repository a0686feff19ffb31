"""The view `departments`."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from sqlalchemy import VARCHAR, Column, Integer, SmallInteger, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.directory.events import DepartmentCreated, DepartmentHeadChanged, DepartmentRenamed
from lms.directory.store import metadata
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.pages import behind
from lms.kernel.projection import Handler, Projection, Update, Upsert, Write, live
from lms.kernel.schema import name

departments = Table(
    "departments",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("department_id", name(36), primary_key=True),
    Column("name", VARCHAR(120), nullable=False),
    Column("head_id", name(36), nullable=True),
    Column("version", Integer, nullable=False),
)


def _created(event: DepartmentCreated, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(departments, {**event.model_dump(), "version": envelope.version})


def _renamed(event: DepartmentRenamed, envelope: Envelope) -> Iterable[Write]:
    values = {"name": event.name, "version": envelope.version}
    yield Update(departments, {"department_id": event.department_id}, values)


def _head_changed(event: DepartmentHeadChanged, envelope: Envelope) -> Iterable[Write]:
    values = {"head_id": event.head_id, "version": envelope.version}
    yield Update(departments, {"department_id": event.department_id}, values)


class Departments(Projection):
    """All departments."""

    name: ClassVar[str] = "departments"
    tables: ClassVar[tuple[Table, ...]] = (departments,)
    handlers: ClassVar[Mapping[type[Event] | type[ForeignEvent], Handler]] = {
        DepartmentCreated: _created,
        DepartmentRenamed: _renamed,
        DepartmentHeadChanged: _head_changed,
    }


async def find(connection: AsyncConnection, *, limit: int, after: tuple[str, str] | None = None) -> list[Any]:
    """Return departments by name and id, from behind `after` on."""
    key = (departments.c.name, departments.c.department_id)
    statement = select(departments).where(live(departments, "departments")).order_by(*key).limit(limit)
    if after is not None:
        statement = statement.where(behind(key, after))
    return list(await connection.execute(statement))


async def one(connection: AsyncConnection, department_id: str) -> Any | None:
    """Return one department."""
    found = await connection.execute(
        select(departments).where(live(departments, "departments"), departments.c.department_id == department_id)
    )
    return found.first()
