"""Departments, locations and work schedules: everybody reads them, HR and administrators change them."""

from datetime import date
from typing import Annotated, Any
from zoneinfo import available_timezones

import orjson
from fastapi import APIRouter
from pydantic import AfterValidator, Field
from starlette.responses import Response

from lms.directory.api.access import Editor, Id, Name
from lms.directory.commands import organisation
from lms.directory.decider.department import DepartmentUnknown
from lms.directory.decider.location import CreateLocation, LocationUnknown
from lms.directory.events import WorkDay
from lms.directory.projections import departments, locations, schedules
from lms.kernel.auth import CallerDep
from lms.kernel.errors import NotFound
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep, IfMatchDep, StaleViewsDep, ViewsDep, answer
from lms.kernel.ids import new_id
from lms.kernel.pages import Page, PageDep

router = APIRouter(prefix="/api/v1", tags=["organisation"])

_TIME_ZONES = frozenset(available_timezones())


def _known_time_zone(value: str) -> str:
    if value not in _TIME_ZONES:
        raise ValueError("name a time zone of the IANA database, such as Europe/Berlin")
    return value


Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")]
Subdivision = Annotated[str, Field(pattern=r"^[A-Z0-9-]{1,10}$", description="ISO 3166-2, without the country")]
TimeZone = Annotated[str, AfterValidator(_known_time_zone)]


class ScheduleUnknown(NotFound):
    """No schedule has this id."""

    code = "schedule-not-found"


class NewDepartmentBody(Body):
    """A department to found."""

    name: Name
    head_id: Id | None = None


class DepartmentChangesBody(Body):
    """What to change of a department; what is left out stays."""

    name: Name = ""
    head_id: Id | None = None


class DepartmentAnswer(Answer):
    """A department."""

    id: str
    name: str
    head_id: str | None
    version: int


class NewLocationBody(Body):
    """A place of work to open; its people keep the holidays of `calendar_id`."""

    name: Name
    country: Country
    subdivision: Subdivision | None = None
    time_zone: TimeZone
    calendar_id: Id


class LocationChangesBody(Body):
    """The calendar that the location is to keep."""

    calendar_id: Id


class LocationAnswer(Answer):
    """A place of work."""

    id: str
    name: str
    country: str
    subdivision: str | None
    time_zone: str
    calendar_id: str
    version: int


class NewScheduleBody(Body):
    """A schedule: weeks of seven days from Monday on; the week that holds `anchor` (a Monday) is the first."""

    name: Name
    anchor: date = date(2024, 1, 1)
    weeks: list[list[WorkDay]]


class ScheduleAnswer(Answer):
    """A work schedule, which never changes."""

    id: str
    name: str
    anchor: date
    weeks: list[list[WorkDay]]
    version: int


@router.get("/departments", response_model=Page[DepartmentAnswer])
async def list_departments(caller: CallerDep, views: StaleViewsDep, page: PageDep) -> Response:
    """List departments by name."""
    del caller
    after = page.after(str, str)
    rows = await departments.find(views.connection, limit=page.limit + 1, after=(after[0], after[1]) if after else None)
    return answer(
        Page[DepartmentAnswer].of(rows, page, key=lambda row: (row.name, row.department_id), item=_department)
    )


@router.get("/departments/{department_id}", response_model=DepartmentAnswer)
async def get_department(department_id: Id, caller: CallerDep, views: ViewsDep) -> Response:
    """Show one department."""
    del caller
    row = await departments.one(views.connection, department_id)
    if row is None:
        raise DepartmentUnknown("There is no such department.")
    return answer(_department(row))


@router.post("/departments", status_code=201, response_model=DepartmentAnswer)
async def post_department(body: NewDepartmentBody, caller: Editor, commands: CommandsDep) -> Response:
    """Found a department."""
    del caller

    async def create(uow: UnitOfWork) -> DepartmentAnswer:
        made = await organisation.create_department(uow, new_id(), body.name, body.head_id)
        return _department(await departments.one(uow.connection, made.id))

    return await commands.run(create, status=201, location=lambda made: f"/api/v1/departments/{made.id}")


