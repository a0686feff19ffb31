"""What must hold of every leave account, whatever happened: `lms verify` checks it, and so do the fault tests."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from datetime import date
from typing import Literal

from sqlalchemy import func, select

from lms.balances.consumers import ACCOUNTS, LIFE_OF_REQUEST
from lms.balances.decider import LEAVE_ACCOUNT
from lms.balances.decider.engine import excess, walk
from lms.balances.decider.rulebook import Rulebook
from lms.balances.decider.state import Account, Booking, charged, lots_through, takings
from lms.balances.projections.catalogue import rulebook
from lms.balances.projections.ledger import Ledger, ledger_entries
from lms.balances.upstream import (
    EmployeeJoined,
    LeaveAmended,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveRecharged,
    LeaveRefused,
)
from lms.balances.upstream import LeaveRequested as Requested
from lms.kernel.projection import live
from lms.kernel.verify import Evidence

Stage = Literal["open", "standing", "over"]


async def balances_equal_the_sum_of_their_entries(evidence: Evidence) -> AsyncIterator[str]:
    """Compare the ledger with the states: per leave type, and per revision of a request."""
    at = ledger_entries.c
    rows = await evidence.connection.execute(
        select(at.employee_id, at.leave_type, at.request_id, at.revision, func.sum(at.minutes))
        .where(live(ledger_entries, Ledger.name))
        .group_by(at.employee_id, at.leave_type, at.request_id, at.revision)
    )
    summed: dict[str, int] = defaultdict(int)
    for employee_id, leave_type, request_id, revision, minutes in rows:
        summed[f"{leave_type} of {employee_id}"] += int(minutes)
        if request_id is not None:
            summed[f"revision {revision} of {request_id}"] += int(minutes)
    async for employee_id, loaded in evidence.states(LEAVE_ACCOUNT):
        booked = {f"{leave_type} of {employee_id}": total for leave_type, total in _totals(loaded.state).items()}
        for request_id, bookings in loaded.state.requests.items():
            for one in bookings:
                booked[f"revision {one.revision} of {request_id}"] = sum(entry.minutes for entry in one.entries)
        for what, minutes in booked.items():
            found = summed.pop(what, 0)
            if found != minutes:
                yield f"{what}: the entries sum to {found} minutes, and the account says {minutes}"
    for what, found in summed.items():
        if found:
            yield f"{what}: the entries sum to {found} minutes, and no account says so"


def _totals(account: Account) -> dict[str, int]:
    """Return each leave type's balance, over all dates."""
    totals: dict[str, int] = defaultdict(int)
    for leave_type, holding in account.holdings.items():
        totals[leave_type] += (
            sum(lot.minutes for lot in holding.lots.values())
            + sum(one.lot.minutes - sum(one.sources.values()) for one in holding.carried.values())
            - sum(one.minutes for one in holding.expired.values())
            - sum(one.minutes for one in holding.withdrawals)
        )
    for bookings in account.requests.values():
        for booking in bookings:
            totals[booking.leave_type] += sum(one.minutes for one in booking.entries)
    return totals


async def no_balance_passes_its_limit(evidence: Evidence) -> AsyncIterator[str]:
    """Look for a day on which leave overdraws an account beyond what its policy allows.

    Accounts that somebody adjusted, that a change of employment corrected, to which other terms came to apply (by a
    new version, a policy of the location, a move), or of whose leave a day came to cost something else, may stand
    beyond the limit for that reason: they are left out.
    """
    rules = await rulebook(evidence.connection)
    recharged = {
        fact.employee_id async for fact, _ in evidence.heard(LIFE_OF_REQUEST) if isinstance(fact, LeaveRecharged)
    }
    async for employee_id, loaded in evidence.states(LEAVE_ACCOUNT):
        if employee_id in recharged:
            continue
        for leave_type in sorted({one.leave_type for all_ in loaded.state.requests.values() for one in all_}):
            if rules.limited(leave_type):
                for breach in _beyond(loaded.state, leave_type, rules):
                    yield f"{leave_type} of {employee_id} {breach}"


