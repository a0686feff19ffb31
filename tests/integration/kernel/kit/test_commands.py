"""Commands and reads through the HTTP kit, on a real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import httpx
import pytest
from fastapi import APIRouter
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import func, insert, select, text, update
from starlette.responses import Response

from lms.kernel.auth import CallerDep, TokenSigner, public_key_of
from lms.kernel.clock import FixedClock
from lms.kernel.consistency import Tokens
from lms.kernel.database import Database
from lms.kernel.decider import Decider
from lms.kernel.errors import RuleBroken, Unavailable
from lms.kernel.event import Codec, Event, StreamVersion
from lms.kernel.eventstore import EventStore
from lms.kernel.execution import Executor, UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep, OpenCommandsDep, ViewsDep, create_app, purge_idempotency
from lms.kernel.idempotency import stored_replies
from lms.kernel.ids import new_id
from lms.kernel.schema import consumer_versions, events, idempotency
from lms.kernel.settings import KernelSettings

SECRET = "s" * 64
ENCRYPTION_KEY = "k" * 40
LIMIT = 1000
NOON = datetime(2027, 1, 4, 12, tzinfo=UTC)


class Deposited(Event):
    """Minutes came in."""

    TYPE: ClassVar[str] = "account.deposited"
    minutes: int


class Full(RuleBroken):
    """The account takes no more."""

    code = "full"


def _decide(minutes: int, balance: int) -> list[Event]:
    if balance + minutes > LIMIT:
        raise Full("The account takes no more.")
    return [Deposited(minutes=minutes)]


ACCOUNT: Decider[int, int, Event] = Decider(
    category="account",
    topic="leave.test.v1",
    initial=0,
    decide=_decide,
    evolve=lambda balance, event: balance + (event.minutes if isinstance(event, Deposited) else 0),
    state_type=int,
)


class Deposit(Body):
    minutes: int
    note: str = ""


class Account(Answer):
    id: str
    version: int
    minutes: int
    settled: bool = False


class Hooks:
    """What a test lets happen inside the use case."""

    inside: Callable[[UnitOfWork], Awaitable[None]] | None = None
    calls: int = 0


router = APIRouter(prefix="/api/v1/accounts")


async def deposit(uow: UnitOfWork, account: str, minutes: int) -> Account:
    await uow.load(ACCOUNT, account)  # where one that was answered before ends
    Hooks.calls += 1
    handled = await uow.handle(ACCOUNT, account, minutes, key=account)
    if Hooks.inside is not None:
        await Hooks.inside(uow)
    return Account(id=account, version=handled.version, minutes=handled.state)


@router.post("/{account}/deposits", response_model=Account)
async def post_deposit(account: str, body: Deposit, commands: CommandsDep) -> Response:
    async def settled(result: Account) -> Account | None:
        return result.model_copy(update={"settled": True}) if body.note == "settles" else None

    return await commands.run(
        lambda uow: deposit(uow, account, body.minutes),
        status=201,
        location=lambda result: f"/api/v1/accounts/{result.id}",
        settle=settled,
    )


@router.post("/{account}/previews", response_model=Account)
async def post_preview(account: str, body: Deposit, commands: CommandsDep) -> Response:
    return await commands.run(lambda uow: deposit(uow, account, body.minutes), idempotent=False)


@router.post("/{account}/secrets", response_model=Account)
async def post_secret(account: str, body: Deposit, commands: CommandsDep) -> Response:
    return await commands.run(
        lambda uow: deposit(uow, account, body.minutes),
        status=201,
        kept=lambda result: result.model_copy(update={"minutes": 0}),
    )


@router.post("/{account}/uploads")
async def post_upload(account: str, caller: CallerDep, commands: CommandsDep) -> Response:
    del caller

    async def nothing(uow: UnitOfWork) -> None:
        await deposit(uow, account, 1)

    return await commands.run(nothing, status=204, fingerprint=b"digest of the file")


@router.post("/{account}/gifts", response_model=Account)
async def post_gift(account: str, body: Deposit, commands: OpenCommandsDep) -> Response:
    return await commands.run(lambda uow: deposit(uow, account, body.minutes))


@router.get("/{account}/events")
async def get_events(account: str, views: ViewsDep) -> int:
    found = await views.connection.scalar(
        select(func.count()).select_from(events).where(events.c.stream == f"account-{account}")
    )
    return int(found or 0)


class Reader(NamedTuple):
    name: str
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Wiring:
    name: str = "accounts"
    consumers: tuple[Reader, ...] = (Reader("views", ("leave.other.v1",)), Reader("reactor", ("leave.other.v1",)))
    migrations: Path | None = None
    checks: dict[str, Any] = field(default_factory=dict)


@dataclass
class Running:
    settings: KernelSettings
    database: Database
    executor: Executor
    redis: Redis
    replica: None = None
    service: Wiring = field(default_factory=Wiring)
    ready: bool = True
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOON))


@pytest.fixture
def after_commit() -> list[Exception]:
    """Errors to raise between the commit and the answer, as a crash there would."""
    return []


@pytest.fixture
def running(database: Database, redis: Redis, after_commit: list[Exception]) -> Running:
    def committed() -> None:
        if after_commit:
            raise after_commit.pop()

    settings = KernelSettings(
        database_url=SecretStr(database.url.render_as_string(hide_password=False)),
        redis_url=SecretStr("redis://127.0.0.1:1"),
        kafka_bootstrap_servers="127.0.0.1:1",
        encryption_key=SecretStr(ENCRYPTION_KEY),
        jwt_public_key=public_key_of(SECRET),
    )
    store = EventStore("accounts", Codec((Deposited,)))
    executor = Executor(database, store, FixedClock(NOON), on_commit=committed)
    Hooks.inside, Hooks.calls = None, 0
    return Running(settings, database, executor, redis)


@pytest.fixture
async def client(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(running, (router,), "LMS accounts")
    token = TokenSigner(SECRET).sign("emp-1", roles=("employee",))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://accounts",
        headers={"Authorization": f"Bearer {token}"},
    ) as client:
        yield client


async def post(client: httpx.AsyncClient, account: str, minutes: int, key: str | None, **more: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post(f"/api/v1/accounts/{account}/deposits", json={"minutes": minutes, **more}, headers=headers)


async def count(client: httpx.AsyncClient, account: str) -> int:
    return int((await client.get(f"/api/v1/accounts/{account}/events")).json())


async def test_a_repeated_command_gets_the_same_answer_and_has_one_effect(client: httpx.AsyncClient) -> None:
    account, key = new_id(), new_id()
    first = await post(client, account, 60, key)
    again = await post(client, account, 60, key)
    assert (first.status_code, first.json()["minutes"]) == (201, 60)
    assert (again.status_code, again.content) == (201, first.content)
    for header in ("etag", "location", "consistency-token", "content-type"):
        assert again.headers[header] == first.headers[header]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (await count(client, account), Hooks.calls) == (1, 1)


async def test_without_a_key_every_request_counts(client: httpx.AsyncClient) -> None:
    account = new_id()
    await post(client, account, 60, None)
    await post(client, account, 60, None)
    assert await count(client, account) == 2


async def test_the_same_body_written_differently_is_the_same_request(client: httpx.AsyncClient) -> None:
    account, key = new_id(), new_id()
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    path = f"/api/v1/accounts/{account}/deposits"
    await client.post(path, content=b'{"minutes": 1, "note": "a"}', headers=headers)
    again = await client.post(path, content=b'{"note":"a","minutes":1}', headers=headers)
    assert again.headers["idempotency-replayed"] == "true"


async def test_another_body_or_another_resource_under_the_key_is_refused(client: httpx.AsyncClient) -> None:
    account, key = new_id(), new_id()
    await post(client, account, 60, key)
    for got in (await post(client, account, 61, key), await post(client, new_id(), 60, key)):
        assert (got.status_code, got.json()["code"]) == (422, "idempotency-key-reused")
    assert await count(client, account) == 1


async def test_two_callers_may_use_the_same_key(client: httpx.AsyncClient) -> None:
    account, key = new_id(), new_id()
    await post(client, account, 60, key)
    client.headers["Authorization"] = f"Bearer {TokenSigner(SECRET).sign('emp-2')}"
    assert "idempotency-replayed" not in (await post(client, account, 60, key)).headers
    assert await count(client, account) == 2


async def test_concurrent_twins_have_one_effect_and_one_answer(client: httpx.AsyncClient) -> None:
    account, key = new_id(), new_id()

    async def slowly(uow: UnitOfWork) -> None:
        del uow
        await asyncio.sleep(0.2)

    Hooks.inside = slowly
    answers = await asyncio.gather(*(post(client, account, 60, key) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 5
    assert await count(client, account) == 1


async def test_a_crash_before_the_commit_leaves_the_key_free(client: httpx.AsyncClient) -> None:
    account, key = new_id(), new_id()

    async def lose_the_database(uow: UnitOfWork) -> None:
        Hooks.inside = None
        await uow.connection.execute(text("KILL CONNECTION_ID()"))

    Hooks.inside = lose_the_database
    lost = await post(client, account, 60, key)
    assert (lost.status_code, lost.json()["code"]) == (503, "database-unavailable")
    assert await count(client, account) == 0
    again = await post(client, account, 60, key)
    assert (again.status_code, "idempotency-replayed" in again.headers) == (201, False)
    assert await count(client, account) == 1


async def test_a_crash_after_the_commit_is_answered_from_what_was_committed(
    client: httpx.AsyncClient, after_commit: list[Exception]
) -> None:
    account, key = new_id(), new_id()
    after_commit.append(RuntimeError("the process died here"))
    assert (await post(client, account, 60, key)).status_code == 500
    again = await post(client, account, 60, key)
    assert (again.status_code, again.json()["minutes"]) == (201, 60)
    assert again.headers["idempotency-replayed"] == "true"
    assert await count(client, account) == 1


async def test_a_refusal_is_repeated_even_if_it_would_succeed_now(client: httpx.AsyncClient) -> None:
    account, key = new_id(), new_id()
    refused = await post(client, account, LIMIT + 1, key)
    again = await post(client, account, LIMIT + 1, key)
    assert (refused.status_code, refused.json()["code"]) == (422, "full")
    assert (again.status_code, again.content) == (422, refused.content)
    assert again.headers["content-type"] == "application/problem+json"
    assert Hooks.calls == 1


async def test_a_failure_of_ours_is_not_repeated(client: httpx.AsyncClient) -> None:
    account, key = new_id(), new_id()

    async def fail(uow: UnitOfWork) -> None:
        del uow
        Hooks.inside = None
        raise Unavailable("Later.")

    Hooks.inside = fail
    assert (await post(client, account, 60, key)).status_code == 503
    assert (await post(client, account, 60, key)).status_code == 201


async def test_a_key_that_is_none_is_malformed(client: httpx.AsyncClient) -> None:
    got = await post(client, new_id(), 60, "x" * 129)
    assert (got.status_code, got.json()["code"]) == (400, "bad-idempotency-key")


async def test_stored_answers_are_sealed(client: httpx.AsyncClient, database: Database) -> None:
    account, key = new_id(), new_id()
    await post(client, account, 60, key)
    async with database.read() as connection:
        row = (await connection.execute(select(idempotency).where(idempotency.c.key_ == key))).one()
    assert (row.status, row.route) == (201, "POST /api/v1/accounts/{account}/deposits")
    assert account not in row.answer
    assert "minutes" not in row.answer


async def test_an_exempt_route_stores_nothing(client: httpx.AsyncClient) -> None:
    account = new_id()
    for _ in range(2):
        await client.post(
            f"/api/v1/accounts/{account}/previews", json={"minutes": 1}, headers={"Idempotency-Key": "same-key"}
        )
    assert await count(client, account) == 2


async def test_a_secret_is_told_once_and_kept_nowhere(client: httpx.AsyncClient, database: Database) -> None:
    account, key = new_id(), new_id()
    path = f"/api/v1/accounts/{account}/secrets"
    told, again = [
        await client.post(path, json={"minutes": 60}, headers={"Idempotency-Key": key}) for _ in range(2)
    ]  # fmt: skip
    assert (told.json()["minutes"], again.json()) == (60, {**told.json(), "minutes": 0})
    assert (again.status_code, again.headers["etag"]) == (201, told.headers["etag"])
    async with database.read() as connection:
        kept = [reply async for about, reply in stored_replies(connection, ENCRYPTION_KEY) if key in about]
    assert [reply.body for reply in kept if reply is not None] == [again.content]
    assert await count(client, account) == 1


async def test_a_fingerprint_stands_for_a_body_that_is_no_json(client: httpx.AsyncClient) -> None:
    account, headers = new_id(), {"Idempotency-Key": new_id()}
    path = f"/api/v1/accounts/{account}/uploads"
    first = await client.post(path, content=b"--boundary-1", headers=headers)
    again = await client.post(path, content=b"--boundary-2", headers=headers)
    assert (first.status_code, again.status_code, again.content) == (204, 204, b"")
    assert await count(client, account) == 1


async def test_an_open_route_needs_no_caller(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    got = await client.post(f"/api/v1/accounts/{new_id()}/gifts", json={"minutes": 1})
    assert got.status_code == 200


async def test_old_answers_are_purged(client: httpx.AsyncClient, running: Running, database: Database) -> None:
    account, key = new_id(), new_id()
    await post(client, account, 60, key)
    async with database.transaction() as connection:
        await connection.execute(
            update(idempotency)
            .where(idempotency.c.key_ == key)
            .values(created_at=datetime.now(UTC) - timedelta(days=7, minutes=1))
        )
    await purge_idempotency(running)
    assert "idempotency-replayed" not in (await post(client, account, 60, key)).headers


async def test_prefer_wait_gives_the_settled_result(client: httpx.AsyncClient) -> None:
    client.headers["Prefer"] = "respond-async, wait=1"
    settled = await post(client, new_id(), 60, None, note="settles")
    assert settled.json()["settled"] is True
    assert settled.headers["preference-applied"] == "wait=1"
    started = asyncio.get_running_loop().time()
    unsettled = await post(client, new_id(), 60, None, note="never settles")
    assert unsettled.json()["settled"] is False
    assert 0.9 < asyncio.get_running_loop().time() - started < 2.5


async def test_reading_with_the_own_token_needs_no_wait(client: httpx.AsyncClient) -> None:
    account = new_id()
    token = (await post(client, account, 60, None)).headers["consistency-token"]
    got = await client.get(f"/api/v1/accounts/{account}/events", headers={"Consistency-Token": token})
    assert got.json() == 1


def token_of_others(stream: str, version: int, key: str = ENCRYPTION_KEY) -> str:
    token = Tokens(key).of("others", [StreamVersion("leave.other.v1", stream, version)])
    assert token is not None
    return token


async def seen(database: Database, consumer: str, stream: str, version: int) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            insert(consumer_versions).values(consumer=consumer, stream=stream, log_epoch=1, version=version)
        )


async def test_a_read_waits_until_every_reader_of_the_topic_has_the_version(
    client: httpx.AsyncClient, database: Database
) -> None:
    stream = f"other-{new_id()}"
    token = token_of_others(stream, 2)
    await seen(database, "views", stream, 2)
    reading = asyncio.create_task(client.get("/api/v1/accounts/1/events", headers={"Consistency-Token": token}))
    await asyncio.sleep(0.3)
    assert not reading.done()
    await seen(database, "reactor", stream, 3)
    assert (await asyncio.wait_for(reading, 0.5)).status_code == 200


async def test_a_read_that_waits_in_vain_is_504(client: httpx.AsyncClient) -> None:
    token = token_of_others(f"other-{new_id()}", 1)
    got = await client.get("/api/v1/accounts/1/events", headers={"Consistency-Token": token})
    assert (got.status_code, got.json()["code"]) == (504, "not-caught-up")


async def test_a_token_that_no_command_gave_out_tells_nothing_of_a_stream(
    client: httpx.AsyncClient, database: Database
) -> None:
    stream = f"other-{new_id()}"
    for consumer in ("views", "reactor"):
        await seen(database, consumer, stream, 2)
    told = token_of_others(stream, 2)
    for token in ("nonsense", told.partition(".")[0], token_of_others(stream, 2, "another key, which is long enough")):
        got = await client.get("/api/v1/accounts/1/events", headers={"Consistency-Token": token})
        assert (got.status_code, got.json()["code"]) == (400, "bad-consistency-token")
    assert (await client.get("/api/v1/accounts/1/events", headers={"Consistency-Token": told})).status_code == 200


async def test_health_names_what_is_down(client: httpx.AsyncClient) -> None:
    got = await client.get("/health")
    checks = got.json()["checks"]
    assert got.status_code == 503
    assert {name: check["status"] for name, check in checks.items()} == {
        "database": "up",
        "redis": "up",
        "kafka": "down",
    }
    assert checks["database"]["latency_ms"] > 0
    assert (await client.get("/readyz")).status_code == 200
    assert b'db_pool_connections{state="idle"}' in (await client.get("/metrics")).content
