"""Leave requests: asking, changing, and seeing what becomes of them."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from lms.kernel.amounts import Amount
from lms.kernel.auth import Caller, CallerDep
from lms.kernel.errors import Forbidden
from lms.kernel.eventstore import Recorded
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import CommandsDep, IfMatchDep, StaleViewsDep, ViewsDep, answer
from lms.kernel.pages import Page, PageDep
from lms.kernel.sealed import Sealed
from lms.kernel.service import Runtime
from lms.requests import commands as use_cases
from lms.requests.api.access import (
    RuntimeDep,
    caught_up,
    changeable_request,
    readable_reasons,
    visible_employees,
    visible_request,
)
from lms.requests.api.answers import (
    Amendment,
    Cancellation,
    Day,
    Id,
    NewRequest,
    PreviewAnswer,
    PreviewBody,
    PreviewDay,
    RequestAnswer,
    Slug,
    Timeline,
    TimelineItem,
    Violation,
    YearAmount,
)
from lms.requests.api.calendar import absences
from lms.requests.decider import BOOK
from lms.requests.decider.book import Changes
from lms.requests.decider.chargeable import Interval
from lms.requests.events import LeaveAmended, LeaveCancelled, LeaveRecharged, LeaveRefused, LeaveRequested
from lms.requests.projections import employees, leave_requests, leave_types
from lms.requests.projections.leave_requests import Criteria, RevisionRow, Sort, Status

router = APIRouter(prefix="/api/v1/leave-requests", tags=["leave requests"])


@dataclass(frozen=True)
class Reader:
    """Reads requests for one caller: whose they see, and the reasons that they may read."""

    runtime: Runtime
    caller: Caller

    @property
    def today(self) -> date:
        """The business date."""
        return self.runtime.clock.today()

    async def request(self, connection: AsyncConnection, request_id: str) -> RequestAnswer:
        """Return one request. Raises NoSuchRequest, also for a caller who may not see it."""
        revisions = await visible_request(connection, self.caller, request_id, self.today)
        return RequestAnswer.of(revisions, await self.reasons(connection, revisions))

    async def reasons(self, connection: AsyncConnection, rows: Sequence[RevisionRow]) -> dict[int, str]:
        """Return the reasons of one request's revisions that the caller may read, by revision."""
        texts = await self.unsealed(connection, [(row.employee_id, row.leave_type, row.reason) for row in rows])
        return {row.revision: text for row, text in zip(rows, texts, strict=True) if text is not None}

    async def unsealed(
        self, connection: AsyncConnection, sealed: Sequence[tuple[str, str, Sealed | None]]
    ) -> list[str | None]:
        """Return texts, each of an employee and a leave type, in their order: None for what may not be read."""
        readable = await readable_reasons(connection, self.caller, ((employee, kind) for employee, kind, _ in sealed))
        opened = [
            (place, one) for place, (employee, kind, one) in enumerate(sealed) if one and (employee, kind) in readable
        ]
        texts: list[str | None] = [None] * len(sealed)
        unsealed = await self.runtime.keyring.unseal_all([one for _, one in opened]) if opened else []
        for (place, _), text in zip(opened, unsealed, strict=True):
            texts[place] = str(text)
        return texts

    async def settled(self, done: RequestAnswer) -> RequestAnswer | None:
        """Return the request once it has settled; None until then."""
        async with self.runtime.database.read() as connection:
            now = await self.request(connection, done.id)
        return now if now.settled else None


async def _reader(runtime: RuntimeDep, caller: CallerDep) -> Reader:
    return Reader(runtime, caller)


ReaderDep = Annotated[Reader, Depends(_reader)]


@router.post("/preview", response_model=PreviewAnswer, dependencies=[Depends(caught_up)])
async def preview_leave(body: PreviewBody, caller: CallerDep, runtime: RuntimeDep) -> Response:
    """Show what a request would cost, every rule that it would break, and who else is absent; change nothing."""
    employee_id = _whose(body, caller)
    interval = _interval(body)

    async def look(uow: UnitOfWork) -> PreviewAnswer:
        found = await use_cases.preview(
            uow,
            employee_id=employee_id,
            leave_type=body.leave_type,
            interval=interval,
            amends=body.request_id,
        )
        return await _preview_answer(uow, caller, employee_id, found)

    return answer(await runtime.executor.run(look))


@router.post("", status_code=201, response_model=RequestAnswer, dependencies=[Depends(caught_up)])
async def post_request(body: NewRequest, caller: CallerDep, reader: ReaderDep, commands: CommandsDep) -> Response:
    """Ask for leave. The answer is `pending`; `Prefer: wait=2` waits until balances has had its say."""
    employee_id = _whose(body, caller)
    reason = await _seal(reader.runtime, employee_id, body.reason)

    async def ask(uow: UnitOfWork) -> RequestAnswer:
        asked = await use_cases.request_leave(
            uow,
            employee_id=employee_id,
            requested_by=caller.id,
            leave_type=body.leave_type,
            interval=_interval(body),
            reason=reason,
        )
        return RequestAnswer.of([asked], await reader.reasons(uow.connection, [asked]))

    return await commands.run(
        ask, status=201, location=lambda done: f"{router.prefix}/{done.id}", settle=reader.settled
    )


