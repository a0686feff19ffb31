"""The HTTP kit: what every service's API has in common, so that `api.py` holds only its resources.

    router = APIRouter(prefix="/api/v1/leave-requests", tags=["leave requests"])

    class NewRequest(Body):                                     # unknown fields are refused
        leave_type: str

    class RequestAnswer(Answer):
        id: str
        version: int                                            # becomes the ETag

    @router.post("", status_code=201, response_model=RequestAnswer)
    async def post_request(body: NewRequest, caller: CallerDep, commands: CommandsDep) -> Response:
        return await commands.run(lambda uow: request_leave(uow, caller.id, body.leave_type), status=201)

    @router.get("/{request_id}", response_model=RequestAnswer)
    async def get_request(request_id: str, caller: CallerDep, views: ViewsDep) -> Response:
        return answer(await find_request(views.connection, request_id))

The kit gives each request an id and a trace, logs and measures it, and maps every error to problem+json
(`problems.py`). Sizes: bodies above LMS_MAX_BODY_BYTES are 413; a route that takes more says `max_body_size=`.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar, cast

import orjson
import structlog
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from opentelemetry.trace import Span
from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lms.kernel.auth import Caller, CallerDep, TokenVerifier
from lms.kernel.consistency import HEADER as CONSISTENCY_TOKEN
from lms.kernel.consistency import CatchUp, Tokens, polled
from lms.kernel.database import Database
from lms.kernel.errors import DomainError, Malformed, TooLarge, Unavailable
from lms.kernel.eventstore import ConcurrencyConflict
from lms.kernel.execution import Clock, CommandContext, Executor, UnitOfWork
from lms.kernel.health import OF_SERVICES_SECONDS, NotReady, health_router
from lms.kernel.idempotency import Claim, Reply, StoredAnswers, canonical_request
from lms.kernel.ids import new_id
from lms.kernel.kafka import ping
from lms.kernel.logs import trail
from lms.kernel.metrics import (
    ACTIVE_CONNECTIONS,
    DB_POOL_CONNECTIONS,
    HTTP_DURATION,
    HTTP_REQUESTS,
    METHODS,
    OTHER,
    announce_routes,
)
from lms.kernel.migrations import applied, knows, newest
from lms.kernel.problems import PROBLEM_JSON, Problem, answer_problem, problem_response
from lms.kernel.replica import AskPrimaryAgain, Replica
from lms.kernel.settings import KernelSettings, ProcessSettings
from lms.kernel.tracing import Attributes, current_traceparent, describe, failed, span, traceparent_of

T = TypeVar("T")

LONGEST_WAIT = 10

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{8,80}")  # audit has room for so much; so has the edge (nginx.conf)
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,3})(?:$|[,;\s])")
_ETAG = re.compile(r'(?:W/)?"(\d{1,18})"')
PROBES = frozenset({"/livez", "/readyz", "/health", "/metrics"})
SURROGATE_CONTROL = "Surrogate-Control"
"""`max-age=<seconds>` on the answer of a GET lets the gateway give it again to the same caller (Edge Architecture
Specification 1.0). By that a service promises that nothing else changes the answer than its own facts about the caller
or about everybody, of which it gives hints (`hints.py`), the query, and the business date."""
_SERVER_ERROR = 500
_TOO_LARGE = 413
_UNAVAILABLE = 503

_log = structlog.get_logger(__name__)


class Body(BaseModel):
    """The base of request bodies: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(BaseModel):
    """The base of answers. A `version` field becomes the ETag."""

    model_config = ConfigDict(frozen=True)


