"""The facts of the directory: who works here since when, for whom, where and by which schedule.

Effective-dated facts hold from `effective_from` until the next fact of the same kind with a later date; of
two with the same date, the later recorded one holds. No event carries a name, an address or any other personal
text of an employee in clear: those are plain rows that can be erased, or sealed with a key that can be destroyed.
"""

from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from lms.kernel.event import Event
from lms.kernel.sealed import Sealed

TOPIC = "leave.directory.v1"

Role = Literal["employee", "manager", "hr", "payroll", "auditor", "admin"]
DayPart = Literal["full", "morning", "afternoon"]
Minutes = Annotated[int, Field(ge=0, le=720)]


class EmployeeJoined(Event):
    """A person is employed from `employed_from` on; the other fields hold from that day.

    `cost_centre` is empty when the company keeps none; `manager_id` is null at the top of the tree.
    """

    TYPE: ClassVar[str] = "employee.joined"

    employee_id: str
    employed_from: date
    department_id: str
    location_id: str
    manager_id: str | None
    schedule_id: str
    roles: tuple[Role, ...]
    cost_centre: str


class EmployeeLeft(Event):
    """`last_day` is the last day of employment; a later fact of this kind corrects it."""

    TYPE: ClassVar[str] = "employee.left"

    employee_id: str
    last_day: date


class EmployeeManagerChanged(Event):
    """Another person (or nobody) is the manager."""

    TYPE: ClassVar[str] = "employee.manager-changed"

    employee_id: str
    manager_id: str | None
    effective_from: date


class EmployeeDepartmentChanged(Event):
    """The employee moved to another department."""

    TYPE: ClassVar[str] = "employee.department-changed"

    employee_id: str
    department_id: str
    effective_from: date


class EmployeeLocationChanged(Event):
    """The employee moved to another location, and with it to that location's holiday calendar."""

    TYPE: ClassVar[str] = "employee.location-changed"

    employee_id: str
    location_id: str
    effective_from: date


class EmployeeScheduleAssigned(Event):
    """The employee works by another schedule."""

    TYPE: ClassVar[str] = "employee.schedule-assigned"

    employee_id: str
    schedule_id: str
    effective_from: date


class EmployeeRolesChanged(Event):
    """What the employee may do, as a whole, from now on."""

    TYPE: ClassVar[str] = "employee.roles-changed"

    employee_id: str
    roles: tuple[Role, ...]


class EmployeeCostCentreChanged(Event):
    """The employee's cost is booked elsewhere; empty: nowhere in particular."""

    TYPE: ClassVar[str] = "employee.cost-centre-changed"

    employee_id: str
    cost_centre: str
    effective_from: date


class EmployeeContactChanged(Event):
    """What the person is called and where they are written to, sealed with their own data key.

    `name` is the given and the family name. Whoever sends mail may hold the key; nobody else can read this, and nobody
    at all after an erasure.
    """

    TYPE: ClassVar[str] = "employee.contact-changed"

    employee_id: str
    name: Sealed
    email: Sealed


class EmployeeInvited(Event):
    """The person may choose a password, with an invitation that takes the place of any earlier one.

    Whoever holds the invitation becomes the person; `by_administrator` says whether an administrator gave it out. With
    `locked` the password of before is worth nothing any more.
    """

    TYPE: ClassVar[str] = "employee.invited"

    employee_id: str
    by_administrator: bool
    locked: bool


class EmployeePasswordChosen(Event):
    """Whoever held the newest invitation chose the password. It has no actor: nobody can tell who that was."""

    TYPE: ClassVar[str] = "employee.password-chosen"

    employee_id: str


class EmployeeErased(Event):
    """The person's data key and plain rows are destroyed: everything sealed about them stays closed for ever."""

    TYPE: ClassVar[str] = "employee.erased"

    employee_id: str


class DepartmentCreated(Event):
    """There is a department; `head_id` is an employee or null."""

    TYPE: ClassVar[str] = "department.created"

    department_id: str
    name: str
    head_id: str | None