def _beyond(account: Account, leave_type: str, rules: Rulebook) -> Iterator[str]:
    holding = account.holding(leave_type)
    by_hand = holding.withdrawals or any(lot.kind == "adjustment" for lot in holding.lots.values())
    taken = takings(account, leave_type)
    if by_hand or not taken or account.employment is None or account.employment.last_day is not None:
        return
    until = max(one.date for one in taken)
    terms = rules.terms(leave_type, account.employment)
    if terms.changed:
        return
    lots = lots_through(account, leave_type, rules, until)
    minutes = excess(walk(leave_type, lots, [], terms, until), walk(leave_type, lots, taken, terms, until), terms)
    if minutes:
        yield f"is overdrawn by {minutes} minutes beyond its limit"


async def no_reservation_dangles_and_every_decision_is_booked_once(evidence: Evidence) -> AsyncIterator[str]:
    """Compare the bookings, and their days, with what the leave book has told."""
    stages: dict[str, dict[int, Stage]] = defaultdict(dict)
    days: dict[tuple[str, int], tuple[tuple[date, int], ...]] = {}
    async for fact, _ in evidence.heard(LIFE_OF_REQUEST):
        _follow(stages[fact.request_id], fact)
        if not isinstance(fact, LeaveRefused | LeaveCancelled):
            days[fact.request_id, fact.revision] = charged(fact.days)
    async for _, loaded in evidence.states(LEAVE_ACCOUNT):
        for request_id, bookings in loaded.state.requests.items():
            told, booked = stages.pop(request_id, {}), {one.revision: one for one in bookings}
            for revision in sorted({*told, *booked}):
                fault = _disagreement(told.get(revision), booked.get(revision), days.get((request_id, revision)))
                if fault:
                    yield f"revision {revision} of {request_id} {fault}"
    for request_id, told in stages.items():
        for revision, stage in told.items():
            if stage != "over":
                yield f"revision {revision} of {request_id} has no answer"


def _disagreement(  # noqa: PLR0911  # one arm for each stage
    stage: Stage | None, booking: Booking | None, days: tuple[tuple[date, int], ...] | None
) -> str | None:
    """Say what is wrong when the leave book has told of a stage and of days, and the account holds a booking."""
    match stage, booking.state if booking else None:
        case ("open", "reserved") | ("standing", "debited") if booking and booking.days != days:
            return "is booked at another cost than was told"
        case ("open", "reserved" | "insufficient") | ("standing", "debited"):
            return None
        case "open", _:
            return "has no answer"
        case "standing", _:
            return "is confirmed, and is not debited"
        case _, "reserved":
            return "is over, and its reservation dangles"
        case _, "debited":
            return "does not stand, and is debited"
        case _:
            return None


def _follow(
    stages: dict[int, Stage],
    fact: Requested | LeaveAmended | LeaveConfirmed | LeaveRecharged | LeaveRefused | LeaveCancelled,
) -> None:
    match fact:
        case LeaveRecharged():
            pass  # it ends and begins nothing
        case LeaveCancelled():
            stages.update(dict.fromkeys(stages, "over"))
        case LeaveRefused():
            stages[fact.revision] = "over"
        case LeaveConfirmed():
            stages[fact.revision] = "standing"
            if fact.replaces_revision is not None:
                stages[fact.replaces_revision] = "over"
        case _:
            stages.update({revision: "over" for revision, stage in stages.items() if stage == "open"})
            stages[fact.revision] = "open"


async def everybody_who_joined_has_an_account(evidence: Evidence) -> AsyncIterator[str]:
    """Compare the accounts with whom the directory has told of."""
    joined = {fact.employee_id async for fact, _ in evidence.heard(ACCOUNTS) if isinstance(fact, EmployeeJoined)}
    async for employee_id, _ in evidence.states(LEAVE_ACCOUNT):
        joined.discard(employee_id)
    for employee_id in sorted(joined):
        yield f"{employee_id} has joined and has no account"


INVARIANTS = (
    balances_equal_the_sum_of_their_entries,
    no_balance_passes_its_limit,
    no_reservation_dangles_and_every_decision_is_booked_once,
    everybody_who_joined_has_an_account,
)
