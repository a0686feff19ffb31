"""The claim row of payroll's calendar: up to which month it is closed.

Whoever books holds the row shared, whoever closes a month holds it alone, both until their transactions end. So a
month that was open when somebody booked in it is open until the booking is committed; and a close comes after all that
was booked before it, in the log, in the outbox and so in every partition, and before all that is booked after it.

The row is taken after the leave book's facts are appended and before payroll's, by a close after the views are held
(`UnitOfWork.hold_views`): in one order, so that nobody waits in a circle.
"""

from sqlalchemy import Column, MetaData, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.schema import name
from lms.kernel.statements import Statement
from lms.requests.decider.payroll import MONTHLY

metadata = MetaData()

payroll_calendars = Table(
    "payroll_calendars",
    metadata,
    Column("calendar", name(20), primary_key=True),
    Column("last_closed", name(7), nullable=True),
)
"""`last_closed` is a month (`2026-07`), null while none is closed; the migration makes the one row there is."""

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
