"""Use cases about people: employ, change, let go, invite."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lms.directory import store
from lms.directory.decider import CALENDAR, DEPARTMENT, EMPLOYEE, LOCATION, SCHEDULE
from lms.directory.decider.employee import (
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
    EmployeeUnknown,
    EndEmployment,
    Invite,
    Join,
    ordered,
)
from lms.directory.events import Role
from lms.directory.projections import employees
from lms.kernel.decider import Decider
from lms.kernel.errors import FieldError, Forbidden, FourEyes, RuleBroken, Stale
from lms.kernel.execution import UnitOfWork
from lms.kernel.keyring import Keyring

PRIVILEGED: frozenset[Role] = frozenset({"hr", "payroll", "auditor", "admin"})
"""Roles that only an administrator gives or takes away, and whoever has one is only theirs to invite."""

_NO_PASSWORD = {"password_hash": None, "status": "invited"}

MIN_PASSWORD = 12
MAX_PASSWORD = 128


class UnknownReference(RuleBroken):
    """The command names something that does not exist."""

    code = "unknown-reference"


class RoleNotYours(Forbidden):
    """The caller may not give or take away these roles."""

    code = "role-not-yours"


class PasswordTooWeak(RuleBroken):
    """The password is too short or too long."""

    code = "password-too-weak"


class InvitationInvalid(RuleBroken):
    """The invitation was used, has lapsed, was replaced, or never was."""

    code = "invitation-invalid"


@dataclass(frozen=True)
class Registry:
    """What commands about people need beside the unit of work."""

    keyring: Keyring
    emails: store.EmailIndex
    invitation_lifetime: timedelta


@dataclass(frozen=True)
class NewPerson:
    """Who is to be employed, and how."""

    email: str
    given_name: str
    family_name: str
    department_id: str
    location_id: str
    manager_id: str | None
    schedule_id: str
    employed_from: date
    roles: tuple[Role, ...]
    cost_centre: str


@dataclass(frozen=True)
class Invitation:
    """The token that lets a person choose a password, told once; real time."""

    token: str
    expires_at: datetime


@dataclass(frozen=True)
class Joined:
    """A new employee; `invitation` is None where a password was given, or nobody is invited yet."""

    employee_id: str
    version: int
    invitation: Invitation | None


@dataclass(frozen=True)
class Changed:
    """An employee after a change, and where the stream stands."""

    employee_id: str
    version: int


def check_password(password: str) -> None:
    """Raise PasswordTooWeak unless the password has an acceptable length."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise PasswordTooWeak(
            f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.",
            (FieldError("/password", f"Choose {MIN_PASSWORD} to {MAX_PASSWORD} characters."),),
        )


def check_roles(granter: Iterable[str], before: Iterable[Role], after: Iterable[Role]) -> None:
    """Raise RoleNotYours if somebody who is no administrator would change a privileged role."""
    changed = PRIVILEGED & (set(ordered(tuple(before))) ^ set(ordered(tuple(after))))
    if changed and "admin" not in set(granter):
        names = ", ".join(sorted(changed))
        raise RoleNotYours(
            f"Only an administrator gives or takes away these roles: {names}.",
            (FieldError("/roles", "Leave these roles as they are, or ask an administrator."),),
        )


def check_reach(granter: Iterable[str], roles: Iterable[Role]) -> None:
    """Raise RoleNotYours if somebody who is no administrator would let a privileged person go, or move their address.

    Either takes their roles away in effect.
    """
    held = PRIVILEGED & set(roles)
    if held and "admin" not in set(granter):
        names = ", ".join(sorted(held))
        raise RoleNotYours(f"Only an administrator does this to somebody with one of these roles: {names}.")


