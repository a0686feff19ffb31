"""The gateway before small real services on real ports, and a real Redis."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from lms.gateway.main import SERVICE
from lms.gateway.routes import SERVICES
from lms.gateway.settings import Settings
from lms.kernel.auth import TokenSigner, public_key_of
from lms.kernel.http import create_app
from lms.kernel.server import HttpServer
from lms.kernel.service import Process

JWT_SECRET = "d0c1b2a3" * 10
SIGNER = TokenSigner(JWT_SECRET)


@dataclass
class Upstream:
    """A service that remembers what it got but for probes; `behave` may answer in its stead and says whether it did."""

    port: int = 0
    ready: bool = True
    got: list[dict[str, Any]] = field(default_factory=list)
    behave: Callable[[Scope, Send], Awaitable[bool]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["path"] == "/readyz":
            await answer_with(send, 200 if self.ready else 503, b"ready")
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.got.append({"path": scope["path"], "method": scope["method"], "headers": headers, "body": body})
        if self.behave is not None and await self.behave(scope, send):
            return
        health = {"status": "healthy", "checks": {"database": {"status": "up", "latency_ms": 1.5}}}
        answer = orjson.dumps({"port": self.port, "paths": {"/x": {}}, **health})
        await answer_with(send, 200, answer)


async def answer_with(send: Send, status: int, body: bytes) -> None:
    """Answer with JSON and two cookies."""
    kept = [(b"content-type", b"application/json"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await send({"type": "http.response.start", "status": status, "headers": kept})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(upstream: Upstream) -> AsyncIterator[Upstream]:
    """Serve the upstream on a port of its own."""
    config = uvicorn.Config(upstream, port=upstream.port, log_config=None, lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", upstream.port))
    upstream.port = listener.getsockname()[1]
    config.load()
    server.lifespan = config.lifespan_class(config)
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield upstream
    finally:
        server.should_exit = server.force_exit = True
        await task
        listener.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def gateway(redis_url: str, *urls: str, stopping: Any = None, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway whose every service is at `urls`; it is told to stop when `stopping` is set."""
    together = ",".join(urls)
    values = {
        "environment": "test",
        "redis_url": redis_url,
        "jwt_public_key": public_key_of(JWT_SECRET),
        "port": free_port(),
        **{f"{service}_url": together for service in set(SERVICES.values())},
        **given,
    }
    settings = Settings.model_validate(values)
    process = Process(SERVICE, settings)
    if stopping is not None:
        process.stopping = stopping
    assert SERVICE.wrap is not None
    server = HttpServer(
        SERVICE.wrap(create_app(process, SERVICE.routers, title="LMS gateway"), settings), settings.host, settings.port
    )
    await process.start(worker=False)
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}", timeout=20) as client:
            yield client
    finally:
        process.stopping.set()
        await server.stop(1.0)
        await process.stop()


def bearer(subject: str = "e1", *roles: str, scopes: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the headers of a caller."""
    return {"Authorization": f"Bearer {SIGNER.sign(subject, roles=roles or ('employee',), scopes=scopes)}"}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """One copy of a service."""
    async with serving(Upstream()) as found:
        yield found
