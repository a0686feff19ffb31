"""Kafka: the topics that must exist, and a producer that survives its broker.

aiokafka's default of `acks=1` loses what the leader acknowledged and did not replicate; and with the broker away an
idempotent `send` and `stop` can hang past their own time-outs. So the producer here waits for all replicas, bounds
every wait itself, and after any failure abandons the client and builds a new one. That may repeat facts on the wire,
never lose one: whoever sends deletes only what was acknowledged.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

PARTITIONS = 24
"""Of every topic, for ever: the partition of a key must never change."""

SEND_SECONDS = 15.0
"""How long a batch may take before its producer is abandoned."""

_START_SECONDS = 10.0
_STOP_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class WrongPartitions(Exception):
    """A topic exists with another number of partitions, and the order of its keys would break."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must exist: never compacted; `retention_ms` -1 keeps everything."""

    name: str
    partitions: int = PARTITIONS
    retention_ms: int = -1


class Message(NamedTuple):
    """What goes to Kafka; without a partition the key decides."""

    topic: str
    key: str
    value: str
    headers: dict[str, str]
    partition: int | None = None


async def declare(bootstrap_servers: str, topics: Sequence[Topic], *, replication: int = -1) -> None:
    """Create the topics that do not exist. Raises WrongPartitions for one that exists otherwise.

    `replication` -1 leaves it to the broker's default. The call may be repeated and run twice at once.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await asyncio.wait_for(admin.start(), _START_SECONDS)
    try:
        answer = await admin.create_topics(
            [
                NewTopic(
                    name=topic.name,
                    num_partitions=topic.partitions,
                    replication_factor=replication,
                    replica_assignments={} if replication == -1 else None,  # what aiokafka wants beside a -1
                    topic_configs={"retention.ms": str(topic.retention_ms), "cleanup.policy": "delete"},
                )
                for topic in topics
            ]
        )
        for name, code, *rest in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise error(f"{name}: {rest[0] if rest else code}")
        expected = {topic.name: topic.partitions for topic in topics}
        for described in await admin.describe_topics(list(expected)):
            name, found = described["topic"], len(described["partitions"])
            if found and found != expected[name]:
                raise WrongPartitions(
                    f"The topic {name} has {found} partitions and needs {expected[name]}; copy it into a topic with the"
                    " right number before the services start, for changing the number moves keys between partitions."
                )
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(admin.close(), _STOP_SECONDS)


class Producer:
    """An idempotent producer with `acks=all`, rebuilt after every failure."""

    def __init__(self, bootstrap_servers: str, *, client_id: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._client_id = client_id
        self._client: AIOKafkaProducer | None = None
        self._abandoned: set[asyncio.Task[None]] = set()

    async def send_all(self, messages: Sequence[Message]) -> None:
        """Send messages in order and return when every one is acknowledged.

        Raises what stopped it: some of the messages may then be on Kafka, and all must be sent again.
        """
        if not messages:
            return
        try:
            async with asyncio.timeout(SEND_SECONDS):
                client = await self._connected()
                acknowledgements = [
                    await client.send(
                        message.topic,
                        value=message.value.encode(),
                        key=message.key.encode(),
                        partition=message.partition,
                        headers=[(name, value.encode()) for name, value in message.headers.items()],
                    )
                    for message in messages
                ]
                await asyncio.gather(*acknowledgements)
        except BaseException:
            self._abandon()
            raise

    async def stop(self) -> None:
        """Close the connection, within two seconds whatever the broker does."""
        client, self._client = self._client, None
        if client is not None:
            await _stopped(client)
        for task in list(self._abandoned):
            task.cancel()

    async def _connected(self) -> AIOKafkaProducer:
        if self._client is None:
            client = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap_servers,
                client_id=self._client_id,
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                request_timeout_ms=10_000,
                max_request_size=4 * 1024 * 1024,
            )
            try:
                await asyncio.wait_for(client.start(), _START_SECONDS)
            except BaseException:
                await _stopped(client)
                raise
            self._client = client
        return self._client

    def _abandon(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            task = asyncio.get_running_loop().create_task(_stopped(client), name="stop an abandoned producer")
            self._abandoned.add(task)
            task.add_done_callback(self._abandoned.discard)


async def _stopped(client: AIOKafkaProducer) -> None:
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.stop(), _STOP_SECONDS)


def is_away(error: BaseException) -> bool:
    """Say whether the broker could not be reached or answered with a failure of its own."""
    return isinstance(error, KafkaError | ConnectionError | TimeoutError)
