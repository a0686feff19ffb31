"""A town with a bank and those who count its deposits (`bank.py`): its processes, its people, and what must hold."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select
from tests.integration.kernel.bank import service, tables, topic_of, totals
from tests.waiting import becomes

from lms.cli.home import any_free_port
from lms.kernel.auth import TokenSigner, public_key_of
from lms.kernel.database import Database
from lms.kernel.ids import new_id
from lms.kernel.kafka import declare, ends_of, messages_between
from lms.kernel.schema import consumer_offsets, events, outbox

HERE = Path(__file__).parent
PARTITIONS = 6
SECRET = "s" * 64
PATIENCE = 90.0
"""Seconds: processes start, and join their groups, on a busy machine; a database looks for room once a minute."""


@dataclass
class Copy:
    """One process of a part, started anew whenever it was killed, without what killed it."""

    part: str
    port: int
    variables: dict[str, str]
    command: Sequence[str]
    proofs: Path
    kills: int = 0
    process: asyncio.subprocess.Process | None = None
    _keeper: "asyncio.Task[None] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def fired(self) -> list[str]:
        """The failpoints that have killed this copy, by the files that it left."""
        return sorted(one.name.rpartition(".")[0] for one in self.proofs.iterdir())

    async def start(self, **more: str) -> None:
        await self._spawn(more)
        self._keeper = asyncio.create_task(self._keep())

    async def _spawn(self, more: Mapping[str, str]) -> None:
        self.process = await asyncio.create_subprocess_exec(*self.command, env={**self.variables, **more})

    async def _keep(self) -> None:
        while self.process is not None and await self.process.wait() == -signal.SIGKILL:
            self.kills += 1
            await self._spawn({})

    async def ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=2) as client:
            await becomes(partial(self._is_ready, client), f"{self.part} is not ready", PATIENCE)

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        assert self.process is not None
        assert self.process.returncode in {None, -signal.SIGKILL}, f"{self.part} ended by itself"
        with contextlib.suppress(httpx.TransportError):
            return (await client.get("/readyz")).is_success
        return False

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        async with httpx.AsyncClient(base_url=self.url, timeout=5) as client:
            lines = (await client.get("/metrics")).text.splitlines()
        return sum(float(one.rpartition(" ")[2]) for one in lines if one.startswith((f"{name} ", f"{name}{{")))

    async def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it for good."""
        if self._keeper is not None:
            self._keeper.cancel()
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            await self.process.wait()


@dataclass
class Town:
    """The topics and schemas of a test's own, and the processes that it has started."""

    suffix: str
    kafka: str
    redis: str
    databases: dict[str, Database]
    urls: dict[str, str]
    folder: Path
    copies: list[Copy] = field(default_factory=list)
    deposits: Counter[str] = field(default_factory=Counter)
    """How many deposits of each account the bank has acknowledged."""

    async def start(self, part: str, **variables: str) -> Copy:
        """Start a copy of a part, and wait until it is ready."""
        number = len(self.copies) + 1
        proofs = self.folder / f"proofs-{number}"
        proofs.mkdir()
        failpoints = variables.pop("LMS_FAILPOINTS", "")
        port = any_free_port()
        given = {
            **os.environ, "LMS_ENVIRONMENT": "test", "DATABASE_URL": self.urls[part], "REDIS_URL": self.redis,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka, "JWT_PUBLIC_KEY": public_key_of(SECRET),
            "ENCRYPTION_KEY": "k" * 40, "LMS_PORT": str(port), "LMS_INSTANCE": f"{part}-{number}",
            "LMS_FAILPOINT_DIR": str(proofs), "LMS_VERIFY_HOURS": "0", "LMS_LOG_LEVEL": "warning",
            "PYTHONPATH": str(HERE.parents[2]), **variables,
        }  # fmt: skip
        command = (sys.executable, str(HERE / "bank.py"), part, self.suffix)
        copy = Copy(part, port, given, command, proofs)
        self.copies.append(copy)
        await copy.start(LMS_FAILPOINTS=failpoints)
        await copy.ready()
        return copy

    @asynccontextmanager
    async def people(self, bank: Copy) -> AsyncIterator["People"]:
        """Let people use the bank."""
        token = TokenSigner(SECRET).sign("tester", lifetime=timedelta(hours=3))  # also where the clock is wrong
        async with httpx.AsyncClient(
            base_url=bank.url, timeout=10, headers={"Authorization": f"Bearer {token}"}
        ) as client:
            yield People(client, self.deposits)

    async def stop(self) -> None:
        await asyncio.gather(*(copy.end(signal.SIGKILL) for copy in self.copies))
        await asyncio.gather(*(one.close() for one in self.databases.values()))

    # Looking ----------------------------------------------------------------------------------------------------------

    async def rows(self, part: str, statement: Any) -> list[Any]:
        async with self.databases[part].read() as connection:
            return list(await connection.execute(statement))

    async def messages(self) -> list[Any]:
        """Return every message of the bank's topic."""
        ends = await ends_of(self.kafka, [topic_of("bank", self.suffix)])
        return [one async for one in messages_between(self.kafka, {}, ends)]

    async def counted(self, part: str = "count") -> int:
        """Return how many deposits a part has counted."""
        return sum(row.events for row in await self.rows(part, select(totals)))

    async def published(self) -> bool:
        """Say whether nothing waits in an outbox."""
        return not any([await self.rows(part, select(outbox.c.position)) for part in self.databases])

    async def _is_at_rest(self, parts: Sequence[str]) -> bool:
        if not await self.published():
            return False
        end = sum((await ends_of(self.kafka, [topic_of("bank", self.suffix)])).values())
        for part in parts:
            ((offset,),) = await self.rows(part, select(func.sum(consumer_offsets.c.next_offset)))
            if offset != end:
                return False
        return await self.published()  # what the last reactions led to

    async def at_rest(self) -> None:
        """Wait until all is published, and read by every part that was started."""
        parts = sorted({copy.part for copy in self.copies} - {"bank"})
        await becomes(partial(self._is_at_rest, parts), "it does not come to rest", PATIENCE)

    async def faults(self) -> list[str]:
        """Return what does not hold, at rest: what was acknowledged is in the log, on Kafka, and counted once."""
        await self.at_rest()
        found: list[str] = []
        log = await self.rows("bank", select(events.c.stream, events.c.version, events.c.event_id))
        versions: dict[str, list[int]] = {}
        for row in log:
            versions.setdefault(row.stream.removeprefix("account-"), []).append(row.version)
        contiguous = all(sorted(one) == list(range(1, len(one) + 1)) for one in versions.values())
        if not contiguous or {account: len(one) for account, one in versions.items()} != dict(self.deposits):
            found.append("the log is not what was acknowledged")
        seen: dict[str, int] = {}
        ids: set[str] = set()
        for message in await self.messages():
            headers = {name: value.decode() for name, value in message.headers}
            version = int(headers["ce_streamversion"])
            if headers["ce_id"] not in ids and version != seen.get(headers["ce_stream"], 0) + 1:
                found.append("the topic is out of order")
            ids.add(headers["ce_id"])
            seen[headers["ce_stream"]] = max(version, seen.get(headers["ce_stream"], 0))
        if ids != {row.event_id for row in log}:
            found.append("the topic is not the log")
        for part in sorted({copy.part for copy in self.copies} - {"bank"}):
            counted = {row.account: row.events for row in await self.rows(part, select(totals))}
            if counted != dict(self.deposits):
                found.append(f"{part} has another sum")
        if any(copy.part == "count" for copy in self.copies):
            own = Counter(row.stream for row in await self.rows("count", select(events.c.stream)))
            if own != Counter({f"count-{account}": number for account, number in self.deposits.items()}):
                found.append("count has other facts than it counted")
        return found


