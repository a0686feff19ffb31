"""A company for end-to-end tests: everything goes through the gateway's public API, as a person or a script would."""

import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from redis import Redis
from tests.waiting import DEADLINE, eventually

from lms.cli.system import LOADER, System
from lms.kernel.clock import CHANNEL, OFFSET_KEY

DAY = 480
FULL, OFF = {"morning_minutes": 240, "afternoon_minutes": 240}, {"morning_minutes": 0, "afternoon_minutes": 0}
MORNING_ONLY = {"morning_minutes": 240, "afternoon_minutes": 0}
FIVE_DAYS = [FULL] * 5 + [OFF] * 2
ACCRUALS_SECONDS = 120.0
"""Years of accruals for everybody there is."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Employee:
    """Somebody of the company, and the roles that they were given."""

    id: str
    roles: tuple[str, ...] = ("employee",)


@dataclass
class Company:
    """The API of a running system, and what tests need to set up people and rules in it.

    `redis_url` is needed only to move the clock.
    """

    client: httpx.Client
    secret: str
    redis_url: str = ""
    _office: dict[str, str] = field(default_factory=dict)
    _tokens: dict[str, tuple[float, str]] = field(default_factory=dict)
    _own: tuple[float, str] = (0.0, "")

    @classmethod
    def of(cls, system: System) -> "Company":
        """Return the company of an embedded system."""
        company = cls.at(system.url, system.home.secret("loader"))
        company.redis_url = system.redis.url
        return company

    @classmethod
    def at(cls, url: str, secret: str) -> "Company":
        """Return the company behind a gateway, signed in with the service account that may act for others."""
        company = cls(httpx.Client(base_url=url, timeout=30), secret)
        assert company.token
        return company

    @property
    def token(self) -> str:
        """A token of the service account; a long session needs several."""
        until, token = self._own
        if time.monotonic() >= until:
            answer = self._signed_in()
            self._own = (time.monotonic() + answer["expires_in"] / 2, answer["access_token"])
            token = self._own[1]
        return token

    def _signed_in(self) -> Any:
        body = {"client_id": LOADER, "client_secret": self.secret}
        until = time.monotonic() + DEADLINE
        while not (answer := self.client.post("/api/v1/auth/token", json=body)).is_success:
            assert answer.status_code >= 500, f"no token for the loader: {answer.text}"
            assert time.monotonic() < until, f"still no token for the loader: {answer.text}"
            time.sleep(0.2)
        return answer.json()

    # Calls --------------------------------------------------------------------------------------------------------

    def call(
        self, method: str, path: str, who: Employee | None = None, body: Any = None, **headers: str
    ) -> httpx.Response:
        """Send one request as `who`, or as hr and admin."""
        token = self.token
        if who is not None:
            answer = self._act_for(who)
            if isinstance(answer, httpx.Response):
                return answer
            token = answer
        sent = {"Authorization": f"Bearer {token}", **headers}
        return self.client.request(method, f"/api/v1{path}", json=body, headers=sent)

    def _act_for(self, who: Employee) -> str | httpx.Response:
        """Return a token to act for somebody, or why there is none."""
        until, token = self._tokens.get(who.id, (0.0, ""))
        if time.monotonic() < until:
            return token
        sent = {"Authorization": f"Bearer {self.token}"}
        answer = self.client.post("/api/v1/auth/act-for", json={"employee_id": who.id}, headers=sent)
        if not answer.is_success:
            return answer
        found = answer.json()
        self._tokens[who.id] = (time.monotonic() + found["expires_in"] / 2, found["access_token"])
        return str(found["access_token"])

    def do(self, method: str, path: str, who: Employee | None = None, body: Any = None, **headers: str) -> Any:
        """Send one request that must succeed, and return its answer."""
        answer = self.call(method, path, who, body, **headers)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def every(self, path: str, who: Employee | None = None, *, limit: int = 200) -> list[Any]:
        """Return the items of a list, over all of its pages of at most so many."""
        found: list[Any] = []
        cursor = ""
        while True:
            page = self.do("GET", f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}", who)
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    # Set-up -------------------------------------------------------------------------------------------------------

    def schedule(self, *weeks: list[dict[str, int]]) -> str:
        """Define a work schedule of rotating weeks."""
        body = {"name": f"schedule {next(_numbers)}", "weeks": list(weeks)}
        return str(self.do("POST", "/schedules", body=body)["id"])

    def location(self, *holidays: tuple[str, str]) -> tuple[str, str]:
        """Open an office with its own calendar of (date, part) holidays; return (location, calendar)."""
        number = next(_numbers)
        calendar = self.do("POST", "/holiday-calendars", body={"name": f"calendar {number}", "country": "FR"})["id"]
        if holidays:
            dated = [{"date": day, "name": "Holiday", "part": part} for day, part in holidays]
            self.do("POST", f"/holiday-calendars/{calendar}/holidays", body={"holidays": dated})
        body = {"name": f"office {number}", "country": "FR", "time_zone": "Europe/Paris", "calendar_id": calendar}
        return str(self.do("POST", "/locations", body=body)["id"]), str(calendar)

    @property
    def office(self) -> dict[str, str]:
        """The department, location and schedule of whoever is hired without others; opened when they are needed."""
        if not self._office:
            self._office = {
                "department": self.do("POST", "/departments", body={"name": f"department {next(_numbers)}"})["id"],
                "location": self.location()[0],
                "schedule": self.schedule(FIVE_DAYS),
            }
        return self._office

    def hire(
        self,
        *,
        since: str = "2015-01-01",
        manager: Employee | None = None,
        roles: tuple[str, ...] = ("employee",),
        location: str | None = None,
        schedule: str | None = None,
        **more: str,
    ) -> Employee:
        """Employ somebody; `more` are further fields, such as the password of somebody who signs in."""
        body = {
            "email": f"person-{next(_numbers)}-{time.time_ns()}@test.example", "given_name": "Test",
            "family_name": "Person", "department_id": self.office["department"],
            "location_id": location or self.office["location"], "manager_id": manager.id if manager else None,
            "schedule_id": schedule or self.office["schedule"], "employed_from": since, "roles": list(roles), **more,
        }  # fmt: skip
        return Employee(self.do("POST", "/employees", body=body)["id"], roles)

    def leave_type(self, **terms: Any) -> str:
        """Define a leave type; return its slug."""
        slug = f"type-{next(_numbers)}-{time.time_ns() % 10**9}"
        body = {
            "leave_type": slug, "name": slug, "unit": "half-day", "paid": True, "pay_code": "T", "colour": "#123456",
            "needs_approval": True, "limited": True, **terms,
        }  # fmt: skip
        self.do("POST", "/leave-types", body=body)
        return slug

    def policy(self, leave_type: str, days: float, since: str, *, location: str | None = None, **terms: Any) -> None:
        """Publish the first policy of a leave type, for one location: so many days a year, up front.

        Were it for everybody, each leave type of a test would give something to everybody of all other tests.
        """
        body = {
            "policy_id": leave_type, "leave_type": leave_type, "effective_from": since,
            "locations": [location or self.office["location"]],
            "entitlement_minutes": int(days * DAY), "accrual": "up-front", **terms,
        }  # fmt: skip
        self.do("POST", "/policies", body=body)

    # Time ---------------------------------------------------------------------------------------------------------

    def set_clock(self, day: str, hour: int = 9) -> None:
        """Set the business clock, and wait until every service follows it and has done the day's accruals."""
        instant = datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)
        offset = instant - datetime.now(UTC)
        with Redis.from_url(self.redis_url) as redis:
            redis.set(OFFSET_KEY, str(offset.total_seconds()))
            redis.publish(CHANNEL, str(offset.total_seconds()))
        probe = self.hire()
        eventually(lambda: (found := self.balances(probe)) and found["today"] == day, f"the clock does not say {day}")
        eventually(
            lambda: self.do("POST", "/accruals/run", body={}, Prefer="wait=10")["finished_at"],
            "accruals do not end",
            ACCRUALS_SECONDS,
        )

    # Leave --------------------------------------------------------------------------------------------------------

    def balances(self, who: Employee, as_of: str | None = None) -> Any:
        """Return somebody's balances, or None while the account is not there."""
        query = f"?employee_id={who.id}" + (f"&as_of={as_of}" if as_of else "")
        answer = self.call("GET", f"/balances{query}")
        return answer.json() if answer.is_success else None

    def days_left(self, who: Employee, leave_type: str, as_of: str | None = None, figure: str = "balance") -> str:
        """Return a figure of a balance in days, such as "20.00"."""
        found = self.balances(who, as_of)
        assert found is not None, f"no balances of {who.id}"
        (item,) = [one for one in found["items"] if one["leave_type"] == leave_type]
        return str(item[figure]["days"])

    def becomes(self, who: Employee, leave_type: str, days: str, as_of: str | None = None) -> None:
        """Wait until a balance has so many days."""

        def there() -> bool:
            found = self.balances(who, as_of)
            return bool(found) and any(
                one["leave_type"] == leave_type and one["balance"] and one["balance"]["days"] == days
                for one in found["items"]
            )

        until = time.monotonic() + DEADLINE
        while not there():
            assert time.monotonic() < until, f"{self.balances(who, as_of)} never came to {days} days of {leave_type}"
            time.sleep(0.05)

    def try_to_ask(self, who: Employee, leave_type: str, start: str, end: str, **more: Any) -> httpx.Response:
        """Ask for leave; wait for the facts about the person to arrive, not for the process."""
        body = {"leave_type": leave_type, "start_date": start, "end_date": end, **more}
        until = time.monotonic() + DEADLINE
        while True:
            answer = self.call("POST", "/leave-requests", who, body, Prefer="wait=10")
            unknown = answer.status_code in {404, 409, 422} and "unknown" in answer.json().get("code", "")
            if not unknown or time.monotonic() > until:
                return answer
            time.sleep(0.05)

    def ask(self, who: Employee, leave_type: str, start: str, end: str, **more: Any) -> Any:
        """Ask for leave and return the request, settled."""
        answer = self.try_to_ask(who, leave_type, start, end, **more)
        assert answer.status_code == 201, answer.text
        found = answer.json()
        assert found["settled"], found
        return found

    def request(self, request_id: str) -> Any:
        """Return a request as hr sees it."""
        return self.do("GET", f"/leave-requests/{request_id}")

    def decide(
        self, approver: Employee, request: Any, decision: str = "approve", *, revision: int | None = None, **body: Any
    ) -> httpx.Response:
        """Approve or reject; wait until the case is in the approver's inbox first."""
        eventually(lambda: self.case(approver, request["id"]), f"{request['id']} is not in the inbox of {approver}")
        if decision == "reject":
            body.setdefault("reason", "Not now")
        return self.call(
            "POST",
            f"/approvals/{request['id']}/{decision}",
            approver,
            {"revision": revision or request["revision"], **body},
        )

    def case(self, approver: Employee, request_id: str, status: str = "pending") -> Any:
        """Return the case of a request in somebody's inbox, or None."""
        found = self.do("GET", f"/approvals?status={status}&limit=200", approver)
        return next((one for one in found["items"] if one["request_id"] == request_id), None)

    def until_status(self, request_id: str, status: str) -> Any:
        """Wait until a request has a status and is settled."""
        return eventually(
            lambda: (found := self.request(request_id)) and found["status"] == status and found["settled"] and found,
            f"{request_id} does not become {status}",
        )

    def take(self, who: Employee, manager: Employee, leave_type: str, start: str, end: str, **more: Any) -> Any:
        """Ask for leave and have it approved."""
        asked = self.ask(who, leave_type, start, end, **more)
        assert asked["status"] == "pending", asked
        answer = self.decide(manager, asked)
        assert answer.is_success, answer.text
        return self.until_status(asked["id"], "approved")
