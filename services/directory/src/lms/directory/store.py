"""Plain rows of the directory: whatever must be erasable, and the claims behind set-wide rules.

People's names and addresses, passwords, sessions, invitations and imports stand here and never in an event. Every
function works in the caller's transaction. Instants are real UTC time: signing in does not follow the business clock.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import (
    VARCHAR,
    Column,
    Date,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel import leases
from lms.kernel.append_only import AppendOnlyFile
from lms.kernel.errors import Conflict, FieldError
from lms.kernel.keyring import derive_key
from lms.kernel.schema import instant, name, text_name

metadata = MetaData()

people = Table(
    "people",
    metadata,
    Column("employee_id", name(36), primary_key=True),
    Column("given_name", VARCHAR(120), nullable=False),
    Column("family_name", VARCHAR(120), nullable=False),
    Column("email", VARCHAR(254), nullable=False),
    Column("email_hmac", name(64), nullable=False),
    Column("password_hash", VARCHAR(255), nullable=True),
    Column("status", name(10), nullable=False),
    Column("created_at", instant(), nullable=False),
    UniqueConstraint("email_hmac", name="people_email_hmac"),
    Index("people_name", "family_name", "given_name", "employee_id"),
)
"""Who an employee is; `status` is `invited` until the person has chosen a password, then `active`."""

reporting_lines = Table(
    "reporting_lines",
    metadata,
    Column("employee_id", name(36), primary_key=True),
    Column("effective_from", Date, primary_key=True),
    Column("manager_id", name(36), nullable=True),
)
"""The claim behind “one reporting tree”: who reports to whom from which day on, locked by whoever changes it."""

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", name(36), primary_key=True),
    Column("employee_id", name(36), nullable=False),
    Column("started_at", instant(), nullable=False),
    Column("expires_at", instant(), nullable=False),
    Column("revoked_at", instant(), nullable=True),
    Index("sessions_employee", "employee_id"),
    Index("sessions_expires_at", "expires_at"),
)
"""One row for each sign-in: the family of its refresh tokens."""

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", name(64), primary_key=True),
    Column("session_id", name(36), nullable=False),
    Column("issued_at", instant(), nullable=False),
    Column("used_at", instant(), nullable=True),
    Index("refresh_tokens_session", "session_id"),
)
"""SHA-256 of each refresh token, also of those already exchanged, so that a stolen one is recognised."""

login_attempts = Table(
    "login_attempts",
    metadata,
    Column("account", name(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("locked_until", instant(), nullable=True),
    Column("last_at", instant(), nullable=False),
    Index("login_attempts_last_at", "last_at"),
)
"""Failed sign-ins by the HMAC of the address, whether or not anybody has it."""

invitations = Table(
    "invitations",
    metadata,
    Column("token_hash", name(64), primary_key=True),
    Column("employee_id", name(36), nullable=False),
    Column("expires_at", instant(), nullable=False),
    Index("invitations_employee", "employee_id"),
)
"""SHA-256 of each invitation that is still open; accepting it, or inviting again, removes it."""

imports = Table(
    "imports",
    metadata,
    Column("import_id", name(36), primary_key=True),
    Column("started_by", text_name(80), nullable=False),
    Column("status", name(10), nullable=False),
    Column("total", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("created_at", instant(), nullable=False),
    Column("finished_at", instant(), nullable=True),
    Index("imports_status", "status"),
)
"""Imports of people; `status` is `running` until every row was tried, then `done`."""

import_rows = Table(
    "import_rows",
    metadata,
    Column("import_id", name(36), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, nullable=False),
    Column("employee_id", name(36), nullable=False),
    Column("status", name(10), nullable=False),
    Column("payload", LONGTEXT, nullable=True),
    Column("error_column", VARCHAR(40), nullable=True),
    Column("error", VARCHAR(500), nullable=True),
)
"""The work list of an import, managers before their reports. `payload` (personal data) goes once the row is done."""


erasures = Table(
    "erasures",
    metadata,
    Column("employee_id", name(36), primary_key=True),
    Column("requested_by", text_name(80), nullable=False),
    Column("requested_at", instant(), nullable=False),
    Column("confirmed_by", text_name(80), nullable=True),
    Column("confirmed_at", instant(), nullable=True),
)
"""Erasures asked for, and those done: `confirmed_at` is null until a second person has agreed."""


class EmailTaken(Conflict):
    """Another person has the address."""

    code = "email-taken"

    def __init__(self) -> None:
        super().__init__(
            "Another person has this e-mail address.",
            (FieldError("/email", "Use another address, or look for the person who has it."),),
        )


class ReportingCycle(Conflict):
    """The change would let somebody report to themselves over others."""

    code = "reporting-cycle"


@dataclass(frozen=True)
class Person:
    """Who an employee is, as plain and erasable data."""

    employee_id: str
    given_name: str
    family_name: str
    email: str
    status: str


class ErasureList:
    """Who was erased, in a file apart from every database, written before the erasure commits.

    A restored back-up may know a person whose erasure is newer; what this list names is therefore erased again
    whenever the service starts. Without a path there is no list, which production does not accept.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = AppendOnlyFile(path)

    def add(self, employee_id: str, at: datetime) -> None:
        """Enter a person, and return once that cannot be lost."""
        self._file.add({"employee_id": employee_id, "erased_at": at.isoformat()})

    def all(self) -> list[str]:
        """Return everybody on the list, each once."""
        return list(dict.fromkeys(str(one["employee_id"]) for one in self._file.all()))


