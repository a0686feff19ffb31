"""Kafka: the topics that must exist, and a producer that survives its broker.

aiokafka's default of `acks=1` loses what the leader acknowledged and did not replicate; and with the broker away an
idempotent `send` and `stop` can hang past their own time-outs. So the producer here waits for all replicas, bounds
every wait itself, and after any failure abandons the client and builds a new one. That may repeat facts on the wire,
never lose one: whoever sends deletes only what was acknowledged.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import parse_qs, unquote

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code
from aiokafka.helpers import create_ssl_context

from lms.kernel.waiting import cancelled

PARTITIONS = 24
"""Of every topic of facts, for ever: the partition of a key must never change."""

SEND_SECONDS = 15.0
"""How long a batch may take before its producer is abandoned."""

_START_SECONDS = 10.0
_STOP_SECONDS = 2.0
_GIVEN_UP_SECONDS = 0.2
_END_SECONDS = 60.0
_READ_SECONDS = 30.0
_LOOK_SECONDS = 1.0
_RECREATE_SECONDS = 60.0

Client: TypeAlias = AIOKafkaAdminClient | AIOKafkaConsumer | AIOKafkaProducer
C = TypeVar("C", AIOKafkaAdminClient, AIOKafkaConsumer)

_ENDING: set[asyncio.Task[None]] = set()
"""Of this process: a task that nobody holds may vanish before it is done."""

_log = structlog.get_logger(__name__)


class Gone(Exception):
    """Messages that were in a topic do not come from it any more."""


class WrongPartitions(Exception):
    """A topic exists with another number of partitions, and the order of its keys would break."""


class NotDeleted(Exception):
    """A topic that must be made anew is still there, or may not be deleted."""


def connection(brokers: str) -> dict[str, Any]:
    """Return how a client connects, as aiokafka's clients are told.

    `brokers` is `host:port,host:port`, or with a name and a password (SCRAM-SHA-512) over TLS
    `sasl+ssl://user:password@host:port,host:port?ca=/path/to/ca.crt`; without `ca` the system's authorities count.
    Raises ValueError for anything else.
    """
    scheme, found, rest = brokers.partition("://")
    if not found:
        return {"bootstrap_servers": brokers}
    address, _, query = rest.partition("?")
    credentials, _, servers = address.rpartition("@")
    username, _, password = credentials.partition(":")
    if scheme != "sasl+ssl" or not (username and password and servers):
        raise ValueError(
            "write host:port,host:port or sasl+ssl://user:password@host:port,host:port?ca=/path/to/ca.crt."
        )
    return {
        "bootstrap_servers": servers,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": unquote(username),
        "sasl_plain_password": unquote(password),
        "ssl_context": create_ssl_context(cafile=parse_qs(query).get("ca", [None])[0]),
    }


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
    """Create the topics that do not exist. Raises WrongPartitions for one that exists with another number.

    A topic of one partition may have more: nobody relies on an order of its keys (dead letters).
    `replication` -1 leaves it to the broker's default. The call may be repeated and run twice at once.
    """
    async with _running(AIOKafkaAdminClient(**connection(bootstrap_servers))) as admin:
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
            if found and found != expected[name] > 1:
                raise WrongPartitions(
                    f"The topic {name} has {found} partitions and needs {expected[name]}; copy it into a topic with the"
                    " right number before the services start, for changing the number moves keys between partitions."
                )


async def recreate(bootstrap_servers: str, topics: Sequence[Topic]) -> None:
    """Make topics anew: they are then there, and empty, with offsets from 0 on. Nobody may use them meanwhile.

    What a topic held is gone for good. Raises NotDeleted when the broker does not part with one.
    """
    names = [topic.name for topic in topics]
    until = time.monotonic() + _RECREATE_SECONDS
    while used := sorted({one.topic for one, end in (await ends_of(bootstrap_servers, names)).items() if end}):
        if time.monotonic() > until:
            raise NotDeleted(f"Kafka does not delete {', '.join(used)}; is delete.topic.enable off?")
        async with _running(AIOKafkaAdminClient(**connection(bootstrap_servers))) as admin:
            answer = await admin.delete_topics(used)
        refused = [name for name, code in answer.topic_error_codes if for_code(code) is TopicAuthorizationFailedError]
        if refused:
            raise NotDeleted(f"This user may not delete {', '.join(refused)}: it lacks the right Delete on them.")
        await asyncio.sleep(0.2)
    while True:
        await declare(bootstrap_servers, topics)
        ends = await ends_of(bootstrap_servers, names)
        if len(ends) >= sum(topic.partitions for topic in topics):
            return
        if time.monotonic() > until:
            raise NotDeleted(f"Kafka has {len(ends)} partitions of {', '.join(names)} and should have more by now.")
        await asyncio.sleep(0.2)


class Producer:
    """An idempotent producer with `acks=all`, rebuilt after every failure."""

    def __init__(self, bootstrap_servers: str, *, client_id: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._client_id = client_id
        self._client: AIOKafkaProducer | None = None

    async def send_all(self, messages: Sequence[Message]) -> None:
        """Send messages in order and return when every one is acknowledged.

        Raises what stopped it: some of the messages may then be on Kafka, and all must be sent again.
        """
        if not messages:
            return
        try:
            async with _within(SEND_SECONDS, "Kafka did not acknowledge what was sent"):
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
            await end(client)

    async def _connected(self) -> AIOKafkaProducer:
        if self._client is None:
            client = AIOKafkaProducer(
                **connection(self._bootstrap_servers),
                client_id=self._client_id,
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                request_timeout_ms=10_000,
                max_request_size=4 * 1024 * 1024,
            )
            try:
                await begin(client)
            except BaseException:
                await end(client)
                raise
            self._client = client
        return self._client

    def _abandon(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            _ending(client)


async def ping(brokers: str) -> None:
    """Return once a broker has answered a request; raises what the last one raised. A broker that hangs does not.

    `brokers` is what `connection` takes.
    """
    how = connection(brokers)
    refused: BaseException = OSError("no broker is named")
    for server in how.pop("bootstrap_servers").split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            found = await create_conn(host, int(port), client_id="lms-health", request_timeout_ms=1000, **how)
        except (KafkaError, OSError, TimeoutError) as error:
            refused = error
        else:
            found.close()
            return
    raise refused


def _reader(bootstrap_servers: str) -> AbstractAsyncContextManager[AIOKafkaConsumer]:
    """Open a consumer that belongs to no group and commits nothing."""
    client = AIOKafkaConsumer(
        **connection(bootstrap_servers),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_bytes=32 * 1024 * 1024,
        max_partition_fetch_bytes=2 * 1024 * 1024,
    )
    return _running(client)


@asynccontextmanager
async def _running(client: C) -> AsyncIterator[C]:
    """Start a client, and end it with the block."""
    try:
        await begin(client)
        yield client
    finally:
        await end(client)


async def ends_of(bootstrap_servers: str, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """Return the offset behind the last message of every partition of the topics."""
    async with _reader(bootstrap_servers) as client:
        cluster = await client._client.fetch_all_metadata()  # noqa: SLF001  # subscribing would start a needless fetch
        partitions = [
            TopicPartition(one, number) for one in topics for number in cluster.partitions_for_topic(one) or ()
        ]
        async with _within(_READ_SECONDS, "Kafka did not say where its topics end"):
            ends = await client.end_offsets(partitions) if partitions else {}
    return {one: int(offset) for one, offset in ends.items()}


class Ends:
    """Where topics end, and since when a message is there; one connection, opened anew after a failure."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._client: AIOKafkaConsumer | None = None
        self._partitions: dict[str, list[TopicPartition]] = {}
        self._written: dict[TopicPartition, tuple[int, float]] = {}

    async def of(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """Return the offset behind the last message of every partition of the topics."""
        async with self._connected() as client:
            missing = [topic for topic in topics if topic not in self._partitions]
            if missing:
                cluster = await client._client.fetch_all_metadata()  # noqa: SLF001  # as in `ends_of`
                for topic in missing:
                    found = cluster.partitions_for_topic(topic)
                    if found:
                        self._partitions[topic] = [TopicPartition(topic, number) for number in sorted(found)]
            partitions = [one for topic in topics for one in self._partitions.get(topic, ())]
            ends = await client.end_offsets(partitions) if partitions else {}
        return {one: int(offset) for one, offset in ends.items()}

    async def written_at(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, float]:
        """Return when the first message from each position on was written, in seconds since 1970.

        Positions behind which nothing comes within a second are left out.
        """
        wanted = {one for one, offset in positions.items() if self._written.get(one, (-1, 0.0))[0] != offset}
        if wanted:
            async with self._connected() as client:
                client.assign(sorted(wanted))
                for one in wanted:
                    client.seek(one, positions[one])
                until = time.monotonic() + _LOOK_SECONDS
                while wanted and time.monotonic() < until:
                    for one, records in (await client.getmany(*wanted, timeout_ms=200, max_records=1)).items():
                        self._written[one] = (positions[one], records[0].timestamp / 1000)
                        wanted.discard(one)
                        client.pause(one)
                client.assign([])
        return {
            one: self._written[one][1]
            for one, offset in positions.items()
            if self._written.get(one, (-1, 0.0))[0] == offset
        }

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await end(client)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AIOKafkaConsumer]:
        try:
            if self._client is None:
                self._client = AIOKafkaConsumer(
                    **connection(self._bootstrap_servers),
                    enable_auto_commit=False,
                    fetch_max_bytes=1024 * 1024,
                    max_partition_fetch_bytes=16 * 1024,
                )
                await begin(self._client)
            yield self._client
        except BaseException:
            await self.close()
            raise


