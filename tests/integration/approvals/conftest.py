"""Approvals in one process on a real database and a real Redis, without its worker: facts are handed to it directly."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from tests.schemas import migrated

from lms.approvals.consumers import CASES, FACTS, REROUTING
from lms.approvals.main import SERVICE
from lms.approvals.upstream import (
    Day,
    DelegationGranted,
    EmployeeJoined,
    LeaveApprovalRequested,
    PolicyPublished,
)
from lms.kernel.auth import TokenSigner, public_key_of
from lms.kernel.clock import FixedClock
from lms.kernel.consumer import Reaction
from lms.kernel.event import Envelope, ForeignEvent
from lms.kernel.eventstore import Recorded
from lms.kernel.execution import Executor, UnitOfWork
from lms.kernel.http import create_app
from lms.kernel.ids import new_id
from lms.kernel.projection import write_views
from lms.kernel.service import Runtime
from lms.kernel.settings import KernelSettings

JWT_SECRET = "c4e8a1d7" * 10
TODAY = date(2026, 3, 2)


@dataclass
class Approvals:
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
            for reactor in (CASES, REROUTING):
                reaction = reactor.handlers.get(type(fact))
                if reaction is not None:
                    await self.runtime.executor.run(partial(_react, reaction, fact, around))

    async def hire(self, *, manager_id: str | None = None, location_id: str = "paris") -> str:
        """Let the directory tell of a new person; return its id."""
        employee_id = new_id()
        await self.tell(
            f"employee-{employee_id}",
            EmployeeJoined(
                employee_id=employee_id,
                employed_from=date(2024, 1, 1),
                location_id=location_id,
                manager_id=manager_id,
            ),
        )
        async with self.runtime.database.transaction() as connection:
            await self.runtime.keyring.create_key(connection, employee_id)
        return employee_id

    async def policy(self, *steps: str, locations: tuple[str, ...] | None = None) -> None:
        policy_id = new_id()
        await self.tell(
            f"policy-{policy_id}",
            PolicyPublished(
                policy_id=policy_id,
                version=1,
                leave_type="annual",
                locations=locations,
                effective_from=date(2020, 1, 1),
                approval_steps=steps,
            ),
        )

    async def stands_in(self, delegate_id: str, delegator_id: str, *, days: int = 1) -> str:
        """Let somebody stand in from today on; return the delegation's id."""
        delegation_id = new_id()
        await self.tell(
            f"delegation-{delegation_id}",
            DelegationGranted(
                delegation_id=delegation_id,
                delegator_id=delegator_id,
                delegate_id=delegate_id,
                first_day=TODAY,
                last_day=TODAY + timedelta(days=days - 1),
            ),
        )
        return delegation_id

    async def asked(
        self, employee_id: str, *, request_id: str | None = None, revision: int = 1, needs_approval: bool = True
    ) -> str:
        """Let the leave book ask for a decision; return the request's id."""
        request_id = request_id or new_id()
        await self.tell(
            f"leave-book-{employee_id}",
            LeaveApprovalRequested(
                request_id=request_id,
                revision=revision,
                employee_id=employee_id,
                leave_type="annual",
                kind="leave",
                start_date=date(2026, 4, 1),
                end_date=date(2026, 4, 2),
                days=(Day(entitlement_minutes=480), Day(entitlement_minutes=240)),
                needs_approval=needs_approval,
            ),
        )
        return request_id

    async def post(
        self, path: str, who: str, *roles: str, headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        return await self.client.post(
            f"/api/v1/approvals/{path}", json=body, headers={**self.headers(who, *roles), **(headers or {})}
        )

    async def inbox(self, who: str, *roles: str, **query: Any) -> list[dict[str, Any]]:
        """The cases that somebody sees, in every state unless told otherwise."""
        found = await self.client.get("/api/v1/approvals", params=query, headers=self.headers(who, *roles))
        assert found.status_code == 200, found.text
        return list(found.json()["items"])

    async def pending(self, who: str, *roles: str) -> list[str]:
        """The requests that wait for somebody."""
        return [one["request_id"] for one in await self.inbox(who, *roles, status="pending")]

    async def log_of(self, request_id: str, revision: int = 1) -> list[Recorded]:
        """The case as it stands in the log."""
        async with self.runtime.database.read() as connection:
            return await self.runtime.store.read(connection, f"approval-case-{request_id}.{revision}")


async def _react(reaction: Reaction, fact: ForeignEvent, around: Envelope, uow: UnitOfWork) -> None:
    await reaction(uow, fact, around)


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
    return migrated(SERVICE, database_url("approvals"))


@pytest.fixture
async def approvals(_migrated: str, redis_url: str) -> AsyncIterator[Approvals]:
    engine = create_engine(make_url(_migrated).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        tables = [row[0] for row in connection.execute(text("SHOW TABLES"))]
        for table in set(tables) - {"alembic_version", "log"}:
            connection.execute(text(f"DELETE FROM `{table}`"))  # noqa: S608  # names of our own tables
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
    clock = FixedClock(datetime(TODAY.year, TODAY.month, TODAY.day, 9, 0, tzinfo=UTC))
    runtime.clock = clock  # type: ignore[assignment]  # stands still
    runtime.executor = Executor(runtime.database, runtime.store, clock, inline=SERVICE.inline)
    runtime.ready = True
    app = create_app(runtime, SERVICE.routers, title="approvals")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://approvals") as client:
        yield Approvals(runtime, client, clock)
    await runtime.database.close()
    await runtime.redis.aclose()