async def join_company(
    uow: UnitOfWork,
    registry: Registry,
    employee_id: str,
    person: NewPerson,
    *,
    password_hash: str | None = None,
    granter: Iterable[str] | None = None,
) -> Joined:
    """Employ a person: the address, the reporting line, the data key and the facts, in one transaction.

    `granter` are the roles of whoever employs them and will hold the invitation; where nobody will, None, nobody is
    invited yet. Raises EmailTaken, UnknownReference, ReportingCycle and what the decider refuses.
    """
    await _require_references(
        uow,
        department_id=person.department_id,
        location_id=person.location_id,
        schedule_id=person.schedule_id,
        manager_id=person.manager_id,
        since=person.employed_from,
    )
    now = datetime.now(UTC)
    command = Join(
        employee_id=employee_id,
        employed_from=person.employed_from,
        department_id=person.department_id,
        location_id=person.location_id,
        manager_id=person.manager_id,
        schedule_id=person.schedule_id,
        roles=person.roles,
        cost_centre=person.cost_centre,
    )
    await uow.handle(EMPLOYEE, employee_id, command, key=employee_id)
    key = await registry.keyring.create_key(uow.connection, employee_id)
    contact = ChangeContact(
        name=key.seal(f"{person.given_name} {person.family_name}"), email=key.seal(store.normalised(person.email))
    )
    await uow.handle(EMPLOYEE, employee_id, contact, key=employee_id)
    await store.claim_reporting_line(uow.connection, employee_id, person.manager_id, person.employed_from)
    await store.add_person(
        uow.connection,
        store.Person(
            employee_id=employee_id,
            given_name=person.given_name,
            family_name=person.family_name,
            email=store.normalised(person.email),
            status="invited" if password_hash is None else "active",
        ),
        await store.claim_address(uow.connection, registry.emails, person.email, employee_id),
        password_hash,
        now,
    )
    invitation = None
    if password_hash is None and granter is not None:
        invitation = await _invited(uow, registry, employee_id, granter, now)
    return Joined(employee_id, (await uow.load(EMPLOYEE, employee_id)).version, invitation)


async def change_employee(
    uow: UnitOfWork,
    registry: Registry,
    employee_id: str,
    changes: dict[str, Any],
    *,
    changed_by: str,
    granter: Iterable[str],
    expected_version: int | None,
) -> Changed:
    """Change what `changes` names; dated values hold from its `effective_from` (default: today) on.

    Keys: given_name, family_name, email, department_id, location_id, manager_id, schedule_id, cost_centre, roles.
    `granter` are the roles of `changed_by`. Whoever gets a privileged role signs in anew: with a new invitation, unless
    an administrator vouches for the password. Raises Stale when the employee no longer stands at `expected_version`,
    RoleNotYours and FourEyes.
    """
    loaded = await uow.load(EMPLOYEE, employee_id)
    if not isinstance(loaded.state, Employed):
        raise EmployeeUnknown("There is no such employee.")
    if expected_version is not None and expected_version != loaded.version:
        raise Stale(
            f"The employee has changed since you read them (version {loaded.version}, not {expected_version}): "
            "read again and repeat your change."
        )
    since: date = changes.get("effective_from") or max(uow.today, loaded.state.employed_from)
    await _require_references(
        uow,
        department_id=changes.get("department_id"),
        location_id=changes.get("location_id"),
        schedule_id=changes.get("schedule_id"),
        manager_id=changes.get("manager_id"),
        since=since,
    )
    await _require_authority(uow, loaded.state, changes, since, changed_by=changed_by, granter=tuple(granter))
    rises = bool(PRIVILEGED & (set(changes.get("roles", ())) - set(loaded.state.roles)))
    if rises:
        await uow.hold_views()
        await store.withdraw_invitation(uow.connection, employee_id)
    version = loaded.version
    for command in _commands(changes, since):
        version = (await uow.handle(EMPLOYEE, employee_id, command, key=employee_id)).version
    if "manager_id" in changes:
        await store.claim_reporting_line(uow.connection, employee_id, changes["manager_id"], since)
    columns: dict[str, Any] = {field: changes[field] for field in ("given_name", "family_name") if field in changes}
    if "email" in changes:
        columns["email"] = store.normalised(changes["email"])
        columns["email_hmac"] = await store.claim_address(
            uow.connection, registry.emails, changes["email"], employee_id
        )
    if columns:
        await store.change_person(uow.connection, employee_id, columns)
        version = await _tell_contact(uow, registry, employee_id)
    if rises:
        await _sign_in_anew(uow, loaded.state)
    return Changed(employee_id, version)


