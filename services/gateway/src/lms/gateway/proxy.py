"""The hop to a service: which copy, which headers, and what to do when a copy is away.

A request goes to the copies in turn. Each copy is asked twice a second whether it takes requests (`/readyz`), and one
that does not is passed over before it stops listening, so that a restart costs no request. A copy that cannot be
reached is left out for a while, and the request goes to the next one: nothing was sent. After a connection that broke
later it is sent again only where a repetition is harmless. A name that has several addresses (a headless Service, the
replicas of `docker compose`) stands for so many copies.
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

import aiohttp
from prometheus_client import Counter, Gauge
from starlette.types import Send
from yarl import URL

from lms.kernel.errors import DomainError, Unavailable
from lms.kernel.tracing import current_traceparent, describe, failed, span

RETRIED = Counter("gateway_retries_total", "Requests sent again to another copy", ("upstream", "cause"))
EJECTED = Counter("gateway_ejections_total", "Copies left out because they could not be reached", ("upstream",))
READY = Gauge("gateway_ready_copies", "Copies of a service that say they take requests", ("upstream",))

PROBE_SECONDS = 1.0
"""How long a copy may take to say that it is ready."""
RESOLVE_SECONDS = 5.0
"""How often the names of the services are looked up again."""

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

_THEIRS = frozenset({b"date", b"server", b"surrogate-control", b"traceparent", b"x-request-id"})
"""Headers of an answer that the gateway writes itself, or that are meant for it alone."""

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
    """One copy of a service, at `address` where its URL's name has several.

    It is passed over while it says that it is not `ready`, and left out until the instant `out_until` (monotonic
    seconds).
    """

    url: str
    address: str = ""
    ready: bool = True
    out_until: float = 0.0
    ejection: float = field(default=FIRST_EJECTION)

    def to(self, target: str) -> tuple[URL, list[tuple[str, str]]]:
        """Return the URL of a raw path at this copy, and the headers that it needs."""
        url = URL(self.url + target, encoded=True)
        if not self.address:
            return url, []
        return url.with_host(self.address), [("host", URL(self.url).authority)]


class Rotation:
    """The copies of a service, in turn."""

    def __init__(self, service: str, urls: Iterable[str]) -> None:
        self.service = service
        self.urls = tuple(urls)
        self.copies = [Copy(url) for url in self.urls]
        EJECTED.labels(service)
        for cause in ("unreachable", "broken"):
            RETRIED.labels(service, cause)
        self._turn = 0

    def order(self, now: float) -> list[Copy]:
        """Return the copies in the order to try them: those in service from the next one on, then the others."""
        self._turn = (self._turn + 1) % len(self.copies)
        turned = self.copies[self._turn :] + self.copies[: self._turn]
        return sorted(turned, key=lambda copy: (not copy.ready, copy.out_until > now))

    def unreachable(self, copy: Copy, now: float) -> None:
        """Leave a copy out, each time in a row for twice as long."""
        if copy.out_until <= now:
            copy.out_until = now + copy.ejection
            copy.ejection = min(copy.ejection * 2, LONGEST_EJECTION)
            EJECTED.labels(self.service).inc()

    def reached(self, copy: Copy) -> None:
        """Take a copy back."""
        copy.out_until, copy.ejection = 0.0, FIRST_EJECTION

    def found(self, addresses: dict[str, list[str] | None]) -> None:
        """Have as many copies of each URL as its name has addresses (None: not known, the copies stay as they are).

        What is known of a copy is kept.
        """
        known = {(copy.url, copy.address): copy for copy in self.copies}
        wanted: list[tuple[str, str]] = []
        for url in self.urls:
            of_url = addresses.get(url)
            if of_url is None:
                wanted += [one for one in known if one[0] == url]
            else:
                wanted += [(url, address) for address in (of_url if len(of_url) > 1 else [""])]
        self.copies = [known.get(one) or Copy(*one) for one in wanted]


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

    async def watch(self, every: float) -> None:
        """Ask every copy every so many seconds whether it takes requests, until cancelled."""
        resolve_at = 0.0
        while True:
            began = time.monotonic()
            if began >= resolve_at:
                resolve_at = began + RESOLVE_SECONDS
                await asyncio.gather(*(self._resolve(rotation) for rotation in self._rotations.values()))
            await asyncio.gather(*(self._probe_all(rotation) for rotation in self._rotations.values()))
            await asyncio.sleep(max(0.0, began + every - time.monotonic()))

    async def _resolve(self, rotation: Rotation) -> None:
        found = await asyncio.gather(*(_addresses(url) for url in rotation.urls))
        rotation.found(dict(zip(rotation.urls, found, strict=True)))

    async def _probe_all(self, rotation: Rotation) -> None:
        found = await asyncio.gather(*(self._is_ready(copy) for copy in rotation.copies))
        for copy, ready in zip(rotation.copies, found, strict=True):
            copy.ready = ready
            if ready:
                rotation.reached(copy)
        READY.labels(rotation.service).set(sum(found))

    async def _is_ready(self, copy: Copy) -> bool:
        url, headers = copy.to("/readyz")
        try:
            async with (
                asyncio.timeout(PROBE_SECONDS),
                self._session.get(url, headers=headers, allow_redirects=False) as answer,
            ):
                return answer.status == 200  # noqa: PLR2004  # the HTTP status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def open(self, request: Request) -> aiohttp.ClientResponse:
        """Send a request and return its answer, of which only the head has been read. The caller releases it.

        Raises Unavailable when no copy can be reached or the connection broke, UpstreamTimeout when none answers.
        """
        rotation = self._rotations[request.service]
        repetitions = resent = 0
        waiting = rotation.order(time.monotonic())
        while waiting:
            copy = waiting.pop(0)
            try:
                answer = await self._send(request, copy, resent)
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
            resent += 1
        raise Unavailable(f"The {request.service} service is away; repeat the request a little later.")

    async def _send(self, request: Request, copy: Copy, resent: int) -> aiohttp.ClientResponse:
        """Send a request to one copy, as a span of its own that the service's belongs to."""
        url, headers = copy.to(request.target)
        attributes: dict[str, str | int] = {
            "http.request.method": request.method,
            "peer.service": request.service,
            "server.address": url.host or "",
            "server.port": url.port or 0,
            **({"http.request.resend_count": resent} if resent else {}),
        }
        with span(f"{request.method} {request.service}", kind="client", attributes=attributes) as current:
            traceparent = current_traceparent()
            answer = await self._session.request(
                request.method,
                url,
                headers=[*request.headers, *headers, *([("traceparent", traceparent)] if traceparent else [])],
                data=_payload(request.body),
                allow_redirects=False,
            )
            describe(current, {"http.response.status_code": answer.status})
            if answer.status >= 500:  # noqa: PLR2004  # the HTTP status
                failed(current, str(answer.status))
            return answer

    async def fetch(self, service: str, path: str, seconds: float, accepted: tuple[int, ...] = (200,)) -> bytes:
        """Return the body of a GET. Raises Unavailable or UpstreamTimeout, or OSError for a status not `accepted`."""
        try:
            async with asyncio.timeout(seconds):
                answer = await self.open(Request(service, "GET", path, [], b"", repeatable=True))
                try:
                    body = await answer.read()
                finally:
                    answer.release()
        except TimeoutError:
            raise UpstreamTimeout(f"The {service} service did not answer in time.") from None
        if answer.status not in accepted:
            raise OSError(f"{service} answered {answer.status}")
        return body


