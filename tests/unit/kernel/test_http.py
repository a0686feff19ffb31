import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends
from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import VARCHAR
from starlette.responses import Response

from lms.audit.store import records
from lms.kernel.auth import Caller, CallerDep, TokenSigner, public_key_of, requires
from lms.kernel.clock import FixedClock
from lms.kernel.errors import FieldError, NotFound, RuleBroken, Unavailable
from lms.kernel.eventstore import ConcurrencyConflict
from lms.kernel.http import Answer, Body, IfMatchDep, _identity, answer, create_app
from lms.kernel.pages import PageDep
from lms.kernel.settings import ProcessSettings

SECRET = "s" * 64
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Overdrawn(RuleBroken):
    code = "overdrawn"


class Day(Body):
    date: date
    minutes: int


class NewLeave(Body):
    days: list[Day]


class Leave(Answer):
    id: str
    version: int


router = APIRouter(prefix="/api/v1/leaves")


@router.post("", response_model=Leave)
async def post_leave(body: NewLeave, caller: CallerDep) -> Response:
    del body
    return answer(Leave(id=caller.id, version=3), 201)


@router.post("/large", max_body_size=4096)
async def post_large(body: NewLeave) -> Leave:
    return Leave(id=str(len(body.days)), version=1)


@router.get("")
async def list_leaves(page: PageDep) -> dict[str, int]:
    return {"limit": page.limit}


@router.get("/{leave_id}")
async def get_leave(leave_id: str, version: IfMatchDep) -> dict[str, Any]:
    match leave_id:
        case "none":
            raise NotFound("There is no such leave.")
        case "overdrawn":
            raise Overdrawn("Three days are left.", (FieldError("/days/0/minutes", "more than is left"),))
        case "raced":
            raise ConcurrencyConflict("leave-1", 3)
        case "away":
            raise ConnectionRefusedError(111, "the database of Jane")
        case "busy":
            raise Unavailable("Later.")
        case "broken":
            raise LookupError("something about Jane")
    return {"id": leave_id, "version": version}


@router.get("/reports/all")
async def get_reports(caller: Annotated[Caller, Depends(requires("hr", scopes=("reports.read",)))]) -> str:
    return caller.id


@dataclass(frozen=True)
class Wiring:
    name: str = "requests"
    consumers: tuple[Any, ...] = ()
    migrations: Path | None = None
    checks: dict[str, Any] = field(default_factory=dict)


@dataclass
class Process:
    settings: ProcessSettings
    service: Wiring = field(default_factory=Wiring)
    redis: Redis = field(default_factory=lambda: Redis.from_url("redis://127.0.0.1:1"))
    ready: bool = True
    clock: FixedClock = field(default_factory=lambda: FixedClock(datetime(2026, 3, 2, 12, tzinfo=UTC)))


def process(**settings: Any) -> Process:
    return Process(
        ProcessSettings(
            redis_url=SecretStr("redis://127.0.0.1:1"),
            jwt_public_key=public_key_of(SECRET),
            max_body_bytes=1024,
            **settings,
        )
    )


def client_of(running: Process) -> httpx.AsyncClient:
    app = create_app(running, (router,), "LMS requests")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://requests")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(process()) as client:
        yield client