async def end_employment(uow: UnitOfWork, employee_id: str, last_day: date, granter: Iterable[str]) -> Changed:
    """Set or correct the last day of employment.

    Raises RoleNotYours for a privileged person unless an administrator asks.
    """
    state = (await uow.load(EMPLOYEE, employee_id)).state
    if isinstance(state, Employed):
        check_reach(granter, state.roles)
    handled = await uow.handle(EMPLOYEE, employee_id, EndEmployment(last_day), key=employee_id)
    return Changed(employee_id, handled.version)


async def invite_again(
    uow: UnitOfWork, registry: Registry, employee_id: str, granter: Iterable[str], *, lock: bool = False
) -> Invitation:
    """Replace a person's invitation, or let somebody who forgot the password choose another; end their sessions.

    With `lock` the password of before is worth nothing from now on, and else until another is chosen. Raises
    RoleNotYours for a privileged person unless an administrator asks: the token lets its holder become them.
    """
    person = await store.person_of(uow.connection, employee_id)
    loaded = await uow.load(EMPLOYEE, employee_id)
    if person is None or not isinstance(loaded.state, Employed):
        raise EmployeeUnknown("There is no such employee.")
    check_roles(granter, (), loaded.state.roles)
    await uow.hold_views()
    now = datetime.now(UTC)
    invitation = await _invited(uow, registry, employee_id, granter, now, locks=lock)
    if lock:
        await store.change_person(uow.connection, employee_id, _NO_PASSWORD)
    await store.revoke_sessions_of(uow.connection, employee_id, now)
    return invitation


async def accept_invitation(uow: UnitOfWork, token: str, password_hash: str) -> str:
    """Give the invited person the password that they chose, and end the sessions begun with an earlier one.

    Returns who it is. Raises InvitationInvalid, also where the person has become privileged and no administrator
    invited them.
    """
    now = datetime.now(UTC)
    await uow.hold_views()
    employee_id = await store.take_invitation(uow.connection, token, now)
    state = (await uow.load(EMPLOYEE, employee_id)).state if employee_id is not None else None
    if employee_id is None or not isinstance(state, Employed):
        raise InvitationInvalid("This invitation was used or has lapsed: ask HR for a new one.")
    if PRIVILEGED & set(state.roles) and not state.invited_by_administrator:
        raise InvitationInvalid("This invitation does not reach so far: ask an administrator for a new one.")
    await uow.handle(EMPLOYEE, employee_id, ChoosePassword(), key=employee_id)
    await store.change_person(uow.connection, employee_id, {"password_hash": password_hash, "status": "active"})
    await store.revoke_sessions_of(uow.connection, employee_id, now)
    return employee_id


async def _require_authority(
    uow: UnitOfWork,
    state: Employed,
    changes: dict[str, Any],
    since: date,
    *,
    changed_by: str,
    granter: tuple[str, ...],
) -> None:
    """Raise RoleNotYours or FourEyes unless whoever asks may change this about this person."""
    if "email" in changes:
        check_reach(granter, state.roles)
    roles = ordered(changes.get("roles", state.roles))
    check_roles(granter, state.roles, roles)
    if changed_by != state.employee_id:
        return
    own = []
    if roles != state.roles:
        own.append("roles")
    if "manager_id" in changes and changes["manager_id"] != state.manager.at(since):
        own.append("manager_id")
    able: set[Role] = {"admin"} if PRIVILEGED & (set(roles) ^ set(state.roles)) else {"admin", "hr"}
    if own and await employees.others_have(uow.connection, able, changed_by, uow.today):
        raise FourEyes(
            "Let somebody else change your own roles and who your manager is.",
            tuple(FieldError(f"/{field}", "Leave this as it is, or ask a colleague.") for field in own),
        )


async def _sign_in_anew(uow: UnitOfWork, before: Employed) -> None:
    """End the sessions of somebody who gets a privileged role, and take a password away that HR may have chosen.

    An administrator keeps theirs: it reached everything before, and nobody might be left to invite them.
    """
    if not before.password_vouched and "admin" not in before.roles:
        await store.change_person(uow.connection, before.employee_id, _NO_PASSWORD)
    await store.revoke_sessions_of(uow.connection, before.employee_id, datetime.now(UTC))


