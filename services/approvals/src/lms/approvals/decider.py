"""The approval case of one revision of a request: whom to ask, who may answer, and what the answer leads to.

Four eyes: nobody decides on their own leave, neither as an assignee, nor in a group, nor standing in for somebody.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Literal, NamedTuple, assert_never

from pydantic import Field

from lms.approvals.events import (
    TOPIC,
    CaseClosed,
    CaseEvent,
    CaseOpened,
    CaseReassigned,
    CaseRecharged,
    Cause,
    Kind,
    LeaveApproved,
    LeaveRejected,
    StepApproved,
)
from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict, FourEyes, NotFound, Stale
from lms.kernel.sealed import Sealed

HR = "hr"
"""The group that is asked where nobody in the line can be."""

# --- errors ---------------------------------------------------------------------------------------------------------


class NoSuchCase(NotFound):
    """There is no such case, or the caller may not know that there is."""

    code = "not-found"


class CaseOver(Conflict):
    """The case was decided or closed before."""

    code = "case-closed"


class StaleRevision(Stale):
    """The decision names another revision than the newest one that is put to decision."""

    code = "stale-revision"


# --- routing --------------------------------------------------------------------------------------------------------


class Superior(NamedTuple):
    """Somebody in the reporting line, and whether they are employed on the day."""

    employee_id: str
    employed: bool


Line = tuple[Superior, ...]
"""Who stands above an employee on a day, the nearest first."""


@dataclass(frozen=True)
class Route:
    """Whom to ask: the assignees, or anybody of the group."""

    assignees: tuple[str, ...] = ()
    group: str | None = None


def route(step: str, employee_id: str, line: Line) -> Route:
    """Return whom a step asks about an employee's leave.

    `manager` asks the nearest superior who is employed and not the person themselves. Everything else is for HR:
    the step `hr`, a line without anybody, and a step that this service does not know.
    """
    if step == "manager":
        for superior in line:
            if superior.employed and superior.employee_id != employee_id:
                return Route(assignees=(superior.employee_id,))
    return Route(group=HR)


# --- states ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoCase:
    """Nothing was put to decision."""

    kind: Literal["no-case"] = "no-case"


@dataclass(frozen=True)
class Case:
    """What is to be decided."""

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    about: Kind


@dataclass(frozen=True)
class Open:
    """The first of `steps` waits for the assignees or the group of `route`; all days cost `days_minutes`."""

    case: Case
    steps: tuple[str, ...]
    route: Route
    days_minutes: int = 0
    kind: Literal["open"] = "open"


@dataclass(frozen=True)
class Decided:
    """The revision was approved or rejected."""

    case: Case
    decision: Literal["approved", "rejected"]
    kind: Literal["decided"] = "decided"


@dataclass(frozen=True)
class Closed:
    """No decision is needed, or the one that was made came too late."""

    case: Case
    cause: Cause
    kind: Literal["closed"] = "closed"


State = Annotated[NoCase | Open | Decided | Closed, Field(discriminator="kind")]

# --- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenCase:
    """Put a revision to decision; without `needs_approval` it is approved at once."""

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    kind: Kind
    start_date: date
    end_date: date
    days_minutes: int
    needs_approval: bool
    steps: tuple[str, ...]
    line: Line


@dataclass(frozen=True)
class Authority:
    """Who decides: their id, whether they belong to HR, and for whom they stand in today."""

    by: str
    in_hr: bool = False
    stands_in_for: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Approve:
    """Approve the revision that was seen. `line` is the requester's, for the step after this one."""

    revision: int
    authority: Authority
    comment: Sealed | None = None
    line: Line = ()


@dataclass(frozen=True)
class Reject:
    """Reject the revision that was seen."""

    revision: int
    authority: Authority
    reason: Sealed


@dataclass(frozen=True)
class Reassign:
    """Ask whom the reporting line names now."""

    line: Line


@dataclass(frozen=True)
class Recharge:
    """All days together cost so many entitlement minutes now."""

    days_minutes: int


@dataclass(frozen=True)
class Close:
    """The leave book no longer needs the decision, or could not heed it."""

    cause: Cause


Command = OpenCase | Approve | Reject | Reassign | Recharge | Close


def decide(command: Command, state: State) -> Sequence[CaseEvent]:
    """Return what follows from a command.

    Decisions of people raise a DomainError; what the leave book and the directory tell never does.
    """
    match command:
        case OpenCase():
            return _opened(command) if isinstance(state, NoCase) else []
        case Approve():
            return _approved(command, state)
        case Reject():
            return _rejected(command, state)
        case Reassign():
            return _reassigned(command, state)
        case Recharge():
            return _recharged(command, state)
        case Close():
            return _closed(command, state)
        case _:
            assert_never(command)


def _opened(command: OpenCase) -> list[CaseEvent]:
    steps = command.steps if command.needs_approval else ()
    asked = route(steps[0], command.employee_id, command.line) if steps else Route()
    opened = CaseOpened(
        request_id=command.request_id,
        revision=command.revision,
        employee_id=command.employee_id,
        leave_type=command.leave_type,
        kind=command.kind,
        start_date=command.start_date,
        end_date=command.end_date,
        days_minutes=command.days_minutes,
        steps=steps,
        assignees=asked.assignees,
        group=asked.group,
    )
    if steps:
        return [opened]
    approved = LeaveApproved(
        request_id=command.request_id,
        revision=command.revision,
        employee_id=command.employee_id,
        leave_type=command.leave_type,
        kind=command.kind,
        decided_by=None,
        on_behalf_of=None,
        comment=None,
        automatic=True,
    )
    return [opened, approved]