class DepartmentRenamed(Event):
    """The department goes by another name."""

    TYPE: ClassVar[str] = "department.renamed"

    department_id: str
    name: str


class DepartmentHeadChanged(Event):
    """Another employee, or nobody, heads the department."""

    TYPE: ClassVar[str] = "department.head-changed"

    department_id: str
    head_id: str | None


class LocationCreated(Event):
    """There is a place of work: `country` is ISO 3166-1 alpha-2, `time_zone` an IANA name."""

    TYPE: ClassVar[str] = "location.created"

    location_id: str
    name: str
    country: str
    subdivision: str | None
    time_zone: str
    calendar_id: str


class LocationCalendarChanged(Event):
    """The location keeps the holidays of another calendar."""

    TYPE: ClassVar[str] = "location.calendar-changed"

    location_id: str
    calendar_id: str


class WorkDay(BaseModel):
    """The scheduled minutes of one weekday's halves; 0 and 0 is a day off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    morning_minutes: Minutes
    afternoon_minutes: Minutes


class ScheduleDefined(Event):
    """A work schedule, never changed afterwards: a person is assigned another one instead.

    `anchor` is a Monday; the week of a date is number `weeks since the anchor, modulo len(weeks)`; each week
    lists its days from Monday to Sunday.
    """

    TYPE: ClassVar[str] = "schedule.defined"

    schedule_id: str
    name: str
    anchor: date
    weeks: tuple[tuple[WorkDay, ...], ...]


class Holiday(BaseModel):
    """A public holiday: the full day or one half of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: date
    name: str
    part: DayPart


class CalendarCreated(Event):
    """There is a holiday calendar for a country (ISO 3166-1 alpha-2) or one of its subdivisions."""

    TYPE: ClassVar[str] = "calendar.created"

    calendar_id: str
    name: str
    country: str
    subdivision: str | None


class CalendarHolidaysAdded(Event):
    """These dates are holidays now; a date has at most one entry."""

    TYPE: ClassVar[str] = "calendar.holidays-added"

    calendar_id: str
    holidays: tuple[Holiday, ...]


class CalendarHolidaysRemoved(Event):
    """These dates are no holidays any more."""

    TYPE: ClassVar[str] = "calendar.holidays-removed"

    calendar_id: str
    dates: tuple[date, ...]


class DelegationGranted(Event):
    """The delegate may decide for the delegator from `first_day` to `last_day`, both included."""

    TYPE: ClassVar[str] = "delegation.granted"

    delegation_id: str
    delegator_id: str
    delegate_id: str
    first_day: date
    last_day: date


class DelegationRevoked(Event):
    """The delegate may no longer decide for the delegator, from this moment on."""

    TYPE: ClassVar[str] = "delegation.revoked"

    delegation_id: str
    delegator_id: str
    delegate_id: str


EVENTS: tuple[type[Event], ...] = (
    EmployeeJoined,
    EmployeeLeft,
    EmployeeManagerChanged,
    EmployeeDepartmentChanged,
    EmployeeLocationChanged,
    EmployeeScheduleAssigned,
    EmployeeRolesChanged,
    EmployeeCostCentreChanged,
    EmployeeContactChanged,
    EmployeeInvited,
    EmployeePasswordChosen,
    EmployeeErased,
    DepartmentCreated,
    DepartmentRenamed,
    DepartmentHeadChanged,
    LocationCreated,
    LocationCalendarChanged,
    ScheduleDefined,
    CalendarCreated,
    CalendarHolidaysAdded,
    CalendarHolidaysRemoved,
    DelegationGranted,
    DelegationRevoked,
)

