"""The disaster drill: everything that was backed up, restored on processes of its own, and tried as people use it.

    result = await drill(backups, home, console)
    result.recovery_seconds, result.facts_lost

Nothing of the running system is touched, and nothing is written to the storage. The clock starts with the programs
installed and nothing else, and stops when a request for leave has lived its life through the gateway; proving that
every view and balance agrees with the facts comes after that, and is told apart.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from rich.console import Console

from lms.cli import rebuild as services_own
from lms.cli.backup_settings import Backups
from lms.cli.database_server import DatabaseServer, ServerFailed
from lms.cli.recovery import ADMIN, Report, beside, recover
from lms.cli.restore import prepared
from lms.cli.servers import SCHEMAS
from lms.cli.system import LOADER, System

T = TypeVar("T")

RECOVERY_TIME = timedelta(minutes=5)
RECOVERY_POINT = timedelta(0)
"""What LMS aims at: the time with the whole company of 5,000, the point with the binary log at hand."""

_PATIENCE_SECONDS = 120.0
_FULL, _OFF = {"morning_minutes": 240, "afternoon_minutes": 240}, {"morning_minutes": 0, "afternoon_minutes": 0}


class SmokeFailed(Exception):
    """The restored system does not do its work; the text says what it answered."""


@dataclass
class Result:
    """What a drill achieved.

    `recovery_seconds` are from nothing to the first request for leave that was asked for, approved and debited.
    `recovery_point_seconds` is how long before the drill's beginning the restored data ends; 0 with the log at hand.
    `facts_lost` are the facts that the running system had then and the restored one has not, None when it was away.
    """

    report: Report
    recovery_seconds: float
    recovery_point_seconds: float
    facts_lost: int | None
    checks: services_own.Checks = field(default_factory=dict)
    verification_seconds: float = 0.0

    @property
    def drift(self) -> int:
        """How many faults `lms verify` found in the restored system, the audit log included."""
        return services_own.drift_of(self.checks)

    @property
    def sound(self) -> bool:
        """Whether all is there and agrees."""
        return self.drift == 0 and not self.facts_lost

    def as_json(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "sound": self.sound,
            "recovery_seconds": round(self.recovery_seconds, 1),
            "recovery_point_seconds": round(self.recovery_point_seconds, 1),
            "facts_lost": self.facts_lost,
            "drift": self.drift,
            "verification_seconds": round(self.verification_seconds, 1),
            "restore": self.report.as_json(),
            "checks": self.checks,
        }


async def drill(
    backups: Backups, console: Console, *, to: datetime | None = None, log_folder: Path | None = None
) -> Result:
    """Recover from the loss of everything but the storage and, with `log_folder`, the binary log; see `Result`."""
    running = facts_of(backups.server) if backups.settings.database_url is not None else None
    disaster, began = datetime.now(UTC), time.monotonic()
    async with beside(backups) as system:
        started = time.monotonic()
        with prepared(backups, to, log_folder) as plan:
            server = DatabaseServer(system.mysql.url(ADMIN, ""))
            epoch = max(backups.catalogue.next_epoch(), plan.database.log_epoch + 1)
            fetched = time.monotonic()
            report = await recover(system, server, backups, plan, console, epoch=epoch)
            before = {"servers": round(started - began, 2), "fetching": round(fetched - started, 2)}
            report.seconds = before | report.seconds
            with report.timed("smoke test"):
                live_through(system, plan.database.clock_offset)
            result = Result(
                report=report,
                recovery_seconds=time.monotonic() - began,
                recovery_point_seconds=max(0.0, (disaster - report.restored_to).total_seconds()),
                facts_lost=None if running is None or to is not None else _lost(running, report.facts),
            )
        verifying = time.monotonic()
        result.checks = services_own.checks_of(system.home.folder, SCHEMAS, console)
        result.verification_seconds = time.monotonic() - verifying
        return result


def facts_of(server: DatabaseServer) -> dict[str, int] | None:
    """Return how many facts each service of a running system has recorded; None when its server is away."""
    try:
        schemas = server.schemas()
        return {
            one: int(server.rows(f"SELECT COUNT(*) AS n FROM `lms_{one}`.events")[0]["n"])  # noqa: S608  # our own names
            for one in SCHEMAS
            if f"lms_{one}" in schemas
        }
    except ServerFailed:
        return None


def _lost(running: Mapping[str, int], restored: Mapping[str, int]) -> int:
    return sum(max(0, facts - restored.get(service, 0)) for service, facts in running.items())


# The smoke test -------------------------------------------------------------------------------------------------------


def live_through(system: System, clock_offset: float) -> None:
    """Let somebody who is employed now sign in, ask for a week, have it approved, and see the balance debited."""
    today = (datetime.now(UTC) + timedelta(seconds=clock_offset)).date()
    monday = today + timedelta(weeks=8) - timedelta(days=today.weekday())
    with httpx.Client(base_url=system.url, timeout=30) as client:
        hr = _Person(client, _patiently(lambda: _service_token(client, system.home.secret("loader"))))
        manager, anna = _employ(hr, monday)
        asked = anna.send(
            "/leave-requests",
            {"leave_type": manager.leave_type, "start_date": str(monday), "end_date": str(monday + timedelta(days=4))},
        )
        path = f"/approvals/{asked['id']}/approve"
        _patiently(lambda: manager.send(path, {"revision": asked["revision"]}))
        _patiently(lambda: anna.get(f"/leave-requests/{asked['id']}")["status"] == "approved")
        _patiently(lambda: anna.days_left(monday) == "15.00")


@dataclass
class _Person:
    client: httpx.Client
    token: str
    leave_type: str = ""

    def send(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": secrets.token_urlsafe(16)}
        return _answer(self.client.post(f"/api/v1{path}", json=body, headers=headers))

    def get(self, path: str) -> dict[str, Any]:
        return _answer(self.client.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {self.token}"}))

    def days_left(self, day: date) -> str:
        items = self.get(f"/balances?as_of={day + timedelta(days=6)}")["items"]
        return next((str(one["balance"]["days"]) for one in items if one["leave_type"] == self.leave_type), "")


def _employ(hr: _Person, monday: date) -> tuple[_Person, _Person]:
    """Employ a manager and Anna, with a leave type of their own; both have signed in, and Anna's account is there."""
    mark, password = secrets.token_hex(4), secrets.token_urlsafe(16)
    calendar = hr.send("/holiday-calendars", {"name": f"drill {mark}", "country": "FR"})["id"]
    location = {"name": f"drill {mark}", "country": "FR", "time_zone": "Europe/Paris", "calendar_id": calendar}
    employment = {
        "department_id": hr.send("/departments", {"name": f"drill {mark}"})["id"],
        "location_id": hr.send("/locations", location)["id"],
        "schedule_id": hr.send("/schedules", {"name": f"drill {mark}", "weeks": [[_FULL] * 5 + [_OFF] * 2]})["id"],
        "employed_from": f"{monday.year - 1}-01-01",
        "password": password,
    }
    slug = f"drill-{mark}"
    kind = {
        "leave_type": slug,
        "name": slug,
        "unit": "half-day",
        "paid": True,
        "pay_code": "DRILL",
        "colour": "#123456",
    }
    hr.send("/leave-types", {**kind, "needs_approval": True, "limited": True})
    policy = {
        "policy_id": slug,
        "leave_type": slug,
        "effective_from": f"{monday.year - 1}-01-01",
        "accrual": "up-front",
    }
    hr.send("/policies", {**policy, "entitlement_minutes": 20 * 480})
    people: list[_Person] = []
    manager: str | None = None
    for name in ("manager", "anna"):
        email = f"{name}.{mark}@drill.example"
        body = {**employment, "email": email, "given_name": name, "family_name": "Drill", "manager_id": manager}
        manager = hr.send("/employees", {**body, "roles": ["employee", "manager"][: 2 - len(people)]})["id"]
        signed_in = {"email": email, "password": password}
        people.append(
            _Person(hr.client, _answer(hr.client.post("/api/v1/auth/login", json=signed_in))["access_token"], slug)
        )
    _patiently(lambda: people[1].days_left(monday) == "20.00")
    preview = {"leave_type": slug, "start_date": str(monday), "end_date": str(monday)}
    _patiently(lambda: people[1].send("/leave-requests/preview", preview))
    return people[0], people[1]


def _service_token(client: httpx.Client, secret: str) -> str:
    body = {"client_id": LOADER, "client_secret": secret}
    return str(_answer(client.post("/api/v1/auth/token", json=body))["access_token"])


def _answer(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise SmokeFailed(
            f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text}"
        )
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found


def _patiently(look: Callable[[], T]) -> T:
    """Return what `look` returns once it is true: facts travel through Kafka. Raises SmokeFailed."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            found = look()
        except SmokeFailed:
            if time.monotonic() > until:
                raise
        else:
            if found:
                return found
            if time.monotonic() > until:
                raise SmokeFailed(f"The restored system does not come to its end: it last said {found!r}.")
        time.sleep(0.1)
