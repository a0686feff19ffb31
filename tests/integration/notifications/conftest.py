"""Notifications in one process on a real database, Redis and mail sink, without its worker: facts are handed to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, select, text, update
from sqlalchemy.engine import make_url
from tests.schemas import migrated

from lms.cli.home import any_free_port
from lms.cli.mailsink import MailSink
from lms.kernel.auth import TokenSigner, public_key_of
from lms.kernel.clock import FixedClock
from lms.kernel.consumer import Reaction
from lms.kernel.event import Envelope, ForeignEvent
from lms.kernel.execution import Executor, UnitOfWork
from lms.kernel.http import create_app
from lms.kernel.ids import new_id
from lms.kernel.projection import write_views
from lms.kernel.service import Runtime
from lms.kernel.settings import load
from lms.notifications import store
from lms.notifications.commands.mailing import send_due
from lms.notifications.consumers import FACTS, TELLING
from lms.notifications.main import SERVICE
from lms.notifications.settings import Settings
from lms.notifications.upstream import (
    CaseOpened,
    EmployeeContactChanged,
    EmployeeErased,
    EmployeeJoined,
    LeaveConfirmed,
    LeaveRequested,
)

JWT_SECRET = "c4e8a1d7" * 10
ENCRYPTION_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@dataclass
class Notifications:
    """The service, its clock and its mail server, and what others would do around it."""

    runtime: Runtime
    client: httpx.AsyncClient
    clock: FixedClock
    sink: MailSink
    versions: dict[str, int] = field(default_factory=dict)

    def headers(self, employee_id: str, *roles: str) -> dict[str, str]:
        token = TokenSigner(JWT_SECRET).sign(employee_id, roles=roles or ("employee",))
        return {"Authorization": f"Bearer {token}"}

    async def tell(self, stream: str, *facts: ForeignEvent) -> None:
        """Hand facts of one stream to the consumers, as Kafka would."""
        for fact in facts:
            self.versions[stream] = self.versions.get(stream, 0) + 1
            await self.deliver(around(stream, self.versions[stream], fact), fact)

    async def deliver(self, envelope: Envelope, fact: ForeignEvent) -> None:
        async with self.runtime.database.transaction() as connection:
            await write_views(connection, FACTS.projections, [(fact, envelope)])
        reaction = TELLING.handlers.get(type(fact))
        if reaction is not None:
            await self.runtime.executor.run(partial(_react, reaction, fact, envelope))

    async def hire(self, name: str = "Anna Arnold", *roles: str) -> str:
        """Let the directory tell of a new person and how they are reached; return their id."""
        employee_id = new_id()
        async with self.runtime.database.transaction() as connection:
            await self.runtime.keyring.create_key(connection, employee_id)
        await self.tell(
            f"employee-{employee_id}",
            EmployeeJoined(employee_id=employee_id, roles=roles or ("employee",)),
            EmployeeContactChanged(
                employee_id=employee_id,
                name=await self.runtime.keyring.seal(employee_id, name),
                email=await self.runtime.keyring.seal(employee_id, address(employee_id)),
            ),
        )
        return employee_id

    async def erase(self, employee_id: str) -> None:
        """Destroy a person's key, as the directory does, and tell of it."""
        async with self.runtime.database.transaction() as connection:
            await self.runtime.keyring.destroy(connection, employee_id)
        await self.tell(f"employee-{employee_id}", EmployeeErased(employee_id=employee_id))

    async def asked(self, employee_id: str, *assignees: str, group: str | None = None) -> str:
        """Let somebody ask for leave, and a case be opened; return the request's id."""
        request_id = new_id()
        await self.tell(
            f"leave-book-{employee_id}",
            LeaveRequested(
                request_id=request_id,
                revision=1,
                employee_id=employee_id,
                leave_type="annual",
                start_date=date(2026, 4, 1),
                end_date=date(2026, 4, 2),
            ),
        )
        await self.tell(f"approval-case-{request_id}.1", case_opened(request_id, employee_id, *assignees, group=group))
        return request_id

    async def confirmed(self, employee_id: str, request_id: str) -> None:
        await self.tell(f"leave-book-{employee_id}", leave_confirmed(request_id, employee_id))

    async def get(self, who: str, path: str = "", *roles: str, **query: Any) -> Any:
        answer = await self.client.get(f"/api/v1/notifications{path}", params=query, headers=self.headers(who, *roles))
        assert answer.is_success, answer.text
        return answer.json()

    async def kinds(self, who: str) -> list[str]:
        """What is in somebody's inbox, the newest first."""
        return [one["kind"] for one in (await self.get(who))["items"]]

    async def send(self) -> None:
        """Let the sender do its work once."""
        await send_due(self.runtime)

    async def send_again(self) -> None:
        """Let the sender try again what waits for another attempt."""
        async with self.runtime.database.transaction() as connection:
            await connection.execute(update(store.mails).values(due_at=text("NOW(6)")))
        await self.send()

    def subjects(self, who: str) -> list[str]:
        """The subjects of the mails that somebody got, the newest first."""
        return [mail.subject for mail in self.sink.mails(address(who))]

    async def mails(self, who: str) -> list[tuple[str, str | None]]:
        """The states and reasons of the mails to somebody."""
        async with self.runtime.database.read() as connection:
            rows = await connection.execute(
                select(store.mails.c.status, store.mails.c.reason).where(store.mails.c.employee_id == who)
            )
            return [(row.status, row.reason) for row in rows]


