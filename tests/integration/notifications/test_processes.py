"""Notifications as real processes on a real Kafka: killed, delivered to twice, and stopped."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import func, select
from tests import secured_kafka
from tests.integration.notifications.conftest import (
    ENCRYPTION_KEY,
    address,
    around,
    case_opened,
    environment,
    leave_confirmed,
)
from tests.integration.notifications.processes import service, streams_name
from tests.schemas import migrated
from tests.secured_kafka import OF_THE_CLUSTER, TOPICS_USER
from tests.waiting import becomes

from lms.cli.home import any_free_port
from lms.cli.mailsink import MailSink
from lms.kernel.cloudevents import encode_headers
from lms.kernel.database import Database
from lms.kernel.event import ForeignEvent
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, declare
from lms.kernel.keyring import Keyring
from lms.kernel.schema import consumer_offsets
from lms.notifications import store
from lms.notifications.main import SERVICE
from lms.notifications.streams import topic_of
from lms.notifications.upstream import (
    APPROVALS,
    DIRECTORY,
    REQUESTS,
    EmployeeContactChanged,
    EmployeeJoined,
    LeaveRequested,
)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]  # Faust starts slowly on a busy machine

HERE = Path(__file__).parent
PEOPLE = 12
PATIENCE = 120.0  # seconds: processes start, and join their groups


@dataclass
class World:
    """Topics and a schema of the test's own, and the processes that it has started."""

    suffix: str
    variables: dict[str, str]
    database: Database
    keyring: Keyring
    producer: Producer
    sink: MailSink
    messages: list[Message] = field(default_factory=list)
    running: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self, part: str, **more: str) -> asyncio.subprocess.Process:
        variables = {**os.environ, **self.variables, "LMS_PORT": str(any_free_port()), **more}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "processes.py"), part, self.suffix,
            env={**variables, "PYTHONPATH": str(HERE.parents[2])},
        )  # fmt: skip
        self.running.append(process)
        return process

    def fact(self, topic: str, stream: str, version: int, key: str, fact: ForeignEvent) -> None:
        headers = encode_headers(around(stream, version, fact, key))
        name = f"{topic}.{self.suffix}" if self.suffix else topic
        self.messages.append(Message(name, key, fact.model_dump_json(), headers))

    async def hired(self) -> str:
        employee_id = new_id()
        async with self.database.transaction() as connection:
            await self.keyring.create_key(connection, employee_id)
        contact = EmployeeContactChanged(
            employee_id=employee_id,
            name=await self.keyring.seal(employee_id, "Anna Arnold"),
            email=await self.keyring.seal(employee_id, address(employee_id)),
        )
        stream = f"employee-{employee_id}"
        self.fact(DIRECTORY, stream, 1, employee_id, EmployeeJoined(employee_id=employee_id, roles=("employee",)))
        self.fact(DIRECTORY, stream, 2, employee_id, contact)
        return employee_id

    def asked(self, employee_id: str, approver: str) -> str:
        request_id = new_id()
        asked = LeaveRequested(
            request_id=request_id, revision=1, employee_id=employee_id, leave_type="annual",
            start_date=date(2026, 4, 1), end_date=date(2026, 4, 2),
        )  # fmt: skip
        self.fact(REQUESTS, f"leave-book-{employee_id}", 1, employee_id, asked)
        opened = case_opened(request_id, employee_id, approver)
        self.fact(APPROVALS, f"approval-case-{request_id}.1", 1, employee_id, opened)
        return request_id

    def confirmed(self, employee_id: str, request_id: str) -> None:
        fact = leave_confirmed(request_id, employee_id)
        self.fact(REQUESTS, f"leave-book-{employee_id}", 2, employee_id, fact)

    async def statuses(self) -> Counter[str]:
        async with self.database.read() as connection:
            rows = await connection.execute(select(store.mails.c.status))
            return Counter(row.status for row in rows)

    async def consumed(self, consumer: str) -> int:
        async with self.database.read() as connection:
            offsets = select(func.sum(consumer_offsets.c.next_offset)).where(consumer_offsets.c.consumer == consumer)
            return int(await connection.scalar(offsets) or 0)


@pytest.fixture
async def world(
    database_url: Callable[[str], str],
    kafka_bootstrap: str,
    redis_url: str,
    sink: tuple[MailSink, int],
    tmp_path: Path,
) -> AsyncIterator[World]:
    suffix = new_id()[-8:]
    url = migrated(SERVICE, database_url(f"notifications_{suffix}"))
    await _declare(kafka_bootstrap, suffix)
    variables = environment(url, redis_url, kafka_bootstrap, sink[1], **_hasty(tmp_path))
    async with _made(suffix, variables, kafka_bootstrap, sink[0]) as made:
        yield made


@pytest.fixture
async def secured_world(
    database_url: Callable[[str], str], redis_url: str, sink: tuple[MailSink, int], tmp_path: Path
) -> AsyncIterator[World]:
    """Everybody's topics, on a broker where the service has the rights that the cluster gives it, and no more."""
    facts = {"resource": {"type": "topic", "name": "leave.", "patternType": "prefix"}, "operations": ["Write"]}
    url = migrated(SERVICE, database_url(f"notifications_{new_id()[-8:]}"))
    async with secured_kafka.started(tmp_path, {**OF_THE_CLUSTER, "facts": [facts]}) as secured:
        await _declare(secured.brokers(TOPICS_USER))
        own = secured.brokers("notifications-kafka")
        variables = environment(url, redis_url, own, sink[1], **_hasty(tmp_path))
        async with _made("", variables, secured.brokers("facts"), sink[0]) as made:
            yield made


