"""The view `leave_requests`: a row for each revision, of which one is shown as the request.

It is written in the transaction of the command. The table is partitioned by the year of `start_date`, which is why that
date stands in the primary key, and why each revision has a row of its own: a row's dates never change.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar, Literal

import orjson
from pydantic import TypeAdapter
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Date,
    Index,
    Integer,
    MetaData,
    Select,
    SmallInteger,
    Table,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.mysql import LONGTEXT, TIME
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.pages import behind
from lms.kernel.projection import Projection, Update, Upsert, Write, live
from lms.kernel.schema import instant, name, text_name
from lms.kernel.sealed import Sealed
from lms.kernel.statements import Statement
from lms.requests.decider.rules import LONGEST_INTERVAL_DAYS
from lms.requests.events import (
    ChargedDay,
    DayPart,
    LeaveAmended,
    LeaveApprovalRequested,
    LeaveCancellationRequested,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveDecisionLapsed,
    LeaveRecharged,
    LeaveRefused,
    LeaveRequested,
)

Status = Literal["pending", "approved", "rejected", "cancelled", "cancellation-requested"]
Sort = Literal["start_date", "-start_date", "id", "-id"]

ABSENT: tuple[Status, ...] = ("pending", "approved", "cancellation-requested")
"""The states in which somebody is, or may be, absent."""

leave_requests = Table(
    "leave_requests",
    MetaData(),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("request_id", name(36), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("start_date", Date, primary_key=True),
    Column("end_date", Date, nullable=False),
    Column("employee_id", name(36), nullable=False),
    Column("leave_type", name(60), nullable=False),
    Column("start_part", name(10), nullable=False),
    Column("end_part", name(10), nullable=False),
    Column("from_time", TIME, nullable=True),
    Column("to_time", TIME, nullable=True),
    Column("days", LONGTEXT, nullable=False),
    Column("entitlement_minutes", Integer, nullable=False),
    Column("scheduled_minutes", Integer, nullable=False),
    Column("reason", LONGTEXT, nullable=True),
    Column("requested_by", text_name(80), nullable=False),
    Column("recorded_at", instant(), nullable=False),
    Column("status", name(30), nullable=False),
    Column("code", name(60), nullable=True),
    Column("shown", Boolean, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("open_revision", Integer, nullable=True),
    Column("updated_at", instant(), nullable=False),
    Column("version", Integer, nullable=False),
    Index("leave_requests_complex", "generation", "employee_id", "status", "start_date", "end_date"),
    Index("leave_requests_dates", "generation", "start_date", "end_date"),
    Index("leave_requests_status", "generation", "status", "shown", "request_id"),
)
"""`status` of a row that is not shown may also be `superseded` or `replaced`. `settled`, `open_revision`, `updated_at`
and `version` are the whole request's, the same in all of its rows; `version` is the stream's at its last fact."""


def _requested(event: LeaveRequested, envelope: Envelope) -> Iterable[Write]:
    yield _row(event, envelope, shown=True)


def _amended(event: LeaveAmended, envelope: Envelope) -> Iterable[Write]:
    if event.supersedes_revision is not None:
        yield _revision(event.request_id, event.supersedes_revision, status="superseded", shown=False)
    yield _row(event, envelope, shown=event.replaces_revision is None)
    yield _request(event.request_id, envelope, settled=False, open_revision=event.revision)


def _approval_requested(event: LeaveApprovalRequested, envelope: Envelope) -> Iterable[Write]:
    yield _request(event.request_id, envelope, settled=event.needs_approval, open_revision=event.revision)


def _confirmed(event: LeaveConfirmed, envelope: Envelope) -> Iterable[Write]:
    if event.replaces_revision is not None:
        yield _revision(event.request_id, event.replaces_revision, status="replaced", shown=False)
    yield _revision(event.request_id, event.revision, status="approved", shown=True)
    yield _request(event.request_id, envelope, settled=True, open_revision=None)


def _recharged(event: LeaveRecharged, envelope: Envelope) -> Iterable[Write]:
    yield _revision(event.request_id, event.revision, **_charges(event))
    yield Update(
        leave_requests,
        {"request_id": event.request_id},
        {"updated_at": envelope.time, "version": envelope.version},
    )


def _refused(event: LeaveRefused, envelope: Envelope) -> Iterable[Write]:
    yield _revision(event.request_id, event.revision, status="rejected", code=event.code)
    if event.standing_revision is not None:
        yield _revision(event.request_id, event.standing_revision, status="approved", shown=True)
    yield _request(event.request_id, envelope, settled=True, open_revision=None)


def _cancelled(event: LeaveCancelled, envelope: Envelope) -> Iterable[Write]:
    for revision in (event.open_revision, event.confirmed_revision):
        if revision is not None:
            yield _revision(event.request_id, revision, status="cancelled")
    yield _request(event.request_id, envelope, settled=True, open_revision=None)


def _cancellation_requested(event: LeaveCancellationRequested, envelope: Envelope) -> Iterable[Write]:
    yield _revision(event.request_id, event.confirmed_revision, status="cancellation-requested")
    yield _request(event.request_id, envelope, settled=True, open_revision=event.revision)


def _decision_lapsed(event: LeaveDecisionLapsed, envelope: Envelope) -> Iterable[Write]:
    yield Update(
        leave_requests,
        {"request_id": event.request_id},
        {"updated_at": envelope.time, "version": envelope.version},
    )


_DAYS = TypeAdapter(tuple[ChargedDay, ...])


def _row(event: LeaveRequested | LeaveAmended, envelope: Envelope, *, shown: bool) -> Write:
    columns = {
        **_columns(event, envelope, shown=shown),
        **_charges(event),
        "reason": None if event.reason is None else event.reason.model_dump_json(),
    }
    return Upsert(leave_requests, columns)


def _columns(event: LeaveRequested | LeaveAmended, envelope: Envelope, *, shown: bool) -> dict[str, Any]:
    return {
        "request_id": event.request_id,
        "revision": event.revision,
        "start_date": event.start_date,
        "end_date": event.end_date,
        "employee_id": event.employee_id,
        "leave_type": event.leave_type,
        "start_part": event.start_part,
        "end_part": event.end_part,
        "from_time": event.from_time,
        "to_time": event.to_time,
        "reason": event.reason,
        "requested_by": event.requested_by,
        "recorded_at": envelope.time,
        "status": "pending",
        "code": None,
        "shown": shown,
        "settled": False,
        "open_revision": event.revision,
        "updated_at": envelope.time,
        "version": envelope.version,
    }


def _charges(event: LeaveRequested | LeaveAmended | LeaveRecharged) -> dict[str, Any]:
    return {
        "days": _DAYS.dump_json(event.days).decode(),
        "entitlement_minutes": sum(day.entitlement_minutes for day in event.days),
        "scheduled_minutes": sum(day.scheduled_minutes for day in event.days),
    }


def _revision(request_id: str, revision: int, **values: Any) -> Write:
    return Update(leave_requests, {"request_id": request_id, "revision": revision}, values)


def _request(request_id: str, envelope: Envelope, *, settled: bool, open_revision: int | None) -> Write:
    return Update(
        leave_requests,
        {"request_id": request_id},
        {
            "settled": settled,
            "open_revision": open_revision,
            "updated_at": envelope.time,
            "version": envelope.version,
        },
    )


class LeaveRequests(Projection):
    """All requests with their revisions."""

    name: ClassVar[str] = "leave_requests"
    tables: ClassVar[tuple[Table, ...]] = (leave_requests,)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {
        LeaveRequested: _requested,
        LeaveAmended: _amended,
        LeaveApprovalRequested: _approval_requested,
        LeaveConfirmed: _confirmed,
        LeaveRecharged: _recharged,
        LeaveRefused: _refused,
        LeaveCancelled: _cancelled,
        LeaveCancellationRequested: _cancellation_requested,
        LeaveDecisionLapsed: _decision_lapsed,
    }


@dataclass(frozen=True)
class RevisionRow:
    """One revision as the view holds it; amounts in minutes."""

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    start_date: date
    end_date: date
    start_part: DayPart
    end_part: DayPart
    from_time: time | None
    to_time: time | None
    days: tuple[ChargedDay, ...]
    entitlement_minutes: int
    scheduled_minutes: int
    reason: Sealed | None
    requested_by: str
    recorded_at: datetime
    status: Status
    code: str | None
    shown: bool
    settled: bool
    open_revision: int | None
    updated_at: datetime
    version: int

    @property
    def is_all_there_is(self) -> bool:
        """Say whether the request, of which this is the shown revision, shows nothing of any other."""
        return self.revision == 1 and self.open_revision in {None, 1}


@dataclass(frozen=True)
class Criteria:
    """Which requests a list holds; None does not limit. `since` and `until` limit to those that overlap the days."""

    employee_ids: Collection[str] | None = None
    statuses: Collection[str] | None = None
    leave_type: str | None = None
    since: date | None = None
    until: date | None = None


_FEW = 200
"""So few people's requests are read by their index and sorted. Left alone, the database reads everybody's for the sake
of the order, until a page is full: for one person the whole table. That is faster only for many people at once."""


async def find(
    connection: AsyncConnection,
    criteria: Criteria,
    *,
    sort: Sort = "-id",
    after: tuple[Any, ...] | None = None,
    limit: int | None = None,
) -> list[RevisionRow]:
    """Return requests, each as its shown revision. `id` sorts by the instant at which leave was first asked for.

    `after` is the last sort key seen: the start date and the id, or the id alone.
    """
    if criteria.employee_ids is not None and not criteria.employee_ids:
        return []
    key: tuple[ColumnElement[Any], ...] = (leave_requests.c.request_id,)
    if sort.endswith("start_date"):
        key = (leave_requests.c.start_date, leave_requests.c.request_id)
    descending = sort.startswith("-")
    statement = select(leave_requests).where(*_conditions(criteria)).limit(limit)
    if criteria.employee_ids is not None and len(criteria.employee_ids) <= _FEW:
        statement = statement.with_hint(leave_requests, "IGNORE INDEX FOR ORDER BY (PRIMARY)")
    if after is not None:
        statement = statement.where(behind(key, after, descending=descending))
    rows = await connection.execute(statement.order_by(*(one.desc() if descending else one for one in key)))
    return [_read(dict(row._mapping)) for row in rows]  # noqa: SLF001  # its public name


def first_row(event: LeaveRequested, envelope: Envelope) -> RevisionRow:
    """Return a request that was just made as the view holds it, without reading the view."""
    return RevisionRow(**_columns(event, envelope, shown=True), **(_charges(event) | {"days": event.days}))


async def revisions_of(connection: AsyncConnection, request_id: str) -> list[RevisionRow]:
    """Return all revisions of a request, oldest first; none for a request that does not exist."""
    return (await histories(connection, [request_id])).get(request_id, [])


_HISTORIES = Statement(
    select(leave_requests)
    .where(
        live(leave_requests, LeaveRequests.name),
        leave_requests.c.request_id.in_(bindparam("request_ids", expanding=True)),
    )
    .order_by(leave_requests.c.revision)
)


async def histories(connection: AsyncConnection, request_ids: Collection[str]) -> dict[str, list[RevisionRow]]:
    """Return all revisions of several requests, oldest first."""
    if not request_ids:
        return {}
    found: dict[str, list[RevisionRow]] = {}
    for row in await _HISTORIES.rows(connection, request_ids=request_ids):
        found.setdefault(row.request_id, []).append(_read(row._asdict()))
    return found


async def absent_among(
    connection: AsyncConnection, people: Collection[str], first: date | None, last: date | None
) -> list[str]:
    """Return which of a few people are or may be absent on any day from `first` to `last`, in the order of their ids.

    None: from ever, for ever.
    """
    employee_id = leave_requests.c.employee_id
    found = select(employee_id).distinct().where(*_absent(first, last), employee_id.in_(sorted(people)))
    return list((await connection.execute(found.order_by(employee_id))).scalars())


async def count_absent(connection: AsyncConnection, people: Select[Any], first: date | None, last: date | None) -> int:
    """Return how many of `people`, a query for ids, are or may be absent on any of these days."""
    employee_id = leave_requests.c.employee_id
    found = select(func.count(employee_id.distinct())).where(*_absent(first, last), employee_id.in_(people))
    return int(await connection.scalar(found) or 0)


def _absent(first: date | None, last: date | None) -> list[ColumnElement[bool]]:
    columns = leave_requests.c
    conditions = [live(leave_requests, LeaveRequests.name), columns.status.in_(ABSENT)]
    if first is not None:
        # No leave is longer: this bound lets the database leave out the partitions of earlier years.
        earliest = first - timedelta(days=LONGEST_INTERVAL_DAYS)
        conditions += [columns.end_date >= first, columns.start_date > earliest]
    if last is not None:
        conditions.append(columns.start_date <= last)
    return conditions


def shown_of(revisions: Sequence[RevisionRow]) -> RevisionRow:
    """Return the revision that is shown as the request."""
    return next(one for one in revisions if one.shown)


def _conditions(criteria: Criteria) -> list[ColumnElement[bool]]:
    columns = leave_requests.c
    conditions = [live(leave_requests, LeaveRequests.name), columns.shown.is_(True)]
    if criteria.employee_ids is not None:
        conditions.append(columns.employee_id.in_(sorted(criteria.employee_ids)))
    if criteria.statuses is not None:
        conditions.append(or_(*(columns.status == status for status in criteria.statuses)))
    if criteria.leave_type is not None:
        conditions.append(columns.leave_type == criteria.leave_type)
    if criteria.since is not None:
        conditions.append(columns.end_date >= criteria.since)
        # No leave is longer: this bound lets the database leave out the partitions of earlier years.
        conditions.append(columns.start_date > criteria.since - timedelta(days=LONGEST_INTERVAL_DAYS))
    if criteria.until is not None:
        conditions.append(columns.start_date <= criteria.until)
    return conditions


def _read(fields: dict[str, Any]) -> RevisionRow:
    del fields["generation"]
    fields["days"] = tuple(ChargedDay.model_validate(day) for day in orjson.loads(fields["days"]))
    fields["reason"] = None if fields["reason"] is None else Sealed.model_validate_json(fields["reason"])
    fields["shown"] = bool(fields["shown"])
    fields["settled"] = bool(fields["settled"])
    fields["recorded_at"] = fields["recorded_at"].replace(tzinfo=UTC)
    fields["updated_at"] = fields["updated_at"].replace(tzinfo=UTC)
    return RevisionRow(**fields)
