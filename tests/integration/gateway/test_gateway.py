"""The gateway before small services on real ports, and a real Redis."""

import asyncio
import random
import time
import uuid

import httpx
import orjson
import pytest
from starlette.types import Scope, Send
from tests.integration.gateway.conftest import SIGNER, Upstream, answer_with, bearer, free_port, gateway, serving

UNLIMITED = {"rate_limit_max_requests": 0, "rate_limit_signed_in": 0}


async def test_a_request_reaches_its_service_with_the_callers_token_and_ids(redis_url: str, upstream: Upstream) -> None:
    async with gateway(redis_url, upstream.url) as client:
        answer = await client.get(
            "/api/v1/balances?as_of=2026-01-01",
            headers={**bearer(), "X-Request-ID": "request-1234", "X-Forwarded-For": "6.6.6.6", "Cookie": "x=1"},
        )
    got = upstream.got[-1]["headers"]
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == got["x-request-id"] == "request-1234"
    assert got["authorization"].startswith("Bearer ey")
    assert got["x-forwarded-for"] == "127.0.0.1", "a header of the client's own is not believed"
    assert "cookie" not in got
    assert "set-cookie" not in answer.headers
    assert got["traceparent"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_without_a_token_nothing_passes_but_signing_in(redis_url: str, upstream: Upstream) -> None:
    async with gateway(redis_url, upstream.url, **UNLIMITED) as client:
        refused = await client.get("/api/v1/me")
        forged = await client.get("/api/v1/me", headers={"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."})
        passed = await client.post("/api/v1/auth/login", json={}, headers={"Cookie": "lms_refresh=r"})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert forged.status_code == 401
    assert passed.status_code == 200
    assert passed.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert upstream.got[-1]["headers"]["cookie"] == "lms_refresh=r"
    assert len(upstream.got) == 1


async def test_a_change_by_cookie_needs_the_csrf_token(redis_url: str, upstream: Upstream) -> None:
    cookie = {"Cookie": f"lms_access={SIGNER.sign('e1', roles=('employee',))}; lms_csrf=abc"}
    async with gateway(redis_url, upstream.url) as client:
        reading = await client.get("/api/v1/me", headers=cookie)
        without = await client.post("/api/v1/leave-requests", json={}, headers=cookie)
        wrong = await client.post("/api/v1/leave-requests", json={}, headers={**cookie, "X-CSRF-Token": "abd"})
        right = await client.post("/api/v1/leave-requests", json={}, headers={**cookie, "X-CSRF-Token": "abc"})
    assert [one.status_code for one in (reading, without, wrong, right)] == [200, 403, 403, 200]
    assert without.json()["code"] == "csrf-token-missing"


async def test_roles_are_checked_at_the_door(redis_url: str, upstream: Upstream) -> None:
    async with gateway(redis_url, upstream.url) as client:
        employee = await client.post("/api/v1/employees", json={}, headers=bearer())
        hr = await client.post("/api/v1/employees", json={}, headers=bearer("h", "hr"))
        token = SIGNER.sign("e2", roles=("employee",), acting="service:loader")
        acting = await client.post("/api/v1/employees", json={}, headers={"Authorization": f"Bearer {token}"})
    assert [one.status_code for one in (employee, hr, acting)] == [403, 200, 403]


async def test_an_unreachable_copy_is_left_out_and_the_request_goes_to_the_next(
    redis_url: str, upstream: Upstream
) -> None:
    async with gateway(redis_url, f"http://127.0.0.1:{free_port()}", upstream.url) as client:
        found = [(await client.post("/api/v1/leave-requests", json={}, headers=bearer())).status_code for _ in "123456"]
    assert found == [200] * 6
    assert len(upstream.got) == 6


async def test_without_any_copy_the_answer_is_503_to_be_repeated_and_a_copy_that_comes_back_is_used(
    redis_url: str,
) -> None:
    port = free_port()
    async with gateway(redis_url, f"http://127.0.0.1:{port}") as client:
        away = await client.get("/api/v1/me", headers=bearer())
        async with serving(Upstream(port=port)):
            back = await client.get("/api/v1/me", headers=bearer())
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert back.status_code == 200


@pytest.mark.parametrize(
    ("method", "headers", "status", "times"),
    [("GET", {}, 200, 2), ("POST", {"Idempotency-Key": "k"}, 200, 2), ("POST", {}, 503, 1)],
)
async def test_after_a_broken_connection_only_what_is_harmless_is_sent_again(
    redis_url: str, upstream: Upstream, method: str, headers: dict[str, str], status: int, times: int
) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b" /readyz " in await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            writer.close()
            return
        upstream.got.append({})
        writer.transport.abort()

    breaking = await asyncio.start_server(cut, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{breaking.sockets[0].getsockname()[1]}"
    async with breaking, gateway(redis_url, upstream.url, url, **UNLIMITED) as client:
        answer = await client.request(method, "/api/v1/leave-requests", headers={**bearer(), **headers})
    assert answer.status_code == status
    assert len(upstream.got) == times or (method == "GET" and len(upstream.got) > times)


async def test_a_service_that_does_not_answer_in_time_is_504(redis_url: str, upstream: Upstream) -> None:
    async def sleep(_scope: Scope, _send: Send) -> bool:
        await asyncio.sleep(3)
        return False

    upstream.behave = sleep
    async with gateway(redis_url, upstream.url, timeout_seconds=0.2) as client:
        answer = await client.get("/api/v1/me", headers=bearer())
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream-timeout")


async def test_an_answer_streams_through(redis_url: str, upstream: Upstream) -> None:
    async def drip(_scope: Scope, send: Send) -> bool:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.sleep(1.0)
        await send({"type": "http.response.body", "body": b"second"})
        return True

    upstream.behave = drip
    async with gateway(redis_url, upstream.url) as client:
        began = time.monotonic()
        async with client.stream("GET", "/api/v1/calendar", headers=bearer()) as answer:
            chunks = answer.aiter_raw()
            assert await anext(chunks) == b"first"
            assert time.monotonic() - began < 0.8
            assert b"".join([chunk async for chunk in chunks]) == b"second"


async def test_bodies_have_a_limit_and_imports_a_larger_one(redis_url: str, upstream: Upstream) -> None:
    large = b"x" * (2 * 1024 * 1024)
    async with gateway(redis_url, upstream.url) as client:
        refused = await client.post("/api/v1/leave-requests", content=large, headers=bearer())
        taken = await client.post("/api/v1/imports/employees", content=large, headers=bearer("h", "hr"))
    assert (refused.status_code, refused.json()["code"]) == (413, "too-large")
    assert taken.status_code == 200
    assert upstream.got[-1]["body"] == large


async def test_the_limit_counts_people_and_says_what_is_left(redis_url: str, upstream: Upstream) -> None:
    person, program = f"e-{uuid.uuid4()}", f"service:{uuid.uuid4()}"
    async with gateway(redis_url, upstream.url, rate_limit_signed_in=3) as client:
        found = [await client.get("/api/v1/me", headers=bearer(person)) for _ in range(4)]
        other = await client.get("/api/v1/me", headers=bearer(f"e-{uuid.uuid4()}"))
        programs = [await client.get("/api/v1/me", headers=bearer(program)) for _ in range(5)]
    assert [one.status_code for one in found] == [200, 200, 200, 429]
    assert [one.headers["ratelimit"].split(";")[1] for one in found] == ["r=2", "r=1", "r=0", "r=0"]
    assert found[0].headers["ratelimit-policy"] == '"signed-in";q=3;w=900'
    assert 295 <= int(found[3].headers["retry-after"]) <= 300
    assert found[3].json()["code"] == "too-many-requests"
    assert other.status_code == 200
    assert {one.status_code for one in programs} == {200}


async def test_all_addresses_of_one_ipv6_network_share_one_quota(redis_url: str, upstream: Upstream) -> None:
    network, other = (f"2001:db8:{number:x}:{number:x}" for number in random.sample(range(1, 0xFFFF), 2))
    async with gateway(redis_url, upstream.url, trusted_proxies=1, rate_limit_max_requests=5) as client:
        found = [
            await client.get("/api/v1/me", headers={"X-Forwarded-For": address})
            for address in (f"{network}::1", f"{network}:ffff:0:0:2", f"{other}::1")
        ]
    assert [one.headers["ratelimit"].split(";")[1] for one in found] == ["r=4", "r=3", "r=4"]


async def test_without_redis_nobody_is_limited(upstream: Upstream) -> None:
    async with gateway(f"redis://127.0.0.1:{free_port()}/0", upstream.url, rate_limit_signed_in=1) as client:
        found = [(await client.get("/api/v1/me", headers=bearer())).status_code for _ in range(3)]
    assert found == [200, 200, 200]


async def test_the_document_docs_and_probes_are_answered_here(redis_url: str, upstream: Upstream) -> None:
    async with gateway(redis_url, upstream.url, cors_origin="https://lms.example") as client:
        document = await client.get("/openapi.json")
        docs = await client.get("/docs")
        script = await client.get("/docs/swagger-ui-bundle.js")
        health = await client.get("/health")
        outside = {"X-Forwarded-For": "203.0.113.9"}
        told, hidden = await client.get("/health", headers=outside), await client.get("/metrics", headers=outside)
        metrics, ready = await client.get("/metrics"), await client.get("/readyz")
        asked = {"Origin": "https://lms.example", "Access-Control-Request-Method": "POST"}
        preflight = await client.options("/api/v1/me", headers=asked)
    own = {"/admin/maintenance", "/admin/maintenance/enable", "/admin/maintenance/disable"}
    assert set(document.json()["paths"]) == {"/x", "/api/v1/events", *own}
    assert "cdn" not in docs.text
    assert "script-src 'self'" in docs.headers["content-security-policy"]
    assert len(script.content) > 100_000
    services = {"directory", "requests", "balances", "approvals", "audit", "notifications"}
    assert set(health.json()["checks"]) == {"database", "redis", *services}
    assert health.json()["checks"]["database"] == {"status": "up", "latency_ms": 1.5}
    assert told.json() == {"status": "healthy"}
    assert (hidden.status_code, metrics.status_code, ready.status_code) == (404, 200, 200)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "https://lms.example"


async def _told(client: httpx.AsyncClient, sample: str) -> None:
    """Wait until the gateway's figures say something."""
    async with asyncio.timeout(30):
        while sample not in (await client.get("/metrics")).text:  # noqa: ASYNC110  # told by a gauge
            await asyncio.sleep(0.02)


async def test_a_copy_that_says_it_is_not_ready_gets_no_more_requests(redis_url: str) -> None:
    async with (
        serving(Upstream()) as leaving,
        serving(Upstream()) as staying,
        gateway(redis_url, leaving.url, staying.url, probe_seconds=0.05, **UNLIMITED) as client,
    ):
        for _ in range(4):
            assert (await client.get("/api/v1/me", headers=bearer())).status_code == 200
        assert leaving.got
        assert staying.got
        leaving.ready = False
        ready = 'gateway_ready_copies{upstream="directory"}'
        await _told(client, f"{ready} 1.0")
        before = len(leaving.got)
        for _ in range(6):
            assert (await client.get("/api/v1/me", headers=bearer())).status_code == 200
        assert len(leaving.got) == before
        staying.ready = False
        await _told(client, f"{ready} 0.0")
        assert (await client.get("/api/v1/me", headers=bearer())).status_code == 200, "better an unready copy than none"


async def test_the_parts_of_the_services_are_told_in_sum_and_one_by_one(redis_url: str) -> None:
    async def sick(scope: Scope, send: Send) -> bool:
        if scope["path"] != "/health":
            return False
        parts = {"database": {"status": "up", "latency_ms": 2.0}, "email": {"status": "down", "error": "OSError"}}
        await answer_with(send, 503, orjson.dumps({"status": "unhealthy", "checks": parts}))
        return True

    async with serving(Upstream(behave=sick)) as mailing, serving(Upstream()) as other:
        urls = {"notifications_url": mailing.url, "probe_seconds": 0.05}
        async with gateway(redis_url, other.url, **urls) as client:
            answer = await client.get("/health")
            outside = await client.get("/health", headers={"X-Forwarded-For": "203.0.113.9"})
    checks = answer.json()["checks"]
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert checks["email"] == {"status": "down", "latency_ms": 0.0, "down_for": ["notifications"]}
    assert checks["database"] == {"status": "up", "latency_ms": 2.0}
    assert (checks["notifications"]["status"], checks["notifications"]["detail"]) == ("down", "email")
    assert checks["directory"]["status"] == "up"
    assert (outside.status_code, outside.json()) == (503, {"status": "unhealthy"})
