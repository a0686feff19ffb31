"""The rules that a leave must keep by itself; whether it overlaps with another is for the book to say.

`shaped` refuses what is no interval at all. `broken_rules` names every rule that an interval breaks, so that a preview
shows them all; a command is refused for the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta

from lms.kernel.errors import DomainError, FieldError
from lms.requests.decider.chargeable import (
    NOMINAL_HALF_DAY_MINUTES,
    Dated,
    DayCharge,
    Interval,
    Unit,
    Work,
    in_force,
)
from lms.requests.decider.errors import (
    EndBeforeStart,
    HoursNotAllowed,
    InBlackout,
    IntervalTooLong,
    LongerThanAllowed,
    NothingToCharge,
    NoticeTooShort,
    OutsideEmployment,
    PartNotAllowed,
    WithinWaitingPeriod,
)
from lms.requests.events import DayPart, RestsOn

LONGEST_INTERVAL_DAYS = 366


@dataclass(frozen=True)
class LeaveTerms:
    """What the rules need of a leave type."""

    leave_type: str
    unit: Unit
    needs_approval: bool
    min_notice_days: int = 0
    max_length_days: int | None = None


@dataclass(frozen=True)
class PolicyVersion:
    """What the rules need of a version of a policy; `locations` None: everywhere. Blackouts include both days."""

    policy_id: str
    version: int
    effective_from: date
    locations: tuple[str, ...] | None = None
    waiting_period_days: int = 0
    blackouts: tuple[tuple[date, date], ...] = ()


@dataclass(frozen=True)
class Employment:
    """When somebody is employed, and at which locations over time; `last_day` None: nobody knows one."""

    employed_from: date
    last_day: date | None
    locations: Dated[str]


@dataclass(frozen=True)
class Facts:
    """Everything foreign that a revision rests on, and the versions in which it was known."""

    employment: Employment
    work: Work
    terms: LeaveTerms
    policies: tuple[PolicyVersion, ...] = ()
    rests_on: tuple[RestsOn, ...] = ()

    def policy_on(self, day: date) -> PolicyVersion | None:
        """Return the policy that applies on `day`: one for the person's location precedes one for everywhere."""
        newest: dict[str, PolicyVersion] = {}
        for one in self.policies:
            held = newest.get(one.policy_id)
            if one.effective_from <= day and (held is None or one.version > held.version):
                newest[one.policy_id] = one
        location = in_force(self.employment.locations, day)
        local = [one for one in newest.values() if one.locations is not None and location in one.locations]
        everywhere = [one for one in newest.values() if one.locations is None]
        return min(local or everywhere, key=lambda one: one.policy_id, default=None)


def shaped(interval: Interval, unit: Unit) -> Interval:
    """Return the interval with the parts of a single day made one.

    On a single day a half given for either end is the half that is meant, and a morning and an afternoon are the full
    day. Raises EndBeforeStart, IntervalTooLong, PartNotAllowed or HoursNotAllowed.
    """
    if interval.end_date < interval.start_date:
        raise EndBeforeStart("The leave ends before it starts.", (FieldError("/end_date", "is before start_date"),))
    if interval.length > LONGEST_INTERVAL_DAYS:
        raise IntervalTooLong(
            f"One request spans at most {LONGEST_INTERVAL_DAYS} days; make several.",
            (FieldError("/end_date", "is too far from start_date"),),
        )
    start_part, end_part = _parts(interval)
    if unit == "day" and (start_part, end_part) != ("full", "full"):
        raise PartNotAllowed(
            "This leave type is taken in whole days.", (FieldError("/start_part", "must be full, as end_part"),)
        )
    shaped_interval = replace(interval, start_part=start_part, end_part=end_part)
    _check_hours(shaped_interval, unit)
    return shaped_interval


def _parts(interval: Interval) -> tuple[DayPart, DayPart]:
    start, end = interval.start_part, interval.end_part
    if interval.length > 1:
        if start == "morning":
            raise PartNotAllowed(
                "Leave of several days starts with a full day or an afternoon.",
                (FieldError("/start_part", "leaves a gap after the first morning"),),
            )
        if end == "afternoon":
            raise PartNotAllowed(
                "Leave of several days ends with a full day or a morning.",
                (FieldError("/end_part", "leaves a gap before the last afternoon"),),
            )
        return start, end
    match start, end:
        case "afternoon", "morning":
            raise EndBeforeStart("The leave ends before it starts.", (FieldError("/end_part", "is before start_part"),))
        case ("full", part) | (part, "full"):
            return part, part
        case "morning", "afternoon":
            return "full", "full"
    return start, end


