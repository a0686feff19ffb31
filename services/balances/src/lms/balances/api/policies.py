"""Policies: everybody reads them, hr and administrators publish their versions."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from lms.balances import commands
from lms.balances.decider.catalogue import PolicyUnknown
from lms.balances.events import Identifier, PolicyPublished, PolicyTerms, Slug
from lms.balances.projections.catalogue import all_policies
from lms.kernel.auth import Caller, CallerDep, requires
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep, IfMatchDep, StaleViewsDep, ViewsDep, answer
from lms.kernel.pages import Page

router = APIRouter(prefix="/api/v1/policies", tags=["policies"])

SlugPath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]*$", max_length=60)]
HrDep = Annotated[Caller, Depends(requires("hr", "admin"))]


class BlackoutBody(Body):
    """Days, both inclusive, on which leave of the type cannot be taken."""

    first_day: date
    last_day: date


class PolicyTermsBody(Body):
    """What a policy version grants from `effective_from` on."""

    leave_type: Slug
    locations: tuple[Identifier, ...] | None = Field(
        default=None, description="The locations it is for; null: all others"
    )
    effective_from: date
    entitlement_minutes: int = Field(ge=0, le=1_000_000, description="A year's; a nominal day is 480")
    accrual: Literal["up-front", "monthly"]
    accrual_at: Literal["start", "end"] = "start"
    pro_rata: Literal["days", "months", "none"] = "days"
    cap_minutes: int | None = Field(default=None, ge=0)
    carry_over_limit_minutes: int | None = Field(default=0, ge=0, description="0: nothing; null: everything")
    carry_over_expires: str | None = Field(
        default=None, pattern=r"^\d{2}-\d{2}$", description="MM-DD, the last valid day; null: the year's end"
    )
    negative_limit_minutes: int = Field(default=0, ge=0)
    waiting_period_days: int = Field(default=0, ge=0)
    blackouts: tuple[BlackoutBody, ...] = ()
    approval_steps: tuple[str, ...] = ("manager",)

    def terms(self) -> PolicyTerms:
        """Return the terms as the decider takes them."""
        return PolicyTerms.model_validate(self.model_dump(exclude={"policy_id"}))


class NewPolicy(PolicyTermsBody):
    """The first version of a policy."""

    policy_id: Slug


class PolicyVersionAnswer(Answer):
    """One version of a policy; `version` is the ETag while it is the newest."""

    policy_id: str
    version: int
    leave_type: str
    locations: tuple[str, ...] | None
    effective_from: date
    entitlement_minutes: int
    accrual: str
    accrual_at: str
    pro_rata: str
    cap_minutes: int | None
    carry_over_limit_minutes: int | None
    carry_over_expires: str | None
    negative_limit_minutes: int
    waiting_period_days: int
    blackouts: tuple[BlackoutBody, ...]
    approval_steps: tuple[str, ...]


class PolicyAnswer(PolicyVersionAnswer):
    """A policy: its newest version, and all of them, oldest first."""

    versions: tuple[PolicyVersionAnswer, ...]


def _answer(published: PolicyPublished) -> PolicyVersionAnswer:
    return PolicyVersionAnswer.model_validate(published.model_dump())


def _policy(versions: Sequence[PolicyPublished]) -> PolicyAnswer:
    return PolicyAnswer(**_answer(versions[-1]).model_dump(), versions=tuple(_answer(one) for one in versions))


@router.get("", response_model=Page[PolicyAnswer])
async def get_policies(
    _caller: CallerDep, views: StaleViewsDep, leave_type: Annotated[str | None, Query()] = None
) -> Response:
    """List all policies, each with its versions."""
    by_id: dict[str, list[PolicyPublished]] = defaultdict(list)
    for one in await all_policies(views.connection):
        if leave_type in {None, one.leave_type}:
            by_id[one.policy_id].append(one)
    return answer(Page(items=[_policy(versions) for versions in by_id.values()]))


@router.get("/{policy_id}", response_model=PolicyAnswer)
async def get_policy(policy_id: str, _caller: CallerDep, views: ViewsDep) -> Response:
    """Read one policy with its versions."""
    versions = [one for one in await all_policies(views.connection) if one.policy_id == policy_id]
    if not versions:
        raise PolicyUnknown(f"There is no policy {policy_id!r}.")
    return answer(_policy(versions))


@router.post("", status_code=201, response_model=PolicyVersionAnswer)
async def post_policy(body: NewPolicy, _caller: HrDep, run: CommandsDep) -> Response:
    """Publish the first version of a policy. It may reach back, where no other policy was in force."""

    async def publish(uow: UnitOfWork) -> PolicyVersionAnswer:
        return _answer(await commands.publish_policy(uow, body.policy_id, body.terms(), first=True))

    return await run.run(publish, status=201, location=lambda one: f"/api/v1/policies/{one.policy_id}")


@router.put("/{policy_id}", response_model=PolicyVersionAnswer)
async def put_policy(
    policy_id: SlugPath, body: PolicyTermsBody, _caller: HrDep, run: CommandsDep, if_match: IfMatchDep
) -> Response:
    """Publish the next version of a policy, from a day on that is not past."""

    async def publish(uow: UnitOfWork) -> PolicyVersionAnswer:
        published = await commands.publish_policy(uow, policy_id, body.terms(), first=False, expected=if_match)
        return _answer(published)

    return await run.run(publish)
