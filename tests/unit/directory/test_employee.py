"""The rules of one employee's own history."""

from datetime import date

import pytest

from lms.directory.decider.employee import (
    EMPLOYEE,
    AssignSchedule,
    ChangeContact,
    ChangeCostCentre,
    ChangeDepartment,
    ChangeLocation,
    ChangeManager,
    ChangeRoles,
    ChoosePassword,
    Employed,
    EmployeeCommand,
    EmployeeEvent,
    EmployeeExists,
    EmployeeUnknown,
    EndEmployment,
    Erase,
    Invite,
    Join,
    OutsideEmployment,
    OwnManager,
    StillEmployed,
    Timeline,
)
from lms.directory.events import (
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
)
from lms.kernel.sealed import Sealed
from lms.kernel.testing import given

NEW_YEAR = date(2026, 1, 1)
APRIL = date(2026, 4, 1)
JULY = date(2026, 7, 1)

JOIN = Join(
    employee_id="anna",
    employed_from=NEW_YEAR,
    department_id="sales",
    location_id="berlin",
    manager_id="ben",
    schedule_id="full-time",
    roles=("employee",),
    cost_centre="4100",
)
JOINED = EmployeeJoined(
    employee_id="anna",
    employed_from=NEW_YEAR,
    department_id="sales",
    location_id="berlin",
    manager_id="ben",
    schedule_id="full-time",
    roles=("employee",),
    cost_centre="4100",
)


def test_a_person_joins() -> None:
    assert given(EMPLOYEE).when(JOIN) == [JOINED]


def test_everybody_who_joins_is_an_employee_and_roles_stand_in_one_order() -> None:
    join = Join(**{**JOIN.__dict__, "roles": ("admin", "hr", "hr")})
    joined = given(EMPLOYEE).when(join)[0]
    assert isinstance(joined, EmployeeJoined)
    assert joined.roles == ("employee", "hr", "admin")


def test_an_id_is_used_once() -> None:
    given(EMPLOYEE, JOINED).refuses(JOIN, EmployeeExists)


def test_nobody_joins_as_their_own_manager() -> None:
    refusal = given(EMPLOYEE).refuses(Join(**{**JOIN.__dict__, "manager_id": "anna"}), OwnManager)
    assert refusal.errors[0].pointer == "/manager_id"


def test_nobody_becomes_their_own_manager() -> None:
    given(EMPLOYEE, JOINED).refuses(ChangeManager("anna", APRIL), OwnManager)


CHANGES: list[tuple[EmployeeCommand, EmployeeEvent]] = [
    (
        ChangeManager("cleo", APRIL),
        EmployeeManagerChanged(employee_id="anna", manager_id="cleo", effective_from=APRIL),
    ),
    (
        ChangeManager(None, APRIL),
        EmployeeManagerChanged(employee_id="anna", manager_id=None, effective_from=APRIL),
    ),
    (
        ChangeDepartment("support", APRIL),
        EmployeeDepartmentChanged(employee_id="anna", department_id="support", effective_from=APRIL),
    ),
    (
        ChangeLocation("paris", APRIL),
        EmployeeLocationChanged(employee_id="anna", location_id="paris", effective_from=APRIL),
    ),
    (
        AssignSchedule("part-time", APRIL),
        EmployeeScheduleAssigned(employee_id="anna", schedule_id="part-time", effective_from=APRIL),
    ),
    (
        ChangeCostCentre("4200", APRIL),
        EmployeeCostCentreChanged(employee_id="anna", cost_centre="4200", effective_from=APRIL),
    ),
    (ChangeRoles(("hr",)), EmployeeRolesChanged(employee_id="anna", roles=("employee", "hr"))),
    (EndEmployment(JULY), EmployeeLeft(employee_id="anna", last_day=JULY)),
]


@pytest.mark.parametrize(("command", "fact"), CHANGES)
def test_a_change_is_one_fact(command: EmployeeCommand, fact: EmployeeEvent) -> None:
    assert given(EMPLOYEE, JOINED).when(command) == [fact]


@pytest.mark.parametrize(("command", "fact"), CHANGES)
def test_the_same_change_again_is_no_fact(command: EmployeeCommand, fact: EmployeeEvent) -> None:
    assert given(EMPLOYEE, JOINED, fact).when(command) == []


@pytest.mark.parametrize(("command", "fact"), CHANGES)
def test_a_change_needs_an_employee(command: EmployeeCommand, fact: EmployeeEvent) -> None:
    assert fact.TYPE.startswith("employee.")
    given(EMPLOYEE).refuses(command, EmployeeUnknown)


@pytest.mark.parametrize("day", [date(2025, 12, 31), date(2026, 7, 2)])
def test_a_change_lies_within_the_employment(day: date) -> None:
    left = EmployeeLeft(employee_id="anna", last_day=JULY)
    refusal = given(EMPLOYEE, JOINED, left).refuses(ChangeDepartment("support", day), OutsideEmployment)
    assert refusal.errors[0].pointer == "/effective_from"


