"""Brokers of a test's own, as child processes: one behind a cable, or three of a cluster."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.errors import KafkaError
from tests.integration.kernel.cables import Cable, laid
from tests.waiting import becomes

from lms.cli.home import Home, any_free_port
from lms.cli.servers import KafkaServer

CLUSTER = "town"
PATIENCE = 120.0


@dataclass
class Broker:
    """A broker, and where clients are told that it is."""

    folder: Path
    server: KafkaServer
    process: asyncio.subprocess.Process | None = field(default=None)

    @classmethod
    def at(cls, folder: Path) -> "Broker":
        folder.mkdir()
        return cls(folder, KafkaServer(Home.at(folder)))

    def configure(self, **properties: str) -> None:
        """Write its configuration, changed, and make its data folder, of the same cluster for all."""
        data = self.server.home.folder / "kafka"
        data.mkdir()
        (data / "meta.properties").touch()  # so that no other folder is made first
        self.server.prepare()
        *java, _, file = self.server.command
        found = dict(line.split("=", 1) for line in Path(file).read_text("utf-8").split())
        found |= {name.replace("__", "."): value for name, value in properties.items()}
        Path(file).write_text("".join(f"{name}={value}\n" for name, value in found.items()), "utf-8")
        shutil.rmtree(data)
        command = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={CLUSTER}", f"--config={file}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    async def start(self) -> None:
        with (self.folder / "broker.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*self.server.command, stdout=log, stderr=log)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def answers(self) -> bool:
        with contextlib.suppress(KafkaError, OSError):
            return await self.server.ready()
        return False


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[list[Broker]]:
    """Start three brokers that keep everything three times, and acknowledge what two of them have."""
    brokers = [Broker.at(folder / f"broker-{number}") for number in (1, 2, 3)]
    ports = [any_free_port() for _ in brokers]
    voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(ports, start=1))
    configured = (
        asyncio.to_thread(
            broker.configure,
            node__id=str(number),
            controller__quorum__voters=voters,
            listeners=f"PLAINTEXT://{broker.server.bootstrap_servers},CONTROLLER://127.0.0.1:{port}",
            default__replication__factor="3",
            min__insync__replicas="2",
            offsets__topic__replication__factor="3",
            broker__session__timeout__ms="6000",
        )
        for number, (broker, port) in enumerate(zip(brokers, ports, strict=True), start=1)
    )
    await asyncio.gather(*configured)
    try:
        await asyncio.gather(*(broker.start() for broker in brokers))
        for broker in brokers:
            await becomes(broker.answers, f"{broker.folder.name} does not answer", PATIENCE)
        yield brokers
    finally:
        await asyncio.gather(*(broker.kill() for broker in brokers))


@asynccontextmanager
async def behind_a_cable(folder: Path) -> AsyncIterator[Cable]:
    """Start a broker that tells its clients to come through a cable."""
    broker = Broker.at(folder / "broker")
    async with laid("127.0.0.1", broker.server.port) as cable:
        await asyncio.to_thread(broker.configure, advertised__listeners=f"PLAINTEXT://127.0.0.1:{cable.port}")
        try:
            await broker.start()
            await becomes(broker.answers, "the broker does not answer", PATIENCE)
            yield cable
        finally:
            await broker.kill()