async def _tell_contact(uow: UnitOfWork, registry: Registry, employee_id: str) -> int:
    """Append how the person is called and reached now, sealed; return the stream's version."""
    person = await store.person_of(uow.connection, employee_id)
    if person is None:
        raise EmployeeUnknown("There is no such employee.")
    command = ChangeContact(
        name=await registry.keyring.seal(employee_id, f"{person.given_name} {person.family_name}"),
        email=await registry.keyring.seal(employee_id, person.email),
    )
    return (await uow.handle(EMPLOYEE, employee_id, command, key=employee_id)).version


async def _invited(
    uow: UnitOfWork,
    registry: Registry,
    employee_id: str,
    granter: Iterable[str],
    now: datetime,
    *,
    locks: bool = False,
) -> Invitation:
    invitation = Invitation(secrets.token_urlsafe(32), now + registry.invitation_lifetime)
    await store.invite(uow.connection, invitation.token, employee_id, invitation.expires_at)
    command = Invite(by_administrator="admin" in set(granter), locks=locks)
    await uow.handle(EMPLOYEE, employee_id, command, key=employee_id)
    return invitation


def _commands(changes: dict[str, Any], since: date) -> Iterable[EmployeeCommand]:
    if "department_id" in changes:
        yield ChangeDepartment(changes["department_id"], since)
    if "location_id" in changes:
        yield ChangeLocation(changes["location_id"], since)
    if "manager_id" in changes:
        yield ChangeManager(changes["manager_id"], since)
    if "schedule_id" in changes:
        yield AssignSchedule(changes["schedule_id"], since)
    if "cost_centre" in changes:
        yield ChangeCostCentre(changes["cost_centre"], since)
    if "roles" in changes:
        yield ChangeRoles(changes["roles"])


async def _require_references(
    uow: UnitOfWork,
    *,
    department_id: str | None = None,
    location_id: str | None = None,
    schedule_id: str | None = None,
    manager_id: str | None = None,
    since: date,
) -> None:
    """Raise UnknownReference, naming every field that refers to nothing."""
    named = (
        (DEPARTMENT, "/department_id", "department", department_id),
        (LOCATION, "/location_id", "location", location_id),
        (SCHEDULE, "/schedule_id", "schedule", schedule_id),
    )
    errors = [
        FieldError(pointer, f"There is no {word} with this id.")
        for decider, pointer, word, aggregate_id in named
        if aggregate_id is not None and not await exists(uow, decider, aggregate_id)
    ]
    if manager_id is not None:
        manager = (await uow.load(EMPLOYEE, manager_id)).state
        if not isinstance(manager, Employed):
            errors.append(FieldError("/manager_id", "There is no employee with this id."))
        elif manager.last_day is not None and manager.last_day < max(since, uow.today):
            errors.append(FieldError("/manager_id", f"This person left after {manager.last_day}."))
    if errors:
        raise UnknownReference("What the request refers to does not exist; see the errors.", tuple(errors))


async def exists(uow: UnitOfWork, decider: Decider[Any, Any, Any], aggregate_id: str) -> bool:
    """Say whether an aggregate has any facts."""
    return await uow.store.head(uow.connection, decider.stream(aggregate_id)) > 0


async def require_calendar(uow: UnitOfWork, calendar_id: str) -> None:
    """Raise UnknownReference unless there is this holiday calendar."""
    if not await exists(uow, CALENDAR, calendar_id):
        raise UnknownReference(
            "What the request refers to does not exist; see the errors.",
            (FieldError("/calendar_id", "There is no holiday calendar with this id."),),
        )


async def require_employee(uow: UnitOfWork, employee_id: str | None, pointer: str) -> None:
    """Raise UnknownReference unless there is this employee; None is nobody, and always right."""
    if employee_id is not None and not await exists(uow, EMPLOYEE, employee_id):
        raise UnknownReference(
            "What the request refers to does not exist; see the errors.",
            (FieldError(pointer, "There is no employee with this id."),),
        )
