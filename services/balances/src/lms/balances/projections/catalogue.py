"""Leave types and policy versions, written with their events: what every decision about an account rests on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import Column, Date, Integer, MetaData, SmallInteger, Table, bindparam, func, select
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.balances.decider.rulebook import Rulebook
from lms.balances.events import LeaveTypeChanged, LeaveTypeDefined, LeaveTypeTerms, PolicyPublished
from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Upsert, Write, live
from lms.kernel.schema import instant, name
from lms.kernel.statements import Call, Result, Statement, together

_metadata = MetaData()

leave_types = Table(
    "leave_types",
    _metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("leave_type", name(60), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("terms", LONGTEXT, nullable=False),
)
policy_versions = Table(
    "policy_versions",
    _metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("policy_id", name(60), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("leave_type", name(60), nullable=False),
    Column("effective_from", Date, nullable=False),
    Column("terms", LONGTEXT, nullable=False),
    Column("recorded_at", instant(), nullable=False),
)


def _leave_type(event: LeaveTypeDefined | LeaveTypeChanged, envelope: Envelope) -> Iterable[Write]:
    terms = LeaveTypeTerms.model_validate(event.model_dump(exclude={"leave_type"}))
    row = {"leave_type": event.leave_type, "version": envelope.version, "terms": terms.model_dump_json()}
    return (Upsert(leave_types, row),)


def _policy(event: PolicyPublished, envelope: Envelope) -> Iterable[Write]:
    row = {
        "policy_id": event.policy_id,
        "version": event.version,
        "leave_type": event.leave_type,
        "effective_from": event.effective_from,
        "terms": event.model_dump_json(),
        "recorded_at": envelope.time.replace(tzinfo=None),
    }
    return (Upsert(policy_versions, row),)


class Catalogue(Projection):
    """The view `catalogue`."""

    name: ClassVar[str] = "catalogue"
    tables: ClassVar[tuple[Table, ...]] = (leave_types, policy_versions)
    handlers: ClassVar[Mapping[type[Any], Callable[[Any, Envelope], Iterable[Write]]]] = {
        LeaveTypeDefined: _leave_type,
        LeaveTypeChanged: _leave_type,
        PolicyPublished: _policy,
    }


class LeaveTypeRow(NamedTuple):
    """A leave type with the version of its stream."""

    leave_type: str
    version: int
    terms: LeaveTypeTerms


@lru_cache(maxsize=1024)
def _read_leave_type(text: str) -> LeaveTypeTerms:
    return LeaveTypeTerms.model_validate_json(text)


@lru_cache(maxsize=4096)
def _read_policy(text: str) -> PolicyPublished:
    return PolicyPublished.model_validate_json(text)


_LEAVE_TYPES = Statement(
    select(leave_types).where(live(leave_types, Catalogue.name)).order_by(leave_types.c.leave_type)
)
_POLICIES = Statement(
    select(policy_versions.c.terms)
    .where(live(policy_versions, Catalogue.name), policy_versions.c.recorded_at <= bindparam("known_at"))
    .order_by(policy_versions.c.policy_id, policy_versions.c.version)
)
_FOREVER = datetime(9999, 1, 1)  # noqa: DTZ001  # as the column holds instants


async def all_leave_types(connection: AsyncConnection) -> list[LeaveTypeRow]:
    """Return every leave type, by slug."""
    return _read_leave_types(await _LEAVE_TYPES.rows(connection))


async def all_policies(connection: AsyncConnection, *, known_at: datetime | None = None) -> Sequence[PolicyPublished]:
    """Return every policy version, by policy and version; those recorded by `known_at` where it is given."""
    return [_read_policy(row.terms) for row in await _POLICIES.rows(connection, known_at=known_at or _FOREVER)]


async def versions(connection: AsyncConnection) -> tuple[int, int]:
    """Return two numbers that change with every change of the rules: of the leave types, and of the policies."""
    row = (await connection.execute(_VERSIONS)).one()
    return int(row[0] or 0), int(row[1] or 0)


_VERSIONS = select(
    select(func.sum(leave_types.c.version)).where(live(leave_types, Catalogue.name)).scalar_subquery(),
    select(func.count()).select_from(policy_versions).where(live(policy_versions, Catalogue.name)).scalar_subquery(),
)


async def rulebook(connection: AsyncConnection, *, known_at: datetime | None = None) -> Rulebook:
    """Return the rules as they stand, or stood at `known_at` (a naive UTC instant)."""
    return rulebook_of(await together(connection, *about_rules(known_at)))


def about_rules(known_at: datetime | None = None) -> tuple[Call, Call]:
    """Return the questions whose answers `rulebook_of` reads: what the rules are, or were at `known_at`."""
    return _LEAVE_TYPES.having(), _POLICIES.having(known_at=known_at or _FOREVER)


def rulebook_of(found: Sequence[Result]) -> Rulebook:
    """Return the rules that the answers to `about_rules` tell."""
    types, policies = found
    return Rulebook(
        {one.leave_type: one.terms for one in _read_leave_types(types.rows)},
        tuple(_read_policy(row.terms) for row in policies.rows),
    )


def _read_leave_types(rows: Iterable[Any]) -> list[LeaveTypeRow]:
    return [LeaveTypeRow(one.leave_type, one.version, _read_leave_type(one.terms)) for one in rows]
