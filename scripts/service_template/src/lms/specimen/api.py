"""Things over HTTP: everybody reads; HR and administrators write."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from lms.kernel.auth import Caller, CallerDep, requires
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep, ViewsDep, answer
from lms.kernel.pages import Page, PageDep
from lms.specimen import commands as use_cases
from lms.specimen.projections import things

router = APIRouter(prefix="/api/v1/specimen", tags=["specimen"])

Editor = Annotated[Caller, Depends(requires("hr", "admin"))]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,36}$")]


class ThingBody(Body):
    """What a thing is to be called."""

    name: Annotated[str, Field(min_length=1, max_length=120, pattern=r"\S")]


class ThingAnswer(Answer):
    """A thing; `version` is its ETag."""

    id: str
    name: str
    version: int


@router.get("", response_model=Page[ThingAnswer])
async def list_things(caller: CallerDep, views: ViewsDep, page: PageDep) -> Response:
    """List things by name."""
    del caller
    after = page.after(str, str)
    rows = await things.find(views.connection, limit=page.limit + 1, after=(after[0], after[1]) if after else None)
    return answer(Page[ThingAnswer].of(rows, page, key=lambda row: (row.name, row.thing_id), item=_row))


@router.post("", status_code=201, response_model=ThingAnswer)
async def post_thing(body: ThingBody, caller: Editor, commands: CommandsDep) -> Response:
    """Make a thing."""
    del caller

    async def create(uow: UnitOfWork) -> ThingAnswer:
        return _written(await use_cases.create_thing(uow, body.name))

    return await commands.run(create, status=201, location=lambda made: f"/api/v1/specimen/{made.id}")


@router.post("/{thing_id}/rename", response_model=ThingAnswer)
async def rename_thing(thing_id: Id, body: ThingBody, caller: Editor, commands: CommandsDep) -> Response:
    """Give a thing another name."""
    del caller

    async def rename(uow: UnitOfWork) -> ThingAnswer:
        return _written(await use_cases.rename_thing(uow, thing_id, body.name))

    return await commands.run(rename)


def _row(row: Any) -> ThingAnswer:
    return ThingAnswer(id=row.thing_id, name=row.name, version=row.version)


def _written(thing: use_cases.Written) -> ThingAnswer:
    return ThingAnswer(id=thing.id, name=thing.name, version=thing.version)