@dataclass
class People:
    """They make deposits, and repeat each with the same key until it is answered."""

    client: httpx.AsyncClient
    deposits: Counter[str]

    async def send(self, account: str, key: str, text: str = "") -> int:
        """Ask for a deposit once; return the status of the answer, or 0 without one."""
        try:
            answer = await self.client.post(
                f"/api/v1/accounts/{account}/deposits",
                json={"minutes": 1, "text": text},
                headers={"Idempotency-Key": key},
            )
        except httpx.TransportError:
            return 0
        assert answer.status_code in {201, 409, 503}, answer.text
        return answer.status_code

    async def insist(self, account: str, key: str, text: str = "") -> None:
        """Ask for a deposit until it is done."""

        async def is_done() -> bool:
            return await self.send(account, key, text) == 201

        await becomes(is_done, f"a deposit to {account} is not answered", PATIENCE)
        self.deposits[account] += 1

    async def deposit(self, account: str, text: str = "") -> None:
        await self.insist(account, new_id(), text)

    async def make(self, each: int, accounts: int = 6, text: str = "") -> None:
        """Make so many deposits to each of the accounts, which work side by side."""

        async def one_after_the_other(account: str) -> None:
            for _ in range(each):
                await self.deposit(account, text)

        await asyncio.gather(*(one_after_the_other(f"a{number}") for number in range(accounts)))

    @asynccontextmanager
    async def steadily(self, accounts: int = 12) -> AsyncIterator[None]:
        """Make deposits to each of the accounts, one after the other, until the block ends."""
        ended = asyncio.Event()

        async def go_on(account: str) -> None:
            while not ended.is_set():
                await self.deposit(account)

        async with asyncio.TaskGroup() as tasks:
            for number in range(accounts):
                tasks.create_task(go_on(f"a{number}"))
            try:
                yield
            finally:
                ended.set()


@asynccontextmanager
async def founded(emptied: Callable[..., str], kafka: str, redis: str) -> AsyncIterator[Town]:
    """Make the topics and schemas of a town, and end its processes with the block."""
    suffix = new_id()[-8:]
    urls = {part: emptied(f"town_{part}", tables) for part in ("bank", "count", "record")}
    topics = [topic for part in urls for topic in service(part, suffix).topics()]
    await declare(kafka, [replace(one, partitions=PARTITIONS) for one in {one.name: one for one in topics}.values()])
    with tempfile.TemporaryDirectory(prefix="lms-town-") as folder:
        databases = {part: Database(url, pool_size=3) for part, url in urls.items()}
        town = Town(suffix, kafka, redis, databases, urls, Path(folder))
        try:
            yield town
        finally:
            await town.stop()
