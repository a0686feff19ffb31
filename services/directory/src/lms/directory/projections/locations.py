"""The view `locations`."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from sqlalchemy import VARCHAR, Column, Integer, SmallInteger, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.directory.events import LocationCalendarChanged, LocationCreated
from lms.directory.store import metadata
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.pages import behind
from lms.kernel.projection import Handler, Projection, Update, Upsert, Write, live
from lms.kernel.schema import name

locations = Table(
    "locations",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("location_id", name(36), primary_key=True),
    Column("name", VARCHAR(120), nullable=False),
    Column("country", name(2), nullable=False),
    Column("subdivision", name(10), nullable=True),
    Column("time_zone", name(60), nullable=False),
    Column("calendar_id", name(36), nullable=False),
    Column("version", Integer, nullable=False),
)


def _created(event: LocationCreated, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(locations, {**event.model_dump(), "version": envelope.version})


def _calendar_changed(event: LocationCalendarChanged, envelope: Envelope) -> Iterable[Write]:
    values = {"calendar_id": event.calendar_id, "version": envelope.version}
    yield Update(locations, {"location_id": event.location_id}, values)


class Locations(Projection):
    """All places of work."""

    name: ClassVar[str] = "locations"
    tables: ClassVar[tuple[Table, ...]] = (locations,)
    handlers: ClassVar[Mapping[type[Event] | type[ForeignEvent], Handler]] = {
        LocationCreated: _created,
        LocationCalendarChanged: _calendar_changed,
    }


async def find(connection: AsyncConnection, *, limit: int, after: tuple[str, str] | None = None) -> list[Any]:
    """Return locations by name and id, from behind `after` on."""
    key = (locations.c.name, locations.c.location_id)
    statement = select(locations).where(live(locations, "locations")).order_by(*key).limit(limit)
    if after is not None:
        statement = statement.where(behind(key, after))
    return list(await connection.execute(statement))


async def one(connection: AsyncConnection, location_id: str) -> Any | None:
    """Return one location."""
    found = await connection.execute(
        select(locations).where(live(locations, "locations"), locations.c.location_id == location_id)
    )
    return found.first()
