"""Live updates: `GET /api/v1/events`, a stream of server-sent events for one person.

    event: ready                                       the hints from here on are heard
    event: changed                                     some resources may read differently now; read again
    data: {"changed": ["balances"]}                    what is open of them

A stream says what kind of thing changed, and never what: what the person may see, the API says when it is asked. The
services' hints come through Redis, so that every copy of the gateway hears them, and each copy listens only for the
people who are connected to it. Changes that a slow reader has not taken yet are merged, so a stream never holds more
than the names of the resources. A stream ends with the access token that opened it; the browser opens the next one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import orjson
import structlog
from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from starlette.responses import StreamingResponse

from lms.gateway.routes import SERVICES
from lms.kernel.errors import DomainError, Unauthenticated
from lms.kernel.hints import channel_of
from lms.kernel.service import Process
from lms.kernel.waiting import at_most

STREAMS = Gauge("gateway_event_streams", "Streams of live updates that are open")

HEARTBEAT_SECONDS = 15.0
"""A comment is sent this often, so that neither side nor a proxy between takes the stream for dead."""

MOST_STREAMS = 20
"""Streams that one person may have open at one copy of the gateway: pages, tabs, devices."""

_FIRST = b"retry: 2000\nevent: ready\ndata: {}\n\n"
_HEARTBEAT = b": still here\n\n"
_ALWAYS = channel_of("")
"""A channel without a person: a subscription always has one, so that it can be listened to."""

_log = structlog.get_logger(__name__)

RESOURCES: dict[str, frozenset[str]] = {
    service: frozenset(resource for resource, owner in SERVICES.items() if owner == service)
    for service in set(SERVICES.values())
}
"""What may read differently after a service wrote something."""


class TooManyStreams(DomainError):
    """The person has as many streams open as they may."""

    code = "too-many-streams"
    status = 429


class Stream:
    """One open stream: the resources that its reader has not been told of yet."""

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._woken = asyncio.Event()
        self.over = False

    def tell(self, resources: Iterable[str]) -> None:
        """Add resources that changed."""
        self._changed.update(resources)
        self._woken.set()

    def end(self) -> None:
        """Let the stream end."""
        self.over = True
        self._woken.set()

    async def take(self, seconds: float) -> list[str]:
        """Return what has changed, in alphabetical order, as soon as something has; nothing after so many seconds."""
        await at_most(seconds, self._woken.wait())
        self._woken.clear()
        changed, self._changed = sorted(self._changed), set()
        return changed


class Live:
    """The streams that are open at this copy of the gateway, and its subscription in Redis."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._streams: dict[str, set[Stream]] = {}
        self._subscription: PubSub | None = None
        self._listens = False

    def response(self, person: str, check: Callable[[], Any]) -> StreamingResponse:
        """Return the answer that streams to a person for as long as `check` does not raise Unauthenticated.

        Raises TooManyStreams.
        """
        if len(self._streams.get(person, ())) >= MOST_STREAMS:
            raise TooManyStreams(f"You have {MOST_STREAMS} pages open; close one of them.")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._told(person, check), media_type="text/event-stream", headers=headers)

    async def _told(self, person: str, check: Callable[[], Any]) -> AsyncIterator[bytes]:
        stream = Stream()
        STREAMS.inc()
        try:
            await self._open(person, stream)
            yield _FIRST
            while not stream.over:
                changed = await stream.take(HEARTBEAT_SECONDS)
                try:
                    check()
                except Unauthenticated:
                    return
                if changed:
                    yield b"event: changed\ndata: " + orjson.dumps({"changed": changed}) + b"\n\n"
                elif not stream.over:
                    yield _HEARTBEAT
        finally:
            STREAMS.dec()
            self._close(person, stream)

    async def _open(self, person: str, stream: Stream) -> None:
        if not self._listens:
            self._listens = True
            self._process.spawn(self._listen(), "listen for hints")
            self._process.spawn(self._end_with_the_process(), "end the streams")
        self._streams.setdefault(person, set()).add(stream)
        if self._process.stopping.is_set():
            stream.end()
        await asyncio.shield(asyncio.ensure_future(self._subscribe(person)))

    def _close(self, person: str, stream: Stream) -> None:
        theirs = self._streams.get(person, set())
        theirs.discard(stream)
        if not theirs:
            self._streams.pop(person, None)
            self._process.spawn(self._subscribe(person), "leave a channel")

    async def _subscribe(self, person: str) -> None:
        """Listen for a person who has a stream, and no longer for one who has none.

        Never within a stream's own task: one that is cancelled while it sends would break the connection of all.
        """
        if self._subscription is not None:
            with contextlib.suppress(RedisError, OSError):  # the listener finds out, and subscribes anew to everybody
                if person in self._streams:
                    await self._subscription.subscribe(channel_of(person))
                else:
                    await self._subscription.unsubscribe(channel_of(person))

    async def _end_with_the_process(self) -> None:
        await self._process.stopping.wait()
        for theirs in self._streams.values():
            for stream in theirs:
                stream.end()

    async def _listen(self) -> None:
        """Hear hints for as long as the process lives; after a time without Redis, anything may have changed."""
        url = self._process.settings.redis_url.get_secret_value()
        never = Retry(NoBackoff(), 0)  # a connection that comes back by itself would hide that hints were lost
        while True:
            try:
                async with (
                    Redis.from_url(url, retry=never, socket_connect_timeout=2, health_check_interval=5) as redis,
                    redis.pubsub(ignore_subscribe_messages=True) as subscription,
                ):
                    await subscription.subscribe(_ALWAYS)
                    self._subscription = subscription
                    if self._streams:
                        await subscription.subscribe(*map(channel_of, self._streams))
                    for person in self._streams:
                        self._pass_on(person, SERVICES)
                    while True:
                        message = await subscription.get_message(timeout=5.0)
                        if message is not None:
                            person = message["channel"].decode().removeprefix(_ALWAYS)
                            self._pass_on(person, RESOURCES.get(message["data"].decode(), frozenset()))
            except Exception as error:  # noqa: BLE001  # whatever ails Redis, pages look again by themselves
                _log.warning("no hints: Redis is away", reason=type(error).__name__)
                await asyncio.sleep(1.0)
            finally:
                self._subscription = None

    def _pass_on(self, person: str, resources: Iterable[str]) -> None:
        for stream in self._streams.get(person, ()):
            stream.tell(resources)
