"""The facts that approvals records, all on `leave.approvals.v1`: who is asked about a revision, and what they decide.

A case belongs to one revision of one request; its facts are keyed by the employee who asked for the leave. Comments
and reasons are sealed with that employee's data key.
"""

from datetime import date
from typing import ClassVar, Literal

from lms.kernel.event import Event
from lms.kernel.sealed import Sealed

TOPIC = "leave.approvals.v1"

Kind = Literal["leave", "cancellation"]
Cause = Literal["superseded", "cancelled", "lapsed"]


class _OfCase(Event):
    request_id: str
    revision: int
    employee_id: str


class CaseOpened(_OfCase):
    """A decision is asked for. `steps` are decided in order; `assignees` or the `group` are asked about the first.

    `days_minutes` is what all days together cost, in entitlement minutes. A case that is decided automatically has no
    steps and asks nobody.
    """

    TYPE: ClassVar[str] = "approval.case-opened"

    leave_type: str
    kind: Kind
    start_date: date
    end_date: date
    days_minutes: int
    steps: tuple[str, ...]
    assignees: tuple[str, ...]
    group: str | None


class CaseReassigned(_OfCase):
    """Others are asked from now on, because the line of managers has changed."""

    TYPE: ClassVar[str] = "approval.case-reassigned"

    assignees: tuple[str, ...]
    group: str | None
    cause: Literal["reporting-line"]


class CaseRecharged(_OfCase):
    """All days together cost `days_minutes` (entitlement) now: holidays or a schedule changed. Nothing else does."""

    TYPE: ClassVar[str] = "approval.case-recharged"

    days_minutes: int


class StepApproved(_OfCase):
    """A step that is not the last was approved; `assignees` or the `group` are asked about the next."""

    TYPE: ClassVar[str] = "approval.step-approved"

    step: str
    decided_by: str
    on_behalf_of: str | None
    comment: Sealed | None
    assignees: tuple[str, ...]
    group: str | None


class LeaveApproved(_OfCase):
    """The revision is approved. `decided_by` is null, and `automatic` true, where no approval is needed.

    `on_behalf_of` is the assignee for whom `decided_by` stood in.
    """

    TYPE: ClassVar[str] = "leave.approved"

    leave_type: str
    kind: Kind
    decided_by: str | None
    on_behalf_of: str | None
    comment: Sealed | None
    automatic: bool


class LeaveRejected(_OfCase):
    """The revision is rejected, for a reason. `on_behalf_of` is the assignee for whom `decided_by` stood in."""

    TYPE: ClassVar[str] = "leave.rejected"

    leave_type: str
    kind: Kind
    decided_by: str
    on_behalf_of: str | None
    reason: Sealed


class CaseClosed(_OfCase):
    """Nobody needs to decide any more; `lapsed`: a decision was made, and came too late."""

    TYPE: ClassVar[str] = "approval.case-closed"

    cause: Cause


CaseEvent = CaseOpened | CaseReassigned | CaseRecharged | StepApproved | LeaveApproved | LeaveRejected | CaseClosed
"""Everything that happens in a case."""

EVENTS: tuple[type[Event], ...] = (
    CaseOpened,
    CaseReassigned,
    CaseRecharged,
    StepApproved,
    LeaveApproved,
    LeaveRejected,
    CaseClosed,
)

_ANNA = "019306a0-0000-7000-8000-000000000001"
_BEN = "019306a0-0000-7000-8000-000000000002"
_CLARA = "019306a0-0000-7000-8000-000000000003"
_REQUEST = "019306a0-0000-7000-8000-00000000000a"
_SEALED = Sealed(sealed="c2VhbGVk", subject=_ANNA, key="019306a0-0000-7000-8000-0000000000ff")

EXAMPLES: tuple[Event, ...] = (
    CaseOpened(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        leave_type="annual",
        kind="leave",
        start_date=date(2026, 7, 6),
        end_date=date(2026, 7, 7),
        days_minutes=720,
        steps=("manager", "hr"),
        assignees=(_BEN,),
        group=None,
    ),
    CaseReassigned(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        assignees=(_CLARA,),
        group=None,
        cause="reporting-line",
    ),
    CaseRecharged(request_id=_REQUEST, revision=1, employee_id=_ANNA, days_minutes=480),
    StepApproved(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        step="manager",
        decided_by=_CLARA,
        on_behalf_of=None,
        comment=None,
        assignees=(),
        group="hr",
    ),
    LeaveApproved(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        leave_type="annual",
        kind="leave",
        decided_by=_CLARA,
        on_behalf_of=_BEN,
        comment=_SEALED,
        automatic=False,
    ),
    LeaveRejected(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        leave_type="annual",
        kind="leave",
        decided_by=_BEN,
        on_behalf_of=None,
        reason=_SEALED,
    ),
    CaseClosed(request_id=_REQUEST, revision=1, employee_id=_ANNA, cause="lapsed"),
)
