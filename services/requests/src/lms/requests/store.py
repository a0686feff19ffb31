"""The claim row of payroll's calendar, and the work list of leave that is charged anew.

The claim row says up to which month payroll is closed. Whoever books holds it shared, whoever closes a month holds it
alone, both until their transactions end. So a month that was open when somebody booked in it is open until the booking
is committed; and a close comes after all that was booked before it, in the log, in the outbox and so in every
partition, and before all that is booked after it.

The row is taken after the leave book's facts are appended and before payroll's, by a close after the views are held
(`UnitOfWork.hold_views`): in one order, so that nobody waits in a circle.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Column, Integer, MetaData, Table, select, update
from sqlalchemy.dialects.mysql import LONGTEXT, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.schema import instant, name
from lms.kernel.statements import Statement
from lms.requests.decider.payroll import MONTHLY
from lms.requests.decider.recharging import Changed
from lms.requests.events import RechargeCause

metadata = MetaData()

payroll_calendars = Table(
    "payroll_calendars",
    metadata,
    Column("calendar", name(20), primary_key=True),
    Column("last_closed", name(7), nullable=True),
)
"""`last_closed` is a month (`2026-07`), null while none is closed; the migration makes the one row there is."""

recharge_runs = Table(
    "recharge_runs",
    metadata,
    Column("change_id", name(36), primary_key=True),
    Column("cause", name(10), nullable=False),
    Column("subject", name(10), nullable=False),
    Column("subject_id", name(36), nullable=False),
    Column("dates", LONGTEXT, nullable=True),
    Column("last_employee_id", name(36), nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("started_at", instant(), nullable=False),
    Column("finished_at", instant(), nullable=True),
)
"""`change_id` is the id of the directory's event; `dates` is a JSON list, null for all dates."""

_LAST_CLOSED = select(payroll_calendars.c.last_closed).where(payroll_calendars.c.calendar == MONTHLY)
_HOLD = Statement(_LAST_CLOSED.with_for_update(read=True))
_HOLD_ALONE = Statement(_LAST_CLOSED.with_for_update())


async def last_closed(connection: AsyncConnection) -> str | None:
    """Return the last closed month, for whoever only looks."""
    found: str | None = await connection.scalar(_LAST_CLOSED)
    return found


async def hold_calendar(connection: AsyncConnection, *, alone: bool = False) -> str | None:
    """Hold the calendar until the transaction ends; return the last closed month."""
    (row,) = await (_HOLD_ALONE if alone else _HOLD).rows(connection)
    return None if row.last_closed is None else str(row.last_closed)


async def move_calendar(connection: AsyncConnection, last_closed: str) -> None:
    """Write down the last closed month; the caller holds the calendar alone."""
    await connection.execute(
        update(payroll_calendars).where(payroll_calendars.c.calendar == MONTHLY).values(last_closed=last_closed)
    )


@dataclass(frozen=True)
class Change:
    """A fact of the directory that may change what leave of many people costs; `change_id` is the event's id."""

    change_id: str
    cause: RechargeCause
    subject: Literal["calendar", "location"]
    subject_id: str
    changed: Changed

    @property
    def first(self) -> date | None:
        """The first day that may have changed; None: every day may."""
        return min(self.changed.dates) if self.changed.dates else self.changed.since

    @property
    def last(self) -> date | None:
        """The last day that may have changed; None: there is none."""
        return max(self.changed.dates) if self.changed.dates else None


@dataclass(frozen=True)
class RechargeRun:
    """The leave of `done` of about `total` people, in the order of their ids, is charged anew after a change."""

    change: Change
    last_employee_id: str
    done: int
    total: int
    started_at: datetime


async def enter_run(connection: AsyncConnection, change: Change, total: int, now: datetime) -> None:
    """Enter a change in the work list; one that is there already stays as it is."""
    dates = change.changed.dates
    statement = insert(recharge_runs).values(
        change_id=change.change_id,
        cause=change.cause,
        subject=change.subject,
        subject_id=change.subject_id,
        dates=None if dates is None else orjson.dumps(sorted(dates)).decode(),
        last_employee_id="",
        done=0,
        total=total,
        started_at=now.replace(tzinfo=None),
        finished_at=None,
    )
    await connection.execute(statement.on_duplicate_key_update(change_id=statement.inserted.change_id))


async def open_runs(connection: AsyncConnection) -> list[RechargeRun]:
    """Return the runs that have not finished, oldest first."""
    at = recharge_runs.c
    rows = await connection.execute(
        select(recharge_runs).where(at.finished_at.is_(None)).order_by(at.started_at, at.change_id)
    )
    return [_run(row) for row in rows]


async def advance_run(connection: AsyncConnection, change_id: str, employee_id: str, count: int) -> None:
    """Note that a run is done for `count` more people, up to `employee_id`."""
    at = recharge_runs.c
    await connection.execute(
        update(recharge_runs)
        .where(at.change_id == change_id, at.last_employee_id < employee_id)
        .values(last_employee_id=employee_id, done=at.done + count)
    )


async def finish_run(connection: AsyncConnection, change_id: str, now: datetime) -> None:
    """Note that nobody is left to do."""
    await connection.execute(
        update(recharge_runs).where(recharge_runs.c.change_id == change_id).values(finished_at=now.replace(tzinfo=None))
    )


def _run(row: Any) -> RechargeRun:
    dates: Iterable[str] | None = None if row.dates is None else orjson.loads(row.dates)
    changed = Changed(dates=None if dates is None else frozenset(date.fromisoformat(day) for day in dates))
    change = Change(row.change_id, row.cause, row.subject, row.subject_id, changed)
    return RechargeRun(change, row.last_employee_id, row.done, row.total, row.started_at)