def address(employee_id: str) -> str:
    return f"{employee_id}@test.example"


def case_opened(request_id: str, employee_id: str, *assignees: str, group: str | None = None) -> CaseOpened:
    return CaseOpened(
        request_id=request_id,
        revision=1,
        employee_id=employee_id,
        leave_type="annual",
        kind="leave",
        start_date=date(2026, 4, 1),
        end_date=date(2026, 4, 2),
        assignees=assignees,
        group=group,
    )


def leave_confirmed(request_id: str, employee_id: str) -> LeaveConfirmed:
    return LeaveConfirmed(request_id=request_id, revision=1, employee_id=employee_id, leave_type="annual")


def around(stream: str, version: int, fact: ForeignEvent, key: str = "test") -> Envelope:
    return Envelope(
        event_id=new_id(),
        source="test",
        type=fact.TYPE,
        schema_version=1,
        stream=stream,
        version=version,
        log_epoch=1,
        key=key,
        time=datetime.now(UTC),
        data={},
        correlation_id=new_id(),
        causation_id=new_id(),
    )


async def _react(reaction: Reaction, fact: ForeignEvent, envelope: Envelope, uow: UnitOfWork) -> None:
    await reaction(uow, fact, envelope)


def environment(url: str, redis_url: str, kafka: str, smtp_port: int, **more: str) -> dict[str, str]:
    """The variables of the service."""
    return {
        "LMS_ENVIRONMENT": "test",
        "REDIS_URL": redis_url,
        "JWT_PUBLIC_KEY": public_key_of(JWT_SECRET),
        "DATABASE_URL": url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "ENCRYPTION_KEY": ENCRYPTION_KEY,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(smtp_port),
        "SMTP_FROM": "lms@test.example",
        "SMTP_STARTTLS": "off",
        **more,
    }


def settings_of(variables: dict[str, str]) -> Settings:
    """The settings that a process with these variables has."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return load(Settings)


@pytest.fixture(scope="session")
def _migrated(database_url: Callable[[str], str]) -> str:
    return migrated(SERVICE, database_url("notifications"))


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[tuple[MailSink, int]]:
    found, port = MailSink(tmp_path / "mails"), any_free_port()
    await found.start(port)
    yield found, port
    await found.stop()


@pytest.fixture
async def notifications(_migrated: str, redis_url: str, sink: tuple[MailSink, int]) -> AsyncIterator[Notifications]:
    engine = create_engine(make_url(_migrated).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        tables = [row[0] for row in connection.execute(text("SHOW TABLES"))]
        for table in set(tables) - {"alembic_version", "log"}:
            connection.execute(text(f"DELETE FROM `{table}`"))  # noqa: S608  # names of our own tables
    engine.dispose()
    settings = settings_of(environment(_migrated, redis_url, "127.0.0.1:9", sink[1]))
    runtime = Runtime(SERVICE, settings)
    clock = FixedClock(NOON)
    runtime.clock = clock  # type: ignore[assignment]  # stands still
    runtime.executor = Executor(runtime.database, runtime.store, clock)
    runtime.ready = True
    app = create_app(runtime, SERVICE.routers, title="notifications")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://notifications") as client:
        yield Notifications(runtime, client, clock, sink[0])
    await asyncio.gather(runtime.database.close(), runtime.keyring.close(), runtime.redis.aclose())