async def _addresses(url: str) -> list[str] | None:
    """Return the addresses of a URL's name, in one family; none for what is an address; None if it has none now.

    Only of plain HTTP: a certificate names the host.
    """
    parsed = URL(url)
    if parsed.scheme != "http" or not parsed.host or _is_address(parsed.host):
        return []
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parsed.host, parsed.port, type=socket.SOCK_STREAM)
    except OSError:
        return None
    families = {family for family, *_ in found}
    chosen = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    return sorted({str(address[0]) for family, *_, address in found if family == chosen})


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _payload(body: bytes) -> bytes | BytesIO | None:
    """Return a body as the client library sends it well: a large one piece by piece."""
    return (BytesIO(body) if len(body) > CHUNK else body) or None


async def relay(
    answer: aiohttp.ClientResponse,
    send: Send,
    headers: list[tuple[bytes, bytes]],
    *,
    signing_in: bool,
    content: bytes | None = None,
) -> None:
    """Pass an answer on as it comes, with `headers` besides. Raises aiohttp.ClientError if it breaks off.

    `content`, if there is any, goes in the place of its body.
    """
    try:
        if content is not None:
            headers = [*headers, (b"content-length", str(len(content)).encode())]
        extra = {name for name, _ in headers if name != b"vary"}
        kept = [pair for pair in outward(answer.raw_headers, signing_in=signing_in) if pair[0] not in extra]
        await send({"type": "http.response.start", "status": answer.status, "headers": kept + headers})
        if content is not None:
            await send({"type": "http.response.body", "body": content})
            return
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        answer.release()
