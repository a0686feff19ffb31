"""The view `delegations`: who stands in for whom, and when."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, ClassVar

from sqlalchemy import Column, Date, Index, MetaData, SmallInteger, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.approvals.upstream import DelegationGranted, DelegationRevoked
from lms.kernel.event import Envelope
from lms.kernel.projection import Delete, Projection, Upsert, Write, live
from lms.kernel.schema import name

delegations = Table(
    "delegations",
    MetaData(),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("delegation_id", name(36), primary_key=True),
    Column("delegator_id", name(36), nullable=False),
    Column("delegate_id", name(36), nullable=False),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Index("delegations_delegate", "generation", "delegate_id"),
)


def _granted(event: DelegationGranted, _envelope: Envelope) -> Iterable[Write]:
    yield Upsert(delegations, event.model_dump())


def _revoked(event: DelegationRevoked, _envelope: Envelope) -> Iterable[Write]:
    yield Delete(delegations, {"delegation_id": event.delegation_id})


class Delegations(Projection):
    """All delegations that were not revoked."""

    name: ClassVar[str] = "delegations"
    tables: ClassVar[tuple[Table, ...]] = (delegations,)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {
        DelegationGranted: _granted,
        DelegationRevoked: _revoked,
    }


async def delegators_of(connection: AsyncConnection, delegate_id: str, on: date) -> frozenset[str]:
    """Return for whom somebody stands in on a day."""
    rows = await connection.execute(
        select(delegations.c.delegator_id).where(
            live(delegations, Delegations.name),
            delegations.c.delegate_id == delegate_id,
            delegations.c.first_day <= on,
            delegations.c.last_day >= on,
        )
    )
    return frozenset(row.delegator_id for row in rows)
