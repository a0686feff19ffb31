"""Who works in a demo company: everything follows from its seed, and nothing here asks a clock or a server.

A chief, heads of departments below, leads of teams below them, and members: three levels of managers. The offices keep
the real holidays of their countries. Some people work part-time, some change their hours, some join or leave meanwhile;
a lead who leaves hands the team over to one of its members.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property, lru_cache
from random import Random

import holidays

DAY = 480
"""Nominal minutes of a day."""

_MONDAY = date(2024, 1, 1)
"""The anchor of rotating schedules."""


@dataclass(frozen=True)
class Spec:
    """What a demo company is made from; equal specs give equal companies with equal histories.

    Its history runs from `years` before `through` up to `through`, and moves on every `step_days` days, on Mondays.
    `name` keeps companies of one system apart; it is the first part of their people's domain.
    """

    employees: int
    years: float
    through: date
    seed: int = 1
    step_days: int = 14
    name: str = "demo"

    @property
    def domain(self) -> str:
        """The domain of its people's addresses."""
        return f"{self.name}.example"

    @cached_property
    def mondays(self) -> tuple[date, ...]:
        """The days on which the history moves on."""
        first = self.through - timedelta(days=round(self.years * 365.25))
        first += timedelta(days=-first.weekday() % 7)
        days = (self.through - first).days
        return tuple(first + timedelta(days=behind) for behind in range(0, max(days, 0) + 1, self.step_days)) or (
            first,
        )


@dataclass(frozen=True)
class Office:
    """A place of work; `entitlement_days` a year of annual leave, granted `accrual`."""

    city: str
    country: str
    subdivision: str | None
    time_zone: str
    entitlement_days: int
    accrual: str


OFFICES = (
    Office("Paris", "FR", None, "Europe/Paris", 25, "up-front"),
    Office("London", "GB", "ENG", "Europe/London", 25, "up-front"),
    Office("New York", "US", "NY", "America/New_York", 18, "monthly"),
    Office("Berlin", "DE", "BE", "Europe/Berlin", 28, "up-front"),
    Office("Madrid", "ES", "MD", "Europe/Madrid", 23, "up-front"),
    Office("Tokyo", "JP", None, "Asia/Tokyo", 18, "up-front"),
    Office("Mumbai", "IN", "MH", "Asia/Kolkata", 21, "monthly"),
    Office("São Paulo", "BR", "SP", "America/Sao_Paulo", 24, "up-front"),
)

Week = tuple[tuple[int, int], ...]
"""Seven days from Monday on: minutes of the morning and of the afternoon."""

_WHOLE, _OFF = (240, 240), (0, 0)


