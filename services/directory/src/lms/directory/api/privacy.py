"""Erasure: HR asks, an administrator agrees, and what is sealed about the person stays closed for ever."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from starlette.responses import Response

from lms.directory import store
from lms.directory.api.access import Id, PartsDep
from lms.directory.commands import privacy
from lms.kernel.auth import Caller, requires
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep, ViewsDep, answer
from lms.kernel.pages import Page, PageDep

router = APIRouter(prefix="/api/v1/privacy/erasure", tags=["privacy"])

Hr = Annotated[Caller, Depends(requires("hr"))]
Admin = Annotated[Caller, Depends(requires("admin"))]
Either = Annotated[Caller, Depends(requires("hr", "admin"))]


class ErasureBody(Body):
    """Whose data is to be erased: somebody whose employment is over."""

    employee_id: Id


class ErasureAnswer(Answer):
    """An erasure; `status` is `requested` until an administrator has agreed, then `erased`."""

    employee_id: str
    status: Literal["requested", "erased"]
    requested_by: str
    requested_at: datetime
    confirmed_by: str | None
    confirmed_at: datetime | None


@router.get("", response_model=Page[ErasureAnswer])
async def list_erasures(caller: Either, views: ViewsDep, page: PageDep) -> Response:
    """List the erasures asked for and done."""
    del caller
    after = page.after(str)
    rows = await store.all_erasures(views.connection, after=after[0] if after else None, limit=page.limit + 1)
    return answer(Page[ErasureAnswer].of(rows, page, key=lambda row: (row.employee_id,), item=_shown))


@router.post("", status_code=201, response_model=ErasureAnswer)
async def post_erasure(body: ErasureBody, caller: Hr, commands: CommandsDep) -> Response:
    """Ask for the erasure of a person who has left."""

    async def ask(uow: UnitOfWork) -> ErasureAnswer:
        return _shown(await privacy.request_erasure(uow, body.employee_id, caller.id))

    return await commands.run(ask, status=201)


@router.post("/{employee_id}/confirm", response_model=ErasureAnswer)
async def confirm_erasure(employee_id: Id, caller: Admin, parts: PartsDep, commands: CommandsDep) -> Response:
    """Agree to an erasure that somebody else has asked for. This cannot be undone."""
    listed = store.ErasureList(parts.settings.erasure_list)

    async def confirm(uow: UnitOfWork) -> ErasureAnswer:
        return _shown(await privacy.confirm_erasure(uow, parts.registry, listed, employee_id, caller.id))

    return await commands.run(confirm)


@router.delete("/{employee_id}", status_code=204)
async def withdraw_erasure(employee_id: Id, caller: Either, commands: CommandsDep) -> Response:
    """Take back an erasure that nobody has agreed to yet."""
    del caller

    async def withdraw(uow: UnitOfWork) -> None:
        await privacy.withdraw_erasure(uow, employee_id)

    return await commands.run(withdraw, status=204)


def _shown(erasure: store.Erasure) -> ErasureAnswer:
    return ErasureAnswer(
        employee_id=erasure.employee_id,
        status="requested" if erasure.confirmed_at is None else "erased",
        requested_by=erasure.requested_by,
        requested_at=erasure.requested_at,
        confirmed_by=erasure.confirmed_by,
        confirmed_at=erasure.confirmed_at,
    )
