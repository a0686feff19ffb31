"""A Kafka that takes clients by TLS and password alone, each with the rights that the cluster gives it."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, SaslAuthenticationFailed, TopicAuthorizationFailedError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String
from scripts import k8s
from tests.certificates import write_certificate
from tests.integration.kernel.test_consumer import COUNT, Counted, Deposited, World, add, eventually, tables

from lms.cli.home import Home, any_free_port
from lms.cli.servers import KafkaServer
from lms.kernel.consumer import Reactor, dead_letter_topic
from lms.kernel.kafka import Message, Producer, Topic, connection, declare, end, ends_of, ping
from lms.kernel.service import Runtime, Service
from lms.kernel.settings import KernelSettings

pytestmark = pytest.mark.servers

PASSWORD = "only-for@this/test"
BANK = Service(name="bank", publishes={"leave.bank.v1": (Counted,)})
COUNTS = Service(
    name="counts",
    deciders=(COUNT,),
    publishes={"leave.counts.v1": (Counted,)},
    consumers=(Reactor("count", tuple(BANK.publishes), {Deposited: add}),),
)
TOPICS_USER = "topics-kafka"
RIGHTS = {
    **{one["metadata"]["name"]: one["spec"]["authorization"]["acls"] for one in k8s.kafka_users()},
    **{f"{one.name}-kafka": k8s.acls(one) for one in (BANK, COUNTS)},
}
"""Of each user, as the cluster's operator is told."""

_RESOURCES = {"topic": 2, "group": 3}
_PATTERNS = {"literal": 3, "prefix": 4}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
_ALLOW = 3


class _AclsCreated(Response):  # type: ignore[misc]  # aiokafka comes without types
    API_KEY, API_VERSION = 30, 1
    SCHEMA = Schema(("throttle_time_ms", Int32), ("results", Array(("code", Int16), ("message", String("utf-8")))))


class _ToCreateAcls(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION = 30, 1
    RESPONSE_TYPE = _AclsCreated
    SCHEMA = Schema(
        (
            "creations",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("pattern_type", Int8),
                ("principal", String("utf-8")),
                ("host", String("utf-8")),
                ("operation", Int8),
                ("permission", Int8),
            ),
        )
    )


class _CreateAcls(Request[_ToCreateAcls]):  # type: ignore[misc]
    """What aiokafka's own client cannot ask for."""

    API_KEY = 30

    def __init__(self, creations: Iterable[tuple[Any, ...]]) -> None:
        self._creations = list(creations)

    def build(self, request_struct_class: type[_ToCreateAcls]) -> _ToCreateAcls:
        return request_struct_class(self._creations)


@dataclass(frozen=True)
class Secured:
    """Where the broker takes clients, and who vouches for it."""

    address: str
    ca: Path

    def brokers(self, user: str, password: str = PASSWORD) -> str:
        """Return what KAFKA_BOOTSTRAP_SERVERS holds for a user."""
        return f"sasl+ssl://{user}:{quote(password, safe='')}@{self.address}?ca={self.ca}"


