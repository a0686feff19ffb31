"""Reminders and digests, by Faust, in a process of their own: `python -m lms.notifications.streams`.

Faust may repeat or, after a crash, skip what it works on (docs/adr/0012), so that nothing rests on it. A timer looks
into MySQL for what still waits, and pure functions say who is due to be told; an agent tells them. The rows are made
once for each person, cause and channel, whatever is repeated; what was skipped is still due when the timer looks again.
No table of Faust's is used. The process answers `/livez`, `/readyz`, `/health` and `/metrics`, and nothing else.
"""

import argparse
import asyncio
import contextlib
import sys
from typing import Any

import faust
import structlog
from faust.types import StreamT
from pydantic import TypeAdapter

from lms.kernel.execution import CommandContext, UnitOfWork
from lms.kernel.garbage import collect_seldom
from lms.kernel.http import create_app
from lms.kernel.kafka import Topic, connection, declare
from lms.kernel.logs import configure as configure_logs
from lms.kernel.server import HttpServer
from lms.kernel.service import Runtime, Service
from lms.kernel.settings import BadSettings, load
from lms.kernel.tracing import BadTracing, current_traceparent, shut_down, span
from lms.kernel.tracing import configure as configure_tracing
from lms.kernel.waiting import cancelled
from lms.kernel.watchdog import end_within
from lms.notifications import store
from lms.notifications.commands.telling import tell, waiting
from lms.notifications.decider import Notice, channels, digests, reminders
from lms.notifications.settings import Settings
from lms.notifications.store import Preferences

NAME = "notifications-streams"

STOP_SECONDS = 3.0

_NOTICE = TypeAdapter(Notice)
_log = structlog.get_logger(__name__)


def topic_of(name: str = NAME) -> Topic:
    """Return the topic of notices that are due, for whichever copy has the person's partition. It holds no facts."""
    return Topic(f"{name}.due", retention_ms=24 * 3600 * 1000)


async def due(uow: UnitOfWork, settings: Settings) -> list[Notice]:
    """Return the reminders and digests that are due now, business time, and were not made yet."""
    waits = await waiting(uow)
    found = [
        *reminders(waits, uow.now, settings.reminder_after),
        *digests(waits, uow.now, settings.digest_hour),
    ]
    chosen = await store.preferences_of(uow.connection, {one.person for one in found})
    wanted = [one for one in found if channels(one.kind, chosen.get(one.person, Preferences()).mail_off)]
    return await store.not_told(uow.connection, wanted)


def build(runtime: Runtime, name: str) -> faust.App:
    """Return the Faust application: a timer that finds what is due, and an agent that tells it."""
    settings: Settings = runtime.settings
    connected = connection(settings.kafka_bootstrap_servers)
    brokers = connected["bootstrap_servers"].split(",")
    settings.streams_folder.mkdir(parents=True, exist_ok=True)
    declared = topic_of(name)
    app = faust.App(
        name,
        broker=[f"kafka://{one}" for one in brokers],
        broker_credentials=_credentials(connected),
        store="memory://",
        datadir=str(settings.streams_folder),
        processing_guarantee="at_least_once",
        topic_partitions=declared.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=10.0,
        web_enabled=False,
        autodiscover=False,
        value_serializer="raw",
        key_serializer="raw",
    )
    topic = app.topic(declared.name, key_type=bytes, value_type=bytes)

    async def find() -> None:
        for notice in await runtime.executor.run(lambda uow: due(uow, settings)):
            await topic.send(key=notice.person.encode(), value=_NOTICE.dump_json(notice))

    async def remind(stream: StreamT[bytes]) -> None:
        async for value in stream:
            notice = _NOTICE.validate_json(value)

            async def told(uow: UnitOfWork, notice: Notice = notice) -> None:
                await tell(uow, [notice])

            with span(f"process {declared.name}", kind="consumer"):
                await runtime.executor.run(told, context=CommandContext(traceparent=current_traceparent()))

    app.timer(settings.scan_seconds, on_leader=False)(find)
    app.agent(topic, name="remind")(remind)
    return app


def _credentials(connected: dict[str, Any]) -> faust.SASLCredentials | None:
    """Return who one is at the brokers, as Faust is told; None where they ask for nobody."""
    if "sasl_mechanism" not in connected:
        return None
    return faust.SASLCredentials(
        mechanism=connected["sasl_mechanism"],
        username=connected["sasl_plain_username"],
        password=connected["sasl_plain_password"],
        ssl_context=connected["ssl_context"],
    )


async def serve(settings: Settings, name: str = NAME) -> int:
    """Run until SIGTERM or SIGINT; return 1 if Faust gave up, to be started anew.

    `name` is that of the consumer group.
    """
    runtime = Runtime(Service(name=name, settings=Settings), settings)
    runtime.stop_when_asked()
    await runtime.start(worker=False)
    server = HttpServer(create_app(runtime, (), title=f"LMS {name}"), settings.host, settings.port)
    await server.start()
    app = build(runtime, name)
    app.finalize()
    running = asyncio.create_task(_run(app))
    stopping = asyncio.create_task(runtime.stopping.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    gave_up = not runtime.stopping.is_set()
    end_within(STOP_SECONDS + 1.5)
    await cancelled((running, stopping))
    if gave_up:
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        reason = outcome or getattr(app, "crash_reason", None)
        _log.error("the streams broke, and begin anew", exc_info=reason)
    with contextlib.suppress(Exception):
        async with asyncio.timeout(STOP_SECONDS):
            await app.stop()
    await server.stop(0.5)
    with contextlib.suppress(Exception):
        async with asyncio.timeout(1.0):
            await runtime.stop()
    await asyncio.to_thread(shut_down, 0.3)
    return int(gave_up)


async def _run(app: Any) -> None:
    await app.start()
    _log.info("the streams are up")
    await app.wait_until_stopped()


def main() -> None:
    """Read the settings, then declare the topic or run, as the command line says."""
    parser = argparse.ArgumentParser(prog=f"lms-{NAME}", description="Reminders and digests.")
    parser.add_argument("--topics", action="store_true", help="declare the Kafka topic and exit")
    chosen = parser.parse_args()
    try:
        settings = load(Settings)
        configure_tracing(NAME, settings.instance)
    except (BadSettings, BadTracing) as error:
        sys.exit(f"{NAME} cannot start:\n{error}")
    configure_logs(NAME, settings.log_level, instance=settings.instance, environment=settings.environment)
    collect_seldom()
    if chosen.topics:
        asyncio.run(declare(settings.kafka_bootstrap_servers, [topic_of()]))
    else:
        sys.exit(asyncio.run(serve(settings)))


if __name__ == "__main__":
    main()
