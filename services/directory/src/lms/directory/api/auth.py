"""Signing in and out, tokens for programs, and who the caller is.

Browsers live on three cookies: `lms_access` and `lms_refresh` (HttpOnly) and `lms_csrf`, which scripts read and send
back as `X-CSRF-Token`. API clients ask for the refresh token in the answer instead.
"""

import hmac
import secrets
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Header, Request
from pydantic import Field, SecretStr
from starlette.responses import Response

from lms.directory import store
from lms.directory.api.access import Email, Id, Parts, PartsDep
from lms.directory.commands import sessions
from lms.directory.commands.people import accept_invitation, check_password
from lms.directory.commands.sessions import SessionOver, SignedIn, TooManyAttempts
from lms.directory.projections import delegations
from lms.kernel.auth import LIFETIME, CallerDep
from lms.kernel.errors import Forbidden, Unauthenticated
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, Body, OpenCommandsDep, ViewsDep, answer
from lms.kernel.problems import problem_response

router = APIRouter(prefix="/api/v1", tags=["signing in"])

ACCESS_COOKIE = "lms_access"
REFRESH_COOKIE = "lms_refresh"
CSRF_COOKIE = "lms_csrf"
REFRESH_PATH = "/api/v1/auth"

_PERMISSIONS: dict[str, frozenset[str]] = {
    "employee": frozenset({"leave:request", "directory:read"}),
    "manager": frozenset({"approvals:decide", "delegations:write", "team:read"}),
    "hr": frozenset({"employees:write", "organisation:write", "imports:write", "balances:adjust", "policies:write"}),
    "payroll": frozenset({"payroll:read", "payroll:close"}),
    "auditor": frozenset({"audit:read", "reports:read"}),
    "admin": frozenset({"employees:write", "organisation:write", "imports:write", "roles:write", "maintenance:write"}),
}


class CsrfMissing(Forbidden):
    """A cookie came without the token that only our own pages can read."""

    code = "csrf-token-missing"


class LoginBody(Body):
    """Who signs in. With `return_refresh_token` the answer holds the refresh token, and no cookies are set."""

    email: Annotated[str, Field(max_length=254)]
    password: SecretStr = Field(max_length=1024)
    return_refresh_token: bool = False


class RefreshBody(Body):
    """The refresh token of a client without cookies."""

    refresh_token: Annotated[str, Field(max_length=200)] | None = None


class ServiceTokenBody(Body):
    """The credentials of a service account."""

    client_id: Annotated[str, Field(min_length=1, max_length=60)]
    client_secret: SecretStr = Field(max_length=1024)


class ActForBody(Body):
    """The person for whom a service account wants to act."""

    employee_id: Id


class InvitationBody(Body):
    """An invitation and the password that the invited person chose."""

    token: Annotated[str, Field(max_length=200)]
    password: SecretStr = Field(max_length=1024)


