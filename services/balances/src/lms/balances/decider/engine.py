"""The walk through time: which lot covers which day, what expires, what carries over, how far a balance is overdrawn.

Everything here follows from the lots, the days taken and the terms; nothing is remembered from an earlier walk. On
each day, in this order: lots past their last valid day expire; on 1 January what remains of the closed year carries
over up to the limit and the rest expires, under the policy of its last day or, where none applied any more, the last
one before; lots that begin repay an overdraft first and are cut back to the cap; days taken consume valid lots, oldest
expiry first, and overdraw by what no lot covers.
"""

import heapq
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal, NamedTuple

from lms.balances.decider.rulebook import Terms
from lms.balances.events import PolicyPublished

_DAY = timedelta(days=1)
ExpiryCause = Literal["validity", "year-end", "cap"]


@dataclass(frozen=True)
class Lot:
    """Minutes that came in together. `expires_on` is the last valid day; None leaves it to the year's end."""

    lot_id: str
    kind: Literal["grant", "accrual", "carry-over", "adjustment"]
    minutes: int
    effective_date: date
    expires_on: date | None = None
    period: str = ""
    policy_id: str | None = None
    policy_version: int | None = None

    @property
    def capped(self) -> bool:
        """Whether the policy's cap cuts the lot back: what a policy grants, not what was given by hand."""
        return self.kind in {"grant", "accrual"}


class Taking(NamedTuple):
    """Minutes that `reference` (a revision, a negative adjustment) takes on a day."""

    date: date
    reference: str
    minutes: int


class Use(NamedTuple):
    """Minutes of one lot (None: overdraft) that cover a taking on a day."""

    lot_id: str | None
    date: date
    minutes: int


class Repayment(NamedTuple):
    """Minutes of a new lot that repaid an overdraft."""

    lot_id: str
    date: date
    minutes: int


class Expiry(NamedTuple):
    """Minutes of a lot that lapse; `date` is the first day on which they no longer count."""

    lot_id: str
    cause: ExpiryCause
    date: date
    minutes: int


@dataclass(frozen=True)
class Carry:
    """What goes over from `year` into `lot`, and out of which lots."""

    year: int
    lot: Lot
    sources: tuple[tuple[str, int], ...]


@dataclass
class _Open:
    """A lot during the walk."""

    lot: Lot
    remaining: int

    def order(self) -> tuple[date, int, date, str]:
        """Return the place in the order of consumption: oldest expiry first, carried-over ones before new ones."""
        lot = self.lot
        last_day = lot.expires_on or date(lot.effective_date.year, 12, 31)
        return (last_day, 0 if lot.kind == "carry-over" else 1, lot.effective_date, lot.lot_id)


@dataclass
class Walk:
    """What a walk found. `debts` is the overdraft at the end of each day on which it changed."""

    remaining: dict[str, int] = field(default_factory=dict)
    lots: dict[str, Lot] = field(default_factory=dict)
    debt: int = 0
    debts: list[tuple[date, int]] = field(default_factory=list)
    uses: dict[str, list[Use]] = field(default_factory=lambda: defaultdict(list))
    repayments: list[Repayment] = field(default_factory=list)
    expiries: list[Expiry] = field(default_factory=list)
    carries: dict[int, Carry] = field(default_factory=dict)

    @property
    def balance(self) -> int:
        """What remains of all valid lots, less the overdraft."""
        return sum(self.remaining.values()) - self.debt

    def debt_on(self, day: date) -> int:
        """Return the overdraft at the end of `day`."""
        place = bisect_right(self.debts, (day, _ENDLESS)) - 1
        return self.debts[place][1] if place >= 0 else 0


_ENDLESS = 2**62


def walk(leave_type: str, lots: Iterable[Lot], takings: Iterable[Taking], terms: Terms, until: date) -> Walk:
    """Walk to the end of day `until`. `lots` are all but the carried-over ones, which the walk makes itself."""
    beginnings: dict[date, list[Lot]] = defaultdict(list)
    for lot in lots:
        beginnings[lot.effective_date].append(lot)
    taken: dict[date, list[Taking]] = defaultdict(list)
    for taking in takings:
        taken[taking.date].append(taking)
    return _Walker(leave_type, terms, until, beginnings, taken).run()


