"""Holiday calendars: everybody reads them, HR and administrators change them."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from lms.directory.api.access import Editor, Id, Name
from lms.directory.api.organisation import Country, Subdivision
from lms.directory.commands import organisation
from lms.directory.decider.calendar import CalendarUnknown, CreateCalendar
from lms.directory.events import DayPart, Holiday
from lms.directory.projections import calendars
from lms.kernel.auth import CallerDep
from lms.kernel.errors import Malformed
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep, StaleViewsDep, ViewsDep, answer
from lms.kernel.ids import new_id
from lms.kernel.pages import Page, PageDep

router = APIRouter(prefix="/api/v1/holiday-calendars", tags=["holiday calendars"])

Year = Annotated[int, Field(ge=1970, le=2100)]
Years = Annotated[tuple[Year, ...], Field(max_length=50)]


class NewHolidayBody(Body):
    """A date and what it is called; a `part` of morning or afternoon leaves the other half a working one."""

    date: date
    name: Annotated[str, Field(min_length=1, max_length=200)]
    part: DayPart = "full"


class NewCalendarBody(Body):
    """A calendar; the public holidays of `years` are filled in for its country and subdivision."""

    name: Name
    country: Country
    subdivision: Subdivision | None = None
    years: Years = ()


class HolidaysBody(Body):
    """Dates to add (`holidays`), or `years` whose public holidays are added on dates that are none yet, or both."""

    holidays: Annotated[tuple[NewHolidayBody, ...], Field(max_length=400)] = ()
    years: Years = ()


class HolidayAnswer(Answer):
    """A holiday."""

    date: date
    name: str
    part: DayPart


class CalendarAnswer(Answer):
    """A holiday calendar."""

    id: str
    name: str
    country: str
    subdivision: str | None
    version: int


class CalendarWithHolidays(CalendarAnswer):
    """A holiday calendar and its dates."""

    holidays: list[HolidayAnswer]


@router.get("", response_model=Page[CalendarAnswer])
async def list_calendars(caller: CallerDep, views: StaleViewsDep, page: PageDep) -> Response:
    """List calendars by name, without their dates."""
    del caller
    after = page.after(str, str)
    rows = await calendars.find(views.connection, limit=page.limit + 1, after=(after[0], after[1]) if after else None)
    return answer(
        Page[CalendarAnswer].of(
            rows,
            page,
            key=lambda row: (row.name, row.calendar_id),
            item=lambda row: CalendarAnswer(**_fields(row)),
        )
    )


@router.get("/{calendar_id}", response_model=CalendarWithHolidays)
async def get_calendar(calendar_id: Id, caller: CallerDep, views: ViewsDep, year: Year | None = None) -> Response:
    """Show a calendar with its holidays, of one year or of all."""
    del caller
    return answer(await _calendar(views.connection, calendar_id, year))


@router.post("", status_code=201, response_model=CalendarWithHolidays)
async def post_calendar(body: NewCalendarBody, caller: Editor, commands: CommandsDep) -> Response:
    """Start a calendar."""
    del caller
    known: tuple[Holiday, ...] = ()
    if body.years:
        known = organisation.public_holidays(body.country, body.subdivision, body.years)
    command = CreateCalendar(new_id(), body.name, body.country, body.subdivision, known)

    async def create(uow: UnitOfWork) -> CalendarWithHolidays:
        made = await organisation.create_calendar(uow, command)
        return await _calendar(uow.connection, made.id)

    return await commands.run(create, status=201, location=lambda made: f"/api/v1/holiday-calendars/{made.id}")


@router.post("/{calendar_id}/holidays", response_model=CalendarWithHolidays)
async def post_holidays(calendar_id: Id, body: HolidaysBody, caller: Editor, commands: CommandsDep) -> Response:
    """Add holidays. A date that is another holiday already is refused; years fill free dates only."""
    del caller
    if not body.holidays and not body.years:
        raise Malformed("Name the holidays, the years, or both.")
    added = [Holiday(**holiday.model_dump()) for holiday in body.holidays]

    async def add(uow: UnitOfWork) -> CalendarWithHolidays:
        if added:
            await organisation.add_holidays(uow, calendar_id, added)
        if body.years:
            standing = await _calendar(uow.connection, calendar_id)
            known = organisation.public_holidays(standing.country, standing.subdivision, body.years)
            await organisation.fill_holidays(uow, calendar_id, known)
        return await _calendar(uow.connection, calendar_id)

    return await commands.run(add)


@router.delete("/{calendar_id}/holidays/{day}", response_model=CalendarWithHolidays)
async def delete_holiday(calendar_id: Id, day: date, caller: Editor, commands: CommandsDep) -> Response:
    """Make a holiday an ordinary date again."""
    del caller

    async def remove(uow: UnitOfWork) -> CalendarWithHolidays:
        await organisation.remove_holiday(uow, calendar_id, day)
        return await _calendar(uow.connection, calendar_id)

    return await commands.run(remove)


async def _calendar(connection: AsyncConnection, calendar_id: str, year: int | None = None) -> CalendarWithHolidays:
    row = await calendars.one(connection, calendar_id)
    if row is None:
        raise CalendarUnknown("There is no such holiday calendar.")
    first, last = (date(year, 1, 1), date(year, 12, 31)) if year else (date.min, date.max)
    dates = await calendars.holidays(connection, calendar_id, first, last)
    return CalendarWithHolidays(
        **_fields(row), holidays=[HolidayAnswer(date=one.day, name=one.name, part=one.part) for one in dates]
    )


def _fields(row: Any) -> dict[str, Any]:
    return {
        "id": row.calendar_id,
        "name": row.name,
        "country": row.country,
        "subdivision": row.subdivision,
        "version": row.version,
    }
