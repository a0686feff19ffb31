"""One employee: employment period, and what holds of the person from which day on.

Rules that span people (one reporting tree, unique addresses) are claims of the commands; here is what one
person's own history decides.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Generic, Literal, TypeVar, assert_never

from lms.directory.events import (
    TOPIC,
    EmployeeContactChanged,
    EmployeeCostCentreChanged,
    EmployeeDepartmentChanged,
    EmployeeErased,
    EmployeeInvited,
    EmployeeJoined,
    EmployeeLeft,
    EmployeeLocationChanged,
    EmployeeManagerChanged,
    EmployeePasswordChosen,
    EmployeeRolesChanged,
    EmployeeScheduleAssigned,
    Role,
)
from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict, FieldError, NotFound, RuleBroken
from lms.kernel.sealed import Sealed

T = TypeVar("T")


class EmployeeExists(Conflict):
    """The id is taken."""

    code = "employee-exists"


class EmployeeUnknown(NotFound):
    """No employee has this id."""

    code = "employee-not-found"


class StillEmployed(Conflict):
    """Only who has left is erased: until then the employment itself needs the data."""

    code = "still-employed"


class OwnManager(RuleBroken):
    """Nobody is their own manager."""

    code = "own-manager"


class OutsideEmployment(RuleBroken):
    """The date is before the first or after the last day of employment."""

    code = "outside-employment"


@dataclass(frozen=True)
class Timeline(Generic[T]):
    """Values by the day from which they hold, in the order of the days."""

    entries: tuple[tuple[date, T], ...]

    def at(self, day: date) -> T:
        """Return what holds on `day`; before the first entry, the first."""
        found = bisect_right([since for since, _ in self.entries], day)
        return self.entries[max(found - 1, 0)][1]

    def set(self, since: date, value: T) -> "Timeline[T]":
        """Return the timeline with `value` from `since` until the next entry."""
        kept = [entry for entry in self.entries if entry[0] != since]
        return Timeline(tuple(sorted([*kept, (since, value)], key=lambda entry: entry[0])))


@dataclass(frozen=True)
class Nobody:
    """The stream has no facts yet."""

    kind: Literal["nobody"] = "nobody"


@dataclass(frozen=True)
class Employed:
    """A person with an employment period; `last_day` is None while no end is known.

    `invited_by_administrator` is of the newest invitation. `password_vouched` says whether the password was chosen with
    an invitation that an administrator gave out: so that nobody of HR, who may invite ordinary people, chose it.
    """

    employee_id: str
    employed_from: date
    department: Timeline[str]
    location: Timeline[str]
    manager: Timeline[str | None]
    schedule: Timeline[str]
    cost_centre: Timeline[str]
    roles: tuple[Role, ...]
    last_day: date | None = None
    invited_by_administrator: bool = False
    password_vouched: bool = False
    erased: bool = False
    kind: Literal["employed"] = field(default="employed")

    def is_employed_on(self, day: date) -> bool:
        """Say whether `day` lies within the employment."""
        return self.employed_from <= day and (self.last_day is None or day <= self.last_day)


Employee = Nobody | Employed


@dataclass(frozen=True)
class Join:
    """Employ a person."""

    employee_id: str
    employed_from: date
    department_id: str
    location_id: str
    manager_id: str | None
    schedule_id: str
    roles: tuple[Role, ...]
    cost_centre: str


@dataclass(frozen=True)
class EndEmployment:
    """Set or correct the last day of employment."""

    last_day: date


@dataclass(frozen=True)
class ChangeManager:
    """Let the person report to somebody else, or to nobody."""

    manager_id: str | None
    effective_from: date


@dataclass(frozen=True)
class ChangeDepartment:
    """Move the person to another department."""

    department_id: str
    effective_from: date


@dataclass(frozen=True)
class ChangeLocation:
    """Move the person to another location."""

    location_id: str
    effective_from: date


@dataclass(frozen=True)
class AssignSchedule:
    """Let the person work by another schedule."""

    schedule_id: str
    effective_from: date


@dataclass(frozen=True)
class ChangeCostCentre:
    """Book the person's cost elsewhere."""

    cost_centre: str
    effective_from: date