async def _declare(brokers: str, suffix: str = "") -> None:
    streams_topic = topic_of(streams_name(suffix))
    topics = [*service(suffix).topics(), streams_topic]
    await declare(brokers, [replace(one, partitions=3) for one in topics if one != streams_topic])
    await declare(brokers, [streams_topic])


def _hasty(folder: Path) -> dict[str, str]:
    return {
        "LMS_NOTIFICATIONS_MAIL_TIMEOUT_SECONDS": "1",
        "LMS_NOTIFICATIONS_MAIL_LEASE_SECONDS": "3",
        "LMS_NOTIFICATIONS_SCAN_SECONDS": "0.5",
        "LMS_NOTIFICATIONS_STREAMS_FOLDER": str(folder / "streams"),
        "LMS_NOTIFICATIONS_DIGEST_HOUR": "0",
    }


@asynccontextmanager
async def _made(suffix: str, variables: dict[str, str], brokers: str, sink: MailSink) -> AsyncIterator[World]:
    database = Database(variables["DATABASE_URL"])
    producer = Producer(brokers, client_id="test")
    made = World(suffix, variables, database, Keyring(database, ENCRYPTION_KEY), producer, sink)
    yield made
    for process in made.running:
        if process.returncode is None:
            process.kill()
            await process.wait()
    await producer.stop()
    await database.close()


async def test_one_mail_for_each_person_and_fact_though_the_topics_come_twice_and_the_sender_is_killed(
    world: World,
) -> None:
    approver = await world.hired()
    people = [await world.hired() for _ in range(PEOPLE)]
    for person in people:
        world.confirmed(person, world.asked(person, approver))
    await world.producer.send_all(world.messages)
    killed = await world.start("worker", LMS_FAILPOINTS="outside.after-effect=kill@5")
    await asyncio.wait_for(killed.wait(), 60)
    assert killed.returncode == -signal.SIGKILL
    assert len(world.sink.mails()) == 5
    await world.producer.send_all(world.messages)
    await world.start("worker")

    async def all_sent() -> bool:
        return await world.statuses() == {"sent": 2 * PEOPLE}

    await becomes(all_sent, "not every mail was sent", PATIENCE)

    async def all_heard() -> bool:
        return await world.consumed("telling") == 2 * len(world.messages)

    await becomes(all_heard, "the second delivery was not heard", PATIENCE)
    assert await world.statuses() == {"sent": 2 * PEOPLE}
    mails = world.sink.mails()
    assert len({mail.message_id for mail in mails}) == 2 * PEOPLE
    assert len(mails) == 2 * PEOPLE + 1, "the mail in hand at the kill is sent again, and no other"
    assert {len({one.message_id for one in world.sink.mails(address(person))}) for person in people} == {1}
    async with world.database.read() as connection:
        rows = await connection.execute(select(store.inbox.c.employee_id))
        entries = Counter(row.employee_id for row in rows)
    assert entries == {approver: PEOPLE, **dict.fromkeys(people, 1)}


async def test_the_streams_remind_once_however_often_they_look_and_stop_when_told(world: World) -> None:
    approver = await world.hired()
    world.asked(await world.hired(), approver)
    await world.producer.send_all(world.messages)
    await world.start("worker")

    async def told() -> bool:
        return (await world.statuses())["sent"] == 1

    await becomes(told, "the approver was not told", PATIENCE)
    streams = [await world.start("streams") for _ in range(2)]

    async def digest() -> bool:
        return "1 request waits for your decision" in [one.subject for one in world.sink.mails(address(approver))]

    await becomes(digest, "the digest did not come", PATIENCE)
    for process in streams:
        process.send_signal(signal.SIGTERM)
    for process in streams:  # five seconds where they have the machine to themselves; the second may still be joining
        assert await asyncio.wait_for(process.wait(), 30) == 0
    away = await world.start("streams", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9")
    assert await asyncio.wait_for(away.wait(), 30) == 1, "it gives up, for its supervisor to start it anew"
    subjects = [one.subject for one in world.sink.mails(address(approver))]
    assert sorted(subjects) == ["1 request waits for your decision", "Anna Arnold asks for leave"]


async def test_people_are_told_and_reminded_by_tls_and_password_with_the_rights_of_the_cluster(
    secured_world: World,
) -> None:
    world = secured_world
    approver = await world.hired()
    world.asked(await world.hired(), approver)
    await world.producer.send_all(world.messages)
    await world.start("worker")
    await world.start("streams")

    async def told_and_reminded() -> bool:
        subjects = {one.subject for one in world.sink.mails(address(approver))}
        return subjects >= {"1 request waits for your decision", "Anna Arnold asks for leave"}

    await becomes(told_and_reminded, "the approver was not told or not reminded", PATIENCE)
