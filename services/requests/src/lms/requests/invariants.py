"""What must hold of every leave book, whatever happened: `lms verify` checks it, and so do the fault tests."""

from collections.abc import AsyncIterator
from datetime import date

from lms.kernel.verify import Evidence
from lms.requests import store
from lms.requests.consumers import PROCESS
from lms.requests.decider import ABSENCES, BOOK
from lms.requests.decider.book import overlapping
from lms.requests.decider.payroll import Absences, Booked, next_month
from lms.requests.decider.states import AwaitingApproval, AwaitingReservation, Book, CancellationRequested, Request
from lms.requests.events import PAYROLL_EVENTS, PayrollLine, PeriodClosed
from lms.requests.upstream import BalanceInsufficient, BalanceReserved, LeaveApproved, LeaveRejected


async def no_two_requests_book_the_same_time(evidence: Evidence) -> AsyncIterator[str]:
    """Look for leave, open or confirmed, that overlaps with other leave of the same person."""
    async for employee_id, loaded in evidence.states(BOOK):
        for request in loaded.state.requests.values():
            for revision in request.booking:
                clash = overlapping(loaded.state, revision.days, revision.interval, besides=request.request_id)
                if clash is not None:
                    yield f"{employee_id}, revision {revision.number} of {request.request_id}: {clash}"


async def every_answer_has_moved_its_request_on(evidence: Evidence) -> AsyncIterator[str]:
    """Look for a request that still waits for what balances or approvals have answered."""
    answers = [(fact, type(fact).TYPE) async for fact, _ in evidence.heard(PROCESS)]
    requests: dict[str, Request] = {}
    async for _, loaded in evidence.states(BOOK):
        requests |= loaded.state.requests
    for fact, name in answers:
        request = requests.get(fact.request_id)
        if request is not None and _waits(request, fact):
            yield f"revision {fact.revision} of {fact.request_id} waits, and {name} has come"


def _waits(request: Request, fact: BalanceReserved | BalanceInsufficient | LeaveApproved | LeaveRejected) -> bool:
    match request.state, fact:
        case AwaitingReservation(open=one), BalanceReserved() | BalanceInsufficient():
            return one.number == fact.revision
        case AwaitingApproval(open=one), BalanceInsufficient() | LeaveApproved() | LeaveRejected():
            return one.number == fact.revision
        case CancellationRequested(revision=number), LeaveApproved() | LeaveRejected():
            return number == fact.revision
        case _:
            return False


Days = dict[tuple[str, date], tuple[str, int, int]]
"""By request and day: which part, entitlement minutes, scheduled minutes."""


async def payroll_was_told_what_stands_in_the_leave_book(evidence: Evidence) -> AsyncIterator[str]:
    """Compare confirmed leave with the lines that stand at payroll, day by day."""
    told = {employee_id: _told(loaded.state) async for employee_id, loaded in evidence.states(ABSENCES)}
    async for employee_id, loaded in evidence.states(BOOK):
        confirmed, lines = _confirmed(loaded.state), told.pop(employee_id, {})
        for key in sorted({*confirmed, *lines}):
            if confirmed.get(key) != lines.get(key):
                yield f"{employee_id}, {key[1]} of {key[0]}: confirmed {confirmed.get(key)}, told {lines.get(key)}"
    for employee_id, lines in told.items():
        for request_id, day in lines:
            yield f"{employee_id}, {day} of {request_id}: told, and there is no leave book"


def _confirmed(book: Book) -> Days:
    return {
        (request.request_id, day.date): (day.part, day.entitlement_minutes, day.scheduled_minutes)
        for request in book.requests.values()
        if request.standing is not None
        for day in request.standing.days
    }


def _told(absences: Absences) -> Days:
    return {
        (absence_id, line.date): (line.part, line.entitlement_minutes, line.scheduled_minutes)
        for absence_id, lines in absences.standing.items()
        for line in lines
    }


async def nothing_is_booked_in_a_closed_month(evidence: Evidence) -> AsyncIterator[str]:
    """Follow the months through the log: closed in turn, with the right totals, and nothing booked in them after."""
    booked: dict[str, Booked] = {}
    last_closed: str | None = None
    async for one in evidence.logged(PAYROLL_EVENTS):
        about = f"{one.envelope.stream} version {one.envelope.version}"
        if isinstance(one.event, PeriodClosed):
            first = min(booked, default=one.event.period)
            if one.event.period > (first if last_closed is None else next_month(last_closed)):
                yield f"{about} closes {one.event.period} out of turn"
            named = Booked(one.event.line_count, one.event.entitlement_minutes, one.event.scheduled_minutes)
            if named != booked.get(one.event.period, Booked()):
                yield f"{about} says {named} of {one.event.period}, which has {booked.get(one.event.period)}"
            last_closed = one.event.period
            continue
        for line in getattr(one.event, "lines", ()):
            if last_closed is not None and line.period <= last_closed:
                yield f"{about} books {line.date} in {line.period}, which is closed"
            booked[line.period] = _with(booked.get(line.period, Booked()), line)
    held = await store.last_closed(evidence.connection)
    if held != last_closed:
        yield f"the calendar says that {held} was closed last, and the log says {last_closed}"


def _with(booked: Booked, line: PayrollLine) -> Booked:
    return Booked(
        booked.line_count + 1,
        booked.entitlement_minutes + line.entitlement_minutes,
        booked.scheduled_minutes + line.scheduled_minutes,
    )


INVARIANTS = (
    no_two_requests_book_the_same_time,
    every_answer_has_moved_its_request_on,
    payroll_was_told_what_stands_in_the_leave_book,
    nothing_is_booked_in_a_closed_month,
)