class EmailIndex:
    """Finds addresses by a keyed hash, which names nobody once the row is gone.

    Values are written under `encryption_key`. While that is rotated some still stand under one of the `others`.
    """

    def __init__(self, encryption_key: str, *others: str) -> None:
        self._keys = [derive_key(one, "email look-up") for one in (encryption_key, *others)]

    def hmac_of(self, email: str) -> str:
        """Return the look-up value (64 hexadecimal digits) of an address, whatever its letter case."""
        return self.hmacs_of(email)[0]

    def hmacs_of(self, email: str) -> list[str]:
        """Return every value that an address may stand under, the one to write first."""
        address = normalised(email).encode()
        return [hmac.new(key, address, sha256).hexdigest() for key in self._keys]


def normalised(email: str) -> str:
    """Return an address as it is compared: without outer blanks, in lower case."""
    return email.strip().lower()


def token_hash(token: str) -> str:
    """Return what is stored of a random token. It has 256 bits, so that a plain hash is enough."""
    return sha256(token.encode()).hexdigest()


def utc(value: datetime | None) -> datetime | None:
    """Return a stored instant with its time zone."""
    return None if value is None else value.replace(tzinfo=UTC)


# --- people ---------------------------------------------------------------------------------------------------------


async def claim_address(connection: AsyncConnection, emails: EmailIndex, email: str, employee_id: str) -> str:
    """Return the look-up value to write for a person's address. Raises EmailTaken for somebody else's.

    The unique index compares values of one key. While processes write under two, only one transaction at a time
    writes an address, and looks for it under both before.
    """
    value, *others = emails.hmacs_of(email)
    if others:
        await leases.lock(connection, "addresses")
        taken = await ids_by_email(connection, [value, *others])
        if set(taken.values()) - {employee_id}:
            raise EmailTaken
    return value


async def add_person(
    connection: AsyncConnection, person: Person, email_hmac: str, password_hash: str | None, now: datetime
) -> None:
    """Write a person; the unique index over the look-up value decides every race. Raises EmailTaken."""
    try:
        await connection.execute(
            insert(people).values(
                employee_id=person.employee_id,
                given_name=person.given_name,
                family_name=person.family_name,
                email=person.email,
                email_hmac=email_hmac,
                password_hash=password_hash,
                status=person.status,
                created_at=now,
            )
        )
    except IntegrityError as error:
        raise EmailTaken from error


async def change_person(connection: AsyncConnection, employee_id: str, values: Mapping[str, Any]) -> None:
    """Change columns of a person. Raises EmailTaken."""
    try:
        await connection.execute(update(people).where(people.c.employee_id == employee_id).values(**values))
    except IntegrityError as error:
        raise EmailTaken from error


