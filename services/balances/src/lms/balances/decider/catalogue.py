"""Leave types and policies: what a company defines, and which changes it may make to it."""

from dataclasses import dataclass
from datetime import date
from typing import assert_never

from lms.balances.events import (
    LeaveTypeChanged,
    LeaveTypeDefined,
    LeaveTypeTerms,
    PolicyPublished,
    PolicyTerms,
)
from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict, FieldError, NotFound, RuleBroken

APPROVAL_STEPS = ("manager", "hr")
"""The steps that approvals routes. Whatever else a policy named would come to hr, unasked for."""


class LeaveTypeExists(Conflict):
    """A leave type of this name is there already."""

    code = "leave-type-exists"


class LeaveTypeUnknown(NotFound):
    """There is no such leave type."""

    code = "leave-type-not-found"


class LeaveTypeFixed(RuleBroken):
    """Balances rest on the unit and on whether the type is limited: both are fixed."""

    code = "leave-type-fixed"


class PolicyExists(Conflict):
    """A policy of this name is there already."""

    code = "policy-exists"


class PolicyUnknown(NotFound):
    """There is no such policy."""

    code = "policy-not-found"


class PolicyRefused(RuleBroken):
    """The terms contradict themselves, earlier versions or the leave type."""

    code = "policy-refused"


@dataclass(frozen=True)
class DefineLeaveType:
    """Define a leave type that does not exist yet."""

    leave_type: str
    terms: LeaveTypeTerms


@dataclass(frozen=True)
class ChangeLeaveType:
    """Give a leave type other terms."""

    leave_type: str
    terms: LeaveTypeTerms


LeaveTypeCommand = DefineLeaveType | ChangeLeaveType
LeaveTypeEvent = LeaveTypeDefined | LeaveTypeChanged


@dataclass(frozen=True)
class LeaveType:
    """The state: None before it is defined."""

    terms: LeaveTypeTerms | None = None


def _decide_leave_type(command: LeaveTypeCommand, state: LeaveType) -> list[LeaveTypeEvent]:
    fields = command.terms.model_dump()
    match command:
        case DefineLeaveType():
            if state.terms is not None:
                raise LeaveTypeExists(f"The leave type {command.leave_type!r} exists already; change it instead.")
            return [LeaveTypeDefined(leave_type=command.leave_type, **fields)]
        case ChangeLeaveType():
            if state.terms is None:
                raise LeaveTypeUnknown(f"There is no leave type {command.leave_type!r}.")
            if state.terms == command.terms:
                return []
            fixed = [name for name in ("unit", "limited") if getattr(state.terms, name) != fields[name]]
            if fixed:
                raise LeaveTypeFixed(
                    "Balances rest on the unit and on whether the type is limited: define another type instead.",
                    tuple(FieldError(f"/{name}", "cannot be changed") for name in fixed),
                )
            return [LeaveTypeChanged(leave_type=command.leave_type, **fields)]
        case _:
            assert_never(command)


def _evolve_leave_type(_state: LeaveType, event: LeaveTypeEvent) -> LeaveType:
    return LeaveType(LeaveTypeTerms.model_validate(event.model_dump(exclude={"leave_type"})))


LEAVE_TYPE: Decider[LeaveTypeCommand, LeaveType, LeaveTypeEvent] = Decider(
    category="leave-type",
    topic="leave.balances.v1",
    initial=LeaveType(),
    decide=_decide_leave_type,
    evolve=_evolve_leave_type,
    state_type=LeaveType,
)


@dataclass(frozen=True)
class PublishPolicy:
    """Publish a policy's first version (`first`) or its next one.

    `leave_type` is the type that the policy is about as it stands, None when nobody defined it. `covered`: another
    policy for everybody, or for one of its locations, already applies to the type, so that what it granted stands.
    """

    policy_id: str
    first: bool
    terms: PolicyTerms
    today: date
    leave_type: LeaveTypeTerms | None
    covered: bool


@dataclass(frozen=True)
class Policy:
    """The state: the newest version, None before the first."""

    newest: PolicyPublished | None = None


def _decide_policy(command: PublishPolicy, state: Policy) -> list[PolicyPublished]:
    newest = state.newest
    if command.first and newest is not None:
        raise PolicyExists(f"The policy {command.policy_id!r} exists already; publish its next version instead.")
    if not command.first and newest is None:
        raise PolicyUnknown(f"There is no policy {command.policy_id!r}.")
    faults = [*_faults(command.terms, command.leave_type), *_faults_in_time(command, newest)]
    if faults:
        raise PolicyRefused(f"The policy cannot be published: {faults[0].detail}.", tuple(faults))
    version = newest.version + 1 if newest else 1
    return [PolicyPublished(policy_id=command.policy_id, version=version, **command.terms.model_dump())]


def _faults(terms: PolicyTerms, leave_type: LeaveTypeTerms | None) -> list[FieldError]:
    faults = []
    if leave_type is None:
        faults.append(FieldError("/leave_type", "there is no such leave type; define it first"))
    elif not leave_type.limited and terms.entitlement_minutes:
        faults.append(FieldError("/entitlement_minutes", "leave of this type needs no balance, so 0 is all it grants"))
    if terms.accrual == "up-front" and terms.accrual_at == "end":
        faults.append(FieldError("/accrual_at", "what is granted up front is granted at the start"))
    if terms.locations is not None and not terms.locations:
        faults.append(FieldError("/locations", "name a location, or null for all"))
    if terms.carry_over_expires is not None and not _is_day_of_every_year(terms.carry_over_expires):
        faults.append(FieldError("/carry_over_expires", "is not a day (MM-DD) of every year"))
    if not terms.approval_steps:
        faults.append(FieldError("/approval_steps", "name at least one step"))
    faults.extend(
        FieldError(f"/approval_steps/{place}", f"no such approval step; known are {' and '.join(APPROVAL_STEPS)}")
        for place, step in enumerate(terms.approval_steps)
        if step not in APPROVAL_STEPS
    )
    faults.extend(
        FieldError(f"/blackouts/{place}", "ends before it begins")
        for place, one in enumerate(terms.blackouts)
        if one.last_day < one.first_day
    )
    return faults


def _faults_in_time(command: PublishPolicy, newest: PolicyPublished | None) -> list[FieldError]:
    effective_from = command.terms.effective_from
    faults = []
    if newest is not None:
        if command.terms.leave_type != newest.leave_type:
            faults.append(FieldError("/leave_type", f"this policy is about {newest.leave_type!r}; publish another one"))
        if effective_from <= newest.effective_from:
            faults.append(
                FieldError("/effective_from", f"must be after version {newest.version}'s, {newest.effective_from}")
            )
    if effective_from < command.today and (newest is not None or command.covered):
        faults.append(
            FieldError(
                "/effective_from",
                f"must not be before today, {command.today}: what the policy in force has granted stands",
            )
        )
    return faults


def _is_day_of_every_year(month_and_day: str) -> bool:
    try:
        date.fromisoformat(f"2025-{month_and_day}")  # no leap year
    except ValueError:
        return False
    return True


def _evolve_policy(_state: Policy, event: PolicyPublished) -> Policy:
    return Policy(event)


POLICY: Decider[PublishPolicy, Policy, PolicyPublished] = Decider(
    category="policy",
    topic="leave.balances.v1",
    initial=Policy(),
    decide=_decide_policy,
    evolve=_evolve_policy,
    state_type=Policy,
)
