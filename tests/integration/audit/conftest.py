"""The audit service in one process on a real database and a real Kafka; facts are handed to it as Kafka would."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from lms.audit import commands
from lms.audit.main import SERVICE, sign
from lms.audit.settings import Settings
from lms.kernel.auth import TokenSigner, public_key_of
from lms.kernel.cloudevents import encode_headers
from lms.kernel.consumer import Received
from lms.kernel.event import Envelope
from lms.kernel.http import create_app
from lms.kernel.ids import new_id
from lms.kernel.kafka import declare
from lms.kernel.migrations import migrate
from lms.kernel.service import Runtime

JWT_SECRET = "9d1c7e3b" * 10


@dataclass
class Audit:
    """The service, and facts for it."""

    runtime: Runtime
    client: httpx.AsyncClient

    def fact(
        self, stream: str, version: int, *, actor: str | None = None, payload: str = '{"text": "Grüße, 🌴"}'
    ) -> Received:
        envelope = Envelope(
            event_id=new_id(), source="requests", type="leave.requested", schema_version=1, stream=stream,
            version=version, log_epoch=1, key=stream.partition("-")[2], time=datetime.now(UTC), data={},
            correlation_id="c", causation_id="c", actor=actor,
        )  # fmt: skip
        headers = [(name, value.encode()) for name, value in encode_headers(envelope).items()]
        return Received("leave.requests.v1", 0, version, envelope.key, headers, payload.encode(), envelope)

    async def record(self, facts: Sequence[Received]) -> None:
        async with self.runtime.database.transaction() as connection:
            await commands.record(connection, facts)

    async def sign(self) -> None:
        """Sign a checkpoint, and bring it to Kafka."""
        await sign(self.runtime)
        self.runtime.relay.wake()
        async with asyncio.timeout(30):
            while await self._count("outbox"):  # noqa: ASYNC110  # a condition in a database has no event
                await asyncio.sleep(0.02)

    async def _count(self, table: str) -> int:
        async with self.runtime.database.read() as connection:
            return int(await connection.scalar(text(f"SELECT COUNT(*) FROM {table}")) or 0)  # noqa: S608  # our own

    async def faults(self) -> list[str]:
        async with self.runtime.database.snapshot() as connection:
            return list((await commands.verify(connection, self.runtime.settings)).faults)

    async def sql(self, statement: str, **values: Any) -> None:
        """Do what the service's own user could not."""
        async with self.runtime.database.transaction() as connection:
            await connection.execute(text(statement), values)

    def headers(self, *roles: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {TokenSigner(JWT_SECRET).sign('somebody', roles=roles)}"}


@pytest.fixture
async def audit(
    database_url: Callable[[str], str], kafka_bootstrap: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Audit]:
    url = database_url("audit")
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        connection.execute(text("CREATE DATABASE IF NOT EXISTS lms_audit_log"))
    assert SERVICE.migrations is not None
    migrate(SERVICE.migrations, url)
    with engine.begin() as connection:
        for table in ("lms_audit_log.records", "events", "outbox", "snapshots"):
            connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608  # our own tables
        connection.execute(text("UPDATE head SET size = 0, subtrees = '[]'"))
    engine.dispose()
    settings = Settings.model_validate(
        {
            "environment": "test",
            "redis_url": redis_url,
            "jwt_public_key": public_key_of(JWT_SECRET),
            "database_url": url,
            "kafka_bootstrap_servers": kafka_bootstrap,
            "encryption_key": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "signing_key": "a3b1c5d7" * 8,
            "checkpoint_file": tmp_path / "checkpoints.jsonl",
            "log_id": f"log-{new_id()[-12:]}",  # Kafka keeps the checkpoints of other tests
        }
    )
    await declare(kafka_bootstrap, SERVICE.topics())
    runtime = Runtime(SERVICE, settings)
    runtime.ready = True
    runtime.relay.start()
    app = create_app(runtime, SERVICE.routers, title="audit")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://audit") as client:
        yield Audit(runtime, client)
    await runtime.relay.stop()
    await runtime.producer.stop()
    await runtime.database.close()
    await runtime.redis.aclose()
