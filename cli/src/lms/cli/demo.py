"""The demo company: sixty people in four countries, sent through the gateway's public API.

Every call carries an idempotency key that is made from its content's name, so that an interrupted load goes on where it
stopped, and a finished one changes nothing.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import httpx

from lms.cli.system import ADMIN_EMAIL, LOADER

DAY = 480
"""Nominal minutes of a day."""

_OFFICES = (
    ("Paris", "FR", None, "Europe/Paris"),
    ("London", "GB", "ENG", "Europe/London"),
    ("New York", "US", "NY", "America/New_York"),
    ("Berlin", "DE", "BE", "Europe/Berlin"),
)
_DEPARTMENTS = ("Engineering", "Sales", "Operations", "People")
_GIVEN = (
    "Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Margaret", "Dennis", "Radia", "Ken", "Frances", "Tony",
    "Hedy", "Leslie", "Katherine", "Niklaus", "Jean", "Robin", "Adele", "Vint", "Karen", "Guido", "Annie", "Bjarne",
    "Mary", "Linus", "Sophie", "John", "Shafi", "Butler",
)  # fmt: skip
_FAMILY = ("Martin", "Novak", "Okafor", "Schmidt", "Dubois", "Tanaka", "Silva", "Larsen")
_PEOPLE = 60
_HEADS = 4
_LEADS = 12

LEAVE_TYPES: tuple[dict[str, Any], ...] = (
    {"leave_type": "annual", "name": "Annual leave", "unit": "half-day", "paid": True, "pay_code": "ANN",
     "colour": "#2e7d32", "needs_approval": True, "limited": True},
    {"leave_type": "sick", "name": "Sick leave", "unit": "half-day", "paid": True, "pay_code": "SICK",
     "colour": "#c62828", "needs_approval": False, "limited": False, "attachment_after_days": 3,
     "reason_visible_to": ["hr"]},
    {"leave_type": "unpaid", "name": "Unpaid leave", "unit": "day", "paid": False, "pay_code": "UNP",
     "colour": "#6d4c41", "needs_approval": True, "limited": False},
    {"leave_type": "comp-off", "name": "Comp-off", "unit": "hour", "paid": True, "pay_code": "COMP",
     "colour": "#1565c0", "needs_approval": True, "limited": True},
)  # fmt: skip


class LoadFailed(Exception):
    """The gateway refused something that the demo company needs."""


@dataclass
class Api:
    """The gateway's API for one token."""

    client: httpx.Client
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def post(self, path: str, body: dict[str, Any], key: str, **headers: str) -> dict[str, Any]:
        """Send a command; a conflict with what an earlier load made is an error like any other."""
        idempotency_key = f"demo-{key}".replace(" ", "-")
        answer = self.client.post(
            f"/api/v1{path}", json=body, headers={**self._headers(), "Idempotency-Key": idempotency_key, **headers}
        )
        if not answer.is_success:
            raise LoadFailed(f"POST {path} ({key}) answered {answer.status_code}: {answer.text[:600]}")
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    def get(self, path: str, **headers: str) -> dict[str, Any]:
        """Read something."""
        answer = self.client.get(f"/api/v1{path}", headers={**self._headers(), **headers})
        if not answer.is_success:
            raise LoadFailed(f"GET {path} answered {answer.status_code}: {answer.text[:600]}")
        found: dict[str, Any] = answer.json()
        return found

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@dataclass(frozen=True)
class Person:
    """One of the demo company's people, as `lms status` shows them."""

    id: str
    email: str
    roles: list[str]
    manager: str | None
    department: str
    location: str

    def shown(self) -> dict[str, Any]:
        """Return what scripts see."""
        return {
            "id": self.id,
            "email": self.email,
            "roles": self.roles,
            "manager": self.manager,
            "department": self.department,
            "location": self.location,
        }


def sign_in(api: Api, admin_password: str, seconds: float = 30.0) -> None:
    """Sign in as the first administrator, whom `directory` makes just after its start."""
    until = time.monotonic() + seconds
    while True:
        answer = api.client.post(
            "/api/v1/auth/login",
            json={"email": ADMIN_EMAIL, "password": admin_password, "return_refresh_token": True},
        )
        if answer.is_success:
            api.token = answer.json()["access_token"]
            return
        if time.monotonic() > until:
            raise LoadFailed(f"The administrator cannot sign in: {answer.status_code} {answer.text[:400]}")
        time.sleep(0.3)


