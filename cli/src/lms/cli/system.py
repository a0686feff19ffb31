"""The embedded system: real servers and every service, as supervised processes of one home."""

import asyncio
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from lms.cli import preparation
from lms.cli.home import Home
from lms.cli.monitoring import DEPLOY, Monitoring
from lms.cli.servers import SCHEMAS, KafkaServer, MailServer, MySQLServer, RedisServer, Server
from lms.cli.supervision import NotRunning, Program, Supervisor, descriptor_for_children
from lms.kernel.auth import public_key_of

SERVICES = ("directory", "requests", "balances", "approvals", "audit", "notifications", "gateway")
STREAMS = ("notifications",)
"""Services with a process of their own for Faust, `<service>-streams`."""
MONITORING = ("prometheus", "alertmanager", "mysql-exporter", "redis-exporter", "node-exporter", "blackbox-exporter")
WEB = Path(__file__).parents[4] / "web" / "dist"
"""Where `scripts/web build` leaves the web app."""
GATEWAY_PORT = 8080
ADMIN_EMAIL = "admin@demo.example"
LOADER = "demo-loader"

MOST_WORKERS = 8
"""Beyond that the one database is what limits, and its connections."""

_USUAL_WORKERS = 4
_MEMORY_OF_SERVERS = 1200 * 1024**2
_MEMORY_OF_A_WORKER = 1000 * 1024**2
"""What one more copy of every service takes."""

_SERVER_SECONDS = 180.0
_SERVICE_SECONDS = 180.0

Tell = Callable[[str], None]


class DidNotStart(Exception):
    """A part of the system is not ready in time; the text names it and its log."""


