"""What happens in a demo company, Monday by Monday: who asks for which leave, who decides, who thinks better of it.

The history follows from the company alone. It knows the holidays and everybody's hours, so that leave is asked for on
days that somebody works; whether the balance covers it is for the system to say.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

from lms.cli.demo.company import DAY, Company, Person, Schedule, there_ahead

_FORESIGHT = timedelta(days=120)
"""How far behind the last Monday leave is asked for."""
_WEEKS_AHEAD = timedelta(weeks=6)
"""How long behind the end those take no leave as whom one tries the system."""

_REASONS = {
    "annual": ("Family holiday", "The sea", "Mountains", "Visiting my parents", "A long weekend", "Moving house", ""),
    "sick": ("Flu", "Migraine", "Back pain", "A cold", "Dentist"),
    "unpaid": ("A course", "A journey", "Personal matters"),
    "comp-off": ("Overtime of the release", "Overtime of the inventory"),
}
_NO = ("The team is too thin that week", "The release falls into these days", "Too many are away already")


@dataclass(frozen=True)
class Ask:
    """Somebody asks for leave; `key` names the request from then on."""

    key: str
    person: int
    leave_type: str
    start: date
    end: date
    part: str
    reason: str


@dataclass(frozen=True)
class Amend:
    """Somebody wants other days; `part` counts the amendments of the request."""

    key: str
    person: int
    start: date
    end: date


@dataclass(frozen=True)
class Cancel:
    """Somebody cancels the request, or only some days of it."""

    key: str
    person: int
    dates: tuple[date, ...] = ()


@dataclass(frozen=True)
class Adjust:
    """HR credits overtime."""

    key: str
    person: int
    minutes: int


Action = Ask | Amend | Cancel | Adjust


@dataclass(frozen=True)
class Verdict:
    """An approver decides on whatever is open of the request."""

    key: str
    approver: int
    approve: bool
    text: str


@dataclass(frozen=True)
class Hours:
    """Somebody changes their hours from a day on."""

    person: int
    schedule: Schedule
    since: date


@dataclass(frozen=True)
class TakeOver:
    """Somebody takes over the team of a lead from a day on: `reports` get another manager."""

    lead: int
    successor: int
    reports: tuple[int, ...]
    since: date


@dataclass(frozen=True)
class Leave:
    """Somebody hands in their notice."""

    person: int
    last_day: date


@dataclass(frozen=True)
class StandIn:
    """A manager who will be away names somebody to decide meanwhile."""

    key: str
    manager: int
    delegate: int
    first_day: date
    last_day: date


Change = Hours | TakeOver | Leave | StandIn


@dataclass
class Turn:
    """One Monday, in this order: who joins, what changes, what people do, what is decided."""

    number: int
    day: date
    joiners: list[int] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    actions: dict[int, list[Action]] = field(default_factory=lambda: defaultdict(list))
    verdicts: list[Verdict] = field(default_factory=list)

    def steps(self) -> int:
        """Return how many commands the turn takes; whoever joins is imported, and chooses whether to get mail."""
        acts = sum(len(one) for one in self.actions.values())
        changes = sum(len(one.reports) if isinstance(one, TakeOver) else 1 for one in self.changes)
        return 2 * len(self.joiners) + changes + acts + len(self.verdicts)


def lived(company: Company) -> list[Turn]:
    """Return the history of a company."""
    turns = [Turn(number, day) for number, day in enumerate(company.spec.mondays)]
    for person in company.people:
        turns[_turn_by(turns, person.joins) or 0].joiners.append(person.number)
        _careers(company, turns, person)
    away: dict[int, list[StandIn]] = defaultdict(list)
    there = there_ahead(company)
    lives = [_Life(company, turns, person, stays=person.number in there) for person in company.people]
    for life in lives:
        for stand_in in life.live():
            away[stand_in.manager].append(stand_in)
    for life in lives:
        life.put_to_decision(away)
    return turns


def _turn_by(turns: Sequence[Turn], day: date) -> int | None:
    """Return the number of the last turn on or before a day; None when all are later."""
    first, step = turns[0].day, turns[1].day - turns[0].day if len(turns) > 1 else timedelta(days=1)
    return None if day < first else min((day - first) // step, len(turns) - 1)


def _careers(company: Company, turns: list[Turn], person: Person) -> None:
    for since, schedule in (one for one in person.works[1:] if person.employed_on(one[0])):
        turns[max(0, (_turn_by(turns, since) or 1) - 1)].changes.append(Hours(person.number, schedule, since))
    succession = next((one for one in company.successions if one.lead == person.number), None)
    if succession is not None:
        now = _turn_by(turns, succession.day) or 0
        reports = tuple(
            one
            for one in company.teams[person.number]
            if company.people[one].joins < turns[now].day and company.people[one].employed_on(turns[now].day)
        )
        turns[now].changes.append(TakeOver(person.number, succession.successor, reports, succession.day))
    if person.leaves is not None:
        notice = _turn_by(turns, person.leaves - timedelta(days=28)) or 0
        hired = _turn_by(turns, person.joins) or 0
        turns[max(notice, hired + 1)].changes.append(Leave(person.number, person.leaves))


class _Life:
    """One person's leave over the years, drawn from the seed and the person's number."""

    def __init__(self, company: Company, turns: list[Turn], person: Person, *, stays: bool) -> None:
        self._company = company
        self._turns = turns
        self._person = person
        self._draw = Random(f"{company.spec.seed}/life/{person.number}")  # noqa: S311  # reproducible, no secret
        ahead = _days(turns[-1].day, company.spec.through + _WEEKS_AHEAD) if stays else ()
        self._taken: set[date] = set(ahead)
        self._requests = 0
        self._to_decide: list[tuple[int, str, bool, str]] = []
        hired = _turn_by(turns, person.joins)
        self._first_turn = 0 if hired is None else hired + 1
        first = turns[0].day if hired is None else max(turns[0].day, person.joins)
        self._first = first
        self._last = min(turns[-1].day + _FORESIGHT, person.leaves or date.max)

    # What they ask for --------------------------------------------------------------------------------------------

    def live(self) -> Iterator[StandIn]:
        """Live the years; yield who stands in while this person, if a manager, is away."""
        for year in range(self._first.year, self._last.year + 1):
            first, last = max(self._first, date(year, 1, 1)), min(self._last, date(year, 12, 31))
            if first > last:
                continue
            share = ((last - first).days + 1) / 365
            for ask in self._asked_in(first, last, share):
                yield from self._stand_in(ask)

    def _asked_in(self, first: date, last: date, share: float) -> Iterator[Ask]:
        """Yield the leave asked for in one year, of which `share` is lived: the longest first."""
        year, draw = first.year, self._draw
        budget = self._person.office.entitlement_days * share * draw.uniform(0.7, 1.0)
        wishes = [
            (draw.random() < 0.8, date(year, 6, 8), date(year, 9, 10), 10, (40, 150)),  # noqa: PLR2004  # the summer
            (draw.random() < 0.35, date(year, 12, 21), date(year, 12, 29), draw.randint(3, 6), (10, 90)),  # noqa: PLR2004
            (draw.random() < 0.5, date(year, 2, 10), date(year, 4, 20), 5, (20, 90)),  # noqa: PLR2004  # the spring
            *((True, first, last, draw.choice((1, 1, 1, 2, 3)), (3, 45)) for _ in range(_times(draw, 6 * share))),
        ]
        for wanted, begins, ends, days, lead in wishes:
            if not wanted or days > budget or max(begins, first) > min(ends, last):
                continue
            interval = self._free(max(begins, first), min(ends, last), days)
            asked = interval and self._ask("annual", interval, lead, halves=days == 1)
            if asked:
                budget -= days
                yield asked
        yield from self._small_things(first, last, share)

    def _small_things(self, first: date, last: date, share: float) -> Iterator[Ask]:
        draw = self._draw
        for _ in range(_times(draw, 1.3 * share)):
            self._fall_ill(first, min(last, self._turns[-1].day))
        if draw.random() < 0.08 * share:
            interval = self._free(first, last, draw.randint(2, 5))
            asked = interval and self._ask("unpaid", interval, (20, 60))
            if asked:
                yield asked
        if draw.random() < 0.12 * share:
            interval = self._free(first, last, 1)
            asked = interval and self._ask("comp-off", interval, (15, 45))
            if asked:
                turn = next(one.number for one in self._turns if asked in one.actions[self._person.number])
                actions = self._turns[turn].actions[self._person.number]
                actions.insert(actions.index(asked), Adjust(f"{asked.key}.overtime", self._person.number, DAY))
                yield asked

    def _fall_ill(self, first: date, last: date) -> None:
        """Be ill, and tell of it on the next Monday of the history."""
        if first > last:
            return
        interval = self._free(first, last, self._draw.choice((1, 1, 2, 2, 3, 4, 8)))
        if interval is None:
            return
        told = (_turn_by(self._turns, interval[0] - timedelta(days=1)) if interval[0] > self._turns[0].day else -1) or 0
        told += 1
        if self._first_turn <= told < len(self._turns):
            self._add(told, Ask(self._key(), self._person.number, "sick", *interval, "full", self._reason("sick")))
            self._take(interval)

    def _ask(
        self, leave_type: str, interval: tuple[date, date], lead: tuple[int, int], *, halves: bool = False
    ) -> Ask | None:
        """Ask for leave some days ahead, if there is a Monday for it; what becomes of it is drawn as well."""
        draw = self._draw
        wanted = interval[0] - timedelta(days=draw.randint(*lead))
        turn = _turn_by(self._turns, wanted)
        if turn is None or turn < self._first_turn or wanted > self._turns[-1].day:
            return None
        part = draw.choice(("full", "full", "morning", "afternoon")) if halves else "full"
        if not all(self._person.scheduled_on(interval[0])):
            part = "full"
        ask = Ask(self._key(), self._person.number, leave_type, *interval, part, self._reason(leave_type))
        self._add(turn, ask)
        self._take(interval)
        self._fate(turn, ask)
        return ask

    # What becomes of it -------------------------------------------------------------------------------------------

    def _fate(self, turn: int, ask: Ask) -> None:
        """Draw what becomes of a request that needs a decision."""
        draw, fate = self._draw, self._draw.random()
        decided = turn + (draw.random() < 0.3)  # noqa: PLR2004  # most approvers answer at once
        if turn == len(self._turns) - 1 and draw.random() < 0.7:  # noqa: PLR2004  # the present has open cases
            decided += 1
        if fate < 0.05:  # noqa: PLR2004
            self._decide(decided, ask, approve=False)
        elif fate < 0.07:  # noqa: PLR2004
            self._add(turn + 1, Cancel(ask.key, ask.person))
        elif fate < 0.08:  # noqa: PLR2004
            self._amend(turn + 1, ask)
            self._decide(turn + 2, ask)
        else:
            self._decide(decided, ask)
            if decided < len(self._turns):
                self._think_again(decided + 1, ask, draw.random())

    def _think_again(self, turn: int, ask: Ask, fate: float) -> None:
        """Draw whether approved leave is cancelled or amended, before it begins or while it lasts."""
        before = _turn_by(self._turns, ask.start - timedelta(days=1))
        if before is not None and turn <= before:
            chosen = self._draw.randint(turn, before)
            if fate < 0.04:  # noqa: PLR2004
                self._add(chosen, Cancel(ask.key, ask.person))
            elif fate < 0.07 and ask.end > ask.start:  # noqa: PLR2004
                self._add(chosen, Cancel(ask.key, ask.person, (ask.end,)))
            elif fate < 0.11:  # noqa: PLR2004
                self._amend(chosen, ask)
                self._decide(chosen, ask, approve=self._draw.random() < 0.8)  # noqa: PLR2004
        begun = _turn_by(self._turns, ask.end)
        if begun is not None and begun >= turn and self._turns[begun].day >= ask.start and fate > 0.9:  # noqa: PLR2004
            self._add(begun, Cancel(ask.key, ask.person))
            self._decide(begun, ask)

    def _amend(self, turn: int, ask: Ask) -> None:
        """Give up the last day, or for a single day take one a little later."""
        if ask.end > ask.start:
            end = next(
                (day for day in _days(ask.start, ask.end - timedelta(days=1)) if any(self._person.scheduled_on(day))),
                ask.start,
            )
            self._add(turn, Amend(ask.key, ask.person, ask.start, end))
            return
        later = self._free(ask.start + timedelta(days=1), min(ask.start + timedelta(days=20), self._last), 1)
        if later is not None:
            self._take(later)
            self._add(turn, Amend(ask.key, ask.person, *later))

    def _decide(self, turn: int, ask: Ask, *, approve: bool = True) -> None:
        if turn < len(self._turns):
            text = "" if approve else self._draw.choice(_NO)
            self._to_decide.append((turn, ask.key, approve, text))

    def put_to_decision(self, away: Mapping[int, Sequence[StandIn]]) -> None:
        """Hand each decision to whoever decides on that day: the manager, a stand-in, or HR for the chief."""
        for turn, key, approve, text in self._to_decide:
            day = self._turns[turn].day
            manager = self._company.manager_on(self._person.number, day)
            approver = self._company.people_partner if manager is None else manager
            stand_in = next((one for one in away.get(approver, ()) if one.first_day <= day <= one.last_day), None)
            self._turns[turn].verdicts.append(
                Verdict(key, approver if stand_in is None else stand_in.delegate, approve, text)
            )

    def _stand_in(self, ask: Ask) -> Iterator[StandIn]:
        """Yield who stands in for a manager who will be away for a week or more."""
        person = self._person
        if not person.leads or person.manager is None or (ask.end - ask.start).days < 4:  # noqa: PLR2004  # a week
            return
        siblings = [
            one
            for one in self._company.teams[person.manager]
            if one != person.number and self._company.people[one].leads and self._company.people[one].leaves is None
        ]
        turn = _turn_by(self._turns, ask.start)
        if person.leaves is not None or not siblings or turn is None or self._draw.random() < 0.5:  # noqa: PLR2004
            return
        stand_in = StandIn(ask.key, person.number, self._draw.choice(siblings), ask.start, ask.end)
        asked = next(one for one in self._turns if ask in one.actions[person.number])
        asked.changes.append(stand_in)
        yield stand_in

    # Days ---------------------------------------------------------------------------------------------------------

    def _free(self, first: date, last: date, days: int) -> tuple[date, date] | None:
        """Return an interval that begins within the dates and has so many free days of work; None after some tries."""
        for _ in range(6 if first <= last else 0):
            start = first + timedelta(days=self._draw.randint(0, (last - first).days))
            found: list[date] = []
            for day in _days(start, min(start + timedelta(days=4 * days + 14), self._last), forward=True):
                if day in self._taken:
                    break
                if any(self._person.scheduled_on(day)):
                    found.append(day)
                if len(found) == days:
                    return found[0], found[-1]
        return None

    def _take(self, interval: tuple[date, date]) -> None:
        self._taken.update(_days(*interval))

    def _add(self, turn: int, action: Action) -> None:
        """Let the person act on a Monday of the history, unless they have left by then."""
        if turn < len(self._turns) and self._person.employed_on(self._turns[turn].day):
            self._turns[turn].actions[self._person.number].append(action)

    def _key(self) -> str:
        self._requests += 1
        return f"p{self._person.number}.r{self._requests}"

    def _reason(self, leave_type: str) -> str:
        return self._draw.choice(_REASONS[leave_type])


def _days(first: date, last: date, *, forward: bool = False) -> Iterator[date]:
    """Yield the days of an interval; from its end on unless `forward`."""
    count = (last - first).days + 1
    for number in range(count):
        yield first + timedelta(days=number if forward else count - 1 - number)


def _times(draw: Random, expected: float) -> int:
    """Return how often something happens that happens `expected` times on average."""
    return int(expected) + (draw.random() < expected % 1)
