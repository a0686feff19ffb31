"""The view `policies`: by which steps leave of a type is decided, where and from when on."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import orjson
from sqlalchemy import Column, Date, Index, Integer, MetaData, SmallInteger, Table, bindparam, select
from sqlalchemy.dialects.mysql import LONGTEXT

from lms.approvals.upstream import PolicyPublished
from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Upsert, Write, live
from lms.kernel.schema import name
from lms.kernel.statements import Statement

DEFAULT_STEPS = ("manager",)
"""How leave of a type without a policy is decided."""

policies = Table(
    "policies",
    MetaData(),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("policy_id", name(60), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("leave_type", name(60), nullable=False),
    Column("effective_from", Date, nullable=False),
    Column("locations", LONGTEXT, nullable=True),
    Column("steps", LONGTEXT, nullable=False),
    Index("policies_leave_type", "generation", "leave_type"),
)
"""`locations` and `steps` are JSON lists; `locations` null: everywhere."""


def _published(event: PolicyPublished, _envelope: Envelope) -> Iterable[Write]:
    yield Upsert(
        policies,
        {
            "policy_id": event.policy_id,
            "version": event.version,
            "leave_type": event.leave_type,
            "effective_from": event.effective_from,
            "locations": None if event.locations is None else orjson.dumps(event.locations).decode(),
            "steps": orjson.dumps(event.approval_steps).decode(),
        },
    )


class Policies(Projection):
    """All versions of all policies."""

    name: ClassVar[str] = "policies"
    tables: ClassVar[tuple[Table, ...]] = (policies,)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {PolicyPublished: _published}


IN_FORCE = Statement(
    select(policies)
    .where(
        live(policies, Policies.name),
        policies.c.leave_type == bindparam("leave_type"),
        policies.c.effective_from <= bindparam("on"),
    )
    .order_by(policies.c.effective_from.desc(), policies.c.version.desc(), policies.c.policy_id)
)
"""The policies of `leave_type` that are in force `on` a day, the newest first."""


def steps_of(rows: Iterable[Any], location_id: str | None) -> tuple[str, ...]:
    """Return the steps of the policy in force, of the rows of IN_FORCE: one for the location before one for all."""
    everywhere: tuple[str, ...] | None = None
    replaced: set[str] = set()
    for row in rows:
        if row.policy_id in replaced:
            continue
        replaced.add(row.policy_id)
        steps = tuple(orjson.loads(row.steps))
        if row.locations is None:
            everywhere = everywhere or steps
        elif location_id in orjson.loads(row.locations):
            return steps
    return everywhere or DEFAULT_STEPS