_ANNA = "019306a0-0000-7000-8000-000000000001"
_BEN = "019306a0-0000-7000-8000-000000000002"
_SALES = "019306a0-0000-7000-8000-000000000010"
_BERLIN = "019306a0-0000-7000-8000-000000000020"
_FULL_TIME = "019306a0-0000-7000-8000-000000000030"
_HOLIDAYS = "019306a0-0000-7000-8000-000000000040"
_DELEGATION = "019306a0-0000-7000-8000-000000000050"
_KEY = "019306a0-0000-7000-8000-000000000060"
_EIGHT_HOURS = WorkDay(morning_minutes=240, afternoon_minutes=240)
_OFF = WorkDay(morning_minutes=0, afternoon_minutes=0)

EXAMPLES: tuple[Event, ...] = (
    EmployeeJoined(
        employee_id=_ANNA,
        employed_from=date(2026, 1, 1),
        department_id=_SALES,
        location_id=_BERLIN,
        manager_id=_BEN,
        schedule_id=_FULL_TIME,
        roles=("employee",),
        cost_centre="4100",
    ),
    EmployeeLeft(employee_id=_ANNA, last_day=date(2026, 12, 31)),
    EmployeeManagerChanged(employee_id=_ANNA, manager_id=None, effective_from=date(2026, 4, 1)),
    EmployeeDepartmentChanged(employee_id=_ANNA, department_id=_SALES, effective_from=date(2026, 4, 1)),
    EmployeeLocationChanged(employee_id=_ANNA, location_id=_BERLIN, effective_from=date(2026, 4, 1)),
    EmployeeScheduleAssigned(employee_id=_ANNA, schedule_id=_FULL_TIME, effective_from=date(2026, 4, 1)),
    EmployeeRolesChanged(employee_id=_ANNA, roles=("employee", "hr")),
    EmployeeCostCentreChanged(employee_id=_ANNA, cost_centre="4200", effective_from=date(2026, 4, 1)),
    EmployeeContactChanged(
        employee_id=_ANNA,
        name=Sealed(sealed="q83vEjRWeJCrze8SNFZ4kKvN7w==", subject=_ANNA, key=_KEY),
        email=Sealed(sealed="EjRWeJCrze8SNFZ4kKvN7xI0Vg==", subject=_ANNA, key=_KEY),
    ),
    EmployeeInvited(employee_id=_ANNA, by_administrator=False, locked=False),
    EmployeePasswordChosen(employee_id=_ANNA),
    EmployeeErased(employee_id=_ANNA),
    DepartmentCreated(department_id=_SALES, name="Sales", head_id=None),
    DepartmentRenamed(department_id=_SALES, name="Sales and Service"),
    DepartmentHeadChanged(department_id=_SALES, head_id=_BEN),
    LocationCreated(
        location_id=_BERLIN,
        name="Berlin",
        country="DE",
        subdivision="BE",
        time_zone="Europe/Berlin",
        calendar_id=_HOLIDAYS,
    ),
    LocationCalendarChanged(location_id=_BERLIN, calendar_id=_HOLIDAYS),
    ScheduleDefined(
        schedule_id=_FULL_TIME,
        name="Full time",
        anchor=date(2024, 1, 1),
        weeks=((_EIGHT_HOURS,) * 5 + (_OFF,) * 2,),
    ),
    CalendarCreated(calendar_id=_HOLIDAYS, name="Germany, Berlin", country="DE", subdivision="BE"),
    CalendarHolidaysAdded(
        calendar_id=_HOLIDAYS,
        holidays=(Holiday(date=date(2026, 12, 25), name="Erster Weihnachtstag", part="full"),),
    ),
    CalendarHolidaysRemoved(calendar_id=_HOLIDAYS, dates=(date(2026, 12, 31),)),
    DelegationGranted(
        delegation_id=_DELEGATION,
        delegator_id=_BEN,
        delegate_id=_ANNA,
        first_day=date(2026, 7, 1),
        last_day=date(2026, 7, 14),
    ),
    DelegationRevoked(delegation_id=_DELEGATION, delegator_id=_BEN, delegate_id=_ANNA),
)
