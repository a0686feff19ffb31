"""The hop to a service: which copy, which headers, and what to do when a copy is away.

A request goes to the copies in turn. A copy that cannot be reached is left out for a while, and the request goes to the
next one: nothing was sent. After a connection that broke later it is sent again only where a repetition is harmless.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

import aiohttp
from prometheus_client import Counter
from starlette.types import Send
from yarl import URL

from lms.kernel.errors import DomainError, Unavailable

RETRIED = Counter("gateway_retries_total", "Requests sent again to another copy", ("upstream", "cause"))
EJECTED = Counter("gateway_ejections_total", "Copies left out because they could not be reached", ("upstream",))

FIRST_EJECTION = 0.5
LONGEST_EJECTION = 5.0
MOST_REPETITIONS = 2
"""How often a request is sent again after a broken connection."""

CHUNK = 64 * 1024

HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip

_OURS = frozenset(
    {
        b"authorization", b"content-length", b"cookie", b"expect", b"forwarded", b"host", b"traceparent",
        b"x-csrf-token", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"x-request-id",
    }
)  # fmt: skip
"""Headers of a request that the gateway writes itself, or keeps to itself."""

_THEIRS = frozenset({b"date", b"server", b"traceparent", b"x-request-id"})
"""Headers of an answer that the gateway writes itself."""

_SIGNING_IN = frozenset({b"cookie", b"x-csrf-token"})


class UpstreamTimeout(DomainError):
    """The service did not answer in time; whether it did what was asked is not known."""

    code = "upstream-timeout"
    status = 504


class Request(NamedTuple):
    """What is sent to a service; `target` is the raw path with its query, `repeatable` whether it may arrive twice."""

    service: str
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    repeatable: bool


class Origin(NamedTuple):
    """Where a request came from, as the services are told."""

    forwarded_for: str
    proto: str
    host: str
    request_id: str
    traceparent: str | None


def without_hops(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers without those that concern one connection only, and those that Connection names."""
    found = [(name.lower(), value) for name, value in headers]
    named = {part.strip().lower() for name, value in found if name == b"connection" for part in value.split(b",")}
    return [(name, value) for name, value in found if name not in HOP_BY_HOP and name not in named]


def inward(
    headers: Iterable[tuple[bytes, bytes]], origin: Origin, *, token: str | None, signing_in: bool
) -> list[tuple[str, str]]:
    """Return the headers of a request as the service gets them.

    The token goes on as a bearer token, however it came; cookies go on only to the paths that sign people in and out.
    """
    kept = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in without_hops(headers)
        if name not in _OURS or (signing_in and name in _SIGNING_IN)
    ]
    kept += [
        ("x-forwarded-for", origin.forwarded_for),
        ("x-forwarded-proto", origin.proto),
        ("x-forwarded-host", origin.host),
        ("x-request-id", origin.request_id),
    ]
    if origin.traceparent:
        kept.append(("traceparent", origin.traceparent))
    if token:
        kept.append(("authorization", f"Bearer {token}"))
    return kept