def test_a_change_on_the_last_day_is_possible() -> None:
    left = EmployeeLeft(employee_id="anna", last_day=JULY)
    assert given(EMPLOYEE, JOINED, left).when(ChangeDepartment("support", JULY))


def test_nobody_leaves_before_they_came() -> None:
    given(EMPLOYEE, JOINED).refuses(EndEmployment(date(2025, 12, 31)), OutsideEmployment)


def test_the_last_day_can_be_corrected() -> None:
    left = EmployeeLeft(employee_id="anna", last_day=JULY)
    assert given(EMPLOYEE, JOINED, left).when(EndEmployment(APRIL)) == [
        EmployeeLeft(employee_id="anna", last_day=APRIL)
    ]


def test_a_change_recorded_late_holds_until_the_next_one() -> None:
    in_july = EmployeeDepartmentChanged(employee_id="anna", department_id="board", effective_from=JULY)
    in_april = EmployeeDepartmentChanged(employee_id="anna", department_id="support", effective_from=APRIL)
    state = given(EMPLOYEE, JOINED, in_july, in_april).state
    assert isinstance(state, Employed)
    assert [state.department.at(day) for day in (NEW_YEAR, APRIL, JULY)] == ["sales", "support", "board"]


def test_of_two_changes_for_one_day_the_later_recorded_holds() -> None:
    timeline = Timeline(((NEW_YEAR, "sales"),)).set(APRIL, "support").set(APRIL, "board")
    assert timeline.at(APRIL) == "board"


def test_a_state_survives_its_snapshot() -> None:
    past = [JOINED, *(fact for _, fact in CHANGES)]
    state = given(EMPLOYEE, *past).state
    adapter = EMPLOYEE.snapshot_adapter
    assert adapter.validate_json(adapter.dump_json(state)) == state


CONTACT = ChangeContact(
    name=Sealed(sealed="bmFtZQ==", subject="anna", key="key"),
    email=Sealed(sealed="bWFpbA==", subject="anna", key="key"),
)
LEFT = EmployeeLeft(employee_id="anna", last_day=APRIL)
ERASED = EmployeeErased(employee_id="anna")


def test_a_contact_is_told_as_it_was_sealed() -> None:
    told = EmployeeContactChanged(employee_id="anna", name=CONTACT.name, email=CONTACT.email)
    assert given(EMPLOYEE, JOINED).when(CONTACT) == [told]


def _invited(*, by_administrator: bool) -> EmployeeInvited:
    return EmployeeInvited(employee_id="anna", by_administrator=by_administrator, locked=False)


CHOSEN = EmployeePasswordChosen(employee_id="anna")


def test_every_invitation_and_every_password_is_a_fact_of_its_own() -> None:
    by_hr = _invited(by_administrator=False)
    assert given(EMPLOYEE, JOINED, by_hr).when(Invite(by_administrator=False)) == [by_hr]
    locking = EmployeeInvited(employee_id="anna", by_administrator=True, locked=True)
    assert given(EMPLOYEE, JOINED).when(Invite(by_administrator=True, locks=True)) == [locking]
    assert given(EMPLOYEE, JOINED, by_hr, CHOSEN).when(ChoosePassword()) == [CHOSEN]


@pytest.mark.parametrize(
    ("facts", "vouched"),
    [
        ((), False),
        ((CHOSEN,), False),
        ((_invited(by_administrator=False), CHOSEN), False),
        ((_invited(by_administrator=True),), False),
        ((_invited(by_administrator=True), CHOSEN), True),
        ((_invited(by_administrator=True), CHOSEN, _invited(by_administrator=False)), True),
        ((_invited(by_administrator=True), CHOSEN, _invited(by_administrator=False), CHOSEN), False),
        ((_invited(by_administrator=False), _invited(by_administrator=True), CHOSEN), True),
    ],
)
def test_an_administrator_vouches_for_a_password_chosen_with_their_invitation(
    facts: tuple[EmployeeEvent, ...], vouched: bool
) -> None:
    state = given(EMPLOYEE, JOINED, *facts).state
    assert isinstance(state, Employed)
    assert state.password_vouched is vouched


def test_only_who_has_left_is_erased() -> None:
    given(EMPLOYEE, JOINED).refuses(Erase(JULY), StillEmployed)
    given(EMPLOYEE, JOINED, LEFT).refuses(Erase(APRIL), StillEmployed)
    assert given(EMPLOYEE, JOINED, LEFT).when(Erase(JULY)) == [ERASED]


def test_a_person_is_erased_once() -> None:
    assert given(EMPLOYEE, JOINED, LEFT, ERASED).when(Erase(JULY)) == []


@pytest.mark.parametrize(
    "command",
    [
        CONTACT,
        ChangeRoles(("employee",)),
        EndEmployment(JULY),
        ChangeManager(None, APRIL),
        Invite(by_administrator=True),
        ChoosePassword(),
    ],
)
def test_nothing_of_an_erased_person_can_be_changed(command: EmployeeCommand) -> None:
    given(EMPLOYEE, JOINED, LEFT, ERASED).refuses(command, EmployeeUnknown)