def _check_hours(interval: Interval, unit: Unit) -> None:
    begin, end = interval.from_time, interval.to_time
    if begin is None and end is None:
        return
    if begin is None or end is None:
        missing = "/from_time" if begin is None else "/to_time"
        raise HoursNotAllowed("Hours have both a beginning and an end.", (FieldError(missing, "is missing"),))
    if unit != "hour":
        raise HoursNotAllowed("This leave type is not taken in hours.", (FieldError("/from_time", "must be left out"),))
    if interval.length > 1 or interval.start_part != "full":
        raise HoursNotAllowed(
            "Hours are those of one day, without a part of the day.",
            (FieldError("/from_time", "needs start_date and end_date to be the same, and no parts"),),
        )
    if not _whole_minutes(begin) or not _whole_minutes(end):
        raise HoursNotAllowed(
            "Hours are local times in whole minutes, without an offset.", (FieldError("/from_time", "is no HH:MM"),)
        )
    if end <= begin:
        raise EndBeforeStart("The leave ends before it starts.", (FieldError("/to_time", "is not after from_time"),))


def _whole_minutes(moment: time) -> bool:
    return moment.second == 0 and moment.microsecond == 0 and moment.tzinfo is None


def broken_rules(
    interval: Interval,
    charges: Sequence[DayCharge],
    facts: Facts,
    *,
    today: date,
    booked_before: Mapping[date, int],
) -> Iterator[DomainError]:
    """Yield what is wrong with an interval; nothing when it keeps all rules.

    Notice, blackouts and the waiting period regard only the days that cost more than the entitlement minutes that the
    request has `booked_before`: so leave can always be made shorter, but no booked day can be made longer. The maximum
    length is measured in nominal days of 480 minutes, and for types in hours in charged days.
    """
    outside = _outside_employment(interval, facts.employment)
    if outside is not None:
        yield outside
        return
    charged = [one for one in charges if one.entitlement_minutes or one.scheduled_minutes]
    if not charged:
        yield NothingToCharge("Nothing of these days is left to take: they are days off, holidays or booked already.")
        return
    new = [one.date for one in charged if one.entitlement_minutes > booked_before.get(one.date, 0)]
    if new:
        yield from _untimely(new, facts, today)
    longest = facts.terms.max_length_days
    if longest is not None and _is_longer(charged, longest, facts.terms.unit):
        yield LongerThanAllowed(f"Leave of this type lasts at most {longest} days at a time.")


def _outside_employment(interval: Interval, employment: Employment) -> OutsideEmployment | None:
    if interval.start_date < employment.employed_from:
        return OutsideEmployment(
            f"The employment begins on {employment.employed_from}.",
            (FieldError("/start_date", "is before the employment"),),
        )
    if employment.last_day is not None and interval.end_date > employment.last_day:
        return OutsideEmployment(
            f"The employment ends on {employment.last_day}.", (FieldError("/end_date", "is after the employment"),)
        )
    return None


def _untimely(days: Sequence[date], facts: Facts, today: date) -> Iterator[DomainError]:
    notice = facts.terms.min_notice_days
    if notice and (days[0] - today).days < notice:
        yield NoticeTooShort(
            f"Leave of this type is asked for at least {notice} days before; the first day possible is"
            f" {today + timedelta(days=notice)}.",
            (FieldError("/start_date", "is too soon"),),
        )
    opening = facts.policy_on(days[0])
    if opening is not None and opening.waiting_period_days:
        first = facts.employment.employed_from + timedelta(days=opening.waiting_period_days)
        if days[0] < first:
            yield WithinWaitingPeriod(
                f"Leave of this type can be taken from {first} on.", (FieldError("/start_date", "is too soon"),)
            )
    for day in days:
        policy = facts.policy_on(day)
        if policy is not None and any(first <= day <= last for first, last in policy.blackouts):
            yield InBlackout(f"No leave of this type can be taken on {day}.")
            return


def _is_longer(charged: Sequence[DayCharge], longest: int, unit: Unit) -> bool:
    if unit == "hour":
        return len(charged) > longest
    return sum(one.entitlement_minutes for one in charged) > longest * 2 * NOMINAL_HALF_DAY_MINUTES
