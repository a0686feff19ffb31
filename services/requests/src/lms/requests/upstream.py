"""The facts of other services that requests reads, each with only the fields that it reads."""

from datetime import date
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from lms.kernel.event import ForeignEvent
from lms.kernel.sealed import Sealed

DIRECTORY = "leave.directory.v1"
BALANCES = "leave.balances.v1"
APPROVALS = "leave.approvals.v1"

DayPart = Literal["full", "morning", "afternoon"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


# --- directory ------------------------------------------------------------------------------------------------------


class EmployeeJoined(ForeignEvent):
    """Somebody is employed from a day on; the other fields hold from that day."""

    TYPE: ClassVar[str] = "employee.joined"
    employee_id: str
    employed_from: date
    department_id: str
    location_id: str
    manager_id: str | None
    schedule_id: str
    cost_centre: str


class EmployeeLeft(ForeignEvent):
    """Somebody's last day employed is known, or corrected."""

    TYPE: ClassVar[str] = "employee.left"
    employee_id: str
    last_day: date


class EmployeeManagerChanged(ForeignEvent):
    """Somebody reports to somebody else, or to nobody, from a day on."""

    TYPE: ClassVar[str] = "employee.manager-changed"
    employee_id: str
    manager_id: str | None
    effective_from: date


class EmployeeDepartmentChanged(ForeignEvent):
    """Somebody belongs to another department from a day on."""

    TYPE: ClassVar[str] = "employee.department-changed"
    employee_id: str
    department_id: str
    effective_from: date


class EmployeeLocationChanged(ForeignEvent):
    """Somebody belongs to another location from a day on."""

    TYPE: ClassVar[str] = "employee.location-changed"
    employee_id: str
    location_id: str
    effective_from: date


class EmployeeScheduleAssigned(ForeignEvent):
    """Somebody works by another schedule from a day on."""

    TYPE: ClassVar[str] = "employee.schedule-assigned"
    employee_id: str
    schedule_id: str
    effective_from: date


class EmployeeCostCentreChanged(ForeignEvent):
    """Somebody's cost is booked elsewhere from a day on; empty: nowhere in particular."""

    TYPE: ClassVar[str] = "employee.cost-centre-changed"
    employee_id: str
    cost_centre: str
    effective_from: date


class LocationCreated(ForeignEvent):
    """There is a place of work, with a holiday calendar."""

    TYPE: ClassVar[str] = "location.created"
    location_id: str
    calendar_id: str


class LocationCalendarChanged(ForeignEvent):
    """A location keeps the holidays of another calendar."""

    TYPE: ClassVar[str] = "location.calendar-changed"
    location_id: str
    calendar_id: str


class WorkDay(_Part):
    """The scheduled minutes of a weekday's halves."""

    morning_minutes: int
    afternoon_minutes: int


class ScheduleDefined(ForeignEvent):
    """A work schedule, which never changes: the weeks, Monday to Sunday, rotate from `anchor` on."""

    TYPE: ClassVar[str] = "schedule.defined"
    schedule_id: str
    anchor: date
    weeks: tuple[tuple[WorkDay, ...], ...]


class CalendarCreated(ForeignEvent):
    """There is a holiday calendar."""

    TYPE: ClassVar[str] = "calendar.created"
    calendar_id: str


class Holiday(_Part):
    """A public holiday: the full day or one half of it."""

    date: date
    part: DayPart


class CalendarHolidaysAdded(ForeignEvent):
    """These dates are holidays now; a date has at most one entry."""

    TYPE: ClassVar[str] = "calendar.holidays-added"
    calendar_id: str
    holidays: tuple[Holiday, ...]


class CalendarHolidaysRemoved(ForeignEvent):
    """These dates are no holidays any more."""

    TYPE: ClassVar[str] = "calendar.holidays-removed"
    calendar_id: str
    dates: tuple[date, ...]


# --- balances -------------------------------------------------------------------------------------------------------


class _LeaveTypeTerms(ForeignEvent):
    leave_type: str
    name: str
    unit: Literal["day", "half-day", "hour"]
    paid: bool
    pay_code: str
    needs_approval: bool
    attachment_after_days: int | None
    min_notice_days: int
    max_length_days: int | None
    reason_visible_to: tuple[str, ...]


class LeaveTypeDefined(_LeaveTypeTerms):
    """There is a type of leave."""

    TYPE: ClassVar[str] = "leave-type.defined"


class LeaveTypeChanged(_LeaveTypeTerms):
    """A type's terms are these from now on."""

    TYPE: ClassVar[str] = "leave-type.changed"


class Blackout(_Part):
    """Days, both inclusive, on which leave of the type cannot be taken."""

    first_day: date
    last_day: date


class PolicyPublished(ForeignEvent):
    """A version of a policy applies from a day on; `locations` null: everywhere."""

    TYPE: ClassVar[str] = "policy.published"
    policy_id: str
    version: int
    leave_type: str
    locations: tuple[str, ...] | None
    effective_from: date
    waiting_period_days: int
    blackouts: tuple[Blackout, ...]


class RestsOn(_Part):
    """A version of a foreign stream that the reservation rests on, as the revision named it."""

    stream: str
    version: int


class BalanceReserved(ForeignEvent):
    """The revision's minutes are set aside."""

    TYPE: ClassVar[str] = "balance.reserved"
    employee_id: str
    request_id: str
    revision: int
    rests_on: tuple[RestsOn, ...]


class BalanceInsufficient(ForeignEvent):
    """The revision's minutes cannot be covered: `cause` is `balance`, or the rule that stands against it."""

    TYPE: ClassVar[str] = "balance.insufficient"
    employee_id: str
    request_id: str
    revision: int
    cause: str


# --- approvals ------------------------------------------------------------------------------------------------------


class LeaveApproved(ForeignEvent):
    """The revision was approved; `decided_by` null: because its type needs no approval."""

    TYPE: ClassVar[str] = "leave.approved"
    employee_id: str
    request_id: str
    revision: int
    decided_by: str | None


class LeaveRejected(ForeignEvent):
    """The revision was rejected, with a reason that only the requester's data key opens."""

    TYPE: ClassVar[str] = "leave.rejected"
    employee_id: str
    request_id: str
    revision: int
    decided_by: str | None
    reason: Sealed | None
