"""The facts of other services that approvals reads, each with only the fields that it reads."""

from datetime import date
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from lms.kernel.event import ForeignEvent

DIRECTORY = "leave.directory.v1"
BALANCES = "leave.balances.v1"
REQUESTS = "leave.requests.v1"


# --- directory ------------------------------------------------------------------------------------------------------


class EmployeeJoined(ForeignEvent):
    """Somebody is employed from a day on; the other fields hold from that day."""

    TYPE: ClassVar[str] = "employee.joined"
    employee_id: str
    employed_from: date
    location_id: str
    manager_id: str | None


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


class EmployeeLocationChanged(ForeignEvent):
    """Somebody belongs to another location from a day on."""

    TYPE: ClassVar[str] = "employee.location-changed"
    employee_id: str
    location_id: str
    effective_from: date


class DelegationGranted(ForeignEvent):
    """The delegate may decide for the delegator from the first to the last day, both included."""

    TYPE: ClassVar[str] = "delegation.granted"
    delegation_id: str
    delegator_id: str
    delegate_id: str
    first_day: date
    last_day: date


class DelegationRevoked(ForeignEvent):
    """The delegation is over."""

    TYPE: ClassVar[str] = "delegation.revoked"
    delegation_id: str


# --- balances -------------------------------------------------------------------------------------------------------


class PolicyPublished(ForeignEvent):
    """A version of a policy applies from a day on; `locations` null: everywhere."""

    TYPE: ClassVar[str] = "policy.published"
    policy_id: str
    version: int
    leave_type: str
    locations: tuple[str, ...] | None
    effective_from: date
    approval_steps: tuple[str, ...]


# --- requests -------------------------------------------------------------------------------------------------------


class Day(BaseModel):
    """What a day of the leave costs."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    entitlement_minutes: int


class LeaveApprovalRequested(ForeignEvent):
    """The revision waits for a decision."""

    TYPE: ClassVar[str] = "leave.approval-requested"
    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    kind: Literal["leave", "cancellation"]
    start_date: date
    end_date: date
    days: tuple[Day, ...]
    needs_approval: bool


class LeaveAmended(ForeignEvent):
    """The request has a newer revision; `supersedes_revision`, if any, is over."""

    TYPE: ClassVar[str] = "leave.amended"
    request_id: str
    employee_id: str
    supersedes_revision: int | None


class LeaveRecharged(ForeignEvent):
    """The revision costs something else since holidays or a schedule changed; `confirmed`: it is leave that stands."""

    TYPE: ClassVar[str] = "leave.recharged"
    request_id: str
    revision: int
    confirmed: bool
    days: tuple[Day, ...]


class LeaveCancelled(ForeignEvent):
    """The request is over; `open_revision`, if any, needs no decision any more."""

    TYPE: ClassVar[str] = "leave.cancelled"
    request_id: str
    employee_id: str
    open_revision: int | None


class LeaveRefused(ForeignEvent):
    """The revision is over; with the code `superseded` it was still open to decision."""

    TYPE: ClassVar[str] = "leave.refused"
    request_id: str
    revision: int
    employee_id: str


class LeaveDecisionLapsed(ForeignEvent):
    """The decision came too late and has no effect."""

    TYPE: ClassVar[str] = "leave.decision-lapsed"
    request_id: str
    revision: int
    employee_id: str
