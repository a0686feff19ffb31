"""The view `approver_inbox`: every case with those who are asked, written in the command's own transaction."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Literal

from sqlalchemy import (
    Column,
    Date,
    Index,
    Integer,
    MetaData,
    Select,
    SmallInteger,
    Table,
    and_,
    func,
    select,
    union,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.approvals.decider import HR
from lms.approvals.events import (
    CaseClosed,
    CaseOpened,
    CaseReassigned,
    CaseRecharged,
    Kind,
    LeaveApproved,
    LeaveRejected,
    StepApproved,
)
from lms.kernel.event import Envelope
from lms.kernel.pages import behind
from lms.kernel.projection import Delete, Projection, Update, Upsert, Write, live
from lms.kernel.schema import instant, name

Status = Literal["pending", "approved", "rejected", "superseded", "cancelled", "lapsed"]

metadata = MetaData()

cases = Table(
    "approval_cases",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("request_id", name(36), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("employee_id", name(36), nullable=False),
    Column("leave_type", name(60), nullable=False),
    Column("kind", name(20), nullable=False),
    Column("start_date", Date, nullable=False),
    Column("end_date", Date, nullable=False),
    Column("days_minutes", Integer, nullable=False),
    Column("group_name", name(20), nullable=True),
    Column("status", name(20), nullable=False),
    Column("decided_by", name(80), nullable=True),
    Column("on_behalf_of", name(36), nullable=True),
    Column("opened_at", instant(), nullable=False),
    Column("updated_at", instant(), nullable=False),
    Index("approval_cases_opened", "generation", "status", "opened_at", "request_id", "revision"),
    Index("approval_cases_employee", "generation", "employee_id", "status"),
    Index("approval_cases_decided_by", "generation", "decided_by"),
    Index("approval_cases_group", "generation", "group_name", "status"),
)
"""`group_name` is the group that is, or was last, asked. `decided_by` is who ended the case, null for nobody."""

assignees = Table(
    "approval_assignees",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("request_id", name(36), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("assignee_id", name(36), primary_key=True),
    Index("approval_assignees_assignee", "generation", "assignee_id"),
)
"""Who is, or was last, asked in person."""


def _opened(event: CaseOpened, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(
        cases,
        {
            "request_id": event.request_id,
            "revision": event.revision,
            "employee_id": event.employee_id,
            "leave_type": event.leave_type,
            "kind": event.kind,
            "start_date": event.start_date,
            "end_date": event.end_date,
            "days_minutes": event.days_minutes,
            "group_name": event.group,
            "status": "pending",
            "decided_by": None,
            "on_behalf_of": None,
            "opened_at": envelope.time,
            "updated_at": envelope.time,
        },
    )
    yield from _asked(event)


def _passed_on(event: CaseReassigned | StepApproved, envelope: Envelope) -> Iterable[Write]:
    yield _case(event, envelope, group_name=event.group)
    yield Delete(assignees, {"request_id": event.request_id, "revision": event.revision})
    yield from _asked(event)


def _recharged(event: CaseRecharged, envelope: Envelope) -> Iterable[Write]:
    yield _case(event, envelope, days_minutes=event.days_minutes)


def _approved(event: LeaveApproved, envelope: Envelope) -> Iterable[Write]:
    yield _case(event, envelope, status="approved", decided_by=event.decided_by, on_behalf_of=event.on_behalf_of)


def _rejected(event: LeaveRejected, envelope: Envelope) -> Iterable[Write]:
    yield _case(event, envelope, status="rejected", decided_by=event.decided_by, on_behalf_of=event.on_behalf_of)


def _closed(event: CaseClosed, envelope: Envelope) -> Iterable[Write]:
    yield _case(event, envelope, status=event.cause)


def _asked(event: CaseOpened | CaseReassigned | StepApproved) -> Iterable[Write]:
    for assignee in event.assignees:
        yield Upsert(assignees, {"request_id": event.request_id, "revision": event.revision, "assignee_id": assignee})


def _case(
    event: CaseReassigned | CaseRecharged | StepApproved | LeaveApproved | LeaveRejected | CaseClosed,
    envelope: Envelope,
    **values: Any,
) -> Write:
    where = {"request_id": event.request_id, "revision": event.revision}
    return Update(cases, where, {**values, "updated_at": envelope.time})


class ApproverInbox(Projection):
    """All cases, also those that are over."""

    name: ClassVar[str] = "approver_inbox"
    tables: ClassVar[tuple[Table, ...]] = (cases, assignees)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {
        CaseOpened: _opened,
        CaseReassigned: _passed_on,
        CaseRecharged: _recharged,
        StepApproved: _passed_on,
        LeaveApproved: _approved,
        LeaveRejected: _rejected,
        CaseClosed: _closed,
    }


@dataclass(frozen=True)
class CaseRow:
    """A case as the view holds it; `days_minutes` are entitlement minutes."""

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    kind: Kind
    start_date: date
    end_date: date
    days_minutes: int
    group_name: str | None
    status: Status
    decided_by: str | None
    on_behalf_of: str | None
    opened_at: datetime
    updated_at: datetime
    assignees: tuple[str, ...] = ()


@dataclass(frozen=True)
class Viewer:
    """Who looks: their id, whether they belong to HR, and for whom they stand in today."""

    id: str
    in_hr: bool
    stands_in_for: frozenset[str]

    def concerned_by(self, row: CaseRow) -> bool:
        """Say whether the case may be known to the viewer: it is theirs to decide, was, or is about their own leave.

        Of whoever they stand in for only what is open: a stand-in of one day is not shown the decisions of years.
        """
        return (
            self.id in {row.employee_id, row.decided_by, *row.assignees}
            or (self.in_hr and row.group_name == HR)
            or (row.status == "pending" and not self.stands_in_for.isdisjoint(row.assignees))
        )


async def newest(connection: AsyncConnection, request_id: str) -> CaseRow | None:
    """Return the case of the newest revision of a request that was put to decision."""
    rows = await connection.execute(
        select(cases)
        .where(live(cases, ApproverInbox.name), cases.c.request_id == request_id)
        .order_by(cases.c.revision.desc())
        .limit(1)
    )
    return next(iter(await _with_assignees(connection, list(rows))), None)


async def inbox(
    connection: AsyncConnection,
    viewer: Viewer,
    *,
    statuses: Collection[Status] | None = None,
    after: tuple[datetime, str, int] | None = None,
    limit: int,
) -> list[CaseRow]:
    """Return the cases that are, or were, the viewer's to decide, in the order of opening; never their own leave.

    Where they only stand in: those that are open, and what they decided themselves. It begins with the viewer's own
    cases, each kind by its index: what others have to decide costs nothing.
    """
    key = (cases.c.opened_at, cases.c.request_id, cases.c.revision)
    wanted = [] if statuses is None else [cases.c.status.in_(sorted(statuses))]
    theirs = [_put_before({viewer.id})]
    if viewer.stands_in_for and (statuses is None or "pending" in statuses):
        theirs.append(_waiting_for(viewer.stands_in_for))
    own = select(cases.c.request_id, cases.c.revision).where(live(cases, ApproverInbox.name), *wanted)
    if statuses is None or statuses != {"pending"}:
        theirs.append(own.where(cases.c.decided_by == viewer.id))
    if viewer.in_hr:
        theirs.append(own.where(cases.c.group_name == HR))
    statement = (
        _among(*theirs)
        .where(live(cases, ApproverInbox.name), cases.c.employee_id != viewer.id, *wanted)
        .order_by(*key)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(behind(key, after))
    return await _with_assignees(connection, list(await connection.execute(statement)))


async def open_cases(connection: AsyncConnection, concerning: Collection[str] | None = None) -> list[CaseRow]:
    """Return the open cases, or only those that people asked for or are asked about."""
    open_ = (live(cases, ApproverInbox.name), cases.c.status == "pending")
    statement = select(cases).where(*open_)
    if concerning is not None:
        people = sorted(concerning)
        statement = _among(
            select(cases.c.request_id, cases.c.revision).where(*open_, cases.c.employee_id.in_(people)),
            _put_before(people),
        ).where(*open_)
    rows = await connection.execute(statement.order_by(cases.c.request_id, cases.c.revision))
    return [_read(row, ()) for row in rows]


def _put_before(people: Collection[str]) -> Select[Any]:
    """Return which cases, by their key, any of the people is asked about in person, or was last."""
    return select(assignees.c.request_id, assignees.c.revision).where(
        live(assignees, ApproverInbox.name), assignees.c.assignee_id.in_(sorted(people))
    )


def _waiting_for(people: Collection[str]) -> Select[Any]:
    """Return which open cases, by their key, any of the people is asked about in person."""
    same = and_(cases.c.request_id == assignees.c.request_id, cases.c.revision == assignees.c.revision)
    theirs = _put_before(people).join(cases, same)
    return theirs.where(live(cases, ApproverInbox.name), cases.c.status == "pending")


def _among(*keys: Select[Any]) -> Select[Any]:
    """Return the cases with any of these keys. Each query finds its keys by an index; an OR of them would use none."""
    found = union(*keys).subquery()
    return select(cases).join(
        found, and_(found.c.request_id == cases.c.request_id, found.c.revision == cases.c.revision)
    )


async def waiting(connection: AsyncConnection) -> tuple[int, datetime | None]:
    """Return how many cases wait for a decision, and since when the first of them does."""
    found = await connection.execute(
        select(func.count(), func.min(cases.c.opened_at)).where(
            live(cases, ApproverInbox.name), cases.c.status == "pending"
        )
    )
    count, since = found.one()
    return int(count), None if since is None else since.replace(tzinfo=UTC)


async def _with_assignees(connection: AsyncConnection, rows: list[Any]) -> list[CaseRow]:
    if not rows:
        return []
    found = await connection.execute(
        select(assignees)
        .where(
            live(assignees, ApproverInbox.name),
            assignees.c.request_id.in_(sorted({row.request_id for row in rows})),
        )
        .order_by(assignees.c.assignee_id)
    )
    asked: dict[tuple[str, int], list[str]] = {}
    for row in found:
        asked.setdefault((row.request_id, row.revision), []).append(row.assignee_id)
    return [_read(row, tuple(asked.get((row.request_id, row.revision), ()))) for row in rows]


def _read(row: Any, asked: tuple[str, ...]) -> CaseRow:
    fields = {key: value for key, value in row._mapping.items() if key != "generation"}  # noqa: SLF001  # its public name
    fields["opened_at"] = row.opened_at.replace(tzinfo=UTC)
    fields["updated_at"] = row.updated_at.replace(tzinfo=UTC)
    return CaseRow(**fields, assignees=asked)
