"""Employees: everybody sees names and places; the rest is for themselves, their managers, HR and administrators."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field, SecretStr
from starlette.responses import Response

from lms.directory.api.access import Editor, Email, Id, Name, PartsDep, is_editor
from lms.directory.commands import people, sessions
from lms.directory.decider.employee import EmployeeUnknown
from lms.directory.events import Role
from lms.directory.projections import employees
from lms.directory.projections.employees import Criteria, EmployeeRow
from lms.kernel.auth import Caller, CallerDep
from lms.kernel.errors import FieldError, Forbidden, RuleBroken
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep, IfMatchDep, StaleViewsDep, ViewsDep, answer
from lms.kernel.ids import new_id
from lms.kernel.pages import Page, PageDep

router = APIRouter(prefix="/api/v1/employees", tags=["employees"])

CostCentre = Annotated[str, Field(max_length=40)]


class PasswordNotAccepted(RuleBroken):
    """Production invites people and gives nobody a password."""

    code = "password-not-accepted"


class NewEmployeeBody(Body):
    """A person to employ. They are invited; outside production `password` lets them sign in at once."""

    email: Email
    given_name: Name
    family_name: Name
    department_id: Id
    location_id: Id
    manager_id: Id | None = None
    schedule_id: Id
    employed_from: date
    roles: tuple[Role, ...] = ("employee",)
    cost_centre: CostCentre = ""
    password: SecretStr | None = Field(None, max_length=1024)


class EmployeeChangesBody(Body):
    """What to change; what is left out stays. Dated values hold from `effective_from` (default: today) on."""

    email: Email = ""
    given_name: Name = ""
    family_name: Name = ""
    department_id: Id = ""
    location_id: Id = ""
    manager_id: Id | None = None
    schedule_id: Id = ""
    roles: tuple[Role, ...] = ()
    cost_centre: CostCentre = ""
    effective_from: date | None = None


class LeaveBody(Body):
    """The last day of employment."""

    last_day: date


class NewInvitationBody(Body):
    """How to invite. With `lock` the password of before no longer signs in: for an account in a stranger's hands."""

    lock: bool = False


class InvitationAnswer(Answer):
    """The token with which the person chooses a password; told only here, and kept nowhere."""

    token: str
    expires_at: datetime


class HistoryEntry(Answer):
    """A value and the day from which it holds; null is no manager."""

    kind: Literal["department", "location", "manager", "schedule", "cost_centre"]
    effective_from: date
    value: str | None


class ColleagueAnswer(Answer):
    """What everybody may know of a colleague."""

    id: str
    given_name: str
    family_name: str
    department_id: str
    location_id: str
    manager_id: str | None


class EmployeeAnswer(ColleagueAnswer):
    """An employee as of today; `status` is `invited`, `active` or `left`."""

    email: str
    status: Literal["invited", "active", "left"]
    schedule_id: str
    roles: list[Role]
    cost_centre: str
    employed_from: date
    last_day: date | None
    version: int


class EmployeeWithHistory(EmployeeAnswer):
    """An employee and everything that held of them, by kind and day."""

    history: list[HistoryEntry]


class NewEmployeeAnswer(EmployeeAnswer):
    """A new employee; `invitation` is null where a password was given, and in an answer that is given again.

    Whoever missed it invites the person again.
    """

    invitation: InvitationAnswer | None


@router.get("", response_model=Page[EmployeeAnswer | ColleagueAnswer])
async def list_employees(  # a filter each
    caller: CallerDep,
    parts: PartsDep,
    views: StaleViewsDep,
    page: PageDep,
    ids: Annotated[list[Id] | None, Query(alias="id", max_length=200, description="One or several people")] = None,
    department: Id | None = None,
    location: Id | None = None,
    manager: Id | None = None,
    status: Literal["invited", "active", "left"] | None = None,
    q: Annotated[str | None, Query(max_length=254, description="An exact address, or how a name begins")] = None,
) -> Response:
    """List employees by name."""
    if status is not None and not is_editor(caller):
        raise Forbidden("Only HR and administrators filter by status.")
    today = parts.clock.today()
    by_email = q is not None and "@" in q
    criteria = Criteria(
        ids=frozenset(ids) if ids is not None else None,
        department_id=department,
        location_id=location,
        manager_id=manager,
        status=status,
        email_hmacs=tuple(parts.registry.emails.hmacs_of(q)) if q and by_email else None,
        name=q if not by_email else None,
        current_only=not is_editor(caller),
    )
    after = page.after(str, str, str)
    rows = await employees.find(
        views.connection, criteria, today, limit=page.limit + 1, after=(after[0], after[1], after[2]) if after else None
    )
    above = await _above(views, caller, [row.id for row in rows], today)
    return answer(
        Page[Any].of(
            rows,
            page,
            key=lambda row: (row.family_name, row.given_name, row.id),
            item=lambda row: _shown(row, today) if _sees_all(caller, row, above) else _basics(row),
        )
    )


@router.get("/{employee_id}", response_model=EmployeeWithHistory | ColleagueAnswer)
async def get_employee(employee_id: Id, caller: CallerDep, parts: PartsDep, views: ViewsDep) -> Response:
    """Show one employee, with the history of dated values to whoever may see it."""
    today = parts.clock.today()
    row = await employees.one(views.connection, employee_id, today)
    if row is None:
        raise EmployeeUnknown("There is no such employee.")
    if _sees_all(caller, row, await _above(views, caller, [row.id], today)):
        entries = await employees.history(views.connection, employee_id)
        shown = [HistoryEntry(kind=kind, effective_from=since, value=value) for kind, since, value in entries]
        return answer(EmployeeWithHistory(**_shown(row, today).model_dump(), history=shown))
    if row.has_left_by(today) or row.employed_from > today:
        raise EmployeeUnknown("There is no such employee.")
    return answer(_basics(row))


