"""Maintenance at the door: for every copy of the gateway, through a flushed Redis, and with nobody cut off."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from starlette.types import Scope, Send
from tests.integration.gateway.conftest import Upstream, answer_with, bearer, free_port, gateway, serving
from tests.waiting import becomes

UNLIMITED = {"rate_limit_max_requests": 0, "rate_limit_signed_in": 0}
ADMIN = bearer("a1", "admin")
PATIENCE = 10.0  # seconds


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """The Redis of the gateways, in which nobody has said anything of maintenance."""
    async with Redis.from_url(redis_url) as client:
        for key in await client.keys("{lms:maintenance}:*"):
            await client.delete(key)
        yield client
        for key in await client.keys("{lms:maintenance}:*"):
            await client.delete(key)


async def enable(client: httpx.AsyncClient, **more: Any) -> Any:
    """Begin maintenance."""
    return (await client.post("/admin/maintenance/enable", headers=ADMIN, **more)).raise_for_status().json()


async def disable(client: httpx.AsyncClient) -> Any:
    """End maintenance."""
    return (await client.post("/admin/maintenance/disable", headers=ADMIN)).raise_for_status().json()


async def status_of(client: httpx.AsyncClient, headers: dict[str, str] | None = None) -> int:
    """Say how a read is answered."""
    return (await client.get("/api/v1/me", headers=headers or bearer())).status_code


async def test_new_work_is_refused_and_administrators_probes_and_signing_in_are_not(
    redis_url: str, redis: Redis, upstream: Upstream
) -> None:
    assert redis
    async with gateway(redis_url, upstream.url, instance="g1", **UNLIMITED) as client:
        said = await enable(client, json={"message": "back at nine", "retry_after_seconds": 300})
        refused = await client.post("/api/v1/leave-requests", json={}, headers=bearer())
        reading, admin = await status_of(client), await status_of(client, ADMIN)
        signing_in = await client.post("/api/v1/auth/login", json={})
        probes = [(await client.get(path)).status_code for path in ("/livez", "/readyz", "/health", "/metrics")]
        gauge = "gateway_maintenance 1.0" in (await client.get("/metrics")).text
        ended = await disable(client)
        afterwards = await status_of(client)
    assert (said["enabled"], said["by"], ended["enabled"]) == (True, "a1", False)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "300")
    assert refused.headers["content-type"] == "application/problem+json"
    assert (refused.json()["code"], refused.json()["detail"]) == ("maintenance", "LMS is in maintenance: back at nine")
    assert (reading, admin, signing_in.status_code) == (503, 200, 200)
    assert probes == [200] * 4
    assert gauge
    assert afterwards == 200


async def test_only_administrators_change_it(redis_url: str, redis: Redis, upstream: Upstream) -> None:
    assert redis
    async with gateway(redis_url, upstream.url, **UNLIMITED) as client:
        nobody = await client.post("/admin/maintenance/enable")
        hr = await client.post("/admin/maintenance/enable", headers=bearer("h1", "hr"))
        program = await client.get("/admin/maintenance", headers=bearer("service:deploy", scopes=("maintenance",)))
        cookie = {"Cookie": f"lms_access={ADMIN['Authorization'].removeprefix('Bearer ')}"}
        forged = await client.post("/admin/maintenance/enable", headers=cookie)
        bad = await client.post("/admin/maintenance/enable", headers=ADMIN, json={"retry_after_seconds": 0})
        still = await status_of(client)
    assert [one.status_code for one in (nobody, hr, program, forged, bad)] == [401, 403, 200, 403, 400]
    assert still == 200


async def test_what_is_in_hand_is_finished_and_waited_for_at_every_copy(redis_url: str, redis: Redis) -> None:
    assert redis
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, send: Send) -> bool:
        if scope["path"] != "/api/v1/me":
            return False
        arrived.set()
        await go_on.wait()
        await answer_with(send, 200, b"{}")
        return True

    async with (
        serving(Upstream(behave=slow)) as upstream,
        gateway(redis_url, upstream.url, instance="g1", **UNLIMITED) as one,
        gateway(redis_url, upstream.url, instance="g2", **UNLIMITED) as two,
    ):
        in_hand = asyncio.create_task(status_of(two))
        await arrived.wait()
        assert not (await enable(one))["drained"]

        async def seen() -> Any:
            found = (await one.get("/admin/maintenance", headers=ADMIN)).json()
            informed = all(each["informed"] for each in found["gateways"]) and len(found["gateways"]) == 2
            return found if informed else None

        found = await becomes(seen, "the copies have not heard of it", PATIENCE)
        assert [(each["instance"], each["requests_in_hand"]) for each in found["gateways"]] == [("g1", 0), ("g2", 1)]
        assert not found["drained"]
        assert await status_of(two) == 503
        waiting = asyncio.create_task(one.post("/admin/maintenance/enable", headers={**ADMIN, "Prefer": "wait=9"}))
        go_on.set()
        assert await in_hand == 200
        assert (await waiting).json()["drained"]
        await disable(two)
        await becomes(lambda: _passes(one), "nobody passes again", PATIENCE)


async def _passes(client: httpx.AsyncClient) -> bool:
    return await status_of(client) == 200


async def test_a_stream_that_never_ends_is_not_waited_for(redis_url: str, redis: Redis) -> None:
    assert redis
    go_on = asyncio.Event()

    async def streaming(scope: Scope, send: Send) -> bool:
        if scope["path"] != "/api/v1/me":
            return False
        kind = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b""})
        return True

    async with (
        serving(Upstream(behave=streaming)) as upstream,
        gateway(redis_url, upstream.url, instance="g1", **UNLIMITED) as client,
        client.stream("GET", "/api/v1/me", headers=bearer()) as stream,
    ):
        assert await anext(stream.aiter_bytes())
        said = await enable(client)
        assert said["drained"]
        assert said["gateways"] == [{"instance": "g1", "informed": True, "requests_in_hand": 0}]
        go_on.set()
        await disable(client)


async def test_it_outlives_a_flushed_redis_and_a_change_afterwards_wins(
    redis_url: str, redis: Redis, upstream: Upstream
) -> None:
    async with gateway(redis_url, upstream.url, instance="g1", **UNLIMITED) as old:
        await enable(old)
        await redis.flushdb()
        assert await status_of(old) == 503
        await becomes(lambda: redis.get("{lms:maintenance}:state"), "the state is not back in Redis", PATIENCE)
        async with gateway(redis_url, upstream.url, instance="g2", **UNLIMITED) as new:
            await becomes(lambda: _refuses(new), "the new copy refuses nobody", PATIENCE)
            await redis.flushdb()
            await disable(new)
            await becomes(lambda: _passes(old), "the old copy lets nobody pass", PATIENCE)
            assert await status_of(new) == 200


async def _refuses(client: httpx.AsyncClient) -> bool:
    return await status_of(client) == 503


async def test_without_redis_it_cannot_be_changed_and_what_was_known_holds(upstream: Upstream) -> None:
    async with gateway(f"redis://127.0.0.1:{free_port()}/0", upstream.url, **UNLIMITED) as client:
        answer = await client.post("/admin/maintenance/enable", headers=ADMIN)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert await status_of(client) == 200
