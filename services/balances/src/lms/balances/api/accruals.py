"""Accrual runs: what fell due by a date, recorded for everybody."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from lms.balances import commands, store
from lms.kernel.auth import Caller, requires
from lms.kernel.errors import NotFound
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep, ViewsDep, answer, get_runtime
from lms.kernel.pages import Page

router = APIRouter(prefix="/api/v1/accruals", tags=["accruals"])

HrDep = Annotated[Caller, Depends(requires("hr", "admin", scopes=("accruals.run",)))]


class RunBody(Body):
    """Through which date; today without one."""

    through: date | None = None


class RunAnswer(Answer):
    """A run and its progress: `done` of `total` people."""

    through: date
    done: int
    total: int
    started_at: datetime
    finished_at: datetime | None


def _answer(run: store.AccrualRun) -> RunAnswer:
    return RunAnswer(
        through=run.through,
        done=run.done,
        total=run.total,
        started_at=run.started_at.replace(tzinfo=UTC),
        finished_at=run.finished_at.replace(tzinfo=UTC) if run.finished_at else None,
    )


@router.post("/run", status_code=202, response_model=RunAnswer)
async def post_run(
    body: RunBody, _caller: HrDep, run: CommandsDep, runtime: Annotated[Any, Depends(get_runtime)]
) -> Response:
    """Have everything due through a date recorded, each once and with its own date. `Prefer: wait=N` waits for it."""

    async def request(uow: UnitOfWork) -> RunAnswer:
        return _answer(await commands.request_run(uow, body.through))

    async def finished(requested: RunAnswer) -> RunAnswer | None:
        async with runtime.database.read() as connection:
            found = await store.run_of(connection, requested.through)
        return _answer(found) if found is not None and found.finished_at is not None else None

    return await run.run(request, status=202, settle=finished)


@router.get("/runs/{through}", response_model=RunAnswer)
async def get_run(through: date, _caller: HrDep, views: ViewsDep) -> Response:
    """Show how far the run through a date is."""
    run = await store.run_of(views.connection, through)
    if run is None:
        raise NotFound(f"No run through {through} was asked for.")
    return answer(_answer(run))


@router.get("/runs", response_model=Page[RunAnswer])
async def get_runs(_caller: HrDep, views: ViewsDep) -> Response:
    """List the newest runs with their progress."""
    return answer(Page(items=[_answer(one) for one in await store.newest_runs(views.connection)]))
