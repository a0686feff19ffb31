"""The figures of one leave type as of a date, past or future, and where each of them comes from."""

from dataclasses import dataclass
from datetime import date, timedelta

from lms.balances.decider.engine import Expiry, Lot, Taking, Use, Walk, excess, walk
from lms.balances.decider.rulebook import Rulebook, Terms
from lms.balances.decider.state import Account, lots_through, takings, waits

_MORE_THAN_ANYBODY_HAS = 10_000_000


@dataclass(frozen=True)
class Covered:
    """What one revision, or one change by hand, takes within the year, and which lots cover it."""

    reference: str
    minutes: int
    first_day: date
    last_day: date
    uses: tuple[Use, ...]


@dataclass(frozen=True)
class Standing:
    """One leave type as of a date; all amounts in minutes.

    `balance` = `carried` + `granted` + `adjusted` - `expired` - `taken` - `pending_until_then`: what the entries up
    to the date sum to. `carried` is what the entitlement year began with, after its predecessor was closed; below 0,
    an overdraft brought forward. `upcoming` and `pending` are the approved days after the date, and all days set
    aside for open requests, of the same year. `available` is what can still be taken on the date without an overdraft
    and without starving any later booking, nothing while the waiting period lasts; `limit` is how far beyond it one
    may go.
    """

    leave_type: str
    as_of: date
    carried: int
    granted: int
    adjusted: int
    expired: int
    taken: int
    upcoming: int
    pending: int
    pending_until_then: int
    balance: int
    available: int
    limit: int
    lots: tuple[tuple[Lot, int], ...]
    grants: tuple[Lot, ...]
    expiries: tuple[Expiry, ...]
    adjustments: tuple[tuple[str, date, int], ...]
    covered: tuple[Covered, ...]


def standing(state: Account, leave_type: str, rulebook: Rulebook, as_of: date) -> Standing:
    """Return the figures of a leave type that needs a balance."""
    taken = takings(state, leave_type)
    last = max([as_of, *(one.date for one in taken)])
    lots = lots_through(state, leave_type, rulebook, last)
    terms = rulebook.terms(leave_type, state.employment)
    now = walk(leave_type, lots, taken, terms, as_of)
    whole = walk(leave_type, lots, taken, terms, last)
    available = _available(leave_type, lots, taken, terms, as_of=as_of, before=whole, last=last)
    if waits(state, leave_type, rulebook, as_of):
        available = min(available, 0)
    new_year = date(as_of.year, 1, 1)
    closed = walk(leave_type, lots, taken, terms, new_year - timedelta(days=1))
    lapsed = sum(one.minutes for one in now.expiries if one.date == new_year and one.cause in {"validity", "year-end"})
    expiries = tuple(
        one for one in now.expiries if one.date > new_year or (one.date == new_year and one.cause == "cap")
    )
    grants = tuple(one for one in lots if one.capped and new_year <= one.effective_date <= as_of)
    by_hand = [(one.lot_id, one.effective_date, one.minutes) for one in lots if one.kind == "adjustment"] + [
        (one.reference, one.date, -one.minutes) for one in state.holding(leave_type).withdrawals
    ]
    adjustments = tuple(one for one in by_hand if new_year <= one[1] <= as_of)
    debited, reserved = _references(state, leave_type)
    in_year = [one for one in taken if one.date.year == as_of.year]
    return Standing(
        leave_type=leave_type,
        as_of=as_of,
        carried=closed.balance - lapsed,
        granted=sum(one.minutes for one in grants),
        adjusted=sum(minutes for _, _, minutes in adjustments),
        expired=sum(one.minutes for one in expiries),
        taken=sum(one.minutes for one in in_year if one.reference in debited and one.date <= as_of),
        upcoming=sum(one.minutes for one in in_year if one.reference in debited and one.date > as_of),
        pending=sum(one.minutes for one in in_year if one.reference in reserved),
        pending_until_then=sum(one.minutes for one in in_year if one.reference in reserved and one.date <= as_of),
        balance=now.balance,
        available=available,
        limit=terms.negative_limit(as_of),
        lots=tuple((now.lots[lot_id], minutes) for lot_id, minutes in now.remaining.items()),
        grants=grants,
        expiries=expiries,
        adjustments=adjustments,
        covered=_covered(whole, as_of.year, debited | reserved),
    )


def booked(state: Account, leave_type: str, as_of: date) -> tuple[int, int, int]:
    """Return (taken, upcoming, pending) minutes of the year of `as_of`: all there is to say of an unlimited type."""
    debited, reserved = _references(state, leave_type)
    in_year = [one for one in takings(state, leave_type) if one.date.year == as_of.year]
    return (
        sum(one.minutes for one in in_year if one.reference in debited and one.date <= as_of),
        sum(one.minutes for one in in_year if one.reference in debited and one.date > as_of),
        sum(one.minutes for one in in_year if one.reference in reserved),
    )


def unlimited_coverage(state: Account, leave_type: str, year: int) -> tuple[Covered, ...]:
    """Return what is booked of an unlimited type within a year; no lot covers it."""
    debited, reserved = _references(state, leave_type)
    found = Walk()
    for one in takings(state, leave_type):
        found.uses[one.reference].append(Use(None, one.date, one.minutes))
    return _covered(found, year, debited | reserved)


def _references(state: Account, leave_type: str) -> tuple[frozenset[str], frozenset[str]]:
    found: dict[str, set[str]] = {"debited": set(), "reserved": set()}
    for request_id, bookings in state.requests.items():
        for one in bookings:
            if one.leave_type == leave_type and one.state in found:
                found[one.state].add(f"{request_id}.{one.revision}")
    return frozenset(found["debited"]), frozenset(found["reserved"])


def _covered(found: Walk, year: int, references: frozenset[str]) -> tuple[Covered, ...]:
    covered = []
    for reference, all_uses in found.uses.items():
        uses = tuple(one for one in all_uses if one.date.year == year)
        if uses and reference in references:
            days = [one.date for one in uses]
            covered.append(Covered(reference, sum(one.minutes for one in uses), min(days), max(days), uses))
    return tuple(sorted(covered, key=lambda one: (one.first_day, one.reference)))


def _available(
    leave_type: str, lots: list[Lot], taken: list[Taking], terms: Terms, *, as_of: date, before: Walk, last: date
) -> int:
    """Return the most that can be taken on `as_of` without overdrawing that or any later day further than `before`.

    Below 0: so much is overdrawn on the day. As a rule a minute more than what is available costs the worst day a
    minute, so that a probe larger than all lots tells how much of it is not covered. A cap can break the rule, because
    taking less may make it cut a later grant; then the answer is searched for.
    """
    owed = before.debt_on(as_of)
    if owed:
        return -owed
    without_limit = Terms(())

    def worse_by(minutes: int) -> int:
        probe = Taking(as_of, "~", minutes)
        return excess(before, walk(leave_type, lots, [*taken, probe], terms, last), without_limit)

    probed = _MORE_THAN_ANYBODY_HAS - worse_by(_MORE_THAN_ANYBODY_HAS)
    if not worse_by(probed):
        return probed
    low, high = 0, probed - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (low, middle - 1) if worse_by(middle) else (middle, high)
    return low
