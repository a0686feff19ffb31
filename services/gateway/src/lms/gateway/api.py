"""The door: what the gateway answers itself, and what it sends on to the services.

`/api/v1/…` goes through authentication, the rate limit, the role gate and maintenance to a service. `/openapi.json`,
`/docs`, `/admin/…` and the live updates are answered here. `/health` and `/metrics` tell their details only to callers
from inside; the other probes are the kernel's; whatever is left is the web app's.
"""

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any, NamedTuple, cast

import aiohttp
import orjson
import structlog
from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lms.gateway import routes, security
from lms.gateway.admin import SCOPE, maintenance_of
from lms.gateway.cache import Cache, Entry, Place, seconds_to_keep
from lms.gateway.limits import Limiter, TooManyRequests, limit_headers
from lms.gateway.live import Live
from lms.gateway.openapi import whole
from lms.gateway.preview import preview
from lms.gateway.proxy import Origin, Request, Upstreams, inward, outward, relay
from lms.gateway.settings import Settings
from lms.gateway.web import Web
from lms.kernel.auth import Caller, TokenVerifier
from lms.kernel.errors import DomainError, Forbidden, NotFound, TooLarge, Unauthenticated
from lms.kernel.health import PartsDown
from lms.kernel.http import PROBES, RequestTrail
from lms.kernel.metrics import announce_routes
from lms.kernel.problems import problem_response
from lms.kernel.service import Process

DOCUMENT_SECONDS = 60.0
"""How long the union of the services' OpenAPI documents is kept; an incomplete one only for a second."""
HEALTH_SECONDS = 1.4

_PAGE = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>LMS API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css"></head><body><div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
_START = b"SwaggerUIBundle({url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true});\n"
_ASSETS = {"/docs/swagger-ui.css": "text/css", "/docs/swagger-ui-bundle.js": "text/javascript"}

_log = structlog.get_logger(__name__)

HeaderList = list[tuple[bytes, bytes]]


class Gone(Exception):
    """The client left before its request was complete."""


class Admitted(NamedTuple):
    """Who may pass: the token to send on, and on paths that are not public the caller as the services see them."""

    token: str | None
    caller: Caller | None = None
    credentials: security.Credentials | None = None


