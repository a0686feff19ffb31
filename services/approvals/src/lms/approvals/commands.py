"""The use cases of approvals: they supply the day and the foreign facts, and let the case decide.

Comments and reasons are sealed beforehand: the keyring has a database connection of its own, which no transaction
should wait for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from lms.approvals import store
from lms.approvals.decider import (
    CASE,
    Approve,
    Authority,
    Close,
    Line,
    NoSuchCase,
    Open,
    OpenCase,
    Reassign,
    Recharge,
    Reject,
    case_id,
)
from lms.approvals.events import CaseEvent, CaseOpened, CaseReassigned, Cause, Kind, StepApproved
from lms.approvals.projections import approver_inbox, delegations, employees, policies
from lms.approvals.projections.approver_inbox import CaseRow, Viewer
from lms.kernel.execution import UnitOfWork
from lms.kernel.sealed import Sealed
from lms.kernel.service import Runtime
from lms.kernel.statements import together


@dataclass(frozen=True)
class Asked:
    """What is put to decision; `days_minutes` are entitlement minutes."""

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    kind: Kind
    start_date: date
    end_date: date
    days_minutes: int
    needs_approval: bool


async def open_case(uow: UnitOfWork, asked: Asked) -> None:
    """Ask those whom the policy's steps name; what needs no approval is approved at once. Twice changes nothing."""
    steps: tuple[str, ...] = ()
    line: Line = ()
    if asked.needs_approval:
        locations, in_force, *below = await together(
            uow.connection,
            employees.assigned(asked.employee_id, "location"),
            policies.IN_FORCE.having(leave_type=asked.leave_type, on=asked.start_date),
            *employees.locking(asked.employee_id),
        )
        steps = policies.steps_of(in_force.rows, employees.value_on(locations.rows, asked.start_date))
        line = await employees.line_of(uow.connection, asked.employee_id, uow.today, below=below)
    command = OpenCase(
        request_id=asked.request_id,
        revision=asked.revision,
        employee_id=asked.employee_id,
        leave_type=asked.leave_type,
        kind=asked.kind,
        start_date=asked.start_date,
        end_date=asked.end_date,
        days_minutes=asked.days_minutes,
        needs_approval=asked.needs_approval,
        steps=steps,
        line=line,
    )
    handled = await uow.handle(CASE, case_id(asked.request_id, asked.revision), command, key=asked.employee_id)
    _concerns_the_asked(uow, handled.events)


async def close_case(uow: UnitOfWork, request_id: str, revision: int, employee_id: str, cause: Cause) -> None:
    """Close a case for which the leave book has no more use; nothing if there is none, or it is over."""
    handled = await uow.handle(CASE, case_id(request_id, revision), Close(cause), key=employee_id)
    if handled.events and (row := await approver_inbox.newest(uow.connection, request_id)) is not None:
        uow.concerns(*row.assignees)


async def recharge_case(uow: UnitOfWork, request_id: str, revision: int, days_minutes: int, *, confirmed: bool) -> None:
    """Let the case show what the days cost now: that of an open revision, or of the cancellation of confirmed leave."""
    row = await approver_inbox.newest(uow.connection, request_id)
    if row is None or not (row.kind == "cancellation" if confirmed else row.revision == revision):
        return
    stream_id = case_id(request_id, row.revision)
    handled = await uow.handle(CASE, stream_id, Recharge(days_minutes), key=row.employee_id)
    if handled.events:
        uow.concerns(*row.assignees)


async def reroute(uow: UnitOfWork, employee_id: str) -> None:
    """Let every open case ask whom the reporting line names now, after a change in one person's place in it."""
    concerned = {employee_id} | await employees.reports_of(uow.connection, employee_id, uow.today)
    for row in await approver_inbox.open_cases(uow.connection, concerned):
        await _reassign(uow, row)


async def reroute_daily(runtime: Runtime) -> None:
    """Route all open cases anew when a business day begins: people leave and lines change at a date, without a fact.

    One transaction a case; should it break off, the next run does it all again, which changes nothing twice.
    """
    today = runtime.clock.today()
    async with runtime.database.read() as connection:
        if await store.routed_on(connection) == today:
            return
        rows = await approver_inbox.open_cases(connection)
    for row in rows:
        await runtime.executor.run(partial(_reassigned, row))
    async with runtime.database.transaction() as connection:
        await store.note_routed(connection, today)


async def _reassigned(row: CaseRow, uow: UnitOfWork) -> None:
    await _reassign(uow, row)


async def _reassign(uow: UnitOfWork, row: CaseRow) -> None:
    line = await employees.line_of(uow.connection, row.employee_id, uow.today)
    handled = await uow.handle(CASE, case_id(row.request_id, row.revision), Reassign(line), key=row.employee_id)
    _concerns_the_asked(uow, handled.events)


def _concerns_the_asked(uow: UnitOfWork, facts: Iterable[CaseEvent]) -> None:
    """Let those who are asked now see it at once."""
    for fact in facts:
        if isinstance(fact, CaseOpened | CaseReassigned | StepApproved):
            uow.concerns(*fact.assignees)


async def viewer_of(connection: AsyncConnection, caller_id: str, today: date, *, in_hr: bool) -> Viewer:
    """Return who looks and decides today."""
    return Viewer(caller_id, in_hr, await delegations.delegators_of(connection, caller_id, today))


async def visible_case(connection: AsyncConnection, viewer: Viewer, request_id: str) -> CaseRow:
    """Return the newest case of a request. Raises NoSuchCase, also for a viewer who may not know of it."""
    row = await approver_inbox.newest(connection, request_id)
    if row is None or not viewer.concerned_by(row):
        raise NoSuchCase("There is no such case.")
    return row


@dataclass(frozen=True)
class Decision:
    """What somebody decides about a revision; a rejection has a reason."""

    request_id: str
    revision: int
    approve: bool
    text: Sealed | None


async def decide_case(uow: UnitOfWork, decision: Decision, caller_id: str, *, in_hr: bool) -> tuple[CaseRow, int]:
    """Decide; return the case as it stands then, and the version of its stream. Raises what the case refuses with."""
    viewer = await viewer_of(uow.connection, caller_id, uow.today, in_hr=in_hr)
    row = await visible_case(uow.connection, viewer, decision.request_id)
    stream_id = case_id(row.request_id, row.revision)
    authority = Authority(viewer.id, viewer.in_hr, viewer.stands_in_for)
    command: Approve | Reject
    if decision.approve:
        command = Approve(decision.revision, authority, decision.text)
        state = (await uow.load(CASE, stream_id)).state
        if isinstance(state, Open) and len(state.steps) > 1:
            line = await employees.line_of(uow.connection, row.employee_id, uow.today)
            command = replace(command, line=line)
    elif decision.text is None:
        raise ValueError("a rejection has a reason")
    else:
        command = Reject(decision.revision, authority, decision.text)
    handled = await uow.handle(CASE, stream_id, command, key=row.employee_id)
    now = await approver_inbox.newest(uow.connection, decision.request_id) or row
    uow.concerns(*row.assignees, *now.assignees)
    return now, handled.version
