"""Answers that the gateway gives again, until what they rest on has changed: real ports, and a real Redis."""

import itertools
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from redis.asyncio import Redis
from starlette.types import Scope, Send
from tests.integration.gateway.conftest import Upstream, bearer, free_port, gateway, serving

from lms.kernel.clock import write_offset
from lms.kernel.hints import EVERYBODY, give

PATH = "/api/v1/balances"


@pytest.fixture
def anna() -> str:
    return f"anna-{uuid.uuid4()}"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """The Redis of the gateways."""
    async with Redis.from_url(redis_url) as client:
        yield client


class Balances(Upstream):
    """Answers with the number of times that it was asked, and lets that be kept for `seconds`."""

    def __init__(self, seconds: int | None = 60, status: int = 200, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(behave=self._count)
        self.seconds = seconds
        self.status = status
        self.more = more
        self._times = itertools.count(1)

    async def _count(self, _scope: Scope, send: Send) -> bool:
        body = b'{"asked": %d}' % next(self._times)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *self.more]
        if self.seconds is not None:
            headers.append((b"surrogate-control", f"max-age={self.seconds}".encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True


@pytest.fixture
async def balances() -> AsyncIterator[Balances]:
    async with serving(Balances()) as found:
        assert isinstance(found, Balances)
        yield found


async def asked(client: httpx.AsyncClient, person: str, path: str = PATH, **headers: str) -> int:
    """Return the number in the answer that a person gets: how often the service had been asked by then."""
    answer = await client.get(path, headers={**bearer(person), **headers})
    return int(answer.json()["asked"])


async def test_an_answer_is_given_again_with_its_age_and_the_limit_of_the_new_request(
    redis_url: str, balances: Balances, anna: str
) -> None:
    async with gateway(redis_url, balances.url) as client:
        first = await client.get(PATH, headers=bearer(anna))
        again = await client.get(PATH, headers={**bearer(anna), "X-Request-ID": "request-5678"})
    assert first.json() == again.json() == {"asked": 1}
    assert again.headers["content-type"] == "application/json"
    assert int(again.headers["age"]) < 60
    assert "age" not in first.headers
    assert again.headers["x-request-id"] == "request-5678"
    remaining = [int(one.headers["ratelimit"].split("r=")[1].split(";")[0]) for one in (first, again)]
    assert remaining[1] == remaining[0] - 1
    assert "surrogate-control" not in first.headers
    assert "surrogate-control" not in again.headers


@pytest.mark.parametrize("about_everybody", [False, True])
async def test_a_hint_about_the_caller_or_everybody_ends_an_answer(
    redis_url: str, redis: Redis, balances: Balances, anna: str, about_everybody: bool
) -> None:
    async with gateway(redis_url, balances.url) as client:
        for number in range(1, 4):
            assert [await asked(client, anna), await asked(client, anna)] == [number, number]
            await give(redis, "balances", [EVERYBODY if about_everybody else anna])


async def test_hints_about_others_and_of_other_services_end_nothing(
    redis_url: str, redis: Redis, balances: Balances, anna: str
) -> None:
    async with gateway(redis_url, balances.url) as client:
        assert await asked(client, anna) == 1
        await give(redis, "balances", [f"ben-{anna}"])
        await give(redis, "requests", [anna, EVERYBODY])
        assert await asked(client, anna) == 1


async def test_an_answer_that_was_made_before_a_hint_is_not_given_after_it(
    redis_url: str, redis: Redis, balances: Balances, anna: str
) -> None:
    answer_in = balances._count

    async def overtaken(scope: Scope, send: Send) -> bool:
        await give(redis, "balances", [anna])
        return await answer_in(scope, send)

    async with gateway(redis_url, balances.url) as client:
        balances.behave = overtaken
        assert await asked(client, anna) == 1
        balances.behave = answer_in
        assert [await asked(client, anna), await asked(client, anna)] == [2, 2]


async def test_another_person_or_another_question_gets_an_answer_of_its_own(
    redis_url: str, balances: Balances, anna: str
) -> None:
    async with gateway(redis_url, balances.url) as client:
        seen = [
            await asked(client, anna),
            await asked(client, f"ben-{anna}"),
            await asked(client, anna, f"{PATH}?as_of=2026-01-01"),
            await asked(client, anna, f"{PATH}?as_of=2026-01-02"),
        ]
        assert seen == [1, 2, 3, 4]
        assert await asked(client, anna, f"{PATH}?as_of=2026-01-01") == 3


async def test_another_business_date_gets_an_answer_of_its_own(redis_url: str, redis: Redis, anna: str) -> None:
    """An answer of a service that does not follow the clock yet is not kept for the new day."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat().encode()
    async with (
        serving(Balances(more=((b"business-date", tomorrow),))) as ahead,
        gateway(redis_url, ahead.url) as client,
    ):
        assert [await asked(client, anna), await asked(client, anna)] == [1, 2]
        try:
            await write_offset(redis, timedelta(days=1))
            assert [await asked(client, anna), await asked(client, anna)] == [3, 3]
        finally:
            await write_offset(redis, timedelta())
        assert await asked(client, anna) == 4


@pytest.mark.parametrize(
    "header", [{"Cache-Control": "no-cache"}, {"Consistency-Token": "balances.x.1"}, {"If-None-Match": '"1"'}]
)
async def test_whoever_may_not_wait_is_answered_by_the_service(
    redis_url: str, balances: Balances, anna: str, header: dict[str, str]
) -> None:
    async with gateway(redis_url, balances.url) as client:
        assert [await asked(client, anna), await asked(client, anna, **header)] == [1, 2]


@pytest.mark.parametrize(
    "unkept",
    [Balances(seconds=None), Balances(seconds=0), Balances(status=404)],
    ids=["the service says nothing", "no seconds", "a refusal"],
)
async def test_what_may_not_be_kept_is_asked_each_time(redis_url: str, anna: str, unkept: Balances) -> None:
    async with serving(unkept) as upstream, gateway(redis_url, upstream.url) as client:
        assert await asked(client, anna) < await asked(client, anna)


async def test_an_answer_runs_out(redis_url: str, redis: Redis, balances: Balances, anna: str) -> None:
    async with gateway(redis_url, balances.url) as client:
        await asked(client, anna)
        (key,) = [one async for one in redis.scan_iter(f"*{anna}:{PATH}*")]
        assert 0 < await redis.ttl(key) <= 60
        await redis.delete(key)
        assert await asked(client, anna) == 2


async def test_without_redis_the_service_answers(balances: Balances, anna: str) -> None:
    async with gateway(f"redis://127.0.0.1:{free_port()}/0", balances.url) as client:
        assert [await asked(client, anna), await asked(client, anna)] == [1, 2]


async def test_nobody_gets_an_answer_without_a_valid_token(redis_url: str, balances: Balances, anna: str) -> None:
    async with gateway(redis_url, balances.url) as client:
        assert await asked(client, anna) == 1
        refused = await client.get(PATH, headers={"Authorization": f"{bearer(anna)['Authorization']}x"})
    assert refused.status_code == 401