@pytest.fixture(scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    found = Secured(f"127.0.0.1:{any_free_port()}", write_certificate(folder / "broker.pem"))
    server = KafkaServer(Home.at(folder))
    await asyncio.to_thread(_prepare, server, found)
    with (folder / "broker.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*server.command, stdout=log, stderr=log)

    async def answers() -> bool:
        with contextlib.suppress(KafkaError, OSError):
            return await server.ready()
        return False

    try:
        await eventually(answers, "the broker does not answer", 60)
        await _give_rights(server.bootstrap_servers)
        yield found
    finally:
        process.kill()
        await process.wait()


def _prepare(server: KafkaServer, found: Secured) -> None:
    """Make the embedded broker one as a cluster has it: TLS and SCRAM-SHA-512 for clients, and rights for each user."""
    server.prepare()
    *java, _, file = server.command
    properties = dict(line.split("=", 1) for line in Path(file).read_text("utf-8").split())
    properties |= {
        **{one: f"{properties[one]},SASL_SSL://{found.address}" for one in ("listeners", "advertised.listeners")},
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(found.ca),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # the broker itself, and who gives the rights
    }
    Path(file).write_text("".join(f"{name}={value}\n" for name, value in properties.items()), "utf-8")
    shutil.rmtree(properties["log.dirs"])
    users = [f"--add-scram=SCRAM-SHA-512=[name={one},password={PASSWORD}]" for one in RIGHTS]
    command = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={server.name}", f"--config={file}", *users]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


async def _give_rights(bootstrap_servers: str) -> None:
    admin = AIOKafkaAdminClient(**connection(bootstrap_servers))
    try:
        await admin.start()
        answer = await admin._send_to_controller(
            _CreateAcls(
                (
                    _RESOURCES[of["type"]], of["name"], _PATTERNS[of["patternType"]], f"User:{user}", "*",
                    _OPERATIONS[operation], _ALLOW,
                )
                for user, acls in RIGHTS.items()
                for of, operation in ((acl["resource"], one) for acl in acls for one in acl["operations"])
            )
        )  # fmt: skip
        assert {code for code, _ in answer.results} == {0}, answer
    finally:
        await end(admin)


async def test_a_service_lives_behind_tls_and_passwords_with_no_more_than_its_rights(
    secured: Secured, settings_of: Callable[..., KernelSettings]
) -> None:
    (bank,), (counts,) = BANK.publishes, COUNTS.publishes
    dead = dead_letter_topic(COUNTS.name, "count")
    await declare(secured.brokers(TOPICS_USER), [Topic(one, partitions=3) for one in (bank, counts, dead)])
    object.__setattr__(COUNT, "topic", counts)
    own = secured.brokers("counts-kafka")
    settings = settings_of("brokers", tables, kafka_bootstrap_servers=own)
    producer = Producer(secured.brokers("bank-kafka"), client_id="test")
    runtime = Runtime(COUNTS, settings)
    world = World(bank, counts, settings, producer, [runtime])
    await runtime.start(worker=True)
    try:
        await world.send(world.deposit("a", 1, 60), world.deposit("b", 1, -1), world.deposit("a", 2, 30))
        await world.caught_up(3)
        assert await world.totals() == {"a": (90, 2)}

        async def published() -> bool:
            ends = await ends_of(own, [counts])
            return sum(ends.values()) == 2

        await eventually(published, "what was counted is not on the topic")
        assert sum((await ends_of(secured.brokers(TOPICS_USER), [dead])).values()) == 1
    finally:
        await world.stop()
        await producer.stop()


async def test_nobody_writes_to_a_topic_without_the_right(secured: Secured) -> None:
    (bank,) = BANK.publishes
    await declare(secured.brokers(TOPICS_USER), [Topic(bank, partitions=3)])
    producer = Producer(secured.brokers("counts-kafka"), client_id="test")
    with pytest.raises(TopicAuthorizationFailedError, match=bank):
        await producer.send_all([Message(bank, "key", "value", {})])


async def test_a_wrong_password_is_told_as_one(secured: Secured, caplog: pytest.LogCaptureFixture) -> None:
    brokers = secured.brokers("bank-kafka", "not-the-password")
    with pytest.raises(SaslAuthenticationFailed, match="invalid credentials"):
        await ping(brokers)
    with pytest.raises(KafkaConnectionError):
        await Producer(brokers, client_id="test").send_all([Message("leave.bank.v1", "key", "value", {})])
    assert "invalid credentials with SASL mechanism SCRAM-SHA-512" in caplog.text


async def test_without_tls_or_an_authority_that_is_known_nobody_gets_in(
    secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    for brokers in (secured.address, secured.brokers("bank-kafka").partition("?")[0]):
        with pytest.raises((KafkaError, OSError)):
            await ping(brokers)
        with pytest.raises(KafkaConnectionError):
            await Producer(brokers, client_id="test").send_all([Message("leave.bank.v1", "key", "value", {})])
    assert "certificate verify failed" in caplog.text
