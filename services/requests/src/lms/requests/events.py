"""The facts that requests records, all on `leave.requests.v1`: what becomes of the leave that people ask for.

Amounts are integer minutes. `entitlement_minutes` are nominal (240 a scheduled half-day) for types in days and
half-days, and scheduled ones for types in hours; `scheduled_minutes` are always those of the work schedule. Both are
net of holidays. Dates are dates, without a time zone. A revision is numbered from 1 within its request; an amendment,
a cancellation of single days and a cancellation request are each a revision of their own.
"""

from datetime import date, time
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from lms.kernel.event import Event
from lms.kernel.sealed import Sealed

TOPIC = "leave.requests.v1"

DayPart = Literal["full", "morning", "afternoon"]
Kind = Literal["leave", "cancellation"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChargedDay(_Part):
    """What one day of a leave costs, as known when its revision was made; days that cost nothing are left out.

    `part` is what was asked of the day; it is booked even where only half of it is worked.
    """

    date: date
    part: DayPart
    entitlement_minutes: int = Field(ge=0)
    scheduled_minutes: int = Field(ge=0)


class RestsOn(_Part):
    """A version of a foreign stream (employee, schedule, calendar, leave type, policy) that a revision rests on."""

    stream: str
    version: int


class _Revision(Event):
    """What a revision of a request asks for.

    `from_time` and `to_time` are set for hours of a single day. `needs_approval` is what the leave type says;
    `requested_by` is the employee or somebody in HR.
    """

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    start_date: date
    end_date: date
    start_part: DayPart
    end_part: DayPart
    from_time: time | None
    to_time: time | None
    days: tuple[ChargedDay, ...]
    reason: Sealed | None
    needs_approval: bool
    requested_by: str
    rests_on: tuple[RestsOn, ...]


class LeaveRequested(_Revision):
    """Somebody asked for leave: revision 1 of a new request."""

    TYPE: ClassVar[str] = "leave.requested"


class LeaveAmended(_Revision):
    """A request has a newer revision.

    `supersedes_revision` is the open one that lapses with this fact, null if none was open; `replaces_revision` is the
    confirmed one that stands until this one is confirmed, null if none is. The days of a `cancel-days` are those that
    remain.
    """

    TYPE: ClassVar[str] = "leave.amended"

    supersedes_revision: int | None
    replaces_revision: int | None
    change: Literal["amend", "cancel-days"]


class LeaveApprovalRequested(Event):
    """The revision waits for a decision; one that does not need approval is decided by `approvals` at once.

    For a `cancellation` the dates and days are those of the confirmed leave that is to be cancelled.
    """

    TYPE: ClassVar[str] = "leave.approval-requested"

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    kind: Kind
    start_date: date
    end_date: date
    days: tuple[ChargedDay, ...]
    needs_approval: bool


class LeaveConfirmed(Event):
    """The revision is approved: it is the leave that stands, in place of `replaces_revision` if that is not null."""

    TYPE: ClassVar[str] = "leave.confirmed"

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    days: tuple[ChargedDay, ...]
    replaces_revision: int | None
    decided_by: str | None


class LeaveRefused(Event):
    """The revision ends without leave; `standing_revision` is the confirmed one that goes on to stand, if any.

    `code` is `rejected` (by the approver), `cancellation-rejected`, `superseded` (an open amendment, when begun leave
    is to be cancelled), or what `balances` found: `balance-insufficient`, `waiting-period`, `unknown-leave-type`.
    `reason` is the approver's.
    """

    TYPE: ClassVar[str] = "leave.refused"

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    code: str
    standing_revision: int | None
    decided_by: str | None
    reason: Sealed | None


class LeaveCancelled(Event):
    """The request is over: `open_revision` lapses, `confirmed_revision` no longer stands; either may be null.

    `decided_by` is the approver of a cancellation request; null where no decision was needed.
    """

    TYPE: ClassVar[str] = "leave.cancelled"

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    open_revision: int | None
    confirmed_revision: int | None
    decided_by: str | None
    reason: Sealed | None


class LeaveCancellationRequested(Event):
    """Leave that has begun is to be cancelled, which an approver decides; until then it stands.

    An amendment that was open is refused first (`superseded`).
    """

    TYPE: ClassVar[str] = "leave.cancellation-requested"

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    confirmed_revision: int
    reason: Sealed | None


class LeaveDecisionLapsed(Event):
    """A decision came too late: the revision had been cancelled, superseded or decided before.

    `standing_state` is the request's state, on which the decision has no effect.
    """

    TYPE: ClassVar[str] = "leave.decision-lapsed"

    request_id: str
    revision: int
    employee_id: str
    decision: Literal["approved", "rejected"]
    standing_state: Literal["pending", "approved", "rejected", "cancelled", "cancellation-requested"]


BookEvent = (
    LeaveRequested
    | LeaveAmended
    | LeaveApprovalRequested
    | LeaveConfirmed
    | LeaveRefused
    | LeaveCancelled
    | LeaveCancellationRequested
    | LeaveDecisionLapsed
)
"""Everything that happens in the leave book of one employee."""

EVENTS: tuple[type[Event], ...] = (
    LeaveRequested,
    LeaveAmended,
    LeaveApprovalRequested,
    LeaveConfirmed,
    LeaveRefused,
    LeaveCancelled,
    LeaveCancellationRequested,
    LeaveDecisionLapsed,
)

_ANNA = "019306a0-0000-7000-8000-000000000001"
_BEN = "019306a0-0000-7000-8000-000000000002"
_REQUEST = "019306a0-0000-7000-8000-00000000000a"
_MONDAY = ChargedDay(date=date(2026, 7, 6), part="full", entitlement_minutes=480, scheduled_minutes=480)
_TUESDAY = ChargedDay(date=date(2026, 7, 7), part="morning", entitlement_minutes=240, scheduled_minutes=240)
_SEALED = Sealed(sealed="c2VhbGVk", subject=_ANNA, key="019306a0-0000-7000-8000-0000000000ff")
_RESTS_ON = (
    RestsOn(stream=f"employee-{_ANNA}", version=1),
    RestsOn(stream="schedule-019306a0-0000-7000-8000-000000000030", version=1),
    RestsOn(stream="calendar-019306a0-0000-7000-8000-000000000040", version=2),
    RestsOn(stream="leave-type-annual", version=1),
)

EXAMPLES: tuple[Event, ...] = (
    LeaveRequested(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        leave_type="annual",
        start_date=date(2026, 7, 6),
        end_date=date(2026, 7, 7),
        start_part="full",
        end_part="morning",
        from_time=None,
        to_time=None,
        days=(_MONDAY, _TUESDAY),
        reason=_SEALED,
        needs_approval=True,
        requested_by=_ANNA,
        rests_on=_RESTS_ON,
    ),
    LeaveAmended(
        request_id=_REQUEST,
        revision=2,
        employee_id=_ANNA,
        leave_type="annual",
        start_date=date(2026, 7, 6),
        end_date=date(2026, 7, 6),
        start_part="full",
        end_part="full",
        from_time=None,
        to_time=None,
        days=(_MONDAY,),
        reason=_SEALED,
        needs_approval=True,
        requested_by=_ANNA,
        rests_on=_RESTS_ON,
        supersedes_revision=None,
        replaces_revision=1,
        change="cancel-days",
    ),
    LeaveApprovalRequested(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        leave_type="annual",
        kind="leave",
        start_date=date(2026, 7, 6),
        end_date=date(2026, 7, 7),
        days=(_MONDAY, _TUESDAY),
        needs_approval=True,
    ),
    LeaveConfirmed(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        leave_type="annual",
        days=(_MONDAY, _TUESDAY),
        replaces_revision=None,
        decided_by=_BEN,
    ),
    LeaveRefused(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        leave_type="annual",
        code="rejected",
        standing_revision=None,
        decided_by=_BEN,
        reason=_SEALED,
    ),
    LeaveCancelled(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        leave_type="annual",
        open_revision=None,
        confirmed_revision=1,
        decided_by=None,
        reason=None,
    ),
    LeaveCancellationRequested(
        request_id=_REQUEST,
        revision=2,
        employee_id=_ANNA,
        leave_type="annual",
        confirmed_revision=1,
        reason=_SEALED,
    ),
    LeaveDecisionLapsed(
        request_id=_REQUEST, revision=1, employee_id=_ANNA, decision="approved", standing_state="cancelled"
    ),
)