class System:
    """Starts, watches and stops the processes of one home.

    `copies` is how many processes each service runs, the gateway too: its copies accept from one listening socket, so
    that the address answers while they are restarted one by one. `extra` adds environment variables by service name
    (`*`: all). `environment` is what the services are told: development, or test. `kafka_metrics` is needed for
    monitoring.
    """

    def __init__(
        self,
        folder: Path,
        *,
        copies: int = 1,
        environment: str = "development",
        gateway_port: int | None = None,
        extra: Mapping[str, Mapping[str, str]] | None = None,
        extra_sql: tuple[str, ...] = (),
        kafka_metrics: bool = False,
        tell: Tell = lambda _: None,
    ) -> None:
        self.home = Home.at(folder)
        self.supervisor = Supervisor(self.home)
        self.copies = copies
        self._environment = environment
        self._gateway_port = gateway_port
        self._extra = {name: dict(values) for name, values in (extra or {}).items()}
        self.extra_sql = extra_sql
        self._tell = tell
        self.kafka: KafkaServer
        self.mysql: MySQLServer
        self.redis: RedisServer
        self.mail: MailServer
        self._kafka_metrics = kafka_metrics
        self.monitoring: Monitoring | None = None
        self.ports: dict[str, int] = {}
        self._public: socket.socket | None = None

    @classmethod
    def running(cls, folder: Path, *, tell: Tell = lambda _: None) -> "System":
        """Return the system that runs in a folder, to operate it. Raises NotRunning."""
        system = cls(folder, tell=tell)
        system.supervisor.states()
        system.home = Home.at(folder, attached=True)
        system.copies = int(system.home.state.get("copies", 1))
        system.ports = {name: int(port) for name, port in system.home.state["ports"].items()}
        return system

    # Names --------------------------------------------------------------------------------------------------------

    def programs_of(self, service: str) -> list[str]:
        """Return the names of a service's processes, such as `requests` and `requests-2`."""
        return [service if number == 1 else f"{service}-{number}" for number in range(1, self.copies + 1)]

    @property
    def url(self) -> str:
        """The gateway's URL, whichever of its copies answers."""
        return f"http://127.0.0.1:{self.ports['public']}"

    def url_of(self, program: str) -> str:
        """Return the URL of one process of a service, for probes and metrics."""
        return f"http://127.0.0.1:{self.ports[program]}"

    # Starting -----------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Choose ports and write every configuration; raises Missing when a program is not installed."""
        self.redis = RedisServer(self.home)
        self.mysql = MySQLServer(self.home, self.extra_sql)
        self.kafka = KafkaServer(self.home, metrics=self._kafka_metrics)
        self.mail = MailServer(self.home)
        self.ports["public"] = self.home.port("public", self._gateway_port)
        for service in SERVICES:
            for program in self.programs_of(service):
                self.ports[program] = self.home.port(program)
        for service in STREAMS:
            self.ports[f"{service}-streams"] = self.home.port(f"{service}-streams")
        self.home.state["copies"] = self.copies
        self.home.save()
        self._public = socket.create_server(("127.0.0.1", self.ports["public"]), backlog=511)

    async def start_servers(self) -> None:
        """Start supervisord and the servers, and wait until each answers."""
        servers: list[Server] = [self.redis, self.mysql, self.kafka, self.mail]
        await asyncio.gather(*(asyncio.to_thread(server.prepare) for server in servers))
        if self._public is None:
            raise RuntimeError("configure the system before its servers are started")
        public = descriptor_for_children(self._public)
        self._extra.setdefault("gateway", {})["LMS_LISTEN_FD"] = str(public)
        self._write_environments()
        try:
            self.supervisor.start(self._programs(servers), pass_on=(public,))
        finally:
            os.close(public)
            self._close_public()
        await asyncio.gather(*(self._start_server(server) for server in servers))

    async def _start_server(self, server: Server) -> None:
        self.supervisor.start_program(server.name)
        began = time.monotonic()
        await self._until(server.ready, server.name, _SERVER_SECONDS)
        self._tell(f"{server.name} is ready after {time.monotonic() - began:.1f} s")

    async def prepare(self) -> bool:
        """Bring schemas up to date and declare topics, unless all is as this very code left it; say whether it did."""

        async def found() -> str:
            everything = self.mysql.url("lms_migrator", "lms_directory")
            return await preparation.found(everything, self.kafka)

        code = preparation.code()
        if self.home.state.get("prepared") == {"code": code, "found": await found()}:
            self._tell("schemas and topics are as this version left them")
            return False
        await self.migrate()
        self.home.state["prepared"] = {"code": code, "found": await found()}
        self.home.save()
        return True

    async def migrate(self) -> None:
        """Bring every schema up to date and declare every topic."""
        await asyncio.gather(
            *(self._run_once(service, "--migrate", "--topics") for service in SCHEMAS),
            *(self._run(self._streams_command(service), f"{service}-streams", "--topics") for service in STREAMS),
        )
        self._tell("schemas and topics are up to date")

    async def start_services(self, services: Iterable[str] = SERVICES, *, copies: int | None = None) -> None:
        """Start every copy of the services, or only the first ones, and wait until each is ready."""
        services = tuple(services)
        programs = [program for service in services for program in self.programs_of(service)[:copies]]
        programs += [f"{service}-streams" for service in STREAMS if service in services]
        for program in programs:
            self.supervisor.start_program(program)
        await asyncio.gather(*(self.wait_ready(program) for program in programs))

    async def wait_ready(self, program: str) -> None:
        """Wait until a service process says that it is ready."""

        async def ready() -> bool:
            timeout = aiohttp.ClientTimeout(total=2)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url_of(program)}/readyz") as answer,
            ):
                return answer.ok

        await self._until(ready, program, _SERVICE_SECONDS)

    async def up(self) -> None:
        """Start everything, of each service the first copy; `start_further_copies` starts the others.

        Raises DidNotStart, also while a restore waits to be finished.
        """
        self.refuse_while_restoring()
        self.configure()
        await self.start_servers()
        await self.prepare()
        await self.start_services(copies=1)

    def refuse_while_restoring(self) -> None:
        """Raise DidNotStart for a home whose restore has not come to its end: its data are neither old nor new."""
        if self.home.state.get("restoring"):
            raise DidNotStart(
                f"A restore of {self.home.folder} is under way or was interrupted: run `lms restore` again, to its end."
            )

    def start_further_copies(self) -> None:
        """Start the copies beyond the first of each service, and do not wait for them."""
        for service in SERVICES:
            for program in self.programs_of(service)[1:]:
                self.supervisor.start_program(program)

    async def restart(self, services: Iterable[str] = SERVICES) -> None:
        """Restart services copy by copy: the next one stops when the one before says that it is ready.

        With more than one copy of each no request fails meanwhile. Raises NotRunning, or DidNotStart when a copy does
        not come back: the others go on; also while a restore waits to be finished.
        """
        self.refuse_while_restoring()
        states = self.supervisor.states()
        for service in services:
            for program in _copies_of(service, states):
                self._tell(f"restarting {program}")
                await asyncio.to_thread(self.supervisor.stop_program, program)
                self.supervisor.start_program(program)
                await self.wait_ready(program)
            if f"{service}-streams" in states:
                await asyncio.to_thread(self.supervisor.stop_program, f"{service}-streams")
                self.supervisor.start_program(f"{service}-streams")

    async def start_monitoring(self, deploy: Path = DEPLOY, certificates: Sequence[str] = ()) -> Monitoring:
        """Start Prometheus, Alertmanager and the exporters, with the configuration in `deploy`.

        Raises Missing when one of them is not installed.
        """
        services = {one: [self.url_of(program) for program in self.programs_of(one)] for one in SERVICES}
        streams = {one: self.url_of(f"{one}-streams") for one in STREAMS}
        monitoring = Monitoring(
            self.home, self.kafka, self.mysql, self.redis, self.mail, services, streams, self.url, deploy, certificates
        )
        parts = await asyncio.to_thread(monitoring.prepare)
        self.supervisor.add([Program(part.name, tuple(part.command), 200) for part in parts])
        for part in parts:
            self.supervisor.start_program(part.name)
        await asyncio.gather(*(self._until(part.ready, part.name, _SERVER_SECONDS) for part in parts))
        self.monitoring = monitoring
        self._tell(f"Prometheus is at {monitoring.url}, Alertmanager at {monitoring.alertmanager_url}")
        return monitoring

    def stop_monitoring(self) -> None:
        """Stop Prometheus, Alertmanager and the exporters; the data stays."""
        for name in MONITORING:
            self.supervisor.stop_program(name)
        self.monitoring = None

    async def _until(self, ready: Callable[[], Any], name: str, seconds: float) -> None:
        until = time.monotonic() + seconds
        reason = ""
        while time.monotonic() < until:
            try:
                if await ready():
                    return
            except Exception as error:  # noqa: BLE001  # not yet: whatever it says is told if it stays so
                reason = str(error)
            await asyncio.sleep(0.1)
        raise DidNotStart(
            f"{name} is not ready after {seconds:.0f} s ({reason[:300]}); look at {self.supervisor.logs / name}.log"
        )

    async def _run_once(self, service: str, *arguments: str) -> None:
        await self._run(
            self._service_command(service, service), service, *arguments,
            MIGRATION_DATABASE_URL=self.mysql.url("lms_migrator", f"lms_{service}"),
        )  # fmt: skip

    async def _run(self, command: list[str], name: str, *arguments: str, **variables: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, env={**os.environ, **variables},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        if process.returncode:
            raise DidNotStart(f"{name} {' '.join(arguments)} failed:\n{output.decode()[-3000:]}")

    # Stopping -----------------------------------------------------------------------------------------------------

    def down(self) -> None:
        """Stop the gateway, then the services, then the servers, then the supervisor."""
        self._close_public()
        try:
            states = self.supervisor.states()
        except NotRunning:
            return
        self.stop_monitoring()  # first, or it would tell of what is stopped on purpose
        gateways = set(_copies_of("gateway", states))
        servers = {"mail", "kafka", "mysql", "redis"}
        for tier in (gateways, set(states) - gateways - servers, servers):
            self.supervisor.stop_programs(tier)
        self.supervisor.shut_down()

    def _close_public(self) -> None:
        """Close this process's hold of the public socket; the supervisor has its own."""
        if self._public is not None:
            self._public.close()
            self._public = None

    async def restart_with(self, program: str, extra: Mapping[str, str]) -> None:
        """Start a service process anew with other extra variables, and wait until it is ready."""
        self.supervisor.stop_program(program)
        service = next(one for one in SERVICES if program in self.programs_of(one))
        self._write_environment(service, program, extra)
        self.supervisor.start_program(program)
        await self.wait_ready(program)

    def forget_extra(self, program: str) -> None:
        """Let a process have its ordinary variables again from its next start on."""
        service = next(one for one in SERVICES if program in self.programs_of(one))
        self._write_environment(service, program, {})

    # Environments -------------------------------------------------------------------------------------------------

    def _programs(self, servers: list[Server]) -> list[Program]:
        programs = [
            Program(server.name, tuple(server.command), 10, stop_seconds=30, user=server.user) for server in servers
        ]
        for order, service in enumerate(SERVICES):
            programs += [
                Program(name, tuple(self._service_command(service, name)), 100 + order)
                for name in self.programs_of(service)
            ]
        programs += [Program(f"{service}-streams", tuple(self._streams_command(service)), 150) for service in STREAMS]
        return programs

    def _streams_command(self, service: str) -> list[str]:
        return self._command(f"{service}-streams", f"lms.{service}.streams")

    def _service_command(self, service: str, program: str) -> list[str]:
        return self._command(program, f"lms.{service}.main")

    def _command(self, program: str, module: str) -> list[str]:
        environment = str(self.home.folder / "env" / f"{program}.json")
        return [sys.executable, "-m", "lms.cli.launch", environment, module]

    def _write_environments(self) -> None:
        for service in SERVICES:
            for program in self.programs_of(service):
                self._write_environment(service, program, {})
        for service in STREAMS:
            self._write_environment(service, f"{service}-streams", {})

    def _write_environment(self, service: str, program: str, extra: Mapping[str, str]) -> None:
        values = self.environment_of(service, program)
        values |= self._extra.get("*", {})
        values |= self._extra.get(service, {})
        values |= extra
        path = self.home.folder / "env" / f"{program}.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=2)

    def environment_of(self, service: str, program: str) -> dict[str, str]:
        """Return the variables of one process: what it needs to know, and no secret of another."""
        jwt_secret = self.home.secret("jwt", 64)
        values = {
            "LMS_ENVIRONMENT": self._environment,
            "LMS_HOST": "127.0.0.1",
            "LMS_PORT": str(self.ports[program]),
            "LMS_INSTANCE": program,
            "REDIS_URL": self.redis.url,
            "JWT_PUBLIC_KEY": public_key_of(jwt_secret),
        }
        if service == "gateway":
            values |= {
                f"LMS_GATEWAY_{one.upper()}_URL": ",".join(self.url_of(name) for name in self.programs_of(one))
                for one in SCHEMAS
            }
            if WEB.is_dir():
                values["LMS_GATEWAY_WEB_FOLDER"] = str(WEB)
            values |= {"RATE_LIMIT_MAX_REQUESTS": "1000000", "LMS_GATEWAY_RATE_LIMIT_SIGNED_IN": "1000000"}
            return values
        values |= {
            "DATABASE_URL": self.mysql.url(f"lms_{service}", f"lms_{service}"),
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            **self.home.encryption_keys(),
        }
        if service == "directory":
            loader = hashlib.sha256(self.home.secret("loader").encode()).hexdigest()
            account = {"secret_sha256": loader, "scopes": ["act-for"], "roles": ["hr", "admin"]}
            values |= {
                "JWT_SECRET": jwt_secret,
                "LMS_DIRECTORY_BOOTSTRAP_ADMIN_EMAIL": ADMIN_EMAIL,
                "LMS_DIRECTORY_BOOTSTRAP_ADMIN_PASSWORD": self.home.secret("demo", 12),
                "LMS_DIRECTORY_SERVICE_ACCOUNTS": json.dumps({LOADER: account}),
                "LMS_DIRECTORY_ERASURE_LIST": str(self.home.folder / "erasures.jsonl"),
            }
        if service == "notifications":
            values |= {
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(self.mail.smtp_port),
                "SMTP_FROM": "lms@demo.example",
                "SMTP_STARTTLS": "off",
                "LMS_NOTIFICATIONS_WEB_URL": self.url,
                "LMS_NOTIFICATIONS_STREAMS_FOLDER": str(self.home.folder / "streams"),
            }
        if service == "audit":
            values |= {
                "LMS_AUDIT_SIGNING_KEY": self.home.secret("audit", 64),
                "LMS_AUDIT_CHECKPOINT_FILE": str(self.home.folder / "audit-checkpoints.jsonl"),
            }
        return values

    # Looking ------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return what scripts want to know: the URL, each process, and the demo company."""
        states = self.supervisor.states()
        ports: dict[str, int] = self.home.state.get("ports", {})
        demo = self.home.state.get("demo") or {"people": []}
        return {
            "url": f"http://127.0.0.1:{ports['public']}",
            "mail": f"http://127.0.0.1:{ports['mail']}",
            "monitoring": f"http://127.0.0.1:{ports['prometheus']}" if "prometheus" in states else None,
            "services": {
                name: {
                    "state": str(state["statename"]).lower(),
                    "pid": state["pid"] or None,
                    "url": f"http://127.0.0.1:{ports[name]}" if name in ports and name not in _SERVERS else None,
                }
                for name, state in sorted(states.items())
            },
            "demo": {"password": self.home.secrets.get("demo"), "people": demo["people"]},
        }


def usual_workers() -> int:
    """Return how many copies of each service suit this machine: one per core, at most four, as memory allows."""
    cores = len(os.sched_getaffinity(0))
    spare = psutil.virtual_memory().available - _MEMORY_OF_SERVERS
    return max(1, min(cores, _USUAL_WORKERS, int(spare // _MEMORY_OF_A_WORKER)))


def _copies_of(service: str, states: Iterable[str]) -> list[str]:
    """Return the programs that are copies of a service, in the order of their numbers."""
    prefix = f"{service}-"
    numbered = {int(name.removeprefix(prefix)): name for name in states if name.removeprefix(prefix).isdigit()}
    return [*([service] if service in states else []), *(numbered[number] for number in sorted(numbered))]


_SERVERS = frozenset({"kafka", "mysql", "redis", *(one for one in MONITORING if one.endswith("exporter"))})