def bearer(subject: str = "emp-1", **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {TokenSigner(SECRET).sign(subject, **claims)}"}


async def test_an_answer_carries_its_version_request_id_and_trace(client: httpx.AsyncClient) -> None:
    body = {"days": [{"date": "2027-01-04", "minutes": 480}]}
    headers = {**bearer(), "X-Request-ID": "caller-req-1", "traceparent": TRACE}
    got = await client.post("/api/v1/leaves", json=body, headers=headers)
    assert (got.status_code, got.json()) == (201, {"id": "emp-1", "version": 3})
    assert got.headers["etag"] == '"3"'
    assert got.headers["x-request-id"] == "caller-req-1"
    assert got.headers["traceparent"].startswith(TRACE[:36])


@pytest.mark.parametrize("insane", ["short", "x" * 129, "spaces in it", "line\tbreak-here"])
async def test_a_request_id_that_is_not_sane_is_replaced(client: httpx.AsyncClient, insane: str) -> None:
    got = await client.get("/api/v1/leaves/1", headers={"X-Request-ID": insane})
    assert len(got.headers["x-request-id"]) == 36


@pytest.mark.parametrize(
    ("leave_id", "status", "code"),
    [
        ("none", 404, "not-found"),
        ("overdrawn", 422, "overdrawn"),
        ("raced", 409, "concurrency-conflict"),
        ("away", 503, "database-unavailable"),
        ("busy", 503, "unavailable"),
        ("broken", 500, "internal"),
    ],
)
async def test_every_error_is_a_problem(client: httpx.AsyncClient, leave_id: str, status: int, code: str) -> None:
    got = await client.get(f"/api/v1/leaves/{leave_id}")
    problem = got.json()
    assert got.headers["content-type"] == "application/problem+json"
    assert (got.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["type"] == f"urn:lms:problem:{code}"
    assert problem["instance"] == f"/api/v1/leaves/{leave_id}"
    assert problem["request_id"] == got.headers["x-request-id"]
    assert "Jane" not in got.text
    assert got.headers.get("retry-after") == ("1" if status == 503 else None)


async def test_a_broken_rule_points_at_its_field(client: httpx.AsyncClient) -> None:
    got = await client.get("/api/v1/leaves/overdrawn")
    assert got.json()["errors"] == [{"pointer": "/days/0/minutes", "detail": "more than is left"}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"days": [{"date": "2027-02-30", "minutes": 1}]}, "/days/0/date"),
        ({"days": [{"date": "2027-02-03", "minutes": "many"}]}, "/days/0/minutes"),
        ({"days": [], "colour/x": "red"}, "/colour~1x"),
        ({}, "/days"),
    ],
)
async def test_a_body_that_does_not_fit_is_malformed(client: httpx.AsyncClient, body: Any, pointer: str) -> None:
    got = await client.post("/api/v1/leaves", json=body, headers=bearer())
    assert (got.status_code, got.json()["code"]) == (400, "malformed")
    assert [error["pointer"] for error in got.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"", "application/json", 400),
        (b"days=1", "text/plain", 415),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    client: httpx.AsyncClient, content: bytes, kind: str, status: int
) -> None:
    headers = {**bearer(), "Content-Type": kind}
    got = await client.post("/api/v1/leaves", content=content, headers=headers)
    assert got.status_code == status
    assert got.headers["content-type"] == "application/problem+json"


async def test_a_wrong_parameter_is_named(client: httpx.AsyncClient) -> None:
    got = await client.get("/api/v1/leaves?limit=500")
    assert got.status_code == 400
    assert got.json()["errors"][0]["parameter"] == "limit"


