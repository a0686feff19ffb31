"""Requests over HTTP: the service and the gateway beside the bare process, in turns."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

import aiohttp
import aiomysql
import orjson
import pymysql
from redis.asyncio import Redis
from sqlalchemy.engine import make_url
from tests.load.measure import (
    Bound,
    Contender,
    Figure,
    Section,
    ceiling,
    floor,
    in_turns,
    median,
    percentile,
    rate,
    ratio,
)
from tests.load.people import People
from tests.load.wrk import CONNECTIONS, Prepared, hammer

from lms.cli.home import any_free_port
from lms.cli.system import System

READERS = 50
FASTEST = 3_000
"""POSTs a second that no machine of this size reaches: so many days are kept ready."""

LOOKS_SECONDS = 0.004
"""Between two looks at what has become visible."""

_DRAIN_SECONDS = 180.0
_COMMITTED_LATE = 200
"""Facts get their positions before they commit: so many are looked at again."""

_EFFECTS = {"balance.reserved": "balances", "approval.case-opened": "approvals"}
"""The facts that are written in the transaction of the views in question, and by which service."""


@dataclass
class Door:
    """The running system, the bare process beside it, and people who ask."""

    system: System
    people: People
    bare_url: str
    database_url: str
    drains: list[float] = field(default_factory=list)

    def post(self, url: str, seconds: float, *, drained: bool) -> Contender:
        """Return a contender that asks for leave at a URL; `drained` waits afterwards until all consumers are done."""

        async def measure() -> float:
            ahead = self.people.ahead(int(FASTEST * seconds))
            outcome = await hammer(url, "POST", "/api/v1/leave-requests", ahead, seconds=seconds)
            self.people.sent(outcome.requests + 2 * CONNECTIONS)
            if drained:
                began = time.monotonic()
                await self.drain()
                self.drains.append(time.monotonic() - began)
            return outcome.rate

        return measure

    def bare_post(self, seconds: float) -> Contender:
        """Return the contender that does two inserts and a commit."""

        async def measure() -> float:
            ahead = [one._replace(token="-", key="") for one in self.people.ahead(100)]  # no token
            return (await hammer(self.bare_url, "POST", "/bare", ahead, seconds=seconds)).rate

        return measure

    def read(self, url: str, path: str, seconds: float) -> Contender:
        """Return a contender that reads as many people do."""

        async def measure() -> float:
            return (await hammer(url, "GET", path, self.people.reading(READERS), seconds=seconds)).rate

        return measure

    async def drain(self) -> None:
        """Wait until the outboxes are empty and the effects of all requests are there."""
        until = time.monotonic() + _DRAIN_SECONDS
        while left := await asyncio.to_thread(self._left):
            if time.monotonic() > until:
                raise TimeoutError(f"{left} facts still wait after {_DRAIN_SECONDS:.0f} s")
            await asyncio.sleep(0.1)

    def _left(self) -> int:
        """Return how many facts are not relayed, and how many requests have no case yet."""
        waiting: int = sum(
            int(self.scalar(f"SELECT COUNT(*) FROM lms_{service}.outbox"))  # noqa: S608  # our own names
            for service in ("requests", "balances", "approvals")
        )
        asked = int(self.scalar("SELECT COUNT(*) FROM lms_requests.leave_requests WHERE status = 'pending'"))
        opened = int(self.scalar("SELECT COUNT(*) FROM lms_approvals.approval_cases WHERE status = 'pending'"))
        return waiting + max(0, asked - opened)

    def scalar(self, query: str) -> Any:
        """Return the first value that a query finds, as a user who may read every schema."""
        url = make_url(self.database_url)
        connection = pymysql.connect(
            host=url.host or "", port=url.port or 0, user=url.username, password=str(url.password or "")
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            found: Any = cursor.fetchone()
            return found[0]


@asynccontextmanager
async def bare(database_url: str, redis_url: str) -> AsyncIterator[str]:
    """Run the bare process; give its URL."""
    port = any_free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.load.bare", str(port),
        env={**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while not await _answers(session, url):  # noqa: ASYNC110  # another process has no event
                await asyncio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/openapi.json") as answer:
            return answer.ok
    except aiohttp.ClientError:
        return False


async def post_at_service(door: Door, *, seconds: float, rounds: int) -> Section:
    """Measure POST /leave-requests at `requests` itself, while no other service runs."""
    url = door.system.url_of("requests")
    await door.post(url, 1.0, drained=False)()  # warms both sides
    await door.bare_post(1.0)()
    rates = await in_turns({"service": door.post(url, seconds, drained=False), "bare": door.bare_post(seconds)}, rounds)
    return Section(
        "A command at the service",
        f"`POST /api/v1/leave-requests` with an idempotency key at the service, {CONNECTIONS} connections, other"
        " services stopped. Bare: FastAPI, a validated body, SQLAlchemy Core on the async engine, two inserts and a"
        " commit.",
        (
            Figure("POST at the service ÷ bare route", ratio(rates, "service", "bare"), "", floor(0.25),
                   f"{rate(median(rates['service']))} and {rate(median(rates['bare']))}"),
        ),
    )  # fmt: skip


async def through_the_gateway(door: Door, redis: Redis, *, seconds: float, rounds: int) -> Section:
    """Measure a command and a cached read through the gateway, with every service running."""
    url = door.system.url
    await _warm(door, url)
    balance = await _a_balance(door, url)
    await redis.set("bare:balance", balance)
    door.drains.clear()
    posts = await in_turns({"gateway": door.post(url, seconds, drained=True), "bare": door.bare_post(seconds)}, rounds)
    reads = await in_turns(
        {
            "gateway": door.read(url, "/api/v1/balances", seconds),
            "bare": door.read(door.bare_url, "/bare/balance", seconds),
        },
        rounds,
    )
    return Section(
        "Through the gateway, all consumers running",
        f"{CONNECTIONS} connections. Each request goes on to be reserved, put before its approver, told and audited"
        " while the next ones come; between rounds the consumers finish. Cached: `GET /api/v1/balances` of"
        f" {READERS} people, unchanged since the last read. Bare: the route above; a FastAPI route that returns a Redis"
        f" value of the same size ({len(balance):,} bytes).",
        (
            Figure("POST through the gateway ÷ bare route", ratio(posts, "gateway", "bare"), "", floor(0.10),
                   f"{rate(median(posts['gateway']))} and {rate(median(posts['bare']))}"),
            Figure("consumers done after the last answer", median(door.drains), "s", None,
                   f"at most {max(door.drains):.1f} s"),
            Figure("cached balance through the gateway ÷ bare Redis GET", ratio(reads, "gateway", "bare"), "",
                   floor(0.35), f"{rate(median(reads['gateway']))} and {rate(median(reads['bare']))}"),
        ),
    )  # fmt: skip


async def _warm(door: Door, url: str) -> None:
    await door.post(url, 1.0, drained=True)()
    await door.bare_post(1.0)()
    await door.read(url, "/api/v1/balances", 1.0)()


async def _a_balance(door: Door, url: str) -> bytes:
    headers = {"Authorization": f"Bearer {door.people.reading(1)[0].token}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{url}/api/v1/balances") as answer:
        answer.raise_for_status()
        return await answer.read()


# At a steady pace -----------------------------------------------------------------------------------------------------


async def at_a_pace(door: Door, per_second: int, *, seconds: float, bound: bool) -> Section:
    """Measure how long facts take to the views of others, at so many commands a second, and whether bounds hold."""
    seen = _Seen(door)
    posting = asyncio.create_task(_paced(door, per_second, seconds))
    watching = asyncio.create_task(seen.watch())
    answered, refused = await posting
    await door.drain()
    await asyncio.sleep(10 * LOOKS_SECONDS)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    balances, inbox = await seen.after(answered)
    answers = list(answered.values())

    def most(limit: float) -> Bound | None:
        return ceiling(limit) if bound else None

    return Section(
        f"From the commit to the views of others, at {per_second} commands/s",
        f"`POST /api/v1/leave-requests` through the gateway at a steady pace for {seconds:.0f} s, whether answers come"
        " or not. From the instant at which the fact was written (just before its commit) until its effect is"
        " visible to queries, looked for every few milliseconds: the reservation in balances' ledger; the case in the"
        " approver's inbox, which is three services and three topics further on.",
        (
            Figure("commit to balances' view, p50", percentile(balances, 0.50) * 1e3, "ms", most(30)),
            Figure("commit to balances' view, p99", percentile(balances, 0.99) * 1e3, "ms", most(100)),
            Figure("commit to the approver's inbox, p50", percentile(inbox, 0.50) * 1e3, "ms"),
            Figure("commit to the approver's inbox, p99", percentile(inbox, 0.99) * 1e3, "ms", most(300)),
            Figure("answer to the POST, p50", percentile(answers, 0.50) * 1e3, "ms"),
            Figure("answer to the POST, p99", percentile(answers, 0.99) * 1e3, "ms"),
            Figure("refused", len(refused), "", ceiling(0), "; ".join(sorted(set(refused)))),
        ),
    )


async def _paced(door: Door, per_second: int, seconds: float) -> tuple[dict[str, float], list[str]]:
    """Send requests at their times, whether answers come or not.

    Returns how long the answer to each took, in seconds, by the request's id, and the codes of those that were refused.
    """
    prepared = door.people.ahead(int(per_second * seconds))
    door.people.sent(len(prepared))
    taken: dict[str, float] = {}
    refused: list[str] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(door.system.url, connector=connector) as session:

        async def send(one: Prepared) -> None:
            headers = {
                "Authorization": f"Bearer {one.token}", "Idempotency-Key": one.key, "Content-Type": "application/json",
            }  # fmt: skip
            began = time.perf_counter()
            async with session.post("/api/v1/leave-requests", data=one.body, headers=headers) as answer:
                content = orjson.loads(await answer.read())
            if answer.status == 201:  # created
                taken[content["id"]] = time.perf_counter() - began
            else:
                refused.append(f"{answer.status} {content['code']}")

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number, one in enumerate(prepared):
                await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
                group.create_task(send(one))
    return taken, refused


class _Seen:
    """Looks for effects as they become visible: when a request's reservation, and when its case, was first seen."""

    def __init__(self, door: Door) -> None:
        self._url = make_url(door.database_url)
        self._seen: dict[str, dict[str, float]] = {kind: {} for kind in _EFFECTS}

    async def watch(self) -> None:
        """Look, again and again, until cancelled."""
        async with self._connection() as cursor:
            last = {kind: await _newest(cursor, service) for kind, service in _EFFECTS.items()}
            while True:
                for kind, service in _EFFECTS.items():
                    await cursor.execute(
                        f"SELECT global_position, data FROM lms_{service}.events"  # noqa: S608  # our own names
                        " WHERE global_position > %s AND type = %s",
                        (last[kind] - _COMMITTED_LATE, kind),
                    )
                    now = time.time()
                    for position, data in await cursor.fetchall():
                        self._seen[kind].setdefault(orjson.loads(data)["request_id"], now)
                        last[kind] = max(last[kind], position)
                await asyncio.sleep(LOOKS_SECONDS)

    async def after(self, asked: Collection[str]) -> tuple[list[float], list[float]]:
        """Return how long after their facts were written the reservations, and the cases, of requests were seen."""
        async with self._connection() as cursor:
            await cursor.execute(
                "SELECT data, recorded_at FROM lms_requests.events WHERE type = 'leave.requested'"
                " ORDER BY global_position DESC LIMIT %s",
                (len(asked) + 1000,),
            )
            written = {
                orjson.loads(data)["request_id"]: at.replace(tzinfo=UTC).timestamp()
                for data, at in await cursor.fetchall()
            }
        reserved, opened = (
            [self._seen[kind][one] - written[one] for one in asked if one in self._seen[kind]] for kind in _EFFECTS
        )
        if len(reserved) < len(asked) or len(opened) < len(asked):
            raise AssertionError(f"{len(asked)} asked, {len(reserved)} reserved, {len(opened)} in the inbox")
        return reserved, opened

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        connection = await aiomysql.connect(
            host=self._url.host, port=self._url.port, user=self._url.username, password=self._url.password,
            autocommit=True,
        )  # fmt: skip
        try:
            async with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()


async def _newest(cursor: Any, service: str) -> int:
    await cursor.execute(f"SELECT COALESCE(MAX(global_position), 0) FROM lms_{service}.events")  # noqa: S608
    return int((await cursor.fetchone())[0])
