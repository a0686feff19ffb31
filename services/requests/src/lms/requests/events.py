"""The facts that requests records: what becomes of the leave that people ask for, and what payroll has to book of it.

The first go to `leave.requests.v1`, the second to `leave.payroll.v1`.
Amounts are integer minutes. `entitlement_minutes` are nominal (240 a scheduled half-day) for types in days and
half-days, and scheduled ones for types in hours; `scheduled_minutes` are always those of the work schedule. Both are
net of holidays. Dates are dates, without a time zone. A revision is numbered from 1 within its request; an amendment,
a cancellation of single days and a cancellation request are each a revision of their own.
"""

from datetime import date, time
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from lms.kernel.event import Event
from lms.kernel.sealed import Sealed

TOPIC = "leave.requests.v1"
PAYROLL_TOPIC = "leave.payroll.v1"

DayPart = Literal["full", "morning", "afternoon"]
Kind = Literal["leave", "cancellation"]
RechargeCause = Literal["holidays", "schedule", "location"]
Period = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$", description="A month, such as `2026-07`")]


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
    remain. `cancelled_dates` are the days between the first and the last that were cancelled, by this revision or one
    before it: later amendments leave them out, unless they start or end on one. Older facts name none.
    """

    TYPE: ClassVar[str] = "leave.amended"

    supersedes_revision: int | None
    replaces_revision: int | None
    change: Literal["amend", "cancel-days"]
    cancelled_dates: tuple[date, ...] = ()


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


class LeaveRecharged(Event):
    """A later change made days of a revision cost something else; nobody asked for it, and its dates stay.

    `cause` is what changed: the `holidays` that the employee keeps, their work `schedule`, or their `location`, which
    keeps other holidays. `days` are all days of the revision as they are charged from now on, `days_before` as they
    were until now; either may be empty, for days that cost nothing are left out. `confirmed`: the revision is the leave
    that stands; else it is open, and `balances` answers for it anew. `rests_on` names the newest versions of what the
    days were computed from.
    """

    TYPE: ClassVar[str] = "leave.recharged"

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    confirmed: bool
    cause: RechargeCause
    days: tuple[ChargedDay, ...]
    days_before: tuple[ChargedDay, ...]
    rests_on: tuple[RestsOn, ...]


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


class PayrollLine(_Part):
    """One day of an absence as payroll books it in one period. Lines add up: every total is the sum of its lines.

    Minutes are negative where a line takes back what an earlier one booked; it then repeats that line's `part`,
    `pay_code`, `paid` and `cost_centre`. Otherwise these are what was known of the day when it was booked: a later
    change of a pay code or a cost centre books nothing anew. `cost_centre` is empty where the employee has none.
    `period` is the month (`2026-07`) in which to book. `original_period` is the month of the day where that one was
    closed already, else null.
    """

    date: date
    part: DayPart
    entitlement_minutes: int
    scheduled_minutes: int
    pay_code: str
    paid: bool
    cost_centre: str
    period: Period
    original_period: Period | None

    @property
    def takes_back(self) -> bool:
        """Whether it takes back what an earlier line booked; a line books some minutes, so they tell."""
        return self.entitlement_minutes < 0 or self.scheduled_minutes < 0


class _Absence(Event):
    """What payroll has to book of one absence; `absence_id` is the id of the leave request through all its revisions.

    The version of the stream (`ce_streamversion`) counts an employee's facts on this topic, from 1 without gaps.
    """

    absence_id: str
    revision: int
    employee_id: str
    leave_type: str
    lines: tuple[PayrollLine, ...]


class AbsenceConfirmed(_Absence):
    """Leave was confirmed that payroll has not heard of, or of which nothing stood; its lines are all that stands."""

    TYPE: ClassVar[str] = "absence.confirmed"


class AbsenceCorrected(_Absence):
    """Confirmed leave was changed, or costs something else; the lines are the difference: days that stay are left out.

    A day that changed has a line that takes back what stood, followed by one that books what stands now.
    """

    TYPE: ClassVar[str] = "absence.corrected"


class AbsenceRevoked(_Absence):
    """Confirmed leave was cancelled: the lines take back all that stood."""

    TYPE: ClassVar[str] = "absence.revoked"


class PeriodClosed(Event):
    """Payroll has closed a month. A copy stands in every partition, behind all that was booked in the month.

    Whoever has read the copies of all partitions (`ce_copies` says how many) has every line of the month, and nothing
    more will be booked in it. `line_count`, `entitlement_minutes` and `scheduled_minutes` are its control totals: so
    many lines name it as their `period`, and to so many minutes they add up. Months are closed one after the other.
    """

    TYPE: ClassVar[str] = "period.closed"

    period: Period
    closed_by: str
    line_count: int
    entitlement_minutes: int
    scheduled_minutes: int


BookEvent = (
    LeaveRequested
    | LeaveAmended
    | LeaveApprovalRequested
    | LeaveConfirmed
    | LeaveRecharged
    | LeaveRefused
    | LeaveCancelled
    | LeaveCancellationRequested
    | LeaveDecisionLapsed
)
"""Everything that happens in the leave book of one employee."""

AbsenceEvent = AbsenceConfirmed | AbsenceCorrected | AbsenceRevoked
"""Everything that payroll hears of one employee."""

BOOK_EVENTS: tuple[type[Event], ...] = (
    LeaveRequested,
    LeaveAmended,
    LeaveApprovalRequested,
    LeaveConfirmed,
    LeaveRecharged,
    LeaveRefused,
    LeaveCancelled,
    LeaveCancellationRequested,
    LeaveDecisionLapsed,
)

PAYROLL_EVENTS: tuple[type[Event], ...] = (AbsenceConfirmed, AbsenceCorrected, AbsenceRevoked, PeriodClosed)

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

_BOOKED = PayrollLine(
    date=date(2026, 7, 6),
    part="full",
    entitlement_minutes=480,
    scheduled_minutes=384,
    pay_code="ANN",
    paid=True,
    cost_centre="4100",
    period="2026-07",
    original_period=None,
)
_BOOKED_TOO = _BOOKED.model_copy(update={"date": date(2026, 7, 7)})
_TAKEN_BACK = _BOOKED_TOO.model_copy(update={"entitlement_minutes": -480, "scheduled_minutes": -384})
_TAKEN_BACK_LATE = _BOOKED.model_copy(
    update={"entitlement_minutes": -480, "scheduled_minutes": -384, "period": "2026-08", "original_period": "2026-07"}
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
    LeaveRecharged(
        request_id=_REQUEST,
        revision=1,
        employee_id=_ANNA,
        leave_type="annual",
        confirmed=True,
        cause="holidays",
        days=(_MONDAY,),
        days_before=(_MONDAY, _TUESDAY),
        rests_on=_RESTS_ON,
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
    AbsenceConfirmed(
        absence_id=_REQUEST, revision=1, employee_id=_ANNA, leave_type="annual", lines=(_BOOKED, _BOOKED_TOO)
    ),
    AbsenceCorrected(absence_id=_REQUEST, revision=2, employee_id=_ANNA, leave_type="annual", lines=(_TAKEN_BACK,)),
    AbsenceRevoked(absence_id=_REQUEST, revision=3, employee_id=_ANNA, leave_type="annual", lines=(_TAKEN_BACK_LATE,)),
    PeriodClosed(period="2026-07", closed_by=_BEN, line_count=3, entitlement_minutes=480, scheduled_minutes=384),
)
