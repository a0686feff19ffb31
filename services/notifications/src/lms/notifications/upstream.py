"""The facts of other services that notifications reads, each with only the fields that it reads."""

from datetime import date
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from lms.kernel.event import ForeignEvent
from lms.kernel.sealed import Sealed

DIRECTORY = "leave.directory.v1"
REQUESTS = "leave.requests.v1"
APPROVALS = "leave.approvals.v1"


# --- directory ------------------------------------------------------------------------------------------------------


class EmployeeJoined(ForeignEvent):
    """Somebody is employed."""

    TYPE: ClassVar[str] = "employee.joined"
    employee_id: str
    roles: tuple[str, ...]


class EmployeeRolesChanged(ForeignEvent):
    """Somebody has these roles from now on."""

    TYPE: ClassVar[str] = "employee.roles-changed"
    employee_id: str
    roles: tuple[str, ...]


class EmployeeLeft(ForeignEvent):
    """Somebody's last day employed is known, or corrected."""

    TYPE: ClassVar[str] = "employee.left"
    employee_id: str
    last_day: date


class EmployeeContactChanged(ForeignEvent):
    """What somebody is called and where they are written to, sealed with their own data key."""

    TYPE: ClassVar[str] = "employee.contact-changed"
    employee_id: str
    name: Sealed
    email: Sealed


class EmployeeErased(ForeignEvent):
    """Everything sealed about this person stays closed for ever."""

    TYPE: ClassVar[str] = "employee.erased"
    employee_id: str


# --- requests -------------------------------------------------------------------------------------------------------


class _OfRequest(ForeignEvent):
    request_id: str
    revision: int
    employee_id: str
    leave_type: str


class LeaveRequested(_OfRequest):
    """Somebody asked for leave."""

    TYPE: ClassVar[str] = "leave.requested"
    start_date: date
    end_date: date


class LeaveAmended(_OfRequest):
    """The request has a newer revision; `requested_by` is the employee or somebody in HR."""

    TYPE: ClassVar[str] = "leave.amended"
    start_date: date
    end_date: date
    requested_by: str


class LeaveApprovalRequested(_OfRequest):
    """The revision waits for a decision; also that of a cancellation, with the dates that are to be cancelled."""

    TYPE: ClassVar[str] = "leave.approval-requested"
    start_date: date
    end_date: date


class LeaveConfirmed(_OfRequest):
    """The revision is the leave that stands."""

    TYPE: ClassVar[str] = "leave.confirmed"


class Day(BaseModel):
    """What a day of the leave costs."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    entitlement_minutes: int


class LeaveRecharged(_OfRequest):
    """The revision costs something else since what `cause` names changed; `confirmed`: it is leave that stands."""

    TYPE: ClassVar[str] = "leave.recharged"
    confirmed: bool
    cause: str
    days: tuple[Day, ...]
    days_before: tuple[Day, ...]


class LeaveRefused(_OfRequest):
    """The revision ends without leave; `reason` is the approver's, if one refused it."""

    TYPE: ClassVar[str] = "leave.refused"
    code: str
    standing_revision: int | None
    reason: Sealed | None


class LeaveCancelled(_OfRequest):
    """The request is over."""

    TYPE: ClassVar[str] = "leave.cancelled"
    open_revision: int | None
    confirmed_revision: int | None


# --- approvals ------------------------------------------------------------------------------------------------------


class _OfCase(ForeignEvent):
    request_id: str
    revision: int
    employee_id: str


class CaseOpened(_OfCase):
    """A decision is asked for, of the assignees or of anybody in the group; of nobody where it is automatic."""

    TYPE: ClassVar[str] = "approval.case-opened"
    leave_type: str
    kind: Literal["leave", "cancellation"]
    start_date: date
    end_date: date
    assignees: tuple[str, ...]
    group: str | None


class CaseReassigned(_OfCase):
    """Others are asked from now on."""

    TYPE: ClassVar[str] = "approval.case-reassigned"
    assignees: tuple[str, ...]
    group: str | None


class StepApproved(_OfCase):
    """A step that is not the last was approved; those of the next are asked."""

    TYPE: ClassVar[str] = "approval.step-approved"
    assignees: tuple[str, ...]
    group: str | None


class LeaveApproved(_OfCase):
    """The revision is approved; `decided_by` is null where no approval is needed."""

    TYPE: ClassVar[str] = "leave.approved"
    decided_by: str | None


class LeaveRejected(_OfCase):
    """The revision is rejected."""

    TYPE: ClassVar[str] = "leave.rejected"
    decided_by: str


class CaseClosed(_OfCase):
    """Nobody needs to decide any more."""

    TYPE: ClassVar[str] = "approval.case-closed"
    cause: Literal["superseded", "cancelled", "lapsed"]
