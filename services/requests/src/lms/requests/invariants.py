"""What must hold of every leave book, whatever happened: `lms verify` checks it, and so do the fault tests."""

from collections.abc import AsyncIterator

from lms.kernel.verify import Evidence
from lms.requests.consumers import PROCESS
from lms.requests.decider import BOOK
from lms.requests.decider.book import overlapping
from lms.requests.decider.states import AwaitingApproval, AwaitingReservation, CancellationRequested, Request
from lms.requests.upstream import BalanceInsufficient, BalanceReserved


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
        from_balances = isinstance(fact, BalanceReserved | BalanceInsufficient)
        if request is not None and _waits(request, fact.revision, for_balances=from_balances):
            yield f"revision {fact.revision} of {fact.request_id} waits, and {name} has come"


def _waits(request: Request, revision: int, *, for_balances: bool) -> bool:
    match request.state:
        case AwaitingReservation(open=one) if for_balances:
            return one.number == revision
        case AwaitingApproval(open=one) if not for_balances:
            return one.number == revision
        case CancellationRequested(revision=number) if not for_balances:
            return number == revision
        case _:
            return False


INVARIANTS = (no_two_requests_book_the_same_time, every_answer_has_moved_its_request_on)
