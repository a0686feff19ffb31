"""What approvals makes of foreign facts: one handler per fact.

`facts` projects people, delegations and policies. `cases` follows the leave book; it waits until `facts` has seen what
a revision rests on. `rerouting` lets open cases follow the reporting line; it waits until `facts` has seen the very
fact that it reacts to.
"""

from lms.approvals import commands
from lms.approvals.projections.delegations import Delegations
from lms.approvals.projections.employees import Employees
from lms.approvals.projections.policies import Policies
from lms.approvals.upstream import (
    BALANCES,
    DIRECTORY,
    REQUESTS,
    EmployeeLeft,
    EmployeeManagerChanged,
    LeaveAmended,
    LeaveApprovalRequested,
    LeaveCancelled,
    LeaveDecisionLapsed,
    LeaveRecharged,
    LeaveRefused,
)
from lms.kernel.consumer import Projector, Reactor
from lms.kernel.event import Envelope
from lms.kernel.execution import UnitOfWork


async def on_approval_requested(uow: UnitOfWork, fact: LeaveApprovalRequested, _envelope: Envelope) -> None:
    """Open the case."""
    asked = commands.Asked(
        request_id=fact.request_id,
        revision=fact.revision,
        employee_id=fact.employee_id,
        leave_type=fact.leave_type,
        kind=fact.kind,
        start_date=fact.start_date,
        end_date=fact.end_date,
        days_minutes=sum(day.entitlement_minutes for day in fact.days),
        needs_approval=fact.needs_approval,
    )
    await commands.open_case(uow, asked)


async def on_amended(uow: UnitOfWork, fact: LeaveAmended, _envelope: Envelope) -> None:
    """Close the case of the revision that is superseded."""
    if fact.supersedes_revision is not None:
        await commands.close_case(uow, fact.request_id, fact.supersedes_revision, fact.employee_id, "superseded")


async def on_recharged(uow: UnitOfWork, fact: LeaveRecharged, _envelope: Envelope) -> None:
    """Show what is decided on at what it costs now."""
    days_minutes = sum(day.entitlement_minutes for day in fact.days)
    await commands.recharge_case(uow, fact.request_id, fact.revision, days_minutes, confirmed=fact.confirmed)


async def on_cancelled(uow: UnitOfWork, fact: LeaveCancelled, _envelope: Envelope) -> None:
    """Close the case that is open."""
    if fact.open_revision is not None:
        await commands.close_case(uow, fact.request_id, fact.open_revision, fact.employee_id, "cancelled")


async def on_refused(uow: UnitOfWork, fact: LeaveRefused, _envelope: Envelope) -> None:
    """Close the case if it is open: then the revision was superseded by a request to cancel."""
    await commands.close_case(uow, fact.request_id, fact.revision, fact.employee_id, "superseded")


async def on_decision_lapsed(uow: UnitOfWork, fact: LeaveDecisionLapsed, _envelope: Envelope) -> None:
    """Close the case as lapsed: its decision has no effect."""
    await commands.close_case(uow, fact.request_id, fact.revision, fact.employee_id, "lapsed")


async def on_manager_changed(uow: UnitOfWork, fact: EmployeeManagerChanged, _envelope: Envelope) -> None:
    """Re-route the open cases below."""
    await commands.reroute(uow, fact.employee_id)


async def on_left(uow: UnitOfWork, fact: EmployeeLeft, _envelope: Envelope) -> None:
    """Re-route the open cases below; a last day to come is followed when it has passed."""
    await commands.reroute(uow, fact.employee_id)


FACTS = Projector("facts", topics=(DIRECTORY, BALANCES), projections=(Employees, Delegations, Policies))

CASES = Reactor(
    "cases",
    topics=(REQUESTS,),
    handlers={
        LeaveApprovalRequested: on_approval_requested,
        LeaveAmended: on_amended,
        LeaveRecharged: on_recharged,
        LeaveCancelled: on_cancelled,
        LeaveRefused: on_refused,
        LeaveDecisionLapsed: on_decision_lapsed,
    },
    waits_for="facts",
)

REROUTING = Reactor(
    "rerouting",
    topics=(DIRECTORY,),
    handlers={EmployeeManagerChanged: on_manager_changed, EmployeeLeft: on_left},
    waits_for="facts",
)
