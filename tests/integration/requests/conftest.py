"""Requests in one process on a real database and a real Redis, without its worker: facts are handed to it directly."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from tests.schemas import migrated

from lms.kernel.auth import TokenSigner, public_key_of
from lms.kernel.clock import FixedClock
from lms.kernel.consumer import Reaction
from lms.kernel.event import Envelope, ForeignEvent
from lms.kernel.eventstore import Recorded
from lms.kernel.execution import Executor, UnitOfWork
from lms.kernel.http import create_app
from lms.kernel.ids import new_id
from lms.kernel.projection import write_views
from lms.kernel.sealed import Sealed
from lms.kernel.service import Runtime
from lms.kernel.settings import KernelSettings
from lms.requests.consumers import CORRECTIONS, FACTS, PROCESS
from lms.requests.main import SERVICE
from lms.requests.upstream import (
    BalanceInsufficient,
    BalanceReserved,
    CalendarCreated,
    CalendarHolidaysAdded,
    EmployeeJoined,
    Holiday,
    LeaveApproved,
    LeaveRejected,
    LeaveTypeDefined,
    LocationCreated,
    PolicyPublished,
    RestsOn,
    ScheduleDefined,
    WorkDay,
)

JWT_SECRET = "a3d9f1c2" * 10
_DAY = WorkDay(morning_minutes=240, afternoon_minutes=240)
_OFF = WorkDay(morning_minutes=0, afternoon_minutes=0)


@dataclass
class Requests:
    """The service, its clock, and what others would do around it."""

    runtime: Runtime
    client: httpx.AsyncClient
    clock: FixedClock
    versions: dict[str, int] = field(default_factory=dict)

    def headers(self, employee_id: str, *roles: str) -> dict[str, str]:
        token = TokenSigner(JWT_SECRET).sign(employee_id, roles=roles or ("employee",))
        return {"Authorization": f"Bearer {token}"}

    async def tell(self, stream: str, *facts: ForeignEvent) -> None:
        """Hand facts of one stream to whichever consumer reads them, as Kafka would."""
        for fact in facts:
            self.versions[stream] = self.versions.get(stream, 0) + 1
            around = _envelope(stream, self.versions[stream], fact)
            async with self.runtime.database.transaction() as connection:
                await write_views(connection, FACTS.projections, [(fact, around)])
            reaction = {**PROCESS.handlers, **CORRECTIONS.handlers}.get(type(fact))
            if reaction is not None:
                await self.runtime.executor.run(partial(_react, reaction, fact, around))

    async def company(self) -> None:
        """Let the others tell of a schedule, a location with a calendar, and three leave types."""
        await self.tell(
            "schedule-full",
            ScheduleDefined(schedule_id="full", anchor=date(2024, 1, 1), weeks=((_DAY,) * 5 + (_OFF,) * 2,)),
        )
        await self.tell(
            "calendar-france",
            CalendarCreated(calendar_id="france"),
            CalendarHolidaysAdded(calendar_id="france", holidays=(Holiday(date=date(2026, 5, 1), part="full"),)),
        )
        await self.tell("location-paris", LocationCreated(location_id="paris", calendar_id="france"))
        for slug, unit, needs_approval, readers in (
            ("annual", "half-day", True, ("manager", "hr")),
            ("sick", "day", False, ("hr",)),
            ("errand", "hour", True, ("manager",)),
        ):
            await self.tell(f"leave-type-{slug}", leave_type(slug, unit, readers, needs_approval=needs_approval))
        await self.tell(
            "policy-annual",
            PolicyPublished(
                policy_id="annual",
                version=1,
                leave_type="annual",
                locations=None,
                effective_from=date(2020, 1, 1),
                waiting_period_days=0,
                blackouts=(),
            ),
        )

    async def hire(self, *, manager_id: str | None = None, department_id: str = "sales") -> str:
        """Let the directory tell of a new person; return its id."""
        employee_id = new_id()
        await self.tell(
            f"employee-{employee_id}",
            EmployeeJoined(
                employee_id=employee_id,
                employed_from=date(2024, 1, 1),
                department_id=department_id,
                location_id="paris",
                manager_id=manager_id,
                schedule_id="full",
                cost_centre="4100",
            ),
        )
        async with self.runtime.database.transaction() as connection:
            await self.runtime.keyring.create_key(connection, employee_id)
        return employee_id

    async def post(
        self, path: str, who: str, *, roles: tuple[str, ...] = (), headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        return await self.client.post(
            f"/api/v1/{path}", json=body, headers={**self.headers(who, *roles), **(headers or {})}
        )

    async def get(self, path: str, who: str, *roles: str, **query: Any) -> httpx.Response:
        return await self.client.get(f"/api/v1/{path}", params=query, headers=self.headers(who, *roles))

    async def ask(self, who: str, first: str, last: str | None = None, **body: Any) -> dict[str, Any]:
        """Ask for leave that is accepted; return the request."""
        body = {"leave_type": "annual", "start_date": first, "end_date": last or first, **body}
        answered = await self.post("leave-requests", who, **body)
        assert answered.status_code == 201, answered.text
        return dict(answered.json())

    async def shown(self, who: str, request_id: str, *roles: str) -> dict[str, Any]:
        found = await self.get(f"leave-requests/{request_id}", who, *roles)
        assert found.status_code == 200, found.text
        return dict(found.json())

    async def reserved(self, request: dict[str, Any], revision: int = 1) -> None:
        """Let balances set the revision aside."""
        rests_on = (RestsOn(stream="schedule-full", version=1),)
        await self.tell(
            f"leave-account-{request['employee_id']}",
            BalanceReserved(
                employee_id=request["employee_id"], request_id=request["id"], revision=revision, rests_on=rests_on
            ),
        )

    async def insufficient(self, request: dict[str, Any], revision: int = 1) -> None:
        await self.tell(
            f"leave-account-{request['employee_id']}",
            BalanceInsufficient(
                employee_id=request["employee_id"], request_id=request["id"], revision=revision, cause="balance"
            ),
        )

    async def approved(self, request: dict[str, Any], revision: int = 1, by: str | None = "ben") -> None:
        await self.tell(
            f"approval-case-{request['id']}.{revision}",
            LeaveApproved(
                employee_id=request["employee_id"], request_id=request["id"], revision=revision, decided_by=by
            ),
        )

    async def rejected(self, request: dict[str, Any], reason: str, revision: int = 1) -> None:
        sealed: Sealed = await self.runtime.keyring.seal(request["employee_id"], reason)
        await self.tell(
            f"approval-case-{request['id']}.{revision}",
            LeaveRejected(
                employee_id=request["employee_id"],
                request_id=request["id"],
                revision=revision,
                decided_by="ben",
                reason=sealed,
            ),
        )

    async def confirmed(self, who: str, first: str, last: str | None = None, **body: Any) -> dict[str, Any]:
        """Ask for leave and have it approved; return the request."""
        request = await self.ask(who, first, last, **body)
        await self.reserved(request)
        await self.approved(request)
        return request

    async def log_of(self, employee_id: str, kind: str = "leave-book") -> list[Recorded]:
        """The leave book, or another stream of somebody's, as it stands in the log."""
        async with self.runtime.database.read() as connection:
            return await self.runtime.store.read(connection, f"{kind}-{employee_id}")

    async def asked_by(self, employee_id: str) -> list[Recorded] | None:
        """The leave book once there is anything in it."""
        return await self.log_of(employee_id) or None


