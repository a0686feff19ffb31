"""The view `revisions`: what each revision of a request asks for, from the leave book."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from sqlalchemy import Column, Date, Integer, MetaData, SmallInteger, Table, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Upsert, Write, live
from lms.kernel.schema import name
from lms.kernel.statements import Statement
from lms.notifications.decider import Asked
from lms.notifications.upstream import LeaveAmended, LeaveApprovalRequested, LeaveRequested

revisions = Table(
    "revisions",
    MetaData(),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("request_id", name(36), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("leave_type", name(60), nullable=False),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
)


def _asked(event: LeaveRequested | LeaveAmended | LeaveApprovalRequested, _envelope: Envelope) -> Iterable[Write]:
    row = {"leave_type": event.leave_type, "first_day": event.start_date, "last_day": event.end_date}
    yield Upsert(revisions, {"request_id": event.request_id, "revision": event.revision, **row})


class Revisions(Projection):
    """All revisions, also those that are over."""

    name: ClassVar[str] = "revisions"
    tables: ClassVar[tuple[Table, ...]] = (revisions,)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {
        LeaveRequested: _asked,
        LeaveAmended: _asked,
        LeaveApprovalRequested: _asked,
    }


_ASKED = Statement(
    select(revisions)
    .where(
        live(revisions, Revisions.name),
        revisions.c.request_id == bindparam("request_id"),
        revisions.c.revision <= bindparam("revision"),
    )
    .order_by(revisions.c.revision.desc())
    .limit(1)
)


async def asked_for(connection: AsyncConnection, request_id: str, revision: int) -> Asked | None:
    """Return what a revision asks for; of one that the leave book has not told, what the request asked for last.

    Revisions that only end a request (a cancellation) name no days of their own.
    """
    rows = await _ASKED.rows(connection, request_id=request_id, revision=revision)
    return Asked(rows[0].leave_type, rows[0].first_day, rows[0].last_day) if rows else None
