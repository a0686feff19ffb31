"""Payroll over HTTP, for those who pull: the lines of a month, and closing it."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from lms.kernel.auth import Caller, requires
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, CommandsDep, ViewsDep, answer
from lms.kernel.pages import Page, PageDep
from lms.requests import commands as use_cases
from lms.requests.decider.payroll import Booked
from lms.requests.events import DayPart, Period
from lms.requests.projections import payroll_lines, payroll_periods

router = APIRouter(prefix="/api/v1/payroll", tags=["payroll"])

Reader = Annotated[Caller, Depends(requires("payroll", scopes=("payroll.read",)))]
Closer = Annotated[Caller, Depends(requires("payroll", scopes=("payroll.close",)))]


class LineAnswer(Answer):
    """A line as it stands on `leave.payroll.v1`; `sequence` is the version of the employee's stream there."""

    employee_id: str
    sequence: int
    line: int
    kind: Literal["confirmed", "corrected", "revoked"]
    absence_id: str
    revision: int
    leave_type: str
    date: date
    part: DayPart
    entitlement_minutes: int
    scheduled_minutes: int
    pay_code: str
    paid: bool
    cost_centre: str
    period: str
    original_period: str | None


class PeriodAnswer(Answer):
    """A month, and what is booked in it: of a closed one that stays so."""

    period: str
    state: Literal["open", "closed"]
    line_count: int
    entitlement_minutes: int
    scheduled_minutes: int
    closed_by: str | None = None
    closed_at: datetime | None = None


@router.get("/absences", response_model=Page[LineAnswer])
async def get_absences(
    caller: Reader,
    views: ViewsDep,
    page: PageDep,
    period: Annotated[Period, Query()],
    employee_id: Annotated[str | None, Query(max_length=36)] = None,
) -> Response:
    """List what is booked in a month, by employee and in the order in which it was told.

    The lines of a closed month are final. Those of an open one may grow while its pages are read.
    """
    del caller
    after = page.after(str, int, int)
    rows = await payroll_lines.of_period(
        views.connection,
        period,
        employee_id=employee_id,
        after=None if after is None else (after[0], after[1], after[2]),
        limit=page.limit + 1,
    )
    return answer(Page[LineAnswer].of(rows, page, key=lambda row: (row.employee_id, row.version, row.line), item=_line))


@router.get("/periods", response_model=Page[PeriodAnswer])
async def get_periods(caller: Reader, views: ViewsDep, page: PageDep) -> Response:
    """List the months that are closed, and those behind them in which anything is booked."""
    del caller
    found = page.after(str)
    after = None if found is None else str(found[0])
    wanted = page.limit + 1
    periods = [_closed(row) for row in await payroll_periods.closed(views.connection, after=after, limit=wanted)]
    if len(periods) < wanted:
        last_closed = await payroll_periods.last_closed(views.connection)
        open_ = await payroll_lines.booked_after(views.connection, max(after or "", last_closed or ""))
        periods += [_period(period, "open", booked) for period, booked in open_.items()][: wanted - len(periods)]
    return answer(Page[PeriodAnswer].of(periods, page, key=lambda one: (one.period,), item=lambda one: one))


@router.post("/periods/{period}/close", response_model=PeriodAnswer)
async def close_period(period: Period, caller: Closer, commands: CommandsDep) -> Response:
    """Close a month that has begun; what is confirmed later for its days is booked in the next one.

    Months are closed one after the other. A month that is closed stays as it is.
    """

    async def close(uow: UnitOfWork) -> PeriodAnswer:
        await use_cases.close_period(uow, period, caller.id)
        row = await payroll_periods.find(uow.connection, period)
        if row is None:  # before the first month that was ever closed: nothing is booked there, and nothing will be
            return _period(period, "closed", Booked())
        return _closed(row)

    return await commands.run(close)


def _line(row: Any) -> LineAnswer:
    return LineAnswer(
        employee_id=row.employee_id,
        sequence=row.version,
        line=row.line,
        kind=row.kind,
        absence_id=row.absence_id,
        revision=row.revision,
        leave_type=row.leave_type,
        date=row.day,
        part=row.part,
        entitlement_minutes=row.entitlement_minutes,
        scheduled_minutes=row.scheduled_minutes,
        pay_code=row.pay_code,
        paid=bool(row.paid),
        cost_centre=row.cost_centre,
        period=row.period,
        original_period=row.original_period,
    )


def _closed(row: Any) -> PeriodAnswer:
    return PeriodAnswer(
        period=row.period,
        state="closed",
        line_count=row.line_count,
        entitlement_minutes=row.entitlement_minutes,
        scheduled_minutes=row.scheduled_minutes,
        closed_by=row.closed_by,
        closed_at=row.closed_at.replace(tzinfo=UTC),
    )


def _period(period: str, state: Literal["open", "closed"], booked: Booked) -> PeriodAnswer:
    return PeriodAnswer(
        period=period,
        state=state,
        line_count=booked.line_count,
        entitlement_minutes=booked.entitlement_minutes,
        scheduled_minutes=booked.scheduled_minutes,
    )