async def forget_person(connection: AsyncConnection, employee_id: str) -> None:
    """Destroy the plain rows about a person: name, address, password, sessions, invitations, failed sign-ins."""
    address = select(people.c.email_hmac).where(people.c.employee_id == employee_id).scalar_subquery()
    own_sessions = select(sessions.c.session_id).where(sessions.c.employee_id == employee_id).scalar_subquery()
    await connection.execute(delete(login_attempts).where(login_attempts.c.account == address))
    await connection.execute(delete(refresh_tokens).where(refresh_tokens.c.session_id.in_(own_sessions)))
    await connection.execute(delete(sessions).where(sessions.c.employee_id == employee_id))
    await connection.execute(delete(invitations).where(invitations.c.employee_id == employee_id))
    await connection.execute(
        update(import_rows).where(import_rows.c.employee_id == employee_id).values(payload=None, error=None)
    )
    await connection.execute(delete(people).where(people.c.employee_id == employee_id))


async def people_by_id(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, Person]:
    """Return those of the people who exist, by id."""
    rows = await connection.execute(
        select(
            people.c.employee_id,
            people.c.given_name,
            people.c.family_name,
            people.c.email,
            people.c.status,
        ).where(people.c.employee_id.in_(set(ids)))
    )
    return {row.employee_id: Person(*row) for row in rows}


async def person_of(connection: AsyncConnection, employee_id: str) -> Person | None:
    """Return one person."""
    return (await people_by_id(connection, [employee_id])).get(employee_id)


async def ids_by_email(connection: AsyncConnection, hmacs: Sequence[str]) -> dict[str, str]:
    """Return the ids of the people with these addresses, by their look-up values."""
    if not hmacs:
        return {}
    rows = await connection.execute(
        select(people.c.email_hmac, people.c.employee_id).where(people.c.email_hmac.in_(hmacs))
    )
    return {row.email_hmac: row.employee_id for row in rows}


async def credentials(
    connection: AsyncConnection, hmacs: Sequence[str], *, held: bool = False
) -> tuple[str, str] | None:
    """Return the id and password hash of the active person with an address, by the look-up values it may have.

    With `held` nobody changes the password before the transaction ends.
    """
    wanted = select(people.c.employee_id, people.c.password_hash).where(
        people.c.email_hmac.in_(hmacs), people.c.status == "active"
    )
    row = (await connection.execute(wanted.with_for_update(read=True) if held else wanted)).first()
    return None if row is None or row.password_hash is None else (row.employee_id, row.password_hash)


async def is_empty(connection: AsyncConnection) -> bool:
    """Say whether there is nobody yet."""
    return await connection.scalar(select(people.c.employee_id).limit(1)) is None


async def reindex_emails(connection: AsyncConnection, index: EmailIndex) -> int:
    """Rewrite the look-up values that another key made; return how many. Does nothing between key rotations."""
    rows = (await connection.execute(select(people.c.employee_id, people.c.email, people.c.email_hmac))).all()
    stale = [(row, value) for row in rows if row.email_hmac != (value := index.hmac_of(row.email))]
    count = 0
    for row, value in stale:
        done = await connection.execute(
            update(people)
            .where(people.c.employee_id == row.employee_id, people.c.email_hmac == row.email_hmac)  # nobody was faster
            .values(email_hmac=value)
        )
        count += done.rowcount
    return count


# --- one reporting tree ---------------------------------------------------------------------------------------------


async def claim_reporting_line(
    connection: AsyncConnection, employee_id: str, manager_id: str | None, since: date
) -> None:
    """Let a person report to `manager_id` from `since` on, if the lines stay a tree on every day.

    Locks the lines of the person and of everybody above, so that two changes that together would close a circle
    cannot both stand. Raises ReportingCycle.
    """
    lines = await _lock_upwards(connection, employee_id, manager_id)
    own = {**lines.get(employee_id, {}), since: manager_id}
    lines[employee_id] = own
    if manager_id is not None:
        days = {since, *(day for line in lines.values() for day in line if day > since)}
        for day in sorted(days):
            if _reaches_itself(lines, employee_id, day):
                raise ReportingCycle(
                    f"From {day} on this person would report to themselves over others.",
                    (FieldError("/manager_id", "Choose somebody who does not report to this person."),),
                )
    statement = upsert(reporting_lines).values(employee_id=employee_id, effective_from=since, manager_id=manager_id)
    await connection.execute(statement.on_duplicate_key_update(manager_id=statement.inserted.manager_id))


