"""The gateway's public API, as a program uses it: tokens, idempotency keys, and patience with what passes by itself."""

import asyncio
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from lms.cli.system import LOADER

PATIENCE = 600.0
"""Seconds for which a request that fails for a passing reason is repeated."""

_LONGEST_REQUEST = 60.0
_LONGEST_PAUSE = 2.0
_RETRY = frozenset({429, 500, 502, 503, 504})
_LOST_RACE = "concurrency-conflict"


class LoadFailed(Exception):
    """The gateway refused something that the demo company needs, or did not answer for too long."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said; `business_date` is that of the service which answered, where its clock can be moved."""

    status: int
    body: Any
    asked: str
    business_date: str | None = None

    @property
    def good(self) -> bool:
        """Whether it said yes."""
        return self.status < 300  # noqa: PLR2004  # the HTTP classes

    @property
    def code(self) -> str:
        """Why it said no, in the API's words."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""

    def wanted(self) -> Any:
        """Return the body. Raises LoadFailed unless the answer is yes."""
        if not self.good:
            raise LoadFailed(f"{self.asked} answered {self.status}: {str(self.body)[:600]}")
        return self.body


class Gateway:
    """The API for a service account that may act for others; use it as an async context manager.

    Every command carries an idempotency key and is repeated under it while the answer is 429, 5xx, a lost race or none
    at all: so each has one effect, however often it is sent.
    """

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret
        self._tokens: dict[str | None, tuple[float, str]] = {}
        self._signing_in = asyncio.Lock()
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            base_url=self._url,
            timeout=aiohttp.ClientTimeout(total=_LONGEST_REQUEST),
            connector=aiohttp.TCPConnector(limit=0),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, *, person: str | None = None) -> Any:
        """Return what a path shows to a person, or to the service account."""
        return (await self._insist("GET", path, person, {})).wanted()

    async def pages(self, path: str, *, person: str | None = None) -> list[Any]:
        """Return all items of a list; `path` has a query already."""
        items: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self.get(f"{path}&limit=200" + (f"&cursor={cursor}" if cursor else ""), person=person)
            items += page["items"]
            cursor = page["next_cursor"]
        return items

    async def send(
        self, path: str, body: Any, key: str, *, person: str | None = None, method: str = "POST", prefer: str = ""
    ) -> Answer:
        """Send a command as a person, or as the service account."""
        headers = {"Idempotency-Key": key, **({"Prefer": prefer} if prefer else {})}
        return await self._insist(method, path, person, headers, json=body)

    async def post(self, path: str, body: Any, key: str, *, person: str | None = None) -> Any:
        """Send a command that must succeed; return its answer's body."""
        return (await self.send(path, body, key, person=person)).wanted()

    async def upload(self, path: str, content: bytes, key: str) -> Any:
        """Send a file that must be taken; return the answer's body."""
        return (await self._insist("POST", path, None, {"Idempotency-Key": key}, file=content)).wanted()

    async def business_date(self, path: str) -> str | None:
        """Return the business date of the service behind a path."""
        return (await self._insist("GET", path, None, {})).business_date

    async def _insist(
        self, method: str, path: str, person: str | None, headers: dict[str, str], **content: Any
    ) -> Answer:
        until, pause, last = time.monotonic() + PATIENCE, 0.05, "no answer"
        while True:
            try:
                token = await self._token(person)
                answer = await self._once(method, path, {**headers, "Authorization": f"Bearer {token}"}, **content)
            except (aiohttp.ClientError, TimeoutError) as error:
                last = f"{type(error).__name__}: {error}"
            else:
                if answer.status not in _RETRY and answer.code != _LOST_RACE and answer.status != 401:  # noqa: PLR2004
                    return answer
                if answer.status == 401:  # noqa: PLR2004  # the token has run out
                    self._tokens.pop(person, None)
                last = f"{answer.status} {answer.body}"
            if time.monotonic() > until:
                raise LoadFailed(f"{method} {path} does not come through in {PATIENCE:.0f} s: {last[:600]}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _once(
        self, method: str, path: str, headers: dict[str, str], *, json: Any = None, file: bytes | None = None
    ) -> Answer:
        data = None
        if file is not None:
            data = aiohttp.FormData()
            data.add_field("file", file, filename="people.csv", content_type="text/csv")
        async with self._session.request(method, f"/api/v1{path}", headers=headers, json=json, data=data) as answer:
            body = await answer.json(content_type=None) if answer.content_length != 0 else None
            return Answer(answer.status, body, f"{method} {path}", answer.headers.get("Business-Date"))

    async def _token(self, person: str | None) -> str:
        """Return a token of the service account, or one to act for a person; a new one in good time."""
        until, token = self._tokens.get(person, (0.0, ""))
        if time.monotonic() < until:
            return token
        if person is not None:
            headers = {"Authorization": f"Bearer {await self._token(None)}"}
            return self._kept(person, await self._once("POST", "/auth/act-for", headers, json={"employee_id": person}))
        async with self._signing_in:
            until, token = self._tokens.get(None, (0.0, ""))
            if time.monotonic() < until:
                return token
            body = {"client_id": LOADER, "client_secret": self._secret}
            return self._kept(None, await self._once("POST", "/auth/token", {}, json=body))

    def _kept(self, person: str | None, answer: Answer) -> str:
        if answer.status in _RETRY:
            raise aiohttp.ClientConnectionError(f"no token: {answer.status}")
        found = answer.wanted()
        token = str(found["access_token"])
        self._tokens[person] = (time.monotonic() + found["expires_in"] - _LONGEST_REQUEST, token)
        return token