def outward(headers: Iterable[tuple[bytes, bytes]], *, signing_in: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer as the client gets them; cookies are set only by signing in and out."""
    return [
        (name, value)
        for name, value in without_hops(headers)
        if name not in _THEIRS and (signing_in or name != b"set-cookie")
    ]


@dataclass
class Copy:
    """One copy of a service; it is left out until the instant `out_until` (monotonic seconds)."""

    url: str
    out_until: float = 0.0
    ejection: float = field(default=FIRST_EJECTION)


class Rotation:
    """The copies of a service, in turn."""

    def __init__(self, service: str, urls: Iterable[str]) -> None:
        self.service = service
        self.copies = [Copy(url) for url in urls]
        EJECTED.labels(service)
        for cause in ("unreachable", "broken"):
            RETRIED.labels(service, cause)
        self._turn = 0

    def order(self, now: float) -> list[Copy]:
        """Return the copies in the order to try them: those in service from the next one on, then the others."""
        self._turn = (self._turn + 1) % len(self.copies)
        turned = self.copies[self._turn :] + self.copies[: self._turn]
        return sorted(turned, key=lambda copy: copy.out_until > now)

    def unreachable(self, copy: Copy, now: float) -> None:
        """Leave a copy out, each time in a row for twice as long."""
        if copy.out_until <= now:
            copy.out_until = now + copy.ejection
            copy.ejection = min(copy.ejection * 2, LONGEST_EJECTION)
            EJECTED.labels(self.service).inc()

    def reached(self, copy: Copy) -> None:
        """Take a copy back."""
        copy.out_until, copy.ejection = 0.0, FIRST_EJECTION


class Upstreams:
    """The services and the connections to them. Built inside the event loop."""

    def __init__(self, urls: dict[str, tuple[str, ...]], *, timeout: float, connect_timeout: float) -> None:
        self._rotations = {service: Rotation(service, copies) for service, copies in urls.items()}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, sock_read=timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            raise_for_status=False,
        )

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services."""
        return tuple(self._rotations)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def open(self, request: Request) -> aiohttp.ClientResponse:
        """Send a request and return its answer, of which only the head has been read. The caller releases it.

        Raises Unavailable when no copy can be reached or the connection broke, UpstreamTimeout when none answers.
        """
        rotation = self._rotations[request.service]
        repetitions = 0
        waiting = rotation.order(time.monotonic())
        while waiting:
            copy = waiting.pop(0)
            try:
                answer = await self._session.request(
                    request.method,
                    URL(copy.url + request.target, encoded=True),
                    headers=request.headers,
                    data=_payload(request.body),
                    allow_redirects=False,
                )
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                rotation.unreachable(copy, time.monotonic())
                RETRIED.labels(request.service, "unreachable").inc()
            except TimeoutError:
                raise UpstreamTimeout(f"The {request.service} service did not answer in time.") from None
            except aiohttp.ClientError:
                if not request.repeatable:
                    raise Unavailable(
                        f"The connection to the {request.service} service broke; it may have done what was asked. "
                        "Commands with an Idempotency-Key are repeated by themselves."
                    ) from None
                repetitions += 1
                if repetitions > MOST_REPETITIONS:
                    break
                waiting.append(copy)
                RETRIED.labels(request.service, "broken").inc()
            else:
                rotation.reached(copy)
                return answer
        raise Unavailable(f"The {request.service} service is away; repeat the request a little later.")

    async def fetch(self, service: str, path: str, seconds: float) -> bytes:
        """Return the body of a GET. Raises Unavailable or UpstreamTimeout, or OSError for any answer but 200."""
        try:
            async with asyncio.timeout(seconds):
                answer = await self.open(Request(service, "GET", path, [], b"", repeatable=True))
                try:
                    body = await answer.read()
                finally:
                    answer.release()
        except TimeoutError:
            raise UpstreamTimeout(f"The {service} service did not answer in time.") from None
        if answer.status != 200:  # noqa: PLR2004  # the HTTP status
            raise OSError(f"{service} answered {answer.status}")
        return body


def _payload(body: bytes) -> bytes | BytesIO | None:
    """Return a body as the client library sends it well: a large one piece by piece."""
    return (BytesIO(body) if len(body) > CHUNK else body) or None


async def relay(
    answer: aiohttp.ClientResponse, send: Send, headers: list[tuple[bytes, bytes]], *, signing_in: bool
) -> None:
    """Pass an answer on as it comes, with `headers` besides. Raises aiohttp.ClientError if it breaks off."""
    try:
        extra = {name for name, _ in headers if name != b"vary"}
        kept = [pair for pair in outward(answer.raw_headers, signing_in=signing_in) if pair[0] not in extra]
        await send({"type": "http.response.start", "status": answer.status, "headers": kept + headers})
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        answer.release()
