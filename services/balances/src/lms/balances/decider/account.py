"""The leave account of one employee: all leave types in one stream, so that no two requests spend the same day.

Which lot covers which day follows from the walk (engine.py), anew each time: where a change reaches into the past, the
difference to what was recorded is recorded as a correction (due.py).

While a revision of confirmed leave is open, two futures are possible: its predecessor stands, or it does. The account
sets aside what the revision needs beyond its predecessor, and accepts nothing that either future could not bear.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import combinations
from typing import Literal, assert_never

from lms.balances.decider.due import due, grant_corrections, granted
from lms.balances.decider.engine import Lot, Taking, Walk, excess, walk
from lms.balances.decider.rulebook import Employment, Rulebook
from lms.balances.decider.state import (
    Account,
    Booking,
    Future,
    Plan,
    charged,
    evolve,
    lots_through,
    reference_of,
    summed,
    takings,
    takings_of,
    waits,
)
from lms.balances.events import (
    AccountEvent,
    BalanceAdjusted,
    BalanceCredited,
    BalanceDebited,
    BalanceGrantCorrected,
    BalanceGranted,
    BalanceInsufficient,
    BalanceRecharged,
    BalanceReleased,
    BalanceReserved,
    ChargedDay,
    CountedDay,
    EmploymentNoted,
    LedgerEntry,
    LocationFrom,
    RestsOn,
)
from lms.kernel.decider import Decider
from lms.kernel.errors import FieldError, NotFound, RuleBroken
from lms.kernel.sealed import Sealed

_ENUMERATED = 4
"""Open amendments of which every combination is tried."""


@dataclass(frozen=True, kw_only=True)
class _Command:
    """Every command brings the rules and the business date: what fell due by then is recorded along with it."""

    employee_id: str
    today: date
    rulebook: Rulebook


@dataclass(frozen=True, kw_only=True)
class NoteEmployment(_Command):
    """Open the account, or follow a change of employment; grants that it changes are corrected."""

    employment: Employment


@dataclass(frozen=True, kw_only=True)
class RecordDue(_Command):
    """Record every grant, accrual, carry-over and expiry due through `today`, each once, with its own date."""


@dataclass(frozen=True, kw_only=True)
class Reserve(_Command):
    """Set the leave of a revision aside, or answer that the balance does not cover it."""

    request_id: str
    revision: int
    leave_type: str
    days: tuple[ChargedDay, ...]
    replaces_revision: int | None = None
    rests_on: tuple[RestsOn, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Debit(_Command):
    """A revision is confirmed: take its days, and give back those of the revision that it replaces."""

    request_id: str
    revision: int
    leave_type: str
    days: tuple[ChargedDay, ...]
    replaces_revision: int | None = None


@dataclass(frozen=True, kw_only=True)
class Recharge(_Command):
    """A revision costs something else since holidays, a schedule or a location changed: `days` are all of its days.

    Confirmed leave follows whatever the balance. Open leave that comes to cost more than there is, is answered anew.
    """

    request_id: str
    revision: int
    cause: Literal["holidays", "schedule", "location"]
    days: tuple[ChargedDay, ...]
    rests_on: tuple[RestsOn, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Release(_Command):
    """A revision is refused: what was set aside for it is free again."""

    request_id: str
    revision: int


@dataclass(frozen=True, kw_only=True)
class Cancel(_Command):
    """A request is cancelled as a whole: release what is open of it and credit what stands. Never refused."""

    request_id: str


@dataclass(frozen=True, kw_only=True)
class Adjust(_Command):
    """Change the balance by hand. A negative change may not overdraw beyond the limit."""

    adjustment_id: str
    leave_type: str
    minutes: int
    effective_date: date
    expires_on: date | None
    reason: Sealed | None


AccountCommand = NoteEmployment | RecordDue | Reserve | Debit | Recharge | Release | Cancel | Adjust


class NoAccount(NotFound):
    """There is no leave account for this person."""

    code = "account-not-found"


class Overdrawn(RuleBroken):
    """The balance does not cover the change."""

    code = "balance-insufficient"


class AdjustmentRefused(RuleBroken):
    """The adjustment contradicts itself or the leave type."""

    code = "adjustment-refused"


def decide(command: AccountCommand, state: Account) -> list[AccountEvent]:
    """Return what the command leads to, together with what fell due by its date."""
    match command:
        case NoteEmployment():
            events = _note_employment(command, state)
            touched = limited_types(command.rulebook, state)
        case RecordDue():
            events = []
            touched = limited_types(command.rulebook, state)
        case Reserve():
            events = _reserve(command, state)
            touched = _types_of(events)
        case Debit():
            events = _debit(command, state)
            touched = _types_of(events)
        case Recharge():
            events = _recharge(command, state)
            touched = _types_of(events)
        case Release():
            events = _release(command, state)
            touched = _types_of(events)
        case Cancel():
            events = _cancel(command, state)
            touched = _types_of(events)
        case Adjust():
            events = _adjust(command, state)
            touched = _types_of(events)
        case _:
            assert_never(command)
    after = _fold(state, events)
    due_by_now = [
        event
        for leave_type in touched
        for event in due(after, leave_type, command.employee_id, command.today, command.rulebook)
    ]
    return [*events, *due_by_now]


def _fold(state: Account, events: Iterable[AccountEvent]) -> Account:
    for event in events:
        state = evolve(state, event)
    return state


def limited_types(rulebook: Rulebook, state: Account) -> list[str]:
    """Return the leave types of which anything can fall due: those that need a balance."""
    known = {*rulebook.limited_types(), *state.holdings}
    return sorted(one for one in known if rulebook.limited(one))


def _types_of(events: Sequence[AccountEvent]) -> list[str]:
    return sorted({event.leave_type for event in events if not isinstance(event, EmploymentNoted)})


def _note_employment(command: NoteEmployment, state: Account) -> list[AccountEvent]:
    new = command.employment
    if state.employment == new:
        return []
    noted = EmploymentNoted(
        employee_id=command.employee_id,
        employed_from=new.employed_from,
        last_day=new.last_day,
        locations=tuple(
            LocationFrom(effective_from=one.effective_from, location_id=one.location_id) for one in new.locations
        ),
    )
    if state.employment is None:
        return [noted]  # nothing was granted before
    changes = [
        change
        for leave_type in limited_types(command.rulebook, state)
        for change in _regranted(command, state, leave_type, state.employment)
    ]
    return [noted, *changes]


def _regranted(
    command: NoteEmployment, state: Account, leave_type: str, old: Employment
) -> Iterator[BalanceGranted | BalanceGrantCorrected | BalanceAdjusted]:
    """Yield what the change from the `old` employment makes of the grants; years closed stand where it makes nothing.

    What a policy changed of a lot since it was granted is told before, and apart.
    """
    recorded = {one.lot_id: one for one in state.holding(leave_type).lots.values() if one.period}
    if not recorded:
        return  # nothing to correct; what is due is recorded along with every command
    years = [one.effective_date.year for one in recorded.values()]
    newest = max(years)
    from_year = min(command.employment.employed_from.year, *years)
    until = max(command.today, date(newest, 12, 31))
    before = Plan(leave_type, old, command.rulebook, from_year, until)
    after = Plan(leave_type, command.employment, command.rulebook, from_year, until)
    for lot in recorded.values():
        was, will = before.of(lot), after.of(lot)
        if was.minutes != will.minutes or lot.effective_date.year == newest:
            yield from grant_corrections(command.employee_id, leave_type, lot, was)
            if will.minutes != was.minutes:
                difference = will.minutes - was.minutes
                yield _employment_correction(command.employee_id, leave_type, lot, difference)
    for lot_id, lot in after.lots.items():
        closed = lot.effective_date.year < newest and lot_id in before.lots
        if lot_id not in recorded and lot.effective_date <= command.today and not closed:
            yield granted(command.employee_id, leave_type, lot)


def _employment_correction(employee_id: str, leave_type: str, lot: Lot, difference: int) -> BalanceAdjusted:
    return BalanceAdjusted(
        employee_id=employee_id,
        leave_type=leave_type,
        adjustment_id=lot.lot_id,
        cause="employment-changed",
        lot_id=lot.lot_id,
        minutes=difference,
        effective_date=lot.effective_date,
        expires_on=lot.expires_on,
        reason=None,
        entries=(LedgerEntry(lot_id=lot.lot_id, date=lot.effective_date, minutes=difference),),
    )


def _reserve(command: Reserve, state: Account) -> list[AccountEvent]:
    earlier = state.requests.get(command.request_id, ())
    if any(one.revision >= command.revision for one in earlier):
        return []  # answered before, or a late fact of a revision that a newer one superseded
    events: list[AccountEvent] = [
        _released(command.employee_id, command.request_id, one, "superseded")
        for one in earlier
        if one.state == "reserved"
    ]
    state = _fold(state, events)
    days = charged(command.days)
    if command.leave_type not in command.rulebook.leave_types:
        return [*events, _insufficient(command, 0, "unknown-leave-type")]
    standing = state.standing(command.request_id)
    held = days
    if standing and standing.leave_type == command.leave_type:
        held = beyond(standing.days, days)
    if not command.rulebook.limited(command.leave_type):
        return [*events, _reserved(command, _unlimited_entries(held))]
    first_day = min((day for day, _ in days), default=None)
    if first_day is not None and waits(state, command.leave_type, command.rulebook, first_day):
        return [*events, _insufficient(command, 0, "waiting-period")]
    reference = reference_of(command.request_id, command.revision)
    check = _Check(state, command)
    worst = max(
        (check.excess_of(future, reference, days, held, standing) for future in _futures(state, command.leave_type)),
        default=0,
    )
    if worst:
        total = sum(minutes for _, minutes in days)
        return [*events, _insufficient(command, max(0, total - worst), "balance")]
    base = check.walk([*takings(state, command.leave_type), *takings_of(reference, held)])
    return [*events, _reserved(command, _entries(base, reference))]


class _Check:
    """Compares the futures of one leave type with and without a change."""

    def __init__(self, state: Account, command: Reserve | Adjust) -> None:
        self._state = state
        self._leave_type = command.leave_type
        self._terms = command.rulebook.terms(command.leave_type, state.employment)
        new_days = [one.date for one in command.days] if isinstance(command, Reserve) else [command.effective_date]
        known = [day for bookings in state.requests.values() for booking in bookings for day, _ in booking.days]
        known += [one.date for one in state.holding(command.leave_type).withdrawals]
        self._until = max([command.today, *known, *new_days])
        self._lots = lots_through(state, self._leave_type, command.rulebook, self._until)

    def walk(self, taken: Iterable[Taking]) -> Walk:
        return walk(self._leave_type, self._lots, taken, self._terms, self._until)

    def excess_of(
        self,
        future: Future,
        reference: str,
        days: tuple[tuple[date, int], ...],
        held: tuple[tuple[date, int], ...],
        standing: Booking | None = None,
    ) -> int:
        """Return by how much the change overdraws one future: while it is open, and once it is confirmed."""
        taken = takings(self._state, self._leave_type, future)
        before = self.walk(taken)
        worst = excess(before, self.walk([*taken, *takings_of(reference, held)]), self._terms)
        if standing and standing.leave_type == self._leave_type:
            replaced = reference_of(reference.rpartition(".")[0], standing.revision)
            kept = [one for one in taken if one.reference != replaced]
            after = self.walk([*kept, *takings_of(reference, days)])
            worst = max(worst, excess(before, after, self._terms))
        return worst


def _futures(state: Account, leave_type: str) -> Iterator[Future]:
    """Yield each set of open amendments that may come to be confirmed, the empty one first.

    Beyond _ENUMERATED amendments the others count in full beside their predecessors: more than any future takes.
    """
    amended = [
        request_id
        for request_id, bookings in sorted(state.requests.items())
        if state.open(request_id)
        and state.standing(request_id)
        and any(one.leave_type == leave_type for one in bookings)
    ]
    doubled = frozenset(amended[_ENUMERATED:])
    for count in range(min(len(amended), _ENUMERATED) + 1):
        for chosen in combinations(amended[:_ENUMERATED], count):
            yield Future(frozenset(chosen), doubled)


def beyond(standing: Sequence[tuple[date, int]], wanted: Sequence[tuple[date, int]]) -> tuple[tuple[date, int], ...]:
    """Return what `wanted` needs beyond `standing`, day by day; what a moved leave frees offsets its earliest days."""
    old: dict[date, int] = defaultdict(int)
    for day, minutes in standing:
        old[day] += minutes
    new: dict[date, int] = defaultdict(int)
    for day, minutes in wanted:
        new[day] += minutes
    freed = sum(max(0, minutes - new.get(day, 0)) for day, minutes in old.items())
    held = []
    for day in sorted(new):
        more = new[day] - old.get(day, 0)
        if more <= 0:
            continue
        offset = min(more, freed)
        freed -= offset
        if more > offset:
            held.append((day, more - offset))
    return tuple(held)


def _debit(command: Debit, state: Account) -> list[AccountEvent]:
    earlier = state.requests.get(command.request_id, ())
    known = next((one for one in earlier if one.revision == command.revision), None)
    if known and known.state in {"debited", "released", "credited"}:
        return []
    if any(one.revision > command.revision and one.state == "debited" for one in earlier):
        return []  # a late fact of a revision that a newer one replaced
    events: list[AccountEvent] = [
        _released(command.employee_id, command.request_id, one, "superseded")
        for one in earlier
        if one.state == "reserved" and one.revision < command.revision
    ]
    events += [
        _credited(command.employee_id, command.request_id, one, "replaced", command.revision)
        for one in earlier
        if one.state == "debited"
    ]
    days = charged(command.days)
    reference = reference_of(command.request_id, command.revision)
    debited = BalanceDebited(
        employee_id=command.employee_id,
        request_id=command.request_id,
        revision=command.revision,
        leave_type=command.leave_type,
        replaces_revision=command.replaces_revision,
        days=command.days,
        released=_reversed(known.entries) if known else (),
        entries=_entries_of(command, state, command.leave_type, reference, days, freed=events),
    )
    return [*events, debited]


def _entries_of(
    command: Debit | Recharge,
    state: Account,
    leave_type: str,
    reference: str,
    days: tuple[tuple[date, int], ...],
    *,
    freed: Sequence[AccountEvent] = (),
) -> tuple[LedgerEntry, ...]:
    """Return what a booking of these days takes, and of which lots, beside all that is taken once events have freed."""
    if not command.rulebook.limited(leave_type):
        return _unlimited_entries(days)
    taken = [one for one in takings(_fold(state, freed), leave_type) if one.reference != reference]
    taken += takings_of(reference, days)
    until = max([command.today, *(one.date for one in taken)])
    found = walk(
        leave_type,
        lots_through(state, leave_type, command.rulebook, until),
        taken,
        command.rulebook.terms(leave_type, state.employment),
        until,
    )
    return _entries(found, reference)


def _recharge(command: Recharge, state: Account) -> list[AccountEvent]:
    booking = _booking_of(state, command.request_id, command.revision)
    if booking is None or booking.state not in {"reserved", "debited"}:
        return []  # it is over, or was never covered
    days = charged(command.days)
    if booking.days == days:
        return []  # only scheduled minutes changed
    recharged = _recharged(command, state, booking, days)
    after = _fold(state, recharged)
    if booking.state == "debited":
        open_ = after.open(command.request_id)
        if open_ is None:
            return recharged
        # What the open revision needs beyond its predecessor is another difference now. It costs what it did.
        return [*recharged, *_recharged(replace(command, rests_on=()), after, open_, open_.days)]
    worst = _overdrawn(command, state, after, booking.leave_type)
    if not worst:
        return recharged
    total = sum(minutes for _, minutes in days)
    return [
        _released(command.employee_id, command.request_id, booking, "refused"),
        BalanceInsufficient(
            employee_id=command.employee_id,
            request_id=command.request_id,
            revision=command.revision,
            leave_type=booking.leave_type,
            requested_minutes=total,
            available_minutes=max(0, total - worst),
            cause="balance",
        ),
    ]


def _booking_of(state: Account, request_id: str, revision: int) -> Booking | None:
    return next((one for one in state.requests.get(request_id, ()) if one.revision == revision), None)


def _recharged(
    command: Recharge, state: Account, booking: Booking, days: tuple[tuple[date, int], ...]
) -> list[AccountEvent]:
    """Return that a booking is now of these days; nothing where that is what it is."""
    wanted = days
    standing = state.standing(command.request_id)
    if booking.state == "reserved" and standing and standing.leave_type == booking.leave_type:
        wanted = beyond(standing.days, days)
    reference = reference_of(command.request_id, booking.revision)
    entries = _entries_of(command, state, booking.leave_type, reference, wanted)
    difference = summed((*_reversed(booking.entries), *entries))
    if not difference and booking.days == days:
        return []
    return [
        BalanceRecharged(
            employee_id=command.employee_id,
            request_id=command.request_id,
            revision=booking.revision,
            leave_type=booking.leave_type,
            booking="debit" if booking.state == "debited" else "reservation",
            cause=command.cause,
            days=tuple(CountedDay(date=day, entitlement_minutes=minutes) for day, minutes in days),
            entries=difference,
            rests_on=command.rests_on,
        )
    ]


def _overdrawn(command: Recharge, before: Account, after: Account, leave_type: str) -> int:
    """Return by how many minutes, in the worst of the futures, `after` overdraws beyond its limit and `before`."""
    if not command.rulebook.limited(leave_type):
        return 0
    terms = command.rulebook.terms(leave_type, before.employment)
    worst = 0
    for future in _futures(before, leave_type):
        was, will = takings(before, leave_type, future), takings(after, leave_type, future)
        until = max([command.today, *(one.date for one in (*was, *will))])
        lots = lots_through(before, leave_type, command.rulebook, until)
        walked = walk(leave_type, lots, was, terms, until), walk(leave_type, lots, will, terms, until)
        worst = max(worst, excess(*walked, terms))
    return worst


def _release(command: Release, state: Account) -> list[AccountEvent]:
    return [
        _released(command.employee_id, command.request_id, one, "refused")
        for one in state.requests.get(command.request_id, ())
        if one.revision == command.revision and one.state == "reserved"
    ]


def _cancel(command: Cancel, state: Account) -> list[AccountEvent]:
    bookings = state.requests.get(command.request_id, ())
    released: list[AccountEvent] = [
        _released(command.employee_id, command.request_id, one, "cancelled")
        for one in bookings
        if one.state == "reserved"
    ]
    credited = [
        _credited(command.employee_id, command.request_id, one, "cancelled", None)
        for one in bookings
        if one.state == "debited"
    ]
    return [*released, *credited]


def _adjust(command: Adjust, state: Account) -> list[AccountEvent]:
    if state.employment is None:
        raise NoAccount("There is no leave account for this person.")
    if command.leave_type not in command.rulebook.leave_types:
        raise AdjustmentRefused(
            f"There is no leave type {command.leave_type!r}.", (FieldError("/leave_type", "is not defined"),)
        )
    if not command.rulebook.limited(command.leave_type):
        raise AdjustmentRefused(
            "Leave of this type needs no balance, so that there is nothing to adjust.",
            (FieldError("/leave_type", "has no balance"),),
        )
    if not command.minutes:
        raise AdjustmentRefused("Say by how many minutes.", (FieldError("/minutes", "must not be 0"),))
    if command.expires_on is not None and (command.minutes < 0 or command.expires_on < command.effective_date):
        raise AdjustmentRefused(
            "Only what is added can expire, and not before it begins.",
            (FieldError("/expires_on", "is not possible"),),
        )
    holding = state.holding(command.leave_type)
    reference = f"adjustment.{command.adjustment_id}"
    if reference in holding.lots or any(one.reference == reference for one in holding.withdrawals):
        return []
    if command.minutes > 0:
        entries: tuple[LedgerEntry, ...] = (
            LedgerEntry(lot_id=reference, date=command.effective_date, minutes=command.minutes),
        )
    else:
        days = ((command.effective_date, -command.minutes),)
        check = _Check(state, command)
        worst = max(check.excess_of(future, reference, days, days) for future in _futures(state, command.leave_type))
        if worst:
            raise Overdrawn(
                f"This would overdraw the balance by {worst} minutes beyond its limit.",
                (FieldError("/minutes", f"at most {max(0, -command.minutes - worst)} can be taken away"),),
            )
        taken = [*takings(state, command.leave_type), *takings_of(reference, days)]
        entries = _entries(check.walk(taken), reference)
    return [
        BalanceAdjusted(
            employee_id=command.employee_id,
            leave_type=command.leave_type,
            adjustment_id=command.adjustment_id,
            cause="hr",
            lot_id=reference if command.minutes > 0 else None,
            minutes=command.minutes,
            effective_date=command.effective_date,
            expires_on=command.expires_on,
            reason=command.reason,
            entries=entries,
        )
    ]


def _entries(found: Walk, reference: str) -> tuple[LedgerEntry, ...]:
    return tuple(
        LedgerEntry(lot_id=one.lot_id, date=one.date, minutes=-one.minutes) for one in found.uses.get(reference, ())
    )


def _unlimited_entries(days: Iterable[tuple[date, int]]) -> tuple[LedgerEntry, ...]:
    return tuple(LedgerEntry(lot_id=None, date=day, minutes=-minutes) for day, minutes in days)


def _reversed(entries: Iterable[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    return tuple(LedgerEntry(lot_id=one.lot_id, date=one.date, minutes=-one.minutes) for one in entries)


def _reserved(command: Reserve, entries: tuple[LedgerEntry, ...]) -> BalanceReserved:
    return BalanceReserved(
        employee_id=command.employee_id,
        request_id=command.request_id,
        revision=command.revision,
        leave_type=command.leave_type,
        replaces_revision=command.replaces_revision,
        days=command.days,
        entries=entries,
        rests_on=command.rests_on,
    )


def _insufficient(
    command: Reserve, available: int, cause: Literal["balance", "waiting-period", "unknown-leave-type"]
) -> BalanceInsufficient:
    return BalanceInsufficient(
        employee_id=command.employee_id,
        request_id=command.request_id,
        revision=command.revision,
        leave_type=command.leave_type,
        requested_minutes=sum(one.entitlement_minutes for one in command.days),
        available_minutes=available,
        cause=cause,
    )


def _released(
    employee_id: str, request_id: str, booking: Booking, cause: Literal["refused", "cancelled", "superseded"]
) -> BalanceReleased:
    return BalanceReleased(
        employee_id=employee_id,
        request_id=request_id,
        revision=booking.revision,
        leave_type=booking.leave_type,
        cause=cause,
        entries=_reversed(booking.entries),
    )


def _credited(
    employee_id: str,
    request_id: str,
    booking: Booking,
    cause: Literal["cancelled", "replaced"],
    replaced_by: int | None,
) -> BalanceCredited:
    return BalanceCredited(
        employee_id=employee_id,
        request_id=request_id,
        revision=booking.revision,
        leave_type=booking.leave_type,
        cause=cause,
        replaced_by_revision=replaced_by,
        entries=_reversed(booking.entries),
    )


LEAVE_ACCOUNT: Decider[AccountCommand, Account, AccountEvent] = Decider(
    category="leave-account",
    topic="leave.balances.v1",
    initial=Account(),
    decide=decide,
    evolve=evolve,
    state_type=Account,
)
