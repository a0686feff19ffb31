"""The use cases of the leave book: they supply ids, dates and foreign facts, and let the book decide.

Reasons are sealed beforehand (`sealed`): the keyring has a database connection of its own, which no transaction should
wait for.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.consumer import NotYetKnown
from lms.kernel.errors import DomainError
from lms.kernel.event import Prerequisite
from lms.kernel.execution import CommandContext, Handled, UnitOfWork
from lms.kernel.ids import new_id
from lms.kernel.keyring import Keyring
from lms.kernel.sealed import Sealed
from lms.kernel.service import Runtime
from lms.kernel.statements import together
from lms.requests import store
from lms.requests.decider import ABSENCES, BOOK, CALENDAR
from lms.requests.decider.book import (
    AmendLeave,
    Answer,
    CancelDays,
    CancelLeave,
    Changes,
    Command,
    RechargeLeave,
    RequestLeave,
    assessed,
)
from lms.requests.decider.chargeable import DayCharge, Interval
from lms.requests.decider.errors import EmployeeUnknown, NoSuchRequest
from lms.requests.decider.payroll import MONTHLY, AbsenceCommand, BookAbsence, ClosePeriod, RevokeAbsence
from lms.requests.decider.recharging import Changed, touched
from lms.requests.decider.rules import Facts, shaped
from lms.requests.decider.states import Book
from lms.requests.events import (
    BookEvent,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveRecharged,
    LeaveRequested,
    RechargeCause,
    RestsOn,
)
from lms.requests.projections import calendars, employees, leave_requests, leave_types, payroll_lines
from lms.requests.projections.facts import facts_of, payment_of, work_of
from lms.requests.projections.leave_requests import RevisionRow
from lms.requests.upstream import BALANCES, DIRECTORY

_OF_BALANCES = ("leave-type-", "policy-")

_BATCH = 100
"""People whose leave is charged anew that are looked up at a time."""

_log = structlog.get_logger(__name__)


async def sealed(keyring: Keyring, connection: AsyncConnection, employee_id: str, text: str | None) -> Sealed | None:
    """Return a reason that only the employee's data key opens; None for none.

    Raises EmployeeUnknown, and NoKey for somebody who was erased.
    """
    if not text:
        return None
    if not await employees.history_of(connection, employee_id):
        raise EmployeeUnknown("No such employee is known here; one who has just been added is known in a moment.")
    return await keyring.seal(employee_id, text)


async def request_leave(
    uow: UnitOfWork, *, employee_id: str, requested_by: str, leave_type: str, interval: Interval, reason: Sealed | None
) -> RevisionRow:
    """Ask for leave; return the request as the view shows it. Raises what the book refuses with."""
    first, last = interval.start_date, interval.end_date
    facts = await facts_of(partial(uow.load_beside, BOOK, employee_id), employee_id, leave_type, first, last, hold=True)
    command = RequestLeave(
        request_id=new_id(),
        employee_id=employee_id,
        interval=interval,
        reason=reason,
        requested_by=requested_by,
        facts=facts,
        today=uow.today,
    )
    entered = await _enter(uow, employee_id, command, facts.rests_on)
    (row,) = [
        leave_requests.first_row(asked, envelope)
        for asked, envelope in zip(entered.events, entered.envelopes, strict=True)
        if isinstance(asked, LeaveRequested)
    ]
    return row


async def amend_leave(
    uow: UnitOfWork,
    *,
    request_id: str,
    employee_id: str,
    requested_by: str,
    changes: Changes,
    expected_version: int | None,
) -> None:
    """Make a newer revision of a request. Raises what the book refuses with."""
    loaded = await uow.load(BOOK, employee_id)
    request = loaded.state.requests.get(request_id)
    if request is None:
        raise NoSuchRequest("There is no such request.")
    now_asked = request.newest
    interval = None if now_asked is None else changes.of(now_asked.interval)
    first, last = (uow.today, uow.today) if interval is None else (interval.start_date, interval.end_date)
    facts = await facts_of(partial(together, uow.connection), employee_id, request.leave_type, first, last, hold=True)
    command = AmendLeave(
        request_id=request_id,
        employee_id=employee_id,
        changes=changes,
        requested_by=requested_by,
        facts=facts,
        today=uow.today,
        expected_version=expected_version,
    )
    await _enter(uow, employee_id, command, facts.rests_on)


async def cancel_leave(
    uow: UnitOfWork,
    *,
    request_id: str,
    employee_id: str,
    requested_by: str,
    dates: Collection[date],
    reason: Sealed | None,
    expected_version: int | None,
) -> None:
    """Cancel a request, or only the days `dates` of it if there are any. Raises what the book refuses with."""
    command: CancelLeave | CancelDays
    if dates:
        command = CancelDays(
            request_id=request_id,
            employee_id=employee_id,
            dates=frozenset(dates),
            reason=reason,
            requested_by=requested_by,
            today=uow.today,
            expected_version=expected_version,
        )
    else:
        command = CancelLeave(
            request_id=request_id,
            employee_id=employee_id,
            reason=reason,
            today=uow.today,
            expected_version=expected_version,
        )
    await _enter(uow, employee_id, command)


async def record(uow: UnitOfWork, answer: Answer, rests_on: Iterable[RestsOn] = ()) -> None:
    """Let the book hear what another service found about a revision. Repeated or late answers change nothing.

    Raises NotYetKnown while it is not known here how the absence is paid that it confirms.
    """
    await _enter(uow, answer.employee_id, answer, rests_on)


async def recharge_leave(uow: UnitOfWork, employee_id: str, cause: RechargeCause, changed: Changed) -> None:
    """Charge what has changed of somebody's leave anew; nothing where nothing has. Once or twice is the same.

    Raises NotYetKnown while something that the days cost is not known here.
    """
    found = touched((await uow.load(BOOK, employee_id)).state, changed)
    if found is None:
        return
    try:
        work, rests_on = await work_of(uow.connection, employee_id, found.first, found.last)
    except EmployeeUnknown as unknown:
        raise NotYetKnown(f"by what {employee_id} works is not known here") from unknown
    units = await leave_types.units_of(uow.connection, found.leave_types)
    if found.leave_types - units.keys():
        raise NotYetKnown(f"what {', '.join(sorted(found.leave_types - units.keys()))} is taken in is not known here")
    command = RechargeLeave(
        employee_id=employee_id, cause=cause, changed=changed, work=work, units=units, rests_on=rests_on
    )
    await _enter(uow, employee_id, command, rests_on)


async def enter_recharge(uow: UnitOfWork, change: store.Change) -> None:
    """Enter a change that concerns many people in the work list, if any of them has leave; the job does the work."""
    people = employees.ever_at(await _locations(uow.connection, change))
    count = await leave_requests.count_absent(uow.connection, people, change.first, change.last)
    if count:
        await store.enter_run(uow.connection, change, count, uow.now)


async def _locations(connection: AsyncConnection, change: store.Change) -> list[str]:
    if change.subject == "location":
        return [change.subject_id]
    return await calendars.locations_with(connection, change.subject_id)


async def run_recharges(runtime: Runtime) -> None:
    """Do what is left of the work list, one person at a time, each in a transaction of its own.

    A crash loses nothing: a run goes on behind its last batch, and whose leave was charged anew already is not charged
    again. A run that comes to somebody of whom something is not known here yet goes on there the next time.
    """
    async with runtime.database.read() as connection:
        runs = await store.open_runs(connection)
    for run in runs:
        try:
            await _go_on(runtime, run)
        except NotYetKnown as reason:
            _log.warning("leave cannot be charged anew yet", reason=reason)


async def _go_on(runtime: Runtime, run: store.RechargeRun) -> None:
    change, last_done = run.change, run.last_employee_id
    while True:
        async with runtime.database.read() as connection:
            locations = await _locations(connection, change)
            batch = await employees.ever_at_after(connection, locations, last_done, _BATCH)
            concerned = await leave_requests.absent_among(connection, batch, change.first, change.last)
        for employee_id in concerned:
            recharge = partial(recharge_leave, employee_id=employee_id, cause=change.cause, changed=change.changed)
            await runtime.executor.run(recharge, context=CommandContext(causation_id=change.change_id))
        async with runtime.database.transaction() as connection:
            if not batch:
                await store.finish_run(connection, change.change_id, runtime.clock.now())
                return
            last_done = batch[-1]
            await store.advance_run(connection, change.change_id, last_done, len(concerned))


async def _enter(
    uow: UnitOfWork, employee_id: str, command: Command, rests_on: Iterable[RestsOn] = ()
) -> Handled[Book, BookEvent]:
    """Let the book decide, and tell payroll in the same transaction what an absence became, or that it is none."""
    handled = await uow.handle(BOOK, employee_id, command, key=employee_id, prerequisites=prerequisites(rests_on))
    await _tell_payroll(uow, handled.events)
    return handled


async def _tell_payroll(uow: UnitOfWork, events: Sequence[BookEvent]) -> None:
    for event in events:
        told_on: Iterable[RestsOn] = ()
        match event:
            case LeaveConfirmed() | LeaveRecharged(confirmed=True):
                found = await payment_of(uow.connection, event.employee_id, event.leave_type)
                if found is None:
                    raise NotYetKnown(f"how {event.leave_type} of {event.employee_id} is paid is not known here")
                payment, told_on = found
                command: AbsenceCommand = BookAbsence(
                    absence_id=event.request_id,
                    revision=event.revision,
                    employee_id=event.employee_id,
                    leave_type=event.leave_type,
                    days=event.days,
                    payment=payment,
                    last_closed=await store.hold_calendar(uow.connection),
                )
            case LeaveCancelled(confirmed_revision=int()):
                command = RevokeAbsence(
                    absence_id=event.request_id,
                    revision=event.revision,
                    employee_id=event.employee_id,
                    leave_type=event.leave_type,
                    last_closed=await store.hold_calendar(uow.connection),
                )
            case _:
                continue
        key = event.employee_id
        await uow.handle(ABSENCES, key, command, key=key, prerequisites=prerequisites(told_on))


async def close_period(uow: UnitOfWork, period: str, closed_by: str) -> None:
    """Close a month for payroll; one that is closed stays as it is. Raises PeriodNotBegun, PeriodOutOfOrder."""
    await uow.hold_views()
    await store.hold_calendar(uow.connection, alone=True)
    command = ClosePeriod(
        period=period,
        closed_by=closed_by,
        today=uow.today,
        booked=await payroll_lines.booked_in(uow.connection, period),
        first_booked=await payroll_lines.first_booked(uow.connection),
    )
    handled = await uow.handle(CALENDAR, MONTHLY, command, key=MONTHLY)
    if handled.events:
        await store.move_calendar(uow.connection, period)


@dataclass(frozen=True)
class Preview:
    """What leave would be asked for, on which facts, what each day costs, and every rule that it breaks."""

    interval: Interval
    facts: Facts
    charges: tuple[DayCharge, ...]
    broken: tuple[DomainError, ...]


async def preview(
    uow: UnitOfWork, *, employee_id: str, leave_type: str, interval: Interval, amends: str | None = None
) -> Preview:
    """Return what a request would lead to, or a newer revision of the request `amends`; nothing is changed.

    Raises what makes a preview impossible: EmployeeUnknown, UnknownLeaveType, or an interval that is none.
    """
    read = partial(uow.load_beside, BOOK, employee_id)
    facts = await facts_of(read, employee_id, leave_type, interval.start_date, interval.end_date)
    asked = shaped(interval, facts.terms.unit)
    book = (await uow.load(BOOK, employee_id)).state
    amended = book.requests.get(amends) if amends is not None else None
    charges, broken = assessed(asked, facts, uow.today, book, amended)
    return Preview(asked, facts, charges, broken)


def prerequisites(rests_on: Iterable[RestsOn]) -> tuple[Prerequisite, ...]:
    """Return what an event rests on as facts that whoever reacts to it must know first."""
    return tuple(
        Prerequisite(BALANCES if one.stream.startswith(_OF_BALANCES) else DIRECTORY, one.stream, one.version)
        for one in rests_on
    )
