"""People who ask for leave under load: employed through the public API, each day of each of them asked for once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice

import orjson
from tests.e2e.company import Company, Employee
from tests.load.wrk import Prepared
from tests.waiting import eventually

from lms.cli.system import System
from lms.kernel.auth import TokenSigner
from lms.kernel.ids import new_id

ENTITLEMENT = 300
"""Days a year: so many that nobody runs out."""

_TOKEN_LIFETIME = timedelta(hours=6)


@dataclass
class People:
    """Some people with a manager and a leave type of their own, and the days that nobody has asked for yet."""

    system: System
    company: Company
    leave_type: str
    manager: Employee
    people: list[Employee]
    tokens: dict[str, str] = field(default_factory=dict)
    _asked: int = 0

    @classmethod
    def employed(cls, system: System, size: int) -> "People":
        """Employ people, and wait until every service knows them."""
        company = Company.of(system)
        slug = company.leave_type()
        company.policy(slug, ENTITLEMENT, f"{datetime.now(UTC).year - 1}-01-01")
        manager = company.hire(roles=("employee", "manager"))
        with ThreadPoolExecutor(4) as pool:
            hired = list(pool.map(lambda _: company.hire(manager=manager), range(size)))
        people = cls(system, company, slug, manager, hired)
        signer = TokenSigner(system.home.secret("jwt", 64))
        for one in (*hired, manager):
            people.tokens[one.id] = signer.sign(one.id, roles=one.roles, lifetime=_TOKEN_LIFETIME)
        for one in hired:
            company.becomes(one, slug, f"{ENTITLEMENT}.00")
            eventually(partial(people.known, one), f"requests does not know {one}")
        return people

    def known(self, who: Employee) -> bool:
        """Say whether `requests` knows all that it needs to know of somebody."""
        day = str(self.day(0))
        body = {"leave_type": self.leave_type, "start_date": day, "end_date": day}
        return self.company.call("POST", "/leave-requests/preview", who, body).is_success

    @staticmethod
    def day(number: int) -> date:
        """Return the working day of that number, a few weeks from now on."""
        today = datetime.now(UTC).date()
        monday = today + timedelta(days=28 - today.weekday())
        return monday + timedelta(weeks=number // 5, days=number % 5)

    def ahead(self, count: int) -> list[Prepared]:
        """Return the next requests to send; `sent` says how many of them were."""
        return list(islice(self._requests(self._asked), count))

    def sent(self, count: int) -> None:
        """Leave those days out from now on."""
        self._asked += count

    def reading(self, count: int) -> list[Prepared]:
        """Return requests of different people that only read."""
        return [Prepared(self.tokens[one.id]) for one in self.people[:count]]

    def body(self, number: int) -> bytes:
        """Return the body of a request for the day of that number."""
        day = str(self.day(number))
        return orjson.dumps({"leave_type": self.leave_type, "start_date": day, "end_date": day})

    def _requests(self, first: int) -> Iterator[Prepared]:
        number = first
        while True:
            who = self.people[number % len(self.people)]
            yield Prepared(self.tokens[who.id], new_id(), self.body(number // len(self.people)).decode())
            number += 1
