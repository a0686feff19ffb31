"""Rows of its own: inboxes, mails on their way, and what people do not want to be mailed.

They are no views: what was read, sent or switched off follows from no event.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
from pydantic import TypeAdapter
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.ids import new_id
from lms.kernel.metrics import CACHE_LOOKUPS, announce_cache
from lms.kernel.schema import instant, name
from lms.kernel.statements import Statement, together
from lms.notifications.decider import Channel, Kind, Notice

metadata = MetaData()

inbox = Table(
    "inbox",
    metadata,
    Column("id", name(36), primary_key=True),
    Column("employee_id", name(80), nullable=False),
    Column("cause", name(100), nullable=False),
    Column("kind", name(30), nullable=False),
    Column("request_id", name(36)),
    Column("revision", Integer),
    Column("notice", LONGTEXT, nullable=False),
    Column("created_at", instant(), nullable=False),
    Column("read_at", instant()),
)

inboxes = Table(
    "inboxes",
    metadata,
    Column("employee_id", name(80), primary_key=True),
    Column("changes", BigInteger, nullable=False),
)
"""How often each inbox has changed: the count of unread entries is kept in Redis under this number."""

mails = Table(
    "mails",
    metadata,
    Column("id", name(36), primary_key=True),
    Column("employee_id", name(80), nullable=False),
    Column("cause", name(100), nullable=False),
    Column("channel", name(10), nullable=False),
    Column("kind", name(30), nullable=False),
    Column("notice", LONGTEXT, nullable=False),
    Column("status", name(10), nullable=False),
    Column("reason", String(200)),
    Column("attempts", Integer, nullable=False),
    Column("due_at", instant(), nullable=False),
    Column("created_at", instant(), nullable=False),
    Column("sent_at", instant()),
    Column("traceparent", name(60)),
)

preferences = Table(
    "preferences",
    metadata,
    Column("employee_id", name(80), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("mail_off", LONGTEXT, nullable=False),
)

CACHE = "unread"
announce_cache(CACHE)

UNREAD_SECONDS = 3600
"""How long a count is kept; it never outlives a change of the inbox."""

_NOTICE = TypeAdapter(Notice)


# --- telling ----------------------------------------------------------------------------------------------------------


_ENTER_INBOX = Statement(upsert(inbox).prefix_with("IGNORE"))
_ENTER_MAIL = Statement(
    upsert(mails)
    .values({one.name: bindparam(one.name) for one in mails.c} | {"due_at": func.now(6)})
    .prefix_with("IGNORE")
)
_change = upsert(inboxes)
_CHANGED = Statement(_change.on_duplicate_key_update(changes=inboxes.c.changes + _change.inserted.changes))


async def tell(
    connection: AsyncConnection, found: Sequence[tuple[Notice, Channel]], at: datetime, traceparent: str | None
) -> list[tuple[Notice, Channel]]:
    """Put notices into their people's inboxes, or have them mailed, in the trace of what they tell of.

    Returns those of which that was not so yet.
    """
    calls = [
        _ENTER_INBOX.having(**_entry(notice, at))
        if channel == "in-app"
        else _ENTER_MAIL.having(**_mail(notice, at, traceparent))
        for notice, channel in found
    ]
    entered = await together(connection, *calls)
    new = [one for one, result in zip(found, entered, strict=True) if result.rowcount]
    await _changed(connection, {notice.person for notice, channel in new if channel == "in-app"})
    return new


def _entry(notice: Notice, at: datetime) -> dict[str, Any]:
    return {
        "id": new_id(), "employee_id": notice.person, "cause": notice.cause, "kind": notice.kind,
        "request_id": notice.request_id, "revision": notice.revision, "notice": _json(notice), "created_at": at,
        "read_at": None,
    }  # fmt: skip


def _mail(notice: Notice, at: datetime, traceparent: str | None) -> dict[str, Any]:
    return {
        "id": new_id(), "employee_id": notice.person, "cause": notice.cause, "channel": "email", "kind": notice.kind,
        "notice": _json(notice), "status": "pending", "reason": None, "attempts": 0, "created_at": at, "sent_at": None,
        "traceparent": traceparent,
    }  # fmt: skip


async def forget(connection: AsyncConnection, employee_id: str) -> None:
    """Delete somebody's inbox and preferences, and drop the mails that have not gone out to them."""
    await connection.execute(delete(inbox).where(inbox.c.employee_id == employee_id))
    await connection.execute(delete(preferences).where(preferences.c.employee_id == employee_id))
    await connection.execute(
        update(mails)
        .where(mails.c.employee_id == employee_id, mails.c.status.in_(("pending", "failed")))
        .values(status="dropped", reason="erased")
    )
    await connection.execute(update(mails).where(mails.c.employee_id == employee_id).values(notice=""))
    await _changed(connection, [employee_id])