@dataclass(frozen=True)
class Schedule:
    """Rotating weeks of work."""

    name: str
    weeks: tuple[Week, ...]

    def on(self, day: date) -> tuple[int, int]:
        """Return the minutes of a day's morning and afternoon."""
        week = self.weeks[((day - _MONDAY).days // 7) % len(self.weeks)]
        return week[day.weekday()]


FULL_TIME = Schedule("Full time, 5 days of 8 h", ((_WHOLE,) * 5 + (_OFF,) * 2,))
SCHEDULES = (
    FULL_TIME,
    Schedule("35 hours, 5 days of 7 h", (((210, 210),) * 5 + (_OFF,) * 2,)),
    Schedule("Part time, 4 days of 8 h", ((_WHOLE,) * 4 + (_OFF,) * 3,)),
    Schedule("Part time, 5 mornings of 4 h", (((240, 0),) * 5 + (_OFF,) * 2,)),
    Schedule(
        "Part time, 3 and 2 days in turn",
        ((_WHOLE,) * 3 + (_OFF,) * 4, (_OFF,) * 2 + (_WHOLE,) * 3 + (_OFF,) * 2),
    ),
    Schedule("5 days of 6.4 h", (((192, 192),) * 5 + (_OFF,) * 2,)),
)

DEPARTMENTS = (
    "People", "Engineering", "Sales", "Operations", "Finance", "Marketing", "Support", "Design", "Research", "Legal",
    "Logistics", "Quality", "Security", "Data", "Procurement", "Facilities", "Training", "Product", "Partners",
    "Compliance", "Platform", "Field Service", "Communication", "Manufacturing",
)  # fmt: skip

_GIVEN = (
    "Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Margaret", "Dennis", "Radia", "Ken", "Frances", "Tony",
    "Hedy", "Leslie", "Katherine", "Niklaus", "Jean", "Robin", "Adele", "Vint", "Karen", "Guido", "Annie", "Bjarne",
    "Mary", "Linus", "Sophie", "John", "Shafi", "Butler", "Yukihiro", "Fei", "Anita", "Rosa", "Carlos", "Lucia",
    "Pedro", "Rui", "Aiko", "Haruki", "Priya", "Arjun", "Meera", "Ravi", "Claire", "Luc", "Elena",
)  # fmt: skip
_FAMILY = (
    "Martin", "Novak", "Okafor", "Schmidt", "Dubois", "Tanaka", "Silva", "Larsen", "Garcia", "Rossi", "Kowalski",
    "Singh", "Patel", "Nguyen", "Kim", "Haddad", "Moreau", "Weber", "Fischer", "Santos", "Costa", "Suzuki", "Sato",
    "Lopez", "Ivanova", "Jansen", "Murphy", "Walsh", "Clarke", "Hughes", "Keller", "Brandt", "Laurent", "Petit",
    "Romero", "Vidal", "Sharma", "Mehta", "Iyer", "Oliveira",
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """Somebody of the company. `manager` is the number of who they report to at first, None for the chief.

    `works` holds the schedule from each day on; `leads` says how far up they are: 3 the chief, 0 a member.
    """

    number: int
    given_name: str
    family_name: str
    email: str
    office: Office
    department: str
    manager: int | None
    leads: int
    roles: tuple[str, ...]
    joins: date
    leaves: date | None
    works: tuple[tuple[date, Schedule], ...]

    def schedule_on(self, day: date) -> Schedule:
        """Return the schedule of a day; before the first, the first."""
        found = self.works[0][1]
        for since, schedule in self.works:
            if since <= day:
                found = schedule
        return found

    def employed_on(self, day: date) -> bool:
        """Say whether the person is employed on a day."""
        return self.joins <= day and (self.leaves is None or day <= self.leaves)

    def scheduled_on(self, day: date) -> tuple[int, int]:
        """Return the minutes that the person works in the morning and in the afternoon of a day."""
        if not self.employed_on(day) or day in holidays_of(self.office.country, self.office.subdivision, day.year):
            return (0, 0)
        return self.schedule_on(day).on(day)


@dataclass(frozen=True)
class Succession:
    """A lead who leaves, and the member of the team who takes it over from a day on."""

    day: date
    lead: int
    successor: int


@dataclass(frozen=True)
class Company:
    """The people by number, managers before their reports, and who succeeds whom."""

    spec: Spec
    people: tuple[Person, ...]
    successions: tuple[Succession, ...] = ()

    def manager_on(self, number: int, day: date) -> int | None:
        """Return whom somebody reports to on a day."""
        manager = self.people[number].manager
        succession = None if manager is None else self._successions.get(manager)
        if manager is None or succession is None or day < succession.day:
            return manager
        return self.people[manager].manager if number == succession.successor else succession.successor

    @property
    def people_partner(self) -> int:
        """The head of People: who decides where nobody stands above."""
        return 1

    @cached_property
    def _successions(self) -> Mapping[int, Succession]:
        return {one.lead: one for one in self.successions}

    @cached_property
    def teams(self) -> Mapping[int, tuple[int, ...]]:
        """The first reports of each manager."""
        teams: dict[int, list[int]] = {}
        for person in self.people:
            if person.manager is not None:
                teams.setdefault(person.manager, []).append(person.number)
        return {manager: tuple(team) for manager, team in teams.items()}


@lru_cache(maxsize=1024)
def holidays_of(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    """Return the public holidays of a place in a year."""
    return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))


FEWEST = 20
"""A company needs all its levels."""

SIGN_IN = 60
"""The most people who are shown and can sign in."""

_CHIEF, _HEAD, _LEAD, _MEMBER = 3, 2, 1, 0
_TEAM = 9
_MEMBERS_PER_HR = 150
_OFFICIALS: tuple[tuple[str, ...], ...] = (("payroll",), ("auditor",), ("hr", "admin"))
"""The roles of the first members beside `employee`."""


def made(spec: Spec) -> Company:
    """Return the company of a spec. Raises ValueError for fewer than FEWEST people."""
    if spec.employees < FEWEST:
        raise ValueError(f"A demo company has at least {FEWEST} people.")
    draw = Random(f"{spec.seed}/company")  # noqa: S311  # reproducible, no secret
    places = _Places.of(spec.employees)
    people: list[Person] = []
    addresses: set[str] = set()
    for number in range(spec.employees):
        level, manager, department = places.of_person(number)
        given, family = draw.choice(_GIVEN), draw.choice(_FAMILY)
        office = OFFICES[number % len(OFFICES)]
        if manager is not None and level < _HEAD and draw.random() < 0.8:  # noqa: PLR2004  # most work where their lead does
            office = people[manager].office
        roles = places.roles_of(number)
        stays = level > _MEMBER or len(roles) > 1
        joins = _long_ago(draw, spec) if stays else _joins(draw, spec)
        leaves = None if stays else _leaves(draw, spec, joins)
        works = _works(draw, spec, office, joins)
        email = _address(given, family, spec.domain, addresses)
        people.append(
            Person(number, given, family, email, office, department, manager, level, roles, joins, leaves, works)
        )
    return _with_successions(Company(spec, tuple(people)), draw)


@dataclass(frozen=True)
class _Places:
    """Who stands where: the chief is number 0, then come the heads, the leads and the members."""

    heads: int
    leads: int

    @classmethod
    def of(cls, employees: int) -> "_Places":
        leads = max(4, employees // _TEAM)
        return cls(min(len(DEPARTMENTS), max(4, round(leads**0.5))), leads)

    def of_person(self, number: int) -> tuple[int, int | None, str]:
        """Return somebody's level, manager and department."""
        if number == 0:
            return _CHIEF, None, DEPARTMENTS[0]
        if number <= self.heads:
            return _HEAD, 0, DEPARTMENTS[number - 1]
        if number <= self.heads + self.leads:
            head = (number - self.heads - 1) % self.heads + 1
            return _LEAD, head, DEPARTMENTS[head - 1]
        team = self._member(number) % self.leads
        return _MEMBER, self.heads + 1 + team, DEPARTMENTS[team % self.heads]

    def roles_of(self, number: int) -> tuple[str, ...]:
        """Return somebody's roles: HR is the head of People, the lead of its first team, and some members."""
        if number in {1, self.heads + 1}:
            return ("employee", "manager", "hr")
        if number <= self.heads + self.leads:
            return ("employee", "manager")
        member = self._member(number)
        if member < len(_OFFICIALS):
            return ("employee", *_OFFICIALS[member])
        return ("employee", "hr") if member % _MEMBERS_PER_HR == _MEMBERS_PER_HR - 1 else ("employee",)

    def _member(self, number: int) -> int:
        return number - self.heads - self.leads - 1


def _address(given: str, family: str, domain: str, taken: set[str]) -> str:
    local = name = f"{given}.{family}".lower()
    number = 1
    while local in taken:
        number += 1
        local = f"{name}{number}"
    taken.add(local)
    return f"{local}@{domain}"


def _long_ago(draw: Random, spec: Spec) -> date:
    since = spec.mondays[0] - timedelta(days=draw.randrange(30, 12 * 365))
    return since.replace(day=1)


def _joins(draw: Random, spec: Spec) -> date:
    """Return when a member joins: six in a hundred do so within each year of the history."""
    within = (spec.mondays[-1] - spec.mondays[0]).days - 60
    if within > 0 and draw.random() < 0.06 * spec.years:
        return spec.mondays[0] + timedelta(days=30 + draw.randrange(within))
    return _long_ago(draw, spec)


def _leaves(draw: Random, spec: Spec, joins: date) -> date | None:
    """Return the last day of a member who leaves: five in a hundred do so within each year of the history."""
    first = max(joins, spec.mondays[0]) + timedelta(days=60)
    within = (spec.mondays[-1] - first).days
    if draw.random() < 0.05 * spec.years and within > 0:
        return first + timedelta(days=draw.randrange(within))
    return None


def _works(draw: Random, spec: Spec, office: Office, joins: date) -> tuple[tuple[date, Schedule], ...]:
    """Return somebody's schedules: one in four works part-time, and some change their hours on a Monday."""
    usual = SCHEDULES[1] if office.country == "FR" and draw.random() < 0.6 else FULL_TIME  # noqa: PLR2004  # the law's hours
    first = draw.choice(SCHEDULES[2:]) if draw.random() < 0.25 else usual  # noqa: PLR2004  # part-timers
    later = [day for day in spec.mondays[2:] if day > joins]
    if later and draw.random() < 0.04 * spec.years:
        others = [one for one in (usual, *SCHEDULES[2:]) if one != first]
        return (joins, first), (draw.choice(later), draw.choice(others))
    return ((joins, first),)


def _with_successions(company: Company, draw: Random) -> Company:
    """Let some leads leave, and one of their members take each team over."""
    spec = company.spec
    people = list(company.people)
    successions = []
    for lead in company.people:
        days = spec.mondays[3:-2]
        staying = [
            one
            for one in company.teams.get(lead.number, ())
            if people[one].leaves is None and people[one].joins < spec.mondays[0] and len(people[one].roles) == 1
        ]
        leaves = lead.leads == _LEAD and "hr" not in lead.roles and draw.random() < 0.03 * spec.years
        if leaves and staying and days:
            day = draw.choice(days)
            successions.append(Succession(day, lead.number, draw.choice(staying)))
            people[lead.number] = replace(lead, leaves=day + timedelta(days=spec.step_days - 1))
    return replace(company, people=tuple(people), successions=tuple(successions))


def who_signs_in(company: Company) -> list[Person]:
    """Return the people who are shown: everybody of a small company, of a large one those at the top and some teams.

    They are employed now, and so is everybody's manager among them.
    """
    today = company.spec.through
    present = [person for person in company.people if person.employed_on(today)]
    chosen: dict[int, Person] = {}
    officials = [person for person in present if len(person.roles) > 1 and not person.leads]
    teams = [person for person in present if person.leads <= 1 and person not in officials]
    for person in [*(one for one in present if one.leads > 1), *officials[:12], *teams]:
        line = [person]
        while (manager := company.manager_on(line[-1].number, today)) is not None:
            line.append(company.people[manager])
        missing = {one.number: one for one in line if one.number not in chosen}
        if len(chosen) + len(missing) <= SIGN_IN:
            chosen |= missing
    return [chosen[number] for number in sorted(chosen)]


def there_ahead(company: Company) -> frozenset[int]:
    """Return the one who is shown last and their manager, who take no leave in the weeks to come.

    So whoever tries the system can ask for leave as the one, and approve it as the other.
    """
    last = who_signs_in(company)[-1].number
    manager = company.manager_on(last, company.spec.through)
    return frozenset({last} if manager is None else {last, manager})
