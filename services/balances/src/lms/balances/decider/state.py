"""What a leave account remembers, how facts change it, and what it says about lots and days taken.

The account remembers what came in (lots), what was booked (revisions of requests), what was taken by hand, and what it
has recorded of expiry and carry-over. Which lot covers which day it does not remember: that follows from the walk.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, NamedTuple, assert_never

from lms.balances.decider import plan
from lms.balances.decider.engine import Lot, Taking
from lms.balances.decider.rulebook import Employment, Location, Rulebook, Terms
from lms.balances.events import (
    AccountEvent,
    BalanceAdjusted,
    BalanceCarriedOver,
    BalanceCredited,
    BalanceDebited,
    BalanceExpired,
    BalanceGrantCorrected,
    BalanceGranted,
    BalanceInsufficient,
    BalanceRecharged,
    BalanceReleased,
    BalanceReserved,
    ChargedDay,
    EmploymentNoted,
    LedgerEntry,
)


@dataclass(frozen=True)
class Booking:
    """One revision of a request, as the account has answered it. Ended ones keep neither days nor entries."""

    revision: int
    leave_type: str
    state: Literal["reserved", "debited", "released", "credited", "insufficient"]
    days: tuple[tuple[date, int], ...] = ()
    entries: tuple[LedgerEntry, ...] = ()


@dataclass(frozen=True)
class Expired:
    """What is recorded as expired of one lot for one cause."""

    date: date
    minutes: int


@dataclass(frozen=True)
class Carried:
    """What is recorded as carried over from one year: minutes by source lot, and the lot they went into."""

    lot: Lot
    sources: dict[str, int]


@dataclass(frozen=True)
class Holding:
    """What the account remembers of one leave type. `expired` is keyed `<lot>|<cause>`, `carried` by the year left."""

    lots: dict[str, Lot] = field(default_factory=dict)
    expired: dict[str, Expired] = field(default_factory=dict)
    carried: dict[str, Carried] = field(default_factory=dict)
    withdrawals: tuple[Taking, ...] = ()


@dataclass(frozen=True)
class Account:
    """The state. `through` is the last date of anything that fell due and is recorded."""

    employee_id: str = ""
    employment: Employment | None = None
    through: date | None = None
    holdings: dict[str, Holding] = field(default_factory=dict)
    requests: dict[str, tuple[Booking, ...]] = field(default_factory=dict)

    def holding(self, leave_type: str) -> Holding:
        """Return what is remembered of one leave type."""
        return self.holdings.get(leave_type, Holding())

    def standing(self, request_id: str) -> Booking | None:
        """Return the revision that is debited, if one is."""
        return next((one for one in self.requests.get(request_id, ()) if one.state == "debited"), None)

    def open(self, request_id: str) -> Booking | None:
        """Return the revision that is reserved, if one is."""
        return next((one for one in self.requests.get(request_id, ()) if one.state == "reserved"), None)


class Future(NamedTuple):
    """Which open amendments (request ids) are seen as confirmed, and which are held beside their predecessors."""

    confirmed: frozenset[str] = frozenset()
    doubled: frozenset[str] = frozenset()


_PRESENT = Future()
"""The books as they stand: predecessors stand, amendments hold what they need beyond them."""


def lots_through(state: Account, leave_type: str, rulebook: Rulebook, until: date) -> list[Lot]:
    """Return the recorded lots and those that the policies will have granted by `until`.

    Lots of the newest year of which anything was granted are what the policies have them be now, whatever was
    recorded; the years before it stand as they were recorded.
    """
    recorded = state.holding(leave_type).lots
    if state.employment is None:
        return list(recorded.values())
    granted = [one.effective_date.year for one in recorded.values() if one.period]
    newest = max(granted, default=state.employment.employed_from.year)
    wanted = Plan(leave_type, state.employment, rulebook, newest, max(until, date(newest, 12, 31)))
    stands = [one for one in recorded.values() if not one.period or one.effective_date.year < newest]
    return [
        *stands,
        *(wanted.of(one) for one in recorded.values() if one.period and one.effective_date.year == newest),
        *(one for one in wanted.lots.values() if one.lot_id not in recorded and one.effective_date <= until),
    ]


class Plan:
    """What the policies grant to a person from `from_year` on, up to `until`: `lots` by their ids."""

    def __init__(
        self, leave_type: str, employment: Employment, rulebook: Rulebook, from_year: int, until: date
    ) -> None:
        self._terms = rulebook.terms(leave_type, employment)
        self.lots = {
            one.lot_id: one for one in _planned(leave_type, employment, self._terms, from_year=from_year, until=until)
        }

    def of(self, lot: Lot) -> Lot:
        """Return a granted lot as the plan has it: as large, and of that policy; without minutes where it has none."""
        wanted = self.lots.get(lot.lot_id)
        minutes = wanted.minutes if wanted else 0
        if minutes == lot.minutes:
            return lot
        if wanted:
            return replace(lot, minutes=minutes, policy_id=wanted.policy_id, policy_version=wanted.policy_version)
        ruling = self._terms.on(lot.effective_date)
        return replace(
            lot,
            minutes=0,
            policy_id=ruling.policy_id if ruling else None,
            policy_version=ruling.version if ruling else None,
        )


def _planned(leave_type: str, employment: Employment, terms: Terms, *, from_year: int, until: date) -> Iterator[Lot]:
    for one in plan.grants(leave_type, employment, terms, from_year=from_year, until=until):
        yield Lot(
            lot_id=one.lot_id,
            kind=one.kind,
            minutes=one.minutes,
            effective_date=one.effective_date,
            period=one.period,
            policy_id=one.policy.policy_id,
            policy_version=one.policy.version,
        )


def waits(state: Account, leave_type: str, rulebook: Rulebook, day: date) -> bool:
    """Say whether leave cannot be taken on a day yet: before the employment, or within the policy's waiting period."""
    if state.employment is None:
        return False
    policy = rulebook.terms(leave_type, state.employment).on(day)
    return (day - state.employment.employed_from).days < (policy.waiting_period_days if policy else 0)


