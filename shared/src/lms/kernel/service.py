"""A service: its literal wiring, and the process that runs it.

`main.py` of a service is one `Service(...)` and `run(SERVICE)`. The process serves HTTP (role `api`), relays the
outbox, runs the consumers and the periodic jobs (role `worker`), or does both (role `all`, the embedded form). On
SIGTERM, and when it has grown past its memory limit, it leaves in order: unready, stop accepting, finish what is in
hand, stop fetching, flush the relay, leave the consumer groups, close the pools, flush the spans. That takes at most
`LMS_DRAIN_SECONDS` and four seconds more; then it is ended hard.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import structlog
import uvloop
from aiokafka.errors import KafkaError
from fastapi import APIRouter
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from starlette.types import ASGIApp

from lms.kernel import key_holders, leases
from lms.kernel.cache import connect
from lms.kernel.clock import BusinessClock
from lms.kernel.consumer import Consumer, ConsumerRunner, dead_letter_topic
from lms.kernel.database import Database
from lms.kernel.decider import Decider
from lms.kernel.errors import DomainError
from lms.kernel.event import Codec, Event, UnknownEventType, Upcaster
from lms.kernel.eventstore import EventStore
from lms.kernel.execution import Executor
from lms.kernel.garbage import collect_seldom
from lms.kernel.hints import give
from lms.kernel.http import create_app, purge_idempotency
from lms.kernel.ids import new_id
from lms.kernel.kafka import Gone, NotDeleted, Producer, Topic, declare
from lms.kernel.keyring import Keyring
from lms.kernel.logs import configure as configure_logs
from lms.kernel.measurement import Measure, measure_event_loop, measure_stores
from lms.kernel.metrics import BUILD, JOB_RUNS, announce_commands
from lms.kernel.migrations import migrate
from lms.kernel.outbox import Relay
from lms.kernel.projection import Projection
from lms.kernel.rebuild import Busy, NotAView, Progress, Unreadable, rebuild, views_of
from lms.kernel.recovery import (
    NothingToRepublish,
    Restoration,
    Restored,
    RestoreUnfinished,
    UnknownTopic,
    refuse_while_pending,
    republish,
)
from lms.kernel.replica import Replica
from lms.kernel.server import HttpServer
from lms.kernel.settings import BadSettings, KernelSettings, ProcessSettings, load
from lms.kernel.tracing import BadTracing, shut_down
from lms.kernel.tracing import configure as configure_tracing
from lms.kernel.verify import Invariant, keep, keep_only, verification_is_due, verify
from lms.kernel.waiting import at_most, cancelled
from lms.kernel.watchdog import end_within, memory_limit, watch_memory

_log = structlog.get_logger(__name__)

LISTEN_SECONDS = 10.0
"""A process that does not listen by then ends, to be started anew (the guide's `listen_timeout`)."""

SHUTDOWN_SECONDS = 3.9
"""How long a stop may take after draining; whoever runs the process kills it five seconds after SIGTERM."""
_CONSUMERS_SECONDS = 1.0
_RELAY_SECONDS = 0.6
_CLOSE_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """Periodic work that one copy of the service does at a time. It must be harmless to repeat."""

    name: str
    every: timedelta
    run: "Callable[[Runtime], Awaitable[None]]"


@dataclass(frozen=True)
class Service:
    """Everything that makes up one service, named literally.

    `publishes` are its events, by the topic that they go to; `inline` are the views written in the command's own
    transaction; `checks` are more parts of /health, each given the process; `wrap` puts layers around the HTTP
    application, given the settings; `on_start` and `on_stop` are given the process; `on_restored` is what the service
    does itself after a restore, before it runs again (it may be called twice). `examples` hold one instance of each
    event, for the contracts. `invariants` are rules of its own that `lms verify` checks. `measures` bring its own
    gauges up to date, and `tally` counts each fact of its own once that is committed.
    """

    name: str
    settings: type[ProcessSettings] = KernelSettings
    examples: tuple[Event, ...] = ()
    upcasters: Mapping[tuple[str, int], Upcaster] = field(default_factory=dict)
    deciders: tuple[Decider[Any, Any, Any], ...] = ()
    publishes: Mapping[str, tuple[type[Event], ...]] = field(default_factory=dict)
    inline: tuple[type[Projection], ...] = ()
    consumers: tuple[Consumer, ...] = ()
    routers: tuple[APIRouter, ...] = ()
    jobs: tuple[Job, ...] = ()
    on_start: "Callable[[Runtime], Awaitable[None]] | None" = None
    on_stop: "Callable[[Any], Awaitable[None]] | None" = None
    on_restored: "Callable[[Runtime, Restoration], Awaitable[None]] | None" = None
    checks: "Mapping[str, Callable[[Any], Awaitable[Any]]]" = field(default_factory=dict)
    wrap: "Callable[[ASGIApp, Any], ASGIApp] | None" = None
    invariants: tuple[Invariant, ...] = ()
    measures: tuple[Measure, ...] = ()
    tally: Callable[[Event], None] = field(default=lambda _: None)
    migrations: Path | None = None

    @property
    def events(self) -> tuple[type[Event], ...]:
        """All that it records."""
        return tuple(event for events in self.publishes.values() for event in events)

    @property
    def subscribes(self) -> tuple[str, ...]:
        """The topics that its consumers read, each once."""
        return tuple(sorted({topic for consumer in self.consumers for topic in consumer.topics}))

    def topics(self) -> list[Topic]:
        """Return the topics that must exist before the service starts."""
        of_facts = [Topic(name) for name in sorted({*self.publishes, *self.subscribes})]
        return of_facts + self.dead_letter_topics()

    def dead_letter_topics(self) -> list[Topic]:
        """Return the topics of its consumers' dead letters, which are few and in no order that anybody relies on."""
        return [Topic(dead_letter_topic(self.name, consumer.name), partitions=1) for consumer in self.consumers]


class Process:
    """What every running process has: its wiring, settings, Redis and clock. A service without a database is just this.

    `ready` says whether it takes requests now, `stopping` is set once it should end; `parts` is what a service keeps
    for the life of the process.
    """

    def __init__(self, service: Service, settings: ProcessSettings) -> None:
        self.service = service
        self.parts: dict[str, Any] = {}
        self.settings: Any = settings
        self.ready = False
        self.stopping = asyncio.Event()
        self.redis: Redis = connect(settings.redis_url.get_secret_value())
        self.clock = BusinessClock(self.redis, production=settings.production)
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Run a coroutine in the background until the process stops."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def stop_seconds(self) -> float:
        """How long `stop` may take, of SHUTDOWN_SECONDS; requests in hand have the rest."""
        return 2 * _CLOSE_SECONDS

    def stop_when_asked(self) -> None:
        """Set `stopping` on SIGTERM, on SIGINT, and when the process has grown past its memory limit."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        megabytes: int = self.settings.memory_limit_mb
        if megabytes:
            watch_memory(memory_limit(megabytes), partial(loop.call_soon_threadsafe, self.stopping.set))

    async def start(self, *, worker: bool) -> None:
        """Start the clock and the start-up work; `worker` makes a difference only where there is a database."""
        _log.debug("starting", worker=worker)
        BUILD.labels(version_of(self.service.name)).set(1)
        self.spawn(measure_event_loop(), "measure the event loop")
        await self.clock.start()
        if self.service.on_start is not None:
            self.spawn(self._on_start(self.service.on_start), "on start")
        self.ready = True

    async def stop(self) -> None:
        """Stop the background work and close the connections."""
        self.ready = False
        if self.service.on_stop is not None:
            await _close(self.service.on_stop(self))
        await cancelled(self._tasks)
        await _close(self.clock.stop(), self.redis.aclose())

    async def _on_start(self, action: "Callable[[Any], Awaitable[None]]") -> None:
        pause = 0.2
        while True:
            try:
                await action(self)
            except Exception:  # noqa: BLE001  # whatever it needs may come later
                _log.warning("the service's start-up work failed; it is tried again", exc_info=True)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)
            else:
                return


class Runtime(Process):
    """The parts of a service with stores: what handlers, consumers and jobs share. Built once, in `serve`."""

    def __init__(self, service: Service, settings: KernelSettings) -> None:
        super().__init__(service, settings)
        self.codec = Codec((*service.events, Restored), service.upcasters)
        self.database = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool)
        self.replica = Replica.of(settings)
        self.store = EventStore(service.name, self.codec)
        self.producer = Producer(settings.kafka_bootstrap_servers, client_id=f"lms-{service.name}")
        self.relay = Relay(self.database, self.producer, service.name)
        self.executor = Executor(
            self.database,
            self.store,
            self.clock,
            inline=service.inline,
            on_commit=self._committed,
            tally=service.tally,
            on_change=self._changed,
        )
        self.keyring = Keyring.of(settings)
        self.runners: list[ConsumerRunner] = []
        self.runners.extend(ConsumerRunner(self, consumer) for consumer in service.consumers)
        self._relays = False
        self._wake_pending = False
        self._jobs = (*service.jobs, _PURGE, _VERIFY)
        announce_commands((event.TYPE for event in service.events), (job.name for job in self._jobs))
        self._concerned: set[str] = set()
        self._giving = False

    @property
    def stop_seconds(self) -> float:
        """How long `stop` may take, of SHUTDOWN_SECONDS."""
        return super().stop_seconds + _CONSUMERS_SECONDS + _RELAY_SECONDS + _CLOSE_SECONDS

    @property
    def _channel(self) -> str:
        return f"lms:outbox:{self.service.name}"

    def _committed(self) -> None:
        """Wake the relay: this copy's if it holds the lease, else the holder's through Redis."""
        if self._relays:
            self.relay.wake()
        if not self.relay.holds_lease and not self._wake_pending:
            self._wake_pending = True
            self.spawn(self._wake_others(), "wake the outbox relay")

    async def _wake_others(self) -> None:
        self._wake_pending = False
        with contextlib.suppress(Exception):  # the relay looks once a second anyway
            await self.redis.publish(self._channel, b"1")

    def _changed(self, people: Collection[str]) -> None:
        """Give hints to those whom a commit concerned, together with those of other commits since the last hints."""
        self._concerned.update(people)
        if not self._giving:
            self._giving = True
            self.spawn(self._give_hints(), "give hints")

    async def _give_hints(self) -> None:
        while self._concerned:
            people, self._concerned = self._concerned, set()
            with contextlib.suppress(Exception):  # a page that missed its hint looks again by itself
                await give(self.redis, self.service.name, people)
        self._giving = False

    async def _listen_for_wakes(self) -> None:
        while True:
            try:
                async with self.redis.pubsub() as channel:
                    await channel.subscribe(self._channel)
                    while True:
                        if await channel.get_message(ignore_subscribe_messages=True, timeout=5.0):
                            self.relay.wake()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001  # Redis is away: the relay polls
                _log.debug("no wake-ups through Redis", reason=error)
                await asyncio.sleep(1.0)

    async def start(self, *, worker: bool) -> None:
        """Start the clock and, as a worker, the relay, the consumers and the jobs."""
        await super().start(worker=worker)
        told = key_holders.tell(self.redis, self.service.name, self.settings.instance, self.settings.encryption_keys())
        self.spawn(told, "tell which encryption keys are held")
        if self.replica is not None:
            self.spawn(self.replica.watch(), "watch the replica")
        if worker:
            self._relays = True
            self.relay.start()
            self.spawn(self._listen_for_wakes(), "listen for outbox wake-ups")
            for runner in self.runners:
                self.spawn(runner.run(), f"consumer {runner.consumer.name}")
            self.spawn(measure_stores(self), "measure the stores")
            for job in self._jobs:
                self.spawn(self._run_job(job), f"job {job.name}")

    async def stop(self) -> None:
        """Stop fetching, finish the batch in hand, flush the relay, leave the groups, close the pools."""
        self.ready = False
        stopped = asyncio.gather(*(runner.stop() for runner in self.runners), return_exceptions=True)
        await at_most(_CONSUMERS_SECONDS, stopped)
        if self._relays:
            await at_most(_RELAY_SECONDS, self.relay.stop(flush=_RELAY_SECONDS / 2))
        await super().stop()
        await _close(self.producer.stop(), self.keyring.close(), self.database.close())
        if self.replica is not None:
            await _close(self.replica.close())

    async def _run_job(self, job: Job) -> None:
        holder = f"{socket.gethostname()[:30]}.{os.getpid()}.{new_id()[-8:]}"
        lease = 30
        while True:
            try:
                if await self._take_job(job.name, holder, lease):
                    renewal = asyncio.create_task(self._keep_job(job.name, holder, lease))
                    try:
                        await job.run(self)
                    finally:
                        renewal.cancel()
                        await self._give_job_back(job.name, holder)
                    JOB_RUNS.labels(job.name, "done").inc()
            except asyncio.CancelledError:
                raise
            except Exception:  # noqa: BLE001  # the next run may succeed; a job is harmless to repeat
                JOB_RUNS.labels(job.name, "failed").inc()
                _log.warning("a periodic job failed; it runs again", job=job.name, exc_info=True)
            await asyncio.sleep(job.every.total_seconds())

    async def _take_job(self, job: str, holder: str, seconds: int) -> bool:
        async with self.database.transaction() as connection:
            return await leases.take(connection, job, holder, seconds)

    async def _keep_job(self, job: str, holder: str, seconds: int) -> None:
        while True:
            await asyncio.sleep(seconds / 3)
            with contextlib.suppress(Exception):
                await self._take_job(job, holder, seconds)

    async def _give_job_back(self, job: str, holder: str) -> None:
        async with self.database.transaction() as connection:
            await leases.give_back(connection, job, holder)


async def _close(*parts: Awaitable[Any]) -> None:
    """Close each part; one that hangs or fails does not keep the others open."""
    for part in parts:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await part


async def verify_itself(runtime: Runtime) -> None:
    """Verify the service when that is due, in a process of its own, so that requests do not wait for it."""
    every = timedelta(hours=runtime.settings.verify_hours)
    async with runtime.database.read() as connection:
        if not every or not await verification_is_due(connection, every):
            return
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"lms.{runtime.service.name}.main", "--verify",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        if await child.wait():
            _log.error("the service does not verify: run `lms verify` and see docs/runbooks/ProjectionDrift.md")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


_PURGE = Job("purge-idempotency", every=timedelta(hours=1), run=purge_idempotency)
_VERIFY = Job("verification", every=timedelta(minutes=1), run=verify_itself)


def version_of(service: str) -> str:
    """Return the version of a service's package, or the kernel's where it is not installed as one."""
    for package in (f"lms-{service}", "lms-kernel"):
        with contextlib.suppress(PackageNotFoundError):
            return version(package)
    return "unknown"


def process(service: Service, settings: ProcessSettings) -> Process:
    """Return the parts of a process: with stores where the settings name a database."""
    return Runtime(service, settings) if isinstance(settings, KernelSettings) else Process(service, settings)


class DidNotListen(Exception):
    """The process could not begin to take requests."""


async def serve(service: Service, settings: ProcessSettings, *, role: str) -> None:
    """Run the process until it is asked to stop. Raises DidNotListen, and RestoreUnfinished."""
    if isinstance(settings, KernelSettings):
        await _refuse_while_restoring(settings)
    runtime = process(service, settings)
    runtime.stop_when_asked()
    app: ASGIApp = create_app(runtime, service.routers, title=f"LMS {service.name}")
    if service.wrap is not None:
        app = service.wrap(app, settings)
    server = HttpServer(app, settings.host, settings.port, inherited=settings.listen_fd)
    try:
        async with asyncio.timeout(LISTEN_SECONDS):
            await runtime.start(worker=role in {"all", "worker"})
            await server.start()
    except TimeoutError:
        raise DidNotListen(f"{service.name} did not listen on port {settings.port} within {LISTEN_SECONDS} s") from None
    except OSError as error:
        raise DidNotListen(str(error)) from error
    _log.info("the service is up", service=service.name, role=role, port=settings.port)
    stopping = asyncio.create_task(runtime.stopping.wait())
    await asyncio.wait({stopping, server.task}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    draining = settings.drain_seconds if role in {"all", "api"} else 0.0
    end_within(draining + SHUTDOWN_SECONDS)
    runtime.ready = False
    runtime.stopping.set()
    _log.info("the service stops", service=service.name)
    await server.drain(draining)
    await server.stop(SHUTDOWN_SECONDS - runtime.stop_seconds)
    await runtime.stop()
    await asyncio.to_thread(shut_down, _CLOSE_SECONDS)
    _log.info("the service has stopped", service=service.name)


async def _refuse_while_restoring(settings: KernelSettings) -> None:
    database = Database(settings.database_url.get_secret_value(), pool_size=1)
    try:
        await refuse_while_pending(database)
    finally:
        await database.close()


async def operate(
    service: Service, settings: KernelSettings, *, rebuild_view: str | None = None, finish_restore: bool = False
) -> int:
    """Rebuild a view (`all`: every one), finish a restore, or verify; return the exit code: 1 when something is wrong.

    What happens is written to standard output, a JSON object a line: `{"progress": …}` meanwhile, then
    `{"rebuilt": …}` for each view, `{"republished": …}`, or `{"check": …}` for each check, and last `{"finished": …}`
    (whether all is well) or `{"failed": …}` (why it could not be done).
    """
    runtime = Runtime(service, settings)
    sound = True

    def tell(progress: Progress) -> None:
        _say("progress", progress)

    try:
        if rebuild_view is not None:
            views = list(views_of(service)) if rebuild_view == "all" else [rebuild_view]
            for rebuilt in await rebuild(runtime, views, tell):
                _say("rebuilt", rebuilt)
        elif finish_restore:
            _say("republished", await republish(runtime, tell))
        else:
            os.nice(10)  # the service itself comes first
            checks: list[str] = []
            async for check in verify(runtime, tell):
                _say("check", check)
                async with runtime.database.transaction() as connection:
                    await keep(connection, check)
                checks.append(check.name)
                sound = sound and not check.faults
            async with runtime.database.transaction() as connection:
                await keep_only(connection, checks)
        _say("finished", sound)
    except _TELLABLE as error:
        _say("failed", f"{type(error).__name__}: {error}")
        sound = False
    finally:
        await _close(runtime.producer.stop(), runtime.redis.aclose(), runtime.keyring.close(), runtime.database.close())
    return 0 if sound else 1


_TELLABLE = (
    NotAView, Busy, Unreadable, UnknownEventType, Gone, NotDeleted, NothingToRepublish, UnknownTopic, DomainError,
    OSError, DBAPIError, KafkaError, RedisError,
)  # fmt: skip
"""Failures whose text says all; of others the traceback is wanted."""


def _say(kind: str, found: Any) -> None:
    said = asdict(found) if is_dataclass(found) and not isinstance(found, type) else found
    sys.stdout.write(json.dumps({kind: said}, default=str) + "\n")
    sys.stdout.flush()


def _arguments(service: Service, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"lms-{service.name}", description=f"The LMS {service.name} service.")
    parser.add_argument("--role", choices=("all", "api", "worker"), default="all", help="which parts to run")
    parser.add_argument("--migrate", action="store_true", help="bring the schema up to date and exit")
    parser.add_argument("--topics", action="store_true", help="declare the Kafka topics and exit")
    parser.add_argument("--rebuild", metavar="VIEW", help="make a view, or all, anew from its facts and exit")
    parser.add_argument(
        "--verify", action="store_true", help="compare views, topics and tables with the facts and exit"
    )
    parser.add_argument(
        "--republish", action="store_true", help="after a restore: make the topics anew from the log, and exit"
    )
    return parser.parse_args(arguments)


def run(service: Service, arguments: Sequence[str] | None = None) -> None:
    """Read the settings, then serve, or do the one thing that the command line names."""
    chosen = _arguments(service, arguments)
    reports = chosen.rebuild or chosen.verify or chosen.republish
    try:
        settings = load(service.settings)
        configure_tracing(service.name, settings.instance)
    except (BadSettings, BadTracing) as error:
        sys.exit(f"{service.name} cannot start:\n{error}")
    configure_logs(
        service.name,
        settings.log_level,
        instance=settings.instance,
        environment=settings.environment,
        stream=sys.stderr if reports else None,
    )
    collect_seldom()
    if reports:
        if not isinstance(settings, KernelSettings):
            sys.exit(f"{service.name} has no views: it keeps nothing.")
        work = operate(service, settings, rebuild_view=chosen.rebuild, finish_restore=chosen.republish)
        sys.exit(uvloop.run(work))
    if not (chosen.migrate or chosen.topics):
        try:
            uvloop.run(serve(service, settings, role=chosen.role))
        except KeyboardInterrupt:
            return  # before the loop had a handler for it
        except (DidNotListen, RestoreUnfinished) as error:
            _log.critical("the service cannot start", reason=error)
            sys.exit(f"{service.name} cannot start: {error}")
    elif isinstance(settings, KernelSettings):
        if chosen.migrate and service.migrations is not None:
            migrate(service.migrations, settings.migration_url())
        if chosen.topics:
            asyncio.run(declare(settings.kafka_bootstrap_servers, service.topics()))