class TokenAnswer(Answer):
    """An access token; `expires_in` is in seconds."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105  # the name of a scheme
    expires_in: int
    refresh_token: str | None = None


class InvitationAccepted(Answer):
    """The person who can sign in now."""

    employee_id: str


class PersonAnswer(Answer):
    """The caller as a person."""

    given_name: str
    family_name: str
    email: Email


class DelegationAnswer(Answer):
    """A stand-in for a period, both days included."""

    id: str
    delegator_id: str
    delegate_id: str
    first_day: date
    last_day: date


class MeAnswer(Answer):
    """The caller: `person` is null for a program; `permissions` follow from the roles."""

    id: str
    person: PersonAnswer | None
    roles: list[str]
    scopes: list[str]
    permissions: list[str]
    delegations: list[DelegationAnswer]


@router.post("/auth/login", response_model=TokenAnswer)
async def post_login(body: LoginBody, request: Request, parts: PartsDep) -> Response:
    """Sign in with an e-mail address and a password."""
    try:
        signed_in = await sessions.sign_in(
            parts.executor,
            parts.registry.emails,
            body.email,
            body.password.get_secret_value(),
            timedelta(days=parts.settings.session_days),
        )
    except TooManyAttempts as error:
        return _try_later(request, error)
    return _token_answer(parts, signed_in, in_body=body.return_refresh_token)


@router.post("/auth/refresh", response_model=TokenAnswer)
async def post_refresh(
    parts: PartsDep,
    body: RefreshBody | None = None,
    lms_refresh: Annotated[str | None, Cookie()] = None,
    lms_csrf: Annotated[str | None, Cookie()] = None,
    x_csrf_token: Annotated[str | None, Header()] = None,
) -> Response:
    """Exchange a refresh token for a new pair. A token used twice ends its session."""
    in_body = body is not None and body.refresh_token is not None
    token = body.refresh_token if body is not None and in_body else lms_refresh
    if token is None:
        raise Unauthenticated("There is no refresh token; sign in.")
    if not in_body:
        _require_csrf(lms_csrf, x_csrf_token)
    refreshed = await parts.executor.run(lambda uow: sessions.refresh(uow, token))
    if refreshed == "over":
        raise SessionOver("This session is over; sign in again.")
    return _token_answer(parts, refreshed, in_body=in_body)


@router.post("/auth/logout", status_code=204)
async def post_logout(  # a cookie, a header or a body may say which session
    request: Request,
    parts: PartsDep,
    body: RefreshBody | None = None,
    lms_refresh: Annotated[str | None, Cookie()] = None,
    lms_csrf: Annotated[str | None, Cookie()] = None,
    x_csrf_token: Annotated[str | None, Header()] = None,
) -> Response:
    """End the session and forget the cookies. An access token still lives for its last minutes."""
    token = body.refresh_token if body is not None else None
    if token is None and lms_refresh is not None:
        _require_csrf(lms_csrf, x_csrf_token)
        token = lms_refresh
    session = _session_of(request)
    await parts.executor.run(lambda uow: sessions.sign_out(uow, token, session))
    response = Response(status_code=204)
    response.delete_cookie(ACCESS_COOKIE, path="/")
    response.delete_cookie(CSRF_COOKIE, path="/")
    response.delete_cookie(REFRESH_COOKIE, path=REFRESH_PATH)
    return response


@router.post("/auth/token", response_model=TokenAnswer)
async def post_token(body: ServiceTokenBody, request: Request, parts: PartsDep) -> Response:
    """Give a program an access token for its service account."""
    try:
        account = await sessions.check_service_account(
            parts.executor,
            parts.registry.emails,
            parts.settings.service_accounts,
            body.client_id,
            body.client_secret.get_secret_value(),
        )
    except TooManyAttempts as error:
        return _try_later(request, error)
    token = parts.signer.sign(f"service:{body.client_id}", roles=account.roles, scopes=account.scopes)
    return answer(TokenAnswer(access_token=token, expires_in=int(LIFETIME.total_seconds())))


@router.post("/auth/act-for", response_model=TokenAnswer)
async def post_act_for(body: ActForBody, caller: CallerDep, parts: PartsDep) -> Response:
    """Give a service account a token to act for a person, in the person's own roles. Outside production only.

    Facts record the account as their actor, on behalf of the person.
    """

    async def look(uow: UnitOfWork) -> tuple[str, ...]:
        return await sessions.roles_to_act_in(uow, caller, body.employee_id, production=parts.settings.production)

    roles = await parts.executor.run(look)
    token = parts.signer.sign(body.employee_id, roles=roles, acting=caller.id)
    return answer(
        TokenAnswer(access_token=token, expires_in=int(LIFETIME.total_seconds())), headers={"Cache-Control": "no-store"}
    )


@router.post("/auth/accept-invitation", response_model=InvitationAccepted)
async def post_accept_invitation(body: InvitationBody, commands: OpenCommandsDep) -> Response:
    """Choose a password with an invitation; then sign in with it."""
    password = body.password.get_secret_value()
    check_password(password)
    password_hash = await sessions.hashed(password)

    async def accepted(uow: UnitOfWork) -> InvitationAccepted:
        return InvitationAccepted(employee_id=await accept_invitation(uow, body.token, password_hash))

    return await commands.run(accepted)


@router.get("/me", response_model=MeAnswer)
async def get_me(caller: CallerDep, parts: PartsDep, views: ViewsDep) -> Response:
    """Say who the caller is and what they may do."""
    person = await store.person_of(views.connection, caller.id)
    rows = await delegations.find(views.connection, person=caller.id, not_over_by=parts.clock.today(), limit=200)
    known = None
    if person is not None:
        known = PersonAnswer(given_name=person.given_name, family_name=person.family_name, email=person.email)
    return answer(
        MeAnswer(
            id=caller.id,
            person=known,
            roles=sorted(caller.roles),
            scopes=sorted(caller.scopes),
            permissions=sorted(set().union(*(_PERMISSIONS.get(role, frozenset()) for role in caller.roles))),
            delegations=[delegation_answer(row) for row in rows],
        )
    )


def delegation_answer(row: Any) -> DelegationAnswer:
    """Return a delegation as it is shown."""
    return DelegationAnswer(
        id=row.delegation_id,
        delegator_id=row.delegator_id,
        delegate_id=row.delegate_id,
        first_day=row.first_day,
        last_day=row.last_day,
    )


def _token_answer(parts: Parts, signed_in: SignedIn, *, in_body: bool) -> Response:
    access = parts.signer.sign(signed_in.employee_id, roles=signed_in.roles, session=signed_in.session_id)
    seconds = int(LIFETIME.total_seconds())
    tokens = TokenAnswer(
        access_token=access,
        expires_in=seconds,
        refresh_token=signed_in.refresh_token if in_body else None,
    )
    response = answer(tokens, headers={"Cache-Control": "no-store"})
    if in_body:
        return response
    session = int(timedelta(days=parts.settings.session_days).total_seconds())
    secure, same_site = parts.settings.secure_cookies, parts.settings.cookie_same_site
    for name, value, path, seconds_kept, hidden in (
        (ACCESS_COOKIE, access, "/", seconds, True),
        (REFRESH_COOKIE, signed_in.refresh_token, REFRESH_PATH, session, True),
        (CSRF_COOKIE, secrets.token_urlsafe(24), "/", session, False),
    ):
        response.set_cookie(
            name, value, max_age=seconds_kept, path=path, secure=secure, httponly=hidden, samesite=same_site
        )
    return response


def _require_csrf(cookie: str | None, header: str | None) -> None:
    if not cookie or not header or not hmac.compare_digest(cookie.encode(), header.encode()):
        raise CsrfMissing(f"Send the value of the cookie {CSRF_COOKIE} as X-CSRF-Token.")


def _session_of(request: Request) -> str | None:
    """Return the session of the access token that came along, if it is still valid."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        session: str | None = request.app.state.verifier.verify(token.strip()).session
    except Unauthenticated:
        return None
    return session


def _try_later(request: Request, error: TooManyAttempts) -> Response:
    response = problem_response(error, request.scope)
    response.headers["Retry-After"] = str(error.retry_after)
    return response
