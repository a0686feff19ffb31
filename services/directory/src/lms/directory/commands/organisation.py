"""Use cases about departments, locations, schedules, holiday calendars and delegations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import holidays

from lms.directory.commands.people import UnknownReference, require_calendar, require_employee
from lms.directory.decider import CALENDAR, DELEGATION, DEPARTMENT, EMPLOYEE, LOCATION, SCHEDULE
from lms.directory.decider.calendar import (
    AddHolidays,
    CalendarCommand,
    CreateCalendar,
    FillHolidays,
    RemoveHoliday,
)
from lms.directory.decider.delegation import (
    Delegation,
    DelegationUnknown,
    GrantDelegation,
    RevokeDelegation,
)
from lms.directory.decider.department import ChangeHead, CreateDepartment, RenameDepartment
from lms.directory.decider.employee import Employed
from lms.directory.decider.location import ChangeCalendar, CreateLocation
from lms.directory.decider.schedule import DefineSchedule
from lms.directory.events import Holiday, WorkDay
from lms.kernel.errors import FieldError, RuleBroken, Stale
from lms.kernel.execution import UnitOfWork
from lms.kernel.ids import new_id


class CountryUnknown(RuleBroken):
    """No public holidays are known for the country or subdivision."""

    code = "country-unknown"


@dataclass(frozen=True)
class Written:
    """What a command made or changed, and where its stream stands."""

    id: str
    version: int


def public_holidays(country: str, subdivision: str | None, years: Iterable[int]) -> tuple[Holiday, ...]:
    """Return the public holidays of a country or subdivision as the `holidays` package knows them.

    Raises CountryUnknown.
    """
    try:
        found = holidays.country_holidays(country, subdiv=subdivision, years=sorted(set(years)), language="en_US")
    except NotImplementedError as error:
        pointer = "/subdivision" if country in holidays.list_supported_countries() else "/country"
        raise CountryUnknown(
            "No public holidays are known for this country or subdivision: leave `years` out and add the dates.",
            (FieldError(pointer, str(error)),),
        ) from error
    return tuple(Holiday(date=day, name=found[day][:200], part="full") for day in sorted(found))


async def create_department(uow: UnitOfWork, department_id: str, name: str, head_id: str | None = None) -> Written:
    """Found a department."""
    await require_employee(uow, head_id, "/head_id")
    command = CreateDepartment(department_id, name, head_id)
    handled = await uow.handle(DEPARTMENT, department_id, command, key=department_id)
    return Written(department_id, handled.version)


async def change_department(
    uow: UnitOfWork, department_id: str, changes: dict[str, str | None], *, expected_version: int | None
) -> Written:
    """Change the name, the head or both (keys `name` and `head_id`). Raises Stale."""
    version = (await uow.load(DEPARTMENT, department_id)).version
    if version:
        refuse_stale(version, expected_version)
    if changes.get("name") is not None:
        rename = RenameDepartment(str(changes["name"]))
        version = (await uow.handle(DEPARTMENT, department_id, rename, key=department_id)).version
    if "head_id" in changes:
        await require_employee(uow, changes["head_id"], "/head_id")
        head = ChangeHead(changes["head_id"])
        version = (await uow.handle(DEPARTMENT, department_id, head, key=department_id)).version
    return Written(department_id, version)


async def create_location(uow: UnitOfWork, command: CreateLocation) -> Written:
    """Open a place of work."""
    await require_calendar(uow, command.calendar_id)
    handled = await uow.handle(LOCATION, command.location_id, command, key=command.location_id)
    return Written(command.location_id, handled.version)


async def change_location_calendar(
    uow: UnitOfWork, location_id: str, calendar_id: str, *, expected_version: int | None
) -> Written:
    """Let the location keep another calendar. Raises Stale."""
    loaded = await uow.load(LOCATION, location_id)
    if loaded.version:
        refuse_stale(loaded.version, expected_version)
        await require_calendar(uow, calendar_id)
    handled = await uow.handle(LOCATION, location_id, ChangeCalendar(calendar_id), key=location_id)
    return Written(location_id, handled.version)


async def define_schedule(
    uow: UnitOfWork, schedule_id: str, name: str, anchor: date, weeks: Sequence[Sequence[WorkDay]]
) -> Written:
    """Define a work schedule."""
    command = DefineSchedule(schedule_id, name, anchor, tuple(tuple(week) for week in weeks))
    handled = await uow.handle(SCHEDULE, schedule_id, command, key=schedule_id)
    return Written(schedule_id, handled.version)


async def create_calendar(uow: UnitOfWork, command: CreateCalendar) -> Written:
    """Start a holiday calendar."""
    return await _calendar(uow, command.calendar_id, command)


async def add_holidays(uow: UnitOfWork, calendar_id: str, added: Sequence[Holiday]) -> Written:
    """Make dates holidays; a date that is another holiday already is refused."""
    return await _calendar(uow, calendar_id, AddHolidays(tuple(added)))


async def fill_holidays(uow: UnitOfWork, calendar_id: str, known: tuple[Holiday, ...]) -> Written:
    """Add the public holidays on dates that are none yet."""
    return await _calendar(uow, calendar_id, FillHolidays(known))


async def remove_holiday(uow: UnitOfWork, calendar_id: str, day: date) -> Written:
    """Make a holiday an ordinary date again."""
    return await _calendar(uow, calendar_id, RemoveHoliday(day))


async def grant_delegation(
    uow: UnitOfWork, delegator_id: str, delegate_id: str, first_day: date, last_day: date
) -> Written:
    """Let somebody stand in for a manager."""
    delegate = (await uow.load(EMPLOYEE, delegate_id)).state
    if not isinstance(delegate, Employed):
        raise UnknownReference(
            "What the request refers to does not exist; see the errors.",
            (FieldError("/delegate_id", "There is no employee with this id."),),
        )
    await require_employee(uow, delegator_id, "/delegator_id")
    delegation_id = new_id()
    command = GrantDelegation(
        delegation_id=delegation_id,
        delegator_id=delegator_id,
        delegate_id=delegate_id,
        first_day=first_day,
        last_day=last_day,
        today=uow.today,
        delegate_employed_from=delegate.employed_from,
        delegate_last_day=delegate.last_day,
    )
    handled = await uow.handle(DELEGATION, delegation_id, command, key=delegator_id)
    return Written(delegation_id, handled.version)


async def revoke_delegation(uow: UnitOfWork, delegation_id: str, *, only_of: str | None) -> Written:
    """End a delegation now; with `only_of`, that person's own alone (others do not exist for them)."""
    state = (await uow.load(DELEGATION, delegation_id)).state
    if not isinstance(state, Delegation) or (only_of is not None and state.delegator_id != only_of):
        raise DelegationUnknown("There is no such delegation.")
    handled = await uow.handle(DELEGATION, delegation_id, RevokeDelegation(), key=state.delegator_id)
    return Written(delegation_id, handled.version)


def refuse_stale(version: int, expected: int | None) -> None:
    """Raise Stale when the caller decided on another version."""
    if expected is not None and expected != version:
        raise Stale(
            f"It has changed since you read it (version {version}, not {expected}): read again and repeat your change."
        )


async def _calendar(uow: UnitOfWork, calendar_id: str, command: CalendarCommand) -> Written:
    handled = await uow.handle(CALENDAR, calendar_id, command, key=calendar_id)
    return Written(calendar_id, handled.version)
