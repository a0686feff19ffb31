"""A load for the fault tests: people ask, managers decide, owners cancel; each command is repeated until answered."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Any

import httpx
from tests.e2e.company import Company, Employee
from tests.waiting import eventually

from lms.kernel.ids import new_id

FIRST_DAY = date(2026, 11, 2)
DAYS = 10.0
PATIENCE = 150.0
"""A broker that was killed looks through all of its partitions before it serves: most of a minute on two cores."""


@dataclass
class Load:
    """Some people in a location with a leave type of its own."""

    company: Company
    location: str
    manager: Employee
    people: list[Employee]
    leave_type: str
    answered: int = field(default=0)
    begun: int = field(default=0)

    @classmethod
    def of(cls, company: Company, size: int = 12, days: float = DAYS) -> "Load":
        """Employ people with so many days a year, and wait until all services know them."""
        slug = company.leave_type()
        location, _ = company.location()
        company.policy(slug, days, "2026-01-01", location=location)
        manager = company.hire(location=location, roles=("employee", "manager"))
        people = [company.hire(manager=manager, location=location) for _ in range(size)]
        load = cls(company, location, manager, people, slug)
        for person in load.people:
            company.becomes(person, slug, f"{days:.2f}")
            eventually(partial(load.known, person), f"requests does not know {person}")
        return load

    def known(self, person: Employee) -> bool:
        """Say whether `requests` knows all that it needs to know of somebody."""
        body = {"leave_type": self.leave_type, "start_date": "2026-11-02", "end_date": "2026-11-02"}
        return self.company.call("POST", "/leave-requests/preview", person, body).is_success

    def insist(self, path: str, who: Employee | None, body: dict[str, Any]) -> httpx.Response:
        """Send a command, again and again with the same idempotency key, until it is answered by yes or no."""
        key = new_id()
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._answer(path, who, body, key)
            if answer is not None:
                self.answered += 1
                return answer
            assert time.monotonic() < until, f"{path} was not answered within {PATIENCE:.0f} s"
            time.sleep(0.05)

    def _case(self, request_id: str) -> Any:
        """Return the open case of a request; None while it is not there, or while approvals or the gateway is away."""
        try:
            answer = self.company.call("GET", "/approvals?status=pending&limit=200", self.manager)
        except httpx.TransportError:
            return None
        items = answer.json()["items"] if answer.is_success else []
        return next((one for one in items if one["request_id"] == request_id), None)

    def _answer(self, path: str, who: Employee | None, body: dict[str, Any], key: str) -> httpx.Response | None:
        """Return a yes or a no; None when the outcome is unknown or the command should be repeated."""
        try:
            answer = self.company.call("POST", path, who, body, **{"Idempotency-Key": key})
        except httpx.TransportError:
            return None
        if answer.status_code >= 500 or answer.json().get("code") == "concurrency-conflict":
            return None
        return answer

    def life_of(self, number: int) -> None:
        """Live one request: a person asks for a day or two; it is approved, rejected, cancelled or left alone."""
        person = self.people[number % len(self.people)]
        start = FIRST_DAY + timedelta(days=7 * (number // len(self.people)) + number % 3)
        body = {"leave_type": self.leave_type, "start_date": str(start), "end_date": str(start + timedelta(number % 2))}
        asked = self.insist("/leave-requests", person, body)
        assert asked.status_code == 201, asked.text
        request_id = asked.json()["id"]
        fate = number % 5
        if fate < 3:  # most are decided
            case = eventually(partial(self._case, request_id), f"no case of {request_id}", PATIENCE)
            decision, more = ("approve", {}) if fate else ("reject", {"reason": "No"})
            decided = self.insist(
                f"/approvals/{request_id}/{decision}", self.manager, {"revision": case["revision"], **more}
            )
            assert decided.is_success, decided.text
        elif fate == 3:  # some are cancelled
            assert self.insist(f"/leave-requests/{request_id}/cancel", person, {}).is_success

    def employ(self, number: int) -> str:
        """Employ somebody more, under an address that only this load uses; return their id."""
        office = self.company.office
        body = {
            "email": f"{self.leave_type}-{number}@test.example", "given_name": "Test", "family_name": "Person",
            "department_id": office["department"], "location_id": self.location,
            "manager_id": self.manager.id, "schedule_id": office["schedule"], "employed_from": "2020-01-01",
            "roles": ["employee"],
        }  # fmt: skip
        answer = self.insist("/employees", None, body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, requests: int = 40, threads: int = 6) -> None:
        """Live so many requests, after those of earlier runs, several at a time; raise what failed."""
        numbers = range(self.begun, self.begun + requests)
        self.begun += requests
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(self.life_of, number) for number in numbers]:
                done.result()
