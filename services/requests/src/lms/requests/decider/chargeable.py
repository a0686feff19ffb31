"""What a leave costs, day by day, from the work schedules and holidays that hold on each day.

Types in days and half-days cost nominal minutes: 240 for each scheduled half-day that is no holiday, whatever its
length. Types in hours cost scheduled minutes. A schedule says how many minutes are worked before and after noon, not
when: hours before noon cost at most the morning's minutes, hours after noon at most the afternoon's. What other leave
takes of a half is not there to be charged again.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from operator import add
from typing import Literal, NamedTuple, TypeVar

from lms.requests.events import ChargedDay, DayPart

NOMINAL_HALF_DAY_MINUTES = 240
NOON_MINUTES = 12 * 60
DAY_MINUTES = 24 * 60

Unit = Literal["day", "half-day", "hour"]
Halves = tuple[int, int]
"""Minutes of a morning and of an afternoon."""

T = TypeVar("T")
Dated = tuple[tuple[date, T], ...]
"""What holds from which day on, in the order of the days; the first also counts for the time before it."""

Taken = Mapping[date, Halves]
"""By day, the scheduled minutes of each half that other leave takes."""

_NOTHING_TAKEN: Taken = {}


@dataclass(frozen=True)
class Schedule:
    """The scheduled minutes of each half-day: weeks of seven days from Monday on, which rotate from `anchor`."""

    anchor: date
    weeks: tuple[tuple[Halves, ...], ...]

    def on(self, day: date) -> Halves:
        """Return the scheduled minutes of the day's halves."""
        week = (day - self.anchor).days // 7
        return self.weeks[week % len(self.weeks)][day.weekday()]


@dataclass(frozen=True)
class Work:
    """By which schedules and holidays somebody works; the holidays are those of the locations over time."""

    schedules: Dated[Schedule]
    holidays: Dated[Mapping[date, DayPart]] = ()

    def scheduled_on(self, day: date) -> Halves:
        """Return the scheduled minutes of the day's halves, holidays not regarded."""
        return in_force(self.schedules, day).on(day)

    def holiday_on(self, day: date) -> DayPart | None:
        """Return which part of the day is a holiday."""
        return in_force(self.holidays, day).get(day) if self.holidays else None


@dataclass(frozen=True)
class Interval:
    """What is asked for: whole days with a part at either end, or hours of a single day.

    `start_part` is the part taken of the first day and `end_part` of the last; on a single day both are the same.
    """

    start_date: date
    end_date: date
    start_part: DayPart = "full"
    end_part: DayPart = "full"
    from_time: time | None = None
    to_time: time | None = None

    @property
    def length(self) -> int:
        """The number of calendar days."""
        return (self.end_date - self.start_date).days + 1

    def part_on(self, day: date) -> DayPart:
        """Return which part of one of its days is taken."""
        if day == self.start_date:
            return self.start_part
        return self.end_part if day == self.end_date else "full"

    def minutes_on(self, day: date) -> tuple[int, int]:
        """Return from which to which minute of one of its days the interval reaches."""
        return minutes_of(self.part_on(day), self.from_time, self.to_time)

    def covers(self, day: date) -> bool:
        """Say whether a day is one of its days."""
        return self.start_date <= day <= self.end_date


class Booked(NamedTuple):
    """A day that is booked: from which minute to which, and how many scheduled minutes that costs."""

    date: date
    begin: int
    end: int
    scheduled_minutes: int

    def overlaps(self, begin: int, end: int) -> bool:
        """Say whether it books any of the minutes from `begin` to `end` of its day."""
        return self.begin < end and begin < self.end

    @property
    def taken(self) -> Halves:
        """What it takes of each half at most: of hours across noon only the sum is known for certain."""
        morning, afternoon = halves_of(self.begin, self.end)
        return min(morning, self.scheduled_minutes), min(afternoon, self.scheduled_minutes)


@dataclass(frozen=True)
class DayCharge:
    """One day of an interval and what it costs; `holiday` is the part of it that is a holiday."""

    date: date
    part: DayPart
    entitlement_minutes: int
    scheduled_minutes: int
    holiday: DayPart | None = field(default=None)


def in_force(dated: Sequence[tuple[date, T]], day: date) -> T:
    """Return what holds on `day`."""
    place = bisect_right([since for since, _ in dated], day)
    return dated[max(place - 1, 0)][1]


def days_of(interval: Interval) -> Iterator[date]:
    """Yield the calendar days of an interval."""
    for number in range(interval.length):
        yield interval.start_date + timedelta(days=number)


def per_day(
    interval: Interval,
    unit: Unit,
    work: Work,
    *,
    cancelled: Collection[date] = (),
    taken: Taken = _NOTHING_TAKEN,
) -> tuple[DayCharge, ...]:
    """Return every day of the interval with what it costs, also those that cost nothing, as `cancelled` ones do."""
    return tuple(
        DayCharge(day, interval.part_on(day), 0, 0, work.holiday_on(day))
        if day in cancelled
        else charge(day, interval, unit, work, taken.get(day, (0, 0)))
        for day in days_of(interval)
    )


def charged_days(charges: Sequence[DayCharge]) -> tuple[ChargedDay, ...]:
    """Return the days that cost something, as events carry them."""
    return tuple(
        ChargedDay(
            date=one.date,
            part=one.part,
            entitlement_minutes=one.entitlement_minutes,
            scheduled_minutes=one.scheduled_minutes,
        )
        for one in charges
        if one.entitlement_minutes or one.scheduled_minutes
    )


def minutes_of(part: DayPart, from_time: time | None, to_time: time | None) -> Halves:
    """Return from which to which minute of the day a part, or hours where they are given, reach."""
    if from_time is not None and to_time is not None:
        return from_time.hour * 60 + from_time.minute, to_time.hour * 60 + to_time.minute
    match part:
        case "morning":
            return 0, NOON_MINUTES
        case "afternoon":
            return NOON_MINUTES, DAY_MINUTES
        case "full":
            return 0, DAY_MINUTES


def halves_of(begin: int, end: int) -> Halves:
    """Return how many of the minutes from `begin` to `end` of a day lie before noon, and how many after."""
    return max(0, min(end, NOON_MINUTES) - begin), max(0, end - max(begin, NOON_MINUTES))


def taken_by(requests: Iterable[Sequence[Booked]]) -> Halves:
    """Return what requests take of a day's halves: of a request's two booked revisions one will stand, the dearer."""
    total: Halves = (0, 0)
    for booked in requests:
        most: Halves = (0, 0)
        for one in booked:
            most = _each(max, most, one.taken)
        total = _each(add, total, most)
    return total


def _each(combine: Callable[[int, int], int], one: Halves, other: Halves) -> Halves:
    return combine(one[0], other[0]), combine(one[1], other[1])


def charge(day: date, interval: Interval, unit: Unit, work: Work, elsewhere: Halves) -> DayCharge:
    """Return what one day of an interval costs; `elsewhere` is what other leave takes of its halves."""
    part = interval.part_on(day)
    holiday = work.holiday_on(day)
    asked = halves_of(*interval.minutes_on(day))
    left = tuple(
        0 if holiday in ("full", half) else max(0, scheduled - gone)
        for half, scheduled, gone in zip(("morning", "afternoon"), work.scheduled_on(day), elsewhere, strict=True)
    )
    taken = [min(minutes, limit) for minutes, limit in zip(left, asked, strict=True)]
    scheduled = sum(taken)
    entitlement = scheduled if unit == "hour" else NOMINAL_HALF_DAY_MINUTES * sum(1 for one in taken if one)
    return DayCharge(day, part, entitlement, scheduled, holiday)
