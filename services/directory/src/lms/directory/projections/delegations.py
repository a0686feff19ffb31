"""The view `delegations`: who stands in for whom, and when."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, ClassVar

from sqlalchemy import Boolean, Column, Date, Index, SmallInteger, Table, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.directory.events import DelegationGranted, DelegationRevoked
from lms.directory.store import metadata
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.pages import behind
from lms.kernel.projection import Handler, Projection, Update, Upsert, Write, live
from lms.kernel.schema import name

delegations = Table(
    "delegations",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("delegation_id", name(36), primary_key=True),
    Column("delegator_id", name(36), nullable=False),
    Column("delegate_id", name(36), nullable=False),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("revoked", Boolean, nullable=False),
    Index("delegations_delegator", "generation", "delegator_id"),
    Index("delegations_delegate", "generation", "delegate_id"),
)


def _granted(event: DelegationGranted, envelope: Envelope) -> Iterable[Write]:  # noqa: ARG001  # the shape of a handler
    yield Upsert(delegations, {**event.model_dump(), "revoked": False})


def _revoked(event: DelegationRevoked, envelope: Envelope) -> Iterable[Write]:  # noqa: ARG001  # the shape of a handler
    yield Update(delegations, {"delegation_id": event.delegation_id}, {"revoked": True})


class Delegations(Projection):
    """All delegations, also those that are over."""

    name: ClassVar[str] = "delegations"
    tables: ClassVar[tuple[Table, ...]] = (delegations,)
    handlers: ClassVar[Mapping[type[Event] | type[ForeignEvent], Handler]] = {
        DelegationGranted: _granted,
        DelegationRevoked: _revoked,
    }


async def find(
    connection: AsyncConnection,
    *,
    person: str | None,
    not_over_by: date,
    limit: int,
    after: tuple[date, str] | None = None,
) -> list[Any]:
    """Return delegations in force or to come, by first day and id; of one person (given or received) or of all."""
    key = (delegations.c.first_day, delegations.c.delegation_id)
    statement = (
        select(delegations)
        .where(
            live(delegations, "delegations"),
            delegations.c.revoked.is_(False),
            delegations.c.last_day >= not_over_by,
        )
        .order_by(*key)
        .limit(limit)
    )
    if person is not None:
        mine = or_(delegations.c.delegator_id == person, delegations.c.delegate_id == person)
        statement = statement.where(mine)
    if after is not None:
        statement = statement.where(behind(key, after))
    return list(await connection.execute(statement))


async def one(connection: AsyncConnection, delegation_id: str) -> Any | None:
    """Return one delegation."""
    found = await connection.execute(
        select(delegations).where(live(delegations, "delegations"), delegations.c.delegation_id == delegation_id)
    )
    return found.first()
