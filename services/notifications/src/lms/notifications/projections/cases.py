"""The view `cases`: who is asked about a revision, and who decided."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, ClassVar, Literal, cast

import orjson
from sqlalchemy import Column, Date, Index, Integer, MetaData, SmallInteger, Table, bindparam, func, select
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Update, Upsert, Write, live
from lms.kernel.schema import name
from lms.kernel.statements import Statement
from lms.notifications.decider import Asked, Waiting, asked_people
from lms.notifications.store import inbox
from lms.notifications.upstream import (
    CaseClosed,
    CaseOpened,
    CaseReassigned,
    LeaveApproved,
    LeaveRejected,
    StepApproved,
)

cases = Table(
    "cases",
    MetaData(),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("request_id", name(36), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), nullable=False),
    Column("leave_type", name(60), nullable=False),
    Column("kind", name(20), nullable=False),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("assignees", LONGTEXT, nullable=False),
    Column("group_name", name(20)),
    Column("status", name(10), nullable=False),
    Column("decided_by", name(80)),
    Index("cases_status", "generation", "status"),
)


def _where(event: Any) -> dict[str, Any]:
    return {"request_id": event.request_id, "revision": event.revision}


def _asks(event: CaseOpened | CaseReassigned | StepApproved) -> dict[str, Any]:
    return {"assignees": orjson.dumps(event.assignees).decode(), "group_name": event.group}


def _opened(event: CaseOpened, _envelope: Envelope) -> Iterable[Write]:
    row = {
        "employee_id": event.employee_id,
        "leave_type": event.leave_type,
        "kind": event.kind,
        "first_day": event.start_date,
        "last_day": event.end_date,
        "status": "open",
    }
    yield Upsert(cases, {**_where(event), **row, **_asks(event)})


def _passed_on(event: CaseReassigned | StepApproved, _envelope: Envelope) -> Iterable[Write]:
    yield Update(cases, _where(event), _asks(event))


def _decided(event: LeaveApproved | LeaveRejected, _envelope: Envelope) -> Iterable[Write]:
    yield Update(cases, _where(event), {"status": "over", "decided_by": event.decided_by})


def _closed(event: CaseClosed, _envelope: Envelope) -> Iterable[Write]:
    yield Update(cases, _where(event), {"status": "over"})


class Cases(Projection):
    """All cases, also those that are over."""

    name: ClassVar[str] = "cases"
    tables: ClassVar[tuple[Table, ...]] = (cases,)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {
        CaseOpened: _opened,
        CaseReassigned: _passed_on,
        StepApproved: _passed_on,
        LeaveApproved: _decided,
        LeaveRejected: _decided,
        CaseClosed: _closed,
    }


@dataclass(frozen=True, slots=True)
class Case:
    """A case: what is asked for, of whom, and who decided."""

    request_id: str
    revision: int
    employee_id: str
    asked: Asked
    assignees: tuple[str, ...]
    group: str | None
    decided_by: str | None


_CASE = Statement(
    select(cases).where(
        live(cases, Cases.name),
        cases.c.request_id == bindparam("request_id"),
        cases.c.revision == bindparam("revision"),
    )
)


async def case_of(connection: AsyncConnection, request_id: str, revision: int) -> Case | None:
    """Return the case of a revision."""
    rows = await _CASE.rows(connection, request_id=request_id, revision=revision)
    return _read(rows[0]) if rows else None


async def waiting_for_approvers(connection: AsyncConnection, in_hr: Collection[str]) -> list[Waiting]:
    """Return every open case, for each of those who are asked now and were told; since when, the inbox says."""
    rows = await connection.execute(
        select(cases, inbox.c.employee_id.label("approver"), func.min(inbox.c.created_at).label("since"))
        .join(
            inbox,
            (inbox.c.request_id == cases.c.request_id)
            & (inbox.c.revision == cases.c.revision)
            & (inbox.c.kind == "approval-asked"),
        )
        .where(live(cases, Cases.name), cases.c.status == "open")
        .group_by(*cases.c, inbox.c.employee_id)
        .order_by(inbox.c.employee_id, cases.c.request_id, cases.c.revision)
    )
    found = []
    for row in rows:
        case = _read(row)
        if row.approver in asked_people(case.assignees, case.group, in_hr):
            since = row.since.replace(tzinfo=UTC)
            found.append(Waiting(row.approver, case.request_id, case.revision, case.employee_id, case.asked, since))
    return found


def _read(row: Any) -> Case:
    kind = cast("Literal['leave', 'cancellation']", row.kind)
    return Case(
        request_id=row.request_id,
        revision=row.revision,
        employee_id=row.employee_id,
        asked=Asked(row.leave_type, row.first_day, row.last_day, kind),
        assignees=tuple(orjson.loads(row.assignees)),
        group=row.group_name,
        decided_by=row.decided_by,
    )
