"""Use cases about signing in: passwords, sessions with rotating refresh tokens, service accounts.

Time here is real time, never the business clock. The answers for an unknown address and a wrong password are the same,
and take the same time.
"""

import asyncio
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from prometheus_client import Counter

from lms.directory import store
from lms.directory.decider.employee import EmployeeUnknown
from lms.directory.projections import employees
from lms.directory.settings import ACT_FOR, ServiceAccount
from lms.kernel.auth import Caller
from lms.kernel.errors import DomainError, Forbidden, Unauthenticated
from lms.kernel.execution import Executor, UnitOfWork
from lms.kernel.ids import new_id

FREE_FAILURES = 5
"""Failed sign-ins in a row before an account is locked for a second, then two, four, eight …"""

LONGEST_LOCK = timedelta(minutes=15)
FORGET_ATTEMPTS_AFTER = timedelta(days=1)

SIGN_INS = Counter("sign_ins_total", "Attempts to sign in with a password, by what came of them", ("outcome",))
for _outcome in ("right", "wrong", "locked"):
    SIGN_INS.labels(_outcome)

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_NOBODYS_HASH = _hasher.hash(secrets.token_urlsafe(16))


class WrongCredentials(Unauthenticated):
    """The address or the password is wrong; nobody learns which."""

    code = "wrong-credentials"


class SessionOver(Unauthenticated):
    """The refresh token is unknown, was used before, or its session has ended."""

    code = "session-over"


class TooManyAttempts(DomainError):
    """The account is locked for `retry_after` seconds after failed sign-ins."""

    code = "too-many-attempts"
    status = 429

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many failed sign-ins for this account: try again in {retry_after} s.")
        self.retry_after = retry_after


class ActForRefused(Forbidden):
    """The caller may not act for somebody else, or nobody may here."""

    code = "act-for-refused"


@dataclass(frozen=True)
class SignedIn:
    """A session that has just begun or gone on; `refresh_token` is told once."""

    employee_id: str
    session_id: str
    roles: tuple[str, ...]
    refresh_token: str


async def hashed(password: str) -> str:
    """Return the argon2id hash of a password; off the event loop, for it takes tens of milliseconds."""
    return await asyncio.to_thread(_hasher.hash, password)


async def sign_in(
    executor: Executor, emails: store.EmailIndex, email: str, password: str, lifetime: timedelta
) -> SignedIn:
    """Check a password and start a session.

    The attempt is counted as failed before the password is looked at, so that parallel guesses do not slip through,
    and forgotten when it was right. A password that is taken away meanwhile starts nothing. Raises TooManyAttempts and
    WrongCredentials.
    """
    known_under = emails.hmacs_of(email)
    account = known_under[0]
    try:
        found = await executor.run(lambda uow: _begin_attempt(uow, account, known_under))
    except TooManyAttempts:
        SIGN_INS.labels("locked").inc()
        raise
    right = await asyncio.to_thread(_verify, _NOBODYS_HASH if found is None else found[1], password)
    if found is None or not right:
        SIGN_INS.labels("wrong").inc()
        raise WrongCredentials("The e-mail address or the password is wrong.")
    SIGN_INS.labels("right").inc()
    return await executor.run(lambda uow: _begin_session(uow, known_under, found, lifetime))


async def refresh(uow: UnitOfWork, token: str) -> SignedIn | Literal["over"]:
    """Exchange a refresh token for its successor.

    A token that was exchanged before is in two hands: the whole session ends. The answer is then "over" and no
    exception, for the end of the session must be committed.
    """
    now = datetime.now(UTC)
    held = await store.lock_refresh_token(uow.connection, token)
    if held is None or held.revoked or held.session_ends <= now:
        return "over"
    if held.used:
        await store.revoke_session(uow.connection, held.session_id, now)
        return "over"
    roles = await roles_of(uow, held.employee_id)
    if roles is None:
        await store.revoke_session(uow.connection, held.session_id, now)
        return "over"
    await store.use_refresh_token(uow.connection, token, now)
    return await _with_token(uow, held.employee_id, held.session_id, roles, now)


async def sign_out(uow: UnitOfWork, refresh_token: str | None, session_id: str | None) -> None:
    """End the session of a refresh token or of an access token; nothing happens for an unknown one."""
    now = datetime.now(UTC)
    if refresh_token is not None:
        held = await store.lock_refresh_token(uow.connection, refresh_token)
        if held is not None:
            await store.revoke_session(uow.connection, held.session_id, now)
    if session_id is not None:
        await store.revoke_session(uow.connection, session_id, now)


