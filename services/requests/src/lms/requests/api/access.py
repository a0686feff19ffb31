"""Who may see whose leave, and what of it; whoever may not see it is not told that it exists.

The employee themselves, everybody in the reporting line above them, HR and auditors see a request. The employee and HR
change it. The reason is shown to the employee and HR, and to the others where the leave type says so.
"""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal

from fastapi import Depends, Header, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.auth import Caller
from lms.kernel.errors import Forbidden
from lms.kernel.http import get_runtime
from lms.kernel.service import Runtime
from lms.requests.decider.errors import NoSuchRequest
from lms.requests.projections import employees, leave_requests, leave_types

Relation = Literal["own", "hr", "auditor", "manager"]
"""As what somebody sees a request."""

RuntimeDep = Annotated[Runtime, Depends(get_runtime)]


async def caught_up(
    request: Request,
    consistency_token: Annotated[
        str | None, Header(description="From the answer to a command: wait until its effect is known here")
    ] = None,
) -> None:
    """Let a command wait, as a read does, until the facts that the token names are known here."""
    if consistency_token:
        await request.app.state.catch_up.wait(consistency_token)


async def relation(connection: AsyncConnection, caller: Caller, employee_id: str, today: date) -> Relation | None:
    """Return as what the caller sees the employee's requests; None if not at all."""
    if caller.id == employee_id:
        return "own"
    if caller.has("hr"):
        return "hr"
    if caller.has("auditor"):
        return "auditor"
    return "manager" if await employees.is_above(connection, caller.id, employee_id, today) else None


async def visible_request(
    connection: AsyncConnection, caller: Caller, request_id: str, today: date
) -> list[leave_requests.RevisionRow]:
    """Return the revisions of a request. Raises NoSuchRequest, also for a caller who may not see it."""
    revisions = await leave_requests.revisions_of(connection, request_id)
    if not revisions or await relation(connection, caller, revisions[0].employee_id, today) is None:
        raise NoSuchRequest("There is no such request.")
    return revisions


async def changeable_request(
    connection: AsyncConnection, caller: Caller, request_id: str, today: date
) -> list[leave_requests.RevisionRow]:
    """Return the revisions of a request that the caller may change. Raises NoSuchRequest or Forbidden."""
    revisions = await visible_request(connection, caller, request_id, today)
    if caller.id != revisions[0].employee_id and not caller.has("hr"):
        raise Forbidden("Only the employee or HR can change this request.")
    return revisions


async def visible_employees(connection: AsyncConnection, caller: Caller, today: date) -> set[str] | None:
    """Return whose requests the caller sees; None: everybody's."""
    if caller.has("hr", "auditor"):
        return None
    return {caller.id} | await employees.reports_of(connection, caller.id, today)


async def readable_reasons(
    connection: AsyncConnection, caller: Caller, rows: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return those pairs of employee and leave type whose reasons the caller reads, out of pairs that they see."""
    pairs = set(rows)
    if caller.has("hr"):
        return pairs
    own = {pair for pair in pairs if pair[0] == caller.id}
    if pairs == own:
        return own
    seen_as = "auditor" if caller.has("auditor") else "manager"
    readers = await leave_types.reason_readers(connection)
    return own | {pair for pair in pairs if seen_as in readers.get(pair[1], frozenset())}
