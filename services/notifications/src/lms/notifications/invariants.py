"""What must hold of notifications, whatever happened: `lms verify` checks it, and so do the fault tests."""

from collections.abc import AsyncIterator

from sqlalchemy import select

from lms.kernel.projection import live
from lms.kernel.verify import Evidence
from lms.notifications.projections.people import People, people
from lms.notifications.store import inbox, mails


async def nobody_who_was_erased_is_told_of_anything(evidence: Evidence) -> AsyncIterator[str]:
    """Look for inbox entries and mails of people who were erased."""
    erased = select(people.c.employee_id).where(live(people, People.name), people.c.erased.is_(True))
    for table in (inbox, mails):
        statement = select(table.c.id).where(table.c.employee_id.in_(erased))
        if table is mails:
            statement = statement.where(mails.c.notice != "")
        for row in await evidence.connection.execute(statement):
            yield f"{table.name} {row.id} belongs to somebody who was erased."


INVARIANTS = (nobody_who_was_erased_is_told_of_anything,)
