"""The team calendar: who is, or may be, absent when. Colleagues see that somebody is absent, and no more."""

from collections.abc import Collection
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from lms.kernel.auth import Caller, CallerDep
from lms.kernel.http import StaleViewsDep, answer
from lms.requests.api.access import RuntimeDep, visible_employees
from lms.requests.api.answers import Absence, CalendarAnswer, Day, Id
from lms.requests.decider.errors import EmployeeUnknown, EndBeforeStart, IntervalTooLong
from lms.requests.projections import employees, leave_requests
from lms.requests.projections.leave_requests import ABSENT, Criteria

router = APIRouter(prefix="/api/v1/calendar", tags=["calendar"])

LONGEST_CALENDAR_DAYS = 366
_DEFAULT_DAYS = 30


@router.get("", response_model=CalendarAnswer)
async def get_calendar(
    *,
    caller: CallerDep,
    runtime: RuntimeDep,
    views: StaleViewsDep,
    department: Annotated[Id | None, Query(description="The caller's own if left out")] = None,
    first: Annotated[Day | None, Query(alias="from", description="Today if left out")] = None,
    last: Annotated[Day | None, Query(alias="to", description="30 days after `from` if left out")] = None,
) -> Response:
    """Show the absences of a department: of colleagues in one's own, and of those whose requests one may see."""
    connection, today = views.connection, runtime.clock.today()
    since = first or today
    until = last or since + timedelta(days=_DEFAULT_DAYS)
    if until < since:
        raise EndBeforeStart("The calendar's last day is before its first.")
    if (until - since).days >= LONGEST_CALENDAR_DAYS:
        raise IntervalTooLong(f"A calendar shows at most {LONGEST_CALENDAR_DAYS} days at a time.")
    own = await employees.assigned_to(connection, "department", caller.id, today)
    wanted = department or own
    if wanted is None:
        raise EmployeeUnknown("Your department is not known here; name one.")
    known = await visible_employees(connection, caller, today)
    members = await employees.members_of(connection, wanted, since, until)
    if known is not None and wanted != own:
        members &= known
    return answer(
        CalendarAnswer(
            department_id=wanted,
            from_date=since,
            to_date=until,
            items=await absences(connection, caller, members, since, until, known=known),
        )
    )


async def absences(
    connection: AsyncConnection,
    caller: Caller,
    members: set[str],
    since: date,
    until: date,
    *,
    known: Collection[str] | None,
) -> list[Absence]:
    """Return who of the members is absent on any of the days; the type only of those `known` to the caller (None: all).

    Leave that spans the days and takes none of them is no absence then.
    """
    rows = await leave_requests.find(
        connection,
        Criteria(employee_ids=members, statuses=ABSENT, since=since, until=until),
        sort="start_date",
    )
    found = (
        Absence.of(row, since, until, named=known is None or row.employee_id in known or row.employee_id == caller.id)
        for row in rows
    )
    return [one for one in found if one is not None]
