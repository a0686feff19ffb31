"""What leave costs after a later change of holidays, work schedule or location.

The changed dates of all leave, open and confirmed, are charged anew, as if it had been asked for once more in the order
in which it was first asked for: so what each day costs follows from the leave and the facts of today alone, and doing
it twice changes nothing. All other days keep what they cost. No rule is checked: the change is the company's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from lms.requests.decider.chargeable import Booked, Interval, Unit, Work, charge, charged_days, taken_by
from lms.requests.decider.states import Book, Request, Revision
from lms.requests.events import ChargedDay


@dataclass(frozen=True)
class Changed:
    """The dates that a fact may have changed: those of `dates`, or, where that is None, all from `since` on.

    `since` None: all dates.
    """

    since: date | None = None
    dates: frozenset[date] | None = None

    def within(self, interval: Interval) -> list[date]:
        """Return the days of an interval that may have changed, in their order."""
        if self.dates is not None:
            return sorted(day for day in self.dates if interval.covers(day))
        first = interval.start_date if self.since is None else max(self.since, interval.start_date)
        return [first + timedelta(days=number) for number in range((interval.end_date - first).days + 1)]


class Touched(NamedTuple):
    """The first and the last day that may have changed of somebody's leave, and the types of that leave."""

    first: date
    last: date
    leave_types: frozenset[str]


def touched(book: Book, changed: Changed) -> Touched | None:
    """Return what is to be looked at; None for nothing."""
    days: set[date] = set()
    leave_types: set[str] = set()
    for request in book.requests.values():
        for revision in request.booking:
            within = changed.within(revision.interval)
            if within:
                days.update((within[0], within[-1]))
                leave_types.add(request.leave_type)
    return Touched(min(days), max(days), frozenset(leave_types)) if days else None


class Recharged(NamedTuple):
    """A revision, and all of its days as the facts of today have them."""

    request: Request
    revision: Revision
    days: tuple[ChargedDay, ...]


def recharged(book: Book, changed: Changed, work: Work, units: Mapping[str, Unit]) -> Iterator[Recharged]:
    """Yield every revision that is open or confirmed and has a changed date, whether it costs something else or not.

    A day at a time that an earlier request takes is not taken twice: the later request goes without it. Days that were
    cancelled stay so.
    """
    earlier: dict[date, list[tuple[Booked, ...]]] = {}
    for request in sorted(book.requests.values(), key=lambda one: one.request_id):  # ids count up with time
        taken: dict[date, list[Booked]] = {}
        for revision in request.booking:
            dates = changed.within(revision.interval)
            if not dates:
                continue
            unit = units[request.leave_type]
            days = charged_days(
                [
                    charge(day, revision.interval, unit, work, taken_by(earlier.get(day, [])))
                    for day in dates
                    if day not in revision.cancelled and not _overlaps(revision.interval, day, earlier.get(day, []))
                ]
            )
            for one in days:
                booked = Booked(one.date, *revision.interval.minutes_on(one.date), one.scheduled_minutes)
                taken.setdefault(one.date, []).append(booked)
            kept = [day for day in revision.days if day.date not in set(dates)]
            yield Recharged(request, revision, tuple(sorted([*kept, *days], key=lambda one: one.date)))
        for day, both in taken.items():
            earlier.setdefault(day, []).append(tuple(both))


def _overlaps(interval: Interval, day: date, requests: Sequence[Sequence[Booked]]) -> bool:
    return any(one.overlaps(*interval.minutes_on(day)) for booked in requests for one in booked)