def wrap(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Put the door in front of the kernel's application."""
    return Door(cast("FastAPI", app), settings)


async def check(process: Process, service: str) -> Mapping[str, Any]:
    """Ask a service for its health; return what it says of its parts. Raises whatever stands against it."""
    body = await _upstreams_of(process).fetch(service, "/health", HEALTH_SECONDS, accepted=(200, 503))
    document = orjson.loads(body)
    parts: Mapping[str, Any] = document["checks"]
    if document["status"] != "healthy":
        raise PartsDown(parts)
    return parts


async def watch(process: Process) -> None:
    """Begin to watch the services and to follow maintenance, before the first request."""
    _upstreams_of(process)
    maintenance_of(process)


def _upstreams_of(process: Process) -> Upstreams:
    """Return the process's connections to the services, opened at the first call and closed when it stops."""
    found: Upstreams | None = getattr(process, "upstreams", None)
    if found is None:
        settings: Settings = process.settings
        found = Upstreams(
            settings.upstreams, timeout=settings.timeout_seconds, connect_timeout=settings.connect_timeout_seconds
        )
        vars(process)["upstreams"] = found
        process.spawn(_watched(found, settings.probe_seconds), "watch the services")
    return found


async def _watched(upstreams: Upstreams, every: float) -> None:
    try:
        await upstreams.watch(every)
    finally:
        await upstreams.close()


class Door:
    """The outermost application: protective headers on everything, and the way to each answer."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        process: Process = app.state.runtime
        self._kernel = app
        self._settings = settings
        self._sent_on = RequestTrail(SentOn(process, app.state.verifier, settings))
        self._pages = RequestTrail(Pages(process, app))
        self._web = RequestTrail(Web(settings.web_folder))
        self._protective = security.protective(tls=settings.tls)
        self._docs = security.protective(tls=settings.tls, policy=security.DOCS_POLICY)
        self._pages_of_web = security.protective(tls=settings.tls, policy=security.WEB_POLICY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._kernel(scope, receive, send)
            return
        path: str = scope["path"]
        origin = security.first(scope["headers"], b"origin") if self._settings.origins else None
        documented = path in {"/openapi.json", "/docs"} or path.startswith("/docs/")
        of_web = not (documented or path in PROBES or path.startswith(("/api/", "/admin/")))
        extra = self._pages_of_web if of_web else self._docs if path.startswith("/docs") else self._protective
        extra = extra + security.sharing(origin, self._settings.origins)

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*_without(message.get("headers", ()), extra), *extra]
            await send(message)

        if of_web:
            await self._web(scope, receive, protected)
        elif path.startswith("/api/"):
            await self._sent_on(scope, receive, protected)
        elif documented:
            await self._pages(scope, receive, protected)
        elif path in {"/health", "/metrics"} and not self._inside(scope):
            await self._outside(path, scope, receive, protected)
        else:
            await self._kernel(scope, receive, protected)

    def _inside(self, scope: Scope) -> bool:
        return security.is_inside(_peer(scope), security.first(scope["headers"], b"x-forwarded-for"))

    async def _outside(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell somebody from outside how the system does, and nothing of its parts."""
        if path == "/metrics":
            await problem_response(NotFound("There is no such page."), scope)(scope, receive, send)
            return
        status = 200

        async def status_only(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        await self._kernel(scope, receive, status_only)
        said = {"status": "healthy" if status == 200 else "unhealthy"}  # noqa: PLR2004  # the HTTP status
        await Response(orjson.dumps(said), status, media_type="application/json")(scope, receive, send)


class Pages:
    """The API's documentation: one document, and Swagger UI from the package, not from anybody's network."""

    def __init__(self, process: Process, app: FastAPI) -> None:
        self._process = process
        self._app = app
        self._known: dict[str, dict[str, Any]] = {}
        self._document: tuple[float, bytes] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["lms.route"] = "/openapi.json" if scope["path"] == "/openapi.json" else "/docs"
        try:
            response = await self._page(scope["path"])
        except DomainError as error:
            response = problem_response(error, scope)
        await response(scope, receive, send)

    async def _page(self, path: str) -> Response:
        if path == "/openapi.json":
            return Response(await self._union(), media_type="application/json")
        if path == "/docs":
            return Response(_PAGE, media_type="text/html")
        if path == "/docs/start.js":
            return Response(_START, media_type="text/javascript")
        if path not in _ASSETS:
            raise NotFound("There is no such page.")
        content = files("fastapi_offline").joinpath("static", path.removeprefix("/docs/")).read_bytes()
        return Response(content, media_type=_ASSETS[path], headers={"Cache-Control": "max-age=86400"})

    async def _union(self) -> bytes:
        if self._document is not None and time.monotonic() < self._document[0]:
            return self._document[1]
        services = _upstreams_of(self._process).services
        complete = all(await asyncio.gather(*(self._read(service) for service in services)))
        content = orjson.dumps(whole(self._known, self._app.openapi()))
        self._document = (time.monotonic() + (DOCUMENT_SECONDS if complete else 1.0), content)
        return content

    async def _read(self, service: str) -> bool:
        """Read a service's document; say whether that succeeded. Otherwise the last one that was read stands."""
        try:
            self._known[service] = orjson.loads(
                await _upstreams_of(self._process).fetch(service, "/openapi.json", seconds=3.0)
            )
        except (DomainError, OSError, orjson.JSONDecodeError) as error:
            _log.warning("a service's OpenAPI document could not be read", upstream=service, reason=error)
            return False
        return True


class SentOn:
    """Everything under /api: checked, counted, and sent on to its service."""

    def __init__(self, process: Process, verifier: TokenVerifier, settings: Settings) -> None:
        self._process = process
        self._verifier = verifier
        self._settings = settings
        self._limiter = Limiter(process.redis, settings)
        self._cache = Cache(process.redis, production=settings.production)
        self._live = Live(process)
        announce_routes((method, f"{routes.API}{one}") for one in routes.SERVICES for method in ("GET", "POST"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: HeaderList = []
        started = False

        async def with_start(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if _is_stream(message):
                    held.let_go()
            await send(message)

        try:
            with maintenance_of(self._process).counted() as held:
                await self._answer(scope, receive, with_start, headers)
        except Gone:
            return
        except Exception as error:
            if started:
                raise  # the server must cut the answer, so that nobody takes it for whole
            response = problem_response(error, scope)
            response.raw_headers.extend(headers)
            scope["lms.answered"] = True
            await response(scope, receive, send)
            if not isinstance(error, DomainError):
                raise

    async def _answer(self, scope: Scope, receive: Receive, send: Send, headers: HeaderList) -> None:
        where = routes.target(scope["path"])
        scope["lms.route"] = "unmatched" if where is None else f"{routes.API}{where.resource}"
        method: str = scope["method"]
        if method == "OPTIONS" and security.first(scope["headers"], b"access-control-request-method") is not None:
            await send({"type": "http.response.start", "status": 204, "headers": list(security.PREFLIGHT)})
            await send({"type": "http.response.body", "body": b""})
            return
        admitted = await self._admitted(scope, where, headers)
        if scope["path"] == routes.EVENTS and method == "GET":
            await self._stream(scope, receive, send, admitted)
            return
        if where is None:
            raise NotFound("There is no such resource.")
        kept = await self._cache.look(method, scope["path"], scope["query_string"], scope["headers"], admitted.caller)
        if isinstance(kept, Entry):
            about = [*kept.headers, (b"age", str(kept.age).encode()), *headers]
            await send({"type": "http.response.start", "status": 200, "headers": about})
            await send({"type": "http.response.body", "body": kept.body})
            return
        limit = self._settings.max_import_bytes if where.resource == "imports" else self._settings.max_body_bytes
        body = await _body(scope, receive, limit)
        signing_in = where.resource == "auth"
        keyed = security.first(scope["headers"], b"idempotency-key") is not None
        request = Request(
            where.service,
            method,
            _target(scope),
            inward(scope["headers"], self._origin(scope), token=admitted.token, signing_in=signing_in),
            body,
            routes.repeatable(method, keyed=keyed),
        )
        upstreams = _upstreams_of(self._process)
        answer = await upstreams.open(request)
        if scope["path"] == routes.PREVIEW and method == "POST" and answer.status == HTTPStatus.OK:
            await relay(answer, send, headers, signing_in=False, content=await preview(upstreams, request, answer))
        elif kept is not None and (seconds := seconds_to_keep(answer.status, answer.raw_headers)):
            await relay(answer, send, headers, signing_in=False, content=await self._keep(kept, answer, seconds))
        else:
            await relay(answer, send, headers, signing_in=signing_in)

    async def _keep(self, place: Place, answer: aiohttp.ClientResponse, seconds: int) -> bytes:
        """Keep an answer for others of the same caller; return its body."""
        body = await answer.read()
        await self._cache.keep(place, list(outward(answer.raw_headers, signing_in=False)), body, seconds)
        return body

    async def _stream(self, scope: Scope, receive: Receive, send: Send, admitted: Admitted) -> None:
        if admitted.caller is None or admitted.credentials is None:
            raise NotFound("There is no such resource.")
        scope["lms.route"] = routes.EVENTS
        scope["lms.streams"] = True
        credentials = admitted.credentials
        stream = self._live.response(admitted.caller.id, lambda: security.caller_of(self._verifier, credentials))
        await stream(scope, receive, send)

    async def _admitted(self, scope: Scope, where: routes.Target | None, headers: HeaderList) -> Admitted:
        """Count the caller and check that they may go there; return whom the services will see.

        Fills in the RateLimit headers, which refusals carry too. Raises whatever refuses the request.
        """
        address = security.client_address(
            _peer(scope), security.first(scope["headers"], b"x-forwarded-for"), self._settings.trusted_proxies
        )
        if scope["path"] in routes.PUBLIC:
            await self._count(None, address, headers)
            sent = security.first(scope["headers"], b"authorization") or ""
            return Admitted(sent[7:].strip() if sent[:7].lower() == "bearer " else None)
        try:
            found = security.credentials(scope["headers"])
            caller = security.caller_of(self._verifier, found)
        except Unauthenticated:
            await self._count(None, address, headers)
            raise
        await self._count(caller, address, headers)
        if found.in_cookie and scope["method"] not in routes.SAFE:
            security.require_csrf(scope["headers"])
        if where is not None and not routes.admits(where, scope["method"], caller):
            raise Forbidden("Your roles do not allow this.")
        if not (caller.has("admin") or caller.may(SCOPE)):
            maintenance_of(self._process).refuse()
        return Admitted(found.token, caller, found)

    async def _count(self, caller: Caller | None, address: str, headers: HeaderList) -> None:
        counted = await self._limiter.count(caller, address)
        if counted is None:
            return
        policy, verdict = counted
        headers += limit_headers(policy, verdict)
        if not verdict.allowed:
            headers.append((b"retry-after", str(verdict.retry).encode()))
            raise TooManyRequests(f"{policy.quota} requests are used up; repeat in {verdict.retry} s.")

    def _origin(self, scope: Scope) -> Origin:
        trusts = self._settings.trusted_proxies > 0
        forwarded = security.first(scope["headers"], b"x-forwarded-for") if trusts else None
        proto = security.first(scope["headers"], b"x-forwarded-proto") if trusts else None
        return Origin(
            forwarded_for=f"{forwarded}, {_peer(scope)}" if forwarded else _peer(scope),
            proto=proto or ("https" if self._settings.tls else scope.get("scheme", "http")),
            host=security.first(scope["headers"], b"host") or "",
            request_id=scope.get("lms.request_id", ""),
        )


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return a request's whole body. Raises TooLarge, and Gone if the client leaves."""
    length = security.first(scope["headers"], b"content-length")
    if length is not None and length.isdigit() and int(length) > limit:
        raise TooLarge(f"The body is too large; at most {limit} bytes are read.")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLarge(f"The body is too large; at most {limit} bytes are read.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _is_stream(message: Message) -> bool:
    """Say whether an answer that begins is one that goes on for ever (server-sent events)."""
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"])


def _target(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (raw + b"?" + query if query else raw).decode("ascii")


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _without(headers: Any, extra: HeaderList) -> HeaderList:
    """Return the headers without those that `extra` sets, but for Vary, which adds up."""
    names = {name for name, _ in extra if name != b"vary"}
    return [pair for pair in headers if pair[0] not in names]
