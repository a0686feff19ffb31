"""What requests makes of foreign facts: one handler per fact.

`facts` projects what people's leave rests on. `process` lets the leave book hear what balances and approvals found; it
rests on nothing but the book itself, and so waits for nobody. `corrections` lets leave cost what the holidays and
schedules of today say, wherever they changed later; it waits until `facts` has seen the very fact that it reacts to.
"""

from typing import Literal

from lms.kernel.consumer import Projector, Reactor
from lms.kernel.event import Envelope
from lms.kernel.execution import UnitOfWork
from lms.requests import commands
from lms.requests.decider.book import RecordApproval, RecordInsufficient, RecordRejection, RecordReservation
from lms.requests.decider.recharging import Changed
from lms.requests.events import RestsOn
from lms.requests.projections.calendars import Calendars
from lms.requests.projections.employees import Employees
from lms.requests.projections.leave_types import LeaveTypes
from lms.requests.projections.schedules import Schedules
from lms.requests.store import Change
from lms.requests.upstream import (
    APPROVALS,
    BALANCES,
    DIRECTORY,
    BalanceInsufficient,
    BalanceReserved,
    CalendarHolidaysAdded,
    CalendarHolidaysRemoved,
    EmployeeLocationChanged,
    EmployeeScheduleAssigned,
    LeaveApproved,
    LeaveRejected,
    LocationCalendarChanged,
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


async def on_schedule_assigned(uow: UnitOfWork, fact: EmployeeScheduleAssigned, _envelope: Envelope) -> None:
    """Charge the person's leave from that day on anew."""
    await commands.recharge_leave(uow, fact.employee_id, "schedule", Changed(since=fact.effective_from))


async def on_location_changed(uow: UnitOfWork, fact: EmployeeLocationChanged, _envelope: Envelope) -> None:
    """Charge the person's leave from that day on anew: the new location keeps other holidays."""
    await commands.recharge_leave(uow, fact.employee_id, "location", Changed(since=fact.effective_from))


async def on_holidays_added(uow: UnitOfWork, fact: CalendarHolidaysAdded, envelope: Envelope) -> None:
    """Have leave on these dates charged anew for everybody who keeps the calendar."""
    await _holidays(
        uow, envelope, "calendar", fact.calendar_id, Changed(dates=frozenset(one.date for one in fact.holidays))
    )


async def on_holidays_removed(uow: UnitOfWork, fact: CalendarHolidaysRemoved, envelope: Envelope) -> None:
    """Have leave on these dates charged anew for everybody who keeps the calendar."""
    await _holidays(uow, envelope, "calendar", fact.calendar_id, Changed(dates=frozenset(fact.dates)))


async def on_calendar_changed(uow: UnitOfWork, fact: LocationCalendarChanged, envelope: Envelope) -> None:
    """Have all leave charged anew for everybody who was ever there: a location's calendar counts for all dates."""
    await _holidays(uow, envelope, "location", fact.location_id, Changed())


async def _holidays(
    uow: UnitOfWork, envelope: Envelope, subject: Literal["calendar", "location"], subject_id: str, changed: Changed
) -> None:
    await commands.enter_recharge(uow, Change(envelope.event_id, "holidays", subject, subject_id, changed))


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

CORRECTIONS = Reactor(
    "corrections",
    topics=(DIRECTORY,),
    handlers={
        EmployeeScheduleAssigned: on_schedule_assigned,
        EmployeeLocationChanged: on_location_changed,
        CalendarHolidaysAdded: on_holidays_added,
        CalendarHolidaysRemoved: on_holidays_removed,
        LocationCalendarChanged: on_calendar_changed,
    },
    waits_for="facts",
)
