"""Live updates: what two copies of the gateway tell people, over a real Redis."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from tests.integration.gateway.conftest import SIGNER, Upstream, bearer, free_port, gateway

from lms.gateway import live
from lms.gateway.live import MOST_STREAMS
from lms.kernel.hints import give

EVENTS = "/api/v1/events"
SOON = 10.0


class Listener:
    """Reads a stream of server-sent events."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.lines = answer.aiter_lines()

    async def next(self) -> tuple[str, Any]:
        """Return the next event; raises StopAsyncIteration when the stream has ended."""
        name, data = "", None
        while True:
            line = await asyncio.wait_for(anext(self.lines), SOON)
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
            elif not line and name:
                return name, data

    async def until(self, resource: str) -> Any:
        """Return the first change that names a resource."""
        while True:
            name, data = await self.next()
            if name == "changed" and resource in data["changed"]:
                return data


@asynccontextmanager
async def listening(client: httpx.AsyncClient, person: str, **headers: str) -> AsyncIterator[Listener]:
    """Open a person's stream and wait until its hints are heard."""
    async with client.stream("GET", EVENTS, headers={**bearer(person), **headers}) as answer:
        assert answer.status_code == 200
        listener = Listener(answer)
        assert await listener.next() == ("ready", {})
        yield listener


def somebody() -> str:
    return f"e-{uuid.uuid4()}"


async def test_a_hint_reaches_the_person_at_every_copy_of_the_gateway_and_nobody_else(
    redis_url: str, upstream: Upstream
) -> None:
    anna, ben = somebody(), somebody()
    async with (
        Redis.from_url(redis_url) as redis,
        gateway(redis_url, upstream.url) as one,
        gateway(redis_url, upstream.url) as other,
        listening(one, anna) as here,
        listening(other, anna) as there,
    ):
        for listener in (here, there):  # whatever came before the first subscription is not known to have been missed
            await listener.until("me")
        async with listening(other, ben) as bens:
            await give(redis, "balances", [anna])
            expected = {"changed": ["accruals", "balances", "leave-types", "policies"]}
            assert await here.next() == ("changed", expected)
            assert await there.next() == ("changed", expected)
            await give(redis, "approvals", [ben])
            assert await bens.next() == ("changed", {"changed": ["approvals"]})


async def test_a_stream_says_what_kind_of_thing_changed_and_nothing_more(redis_url: str, upstream: Upstream) -> None:
    anna = somebody()
    async with (
        Redis.from_url(redis_url) as redis,
        gateway(redis_url, upstream.url) as client,
        listening(client, anna, **{"Last-Event-ID": "whatever-it-was"}) as listener,
    ):
        await give(redis, "requests", [anna])
        data = await listener.until("leave-requests")
        assert set(data) == {"changed"}
        assert anna not in json.dumps(data)
        headers = listener.answer.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")


async def test_a_stream_needs_a_token_and_ends_with_it(
    redis_url: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.1)
    short = SIGNER.sign(somebody(), roles=("employee",), lifetime=timedelta(seconds=5))
    async with gateway(redis_url, upstream.url) as client:
        refused = await client.get(EVENTS)
        async with client.stream("GET", EVENTS, headers={"Cookie": f"lms_access={short}"}) as answer:
            text = "".join([chunk async for chunk in answer.aiter_text()])
    assert refused.status_code == 401
    assert text.startswith("retry: 2000\nevent: ready\n")


async def test_a_quiet_stream_says_that_it_is_still_there(
    redis_url: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.1)
    async with gateway(redis_url, upstream.url) as client, listening(client, somebody()) as listener:
        async with asyncio.timeout(SOON):
            while await anext(listener.lines) != ": still here":
                continue


async def test_one_person_has_so_many_streams_and_no_more(redis_url: str, upstream: Upstream) -> None:
    anna = somebody()
    async with gateway(redis_url, upstream.url) as client:
        streams = [listening(client, anna) for _ in range(MOST_STREAMS)]
        for one in streams:
            await one.__aenter__()
        refused = await client.get(EVENTS, headers=bearer(anna))
        await streams[0].__aexit__(None, None, None)
        async with asyncio.timeout(SOON):
            while True:
                async with client.stream("GET", EVENTS, headers=bearer(anna)) as again:
                    if again.status_code == 200:
                        break
        for one in streams[1:]:
            await one.__aexit__(None, None, None)
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-streams")


async def test_a_stream_opens_without_redis_and_a_gateway_that_stops_ends_it(upstream: Upstream) -> None:
    stopping = asyncio.Event()
    away = f"redis://127.0.0.1:{free_port()}/0"
    async with gateway(away, upstream.url, stopping=stopping) as client, listening(client, somebody()) as listener:
        stopping.set()
        with pytest.raises(StopAsyncIteration):
            await listener.next()
