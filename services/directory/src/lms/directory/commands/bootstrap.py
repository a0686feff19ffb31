"""The first administrator, and the least of an organisation that such a person needs."""

from datetime import date

from lms.directory import store
from lms.directory.commands import organisation
from lms.directory.commands.people import NewPerson, Registry, join_company
from lms.directory.decider.calendar import CreateCalendar
from lms.directory.decider.location import CreateLocation
from lms.directory.events import WorkDay
from lms.kernel.execution import Executor, UnitOfWork
from lms.kernel.ids import new_id

NAME = "Head office"

_EIGHT_HOURS = WorkDay(morning_minutes=240, afternoon_minutes=240)
_OFF = WorkDay(morning_minutes=0, afternoon_minutes=0)
_MONDAY = date(2024, 1, 1)


async def create_first_administrator(executor: Executor, registry: Registry, email: str, password_hash: str) -> bool:
    """Create the administrator where nobody is employed yet; say whether it was done.

    Everything happens in one transaction, and the unique address decides between two copies that start at once.
    """
    try:
        return await executor.run(lambda uow: _create(uow, registry, email, password_hash))
    except store.EmailTaken:
        return False


async def _create(uow: UnitOfWork, registry: Registry, email: str, password_hash: str) -> bool:
    if not await store.is_empty(uow.connection):
        return False
    calendar = await organisation.create_calendar(uow, CreateCalendar(new_id(), NAME, "US", None))
    location = CreateLocation(new_id(), NAME, "US", None, "UTC", calendar.id)
    await organisation.create_location(uow, location)
    department = await organisation.create_department(uow, new_id(), NAME)
    weeks = ((_EIGHT_HOURS,) * 5 + (_OFF,) * 2,)
    schedule = await organisation.define_schedule(uow, new_id(), "Monday to Friday, 8 h", _MONDAY, weeks)
    administrator = NewPerson(
        email=email,
        given_name="First",
        family_name="Administrator",
        department_id=department.id,
        location_id=location.location_id,
        manager_id=None,
        schedule_id=schedule.id,
        employed_from=uow.today,
        roles=("employee", "hr", "admin"),
        cost_centre="",
    )
    await join_company(uow, registry, new_id(), administrator, password_hash=password_hash)
    return True
