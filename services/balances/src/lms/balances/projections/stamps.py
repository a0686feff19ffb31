"""What an answer of GET /balances rests on, read in one round trip."""

from typing import NamedTuple

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.balances.projections.catalogue import Catalogue, leave_types, policy_versions
from lms.balances.projections.people import People, people
from lms.kernel.projection import live
from lms.kernel.schema import events
from lms.kernel.statements import Statement


class Stamp(NamedTuple):
    """The versions: whatever changes an answer changes one of them.

    `account` is 0 while the account is not opened; `leave_types` and `policies` count every change of them.
    """

    person_exists: bool
    account: int
    leave_types: int
    policies: int


_QUERY = Statement(
    select(
        select(func.count())
        .select_from(people)
        .where(live(people, People.name), people.c.employee_id == bindparam("employee_id"))
        .scalar_subquery(),
        select(func.max(events.c.version)).where(events.c.stream == bindparam("stream")).scalar_subquery(),
        select(func.sum(leave_types.c.version)).where(live(leave_types, Catalogue.name)).scalar_subquery(),
        select(func.count())
        .select_from(policy_versions)
        .where(live(policy_versions, Catalogue.name))
        .scalar_subquery(),
    )
)
"""What every read of a balance begins with."""


async def stamp(connection: AsyncConnection, employee_id: str, account_stream: str) -> Stamp:
    """Return the versions that a person's balances rest on now."""
    (row,) = await _QUERY.rows(connection, employee_id=employee_id, stream=account_stream)
    return Stamp(bool(row[0]), int(row[1] or 0), int(row[2] or 0), int(row[3] or 0))
