"""The view `payroll_periods`: the months that payroll has closed.

It is written in the transaction of the close.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from sqlalchemy import Column, Integer, MetaData, SmallInteger, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.projection import Handler, Projection, Upsert, Write, live
from lms.kernel.schema import instant, name, text_name
from lms.requests.events import PeriodClosed

payroll_periods = Table(
    "payroll_periods",
    MetaData(),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("period", name(7), primary_key=True),
    Column("closed_by", text_name(80), nullable=False),
    Column("closed_at", instant(), nullable=False),
    Column("line_count", Integer, nullable=False),
    Column("entitlement_minutes", Integer, nullable=False),
    Column("scheduled_minutes", Integer, nullable=False),
)
"""The last three are the control totals, as the fact names them."""


def _closed(event: PeriodClosed, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(
        payroll_periods,
        {
            "period": event.period,
            "closed_by": event.closed_by,
            "closed_at": envelope.time,
            "line_count": event.line_count,
            "entitlement_minutes": event.entitlement_minutes,
            "scheduled_minutes": event.scheduled_minutes,
        },
    )


class PayrollPeriods(Projection):
    """Every month that was closed, by whom and when."""

    name: ClassVar[str] = "payroll_periods"
    tables: ClassVar[tuple[Table, ...]] = (payroll_periods,)
    handlers: ClassVar[Mapping[type, Handler]] = {PeriodClosed: _closed}


async def closed(connection: AsyncConnection, *, after: str | None, limit: int) -> list[Any]:
    """Return closed months in their order, from behind `after` on."""
    rows = await connection.execute(
        select(payroll_periods)
        .where(live(payroll_periods, PayrollPeriods.name), payroll_periods.c.period > (after or ""))
        .order_by(payroll_periods.c.period)
        .limit(limit)
    )
    return list(rows)


async def find(connection: AsyncConnection, period: str) -> Any | None:
    """Return a closed month; None if it has not been closed."""
    rows = await connection.execute(
        select(payroll_periods).where(live(payroll_periods, PayrollPeriods.name), payroll_periods.c.period == period)
    )
    return rows.first()


async def last_closed(connection: AsyncConnection) -> str | None:
    """Return the last closed month."""
    found = await connection.scalar(
        select(func.max(payroll_periods.c.period)).where(live(payroll_periods, PayrollPeriods.name))
    )
    return None if found is None else str(found)
