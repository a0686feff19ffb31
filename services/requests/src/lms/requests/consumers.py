"""What requests makes of foreign facts: one handler per fact.

`facts` projects what people's leave rests on. `process` lets the leave book hear what balances and approvals found; it
rests on nothing but the book itself, and so waits for nobody.
"""

from lms.kernel.consumer import Projector, Reactor
from lms.kernel.event import Envelope
from lms.kernel.execution import UnitOfWork
from lms.requests import commands
from lms.requests.decider.book import RecordApproval, RecordInsufficient, RecordRejection, RecordReservation
from lms.requests.events import RestsOn
from lms.requests.projections.calendars import Calendars
from lms.requests.projections.employees import Employees
from lms.requests.projections.leave_types import LeaveTypes
from lms.requests.projections.schedules import Schedules
from lms.requests.upstream import (
    APPROVALS,
    BALANCES,
    DIRECTORY,
    BalanceInsufficient,
    BalanceReserved,
    LeaveApproved,
    LeaveRejected,
)


async def on_reserved(uow: UnitOfWork, fact: BalanceReserved, _envelope: Envelope) -> None:
    """Ask for the decision, on the facts that the revision rests on."""
    rests_on = [RestsOn(stream=one.stream, version=one.version) for one in fact.rests_on]
    await commands.record(uow, RecordReservation(fact.request_id, fact.employee_id, fact.revision), rests_on)


async def on_insufficient(uow: UnitOfWork, fact: BalanceInsufficient, _envelope: Envelope) -> None:
    """Refuse."""
    code = "balance-insufficient" if fact.cause == "balance" else fact.cause
    await commands.record(uow, RecordInsufficient(fact.request_id, fact.employee_id, fact.revision, code))


async def on_approved(uow: UnitOfWork, fact: LeaveApproved, _envelope: Envelope) -> None:
    """Confirm, or cancel where that was asked for; the decision lapses if it comes too late."""
    await commands.record(uow, RecordApproval(fact.request_id, fact.employee_id, fact.revision, fact.decided_by))


async def on_rejected(uow: UnitOfWork, fact: LeaveRejected, _envelope: Envelope) -> None:
    """Refuse; the decision lapses if it comes too late."""
    command = RecordRejection(fact.request_id, fact.employee_id, fact.revision, fact.decided_by, fact.reason)
    await commands.record(uow, command)


FACTS = Projector("facts", topics=(DIRECTORY, BALANCES), projections=(Employees, Schedules, Calendars, LeaveTypes))

PROCESS = Reactor(
    "process",
    topics=(BALANCES, APPROVALS),
    handlers={
        BalanceReserved: on_reserved,
        BalanceInsufficient: on_insufficient,
        LeaveApproved: on_approved,
        LeaveRejected: on_rejected,
    },
)
