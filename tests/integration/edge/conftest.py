"""The edge as a process: the real nginx with the project's own configuration, before upstreams that tell what came."""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from cryptography import x509
from tests.certificates import self_signed

from lms.cli.home import any_free_port

ROOT = Path(__file__).parents[3]
DOMAIN = "leave.test"
PAGE = "<!doctype html><title>LMS</title><script type=module src=/assets/app-1a2b3c4d.js></script>"
SCRIPT = "export const rows = [" + ",".join(str(number) for number in range(2000)) + "];"


def certificate(path: Path, domain: str, days: int = 30) -> None:
    """Write a self-signed certificate of the domain, and its key beside it."""
    authority = x509.BasicConstraints(ca=True, path_length=None)
    key, made = self_signed(domain, x509.DNSName(domain), days, authority)
    path.with_name("privkey.pem").write_bytes(key)
    path.write_bytes(made)


class Edge:
    """nginx started by `deploy/nginx/edge`, without rights, in a folder of its own."""

    def __init__(self, gateways: list[int], **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lms-edge-"))
        self.folder.chmod(0o755)
        self.http, self.https, self.status = any_free_port(), any_free_port(), any_free_port()
        self.certificate = self.folder / "tls" / "fullchain.pem"
        shutil.copytree(ROOT / "deploy/nginx", self.folder / "config")
        (self.folder / "web" / "assets").mkdir(parents=True)
        (self.folder / "web" / "index.html").write_text(PAGE, "utf-8")
        (self.folder / "web" / "favicon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", "utf-8")
        (self.folder / "web" / "assets" / "app-1a2b3c4d.js").write_text(SCRIPT, "utf-8")
        (self.folder / "acme" / ".well-known" / "acme-challenge").mkdir(parents=True)
        (self.folder / "tls").mkdir()
        self.domain = settings.get("LMS_DOMAIN", DOMAIN)
        certificate(self.certificate, self.domain)
        self.environment = {
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
            "LMS_DOMAIN": self.domain,
            "LMS_EDGE_CONFIG": str(self.folder / "config"),
            "LMS_EDGE_RUN": str(self.folder / "run"),
            "LMS_EDGE_WEB": str(self.folder / "web"),
            "LMS_EDGE_ACME": str(self.folder / "acme"),
            "LMS_EDGE_CERTIFICATE": str(self.certificate),
            "LMS_EDGE_KEY": str(self.certificate.with_name("privkey.pem")),
            "LMS_EDGE_GATEWAYS": ",".join(f"127.0.0.1:{port}" for port in gateways),
            "LMS_EDGE_HTTP_LISTEN": f"127.0.0.1:{self.http}",
            "LMS_EDGE_HTTPS_LISTEN": f"127.0.0.1:{self.https}",
            "LMS_EDGE_STATUS_LISTEN": f"127.0.0.1:{self.status}",
            "LMS_EDGE_RELOAD_SECONDS": "1",
            **settings,
        }
        self._log = self.folder / "edge.log"
        self._log.touch()
        self.user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._hand_over()
        self._process: subprocess.Popen[bytes] | None = None

    def _hand_over(self) -> None:
        for path in (self.folder, *self.folder.rglob("*")):
            shutil.chown(path, self.user)

    def check(self) -> tuple[int, str]:
        """Have the configuration made and checked; return the exit code and what was said."""
        said = self.folder / "check.log"  # a file, for nginx opens its standard output by name
        said.touch()
        shutil.chown(said, self.user)
        with said.open("w") as file:
            done = subprocess.run(
                [str(self.folder / "config" / "edge"), "--check"], env=self.environment, user=self._as,
                stdout=file, stderr=file, check=False, timeout=20,
            )  # fmt: skip
        return done.returncode, said.read_text("utf-8")

    @property
    def _as(self) -> str | None:
        return self.user if os.geteuid() == 0 else None

    async def start(self) -> None:
        """Start nginx and wait until it answers."""
        self._process = self._launch()
        async with httpx.AsyncClient() as client:
            for _ in range(200):
                assert self._process.poll() is None, self.log()
                try:
                    if (await client.get(f"http://127.0.0.1:{self.status}/livez")).is_success:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        raise AssertionError(self.log())

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [str(self.folder / "config" / "edge")], env=self.environment, user=self._as, stdout=log, stderr=log
            )

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text("utf-8")

    def access_log(self) -> list[dict[str, Any]]:
        """The access log's lines."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def replace_certificate(self) -> None:
        """Put another certificate in the place of the first, as a renewal does."""
        certificate(self.certificate, self.domain, days=60)
        self._hand_over()

    def client(self, *, minimum: ssl.TLSVersion | None = None, maximum: ssl.TLSVersion | None = None) -> "Client":
        """Return a client that trusts the certificate and asks for the domain."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if minimum is not None:
            context.minimum_version = minimum
        if maximum is not None:
            context.maximum_version = maximum
        return Client(self.https, context)


