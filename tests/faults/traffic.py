"""Traffic that must not notice anything: people who read and ask, and never try again."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial

import httpx
from tests.e2e.company import Company, Employee
from tests.waiting import eventually

from lms.cli.system import System

FIRST_DAY = date(2027, 1, 4)


def processes(system: System, services: Iterable[str]) -> set[int]:
    """Return the process of each copy of the services."""
    states = system.supervisor.states()
    return {states[program]["pid"] for service in services for program in system.programs_of(service)}


class Traffic:
    """People who read and ask, some over one connection and some over a new one each time; nobody tries again."""

    def __init__(self, system: System, company: Company) -> None:
        self._url = system.url
        self._token = company.token
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._leave_type = company.leave_type(limited=False, needs_approval=False)
        self._people = [company.hire() for _ in range(3)]
        self._days = itertools.count()
        self.answered = 0
        self.failures: list[str] = []
        for person in self._people:
            eventually(partial(company.balances, person), "the account is not there")
            assert company.try_to_ask(person, self._leave_type, "2026-12-01", "2026-12-01").is_success

    def _headers(self, person: Employee) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", "X-Act-For": person.id, "X-Act-For-Roles": "employee"}

    def _read(self, client: httpx.Client, person: Employee) -> httpx.Response:
        return client.get(f"/api/v1/balances?employee_id={person.id}", headers=self._headers(person))

    def _list(self, client: httpx.Client, person: Employee) -> httpx.Response:
        return client.get("/api/v1/leave-requests?limit=5", headers=self._headers(person))

    def _ask(self, client: httpx.Client, person: Employee) -> httpx.Response:
        day = str(FIRST_DAY + timedelta(days=next(self._days)))
        body = {"leave_type": self._leave_type, "start_date": day, "end_date": day}
        return client.post("/api/v1/leave-requests", headers=self._headers(person), json=body)

    def _go_on(self, do: Callable[[httpx.Client, Employee], httpx.Response], person: Employee, *, keep: bool) -> None:
        limits = httpx.Limits(max_keepalive_connections=4 if keep else 0)
        with httpx.Client(base_url=self._url, timeout=30, limits=limits) as client:
            while not self._stop.wait(0.03):
                try:
                    answer = do(client, person)
                except httpx.TransportError as error:
                    self.failures.append(f"{do.__name__}, keep={keep}: {error!r}")
                    continue
                if answer.status_code >= 500:
                    self.failures.append(f"{do.__name__}, keep={keep}: {answer.status_code} {answer.text}")
                self.answered += 1

    @contextmanager
    def flowing(self) -> Iterator["Traffic"]:
        """Let it flow for the length of the block."""
        work = itertools.product((self._read, self._list, self._ask), (True, False))
        for number, (do, keep) in enumerate(work):
            person = self._people[number % len(self._people)]
            thread = threading.Thread(target=self._go_on, args=(do, person), kwargs={"keep": keep}, daemon=True)
            thread.start()
            self._threads.append(thread)
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(30)

    def since(self, count: int) -> None:
        """Wait until as many requests more were answered."""
        wanted = self.answered + count
        until = time.monotonic() + 60
        while self.answered < wanted:
            assert time.monotonic() < until, f"nothing is answered any more; failures: {self.failures[:5]}"
            time.sleep(0.05)