def takings(state: Account, leave_type: str, future: Future = _PRESENT) -> list[Taking]:
    """Return what is taken of a leave type: debited days, days set aside, and what was taken away by hand."""
    taken: list[Taking] = list(state.holding(leave_type).withdrawals)
    for request_id, bookings in state.requests.items():
        in_full = request_id in future.confirmed or request_id in future.doubled
        for booking in bookings:
            if booking.leave_type != leave_type:
                continue
            reference = reference_of(request_id, booking.revision)
            if (booking.state == "debited" and request_id not in future.confirmed) or (
                booking.state == "reserved" and in_full
            ):
                taken.extend(takings_of(reference, booking.days))
            elif booking.state == "reserved":
                taken.extend(Taking(one.date, reference, -one.minutes) for one in booking.entries)
    return taken


def reference_of(request_id: str, revision: int) -> str:
    """Return what a walk calls a revision of a request."""
    return f"{request_id}.{revision}"


def charged(days: Iterable[ChargedDay]) -> tuple[tuple[date, int], ...]:
    """Return the days that cost anything, with their entitlement minutes."""
    return tuple((one.date, one.entitlement_minutes) for one in days if one.entitlement_minutes)


def takings_of(reference: str, days: Iterable[tuple[date, int]]) -> list[Taking]:
    """Return days and minutes as what `reference` takes."""
    return [Taking(day, reference, minutes) for day, minutes in days]


def evolve(state: Account, event: AccountEvent) -> Account:  # noqa: C901, PLR0911, PLR0912  # one arm for each fact
    """Return the state after a fact."""
    match event:
        case EmploymentNoted():
            return replace(
                state,
                employee_id=event.employee_id,
                employment=Employment(
                    event.employed_from,
                    event.last_day,
                    tuple(Location(one.effective_from, one.location_id) for one in event.locations),
                ),
            )
        case BalanceGranted():
            lot = Lot(
                event.lot_id,
                event.kind,
                event.minutes,
                event.effective_date,
                event.expires_on,
                event.period,
                event.policy_id,
                event.policy_version,
            )
            return _with_lot(_reached(state, event.effective_date), event.leave_type, lot)
        case BalanceGrantCorrected():
            return _corrected(state, event)
        case BalanceCarriedOver():
            return _carried(_reached(state, event.effective_date), event)
        case BalanceExpired():
            return _expired(_reached(state, event.date), event)
        case BalanceAdjusted():
            return _adjusted(state, event)
        case BalanceReserved():
            days = charged(event.days)
            return _booked(
                state,
                event.request_id,
                Booking(event.revision, event.leave_type, "reserved", days, event.entries),
            )
        case BalanceDebited():
            days = charged(event.days)
            return _booked(
                state,
                event.request_id,
                Booking(event.revision, event.leave_type, "debited", days, event.entries),
            )
        case BalanceRecharged():
            return _recharged(state, event)
        case BalanceReleased():
            return _booked(state, event.request_id, Booking(event.revision, event.leave_type, "released"))
        case BalanceCredited():
            return _booked(state, event.request_id, Booking(event.revision, event.leave_type, "credited"))
        case BalanceInsufficient():
            return _booked(state, event.request_id, Booking(event.revision, event.leave_type, "insufficient"))
        case _:
            assert_never(event)


