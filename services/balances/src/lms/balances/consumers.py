"""What balances makes of foreign facts: one handler per fact.

`facts` keeps the projection of people up to date. `accounts` opens accounts and follows employment. `life-of-request`
answers the leave book; it waits until `facts` has seen what a request rests on. A broken rule is an answer with an
event, never an error.
"""

from lms.balances import commands
from lms.balances.events import ChargedDay, RestsOn
from lms.balances.projections.people import People
from lms.balances.upstream import (
    Day,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeLocationChanged,
    LeaveAmended,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveRecharged,
    LeaveRefused,
    LeaveRequested,
    Rest,
)
from lms.kernel.consumer import Projector, Reactor
from lms.kernel.event import Envelope
from lms.kernel.execution import UnitOfWork


async def on_joined(uow: UnitOfWork, fact: EmployeeJoined, _envelope: Envelope) -> None:
    """Open the account."""
    await commands.note_joined(uow, fact.employee_id, fact.employed_from, fact.location_id)


async def on_left(uow: UnitOfWork, fact: EmployeeLeft, _envelope: Envelope) -> None:
    """Grant nothing beyond the last day, and take back what was."""
    await commands.note_left(uow, fact.employee_id, fact.last_day)


async def on_location_changed(uow: UnitOfWork, fact: EmployeeLocationChanged, _envelope: Envelope) -> None:
    """Let the new location's policies apply from that day on."""
    await commands.note_moved(uow, fact.employee_id, fact.effective_from, fact.location_id)


async def on_requested(uow: UnitOfWork, fact: LeaveRequested, _envelope: Envelope) -> None:
    """Reserve, or answer that the balance is insufficient."""
    await commands.reserve(
        uow,
        employee_id=fact.employee_id,
        request_id=fact.request_id,
        revision=fact.revision,
        leave_type=fact.leave_type,
        days=_days(fact.days),
        rests_on=_rests_on(fact.rests_on),
    )


async def on_amended(uow: UnitOfWork, fact: LeaveAmended, _envelope: Envelope) -> None:
    """Reserve what the new revision needs beyond the confirmed one; the open one that it supersedes is released."""
    await commands.reserve(
        uow,
        employee_id=fact.employee_id,
        request_id=fact.request_id,
        revision=fact.revision,
        leave_type=fact.leave_type,
        days=_days(fact.days),
        rests_on=_rests_on(fact.rests_on),
        replaces_revision=fact.replaces_revision,
    )


async def on_confirmed(uow: UnitOfWork, fact: LeaveConfirmed, _envelope: Envelope) -> None:
    """Debit."""
    await commands.debit(
        uow,
        employee_id=fact.employee_id,
        request_id=fact.request_id,
        revision=fact.revision,
        leave_type=fact.leave_type,
        days=_days(fact.days),
        replaces_revision=fact.replaces_revision,
    )


async def on_recharged(uow: UnitOfWork, fact: LeaveRecharged, _envelope: Envelope) -> None:
    """Book the difference; of open leave that is no longer covered, answer that it is not."""
    await commands.recharge(
        uow,
        employee_id=fact.employee_id,
        request_id=fact.request_id,
        revision=fact.revision,
        cause=fact.cause,
        days=_days(fact.days),
        rests_on=_rests_on(fact.rests_on),
    )


async def on_refused(uow: UnitOfWork, fact: LeaveRefused, _envelope: Envelope) -> None:
    """Release."""
    await commands.release(uow, employee_id=fact.employee_id, request_id=fact.request_id, revision=fact.revision)


async def on_cancelled(uow: UnitOfWork, fact: LeaveCancelled, _envelope: Envelope) -> None:
    """Release what is open and credit what stands."""
    await commands.cancel(uow, employee_id=fact.employee_id, request_id=fact.request_id)


def _days(days: tuple[Day, ...]) -> tuple[ChargedDay, ...]:
    return tuple(
        ChargedDay(date=one.date, entitlement_minutes=one.entitlement_minutes, scheduled_minutes=one.scheduled_minutes)
        for one in days
    )


def _rests_on(rests: tuple[Rest, ...]) -> tuple[RestsOn, ...]:
    return tuple(RestsOn(stream=one.stream, version=one.version) for one in rests)


FACTS = Projector("facts", topics=("leave.directory.v1",), projections=(People,))

ACCOUNTS = Reactor(
    "accounts",
    topics=("leave.directory.v1",),
    handlers={
        EmployeeJoined: on_joined,
        EmployeeLeft: on_left,
        EmployeeLocationChanged: on_location_changed,
    },
    waits_for=None,
)

LIFE_OF_REQUEST = Reactor(
    "life-of-request",
    topics=("leave.requests.v1",),
    handlers={
        LeaveRequested: on_requested,
        LeaveAmended: on_amended,
        LeaveConfirmed: on_confirmed,
        LeaveRecharged: on_recharged,
        LeaveRefused: on_refused,
        LeaveCancelled: on_cancelled,
    },
    waits_for="facts",
)
