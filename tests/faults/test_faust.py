"""What Faust counts when its worker is killed and joined by others, beside what the kernel's runner counts.

The kernel must count exactly. What Faust counts is only told: it is used for what is harmless to repeat and to lose
(docs/adr/0012), and an upgrade that counts right here again and again may be trusted with more.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import create_engine, func, insert, select
from sqlalchemy.engine import make_url
from tests.faults import counters

from lms.cli.home import any_free_port
from lms.kernel.auth import public_key_of
from lms.kernel.cloudevents import encode_headers
from lms.kernel.database import Database
from lms.kernel.event import Envelope
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, Topic, declare
from lms.kernel.schema import log, metadata

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MESSAGES = 3000
ACCOUNTS = 30
HERE = Path(__file__).parent


@dataclass
class Race:
    """One topic, and the processes of both counters."""

    suffix: str
    variables: dict[str, str]
    database: Database
    changes: AIOKafkaConsumer
    running: dict[str, list[asyncio.subprocess.Process]] = field(default_factory=lambda: {"kernel": [], "faust": []})
    latest: dict[bytes, int] = field(default_factory=dict)

    async def start(self) -> None:
        """Start one more copy of each counter."""
        for part, copies in self.running.items():
            own = {"LMS_PORT": str(any_free_port())}
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(HERE / "counters.py"), part, self.suffix, env={**self.variables, **own}
            )
            copies.append(process)

    async def kill(self) -> None:
        """Kill the first copy of each counter, without warning."""
        for copies in self.running.values():
            copies[0].kill()
            await copies.pop(0).wait()

    async def by_kernel(self) -> int:
        async with self.database.read() as connection:
            return int(await connection.scalar(select(func.sum(counters.counts.c.messages))) or 0)

    async def by_faust(self) -> int:
        """Return the sum of the newest counts in Faust's changelog."""
        while fetched := await self.changes.getmany(timeout_ms=300):
            for records in fetched.values():
                for record in records:
                    if record.key is not None and record.value is not None:
                        self.latest[record.key] = int(json.loads(record.value))
        return sum(self.latest.values())

    async def until(self, count: int, seconds: float = 60.0) -> None:
        """Wait until both have counted so many."""
        both: tuple[Callable[[], Awaitable[int]], ...] = (self.by_kernel, self.by_faust)
        async with asyncio.timeout(seconds):
            for counter in both:
                while await counter() < count:  # noqa: ASYNC110  # another process counts
                    await asyncio.sleep(0.05)


def message(suffix: str, number: int) -> Message:
    account = f"account-{number % ACCOUNTS}"
    around = Envelope(
        event_id=new_id(), source="test", type=counters.Ticked.TYPE, schema_version=1, stream=account,
        version=number // ACCOUNTS + 1, log_epoch=1, key=account, time=datetime.now(UTC), data={}, correlation_id="c",
        causation_id="c",
    )  # fmt: skip
    value = counters.Ticked(account=account).model_dump_json()
    return Message(counters.source(suffix), account, value, encode_headers(around))


@pytest.fixture
async def race(
    database_url: Callable[[str], str], kafka_bootstrap: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Race]:
    suffix = new_id()[-8:]
    url = database_url(f"counter_{suffix}")
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    metadata.create_all(engine)
    counters.tables.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(log).values(id=1, log_epoch=1))
    engine.dispose()
    names = [*(one.name for one in counters.service(suffix).topics()), counters.changelog(suffix)]
    await declare(kafka_bootstrap, [Topic(one, partitions=counters.PARTITIONS) for one in names])
    variables = {
        **os.environ, "LMS_ENVIRONMENT": "test", "DATABASE_URL": url, "REDIS_URL": redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "JWT_PUBLIC_KEY": public_key_of("s" * 64),
        "ENCRYPTION_KEY": "k" * 40, "FAUST_FOLDER": str(tmp_path), "PYTHONPATH": str(HERE.parents[1]),
    }  # fmt: skip
    changes = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap, auto_offset_reset="earliest")
    await changes.start()
    changes.assign([TopicPartition(counters.changelog(suffix), one) for one in range(counters.PARTITIONS)])
    database = Database(url)
    made = Race(suffix, variables, database, changes)
    yield made
    for process in (one for copies in made.running.values() for one in copies):
        process.kill()
        await process.wait()
    await changes.stop()
    await database.close()


async def test_the_kernel_counts_exactly_through_a_kill_and_a_rebalance_and_faust_is_watched(
    race: Race, kafka_bootstrap: str
) -> None:
    producer = Producer(kafka_bootstrap, client_id="test")
    messages = [message(race.suffix, number) for number in range(MESSAGES)]
    third = MESSAGES // 3
    await race.start()
    await producer.send_all(messages[:third])
    await race.until(third // 3)
    await race.kill()
    await race.start()
    await producer.send_all(messages[third : 2 * third])
    await race.until(2 * third)
    await race.start()
    await race.start()
    for begin in range(2 * third, MESSAGES, 50):
        await producer.send_all(messages[begin : begin + 50])
        await asyncio.sleep(0.1)  # while the groups form anew
    await race.until(MESSAGES, 90)
    await producer.stop()
    kernel, by_faust = await race.by_kernel(), await race.by_faust()
    print(f"\nof {MESSAGES} messages the kernel's runner counted {kernel}, and Faust {by_faust}")  # noqa: T201  # the record
    assert kernel == MESSAGES