@router.post("", status_code=201, response_model=NewEmployeeAnswer)
async def post_employee(body: NewEmployeeBody, caller: Editor, parts: PartsDep, commands: CommandsDep) -> Response:
    """Employ a person and invite them."""
    people.check_roles(caller.roles, (), body.roles)
    password_hash = await _given_password(body, production=parts.settings.production)
    person = people.NewPerson(**body.model_dump(exclude={"password"}))

    async def employ(uow: UnitOfWork) -> NewEmployeeAnswer:
        joined = await people.join_company(
            uow, parts.registry, new_id(), person, password_hash=password_hash, granter=caller.roles
        )
        made = await _after(uow, joined.employee_id)
        return NewEmployeeAnswer(
            **made.model_dump(), invitation=_told(joined.invitation) if joined.invitation else None
        )

    return await commands.run(
        employ,
        status=201,
        location=lambda made: f"/api/v1/employees/{made.id}",
        kept=lambda made: made.model_copy(update={"invitation": None}),
    )


@router.patch("/{employee_id}", response_model=EmployeeAnswer)
async def patch_employee(  # each is a dependency
    employee_id: Id,
    body: EmployeeChangesBody,
    caller: Editor,
    parts: PartsDep,
    commands: CommandsDep,
    if_match: IfMatchDep,
) -> Response:
    """Change an employee. With If-Match only if nobody else did since the ETag was read.

    Whoever gets one of the roles hr, payroll, auditor and admin is signed out, and has to be invited by an
    administrator unless that was how they chose their password. Nobody changes their own roles or manager while
    somebody else could.
    """
    changes = {name: getattr(body, name) for name in body.model_fields_set}

    async def change(uow: UnitOfWork) -> EmployeeAnswer:
        await people.change_employee(
            uow,
            parts.registry,
            employee_id,
            changes,
            changed_by=caller.id,
            granter=caller.roles,
            expected_version=if_match,
        )
        return await _after(uow, employee_id)

    return await commands.run(change)


@router.post("/{employee_id}/leave", response_model=EmployeeAnswer)
async def post_leave(employee_id: Id, body: LeaveBody, caller: Editor, commands: CommandsDep) -> Response:
    """Set or correct the last day of employment; of somebody with a privileged role only as an administrator."""

    async def leave(uow: UnitOfWork) -> EmployeeAnswer:
        await people.end_employment(uow, employee_id, body.last_day, caller.roles)
        return await _after(uow, employee_id)

    return await commands.run(leave)


@router.post("/{employee_id}/invitation", status_code=201, response_model=InvitationAnswer)
async def post_invitation(
    employee_id: Id, caller: Editor, parts: PartsDep, commands: CommandsDep, body: NewInvitationBody | None = None
) -> Response:
    """Invite a person again, also one who forgot the password, and sign them out everywhere.

    An earlier invitation no longer works. A repeated request invites once more, also under the same Idempotency-Key.
    """
    lock = body is not None and body.lock

    async def invite(uow: UnitOfWork) -> InvitationAnswer:
        return _told(await people.invite_again(uow, parts.registry, employee_id, caller.roles, lock=lock))

    return await commands.run(invite, status=201, idempotent=False)


async def _given_password(body: NewEmployeeBody, *, production: bool) -> str | None:
    if body.password is None:
        return None
    if production:
        raise PasswordNotAccepted(
            "People choose their passwords themselves: leave the password out, and pass the invitation on.",
            (FieldError("/password", "Leave this out."),),
        )
    password = body.password.get_secret_value()
    people.check_password(password)
    return await sessions.hashed(password)


async def _after(uow: UnitOfWork, employee_id: str) -> EmployeeAnswer:
    row = await employees.one(uow.connection, employee_id, uow.today)
    if row is None:
        raise EmployeeUnknown("There is no such employee.")
    return _shown(row, uow.today)


async def _above(views: ViewsDep, caller: Caller, ids: list[str], today: date) -> dict[str, frozenset[str]]:
    """Return who is above each employee, as far as the caller's sight depends on it."""
    if is_editor(caller):
        return {}
    return await employees.lines_upwards(views.connection, ids, today)


def _sees_all(caller: Caller, row: EmployeeRow, above: dict[str, frozenset[str]]) -> bool:
    return is_editor(caller) or caller.id == row.id or caller.id in above.get(row.id, frozenset())


def _basics(row: EmployeeRow) -> ColleagueAnswer:
    return ColleagueAnswer(
        id=row.id,
        given_name=row.given_name,
        family_name=row.family_name,
        department_id=row.department_id,
        location_id=row.location_id,
        manager_id=row.manager_id,
    )


def _shown(row: EmployeeRow, today: date) -> EmployeeAnswer:
    return EmployeeAnswer(
        **_basics(row).model_dump(),
        email=row.email,
        status="left" if row.has_left_by(today) else row.account,
        schedule_id=row.schedule_id,
        roles=list(row.roles),
        cost_centre=row.cost_centre,
        employed_from=row.employed_from,
        last_day=row.last_day,
        version=row.version,
    )


def _told(invitation: people.Invitation) -> InvitationAnswer:
    return InvitationAnswer(token=invitation.token, expires_at=invitation.expires_at)