@router.get("", response_model=Page[RequestAnswer])
async def list_requests(
    *,
    caller: CallerDep,
    reader: ReaderDep,
    views: StaleViewsDep,
    page: PageDep,
    employee_id: Id | None = None,
    status: Annotated[list[Status] | None, Query(description="One or several states")] = None,
    leave_type: Slug | None = None,
    since: Annotated[Day | None, Query(alias="from", description="Leave that ends on this day or later")] = None,
    until: Annotated[Day | None, Query(alias="to", description="Leave that starts on this day or earlier")] = None,
    department: Annotated[Id | None, Query(description="Members of this department")] = None,
    manager: Annotated[Id | None, Query(description="Everybody who reports to this person, at any level")] = None,
    sort: Annotated[Sort, Query(description="`id` sorts by the instant of asking")] = "-id",
) -> Response:
    """List the requests that the caller may see, newest first."""
    connection, today = views.connection, reader.today
    whose = await visible_employees(connection, caller, today)
    if employee_id is not None:
        whose = _both(whose, {employee_id})
    if department is not None:
        whose = _both(whose, await employees.members_of(connection, department, since or today, until or today))
    if manager is not None:
        whose = _both(whose, await employees.reports_of(connection, manager, today))
    kinds = (date.fromisoformat, str) if sort.endswith("start_date") else (str,)
    rows = await leave_requests.find(
        connection,
        Criteria(employee_ids=whose, statuses=status, leave_type=leave_type, since=since, until=until),
        sort=sort,
        after=page.after(*kinds),
        limit=page.limit + 1,
    )
    histories = {row.request_id: [row] for row in rows}
    changed = [row.request_id for row in rows if not row.is_all_there_is]
    histories |= await leave_requests.histories(connection, changed)
    everything = [revision for row in rows for revision in histories[row.request_id]]
    texts = await reader.unsealed(connection, [(one.employee_id, one.leave_type, one.reason) for one in everything])
    by_request: dict[str, dict[int, str]] = {row.request_id: {} for row in rows}
    for revision, text in zip(everything, texts, strict=True):
        if text is not None:
            by_request[revision.request_id][revision.revision] = text

    def key(row: RevisionRow) -> tuple[Any, ...]:
        return (row.start_date, row.request_id) if sort.endswith("start_date") else (row.request_id,)

    def item(row: RevisionRow) -> RequestAnswer:
        return RequestAnswer.of(histories[row.request_id], by_request[row.request_id])

    return answer(Page[RequestAnswer].of(rows, page, key=key, item=item))


@router.get("/{request_id}", response_model=RequestAnswer)
async def get_request(request_id: Id, reader: ReaderDep, views: ViewsDep) -> Response:
    """Show one request. Its ETag is what If-Match takes when it is changed."""
    return answer(await reader.request(views.connection, request_id))


@router.get("/{request_id}/timeline", response_model=Timeline)
async def get_timeline(request_id: Id, caller: CallerDep, reader: ReaderDep, views: ViewsDep) -> Response:
    """Show who did what when, from the log itself."""
    connection = views.connection
    employee_id = (await visible_request(connection, caller, request_id, reader.today))[0].employee_id
    recorded: list[Any] = [
        one
        for one in await reader.runtime.store.read(connection, BOOK.stream(employee_id))
        if getattr(one.event, "request_id", None) == request_id
    ]
    leave_type = next(one.event.leave_type for one in recorded)
    texts = await reader.unsealed(
        connection, [(employee_id, leave_type, getattr(one.event, "reason", None)) for one in recorded]
    )
    return answer(Timeline(items=[_step(one, text) for one, text in zip(recorded, texts, strict=True)]))


@router.post("/{request_id}/amend", response_model=RequestAnswer, dependencies=[Depends(caught_up)])
async def amend_request(
    *,
    request_id: Id,
    body: Amendment,
    caller: CallerDep,
    reader: ReaderDep,
    commands: CommandsDep,
    expected_version: IfMatchDep,
) -> Response:
    """Make a newer revision. Leave that is approved stands until the new revision is."""
    employee_id, reason = await _prepared(reader, request_id, body.reason)
    changes = Changes(**body.model_dump(exclude={"reason"}), reason=reason)

    async def amend(uow: UnitOfWork) -> None:
        await use_cases.amend_leave(
            uow,
            request_id=request_id,
            employee_id=employee_id,
            requested_by=caller.id,
            changes=changes,
            expected_version=expected_version,
        )

    return await commands.run(_then_shown(reader, request_id, amend), settle=reader.settled)


