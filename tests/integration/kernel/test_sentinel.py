"""Three real Redis with sentinels, started as a cluster starts them: one leads, and another does when it goes."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from lms.cli.home import any_free_port
from lms.cli.servers import DEPLOY
from lms.kernel.cache import connect

PASSWORD = "only-for-this-test"
ADDRESSES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")


@dataclass
class Group:
    """The six processes, by (part, address)."""

    port: int
    sentinel_port: int
    processes: dict[tuple[str, str], subprocess.Popen[bytes]]

    @property
    def url(self) -> str:
        sentinels = ",".join(f"{one}:{self.sentinel_port}" for one in ADDRESSES)
        return f"redis+sentinel://:{PASSWORD}@{sentinels}/lms/0"


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    found = Group(any_free_port(), any_free_port(), {})
    try:
        for part in ("redis", "sentinel"):
            for address in ADDRESSES:
                environment = {
                    **os.environ,
                    "REDIS_PEERS": " ".join(ADDRESSES), "REDIS_ADDRESS": address, "REDIS_BIND": address,
                    "REDIS_PASSWORD": PASSWORD, "REDIS_PORT": str(found.port), "REDIS_MAXMEMORY": "64mb",
                    "SENTINEL_PORT": str(found.sentinel_port), "SENTINEL_DOWN_MS": "1000",
                    "REDIS_FOLDER": str(tmp_path / part / address), "REDIS_CONF": str(DEPLOY / "redis" / "redis.conf"),
                }  # fmt: skip
                (tmp_path / part / address).mkdir(parents=True)
                with (tmp_path / f"{part}-{address}.log").open("wb") as log:
                    found.processes[part, address] = subprocess.Popen(
                        ["sh", str(DEPLOY / "redis" / "sentinel.sh"), part], env=environment, stdout=log, stderr=log
                    )
        yield found
    finally:
        for process in found.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
async def client(group: Group) -> AsyncIterator[Redis]:
    async with connect(group.url) as found:
        yield found


async def _soon(client: Redis, key: str, value: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            await client.set(key, value)
        except (RedisError, OSError, TimeoutError):
            assert time.monotonic() < until, "nobody leads"
            await asyncio.sleep(0.1)
        else:
            return


def _count(known: object) -> int:
    return len(known) if isinstance(known, list | dict) else 0


async def test_another_copy_leads_when_the_leader_is_killed_and_clients_follow(group: Group, client: Redis) -> None:
    await _soon(client, "key", "first")
    until = time.monotonic() + 30
    while await client.wait(len(ADDRESSES) - 1, 1000) < len(ADDRESSES) - 1:
        assert time.monotonic() < until, "the others do not have what was written"
    for address in ADDRESSES:  # each sentinel knows the other two, and two copies that could lead
        async with Redis(host=address, port=group.sentinel_port, password=PASSWORD) as sentinel:
            while (
                min([_count(await sentinel.sentinel_sentinels("lms")), _count(await sentinel.sentinel_slaves("lms"))])
                < 2
            ):
                assert time.monotonic() < until + 30, "the sentinels do not know the group"
                await asyncio.sleep(0.1)
    leader = group.processes["redis", ADDRESSES[0]]
    assert (await client.info("server"))["process_id"] == leader.pid
    leader.kill()
    await _soon(client, "after", "second")
    assert (await client.info("server"))["process_id"] != leader.pid
    assert await client.get("key") == b"first"
    assert await client.get("after") == b"second"
