"""What a demo company stands on: leave types, offices with their holidays and policies, schedules, departments.

Also the file by which its people are imported, and the passwords of those who can sign in.
"""

import asyncio
import csv
import io
from collections.abc import Sequence
from datetime import date
from typing import Any

from lms.cli.demo.company import DAY, OFFICES, SCHEDULES, Company, Office, Person, who_signs_in
from lms.cli.demo.gateway import Gateway
from lms.cli.demo.journal import Journal

COLUMNS = (
    "email", "given_name", "family_name", "department", "location", "schedule", "employed_from", "manager_email",
    "roles", "cost_centre",
)  # fmt: skip

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

_SIGNING_IN_AT_ONCE = 4


class Organisation:
    """The organisation of one company in one system; `ids` holds the id of each thing by name."""

    def __init__(self, gateway: Gateway, company: Company, journal: Journal) -> None:
        self._gateway = gateway
        self._company = company
        self._name = company.spec.name
        self._journal = journal
        self.ids: dict[str, str] = {}

    async def make(self) -> None:
        """Make whatever is not there yet."""
        for terms in LEAVE_TYPES:
            await self._define(terms)
        for schedule in SCHEDULES:
            weeks = [[_work_day(*minutes) for minutes in week] for week in schedule.weeks]
            await self._make("schedules", schedule.name, {"name": schedule.name, "weeks": weeks})
        for department in dict.fromkeys(person.department for person in self._company.people):
            await self._make("departments", department, {"name": department})
        for office in OFFICES:
            await self._open(office)
        everywhere = [self.ids[office.city] for office in OFFICES]
        nothing = {"entitlement_minutes": 0, "accrual": "up-front", "carry_over_limit_minutes": None}
        await self._publish("comp-off", "comp-off", everywhere, nothing)

    async def _define(self, terms: dict[str, Any]) -> None:
        """Define a leave type; companies of one system share them."""

        async def work() -> dict[str, Any]:
            answer = await self._gateway.send("/leave-types", terms, f"demo.leave-type.{terms['leave_type']}")
            if answer.code != "leave-type-exists":
                answer.wanted()
            return {}

        await self._journal.once(f"leave-type.{terms['leave_type']}", work)

    async def _open(self, office: Office) -> None:
        place = {"country": office.country, "subdivision": office.subdivision}
        first, last = self._company.spec.mondays[0].year, self._company.spec.through.year
        calendar = f"Holidays in {office.city}"
        years = list(range(first - 1, last + 2))
        await self._make("holiday-calendars", calendar, {"name": calendar, **place, "years": years})
        body = {"name": office.city, **place, "time_zone": office.time_zone, "calendar_id": self.ids[calendar]}
        await self._make("locations", office.city, body)
        terms = {
            "entitlement_minutes": office.entitlement_days * DAY, "accrual": office.accrual,
            "carry_over_limit_minutes": 5 * DAY, "carry_over_expires": "03-31",
        }  # fmt: skip
        await self._publish("annual", f"annual-{office.country.lower()}", [self.ids[office.city]], terms)

    async def _make(self, path: str, name: str, body: dict[str, Any]) -> None:
        key = f"{path}.{''.join(one if one.isascii() and one.isalnum() else '-' for one in name)}"

        async def work() -> dict[str, Any]:
            return {"id": (await self._gateway.post(f"/{path}", body, f"{self._name}.{key}"))["id"]}

        self.ids[name] = (await self._journal.once(key, work))["id"]

    async def _publish(self, leave_type: str, policy: str, locations: list[str], terms: dict[str, Any]) -> None:
        """Publish a policy for the company's own offices, in force since the year in which its history begins."""
        since = date(self._company.spec.mondays[0].year, 1, 1).isoformat()
        body = {
            "policy_id": f"{policy}-{self._name}", "leave_type": leave_type, "locations": locations,
            "effective_from": since, **terms,
        }  # fmt: skip

        async def work() -> dict[str, Any]:
            await self._gateway.post("/policies", body, f"{self._name}.policy.{policy}")
            return {}

        await self._journal.once(f"policy.{policy}", work)

    def csv_of(self, joiners: Sequence[Person], today: date) -> bytes:
        """Return the file that imports people; offices, schedules and departments stand in it by their ids."""
        file = io.StringIO()
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for person in joiners:
            manager = self._company.manager_on(person.number, max(today, person.joins))
            rows.writerow(
                (
                    person.email, person.given_name, person.family_name, self.ids[person.department],
                    self.ids[person.office.city], self.ids[person.schedule_on(today).name], person.joins.isoformat(),
                    "" if manager is None else self._company.people[manager].email, " ".join(person.roles),
                    f"CC-{person.department[:3].upper()}",
                )
            )  # fmt: skip
        return file.getvalue().encode()

    async def let_sign_in(self, ids: dict[int, str], password: str) -> list[dict[str, Any]]:
        """Give those who are shown a password, by their invitations; return what scripts see of them."""
        shown = who_signs_in(self._company)
        at_once = asyncio.Semaphore(_SIGNING_IN_AT_ONCE)

        async def one(person: Person) -> None:
            async with at_once:
                await self._journal.once(f"sign-in.{person.number}", lambda: self._invite(ids[person.number], password))

        await asyncio.gather(*(one(person) for person in shown))
        return [self._shown(person, ids) for person in shown]

    async def _invite(self, employee_id: str, password: str) -> dict[str, Any]:
        invited = await self._gateway.post(
            f"/employees/{employee_id}/invitation", {}, f"{self._name}.invitation.{employee_id}"
        )
        body = {"token": invited["token"], "password": password}
        accepted = await self._gateway.send("/auth/accept-invitation", body, f"{self._name}.password.{employee_id}")
        if accepted.code != "invitation-invalid":  # an interrupted load has used it already
            accepted.wanted()
        return {}

    def _shown(self, person: Person, ids: dict[int, str]) -> dict[str, Any]:
        manager = self._company.manager_on(person.number, self._company.spec.through)
        return {
            "id": ids[person.number],
            "email": person.email,
            "roles": list(person.roles),
            "manager": None if manager is None else self._company.people[manager].email,
            "department": person.department,
            "location": person.office.city,
        }


def _work_day(morning: int, afternoon: int) -> dict[str, int]:
    return {"morning_minutes": morning, "afternoon_minutes": afternoon}
