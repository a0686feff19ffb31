"""The view `leave_types`: what types of leave there are, and what their policies say of when it can be taken."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

import orjson
from sqlalchemy import VARCHAR, Boolean, Column, Date, Index, Integer, SmallInteger, Table, and_, bindparam, select
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Upsert, Write, live
from lms.kernel.schema import name
from lms.kernel.statements import Statement
from lms.requests.decider.chargeable import Unit
from lms.requests.decider.rules import LeaveTerms, PolicyVersion
from lms.requests.projections.employees import metadata
from lms.requests.upstream import LeaveTypeChanged, LeaveTypeDefined, PolicyPublished

leave_types = Table(
    "leave_types",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("leave_type", name(60), primary_key=True),
    Column("name", VARCHAR(80), nullable=False),
    Column("unit", name(10), nullable=False),
    Column("paid", Boolean, nullable=True),
    Column("pay_code", VARCHAR(40), nullable=True),
    Column("needs_approval", Boolean, nullable=False),
    Column("attachment_after_days", Integer, nullable=True),
    Column("min_notice_days", Integer, nullable=False),
    Column("max_length_days", Integer, nullable=True),
    Column("reason_visible_to", VARCHAR(200), nullable=False),
    Column("version", Integer, nullable=False),
)
"""`reason_visible_to` are roles, separated by blanks.

`paid` and `pay_code` are null in rows that an older release wrote, until the view is rebuilt.
"""

policies = Table(
    "policies",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("policy_id", name(60), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("leave_type", name(60), nullable=False),
    Column("effective_from", Date, nullable=False),
    Column("locations", LONGTEXT, nullable=True),
    Column("waiting_period_days", Integer, nullable=False),
    Column("blackouts", LONGTEXT, nullable=False),
    Column("stream_version", Integer, nullable=False),
    Index("policies_leave_type", "generation", "leave_type"),
)
"""Every published version; `locations` (null: everywhere) and `blackouts` (pairs of days) are JSON lists."""


def _terms(event: LeaveTypeDefined | LeaveTypeChanged, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(
        leave_types,
        {
            "leave_type": event.leave_type,
            "name": event.name,
            "unit": event.unit,
            "paid": event.paid,
            "pay_code": event.pay_code,
            "needs_approval": event.needs_approval,
            "attachment_after_days": event.attachment_after_days,
            "min_notice_days": event.min_notice_days,
            "max_length_days": event.max_length_days,
            "reason_visible_to": " ".join(event.reason_visible_to),
            "version": envelope.version,
        },
    )


def _published(event: PolicyPublished, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(
        policies,
        {
            "policy_id": event.policy_id,
            "version": event.version,
            "leave_type": event.leave_type,
            "effective_from": event.effective_from,
            "locations": None if event.locations is None else orjson.dumps(event.locations).decode(),
            "waiting_period_days": event.waiting_period_days,
            "blackouts": orjson.dumps([(one.first_day, one.last_day) for one in event.blackouts]).decode(),
            "stream_version": envelope.version,
        },
    )


class LeaveTypes(Projection):
    """All leave types and all versions of their policies."""

    name: ClassVar[str] = "leave_types"
    tables: ClassVar[tuple[Table, ...]] = (leave_types, policies)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {
        LeaveTypeDefined: _terms,
        LeaveTypeChanged: _terms,
        PolicyPublished: _published,
    }


@dataclass(frozen=True)
class KnownType:
    """A leave type, its policies, and the versions of their streams by name."""

    terms: LeaveTerms
    policies: tuple[PolicyVersion, ...]
    streams: Mapping[str, int]
    attachment_after_days: int | None


FIND = Statement(
    select(
        leave_types,
        policies.c.policy_id,
        policies.c.version.label("policy_version"),
        policies.c.effective_from,
        policies.c.locations,
        policies.c.waiting_period_days,
        policies.c.blackouts,
        policies.c.stream_version,
    )
    .outerjoin(
        policies,
        and_(policies.c.generation == leave_types.c.generation, policies.c.leave_type == leave_types.c.leave_type),
    )
    .where(live(leave_types, LeaveTypes.name), leave_types.c.leave_type == bindparam("leave_type"))
)


PAYMENT = Statement(
    select(leave_types.c.pay_code, leave_types.c.paid, leave_types.c.version).where(
        live(leave_types, LeaveTypes.name),
        leave_types.c.leave_type == bindparam("leave_type"),
        leave_types.c.pay_code.is_not(None),
    )
)
"""`pay_code`, `paid` and `version` of a leave type; no row while its pay code is not known here."""


async def find(connection: AsyncConnection, leave_type: str) -> KnownType | None:
    """Return a leave type with its policies; None if it is not known here."""
    return known(await FIND.rows(connection, leave_type=leave_type), leave_type)


def known(rows: Sequence[Any], leave_type: str) -> KnownType | None:
    """Return what the rows of FIND say of `:leave_type`; None without any."""
    if not rows:
        return None
    row = rows[0]
    published = [one for one in rows if one.policy_id is not None]
    streams = {f"leave-type-{leave_type}": int(row.version)}
    for policy in published:
        stream = f"policy-{policy.policy_id}"
        streams[stream] = max(streams.get(stream, 0), policy.stream_version)
    return KnownType(
        terms=LeaveTerms(
            leave_type=leave_type,
            unit=row.unit,
            needs_approval=bool(row.needs_approval),
            min_notice_days=row.min_notice_days,
            max_length_days=row.max_length_days,
        ),
        policies=tuple(_policy(policy) for policy in published),
        streams=streams,
        attachment_after_days=row.attachment_after_days,
    )


async def units_of(connection: AsyncConnection, slugs: Collection[str]) -> dict[str, Unit]:
    """Return the units of leave types; those that are not known here are left out."""
    rows = await connection.execute(
        select(leave_types.c.leave_type, leave_types.c.unit).where(
            live(leave_types, LeaveTypes.name), leave_types.c.leave_type.in_(sorted(slugs))
        )
    )
    return {row.leave_type: row.unit for row in rows}


async def known_types(connection: AsyncConnection) -> list[str]:
    """Return the slugs of all leave types, in alphabetical order."""
    found = (
        select(leave_types.c.leave_type).where(live(leave_types, LeaveTypes.name)).order_by(leave_types.c.leave_type)
    )
    return list((await connection.execute(found)).scalars())


async def reason_readers(connection: AsyncConnection) -> dict[str, frozenset[str]]:
    """Return for each leave type the roles that may read the reasons of its requests."""
    rows = await connection.execute(
        select(leave_types.c.leave_type, leave_types.c.reason_visible_to).where(live(leave_types, LeaveTypes.name))
    )
    return {row.leave_type: frozenset(row.reason_visible_to.split()) for row in rows}


def _policy(row: Any) -> PolicyVersion:
    return PolicyVersion(
        policy_id=row.policy_id,
        version=row.policy_version,
        effective_from=row.effective_from,
        locations=None if row.locations is None else tuple(orjson.loads(row.locations)),
        waiting_period_days=row.waiting_period_days,
        blackouts=tuple(
            (date.fromisoformat(first), date.fromisoformat(last)) for first, last in orjson.loads(row.blackouts)
        ),
    )