async def _lock_upwards(
    connection: AsyncConnection, employee_id: str, manager_id: str | None
) -> dict[str, dict[date, str | None]]:
    lines: dict[str, dict[date, str | None]] = {}
    next_up = {employee_id, manager_id} - {None}
    while next_up:
        rows = await connection.execute(
            select(reporting_lines)
            .where(reporting_lines.c.employee_id.in_(next_up))
            .order_by(reporting_lines.c.employee_id)
            .with_for_update()
        )
        lines |= {str(one): {} for one in next_up}
        for row in rows:
            lines[row.employee_id][row.effective_from] = row.manager_id
        next_up = {to for line in lines.values() for to in line.values()} - set(lines) - {None}
    return lines


def _reaches_itself(lines: Mapping[str, Mapping[date, str | None]], start: str, day: date) -> bool:
    above = _manager_on(lines[start], day)
    seen = {start}
    while above is not None:
        if above == start:
            return True
        if above in seen:
            return False
        seen.add(above)
        above = _manager_on(lines.get(above, {}), day)
    return False


def _manager_on(line: Mapping[date, str | None], day: date) -> str | None:
    """Return the manager on a day; before the first line, the first."""
    if not line:
        return None
    known = [since for since in line if since <= day]
    return line[max(known) if known else min(line)]


# --- sessions -------------------------------------------------------------------------------------------------------


async def count_attempt(connection: AsyncConnection, account: str, now: datetime) -> tuple[int, datetime | None]:
    """Lock the account's counter; return its failures so far and until when it is locked."""
    await connection.execute(
        upsert(login_attempts).values(account=account, failures=0, locked_until=None, last_at=now).prefix_with("IGNORE")
    )
    row = (
        await connection.execute(
            select(login_attempts.c.failures, login_attempts.c.locked_until)
            .where(login_attempts.c.account == account)
            .with_for_update()
        )
    ).one()
    return row.failures, utc(row.locked_until)


async def store_attempt(
    connection: AsyncConnection, account: str, failures: int, locked_until: datetime | None, now: datetime
) -> None:
    """Write the account's counter back."""
    await connection.execute(
        update(login_attempts)
        .where(login_attempts.c.account == account)
        .values(failures=failures, locked_until=locked_until, last_at=now)
    )


async def forget_attempts(connection: AsyncConnection, account: str) -> None:
    """Start the account's counter anew after a success."""
    await connection.execute(delete(login_attempts).where(login_attempts.c.account == account))


async def start_session(
    connection: AsyncConnection, session_id: str, employee_id: str, started: datetime, expires: datetime
) -> None:
    """Write a session."""
    await connection.execute(
        insert(sessions).values(session_id=session_id, employee_id=employee_id, started_at=started, expires_at=expires)
    )


