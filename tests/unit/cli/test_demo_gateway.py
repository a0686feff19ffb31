"""The demo's client of the gateway has the same patience with every request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from lms.cli.demo import gateway
from lms.cli.demo.gateway import Gateway, LoadFailed

TOKEN = {"access_token": "t", "expires_in": 900}


class Reply:
    """An answer on paper."""

    def __init__(self, status: int, body: Any, **headers: str) -> None:
        self.status, self._body, self.content_length = status, body, None
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def json(self, content_type: str | None) -> Any:
        assert content_type is None
        return self._body


class Session:
    """Gives tokens, and what is on paper to everything else, in its order; then the last of it for ever."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self._replies = list(replies)

    @asynccontextmanager
    async def request(self, method: str, path: str, **_: Any) -> AsyncIterator[Reply]:
        assert method
        if path.endswith("/auth/token"):
            yield Reply(200, TOKEN)
            return
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if isinstance(reply, Exception):
            raise reply
        yield reply

    def get(self, path: str, **_: Any) -> Any:
        return self.request("GET", path)


def asking(*replies: Reply | Exception) -> Gateway:
    made = Gateway("http://gateway", "secret")
    made._session = Session(*replies)  # type: ignore[assignment]  # on paper
    return made


async def test_a_business_date_is_asked_for_again_when_the_connection_is_lost_or_the_service_is_away() -> None:
    client = asking(
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
        Reply(503, {"code": "unavailable"}),
        Reply(200, {"items": []}, Business_Date="2026-03-02"),
    )
    assert await client.business_date("/departments?limit=1") == "2026-03-02"


async def test_a_service_that_does_not_tell_its_business_date_has_none() -> None:
    assert await asking(Reply(200, {"items": []})).business_date("/departments?limit=1") is None


async def test_patience_ends_with_a_failure_that_the_commands_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "PATIENCE", 0.0)
    with pytest.raises(LoadFailed, match=r"GET /departments does not come through in 0 s: ServerDisconnectedError"):
        async with asyncio.timeout(5):
            await asking(aiohttp.ServerDisconnectedError()).business_date("/departments")