@dataclass(frozen=True)
class ChangeRoles:
    """Set what the person may do."""

    roles: tuple[Role, ...]


@dataclass(frozen=True)
class ChangeContact:
    """Tell what the person is called and where they are written to."""

    name: Sealed
    email: Sealed


@dataclass(frozen=True)
class Invite:
    """Let the person choose a password; with `locks` the present one is worth nothing any more."""

    by_administrator: bool
    locks: bool = False


@dataclass(frozen=True)
class ChoosePassword:
    """Set the password, as whoever holds the newest invitation."""


@dataclass(frozen=True)
class Erase:
    """Forget who the person was; `today` must be after the last day of employment."""

    today: date


EmployeeCommand = (
    Join
    | EndEmployment
    | ChangeManager
    | ChangeDepartment
    | ChangeLocation
    | AssignSchedule
    | ChangeCostCentre
    | ChangeRoles
    | ChangeContact
    | Invite
    | ChoosePassword
    | Erase
)
EmployeeEvent = (
    EmployeeJoined
    | EmployeeLeft
    | EmployeeManagerChanged
    | EmployeeDepartmentChanged
    | EmployeeLocationChanged
    | EmployeeScheduleAssigned
    | EmployeeCostCentreChanged
    | EmployeeRolesChanged
    | EmployeeContactChanged
    | EmployeeInvited
    | EmployeePasswordChosen
    | EmployeeErased
)

_ORDER: tuple[Role, ...] = ("employee", "manager", "hr", "payroll", "auditor", "admin")


def ordered(roles: Sequence[Role]) -> tuple[Role, ...]:
    """Return the roles without repetition, in their fixed order, with `employee`, which everybody has."""
    return tuple(role for role in _ORDER if role in roles or role == "employee")


def decide(command: EmployeeCommand, state: Employee) -> list[EmployeeEvent]:  # noqa: C901, PLR0911, PLR0912  # one arm per command
    """Answer a command; a change to what already holds on that day is no fact at all."""
    if isinstance(state, Nobody):
        if isinstance(command, Join):
            return [_joined(command)]
        raise EmployeeUnknown("There is no such employee.")
    own = state.employee_id
    match command:
        case Join():
            raise EmployeeExists(f"There is already an employee with the id {own}.")
        case Erase(today=today):
            return _erased(state, today)
        case _ if state.erased:
            raise EmployeeUnknown("There is no such employee.")
        case ChangeContact(name=name, email=email):
            return [EmployeeContactChanged(employee_id=own, name=name, email=email)]
        case Invite(by_administrator=by_administrator, locks=locks):
            return [EmployeeInvited(employee_id=own, by_administrator=by_administrator, locked=locks)]
        case ChoosePassword():
            return [EmployeePasswordChosen(employee_id=own)]
        case EndEmployment(last_day=last_day):
            return _ended(state, last_day)
        case ChangeManager(manager_id=new, effective_from=since):
            _require_other(own, new)
            changed = EmployeeManagerChanged(employee_id=own, manager_id=new, effective_from=since)
            return _unless_held(state, state.manager, new, since, changed)
        case ChangeDepartment(department_id=to, effective_from=since):
            moved = EmployeeDepartmentChanged(employee_id=own, department_id=to, effective_from=since)
            return _unless_held(state, state.department, to, since, moved)
        case ChangeLocation(location_id=to, effective_from=since):
            relocated = EmployeeLocationChanged(employee_id=own, location_id=to, effective_from=since)
            return _unless_held(state, state.location, to, since, relocated)
        case AssignSchedule(schedule_id=to, effective_from=since):
            assigned = EmployeeScheduleAssigned(employee_id=own, schedule_id=to, effective_from=since)
            return _unless_held(state, state.schedule, to, since, assigned)
        case ChangeCostCentre(cost_centre=to, effective_from=since):
            booked = EmployeeCostCentreChanged(employee_id=own, cost_centre=to, effective_from=since)
            return _unless_held(state, state.cost_centre, to, since, booked)
        case ChangeRoles(roles=roles):
            held = ordered(roles) == state.roles
            return [] if held else [EmployeeRolesChanged(employee_id=own, roles=ordered(roles))]
        case _:
            assert_never(command)


