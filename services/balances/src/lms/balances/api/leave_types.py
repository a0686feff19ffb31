"""Leave types: everybody reads them, hr and administrators define and change them."""

from collections.abc import Awaitable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from lms.balances import commands
from lms.balances.decider.catalogue import LeaveTypeUnknown
from lms.balances.events import LeaveTypeTerms, Slug
from lms.balances.projections.catalogue import LeaveTypeRow, all_leave_types
from lms.kernel.auth import Caller, CallerDep, requires
from lms.kernel.http import Answer, Body, CommandsDep, IfMatchDep, StaleViewsDep, ViewsDep, answer
from lms.kernel.pages import Page

router = APIRouter(prefix="/api/v1/leave-types", tags=["leave types"])

SlugPath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]*$", max_length=60)]
HrDep = Annotated[Caller, Depends(requires("hr", "admin"))]


class LeaveTypeTermsBody(Body):
    """What a leave type is. `unit` and `limited` can never be changed."""

    name: str = Field(min_length=1, max_length=80)
    unit: Literal["day", "half-day", "hour"]
    paid: bool
    pay_code: str = Field(min_length=1, max_length=20)
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$", examples=["#2e7d32"])
    needs_approval: bool = True
    limited: bool = True
    attachment_after_days: int | None = Field(default=None, ge=0)
    min_notice_days: int = Field(default=0, ge=0)
    max_length_days: int | None = Field(default=None, ge=1)
    reason_visible_to: tuple[str, ...] = ("manager", "hr")


class NewLeaveType(LeaveTypeTermsBody):
    """A leave type to define."""

    leave_type: Slug


class LeaveTypeAnswer(Answer):
    """A leave type; `version` is its ETag."""

    leave_type: str
    name: str
    unit: str
    paid: bool
    pay_code: str
    colour: str
    needs_approval: bool
    limited: bool
    attachment_after_days: int | None
    min_notice_days: int
    max_length_days: int | None
    reason_visible_to: tuple[str, ...]
    version: int


async def _defined(row: Awaitable[LeaveTypeRow]) -> LeaveTypeAnswer:
    return _answer(await row)


def _answer(row: LeaveTypeRow) -> LeaveTypeAnswer:
    return LeaveTypeAnswer(leave_type=row.leave_type, version=row.version, **row.terms.model_dump())


@router.get("", response_model=Page[LeaveTypeAnswer])
async def get_leave_types(_caller: CallerDep, views: StaleViewsDep) -> Response:
    """List all leave types."""
    rows = await all_leave_types(views.connection)
    return answer(Page(items=[_answer(row) for row in rows]))


@router.get("/{leave_type}", response_model=LeaveTypeAnswer)
async def get_leave_type(leave_type: str, _caller: CallerDep, views: ViewsDep) -> Response:
    """Read one leave type."""
    rows = await all_leave_types(views.connection)
    found = next((row for row in rows if row.leave_type == leave_type), None)
    if found is None:
        raise LeaveTypeUnknown(f"There is no leave type {leave_type!r}.")
    return answer(_answer(found))


@router.post("", status_code=201, response_model=LeaveTypeAnswer)
async def post_leave_type(body: NewLeaveType, _caller: HrDep, run: CommandsDep) -> Response:
    """Define a leave type."""
    terms = LeaveTypeTerms(**body.model_dump(exclude={"leave_type"}))
    return await run.run(
        lambda uow: _defined(commands.define_leave_type(uow, body.leave_type, terms)),
        status=201,
        location=lambda one: f"/api/v1/leave-types/{one.leave_type}",
    )


@router.put("/{leave_type}", response_model=LeaveTypeAnswer)
async def put_leave_type(
    leave_type: SlugPath, body: LeaveTypeTermsBody, _caller: HrDep, run: CommandsDep, if_match: IfMatchDep
) -> Response:
    """Change a leave type."""
    terms = LeaveTypeTerms(**body.model_dump())
    return await run.run(lambda uow: _defined(commands.change_leave_type(uow, leave_type, terms, if_match)))