class _Consumer(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def topics(self) -> Sequence[str]: ...


class _Service(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def consumers(self) -> Sequence[_Consumer]: ...
    @property
    def migrations(self) -> Path | None: ...
    @property
    def checks(self) -> Mapping[str, Callable[[Any], Awaitable[Any]]]: ...


class HttpProcess(Protocol):
    """What the kit needs of any process."""

    ready: bool

    @property
    def service(self) -> _Service:
        """The service's wiring."""
        ...

    @property
    def settings(self) -> Any:
        """Its settings: ProcessSettings, or KernelSettings where it has a database."""
        ...

    @property
    def redis(self) -> Redis:
        """The shared Redis."""
        ...

    @property
    def clock(self) -> Clock:
        """The business clock."""
        ...


class HttpRuntime(HttpProcess, Protocol):
    """What the kit needs of a process with a database."""

    @property
    def database(self) -> Database:
        """The service's database."""
        ...

    @property
    def replica(self) -> Replica | None:
        """Its replica, where there is one."""
        ...

    @property
    def executor(self) -> Executor:
        """The command executor."""
        ...


def create_app(process: HttpProcess, routers: Sequence[APIRouter], title: str) -> FastAPI:
    """Return a service's application: its routers, the health routes, and the kit around them.

    A process without a database has no CommandsDep and no ViewsDep; everything else is the same.
    """
    app = _bare_app(title, process.settings)
    app.state.runtime = process
    app.state.replica = None
    own = {name: partial(check, process) for name, check in process.service.checks.items()}
    if isinstance(process.settings, KernelSettings):
        app.include_router(_stateful(app, cast("HttpRuntime", process), own))
    else:
        checks: dict[str, Callable[[], Awaitable[Any]]] = {"redis": lambda: _pinged(process.redis), **own}
        app.include_router(health_router(checks, lambda: _serving(process), seconds=OF_SERVICES_SECONDS))
    for router in routers:
        app.include_router(router)
    announce_routes(
        (method, route.path)
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    )
    return app


def _stateful(app: FastAPI, runtime: HttpRuntime, own: Mapping[str, Callable[[], Awaitable[Any]]]) -> APIRouter:
    """Give the application its idempotent commands and its reads; return the health routes."""
    settings: KernelSettings = runtime.settings
    app.state.answers = stored_answers(runtime)
    app.state.replica = runtime.replica
    app.state.tokens = Tokens(*settings.encryption_keys())
    app.state.catch_up = CatchUp(
        runtime.service.name,
        runtime.database,
        app.state.tokens,
        {consumer.name: consumer.topics for consumer in runtime.service.consumers},
    )
    return health_router(
        {
            "database": runtime.database.ping,
            "redis": lambda: _pinged(runtime.redis),
            "kafka": lambda: ping(settings.kafka_bootstrap_servers),
            **own,
        },
        _Readiness(runtime),
        before_scrape=lambda: _measure_pool(runtime.database),
    )


def document(title: str, routers: Sequence[APIRouter]) -> dict[str, Any]:
    """Return the OpenAPI document of a service's routers, as a running process gives it."""
    app = _documented(title)
    for router in routers:
        app.include_router(router)
    return app.openapi()


def _documented(title: str, **options: Any) -> "_App":
    problem = {"model": Problem, "content": {PROBLEM_JSON: {}}}
    responses: Any = {"4XX": {**problem, "description": "Refused"}, "5XX": {**problem, "description": "Failed"}}
    return _App(title=title, version="1", docs_url=None, redoc_url=None, responses=responses, **options)


def _bare_app(title: str, settings: ProcessSettings) -> FastAPI:
    """Return an application with ids, logs, metrics, problems and authentication, and no routes."""
    app = _documented(title, max_body_size=settings.max_body_bytes)
    app.state.verifier = TokenVerifier(settings.jwt_public_key)
    for kind in (DomainError, RequestValidationError, HTTPException, ConcurrencyConflict, Exception):
        app.add_exception_handler(kind, answer_problem)
    return app


class _App(FastAPI):
    """A FastAPI whose outermost layer is ours, outside its own error and body-limit layers."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the whole stack, with the trail around it."""
        process: HttpProcess = self.state.runtime
        stack = super().build_middleware_stack()
        if self.state.replica is not None:
            stack = AskPrimaryAgain(stack)
        return RequestTrail(stack, None if process.settings.production else process.clock)


def stored_answers(runtime: HttpRuntime) -> StoredAnswers:
    """Return the service's store of idempotent answers; its `purge` is the kernel's daily job."""
    settings: KernelSettings = runtime.settings
    return StoredAnswers(runtime.database, *settings.encryption_keys())


async def purge_idempotency(runtime: HttpRuntime) -> None:
    """Delete stored answers older than seven days: a periodic job of every service."""
    count = await stored_answers(runtime).purge()
    if count:
        _log.info("old idempotency keys were purged", count=count)


class RequestTrail:
    """The outermost middleware: request id, trace, access log, metrics, and an answer to whatever went wrong.

    `scope["lms.request_id"]` is the caller's X-Request-ID if it is sane, else a new id. Logs and metrics name the
    route's template; a proxy may set `scope["lms.route"]` itself. With a `clock` (where that can be moved: outside
    production) each answer tells by the header Business-Date which day it is for the process. An answer that goes on
    for as long as the client listens sets `scope["lms.streams"]`: its duration says nothing, and is not measured.
    """

    def __init__(self, app: ASGIApp, clock: Clock | None = None) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id, traceparent = _identity(scope)
        scope["lms.request_id"] = request_id
        method, quiet = scope["method"], scope["path"] in PROBES
        with span(method, traceparent=traceparent, kind="server", quiet=quiet) as current:
            own_traceparent = traceparent_of(current.get_span_context())
            exchange = _Exchange(scope, receive, send, request_id, own_traceparent, self._clock)
            ACTIVE_CONNECTIONS.inc()
            with trail(request_id=request_id, correlation_id=request_id, traceparent=own_traceparent):
                try:
                    await self._handle(exchange)
                finally:
                    ACTIVE_CONNECTIONS.dec()
                    status = exchange.status or _SERVER_ERROR
                    _record(scope, status, time.perf_counter() - started)
                    _describe(current, scope, status)

    async def _handle(self, exchange: "_Exchange") -> None:
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if exchange.status:
                raise
            # Only a server that stops cancels requests: this one took longer than a stop may.
            detail = "The service stops, and did not finish this; it may have done what was asked. Repeat it."
            await problem_response(Unavailable(detail), exchange.scope)(exchange.scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.status == _UNAVAILABLE:
                _log.warning("a part was away", reason=error)
            else:
                _log.exception("a request failed")
            if not exchange.scope.get("lms.answered"):
                raise  # the answer is under way: the server must cut it, so that nobody takes it for whole


class _Exchange:
    """One request and what is sent back, with the request's ids, and the business date, on it."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, traceparent: str, clock: Clock | None
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.status = 0
        self._send = send
        self._ids = [(b"x-request-id", request_id.encode("ascii")), (b"traceparent", traceparent.encode("ascii"))]
        if clock is not None:
            self._ids.append((b"business-date", clock.now().date().isoformat().encode("ascii")))
        self._dropping = False

    async def send(self, message: Message) -> None:
        """Send a part of the answer; the framework's plain text about its body limit becomes a problem."""
        if self._dropping:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status == _TOO_LARGE and not _is_problem(message):
                self._dropping = True
                problem = problem_response(TooLarge("The body is too large."), self.scope)
                await problem(self.scope, self.receive, self._marked)
                return
        await self._marked(message)

    async def _marked(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *self._ids]
        await self._send(message)


class Commands:
    """Runs a route's command: once per idempotency key, with retries, and with the headers that callers rely on."""

    def __init__(self, request: Request, caller: Caller | None) -> None:
        self._request = request
        self._caller = caller
        self._runtime: HttpRuntime = request.app.state.runtime

    async def run(
        self,
        use_case: Callable[[UnitOfWork], Awaitable[T]],
        status: int = 200,
        *,
        location: Callable[[T], str] | None = None,
        settle: Callable[[T], Awaitable[T | None]] | None = None,
        idempotent: bool = True,
        kept: Callable[[T], T] | None = None,
        fingerprint: bytes | None = None,
    ) -> Response:
        """Run the use case in one transaction and return its result as the answer (None: an empty one).

        With an Idempotency-Key a repeated request gets the stored answer, unless `idempotent` is false (a route whose
        answer must not be kept). `kept` gives what is stored in the place of a result that tells a secret, and what a
        repeated request gets. `fingerprint` stands for the body where that is no JSON (an upload's digest).
        `location` gives the Location header. `settle` is asked again and again, for as long as `Prefer: wait=N` allows,
        for the result after later steps; None means not yet. DomainErrors pass through.
        """
        request = self._request
        context = CommandContext(
            actor=self._caller.actor if self._caller else None,
            on_behalf_of=self._caller.on_behalf_of if self._caller else None,
            correlation_id=request.scope["lms.request_id"],
            traceparent=current_traceparent(),
        )

        def reply(result: T, uow: UnitOfWork) -> Reply:
            headers = _result_headers(result)
            token = request.app.state.tokens.of(self._runtime.service.name, uow.written)
            if token is not None:
                headers[CONSISTENCY_TOKEN] = token
            if location is not None:
                headers["Location"] = location(result)
            return Reply(status, headers, to_json(result))

        async def replied(uow: UnitOfWork) -> tuple[Reply, T]:
            result = await use_case(uow)
            return reply(result, uow), result

        async def stored(uow: UnitOfWork) -> tuple[Reply, T]:
            done, result = await replied(uow)
            return (done if kept is None else Reply(done.status, done.headers, to_json(kept(result)))), result

        key = request.headers.get("idempotency-key")
        if key is None or not idempotent or self._caller is None:
            done, result = await self._runtime.executor.run(replied, context=context)
            return _response(await self._settled(done, result, settle))
        answers: StoredAnswers = request.app.state.answers
        body = await request.body() if fingerprint is None else fingerprint
        claim = Claim(
            caller=self._caller.id,
            route=f"{request.method} {route_template(request.scope)}",
            key=key,
            request=canonical_request(request.url.path, request.url.query, body),
        )
        once, now = await answers.once(claim, self._runtime.executor, context, stored, refusal=self._refusal)
        if now is None:
            return _response(once)
        told = once if kept is None else Reply(once.status, once.headers, to_json(now))
        return _response(await self._settled(told, now, settle))

    async def _settled(self, done: Reply, result: T, settle: Callable[[T], Awaitable[T | None]] | None) -> Reply:
        seconds = wait_seconds(self._request)
        if settle is None or not seconds:
            return done
        newer = await polled(lambda: settle(result), seconds)
        headers = {**done.headers, "Preference-Applied": f"wait={seconds}"}
        if newer is None:
            return Reply(done.status, headers, done.body)
        return Reply(done.status, {**headers, **_result_headers(newer)}, to_json(newer))

    def _refusal(self, error: DomainError) -> Reply:
        response = problem_response(error, self._request.scope)
        headers = {"Content-Type": PROBLEM_JSON}
        return Reply(response.status_code, headers, bytes(response.body))


async def _commands(
    request: Request,
    caller: CallerDep,
    idempotency_key: Annotated[
        str | None, Header(description="A repeated request with the same key has no second effect")
    ] = None,
    prefer: Annotated[
        str | None, Header(description="`wait=N` waits up to N seconds for later steps to settle")
    ] = None,
) -> Commands:
    del idempotency_key, prefer  # read where they are needed; named here for OpenAPI
    return Commands(request, caller)


async def _open_commands(request: Request) -> Commands:
    return Commands(request, None)


CommandsDep = Annotated[Commands, Depends(_commands)]
OpenCommandsDep = Annotated[Commands, Depends(_open_commands)]
"""Commands of routes that anybody may call (signing in): no caller, and no idempotency key is looked at."""


@dataclass(frozen=True, slots=True)
class Views:
    """What a read has: a connection on which the service's views show what the Consistency-Token named."""

    connection: AsyncConnection


ConsistencyToken = Annotated[
    str | None, Header(description="From the answer to a command: wait until its effect shows here")
]


async def _views(request: Request, consistency_token: ConsistencyToken = None) -> AsyncIterator[Views]:
    async with _newest_views(request, consistency_token) as views:
        yield views


async def _stale_views(
    request: Request,
    consistency_token: ConsistencyToken = None,
    cache_control: Annotated[
        str | None, Header(description="`no-cache`: nothing that is some seconds old, as a replica's answer may be")
    ] = None,
) -> AsyncIterator[Views]:
    replica: Replica | None = request.app.state.replica
    if replica is not None and replica.takes(request.scope, cache_control):
        async with replica.read() as connection:
            if not consistency_token or await request.app.state.catch_up.shown_on(connection, consistency_token):
                yield Views(connection)
                return
        replica.lacks(request.scope)
    async with _newest_views(request, consistency_token) as views:
        yield views


@asynccontextmanager
async def _newest_views(request: Request, consistency_token: str | None) -> AsyncIterator[Views]:
    if consistency_token:
        await request.app.state.catch_up.wait(consistency_token)
    runtime: HttpRuntime = request.app.state.runtime
    async with runtime.database.read() as connection:
        yield Views(connection)


ViewsDep = Annotated[Views, Depends(_views, scope="function")]
StaleViewsDep = Annotated[Views, Depends(_stale_views, scope="function")]
"""Views of a GET whose answer may be some seconds old: without a Consistency-Token that says otherwise, or `no-cache`,
a replica may give it (`replica.py`). Not for what somebody changes by its ETag, decides by, or waits for."""


async def get_runtime(request: Request) -> Any:
    """Return the service's Runtime: `RuntimeDep = Annotated[Runtime, Depends(get_runtime)]`."""
    return request.app.state.runtime


async def if_match(request: Request) -> int | None:
    """Return the version that an If-Match header names, None without one. Raises Malformed for any other ETag."""
    header = request.headers.get("if-match")
    if header is None or header.strip() == "*":
        return None
    found = _ETAG.fullmatch(header.strip())
    if found is None:
        raise Malformed("If-Match must be an ETag that this resource gave out.")
    return int(found[1])


IfMatchDep = Annotated[int | None, Depends(if_match)]


def answer(result: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a result as a JSON answer with its ETag, serialised once and not validated again."""
    return _response(Reply(status, {**_result_headers(result), **(headers or {})}, to_json(result)))


def to_json(result: Any) -> bytes:
    """Return a result as JSON: a pydantic model by its own serialiser, anything else by orjson; None as nothing."""
    if result is None:
        return b""
    if isinstance(result, BaseModel):
        return result.__pydantic_serializer__.to_json(result, by_alias=True)
    return orjson.dumps(result, default=_model_fields)


def wait_seconds(request: Request) -> int:
    """Return the N of `Prefer: wait=N`, at most LONGEST_WAIT; 0 without it."""
    found = _WAIT.search(request.headers.get("prefer", ""))
    return min(int(found[1]), LONGEST_WAIT) if found else 0


async def settled_wait(poll: Callable[[], Awaitable[T | None]], seconds: float) -> T | None:
    """Return what `poll` gives as soon as that is not None; None after `seconds`."""
    return await polled(poll, seconds)


def route_template(scope: Scope) -> str:
    """Return the template of the route that serves a request (`/api/v1/balances/{leave_type}`)."""
    named = scope.get("lms.route")
    if named is not None:
        return str(named)
    return getattr(scope.get("route"), "path", "unmatched")


def _model_fields(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _result_headers(result: Any) -> dict[str, str]:
    version = getattr(result, "version", None)
    return {"ETag": f'"{version}"'} if isinstance(version, int) else {}


def _response(reply: Reply) -> Response:
    headers = {"Content-Type": "application/json", **reply.headers} if reply.body else reply.headers
    return Response(reply.body, status_code=reply.status, headers=headers)


def _identity(scope: Scope) -> tuple[str, str | None]:
    request_id, traceparent = "", None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_id = value.decode("latin-1")
        elif name == b"traceparent":
            traceparent = value.decode("latin-1")
    return (request_id if _SANE_ID.fullmatch(request_id) else new_id()), traceparent


def _is_problem(message: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value == PROBLEM_JSON.encode() for name, value in message.get("headers", ())
    )


def _record(scope: Scope, status: int, seconds: float) -> None:
    route = route_template(scope)
    method = scope["method"] if scope["method"] in METHODS else OTHER
    if not scope.get("lms.streams"):
        HTTP_DURATION.labels(method, route, str(status)).observe(seconds)
    HTTP_REQUESTS.labels(method, route, str(status)).inc()
    if route not in PROBES:
        _log.info(
            "request",
            **{
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "event.duration": int(seconds * 1e9),
            },
        )


def _describe(current: Span, scope: Scope, status: int) -> None:
    route = route_template(scope)
    method: str = scope["method"]
    said: Attributes = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    describe(current, said, name=f"{method} {route}")
    if status >= _SERVER_ERROR:
        failed(current, str(status))


def _measure_pool(database: Database) -> None:
    pool: Any = database.engine.pool
    DB_POOL_CONNECTIONS.labels("in_use").set(pool.checkedout())
    DB_POOL_CONNECTIONS.labels("idle").set(pool.checkedin())
    DB_POOL_CONNECTIONS.labels("limit").set(pool.size())


async def _pinged(redis: Redis) -> None:
    await redis.ping()


async def _serving(process: HttpProcess) -> None:
    if not process.ready:
        raise NotReady("starting or shutting down")


class _Readiness:
    """Says whether requests may be sent here; migrations, once at head or beyond, are not looked at again."""

    def __init__(self, runtime: HttpRuntime) -> None:
        self._runtime = runtime
        self._migrated = runtime.service.migrations is None

    async def __call__(self) -> None:
        await _serving(self._runtime)
        if self._migrated:
            await self._runtime.database.ping()
            return
        folder = self._runtime.service.migrations
        head = newest(folder) if folder else None
        async with self._runtime.database.read() as connection:
            found = await applied(connection)
        if found != head and (found is None or folder is None or knows(folder, found)):
            raise NotReady(f"the schema stands at {found}, the code needs {head}; run --migrate")
        self._migrated = True