@router.post("/{request_id}/cancel", response_model=RequestAnswer)
async def cancel_request(
    *,
    request_id: Id,
    body: Cancellation | None = None,
    caller: CallerDep,
    reader: ReaderDep,
    commands: CommandsDep,
    expected_version: IfMatchDep,
) -> Response:
    """Cancel the request, or single days of it. Leave that has begun is cancelled once an approver has agreed."""
    wanted = body or Cancellation()
    employee_id, reason = await _prepared(reader, request_id, wanted.reason)

    async def cancel(uow: UnitOfWork) -> None:
        await use_cases.cancel_leave(
            uow,
            request_id=request_id,
            employee_id=employee_id,
            requested_by=caller.id,
            dates=wanted.dates or (),
            reason=reason,
            expected_version=expected_version,
        )

    return await commands.run(_then_shown(reader, request_id, cancel), settle=reader.settled)


def _whose(body: NewRequest, caller: Caller) -> str:
    """Return whose leave it is. Raises Forbidden for anybody but HR who names somebody else."""
    if body.employee_id in (None, caller.id):
        return caller.id
    if not caller.has("hr"):
        raise Forbidden("Only HR can ask for somebody else's leave.")
    return str(body.employee_id)


def _interval(body: NewRequest) -> Interval:
    return Interval(
        start_date=body.start_date,
        end_date=body.end_date,
        start_part=body.start_part,
        end_part=body.end_part,
        from_time=body.from_time,
        to_time=body.to_time,
    )


async def _seal(runtime: Runtime, employee_id: str, reason: str | None) -> Sealed | None:
    if not reason:
        return None
    async with runtime.database.read() as connection:
        return await use_cases.sealed(runtime.keyring, connection, employee_id, reason)


async def _prepared(reader: Reader, request_id: str, reason: str | None) -> tuple[str, Sealed | None]:
    """Return whose request it is, and the reason sealed. Raises NoSuchRequest, Forbidden.

    The reasons that stand are opened here already, so that the keyring needs no query within the transaction.
    """
    async with reader.runtime.database.read() as connection:
        revisions = await changeable_request(connection, reader.caller, request_id, reader.today)
        await reader.reasons(connection, revisions)
    employee_id = revisions[0].employee_id
    return employee_id, await _seal(reader.runtime, employee_id, reason)


def _then_shown(
    reader: Reader, request_id: str, change: Callable[[UnitOfWork], Awaitable[None]]
) -> Callable[[UnitOfWork], Awaitable[RequestAnswer]]:
    async def changed(uow: UnitOfWork) -> RequestAnswer:
        await change(uow)
        return await reader.request(uow.connection, request_id)

    return changed


def _both(one: set[str] | None, other: set[str]) -> set[str]:
    return other if one is None else one & other


def _step(recorded: Recorded, reason: str | None) -> TimelineItem:
    event: Any = recorded.event
    by: str | None
    match event:
        case LeaveRequested() | LeaveAmended():
            by = event.requested_by
        case LeaveCancelled(decided_by=None):
            by = recorded.envelope.in_the_name_of
        case _:
            by = getattr(event, "decided_by", recorded.envelope.in_the_name_of)
    return TimelineItem(
        at=recorded.envelope.time,
        what=event.TYPE.removeprefix("leave."),
        revision=event.revision,
        by=by,
        code=_code(event),
        reason=reason,
    )


def _code(event: Any) -> str | None:
    match event:
        case LeaveRefused():
            return event.code
        case LeaveRecharged():
            return event.cause
        case _:
            return None


async def _preview_answer(uow: UnitOfWork, caller: Caller, employee_id: str, found: use_cases.Preview) -> PreviewAnswer:
    connection, interval, terms = uow.connection, found.interval, found.facts.terms
    years: Counter[int] = Counter()
    for day in found.charges:
        years[day.date.year] += day.entitlement_minutes
    department = await employees.assigned_to(connection, "department", employee_id, interval.start_date)
    colleagues = (
        await employees.members_of(connection, department, interval.start_date, interval.end_date)
        if department is not None
        else set()
    )
    known_type = await leave_types.find(connection, terms.leave_type)
    return PreviewAnswer(
        leave_type=terms.leave_type,
        start_date=interval.start_date,
        end_date=interval.end_date,
        permitted=not found.broken,
        needs_approval=terms.needs_approval,
        attachment_after_days=known_type.attachment_after_days if known_type else None,
        amount=Amount.of(sum(day.entitlement_minutes for day in found.charges)),
        scheduled_minutes=sum(day.scheduled_minutes for day in found.charges),
        days=[
            PreviewDay(
                date=day.date,
                part=day.part,
                amount=Amount.of(day.entitlement_minutes),
                scheduled_minutes=day.scheduled_minutes,
                holiday=day.holiday,
            )
            for day in found.charges
        ],
        entitlement_years=[
            YearAmount(year=year, amount=Amount.of(minutes)) for year, minutes in sorted(years.items()) if minutes
        ],
        violations=[Violation(code=one.code, detail=str(one)) for one in found.broken],
        team_overlap=await absences(
            connection,
            caller,
            colleagues - {employee_id},
            interval.start_date,
            interval.end_date,
            known=await visible_employees(connection, caller, uow.today),
        ),
    )
