"""What the policies grant to a person over time: the planned lots, to the minute and without floating point.

Each accrual is the rounded cumulative entitlement of its year less what the year granted before, so that roundings
never drift. Halves of a minute round to even.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Literal

from lms.balances.decider.rulebook import Employment, Terms
from lms.balances.events import PolicyPublished

_MONTHS = 12


@dataclass(frozen=True)
class Grant:
    """One grant of the plan: `minutes` from `effective_date` on; one `period` of one kind is granted once."""

    lot_id: str
    kind: Literal["grant", "accrual"]
    period: str
    minutes: int
    effective_date: date
    policy: PolicyPublished


def grants(leave_type: str, employment: Employment, terms: Terms, *, from_year: int, until: date) -> Iterator[Grant]:
    """Yield what is granted from `from_year` on with an effective date up to `until`, in order of time.

    A year begins for a person on its first day on which they are employed and a policy applies. Whether it is granted
    up front or monthly is settled by the policy of that day, so that no year is granted twice.
    """
    for year in range(max(from_year, employment.employed_from.year), until.year + 1):
        begins = terms.next_from(max(employment.employed_from, date(year, 1, 1)))
        if begins is None:
            return
        start, opening = begins
        end = min(employment.last_day or date.max, date(year, 12, 31))
        if start > end:
            continue
        if opening.accrual == "up-front":
            granted: Iterator[Grant] = _up_front(leave_type, opening, start, end)
        else:
            granted = _monthly(leave_type, terms, start, end)
        yield from (one for one in granted if one.effective_date <= until and one.minutes)


def _up_front(leave_type: str, policy: PolicyPublished, start: date, end: date) -> Iterator[Grant]:
    entitlement = Fraction(policy.entitlement_minutes)
    if policy.pro_rata == "days":
        days_of_year = date(start.year, 12, 31).timetuple().tm_yday
        entitlement = entitlement * ((end - start).days + 1) / days_of_year
    elif policy.pro_rata == "months":
        entitlement = entitlement * sum(_counts(month, start, end) for month in range(1, _MONTHS + 1)) / _MONTHS
    yield Grant(f"{leave_type}.{start.year}", "grant", str(start.year), round(entitlement), start, policy)


def _monthly(leave_type: str, terms: Terms, start: date, end: date) -> Iterator[Grant]:
    cumulative = Fraction(0)
    before = 0
    for month in range(start.month, end.month + 1):
        days_of_month = monthrange(start.year, month)[1]
        last = min(end, date(start.year, month, days_of_month))
        covered = terms.next_from(max(start, date(start.year, month, 1)))
        if covered is None or covered[0] > last:
            continue
        first, policy = covered
        share = Fraction(policy.entitlement_minutes, _MONTHS)
        if policy.pro_rata == "days":
            share = share * ((last - first).days + 1) / days_of_month
        elif policy.pro_rata == "months":
            share = share * _counts(month, first, last)
        cumulative += share
        total = round(cumulative)
        period = f"{start.year}-{month:02}"
        effective = first if policy.accrual_at == "start" else last
        yield Grant(f"{leave_type}.{period}", "accrual", period, total - before, effective, policy)
        before = total


def _counts(month: int, start: date, end: date) -> int:
    """Return 1 when at least half of the month's days lie between `start` and `end`, else 0."""
    days_of_month = monthrange(start.year, month)[1]
    first = max(start, date(start.year, month, 1))
    last = min(end, date(start.year, month, days_of_month))
    return int(2 * ((last - first).days + 1) >= days_of_month)