def load(
    url: str, admin_password: str, loader_secret: str, today: date, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Load the demo company; return its people, who all sign in with the administrator's password.

    Raises LoadFailed with what the gateway said.
    """
    with httpx.Client(base_url=url, timeout=30) as client:
        api = Api(client)
        sign_in(api, admin_password)
        _define_leave(api, today)
        organisation = _Organisation.made(api, today)
        tell("leave types, policies, offices, schedules and departments are there")
        people = _employ(api, organisation, today, admin_password)
        tell(f"{len(people)} people are employed")
        _ask_for_leave(client, loader_secret, people, today)
        tell("some of them have asked for leave")
        return [person.shown() for person in people]


def _define_leave(api: Api, today: date) -> None:
    for body in LEAVE_TYPES:
        api.post("/leave-types", body, f"leave-type-{body['leave_type']}")
    since = date(today.year - 1, 1, 1).isoformat()
    api.post(
        "/policies",
        {
            "policy_id": "annual", "leave_type": "annual", "effective_from": since, "entitlement_minutes": 25 * DAY,
            "accrual": "up-front", "pro_rata": "days", "carry_over_limit_minutes": 5 * DAY,
            "carry_over_expires": "03-31", "negative_limit_minutes": 0,
        },
        "policy-annual",
    )  # fmt: skip
    api.post(
        "/policies",
        {
            "policy_id": "comp-off", "leave_type": "comp-off", "effective_from": since, "entitlement_minutes": 0,
            "accrual": "up-front", "carry_over_limit_minutes": None,
        },
        "policy-comp-off",
    )  # fmt: skip


@dataclass
class _Organisation:
    locations: dict[str, str]
    departments: dict[str, str]
    full_time: str
    part_time: str

    @classmethod
    def made(cls, api: Api, today: date) -> "_Organisation":
        locations = {}
        for name, country, subdivision, zone in _OFFICES:
            place = {"country": country, "subdivision": subdivision}
            years = [today.year - 1, today.year, today.year + 1]
            calendar = api.post(
                "/holiday-calendars", {"name": f"Holidays in {name}", **place, "years": years}, f"calendar-{name}"
            )
            location = {"name": name, **place, "time_zone": zone, "calendar_id": calendar["id"]}
            locations[name] = api.post("/locations", location, f"location-{name}")["id"]
        departments = {
            name: api.post("/departments", {"name": name}, f"department-{name}")["id"] for name in _DEPARTMENTS
        }
        day, off = {"morning_minutes": 240, "afternoon_minutes": 240}, {"morning_minutes": 0, "afternoon_minutes": 0}
        weeks = {"Full time, 5 days of 8 h": [day] * 5 + [off] * 2, "Part time, 4 days of 8 h": [day] * 4 + [off] * 3}
        full, part = (
            api.post("/schedules", {"name": name, "weeks": [week]}, f"schedule-{name}")["id"]
            for name, week in weeks.items()
        )
        return cls(locations, departments, full, part)


def _employ(api: Api, organisation: _Organisation, today: date, password: str) -> list[Person]:
    """Employ a chief, heads of departments, leads and members, so that each has a manager who is there."""
    people: list[Person] = []
    names = itertools.product(_FAMILY, _GIVEN)
    for number, (family, given) in zip(range(_PEOPLE), names, strict=False):
        manager = None if number == 0 else people[_manager_of(number)]
        department = _DEPARTMENTS[(number - 1) % len(_DEPARTMENTS)] if number else "Operations"
        location = _OFFICES[number % len(_OFFICES)][0]
        roles = ["employee", *_ROLES.get(number, ())]
        email = f"{given}.{family}@demo.example".lower()
        body = {
            "email": email, "given_name": given, "family_name": family,
            "department_id": organisation.departments[department], "location_id": organisation.locations[location],
            "manager_id": manager.id if manager else None,
            "schedule_id": organisation.full_time if number % 9 else organisation.part_time,
            "employed_from": (date(today.year - 1 - number % 5, 1 + number % 12, 1)).isoformat(),
            "roles": roles, "cost_centre": f"CC-{department[:3].upper()}", "password": password,
        }  # fmt: skip
        made = api.post("/employees", body, f"person-{email}")
        shown = [*roles, "manager"] if number <= _LEADS else roles
        people.append(Person(made["id"], email, shown, manager.email if manager else None, department, location))
    return people


_ROLES: dict[int, tuple[str, ...]] = {4: ("hr",), 8: ("hr",), 20: ("payroll",), 21: ("auditor",)}
"""Who has a role beside employee: the head and a lead of People, one for payroll, one auditor."""


def _manager_of(number: int) -> int:
    if number <= _HEADS:
        return 0
    if number <= _LEADS:
        return (number - 1) % _HEADS + 1
    return (number - 1) % (_LEADS - _HEADS) + _HEADS + 1


def _ask_for_leave(client: httpx.Client, loader_secret: str, people: list[Person], today: date) -> None:
    """Let some people ask for leave, by the service account that may act for others outside production."""
    answer = client.post("/api/v1/auth/token", json={"client_id": LOADER, "client_secret": loader_secret})
    if not answer.is_success:
        raise LoadFailed(f"The loader's service account got no token: {answer.status_code} {answer.text[:400]}")
    api = Api(client, answer.json()["access_token"])
    monday = today + timedelta(days=14 - today.weekday())
    for number, person in enumerate(people[_LEADS + 1 :: 4]):
        start = monday + timedelta(weeks=number % 6)
        acting = {"X-Act-For": person.id, "X-Act-For-Roles": "employee"}
        _until_known(api, person, acting)
        body = {
            "leave_type": ("annual", "annual", "unpaid")[number % 3],
            "start_date": start.isoformat(),
            "end_date": (start + timedelta(days=number % 4)).isoformat(),
            "reason": "A few days off",
        }
        api.post("/leave-requests", body, f"leave-{person.email}", **acting)


def _until_known(api: Api, person: Person, acting: dict[str, str], seconds: float = 30.0) -> None:
    """Wait until the balances service has opened the person's account: facts travel through Kafka."""
    until = time.monotonic() + seconds
    while True:
        try:
            if api.get(f"/balances?employee_id={person.id}", **acting).get("items"):
                return
        except LoadFailed:
            if time.monotonic() > until:
                raise
        if time.monotonic() > until:
            raise LoadFailed(f"{person.email} has no leave account after {seconds:.0f} s")
        time.sleep(0.2)
