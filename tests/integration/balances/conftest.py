"""Balances in one process on a real database and a real Redis, without its worker: facts are handed to it directly."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from tests.schemas import migrated

from lms.balances import consumers
from lms.balances.main import SERVICE
from lms.balances.projections.people import People
from lms.balances.settings import Settings
from lms.balances.upstream import Day, EmployeeJoined, LeaveConfirmed, LeaveRequested, Rest
from lms.kernel.auth import TokenSigner, public_key_of
from lms.kernel.clock import FixedClock
from lms.kernel.event import Envelope, ForeignEvent
from lms.kernel.execution import Executor, UnitOfWork
from lms.kernel.http import create_app
from lms.kernel.ids import new_id
from lms.kernel.projection import write_views
from lms.kernel.service import Runtime

JWT_SECRET = "a3d9f1c2" * 10
ANNUAL = {
    "leave_type": "annual", "name": "Annual leave", "unit": "half-day", "paid": True, "pay_code": "ANNUAL",
    "colour": "#2e7d32",
}  # fmt: skip
SICK = {**ANNUAL, "leave_type": "sick", "name": "Sick leave", "limited": False, "needs_approval": False}
POLICY = {
    "policy_id": "annual", "leave_type": "annual", "effective_from": "2026-01-01", "entitlement_minutes": 12000,
    "accrual": "up-front", "carry_over_limit_minutes": 2400, "carry_over_expires": "03-31",
}  # fmt: skip

Reaction = Callable[[UnitOfWork, Any, Envelope], Awaitable[None]]


def envelope(fact: ForeignEvent) -> Envelope:
    """An envelope such as Kafka brings."""
    return Envelope(
        event_id=new_id(), source="test", type=fact.TYPE, schema_version=1, stream="test", version=1, log_epoch=1,
        key="test", time=datetime.now(UTC), data={}, correlation_id=new_id(), causation_id=new_id(),
    )  # fmt: skip


@dataclass
class Balances:
    """A running service, its clock, and what others would do around it."""

    runtime: Runtime
    client: httpx.AsyncClient
    clock: FixedClock

    def headers(self, employee_id: str, *roles: str) -> dict[str, str]:
        token = TokenSigner(JWT_SECRET).sign(employee_id, roles=roles or ("employee",))
        return {"Authorization": f"Bearer {token}"}

    @property
    def hr(self) -> dict[str, str]:
        return self.headers("hanna", "hr")

    async def tell(self, reaction: Reaction, fact: ForeignEvent) -> None:
        """Hand a fact to a reaction, as the consumer would."""
        around = envelope(fact)
        await self.runtime.executor.run(lambda uow: reaction(uow, fact, around))

    async def hire(
        self, *, employed_from: date = date(2026, 1, 1), manager_id: str | None = None, employee_id: str | None = None
    ) -> str:
        """Let the directory tell of a new person; return its id."""
        joined = EmployeeJoined(
            employee_id=employee_id or new_id(), employed_from=employed_from, location_id="paris", manager_id=manager_id
        )
        async with self.runtime.database.transaction() as connection:
            await write_views(connection, (People,), [(joined, envelope(joined))])
            await self.runtime.keyring.create_key(connection, joined.employee_id)
        await self.tell(consumers.on_joined, joined)
        return joined.employee_id

    async def request(self, employee_id: str, *dates: str, leave_type: str = "annual") -> str:
        """Let the leave book tell of a request for full days; return its id."""
        request_id = new_id()
        fact = LeaveRequested(
            request_id=request_id,
            revision=1,
            employee_id=employee_id,
            leave_type=leave_type,
            days=full_days(dates),
            rests_on=(Rest(stream="calendar-france", version=3),),
        )
        await self.tell(consumers.on_requested, fact)
        return request_id

    async def confirm(self, employee_id: str, request_id: str, *dates: str, leave_type: str = "annual") -> None:
        fact = LeaveConfirmed(
            request_id=request_id,
            revision=1,
            employee_id=employee_id,
            leave_type=leave_type,
            days=full_days(dates),
            replaces_revision=None,
        )
        await self.tell(consumers.on_confirmed, fact)

    async def balances(self, employee_id: str, **query: str) -> dict[str, Any]:
        """The balances of a person by leave type, as the person sees them."""
        found = await self.client.get("/api/v1/balances", params=query, headers=self.headers(employee_id))
        assert found.status_code == 200, found.text
        return {one["leave_type"]: one for one in found.json()["items"]}

    async def company(self) -> None:
        """Define two leave types and a policy."""
        for path, body in (("leave-types", ANNUAL), ("leave-types", SICK), ("policies", POLICY)):
            answer = await self.client.post(f"/api/v1/{path}", json=body, headers=self.hr)
            assert answer.status_code == 201, answer.text

    async def types_recorded(self, employee_id: str) -> list[str]:
        """The event types of a person's account, in order."""
        async with self.runtime.database.read() as connection:
            recorded = await self.runtime.store.read(connection, f"leave-account-{employee_id}")
        return [one.envelope.type for one in recorded]


def full_days(dates: tuple[str, ...]) -> tuple[Day, ...]:
    return tuple(Day(date=date.fromisoformat(one), entitlement_minutes=480, scheduled_minutes=480) for one in dates)


@pytest.fixture(scope="session")
async def _migrated(database_url: Callable[[str], str]) -> str:
    return migrated(SERVICE, database_url("balances"))


@pytest.fixture
async def balances(_migrated: str, redis_url: str) -> AsyncIterator[Balances]:
    engine = create_engine(make_url(_migrated).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        tables = [row[0] for row in connection.execute(text("SHOW TABLES"))]
        for table in set(tables) - {"alembic_version", "log"}:
            connection.execute(text(f"DELETE FROM `{table}`"))  # noqa: S608  # names of our own tables
    engine.dispose()
    settings = Settings.model_validate(
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
    app = create_app(runtime, SERVICE.routers, title="balances")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://balances") as client:
        balances = Balances(runtime, client, clock)
        await balances.company()
        yield balances
    await runtime.database.close()
    await runtime.redis.aclose()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    connection = Redis.from_url(redis_url)
    yield connection
    await connection.aclose()
