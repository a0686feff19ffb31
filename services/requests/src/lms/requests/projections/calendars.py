"""The view `calendars`: which holidays a location keeps."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, ClassVar

from sqlalchemy import Column, Date, Integer, SmallInteger, Table, and_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.projection import Delete, Projection, Update, Upsert, Write, live
from lms.kernel.schema import name
from lms.kernel.statements import Statement
from lms.requests.events import DayPart
from lms.requests.projections.employees import assigned_ever, metadata
from lms.requests.upstream import (
    CalendarCreated,
    CalendarHolidaysAdded,
    CalendarHolidaysRemoved,
    LocationCalendarChanged,
    LocationCreated,
)

locations = Table(
    "locations",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("location_id", name(36), primary_key=True),
    Column("calendar_id", name(36), nullable=False),
    Column("version", Integer, nullable=False),
)

calendars = Table(
    "calendars",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("calendar_id", name(36), primary_key=True),
    Column("version", Integer, nullable=False),
)

holidays = Table(
    "calendar_holidays",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("calendar_id", name(36), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("part", name(10), nullable=False),
)


def _location_created(event: LocationCreated | LocationCalendarChanged, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(
        locations,
        {"location_id": event.location_id, "calendar_id": event.calendar_id, "version": envelope.version},
    )


def _calendar_created(event: CalendarCreated, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(calendars, {"calendar_id": event.calendar_id, "version": envelope.version})


def _holidays_added(event: CalendarHolidaysAdded, envelope: Envelope) -> Iterable[Write]:
    yield Update(calendars, {"calendar_id": event.calendar_id}, {"version": envelope.version})
    for holiday in event.holidays:
        yield Upsert(holidays, {"calendar_id": event.calendar_id, "day": holiday.date, "part": holiday.part})


def _holidays_removed(event: CalendarHolidaysRemoved, envelope: Envelope) -> Iterable[Write]:
    yield Update(calendars, {"calendar_id": event.calendar_id}, {"version": envelope.version})
    for day in event.dates:
        yield Delete(holidays, {"calendar_id": event.calendar_id, "day": day})


class Calendars(Projection):
    """Locations, holiday calendars and their holidays."""

    name: ClassVar[str] = "calendars"
    tables: ClassVar[tuple[Table, ...]] = (locations, calendars, holidays)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {
        LocationCreated: _location_created,
        LocationCalendarChanged: _location_created,
        CalendarCreated: _calendar_created,
        CalendarHolidaysAdded: _holidays_added,
        CalendarHolidaysRemoved: _holidays_removed,
    }


@dataclass(frozen=True)
class KnownCalendar:
    """The calendar of a location with the holidays of some days, and the versions of both streams."""

    calendar_id: str
    version: int
    location_version: int
    holidays: dict[date, DayPart] = field(default_factory=dict)


_OF_EMPLOYEE = (
    select(
        locations.c.location_id,
        locations.c.calendar_id,
        locations.c.version.label("location_version"),
        calendars.c.version,
        holidays.c.day,
        holidays.c.part,
    )
    .join(
        calendars,
        and_(calendars.c.generation == locations.c.generation, calendars.c.calendar_id == locations.c.calendar_id),
    )
    .outerjoin(
        holidays,
        and_(
            holidays.c.generation == locations.c.generation,
            holidays.c.calendar_id == locations.c.calendar_id,
            holidays.c.day.between(bindparam("first"), bindparam("last")),
        ),
    )
    .where(live(locations, Calendars.name), locations.c.location_id.in_(assigned_ever("location")))
)
OF_EMPLOYEE = Statement(_OF_EMPLOYEE)
"""The locations that `:employee_id` was ever at and whose calendar is known here, with the holidays from `:first` to
`:last`; `by_location` reads the rows."""

OF_EMPLOYEE_HELD = Statement(_OF_EMPLOYEE.with_for_update(read=True))
"""The same, held until the transaction ends (`facts.py` says what for)."""


def by_location(rows: Iterable[Any]) -> dict[str, KnownCalendar]:
    """Return calendars by location."""
    found: dict[str, KnownCalendar] = {}
    for row in rows:
        calendar = found.setdefault(row.location_id, KnownCalendar(row.calendar_id, row.version, row.location_version))
        if row.day is not None:
            calendar.holidays[row.day] = row.part
    return found


async def locations_with(connection: AsyncConnection, calendar_id: str) -> list[str]:
    """Return the locations that keep a calendar, in the order of their ids."""
    found = (
        select(locations.c.location_id)
        .where(live(locations, Calendars.name), locations.c.calendar_id == calendar_id)
        .order_by(locations.c.location_id)
    )
    return list((await connection.execute(found)).scalars())