class Client(httpx.AsyncClient):
    """Asks for paths of the domain, whose name stands in no DNS."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(base_url=f"https://127.0.0.1:{port}", verify=context, headers={"Host": DOMAIN}, timeout=20)

    def build_request(self, *arguments: Any, **options: Any) -> httpx.Request:
        """Name the domain in the handshake too."""
        options["extensions"] = {**(options.get("extensions") or {}), "sni_hostname": DOMAIN}
        return super().build_request(*arguments, **options)


class Upstream:
    """Stands where a copy of the gateway does: tells what reached it, streams, and can be killed."""

    def __init__(self, name: str) -> None:
        self.name, self.port, self.seen = name, any_free_port(), 0
        self.ready = True
        self.more = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/api/v1/events", self._events)
        app.router.add_get("/api/v1/large", self._large)
        app.router.add_get("/readyz", self._readyz, allow_head=False)
        app.router.add_route("*", "/{path:.*}", self._tell)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Be gone."""
        self.more.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _tell(self, request: web.Request) -> web.Response:
        self.seen += 1
        body = await request.read()
        told = {"by": self.name, "path": request.path_qs, "headers": dict(request.headers), "bytes": len(body)}
        return web.json_response(told, headers={"Strict-Transport-Security": "max-age=1"})

    async def _readyz(self, request: web.Request) -> web.Response:
        self.seen += 1
        headers = {"Strict-Transport-Security": "max-age=1", "X-Content-Type-Options": "nosniff"}
        if self.ready:
            return web.Response(text="ready\n", headers=headers)
        return web.Response(text=f"not ready: {request.host} has lost its database\n", status=503, headers=headers)

    async def _large(self, _: web.Request) -> web.Response:
        return web.json_response({"items": ["the same words again and again"] * 1000})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"data: first\n\n")
        await self.more.wait()
        with contextlib.suppress(ConnectionError):  # whoever listened may have left
            await answer.write(b"data: second\n\n")
        return answer


@asynccontextmanager
async def running(**settings: str) -> AsyncIterator[tuple[Edge, list[Upstream]]]:
    """An edge in front of two upstreams."""
    upstreams = [Upstream("one"), Upstream("two")]
    for one in upstreams:
        await one.start()
    edge = Edge([one.port for one in upstreams], **settings)
    try:
        await edge.start()
        yield edge, upstreams
    finally:
        edge.stop()
        for one in upstreams:
            await one.stop()


@pytest.fixture(scope="module")
async def edge() -> AsyncIterator[Edge]:
    """An edge as it is in production, which a test leaves as it was."""
    async with running() as (found, _):
        yield found


@pytest.fixture
async def own() -> AsyncIterator[tuple[Edge, list[Upstream]]]:
    """An edge and upstreams that a test may break."""
    async with running() as found:
        yield found


@pytest.fixture(scope="module")
async def narrow() -> AsyncIterator[Edge]:
    """An edge with limits that a test can reach, behind a proxy of our own: each test comes from another address."""
    limits = {
        "LMS_EDGE_REQUESTS_PER_SECOND": "1",
        "LMS_EDGE_BURST": "5",
        "LMS_EDGE_CONNECTIONS": "2",
        "LMS_EDGE_SIGN_INS_PER_MINUTE": "2",
    }
    async with running(**limits, LMS_EDGE_TRUSTED_PROXIES="127.0.0.0/8") as (found, _):
        yield found


@pytest.fixture(scope="module")
async def balanced() -> AsyncIterator[Edge]:
    """An edge behind a balancer that ends TLS, and connects by TLS without naming anybody."""
    async with running(LMS_EDGE_BEHIND_BALANCER="true") as (found, _):
        yield found


@pytest.fixture
def stopped() -> Iterator[Edge]:
    """An edge that has not been started."""
    found = Edge([any_free_port()])
    yield found
    found.stop()