def evolve(state: Employee, event: EmployeeEvent) -> Employee:  # noqa: C901, PLR0911, PLR0912  # one arm per event
    """Fold one fact into the state."""
    if isinstance(event, EmployeeJoined):
        return _newcomer(event)
    if isinstance(state, Nobody):
        return state
    match event:
        case EmployeeLeft():
            return replace(state, last_day=event.last_day)
        case EmployeeManagerChanged():
            return replace(state, manager=state.manager.set(event.effective_from, event.manager_id))
        case EmployeeDepartmentChanged():
            return replace(state, department=state.department.set(event.effective_from, event.department_id))
        case EmployeeLocationChanged():
            return replace(state, location=state.location.set(event.effective_from, event.location_id))
        case EmployeeScheduleAssigned():
            return replace(state, schedule=state.schedule.set(event.effective_from, event.schedule_id))
        case EmployeeCostCentreChanged():
            return replace(state, cost_centre=state.cost_centre.set(event.effective_from, event.cost_centre))
        case EmployeeRolesChanged():
            return replace(state, roles=event.roles)
        case EmployeeContactChanged():
            return state
        case EmployeeInvited():
            return replace(state, invited_by_administrator=event.by_administrator)
        case EmployeePasswordChosen():
            return replace(state, password_vouched=state.invited_by_administrator)
        case EmployeeErased():
            return replace(state, erased=True)
        case _:
            assert_never(event)


def _newcomer(event: EmployeeJoined) -> Employed:
    since = event.employed_from
    return Employed(
        employee_id=event.employee_id,
        employed_from=since,
        department=Timeline(((since, event.department_id),)),
        location=Timeline(((since, event.location_id),)),
        manager=Timeline(((since, event.manager_id),)),
        schedule=Timeline(((since, event.schedule_id),)),
        cost_centre=Timeline(((since, event.cost_centre),)),
        roles=event.roles,
    )


def _joined(command: Join) -> EmployeeJoined:
    _require_other(command.employee_id, command.manager_id)
    return EmployeeJoined(
        employee_id=command.employee_id,
        employed_from=command.employed_from,
        department_id=command.department_id,
        location_id=command.location_id,
        manager_id=command.manager_id,
        schedule_id=command.schedule_id,
        roles=ordered(command.roles),
        cost_centre=command.cost_centre,
    )


def _ended(state: Employed, last_day: date) -> list[EmployeeEvent]:
    if last_day < state.employed_from:
        raise OutsideEmployment(
            f"The last day {last_day} is before the first day of employment, {state.employed_from}.",
            (FieldError("/last_day", f"Choose {state.employed_from} or later."),),
        )
    if last_day == state.last_day:
        return []
    return [EmployeeLeft(employee_id=state.employee_id, last_day=last_day)]


def _erased(state: Employed, today: date) -> list[EmployeeEvent]:
    if state.erased:
        return []
    if state.last_day is None or state.last_day >= today:
        raise StillEmployed(
            "Only the data of people who have left is erased: enter the last day of employment, and ask again after it."
        )
    return [EmployeeErased(employee_id=state.employee_id)]


def _unless_held(
    state: Employed, timeline: Timeline[T], value: T, since: date, change: EmployeeEvent
) -> list[EmployeeEvent]:
    """Return the change unless its value holds on that day anyway.

    Raises OutsideEmployment for a day of no employment.
    """
    if not state.is_employed_on(since):
        period = f"from {state.employed_from} to {state.last_day or 'an open end'}"
        raise OutsideEmployment(
            f"{since} is not a day of this employment, which runs {period}.",
            (FieldError("/effective_from", f"Choose a day {period}."),),
        )
    return [] if timeline.at(since) == value else [change]


def _require_other(employee_id: str, manager_id: str | None) -> None:
    if employee_id == manager_id:
        raise OwnManager(
            "Nobody can be their own manager.", (FieldError("/manager_id", "Name another person, or null."),)
        )


EMPLOYEE: Decider[EmployeeCommand, Employee, EmployeeEvent] = Decider(
    category="employee",
    topic=TOPIC,
    initial=Nobody(),
    decide=decide,
    evolve=evolve,
    state_type=Employee,
    evolve_version=3,
)
