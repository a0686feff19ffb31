"""The facts of other services that balances reads, each with only the fields that it reads."""

from datetime import date
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from lms.kernel.event import ForeignEvent


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class EmployeeJoined(ForeignEvent):
    """Somebody is employed from a day on."""

    TYPE: ClassVar[str] = "employee.joined"
    employee_id: str
    employed_from: date
    location_id: str
    manager_id: str | None


class EmployeeLeft(ForeignEvent):
    """Somebody's last day employed is known."""

    TYPE: ClassVar[str] = "employee.left"
    employee_id: str
    last_day: date


class EmployeeLocationChanged(ForeignEvent):
    """Somebody belongs to another location from a day on."""

    TYPE: ClassVar[str] = "employee.location-changed"
    employee_id: str
    location_id: str
    effective_from: date


class EmployeeManagerChanged(ForeignEvent):
    """Somebody reports to somebody else, or to nobody, from a day on."""

    TYPE: ClassVar[str] = "employee.manager-changed"
    employee_id: str
    manager_id: str | None
    effective_from: date


class Day(_Part):
    """What one day of a leave costs."""

    date: date
    entitlement_minutes: int
    scheduled_minutes: int


class Rest(_Part):
    """A version of a stream that the days were computed from."""

    stream: str
    version: int


class LeaveRequested(ForeignEvent):
    """Somebody asks for leave."""

    TYPE: ClassVar[str] = "leave.requested"
    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    days: tuple[Day, ...]
    rests_on: tuple[Rest, ...]


class LeaveAmended(ForeignEvent):
    """A request is to change: the open revision lapses; a confirmed one stands until this one is confirmed."""

    TYPE: ClassVar[str] = "leave.amended"
    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    days: tuple[Day, ...]
    rests_on: tuple[Rest, ...]
    replaces_revision: int | None


class LeaveConfirmed(ForeignEvent):
    """The leave of a revision is taken."""

    TYPE: ClassVar[str] = "leave.confirmed"
    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    days: tuple[Day, ...]
    replaces_revision: int | None


class LeaveRecharged(ForeignEvent):
    """A revision costs something else since holidays, a schedule or a location changed."""

    TYPE: ClassVar[str] = "leave.recharged"
    request_id: str
    revision: int
    employee_id: str
    cause: Literal["holidays", "schedule", "location"]
    days: tuple[Day, ...]
    rests_on: tuple[Rest, ...]


class LeaveRefused(ForeignEvent):
    """A revision will not be; what it was to replace stands."""

    TYPE: ClassVar[str] = "leave.refused"
    request_id: str
    revision: int
    employee_id: str


class LeaveCancelled(ForeignEvent):
    """A request is cancelled as a whole."""

    TYPE: ClassVar[str] = "leave.cancelled"
    request_id: str
    employee_id: str
