"""The ledger: every signed, dated entry of every account, in the order of its recording."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, ClassVar

from sqlalchemy import Boolean, Column, Date, Index, Integer, MetaData, SmallInteger, Table, select
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.balances.events import (
    AccountEvent,
    BalanceAdjusted,
    BalanceCarriedOver,
    BalanceCredited,
    BalanceDebited,
    BalanceExpired,
    BalanceGrantCorrected,
    BalanceGranted,
    BalanceRecharged,
    BalanceReleased,
    BalanceReserved,
    LedgerEntry,
)
from lms.kernel.event import Envelope
from lms.kernel.pages import behind
from lms.kernel.projection import Projection, Upsert, Write, live
from lms.kernel.schema import instant, name

_metadata = MetaData()

ledger_entries = Table(
    "ledger_entries",
    _metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("leave_type", name(60), nullable=False),
    Column("kind", name(20), nullable=False),
    Column("date", Date, nullable=False),
    Column("minutes", Integer, nullable=False),
    Column("lot_id", name(120), nullable=True),
    Column("request_id", name(36), nullable=True),
    Column("revision", Integer, nullable=True),
    Column("policy_id", name(60), nullable=True),
    Column("policy_version", Integer, nullable=True),
    Column("correction", Boolean, nullable=False),
    Column("reason", LONGTEXT, nullable=True),
    Column("rests_on", LONGTEXT, nullable=True),
    Column("event_id", name(36), nullable=False),
    Column("causation_id", name(128), nullable=False),
    Column("actor", name(80), nullable=True),
    Column("recorded_at", instant(), nullable=False),
    Index("ledger_entries_type", "generation", "employee_id", "leave_type", "version", "line"),
)


def lines(event: AccountEvent) -> list[tuple[str, LedgerEntry]]:  # noqa: C901, PLR0911  # one arm for each fact
    """Return the entries of a fact with their kinds. Their sum up to a date is the balance on that date."""
    match event:
        case BalanceGranted():
            entry = LedgerEntry(lot_id=event.lot_id, date=event.effective_date, minutes=event.minutes)
            return [(event.kind, entry)]
        case BalanceGrantCorrected():
            entry = LedgerEntry(lot_id=event.lot_id, date=event.effective_date, minutes=event.minutes)
            return [("adjustment", entry)]
        case BalanceExpired():
            return [("expiry", LedgerEntry(lot_id=event.lot_id, date=event.date, minutes=-event.minutes))]
        case BalanceDebited():
            released = [("release", one) for one in event.released]
            return released + [("debit", one) for one in event.entries]
        case BalanceReserved():
            return [("reservation", one) for one in event.entries]
        case BalanceReleased():
            return [("release", one) for one in event.entries]
        case BalanceRecharged():
            back, anew = ("credit", "debit") if event.booking == "debit" else ("release", "reservation")
            return [(back if one.minutes > 0 else anew, one) for one in event.entries]
        case BalanceCredited():
            return [("credit", one) for one in event.entries]
        case BalanceCarriedOver():
            return [("carry-over", one) for one in event.entries]
        case BalanceAdjusted():
            return [("adjustment", one) for one in event.entries]
        case _:
            return []


def _write(event: Any, envelope: Envelope) -> Iterable[Write]:
    reason = getattr(event, "reason", None)
    rests_on = getattr(event, "rests_on", None)
    for line, (kind, entry) in enumerate(lines(event)):
        yield Upsert(
            ledger_entries,
            {
                "employee_id": event.employee_id,
                "version": envelope.version,
                "line": line,
                "leave_type": event.leave_type,
                "kind": kind,
                "date": entry.date,
                "minutes": entry.minutes,
                "lot_id": entry.lot_id,
                "request_id": getattr(event, "request_id", None),
                "revision": getattr(event, "revision", None),
                "policy_id": getattr(event, "policy_id", None),
                "policy_version": getattr(event, "policy_version", None),
                "correction": isinstance(event, BalanceRecharged) or getattr(event, "correction", False),
                "reason": reason.model_dump_json() if reason is not None else None,
                "rests_on": _json(rests_on) if rests_on else None,
                "event_id": envelope.event_id,
                "causation_id": envelope.causation_id,
                "actor": envelope.actor,
                "recorded_at": envelope.time.replace(tzinfo=None),
            },
        )


def _json(rests_on: Iterable[Any]) -> str:
    return "[" + ",".join(one.model_dump_json() for one in rests_on) + "]"


class Ledger(Projection):
    """The view `ledger`."""

    name: ClassVar[str] = "ledger"
    tables: ClassVar[tuple[Table, ...]] = (ledger_entries,)
    handlers: ClassVar[Mapping[type[Any], Callable[[Any, Envelope], Iterable[Write]]]] = {
        BalanceGranted: _write,
        BalanceGrantCorrected: _write,
        BalanceCarriedOver: _write,
        BalanceExpired: _write,
        BalanceReserved: _write,
        BalanceReleased: _write,
        BalanceDebited: _write,
        BalanceCredited: _write,
        BalanceRecharged: _write,
        BalanceAdjusted: _write,
    }


async def entries_of(
    connection: AsyncConnection,
    employee_id: str,
    leave_type: str,
    *,
    after: tuple[int, int] | None = None,
    from_date: date | None = None,
    to_date: date | None = None,
    limit: int | None = None,
) -> list[Row[Any]]:
    """Return entries of one account in the order of their recording, after (version, line)."""
    at = ledger_entries.c
    query = select(ledger_entries).where(
        live(ledger_entries, Ledger.name), at.employee_id == employee_id, at.leave_type == leave_type
    )
    if after is not None:
        query = query.where(behind((at.version, at.line), after))
    if from_date is not None:
        query = query.where(at.date >= from_date)
    if to_date is not None:
        query = query.where(at.date <= to_date)
    return list((await connection.execute(query.order_by(at.version, at.line).limit(limit))).all())