async def check_service_account(
    executor: Executor,
    emails: store.EmailIndex,
    accounts: Mapping[str, ServiceAccount],
    client_id: str,
    client_secret: str,
) -> ServiceAccount:
    """Return the service account whose secret this is. Raises WrongCredentials, and TooManyAttempts after many of them.

    A right secret is right whatever was tried before: anybody may guess at an account, and nobody shuts it out so. Its
    256 bits are what keeps guesses from succeeding; they are counted so that they are seen, and cost the guesser time.
    """
    account = accounts.get(client_id)
    expected = account.secret_sha256 if account is not None else "0" * 64
    right = hmac.compare_digest(store.token_hash(client_secret), expected)
    if account is None or not right:
        counter = store.token_hash(emails.hmac_of(f"service:{client_id}"))  # no address has this one
        await executor.run(lambda uow: _count_failure(uow, counter))
        raise WrongCredentials("The client id or the client secret is wrong.")
    return account


async def roles_to_act_in(uow: UnitOfWork, caller: Caller, employee_id: str, *, production: bool) -> tuple[str, ...]:
    """Return the roles in which a service account acts for a person: the person's own, and no others.

    This is the one place that lets anybody act for somebody else. Raises ActForRefused in production, and for whoever
    lacks the scope or acts for somebody already; EmployeeUnknown when nobody of that id is employed.
    """
    if production:
        raise ActForRefused("Nobody acts for others in production.")
    if not caller.may(ACT_FOR):
        raise ActForRefused(f"Your token lacks the scope `{ACT_FOR}`.")
    roles = await roles_of(uow, employee_id)
    if roles is None:
        raise EmployeeUnknown("There is no such employee.")
    return roles


async def roles_of(uow: UnitOfWork, employee_id: str) -> tuple[str, ...] | None:
    """Return what an employee may do today, `manager` also for whoever has reports; None once they have left."""
    row = await employees.one(uow.connection, employee_id, uow.today)
    if row is None or row.has_left_by(uow.today):
        return None
    if "manager" in row.roles or not await employees.has_reports(uow.connection, employee_id, uow.today):
        return row.roles
    return (*row.roles, "manager")


async def _begin_attempt(uow: UnitOfWork, account: str, known_under: Sequence[str]) -> tuple[str, str] | None:
    await _count_failure(uow, account)
    return await store.credentials(uow.connection, known_under)


async def _count_failure(uow: UnitOfWork, account: str) -> None:
    now = datetime.now(UTC)
    failures = await _failures_unless_locked(uow, account, now)
    await store.store_attempt(uow.connection, account, failures + 1, _lock_after(failures + 1, now), now)


async def _failures_unless_locked(uow: UnitOfWork, account: str, now: datetime) -> int:
    failures, locked_until = await store.count_attempt(uow.connection, account, now)
    if locked_until is not None and locked_until > now:
        raise TooManyAttempts(int((locked_until - now).total_seconds()) + 1)
    return failures


def _lock_after(failures: int, now: datetime) -> datetime | None:
    if failures < FREE_FAILURES:
        return None
    return now + min(timedelta(seconds=2 ** min(failures - FREE_FAILURES, 20)), LONGEST_LOCK)


async def _begin_session(
    uow: UnitOfWork, known_under: Sequence[str], checked: tuple[str, str], lifetime: timedelta
) -> SignedIn:
    employee_id, _ = checked
    held = await store.credentials(uow.connection, known_under, held=True)
    roles = await roles_of(uow, employee_id)
    if held != checked or roles is None:
        raise WrongCredentials("The e-mail address or the password is wrong.")
    now = datetime.now(UTC)
    await store.forget_attempts(uow.connection, known_under[0])
    session_id = new_id()
    await store.start_session(uow.connection, session_id, employee_id, now, now + lifetime)
    return await _with_token(uow, employee_id, session_id, roles, now)


async def _with_token(
    uow: UnitOfWork, employee_id: str, session_id: str, roles: tuple[str, ...], now: datetime
) -> SignedIn:
    token = secrets.token_urlsafe(32)
    await store.add_refresh_token(uow.connection, token, session_id, now)
    return SignedIn(employee_id, session_id, roles, token)


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