async def messages_between(
    bootstrap_servers: str, begin: Mapping[TopicPartition, int], end: Mapping[TopicPartition, int]
) -> AsyncIterator["ConsumerRecord[bytes, bytes]"]:
    """Return the messages of each partition from `begin` (without it: the first) to before `end`, in their order.

    Raises Gone when a topic ends before that, or the broker gives nothing for half a minute.
    """
    behind = {one for one, offset in end.items() if begin.get(one, 0) < offset}
    if not behind:
        return
    async with _reader(bootstrap_servers) as client:
        client.assign(sorted(behind))
        for one in behind:
            client.seek(one, begin.get(one, 0))
        quiet_since = time.monotonic()
        while behind:
            fetched = await client.getmany(*behind, timeout_ms=500)
            for one, records in fetched.items():
                for record in records:
                    if record.offset < end[one]:
                        yield record
                if records[-1].offset + 1 >= end[one]:
                    behind.discard(one)
                    client.pause(one)
            if fetched:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > _READ_SECONDS:
                one = min(behind)
                raise Gone(f"Kafka gives nothing of {one.topic}/{one.partition} up to offset {end[one]}.")


@asynccontextmanager
async def _within(seconds: float, failure: str) -> AsyncIterator[None]:
    """Limit how long the block takes; raise a TimeoutError that says what failed."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        if str(error):  # one of the block's own
            raise
        raise TimeoutError(f"{failure} within {seconds:.0f} s.") from error


async def begin(client: Client, seconds: float = _START_SECONDS) -> None:
    """Start a client, within so many seconds. Whatever comes of it, `end` has to be called.

    One that is given up is let through what it is just doing, for a moment: aiokafka closes no connection over which it
    is asking for the first time who is in the cluster (0.14's AIOKafkaClient.bootstrap).
    """
    starting = asyncio.get_running_loop().create_task(client.start(), name="start a Kafka client")
    try:
        async with _within(seconds, "No broker let a client begin"):
            await asyncio.shield(starting)
    finally:
        await asyncio.wait({starting}, timeout=_GIVEN_UP_SECONDS)
        await cancelled([starting])


async def end(client: Client) -> None:
    """Stop a client and close its connections; what takes longer than two seconds goes on in the background.

    A stop that is cut short would leave tasks and connections behind for ever.
    """
    await asyncio.wait({_ending(client)}, timeout=_STOP_SECONDS)


def _ending(client: Client) -> "asyncio.Task[None]":
    task = asyncio.get_running_loop().create_task(_end(client), name="end a Kafka client")
    _ENDING.add(task)
    task.add_done_callback(_ENDING.discard)
    return task


async def _end(client: Client) -> None:
    try:
        async with asyncio.timeout(_END_SECONDS):
            await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    except Exception as error:  # noqa: BLE001  # nothing rests on it: what was not acknowledged is sent or read again
        _log.debug("a Kafka client did not stop well", reason=error)
    finally:
        # A stop ends early where the broker is away, where a fetch was cancelled that had not begun (aiokafka 0.14's
        # Fetcher.close), or with the loop; nothing may be left then.
        await _cut(client)


async def _cut(client: Client) -> None:
    """Do what a client's own stop ends with, the part of it that waits for nobody; done twice it does no harm."""
    if isinstance(client, AIOKafkaProducer):
        if client._sender is not None:  # noqa: SLF001
            await client._sender.close()  # noqa: SLF001
        await client.client.close()
        return
    if isinstance(client, AIOKafkaConsumer) and client._fetcher is not None:  # noqa: SLF001
        await cancelled(client._fetcher._pending_tasks)  # noqa: SLF001
    await client._client.close()  # noqa: SLF001


def is_away(error: BaseException) -> bool:
    """Say whether the broker could not be reached or answered with a failure of its own."""
    return isinstance(error, KafkaError | ConnectionError | TimeoutError)
