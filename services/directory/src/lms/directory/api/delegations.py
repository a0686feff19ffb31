"""Delegations: managers name their own stand-ins; HR and administrators see and set all."""

from datetime import date

from fastapi import APIRouter
from starlette.responses import Response

from lms.directory.api.access import Id, PartsDep, is_editor
from lms.directory.api.auth import DelegationAnswer, delegation_answer
from lms.directory.commands import organisation
from lms.directory.projections import delegations
from lms.kernel.auth import CallerDep
from lms.kernel.errors import Forbidden
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Body, CommandsDep, ViewsDep, answer
from lms.kernel.pages import Page, PageDep

router = APIRouter(prefix="/api/v1/delegations", tags=["delegations"])


class NewDelegationBody(Body):
    """Who stands in, and when (both days included). HR and administrators may name the `delegator_id`."""

    delegate_id: Id
    first_day: date
    last_day: date
    delegator_id: Id | None = None


@router.get("", response_model=Page[DelegationAnswer])
async def list_delegations(
    caller: CallerDep, parts: PartsDep, views: ViewsDep, page: PageDep, employee_id: Id | None = None
) -> Response:
    """List delegations in force or to come, given and received; HR and administrators see everybody's."""
    person = employee_id if is_editor(caller) else caller.id
    after = page.after(date.fromisoformat, str)
    rows = await delegations.find(
        views.connection,
        person=person,
        not_over_by=parts.clock.today(),
        limit=page.limit + 1,
        after=(after[0], after[1]) if after else None,
    )
    return answer(
        Page[DelegationAnswer].of(
            rows, page, key=lambda row: (row.first_day, row.delegation_id), item=delegation_answer
        )
    )


@router.post("", status_code=201, response_model=DelegationAnswer)
async def post_delegation(body: NewDelegationBody, caller: CallerDep, commands: CommandsDep) -> Response:
    """Name a stand-in."""
    delegator = body.delegator_id or caller.id
    if not is_editor(caller) and (delegator != caller.id or not caller.has("manager")):
        raise Forbidden("Managers name their own stand-ins; HR names those of others.")

    async def grant(uow: UnitOfWork) -> DelegationAnswer:
        made = await organisation.grant_delegation(uow, delegator, body.delegate_id, body.first_day, body.last_day)
        return DelegationAnswer(
            id=made.id,
            delegator_id=delegator,
            delegate_id=body.delegate_id,
            first_day=body.first_day,
            last_day=body.last_day,
        )

    return await commands.run(grant, status=201)


@router.delete("/{delegation_id}", status_code=204)
async def delete_delegation(delegation_id: Id, caller: CallerDep, commands: CommandsDep) -> Response:
    """End a delegation now."""
    only_of = None if is_editor(caller) else caller.id

    async def revoke(uow: UnitOfWork) -> None:
        await organisation.revoke_delegation(uow, delegation_id, only_of=only_of)

    return await commands.run(revoke, status=204)
