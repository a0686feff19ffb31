"""Telling people of a fact, once: an inbox entry and a mail for each person, in the transaction that saw the fact."""

from collections.abc import Sequence

from prometheus_client import Counter

from lms.kernel.errors import NotFound, Stale
from lms.kernel.event import Envelope
from lms.kernel.execution import UnitOfWork
from lms.kernel.statements import together
from lms.notifications import store
from lms.notifications.decider import HR, KINDS, Known, Notice, Telling, Waiting, channels, notices
from lms.notifications.projections.cases import case_of, waiting_for_approvers
from lms.notifications.projections.people import HOLD, everybody_in_hr
from lms.notifications.projections.revisions import asked_for
from lms.notifications.store import Preferences
from lms.notifications.upstream import CaseClosed, CaseOpened, CaseReassigned, EmployeeErased, StepApproved

TOLD = Counter("notifications_told_total", "Inbox entries and mails that were made", ("kind", "channel"))
for _kind in KINDS:
    for _channel in channels(_kind, frozenset()):
        TOLD.labels(_kind, _channel)


async def tell_of(uow: UnitOfWork, fact: Telling, envelope: Envelope) -> None:
    """Tell everybody whom a fact concerns."""
    await tell(uow, notices(envelope.event_id, fact, await _known(uow, fact)))


async def tell(uow: UnitOfWork, found: Sequence[Notice]) -> None:
    """Make the inbox entries and mails of notices; what was told of the same cause before is not told again.

    Nobody who was erased is told of anything: whoever is told now keeps their erasure waiting for this transaction.
    """
    if not found:
        return
    people = sorted({notice.person for notice in found})
    held, preferred = await together(
        uow.connection, HOLD.having(people=people), store.PREFERENCES.having(people=people)
    )
    erased = {row.employee_id for row in held.rows if row.erased}
    chosen = store.preferences_in(preferred.rows)
    wanted = [
        (notice, channel)
        for notice in sorted(found, key=lambda one: (one.person, one.cause))
        if notice.person not in erased
        for channel in channels(notice.kind, chosen.get(notice.person, Preferences()).mail_off)
    ]
    for notice, channel in await store.tell(uow.connection, wanted, uow.now, uow.causality.traceparent):
        uow.concerns(notice.person)
        TOLD.labels(notice.kind, channel).inc()


async def forget(uow: UnitOfWork, fact: EmployeeErased, _envelope: Envelope) -> None:
    """Delete what was told to somebody who is erased, and send them nothing more."""
    await store.forget(uow.connection, fact.employee_id)


async def _known(uow: UnitOfWork, fact: Telling) -> Known:
    match fact:
        case CaseOpened() | CaseReassigned() | StepApproved() | CaseClosed():
            case = await case_of(uow.connection, fact.request_id, fact.revision)
            asks_hr = HR in {getattr(fact, "group", None), case.group if case else None}
            return Known(
                asked=case.asked if case else None,
                approvers=case.assignees if case else (),
                group=case.group if case else None,
                in_hr=await everybody_in_hr(uow.connection, uow.today) if asks_hr else (),
                decided_by=case.decided_by if case else None,
            )
        case _:
            return Known(asked=await asked_for(uow.connection, fact.request_id, fact.revision))


async def waiting(uow: UnitOfWork) -> list[Waiting]:
    """Return every case that waits, for each of its approvers who was told of it."""
    return await waiting_for_approvers(uow.connection, await everybody_in_hr(uow.connection, uow.today))


# --- what people do with what they were told -------------------------------------------------------------------------


class NoSuchNotification(NotFound):
    """The caller has no such notification."""

    code = "unknown-notification"


class StalePreferences(Stale):
    """The preferences have changed since they were read."""

    code = "stale-preferences"


async def read(uow: UnitOfWork, employee_id: str, entry_id: str) -> None:
    """Mark an entry of one's inbox as read. Raises NoSuchNotification."""
    if not await store.mark_read(uow.connection, employee_id, uow.now, entry_id):
        raise NoSuchNotification("There is no such notification in your inbox.")
    uow.concerns(employee_id)


async def read_all(uow: UnitOfWork, employee_id: str) -> None:
    """Mark all entries of one's inbox as read."""
    await store.mark_read(uow.connection, employee_id, uow.now)
    uow.concerns(employee_id)


async def choose(uow: UnitOfWork, employee_id: str, mail: dict[str, bool], expected: int | None) -> Preferences:
    """Switch mail of kinds on or off; kinds that are not named stay. Raises StalePreferences."""
    found = (await store.preferences_of(uow.connection, [employee_id], lock=True)).get(employee_id, Preferences())
    if expected is not None and expected != found.version:
        raise StalePreferences("The preferences have changed since you read them; read them again.")
    off = {kind for kind, wanted in mail.items() if not wanted}
    kept = {kind for kind in found.mail_off if not mail.get(kind, False)}
    chosen = Preferences(frozenset(off | kept), found.version + 1)
    await store.choose(uow.connection, employee_id, chosen)
    return chosen