async def not_told(connection: AsyncConnection, found: Sequence[Notice]) -> list[Notice]:
    """Return those notices of which no row was made yet, through whichever channel."""
    known: set[tuple[str, str]] = set()
    causes = sorted({notice.cause for notice in found})
    for table in (inbox, mails) if causes else ():
        rows = await connection.execute(select(table.c.employee_id, table.c.cause).where(table.c.cause.in_(causes)))
        known |= {(row.employee_id, row.cause) for row in rows}
    return [notice for notice in found if (notice.person, notice.cause) not in known]


# --- the inbox --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of an inbox."""

    id: str
    notice: Notice
    created_at: datetime
    read_at: datetime | None


async def entries(
    connection: AsyncConnection, employee_id: str, *, unread: bool, before: str | None, limit: int
) -> list[Entry]:
    """Return entries of somebody's inbox, the newest first."""
    statement = select(inbox).where(inbox.c.employee_id == employee_id).order_by(inbox.c.id.desc()).limit(limit)
    if unread:
        statement = statement.where(inbox.c.read_at.is_(None))
    if before is not None:
        statement = statement.where(inbox.c.id < before)
    return [
        Entry(
            row.id,
            _NOTICE.validate_json(row.notice),
            row.created_at.replace(tzinfo=UTC),
            row.read_at.replace(tzinfo=UTC) if row.read_at else None,
        )
        for row in await connection.execute(statement)
    ]


async def mark_read(connection: AsyncConnection, employee_id: str, at: datetime, entry_id: str | None = None) -> bool:
    """Mark one entry of somebody's inbox as read, or all; say whether there is that entry."""
    mine = inbox.c.employee_id == employee_id
    unread = update(inbox).where(mine, inbox.c.read_at.is_(None)).values(read_at=at)
    if entry_id is not None:
        if await connection.scalar(select(inbox.c.id).where(mine, inbox.c.id == entry_id)) is None:
            return False
        unread = unread.where(inbox.c.id == entry_id)
    if (await connection.execute(unread)).rowcount:
        await _changed(connection, [employee_id])
    return True


async def count_unread(connection: AsyncConnection, redis: Redis, employee_id: str) -> int:
    """Return how many entries are unread: from Redis, or counted anew where Redis does not know or is away."""
    changes = await connection.scalar(select(inboxes.c.changes).where(inboxes.c.employee_id == employee_id))
    key = f"lms:notifications:unread:{employee_id}:{changes or 0}"
    kept = None
    try:
        kept = await redis.get(key)
        looked = "miss" if kept is None else "hit"
    except (RedisError, OSError):
        looked = "away"
    CACHE_LOOKUPS.labels(CACHE, looked).inc()
    if kept is not None:
        return int(kept)
    counted = await connection.scalar(
        select(func.count()).select_from(inbox).where(inbox.c.employee_id == employee_id, inbox.c.read_at.is_(None))
    )
    count = int(counted or 0)
    with contextlib.suppress(RedisError, OSError):
        await redis.set(key, count, ex=UNREAD_SECONDS)
    return count


async def _changed(connection: AsyncConnection, people: Collection[str]) -> None:
    if people:
        await together(connection, _CHANGED.of([{"employee_id": one, "changes": 1} for one in sorted(people)]))


# --- preferences ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preferences:
    """The kinds that somebody does not want mail of; version 0: nothing was ever chosen."""

    mail_off: frozenset[str] = frozenset()
    version: int = 0


_PREFERENCES = select(preferences.c.employee_id, preferences.c.version, preferences.c.mail_off).where(
    preferences.c.employee_id.in_(bindparam("people", expanding=True))
)
PREFERENCES = Statement(_PREFERENCES)
"""What those of the `people` prefer who have chosen anything, for `preferences_in`."""
_LOCK_PREFERENCES = Statement(_PREFERENCES.with_for_update())


async def preferences_of(
    connection: AsyncConnection, employee_ids: Collection[str], *, lock: bool = False
) -> dict[str, Preferences]:
    """Return the preferences of those who have chosen any; `lock` keeps others from changing them."""
    statement = _LOCK_PREFERENCES if lock else PREFERENCES
    return preferences_in(await statement.rows(connection, people=sorted(employee_ids)))


def preferences_in(rows: Iterable[Any]) -> dict[str, Preferences]:
    """Return the preferences in rows of PREFERENCES, by person."""
    return {row.employee_id: Preferences(frozenset(orjson.loads(row.mail_off)), row.version) for row in rows}