async def add_refresh_token(connection: AsyncConnection, token: str, session_id: str, issued: datetime) -> None:
    """Remember a refresh token by its hash."""
    await connection.execute(
        insert(refresh_tokens).values(token_hash=token_hash(token), session_id=session_id, issued_at=issued)
    )


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token and the session that it belongs to."""

    session_id: str
    employee_id: str
    used: bool
    session_ends: datetime
    revoked: bool


async def lock_refresh_token(connection: AsyncConnection, token: str) -> RefreshToken | None:
    """Return a refresh token, locked together with its session until the transaction ends."""
    row = (
        await connection.execute(
            select(
                sessions.c.session_id,
                sessions.c.employee_id,
                refresh_tokens.c.used_at,
                sessions.c.expires_at,
                sessions.c.revoked_at,
            )
            .join(refresh_tokens, refresh_tokens.c.session_id == sessions.c.session_id)
            .where(refresh_tokens.c.token_hash == token_hash(token))
            .with_for_update()
        )
    ).first()
    if row is None:
        return None
    ends = row.expires_at.replace(tzinfo=UTC)
    return RefreshToken(row.session_id, row.employee_id, row.used_at is not None, ends, row.revoked_at is not None)


async def use_refresh_token(connection: AsyncConnection, token: str, now: datetime) -> None:
    """Mark a refresh token as exchanged."""
    await connection.execute(
        update(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash(token)).values(used_at=now)
    )


async def revoke_session(connection: AsyncConnection, session_id: str, now: datetime) -> None:
    """End a session: none of its refresh tokens works any more."""
    await connection.execute(
        update(sessions)
        .where(sessions.c.session_id == session_id, sessions.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


async def revoke_all_sessions(connection: AsyncConnection, now: datetime) -> None:
    """End every session of everybody."""
    await connection.execute(update(sessions).where(sessions.c.revoked_at.is_(None)).values(revoked_at=now))


async def revoke_sessions_of(connection: AsyncConnection, employee_id: str, now: datetime) -> None:
    """End every session of a person."""
    await connection.execute(
        update(sessions)
        .where(sessions.c.employee_id == employee_id, sessions.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


async def prune(connection: AsyncConnection, now: datetime, attempts_before: datetime) -> None:
    """Remove sessions that are over, with their tokens, invitations that lapsed and counters long unused."""
    over = select(sessions.c.session_id).where(sessions.c.expires_at < now).scalar_subquery()
    await connection.execute(delete(refresh_tokens).where(refresh_tokens.c.session_id.in_(over)))
    await connection.execute(delete(sessions).where(sessions.c.expires_at < now))
    await connection.execute(delete(invitations).where(invitations.c.expires_at < now))
    await connection.execute(delete(login_attempts).where(login_attempts.c.last_at < attempts_before))


# --- invitations ----------------------------------------------------------------------------------------------------


async def invite(connection: AsyncConnection, token: str, employee_id: str, expires: datetime) -> None:
    """Write an invitation; an earlier one of the same person no longer works."""
    await connection.execute(delete(invitations).where(invitations.c.employee_id == employee_id))
    await connection.execute(
        insert(invitations).values(token_hash=token_hash(token), employee_id=employee_id, expires_at=expires)
    )


async def withdraw_invitation(connection: AsyncConnection, employee_id: str) -> None:
    """Let a person's invitation work no longer."""
    await connection.execute(delete(invitations).where(invitations.c.employee_id == employee_id))


async def take_invitation(connection: AsyncConnection, token: str, now: datetime) -> str | None:
    """Use up an invitation that is still open; return whom it invites."""
    row = (
        await connection.execute(
            select(invitations).where(invitations.c.token_hash == token_hash(token)).with_for_update()
        )
    ).first()
    if row is None or row.expires_at.replace(tzinfo=UTC) <= now:
        return None
    await connection.execute(delete(invitations).where(invitations.c.employee_id == row.employee_id))
    return str(row.employee_id)


# --- erasures -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Erasure:
    """An erasure asked for (`confirmed_at` None) or done."""

    employee_id: str
    requested_by: str
    requested_at: datetime
    confirmed_by: str | None
    confirmed_at: datetime | None


async def lock_erasure(connection: AsyncConnection, employee_id: str) -> Erasure | None:
    """Return the erasure of a person, locked until the transaction ends."""
    statement = select(erasures).where(erasures.c.employee_id == employee_id).with_for_update()
    row = (await connection.execute(statement)).first()
    return None if row is None else _erasure(row)


async def write_erasure(connection: AsyncConnection, erasure: Erasure) -> None:
    """Write an erasure, or what has become of it."""
    values = {
        "requested_by": erasure.requested_by,
        "requested_at": erasure.requested_at,
        "confirmed_by": erasure.confirmed_by,
        "confirmed_at": erasure.confirmed_at,
    }
    await connection.execute(
        upsert(erasures).values(employee_id=erasure.employee_id, **values).on_duplicate_key_update(values)
    )