def _reached(state: Account, day: date) -> Account:
    return state if state.through is not None and day <= state.through else replace(state, through=day)


def _holding(state: Account, leave_type: str, holding: Holding) -> Account:
    return replace(state, holdings={**state.holdings, leave_type: holding})


def _with_lot(state: Account, leave_type: str, lot: Lot) -> Account:
    holding = state.holding(leave_type)
    return _holding(state, leave_type, replace(holding, lots={**holding.lots, lot.lot_id: lot}))


def _corrected(state: Account, event: BalanceGrantCorrected) -> Account:
    none = Lot(event.lot_id, "grant", 0, event.effective_date)
    lot = state.holding(event.leave_type).lots.get(event.lot_id, none)
    corrected = replace(
        lot,
        minutes=lot.minutes + event.minutes,
        policy_id=event.policy_id,
        policy_version=event.policy_version,
    )
    return _with_lot(state, event.leave_type, corrected)


def _carried(state: Account, event: BalanceCarriedOver) -> Account:
    holding = state.holding(event.leave_type)
    before = holding.carried.get(event.from_period)
    sources: Mapping[str, int] = before.sources if before else {}
    changed = dict(sources)
    for entry in event.entries:
        if entry.lot_id is not None and entry.lot_id != event.lot_id:
            changed[entry.lot_id] = changed.get(entry.lot_id, 0) - entry.minutes
    lot = Lot(
        event.lot_id,
        "carry-over",
        (before.lot.minutes if before else 0) + event.minutes,
        event.effective_date,
        event.expires_on,
        str(event.effective_date.year),
        event.policy_id,
        event.policy_version,
    )
    carried = Carried(lot, {lot_id: minutes for lot_id, minutes in changed.items() if minutes})
    return _holding(
        state,
        event.leave_type,
        replace(holding, carried={**holding.carried, event.from_period: carried}),
    )


def _expired(state: Account, event: BalanceExpired) -> Account:
    holding = state.holding(event.leave_type)
    key = f"{event.lot_id}|{event.cause}"
    before = holding.expired.get(key)
    expired = Expired(event.date, (before.minutes if before else 0) + event.minutes)
    return _holding(state, event.leave_type, replace(holding, expired={**holding.expired, key: expired}))


def _adjusted(state: Account, event: BalanceAdjusted) -> Account:
    holding = state.holding(event.leave_type)
    if event.lot_id is None:
        reference = f"adjustment.{event.adjustment_id}"
        withdrawn = Taking(event.effective_date, reference, -event.minutes)
        return _holding(state, event.leave_type, replace(holding, withdrawals=(*holding.withdrawals, withdrawn)))
    before = holding.lots.get(event.lot_id)
    if before is not None:
        return _with_lot(state, event.leave_type, replace(before, minutes=before.minutes + event.minutes))
    lot = Lot(event.lot_id, "adjustment", event.minutes, event.effective_date, event.expires_on)
    return _with_lot(state, event.leave_type, lot)


def _recharged(state: Account, event: BalanceRecharged) -> Account:
    before = next((one for one in state.requests.get(event.request_id, ()) if one.revision == event.revision), None)
    entries = summed((*(before.entries if before else ()), *event.entries))
    booked: Literal["reserved", "debited"] = "debited" if event.booking == "debit" else "reserved"
    days = tuple((one.date, one.entitlement_minutes) for one in event.days)
    return _booked(state, event.request_id, Booking(event.revision, event.leave_type, booked, days, entries))


def summed(entries: Iterable[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    """Return one entry for each day and lot, in their order; none where they sum to nothing."""
    minutes: Counter[tuple[date, str | None]] = Counter()
    for one in entries:
        minutes[one.date, one.lot_id] += one.minutes
    return tuple(
        LedgerEntry(lot_id=lot_id, date=day, minutes=total)
        for (day, lot_id), total in sorted(minutes.items(), key=lambda one: (one[0][0], one[0][1] or ""))
        if total
    )


def _booked(state: Account, request_id: str, booking: Booking) -> Account:
    others = tuple(one for one in state.requests.get(request_id, ()) if one.revision != booking.revision)
    return replace(state, requests={**state.requests, request_id: (*others, booking)})
