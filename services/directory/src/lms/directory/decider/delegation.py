"""One delegation: a stand-in who decides for a manager during a period."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, assert_never

from lms.directory.events import TOPIC, DelegationGranted, DelegationRevoked
from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict, FieldError, NotFound, RuleBroken


class DelegationExists(Conflict):
    """The id is taken."""

    code = "delegation-exists"


class DelegationUnknown(NotFound):
    """No delegation has this id, or the caller may not know it."""

    code = "delegation-not-found"


class DelegationInvalid(RuleBroken):
    """The period or the delegate is impossible."""

    code = "delegation-invalid"


@dataclass(frozen=True)
class NoDelegation:
    """The stream has no facts yet."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True)
class Delegation:
    """A delegation as it stands."""

    delegation_id: str
    delegator_id: str
    delegate_id: str
    revoked: bool = False
    kind: Literal["delegation"] = "delegation"


DelegationState = NoDelegation | Delegation


@dataclass(frozen=True)
class GrantDelegation:
    """Let a delegate stand in; the delegate's employment comes along as the command found it."""

    delegation_id: str
    delegator_id: str
    delegate_id: str
    first_day: date
    last_day: date
    today: date
    delegate_employed_from: date
    delegate_last_day: date | None


@dataclass(frozen=True)
class RevokeDelegation:
    """End a delegation now."""


DelegationCommand = GrantDelegation | RevokeDelegation
DelegationEvent = DelegationGranted | DelegationRevoked


def decide(command: DelegationCommand, state: DelegationState) -> list[DelegationEvent]:
    """Answer a command; revoking twice is no second fact."""
    if isinstance(state, NoDelegation):
        if isinstance(command, GrantDelegation):
            return _granted(command)
        raise DelegationUnknown("There is no such delegation.")
    match command:
        case GrantDelegation():
            raise DelegationExists(f"There is already a delegation with the id {state.delegation_id}.")
        case RevokeDelegation():
            revoked = DelegationRevoked(
                delegation_id=state.delegation_id,
                delegator_id=state.delegator_id,
                delegate_id=state.delegate_id,
            )
            return [] if state.revoked else [revoked]
        case _:
            assert_never(command)


def evolve(state: DelegationState, event: DelegationEvent) -> DelegationState:
    """Fold one fact into the state."""
    match event:
        case DelegationGranted():
            return Delegation(event.delegation_id, event.delegator_id, event.delegate_id)
        case DelegationRevoked():
            return state if isinstance(state, NoDelegation) else replace(state, revoked=True)
        case _:
            assert_never(event)


def _granted(command: GrantDelegation) -> list[DelegationEvent]:
    errors: list[FieldError] = []
    if command.delegate_id == command.delegator_id:
        errors.append(FieldError("/delegate_id", "Nobody can stand in for themselves: name somebody else."))
    if command.last_day < command.first_day:
        errors.append(FieldError("/last_day", f"Choose {command.first_day} or later."))
    elif command.last_day < command.today:
        errors.append(FieldError("/last_day", f"The period is over; choose {command.today} or later."))
    if command.first_day < command.delegate_employed_from:
        errors.append(FieldError("/first_day", f"The delegate starts on {command.delegate_employed_from}."))
    if command.delegate_last_day is not None and command.last_day > command.delegate_last_day:
        errors.append(FieldError("/last_day", f"The delegate leaves after {command.delegate_last_day}."))
    if errors:
        raise DelegationInvalid("This delegation is not possible; see the errors.", tuple(errors))
    return [
        DelegationGranted(
            delegation_id=command.delegation_id,
            delegator_id=command.delegator_id,
            delegate_id=command.delegate_id,
            first_day=command.first_day,
            last_day=command.last_day,
        )
    ]


DELEGATION: Decider[DelegationCommand, DelegationState, DelegationEvent] = Decider(
    category="delegation",
    topic=TOPIC,
    initial=NoDelegation(),
    decide=decide,
    evolve=evolve,
    state_type=DelegationState,
)