async def choose(connection: AsyncConnection, employee_id: str, chosen: Preferences) -> None:
    """Keep somebody's preferences."""
    row = {"version": chosen.version, "mail_off": orjson.dumps(sorted(chosen.mail_off)).decode()}
    insert = upsert(preferences).values(employee_id=employee_id, **row)
    await connection.execute(insert.on_duplicate_key_update(row))


# --- mails ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail on its way; `attempts` counts this one."""

    id: str
    notice: Notice
    attempts: int
    traceparent: str | None


_FROM_NOW = text("NOW(6) + INTERVAL :microseconds MICROSECOND")
_DUE = Statement(
    select(mails.c.id, mails.c.notice, mails.c.attempts, mails.c.traceparent)
    .where(mails.c.status == "pending", mails.c.due_at <= func.now(6))
    .order_by(mails.c.due_at)
    .limit(bindparam("limit", type_=Integer))
    .with_for_update(skip_locked=True)
)
_LEASE = Statement(
    update(mails)
    .where(mails.c.id.in_(bindparam("ids", expanding=True)))
    .values(attempts=mails.c.attempts + 1, due_at=_FROM_NOW)
)
_SENT = Statement(
    update(mails)
    .where(mails.c.id == bindparam("mail_id"), mails.c.status == "pending")
    .values(status="sent", reason=None, sent_at=func.now(6))
)


async def lease(connection: AsyncConnection, limit: int, seconds: float) -> list[Mail]:
    """Take mails that are due, for so many seconds: then they are due again, whatever became of who took them."""
    rows = await _DUE.rows(connection, limit=limit)
    if rows:
        await _LEASE.execute(connection, ids=[row.id for row in rows], microseconds=_microseconds(seconds))
    return [Mail(row.id, _NOTICE.validate_json(row.notice), row.attempts + 1, row.traceparent) for row in rows]


async def mark_sent(connection: AsyncConnection, mail_id: str) -> None:
    """Note that the mail server has taken a mail; one that was dropped meanwhile stays so."""
    await _SENT.execute(connection, mail_id=mail_id)


async def give_up(connection: AsyncConnection, mail_id: str, status: str, reason: str) -> None:
    """Note that a mail is not sent: `failed` may be tried again by hand, `dropped` is over."""
    await _settle(connection, mail_id, {"status": status, "reason": reason})


async def postpone(connection: AsyncConnection, mail_id: str, pause: timedelta, reason: str) -> None:
    """Have a mail tried again after a pause."""
    await _settle(
        connection,
        mail_id,
        {"due_at": _FROM_NOW.bindparams(microseconds=_microseconds(pause.total_seconds())), "reason": reason},
    )


async def _settle(connection: AsyncConnection, mail_id: str, values: Mapping[str, Any]) -> None:
    """Change a mail that is on its way; one that was dropped meanwhile stays so."""
    await connection.execute(update(mails).where(mails.c.id == mail_id, mails.c.status == "pending").values(values))


async def retry_failed(connection: AsyncConnection) -> int:
    """Have every failed mail tried again from now on; return how many."""
    done = await connection.execute(
        update(mails).where(mails.c.status == "failed").values(status="pending", attempts=0, due_at=func.now(6))
    )
    return int(done.rowcount)


@dataclass(frozen=True, slots=True)
class Failed:
    """A mail that was given up."""

    id: str
    kind: Kind
    reason: str
    attempts: int
    created_at: datetime


async def failed(connection: AsyncConnection, *, after: str | None, limit: int) -> list[Failed]:
    """Return the mails that were given up, in the order of their ids."""
    statement = select(mails).where(mails.c.status == "failed").order_by(mails.c.id).limit(limit)
    if after is not None:
        statement = statement.where(mails.c.id > after)
    return [
        Failed(row.id, cast("Kind", row.kind), row.reason or "", row.attempts, row.created_at.replace(tzinfo=UTC))
        for row in await connection.execute(statement)
    ]


async def counted(connection: AsyncConnection, statuses: Sequence[str]) -> dict[str, int]:
    """Return how many mails are in each of the states."""
    rows: Iterable[Any] = await connection.execute(
        select(mails.c.status, func.count().label("n")).where(mails.c.status.in_(statuses)).group_by(mails.c.status)
    )
    found = {row.status: int(row.n) for row in rows}
    return {status: found.get(status, 0) for status in statuses}


async def waits_since(connection: AsyncConnection) -> datetime | None:
    """Return when the oldest mail that is still to be sent was made, business time; None if none is."""
    found = await connection.scalar(select(func.min(mails.c.created_at)).where(mails.c.status == "pending"))
    return None if found is None else found.replace(tzinfo=UTC)


def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _json(notice: Notice) -> str:
    return _NOTICE.dump_json(notice).decode()