async def withdraw_erasure(connection: AsyncConnection, employee_id: str) -> None:
    """Remove an erasure that was asked for and not done."""
    await connection.execute(delete(erasures).where(erasures.c.employee_id == employee_id))


async def all_erasures(connection: AsyncConnection, *, after: str | None, limit: int) -> list[Erasure]:
    """Return erasures by employee id, from behind `after` on."""
    statement = select(erasures).order_by(erasures.c.employee_id).limit(limit)
    if after is not None:
        statement = statement.where(erasures.c.employee_id > after)
    return [_erasure(row) for row in await connection.execute(statement)]


def _erasure(row: Any) -> Erasure:
    return Erasure(
        row.employee_id,
        row.requested_by,
        row.requested_at.replace(tzinfo=UTC),
        row.confirmed_by,
        utc(row.confirmed_at),
    )


# --- imports --------------------------------------------------------------------------------------------------------


async def add_import(
    connection: AsyncConnection,
    import_id: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    started_by: str,
    skipped: int,
    now: datetime,
) -> None:
    """Write an import and its work list."""
    await connection.execute(
        insert(imports).values(
            import_id=import_id,
            started_by=started_by,
            status="running",
            total=len(rows),
            skipped=skipped,
            created_at=now,
        )
    )
    if rows:
        await connection.execute(insert(import_rows), [{"import_id": import_id, **row} for row in rows])


async def running_imports(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Return the imports with rows still to do, oldest first: id and who started it."""
    rows = await connection.execute(
        select(imports.c.import_id, imports.c.started_by)
        .where(imports.c.status == "running")
        .order_by(imports.c.created_at)
    )
    return [(row.import_id, row.started_by) for row in rows]


async def lock_next_row(connection: AsyncConnection, import_id: str) -> Any | None:
    """Return the first row of an import that is still to do, locked until the transaction ends."""
    return (
        await connection.execute(
            select(import_rows)
            .where(import_rows.c.import_id == import_id, import_rows.c.status == "pending")
            .order_by(import_rows.c.position)
            .limit(1)
            .with_for_update()
        )
    ).first()


async def finish_row(
    connection: AsyncConnection, import_id: str, position: int, error: tuple[str, str] | None = None
) -> None:
    """Mark a row as done, or as failed with a column and a reason, and drop its personal data."""
    await connection.execute(
        update(import_rows)
        .where(import_rows.c.import_id == import_id, import_rows.c.position == position)
        .values(
            status="done" if error is None else "failed",
            payload=None,
            error_column=None if error is None else error[0],
            error=None if error is None else error[1][:500],
        )
    )


async def finish_import(connection: AsyncConnection, import_id: str, now: datetime) -> None:
    """Mark an import as done."""
    await connection.execute(
        update(imports).where(imports.c.import_id == import_id).values(status="done", finished_at=now)
    )


async def import_of(connection: AsyncConnection, import_id: str) -> Any | None:
    """Return an import's row."""
    return (await connection.execute(select(imports).where(imports.c.import_id == import_id))).first()


async def import_counts(connection: AsyncConnection, import_id: str) -> dict[str, int]:
    """Return how many rows of an import stand in each status."""
    rows = await connection.execute(
        select(import_rows.c.status, func.count().label("number"))
        .where(import_rows.c.import_id == import_id)
        .group_by(import_rows.c.status)
    )
    return {row.status: row.number for row in rows}


async def import_failures(connection: AsyncConnection, import_id: str) -> list[Any]:
    """Return the rows of an import that failed, in the order of their lines."""
    rows = await connection.execute(
        select(import_rows.c.line, import_rows.c.error_column, import_rows.c.error)
        .where(import_rows.c.import_id == import_id, import_rows.c.status == "failed")
        .order_by(import_rows.c.line)
    )
    return list(rows)


def matches_name(text: str) -> Any:
    """Return a condition for people whose given or family name begins with a text."""
    beginning = text.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    return or_(people.c.family_name.like(beginning), people.c.given_name.like(beginning))
