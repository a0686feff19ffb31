"""The view `calendars`: holiday calendars and their dates."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, ClassVar

from sqlalchemy import VARCHAR, Column, Date, Integer, SmallInteger, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.directory.events import CalendarCreated, CalendarHolidaysAdded, CalendarHolidaysRemoved
from lms.directory.store import metadata
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.pages import behind
from lms.kernel.projection import Delete, Handler, Projection, Update, Upsert, Write, live
from lms.kernel.schema import name

calendars = Table(
    "calendars",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("calendar_id", name(36), primary_key=True),
    Column("name", VARCHAR(120), nullable=False),
    Column("country", name(2), nullable=False),
    Column("subdivision", name(10), nullable=True),
    Column("version", Integer, nullable=False),
)

calendar_holidays = Table(
    "calendar_holidays",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("calendar_id", name(36), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("name", VARCHAR(200), nullable=False),
    Column("part", name(10), nullable=False),
)


def _created(event: CalendarCreated, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(calendars, {**event.model_dump(), "version": envelope.version})


def _added(event: CalendarHolidaysAdded, envelope: Envelope) -> Iterable[Write]:
    yield Update(calendars, {"calendar_id": event.calendar_id}, {"version": envelope.version})
    for holiday in event.holidays:
        yield Upsert(
            calendar_holidays,
            {
                "calendar_id": event.calendar_id,
                "day": holiday.date,
                "name": holiday.name,
                "part": holiday.part,
            },
        )


def _removed(event: CalendarHolidaysRemoved, envelope: Envelope) -> Iterable[Write]:
    yield Update(calendars, {"calendar_id": event.calendar_id}, {"version": envelope.version})
    for day in event.dates:
        yield Delete(calendar_holidays, {"calendar_id": event.calendar_id, "day": day})


class Calendars(Projection):
    """All holiday calendars."""

    name: ClassVar[str] = "calendars"
    tables: ClassVar[tuple[Table, ...]] = (calendars, calendar_holidays)
    handlers: ClassVar[Mapping[type[Event] | type[ForeignEvent], Handler]] = {
        CalendarCreated: _created,
        CalendarHolidaysAdded: _added,
        CalendarHolidaysRemoved: _removed,
    }


async def find(connection: AsyncConnection, *, limit: int, after: tuple[str, str] | None = None) -> list[Any]:
    """Return calendars by name and id, from behind `after` on."""
    key = (calendars.c.name, calendars.c.calendar_id)
    statement = select(calendars).where(live(calendars, "calendars")).order_by(*key).limit(limit)
    if after is not None:
        statement = statement.where(behind(key, after))
    return list(await connection.execute(statement))


async def one(connection: AsyncConnection, calendar_id: str) -> Any | None:
    """Return one calendar."""
    found = await connection.execute(
        select(calendars).where(live(calendars, "calendars"), calendars.c.calendar_id == calendar_id)
    )
    return found.first()


async def holidays(connection: AsyncConnection, calendar_id: str, first: date, last: date) -> list[Any]:
    """Return a calendar's holidays from `first` to `last`, both included."""
    rows = await connection.execute(
        select(calendar_holidays)
        .where(
            live(calendar_holidays, "calendars"),
            calendar_holidays.c.calendar_id == calendar_id,
            calendar_holidays.c.day.between(first, last),
        )
        .order_by(calendar_holidays.c.day)
    )
    return list(rows)