async def test_a_body_that_is_too_large_is_refused_also_without_a_length(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b" " * 500

    large = json.dumps({"days": []}).ljust(2000).encode()
    sent = {**bearer(), "Content-Type": "application/json"}
    for content in (large, chunks()):
        got = await client.post("/api/v1/leaves", content=content, headers=sent)
        assert (got.status_code, got.json()["code"]) == (413, "too-large")
    assert (await client.post("/api/v1/leaves/large", content=large, headers=sent)).status_code == 200


async def test_unknown_paths_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    assert (await client.get("/nowhere")).json()["code"] == "not-found"
    got = await client.put("/api/v1/leaves/1")
    assert (got.status_code, got.json()["code"]) == (405, "method-not-allowed")
    assert "GET" in got.headers["allow"]


@pytest.mark.parametrize("header", [None, "Basic abc", "Bearer", "Bearer nonsense"])
async def test_a_caller_whom_nobody_vouches_for_is_401(client: httpx.AsyncClient, header: str | None) -> None:
    got = await client.get("/api/v1/leaves/reports/all", headers={"Authorization": header} if header else {})
    assert (got.status_code, got.json()["code"]) == (401, "unauthenticated")
    assert got.headers["www-authenticate"].startswith("Bearer")


async def test_a_role_or_a_scope_opens_a_route(client: httpx.AsyncClient) -> None:
    path = "/api/v1/leaves/reports/all"
    assert (await client.get(path, headers=bearer(roles=("employee",)))).status_code == 403
    assert (await client.get(path, headers=bearer(roles=("hr",)))).json() == "emp-1"
    assert (await client.get(path, headers=bearer("svc", scopes=("reports.read",)))).json() == "svc"


async def test_whoever_acts_for_a_person_is_that_person(client: httpx.AsyncClient) -> None:
    path = "/api/v1/leaves/reports/all"
    assert (await client.get(path, headers=bearer("emp-2", roles=("hr",), acting="service:loader"))).json() == "emp-2"


async def test_answers_tell_the_business_date_where_the_clock_can_be_moved(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/leaves/1")).headers["business-date"] == "2026-03-02"
    async with client_of(process(environment="production")) as production:
        assert "business-date" not in (await production.get("/api/v1/leaves/1")).headers


@pytest.mark.parametrize(("header", "version"), [('"7"', 7), ('W/"7"', 7), ("*", None), (None, None)])
async def test_if_match_names_a_version(client: httpx.AsyncClient, header: str | None, version: int | None) -> None:
    got = await client.get("/api/v1/leaves/1", headers={"If-Match": header} if header else {})
    assert got.json()["version"] == version


async def test_an_if_match_that_is_no_etag_of_ours_is_malformed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/leaves/1", headers={"If-Match": "abc"})).status_code == 400


async def test_requests_are_counted_by_route_template(client: httpx.AsyncClient) -> None:
    labels = {"method": "GET", "route": "/api/v1/leaves/{leave_id}", "status_code": "404"}
    before = REGISTRY.get_sample_value("http_requests_total", labels) or 0
    await client.get("/api/v1/leaves/none")
    assert REGISTRY.get_sample_value("http_requests_total", labels) == before + 1
    assert REGISTRY.get_sample_value("http_request_duration_seconds_count", labels) == before + 1


async def test_probes_tell_the_state_of_the_process() -> None:
    running = process()
    async with client_of(running) as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        running.ready = False
        assert (await client.get("/readyz")).status_code == 503
        health = await client.get("/health")
        assert health.status_code == 503
        assert health.json()["checks"]["redis"]["status"] == "down"
        assert b"http_requests_total" in (await client.get("/metrics")).content


async def test_openapi_lists_problems_and_the_bearer_scheme(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/api/v1/leaves"]["post"]
    assert "application/problem+json" in operation["responses"]["4XX"]["content"]
    assert "422" not in operation["responses"]
    assert operation["security"] == [{"bearer": []}]
    assert "/livez" not in document["paths"]


async def test_an_expired_token_is_refused(client: httpx.AsyncClient) -> None:
    got = await client.get("/api/v1/leaves/reports/all", headers=bearer(lifetime=timedelta(seconds=-5)))
    assert got.status_code == 401


async def test_failures_of_every_route_read_0_until_there_is_one_and_odd_methods_share_a_label(
    client: httpx.AsyncClient,
) -> None:
    await client.request("PURGE", "/api/v1/leaves/1")
    exposed = (await client.get("/metrics")).text
    assert 'http_requests_total{method="GET",route="/api/v1/leaves/reports/all",status_code="500"} 0.0' in exposed
    assert 'method="other"' in exposed
    assert "PURGE" not in exposed


def test_every_request_id_that_is_taken_over_fits_into_the_audit_log() -> None:
    """It becomes the correlation id of facts; one that does not fit would keep them out of the log."""
    column = records.c.correlation_id.type
    assert isinstance(column, VARCHAR)
    longest = column.length
    assert longest is not None
    given = [(b"x-request-id", b"x" * length) for length in (longest, longest + 1)]
    kept = [_identity({"type": "http", "headers": [header]})[0] for header in given]
    assert kept[0] == "x" * longest
    assert len(kept[1]) <= longest