@router.patch("/departments/{department_id}", response_model=DepartmentAnswer)
async def patch_department(
    department_id: Id, body: DepartmentChangesBody, caller: Editor, commands: CommandsDep, if_match: IfMatchDep
) -> Response:
    """Rename a department or change its head. With If-Match only if nobody else changed it since."""
    del caller
    changes: dict[str, str | None] = {name: getattr(body, name) for name in body.model_fields_set}

    async def change(uow: UnitOfWork) -> DepartmentAnswer:
        await organisation.change_department(uow, department_id, changes, expected_version=if_match)
        row = await departments.one(uow.connection, department_id)
        if row is None:
            raise DepartmentUnknown("There is no such department.")
        return _department(row)

    return await commands.run(change)


@router.get("/locations", response_model=Page[LocationAnswer])
async def list_locations(caller: CallerDep, views: StaleViewsDep, page: PageDep) -> Response:
    """List locations by name."""
    del caller
    after = page.after(str, str)
    rows = await locations.find(views.connection, limit=page.limit + 1, after=(after[0], after[1]) if after else None)
    return answer(Page[LocationAnswer].of(rows, page, key=lambda row: (row.name, row.location_id), item=_location))


@router.get("/locations/{location_id}", response_model=LocationAnswer)
async def get_location(location_id: Id, caller: CallerDep, views: ViewsDep) -> Response:
    """Show one location."""
    del caller
    row = await locations.one(views.connection, location_id)
    if row is None:
        raise LocationUnknown("There is no such location.")
    return answer(_location(row))


@router.post("/locations", status_code=201, response_model=LocationAnswer)
async def post_location(body: NewLocationBody, caller: Editor, commands: CommandsDep) -> Response:
    """Open a place of work."""
    del caller

    async def create(uow: UnitOfWork) -> LocationAnswer:
        made = await organisation.create_location(uow, CreateLocation(location_id=new_id(), **body.model_dump()))
        return _location(await locations.one(uow.connection, made.id))

    return await commands.run(create, status=201, location=lambda made: f"/api/v1/locations/{made.id}")


@router.patch("/locations/{location_id}", response_model=LocationAnswer)
async def patch_location(
    location_id: Id, body: LocationChangesBody, caller: Editor, commands: CommandsDep, if_match: IfMatchDep
) -> Response:
    """Let a location keep another holiday calendar. With If-Match only if nobody else changed it since."""
    del caller

    async def change(uow: UnitOfWork) -> LocationAnswer:
        await organisation.change_location_calendar(uow, location_id, body.calendar_id, expected_version=if_match)
        return _location(await locations.one(uow.connection, location_id))

    return await commands.run(change)


@router.get("/schedules", response_model=Page[ScheduleAnswer])
async def list_schedules(caller: CallerDep, views: StaleViewsDep, page: PageDep) -> Response:
    """List work schedules by name."""
    del caller
    after = page.after(str, str)
    rows = await schedules.find(views.connection, limit=page.limit + 1, after=(after[0], after[1]) if after else None)
    return answer(Page[ScheduleAnswer].of(rows, page, key=lambda row: (row.name, row.schedule_id), item=_schedule))


@router.get("/schedules/{schedule_id}", response_model=ScheduleAnswer)
async def get_schedule(schedule_id: Id, caller: CallerDep, views: ViewsDep) -> Response:
    """Show one work schedule."""
    del caller
    row = await schedules.one(views.connection, schedule_id)
    if row is None:
        raise ScheduleUnknown("There is no such work schedule.")
    return answer(_schedule(row))


@router.post("/schedules", status_code=201, response_model=ScheduleAnswer)
async def post_schedule(body: NewScheduleBody, caller: Editor, commands: CommandsDep) -> Response:
    """Define a work schedule. To change somebody's hours, assign another one."""
    del caller

    async def define(uow: UnitOfWork) -> ScheduleAnswer:
        made = await organisation.define_schedule(uow, new_id(), body.name, body.anchor, body.weeks)
        return _schedule(await schedules.one(uow.connection, made.id))

    return await commands.run(define, status=201, location=lambda made: f"/api/v1/schedules/{made.id}")


def _department(row: Any) -> DepartmentAnswer:
    return DepartmentAnswer(id=row.department_id, name=row.name, head_id=row.head_id, version=row.version)


def _location(row: Any) -> LocationAnswer:
    return LocationAnswer(
        id=row.location_id,
        name=row.name,
        country=row.country,
        subdivision=row.subdivision,
        time_zone=row.time_zone,
        calendar_id=row.calendar_id,
        version=row.version,
    )


def _schedule(row: Any) -> ScheduleAnswer:
    return ScheduleAnswer(
        id=row.schedule_id, name=row.name, anchor=row.anchor, weeks=orjson.loads(row.weeks), version=row.version
    )
