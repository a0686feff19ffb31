"""The view `payroll_lines`: every line that payroll was told, for those who pull instead of subscribing.

It is written in the transaction of the confirmation.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from sqlalchemy import (
    VARCHAR,
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    MetaData,
    Select,
    SmallInteger,
    Table,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.pages import behind
from lms.kernel.projection import Handler, Projection, Upsert, Write, live
from lms.kernel.schema import name
from lms.requests.decider.payroll import Booked
from lms.requests.events import AbsenceConfirmed, AbsenceCorrected, AbsenceEvent, AbsenceRevoked

payroll_lines = Table(
    "payroll_lines",
    MetaData(),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("period", name(7), nullable=False),
    Column("original_period", name(7), nullable=True),
    Column("kind", name(10), nullable=False),
    Column("absence_id", name(36), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("leave_type", name(60), nullable=False),
    Column("day", Date, nullable=False),
    Column("part", name(10), nullable=False),
    Column("entitlement_minutes", Integer, nullable=False),
    Column("scheduled_minutes", Integer, nullable=False),
    Column("pay_code", VARCHAR(40), nullable=False),
    Column("paid", Boolean, nullable=False),
    Column("cost_centre", VARCHAR(80), nullable=False),
    Index("payroll_lines_period", "generation", "period", "employee_id", "version", "line"),
)
"""`version` counts an employee's payroll facts, `line` the lines of one; `kind` says which fact it was."""


def _booked(event: AbsenceEvent, envelope: Envelope) -> Iterable[Write]:
    for number, line in enumerate(event.lines, start=1):
        yield Upsert(
            payroll_lines,
            {
                "employee_id": event.employee_id,
                "version": envelope.version,
                "line": number,
                "period": line.period,
                "original_period": line.original_period,
                "kind": event.TYPE.removeprefix("absence."),
                "absence_id": event.absence_id,
                "revision": event.revision,
                "leave_type": event.leave_type,
                "day": line.date,
                "part": line.part,
                "entitlement_minutes": line.entitlement_minutes,
                "scheduled_minutes": line.scheduled_minutes,
                "pay_code": line.pay_code,
                "paid": line.paid,
                "cost_centre": line.cost_centre,
            },
        )


class PayrollLines(Projection):
    """Every line that was ever told to payroll."""

    name: ClassVar[str] = "payroll_lines"
    tables: ClassVar[tuple[Table, ...]] = (payroll_lines,)
    handlers: ClassVar[Mapping[type, Handler]] = {
        AbsenceConfirmed: _booked,
        AbsenceCorrected: _booked,
        AbsenceRevoked: _booked,
    }


async def of_period(
    connection: AsyncConnection, period: str, *, employee_id: str | None, after: tuple[str, int, int] | None, limit: int
) -> list[Any]:
    """Return the lines of a period, of one employee or of all, by employee and in the order in which they were told."""
    key = (payroll_lines.c.employee_id, payroll_lines.c.version, payroll_lines.c.line)
    statement = (
        select(payroll_lines)
        .where(live(payroll_lines, PayrollLines.name), payroll_lines.c.period == period)
        .order_by(*key)
        .limit(limit)
    )
    if employee_id is not None:
        statement = statement.where(payroll_lines.c.employee_id == employee_id)
    if after is not None:
        statement = statement.where(behind(key, after))
    return list(await connection.execute(statement))


async def booked_after(connection: AsyncConnection, period: str | None) -> dict[str, Booked]:
    """Return what is booked in each month behind `period` (None: in every month), the first month first."""
    rows = await connection.execute(
        _booked_by_month()
        .where(payroll_lines.c.period > (period or ""))
        .group_by(payroll_lines.c.period)
        .order_by(payroll_lines.c.period)
    )
    return {row.period: Booked(row.line_count, int(row.entitlement), int(row.scheduled)) for row in rows}


async def booked_in(connection: AsyncConnection, period: str) -> Booked:
    """Return what is booked in a month."""
    row = (
        await connection.execute(
            _booked_by_month().where(payroll_lines.c.period == period).group_by(payroll_lines.c.period)
        )
    ).first()
    return Booked() if row is None else Booked(row.line_count, int(row.entitlement), int(row.scheduled))


async def first_booked(connection: AsyncConnection) -> str | None:
    """Return the first month in which anything is booked."""
    found = await connection.scalar(
        select(func.min(payroll_lines.c.period)).where(live(payroll_lines, PayrollLines.name))
    )
    return None if found is None else str(found)


def _booked_by_month() -> Select[Any]:
    return select(
        payroll_lines.c.period,
        func.count().label("line_count"),
        func.sum(payroll_lines.c.entitlement_minutes).label("entitlement"),
        func.sum(payroll_lines.c.scheduled_minutes).label("scheduled"),
    ).where(live(payroll_lines, PayrollLines.name))
