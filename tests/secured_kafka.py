"""A Kafka of a test's own as a cluster has it: it takes clients by TLS and password alone, each with its rights."""

import asyncio
import contextlib
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String
from scripts import k8s
from tests.certificates import write_certificate

from lms.cli.home import Home, any_free_port
from lms.cli.servers import KafkaServer
from lms.kernel.kafka import connection, end

Rights = Mapping[str, Sequence[k8s.Manifest]]
"""Of each user, as Strimzi is told."""

PASSWORD = "only-for@this/test"
OF_THE_CLUSTER: Rights = {one["metadata"]["name"]: one["spec"]["authorization"]["acls"] for one in k8s.kafka_users()}
TOPICS_USER = "topics-kafka"

_RESOURCES = {"topic": 2, "group": 3}
_PATTERNS = {"literal": 3, "prefix": 4}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
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


@asynccontextmanager
async def started(folder: Path, rights: Rights) -> AsyncIterator[Secured]:
    """Start the broker, with a user for each that has rights."""
    found = Secured(f"127.0.0.1:{any_free_port()}", write_certificate(folder / "broker.pem"))
    server = KafkaServer(Home.at(folder))
    await asyncio.to_thread(_prepare, server, found, rights)
    with (folder / "broker.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*server.command, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while not await _answers(server):
            assert time.monotonic() < until, (folder / "broker.log").read_text("utf-8")[-3000:]
            await asyncio.sleep(0.1)
        await _give(rights, server.bootstrap_servers)
        yield found
    finally:
        process.kill()
        await process.wait()


async def _answers(server: KafkaServer) -> bool:
    with contextlib.suppress(KafkaError, OSError):
        return await server.ready()
    return False


def _prepare(server: KafkaServer, found: Secured, users: Iterable[str]) -> None:
    """Make the embedded broker one that takes TLS and SCRAM-SHA-512 besides its own business, and asks who may."""
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
    passwords = [f"--add-scram=SCRAM-SHA-512=[name={one},password={PASSWORD}]" for one in users]
    command = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={server.name}", f"--config={file}"]
    done = subprocess.run([*command, *passwords], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


async def _give(rights: Rights, bootstrap_servers: str) -> None:
    admin = AIOKafkaAdminClient(**connection(bootstrap_servers))
    try:
        await admin.start()
        answer = await admin._send_to_controller(
            _CreateAcls(
                (
                    _RESOURCES[of["type"]], of["name"], _PATTERNS[of["patternType"]], f"User:{user}", "*",
                    _OPERATIONS[operation], _ALLOW,
                )
                for user, acls in rights.items()
                for of, operation in ((acl["resource"], one) for acl in acls for one in acl["operations"])
            )
        )  # fmt: skip
        assert {code for code, _ in answer.results} == {0}, answer
    finally:
        await end(admin)