def _approved(command: Approve, state: State) -> list[CaseEvent]:
    open_ = _decidable(command, state)
    case, on_behalf_of = open_.case, _on_behalf_of(command.authority, open_)
    if len(open_.steps) > 1:
        asked = route(open_.steps[1], case.employee_id, command.line)
        return [
            StepApproved(
                request_id=case.request_id,
                revision=case.revision,
                employee_id=case.employee_id,
                step=open_.steps[0],
                decided_by=command.authority.by,
                on_behalf_of=on_behalf_of,
                comment=command.comment,
                assignees=asked.assignees,
                group=asked.group,
            )
        ]
    return [
        LeaveApproved(
            request_id=case.request_id,
            revision=case.revision,
            employee_id=case.employee_id,
            leave_type=case.leave_type,
            kind=case.about,
            decided_by=command.authority.by,
            on_behalf_of=on_behalf_of,
            comment=command.comment,
            automatic=False,
        )
    ]


def _rejected(command: Reject, state: State) -> list[CaseEvent]:
    open_ = _decidable(command, state)
    case = open_.case
    return [
        LeaveRejected(
            request_id=case.request_id,
            revision=case.revision,
            employee_id=case.employee_id,
            leave_type=case.leave_type,
            kind=case.about,
            decided_by=command.authority.by,
            on_behalf_of=_on_behalf_of(command.authority, open_),
            reason=command.reason,
        )
    ]


def _reassigned(command: Reassign, state: State) -> list[CaseEvent]:
    if not isinstance(state, Open):
        return []
    asked = route(state.steps[0], state.case.employee_id, command.line)
    if asked == state.route:
        return []
    return [
        CaseReassigned(
            request_id=state.case.request_id,
            revision=state.case.revision,
            employee_id=state.case.employee_id,
            assignees=asked.assignees,
            group=asked.group,
            cause="reporting-line",
        )
    ]


def _recharged(command: Recharge, state: State) -> list[CaseEvent]:
    if not isinstance(state, Open) or state.days_minutes == command.days_minutes:
        return []
    case = state.case
    return [
        CaseRecharged(
            request_id=case.request_id,
            revision=case.revision,
            employee_id=case.employee_id,
            days_minutes=command.days_minutes,
        )
    ]


def _closed(command: Close, state: State) -> list[CaseEvent]:
    """Close what is open; only a lapse changes what was decided."""
    match state:
        case NoCase() | Closed():
            return []
        case Decided() if command.cause != "lapsed":
            return []
        case Open() | Decided():
            case = state.case
            return [
                CaseClosed(
                    request_id=case.request_id,
                    revision=case.revision,
                    employee_id=case.employee_id,
                    cause=command.cause,
                )
            ]


def _decidable(command: Approve | Reject, state: State) -> Open:
    """Return the open case. Raises NoSuchCase, StaleRevision, CaseOver."""
    if isinstance(state, NoCase):
        raise NoSuchCase("There is no such case.")
    if command.revision != state.case.revision:
        raise StaleRevision(f"The revision to decide on is {state.case.revision}; read it again.")
    if not isinstance(state, Open):
        outcome = state.decision if isinstance(state, Decided) else state.cause
        raise CaseOver(f"The case is over: {outcome}.")
    return state


def _on_behalf_of(authority: Authority, open_: Open) -> str | None:
    """Return the assignee for whom somebody decides, None if in their own right. Raises FourEyes, NoSuchCase."""
    if authority.by == open_.case.employee_id:
        raise FourEyes("Nobody decides on their own leave.")
    if authority.by in open_.route.assignees or (open_.route.group == HR and authority.in_hr):
        return None
    for assignee in open_.route.assignees:
        if assignee in authority.stands_in_for:
            return assignee
    raise NoSuchCase("There is no such case.")


def evolve(state: State, event: CaseEvent) -> State:
    """Fold a fact into the case; whatever it says is so."""
    if isinstance(event, CaseOpened):
        case = Case(event.request_id, event.revision, event.employee_id, event.leave_type, event.kind)
        return Open(case, event.steps, Route(event.assignees, event.group), event.days_minutes)
    return state if isinstance(state, NoCase) else _changed(state, event)


def _changed(
    state: Open | Decided | Closed,
    event: CaseReassigned | CaseRecharged | StepApproved | LeaveApproved | LeaveRejected | CaseClosed,
) -> State:
    changed: State = state
    match event:
        case CaseReassigned():
            if isinstance(state, Open):
                changed = replace(state, route=Route(event.assignees, event.group))
        case CaseRecharged():
            if isinstance(state, Open):
                changed = replace(state, days_minutes=event.days_minutes)
        case StepApproved():
            if isinstance(state, Open):
                changed = replace(state, steps=state.steps[1:], route=Route(event.assignees, event.group))
        case LeaveApproved():
            changed = Decided(state.case, "approved")
        case LeaveRejected():
            changed = Decided(state.case, "rejected")
        case CaseClosed():
            changed = Closed(state.case, event.cause)
        case _:
            assert_never(event)
    return changed


CASE: Decider[Command, State, CaseEvent] = Decider(
    category="approval-case",
    topic=TOPIC,
    initial=NoCase(),
    decide=decide,
    evolve=evolve,
    state_type=State,
    evolve_version=2,
)


def case_id(request_id: str, revision: int) -> str:
    """Return the id of the case of a revision."""
    return f"{request_id}.{revision}"
