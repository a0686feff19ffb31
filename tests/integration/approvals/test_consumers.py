"""The consumers on a real Kafka: facts come in any order between topics, and reactors wait for what they rest on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select
from tests.waiting import becomes

from lms.approvals.consumers import CASES, FACTS, REROUTING
from lms.approvals.decider import CASE
from lms.approvals.main import SERVICE
from lms.approvals.projections.approver_inbox import assignees
from lms.approvals.upstream import (
    Day,
    EmployeeJoined,
    EmployeeManagerChanged,
    LeaveApprovalRequested,
)
from lms.kernel.cloudevents import encode_headers
from lms.kernel.event import Envelope, ForeignEvent, Prerequisite
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, declare
from lms.kernel.migrations import migrate
from lms.kernel.service import Runtime
from lms.kernel.settings import KernelSettings

pytestmark = pytest.mark.servers


@dataclass
class Neighbours:
    """The services around, and approvals between them, on topics of the test's own."""

    runtime: Runtime
    producer: Producer
    directory: str
    requests: str

    async def tell(
        self, topic: str, stream: str, version: int, fact: ForeignEvent, rests_on: tuple[Prerequisite, ...] = ()
    ) -> None:
        around = Envelope(
            event_id=new_id(),
            source="test",
            type=fact.TYPE,
            schema_version=1,
            stream=stream,
            version=version,
            log_epoch=1,
            key=stream,
            time=datetime.now(UTC),
            data={},
            correlation_id=new_id(),
            causation_id=new_id(),
            prerequisites=rests_on,
        )
        await self.producer.send_all([Message(topic, stream, fact.model_dump_json(), encode_headers(around))])

    async def joined(self, employee_id: str, manager_id: str | None) -> None:
        fact = EmployeeJoined(
            employee_id=employee_id, employed_from=date(2020, 1, 1), location_id="paris", manager_id=manager_id
        )
        await self.tell(self.directory, f"employee-{employee_id}", 1, fact)

    async def asked_about(self, request_id: str) -> list[str]:
        async with self.runtime.database.read() as connection:
            rows = await connection.execute(select(assignees.c.assignee_id).where(assignees.c.request_id == request_id))
            return [row.assignee_id for row in rows]

    async def eventually_asked(self, request_id: str, assignee: str) -> None:
        async def so() -> bool:
            return await self.asked_about(request_id) == [assignee]

        await becomes(so, f"{assignee} is not asked about {request_id}")


@pytest.fixture
async def neighbours(
    database_url: Callable[[str], str], kafka_bootstrap: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Neighbours]:
    suffix = new_id()[-8:]
    url = database_url(f"approvals_{suffix}")
    assert SERVICE.migrations is not None
    migrate(SERVICE.migrations, url)
    directory, balances, requests, own = (f"{one}.{suffix}" for one in ("directory", "balances", "requests", "own"))
    monkeypatch.setitem(CASE.__dict__, "topic", own)
    service = replace(
        SERVICE,
        name=f"approvals-{suffix}",
        publishes={own: SERVICE.events},
        consumers=(
            replace(CASES, topics=(requests,)),
            replace(REROUTING, topics=(directory,)),
            replace(FACTS, topics=(directory, balances)),
        ),
    )
    await declare(kafka_bootstrap, [replace(one, partitions=3) for one in service.topics()])
    settings = KernelSettings.model_validate(
        {
            "environment": "test",
            "redis_url": redis_url,
            "jwt_public_key": "A" * 43 + "=",
            "database_url": url,
            "kafka_bootstrap_servers": kafka_bootstrap,
            "encryption_key": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        }
    )
    runtime = Runtime(service, settings)
    producer = Producer(kafka_bootstrap, client_id="test")
    await runtime.start(worker=True)
    yield Neighbours(runtime, producer, directory, requests)
    await runtime.stop()
    await producer.stop()


async def test_a_case_waits_for_the_people_it_rests_on_and_then_follows_their_line(neighbours: Neighbours) -> None:
    asked = LeaveApprovalRequested(
        request_id="r1",
        revision=1,
        employee_id="anna",
        leave_type="annual",
        kind="leave",
        start_date=date(2026, 4, 1),
        end_date=date(2026, 4, 1),
        days=(Day(entitlement_minutes=480),),
        needs_approval=True,
    )
    rests_on = (Prerequisite(neighbours.directory, "employee-anna", 1),)
    await neighbours.tell(neighbours.requests, "leave-book-anna", 1, asked, rests_on)
    await asyncio.sleep(1)
    assert await neighbours.asked_about("r1") == []
    await neighbours.joined("ben", None)
    await neighbours.joined("anna", "ben")
    await neighbours.eventually_asked("r1", "ben")
    moves = ["clara", "dora", "ben", "clara"]
    for version, manager in enumerate(moves, start=2):
        fact = EmployeeManagerChanged(employee_id="anna", manager_id=manager, effective_from=date(2026, 1, version))
        await neighbours.tell(neighbours.directory, "employee-anna", version, fact)
    await neighbours.eventually_asked("r1", moves[-1])
