"""One department: its name and its head."""

from dataclasses import asdict, dataclass, replace
from typing import Literal, assert_never

from lms.directory.events import TOPIC, DepartmentCreated, DepartmentHeadChanged, DepartmentRenamed
from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict, NotFound


class DepartmentExists(Conflict):
    """The id is taken."""

    code = "department-exists"


class DepartmentUnknown(NotFound):
    """No department has this id."""

    code = "department-not-found"


@dataclass(frozen=True)
class NoDepartment:
    """The stream has no facts yet."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True)
class Department:
    """A department as it stands."""

    department_id: str
    name: str
    head_id: str | None
    kind: Literal["department"] = "department"


DepartmentState = NoDepartment | Department


@dataclass(frozen=True)
class CreateDepartment:
    """Found a department."""

    department_id: str
    name: str
    head_id: str | None


@dataclass(frozen=True)
class RenameDepartment:
    """Give the department another name."""

    name: str


@dataclass(frozen=True)
class ChangeHead:
    """Let somebody else, or nobody, head the department."""

    head_id: str | None


DepartmentCommand = CreateDepartment | RenameDepartment | ChangeHead
DepartmentEvent = DepartmentCreated | DepartmentRenamed | DepartmentHeadChanged


def decide(command: DepartmentCommand, state: DepartmentState) -> list[DepartmentEvent]:
    """Answer a command; what is so already is no fact."""
    if isinstance(state, NoDepartment):
        if isinstance(command, CreateDepartment):
            return [DepartmentCreated(**asdict(command))]
        raise DepartmentUnknown("There is no such department.")
    own = state.department_id
    match command:
        case CreateDepartment():
            raise DepartmentExists(f"There is already a department with the id {own}.")
        case RenameDepartment(name=name):
            return [] if name == state.name else [DepartmentRenamed(department_id=own, name=name)]
        case ChangeHead(head_id=head):
            return [] if head == state.head_id else [DepartmentHeadChanged(department_id=own, head_id=head)]
        case _:
            assert_never(command)


def evolve(state: DepartmentState, event: DepartmentEvent) -> DepartmentState:
    """Fold one fact into the state."""
    if isinstance(event, DepartmentCreated):
        return Department(event.department_id, event.name, event.head_id)
    if isinstance(state, NoDepartment):
        return state
    match event:
        case DepartmentRenamed():
            return replace(state, name=event.name)
        case DepartmentHeadChanged():
            return replace(state, head_id=event.head_id)
        case _:
            assert_never(event)


DEPARTMENT: Decider[DepartmentCommand, DepartmentState, DepartmentEvent] = Decider(
    category="department",
    topic=TOPIC,
    initial=NoDepartment(),
    decide=decide,
    evolve=evolve,
    state_type=DepartmentState,
)