class _Walker:
    """The state of one walk."""

    def __init__(
        self,
        leave_type: str,
        terms: Terms,
        until: date,
        beginnings: dict[date, list[Lot]],
        taken: dict[date, list[Taking]],
    ) -> None:
        self._leave_type = leave_type
        self._terms = terms
        self._until = until
        self._beginnings = beginnings
        self._taken = taken
        self._valid: list[tuple[tuple[date, int, date, str], _Open]] = []
        self._turns: list[date] = []
        self._result = Walk()

    def run(self) -> Walk:
        known = sorted({*self._beginnings, *self._taken})
        if known:
            self._turns = known + [date(year, 1, 1) for year in range(known[0].year + 1, self._until.year + 1)]
            heapq.heapify(self._turns)
        previous: date | None = None
        while self._turns and self._turns[0] <= self._until:
            day = heapq.heappop(self._turns)
            if day != previous:
                self._live(day)
                previous = day
        self._result.remaining = {one.lot.lot_id: one.remaining for _, one in self._valid if one.remaining}
        return self._result

    def _live(self, day: date) -> None:
        self._expire(day)
        if day.month == 1 and day.day == 1:
            self._close_year(day.year - 1)
        for lot in sorted(self._beginnings.get(day, ()), key=lambda one: one.lot_id):
            self._begin(lot)
        for taking in sorted(self._taken.get(day, ())):
            self._take(taking)
        debts = self._result.debts
        if self._result.debt != (debts[-1][1] if debts else 0):
            debts.append((day, self._result.debt))

    def _expire(self, day: date) -> None:
        kept = []
        for entry in self._valid:
            lot = entry[1].lot
            if lot.expires_on is None or lot.expires_on >= day:
                kept.append(entry)
            elif entry[1].remaining:
                self._result.expiries.append(Expiry(lot.lot_id, "validity", lot.expires_on + _DAY, entry[1].remaining))
        self._valid = kept

    def _close_year(self, year: int) -> None:
        policy = self._terms.last_by(date(year, 12, 31))
        if policy is None:
            return
        closing = [one for _, one in self._valid if one.lot.expires_on is None]
        self._valid = [entry for entry in self._valid if entry[1].lot.expires_on is not None]
        limit = policy.carry_over_limit_minutes
        carried = total = sum(one.remaining for one in closing)
        if limit is not None:
            carried = min(total, limit)
        sources: list[tuple[str, int]] = []
        lapsing = total - carried
        next_day = date(year + 1, 1, 1)
        for one in closing:
            lost = min(one.remaining, lapsing)
            lapsing -= lost
            if lost:
                self._result.expiries.append(Expiry(one.lot.lot_id, "year-end", next_day, lost))
            if one.remaining > lost:
                sources.append((one.lot.lot_id, one.remaining - lost))
        if carried:
            lot = self._carried_lot(year, carried, policy)
            self._result.carries[year] = Carry(year, lot, tuple(sources))
            self._begin(lot)

    def _carried_lot(self, year: int, minutes: int, policy: PolicyPublished) -> Lot:
        expires_on = None
        if policy.carry_over_expires is not None:
            expires_on = date.fromisoformat(f"{year + 1}-{policy.carry_over_expires}")
        return Lot(
            lot_id=f"{self._leave_type}.{year + 1}.carry-over",
            kind="carry-over",
            minutes=minutes,
            effective_date=date(year + 1, 1, 1),
            expires_on=expires_on,
            period=str(year + 1),
            policy_id=policy.policy_id,
            policy_version=policy.version,
        )

    def _begin(self, lot: Lot) -> None:
        one = _Open(lot, lot.minutes)
        result = self._result
        result.lots[lot.lot_id] = lot
        repaid = min(result.debt, one.remaining)
        if repaid:
            result.debt -= repaid
            one.remaining -= repaid
            result.repayments.append(Repayment(lot.lot_id, lot.effective_date, repaid))
        if lot.capped:
            self._cut_back(one)
        if lot.expires_on is not None:
            heapq.heappush(self._turns, lot.expires_on + _DAY)
        insort(self._valid, (one.order(), one), key=lambda entry: entry[0])

    def _cut_back(self, one: _Open) -> None:
        policy = self._terms.on(one.lot.effective_date)
        if policy is None or policy.cap_minutes is None:
            return
        total = one.remaining + sum(other.remaining for _, other in self._valid)
        excess = min(total - policy.cap_minutes, one.remaining)
        if excess > 0:
            one.remaining -= excess
            self._result.expiries.append(Expiry(one.lot.lot_id, "cap", one.lot.effective_date, excess))

    def _take(self, taking: Taking) -> None:
        result = self._result
        uses = result.uses[taking.reference]
        open_minutes = taking.minutes
        for _, one in self._valid:
            if not open_minutes:
                return
            used = min(one.remaining, open_minutes)
            if used:
                one.remaining -= used
                open_minutes -= used
                uses.append(Use(one.lot.lot_id, taking.date, used))
        if open_minutes:
            result.debt += open_minutes
            uses.append(Use(None, taking.date, open_minutes))


class Breach(NamedTuple):
    """The worst day of a change: by how many minutes it overdraws beyond what it may."""

    date: date
    excess: int


def excess(before: Walk, after: Walk, terms: Terms) -> int:
    """Return by how many minutes, on its worst day, `after` is overdrawn beyond what it may be; 0 where it nowhere is.

    A day may be overdrawn by its negative limit, or as far as `before` already was: a balance that stands beyond the
    limit for another reason takes no new leave, and refuses none that costs it nothing.
    """
    days = {day for day, _ in (*before.debts, *after.debts)}
    return max(
        (max(0, after.debt_on(day) - max(terms.negative_limit(day), before.debt_on(day))) for day in days),
        default=0,
    )