async def _react(reaction: Reaction, fact: ForeignEvent, around: Envelope, uow: UnitOfWork) -> None:
    await reaction(uow, fact, around)


def leave_type(slug: str, unit: Any, readers: tuple[str, ...], *, needs_approval: bool) -> LeaveTypeDefined:
    return LeaveTypeDefined(
        leave_type=slug,
        name=slug,
        unit=unit,
        paid=True,
        pay_code=slug[:3].upper(),
        needs_approval=needs_approval,
        attachment_after_days=3 if slug == "sick" else None,
        min_notice_days=0,
        max_length_days=None,
        reason_visible_to=readers,
    )


def _envelope(stream: str, version: int, fact: ForeignEvent) -> Envelope:
    return Envelope(
        event_id=new_id(),
        source="test",
        type=fact.TYPE,
        schema_version=1,
        stream=stream,
        version=version,
        log_epoch=1,
        key="test",
        time=datetime.now(UTC),
        data={},
        correlation_id=new_id(),
        causation_id=new_id(),
    )


@pytest.fixture(scope="session")
def _migrated(database_url: Callable[[str], str]) -> str:
    return migrated(SERVICE, database_url("requests"))


@pytest.fixture
async def requests(_migrated: str, redis_url: str) -> AsyncIterator[Requests]:
    engine = create_engine(make_url(_migrated).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        tables = [row[0] for row in connection.execute(text("SHOW TABLES"))]
        for table in set(tables) - {"alembic_version", "log", "payroll_calendars"}:
            # Not even deleted facts may stay: entering such a key again locks a gap, which happens nowhere else.
            empty = "TRUNCATE TABLE" if table == "events" else "DELETE FROM"
            connection.execute(text(f"{empty} `{table}`"))
        connection.execute(text("UPDATE payroll_calendars SET last_closed = NULL"))
    engine.dispose()
    settings = KernelSettings.model_validate(
        {
            "environment": "test",
            "redis_url": redis_url,
            "jwt_public_key": public_key_of(JWT_SECRET),
            "database_url": _migrated,
            "kafka_bootstrap_servers": "127.0.0.1:9",
            "encryption_key": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        }
    )
    runtime = Runtime(SERVICE, settings)
    clock = FixedClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
    runtime.clock = clock  # type: ignore[assignment]  # stands still
    runtime.executor = Executor(runtime.database, runtime.store, clock, inline=SERVICE.inline)
    runtime.ready = True
    app = create_app(runtime, SERVICE.routers, title="requests")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://requests") as client:
        requests = Requests(runtime, client, clock)
        await requests.company()
        yield requests
    await runtime.database.close()
    await runtime.redis.aclose()
