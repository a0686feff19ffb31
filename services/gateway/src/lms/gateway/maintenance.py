"""Maintenance: new work is refused, what is in hand is finished, and administrators are let in.

Whether LMS is in maintenance stands in Redis, for every copy of the gateway, with a revision that rises with each
change. Each copy looks twice a second, tells there how many requests it has in hand, and offers what it knows: the
newer revision wins. So the state survives a Redis that was flushed, for a copy that knows it writes it again, and a
restart of the gateway, for it stands in Redis. While Redis is away each copy goes on with what it knew last.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import structlog
from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from lms.kernel.errors import Unavailable

MAINTENANCE = Gauge("gateway_maintenance", "1 while LMS is in maintenance, as this copy of the gateway knows")

LOOK_SECONDS = 0.5
FORGOTTEN_MS = 5_000
"""A copy that has not told of itself for so long is gone."""
REDIS_SECONDS = 1.0

_STATE = "{lms:maintenance}:state"
_COPIES = "{lms:maintenance}:copies"

_LOOK = """
local stored = redis.call('GET', KEYS[1])
if not stored or cjson.decode(stored)['revision'] < tonumber(ARGV[1]) then
  stored = ARGV[2]
  redis.call('SET', KEYS[1], stored)
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local told = {revision = tonumber(ARGV[1]), in_hand = tonumber(ARGV[4]), at = now}
redis.call('HSET', KEYS[2], ARGV[3], cjson.encode(told))
redis.call('PEXPIRE', KEYS[2], 60000)
return stored
"""
"""KEYS: the state, the copies; ARGV: the revision and state that the copy knows, its name, its requests in hand.

Returns the state that holds. The copy tells its requests with the revision that it knew while it counted them: one that
learns of maintenance only now has drained nothing yet.
"""

_CHANGE = """
local clock = redis.call('TIME')
local revision = math.max(tonumber(ARGV[1]), clock[1] * 1000 + math.floor(clock[2] / 1000))
local stored = redis.call('GET', KEYS[1])
if stored then revision = math.max(revision, cjson.decode(stored)['revision'] + 1) end
local state = cjson.decode(ARGV[2])
state['revision'] = revision
redis.call('SET', KEYS[1], cjson.encode(state))
return cjson.encode(state)
"""
"""KEYS: the state; ARGV: the lowest revision to give, the new state. Returns it with its revision.

Revisions are milliseconds of Redis's clock, so that one given after a flush is newer than those that copies know.
"""

_TOLD = """
local clock = redis.call('TIME')
return {clock[1] * 1000 + math.floor(clock[2] / 1000), redis.call('HGETALL', KEYS[1])}
"""

_log = structlog.get_logger(__name__)
_AWAY = (RedisError, OSError, TimeoutError)


class InMaintenance(Unavailable):
    """LMS takes no new work now."""

    code = "maintenance"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class State:
    """Whether LMS is in maintenance, and what callers are told of it; `by` is the id of who said so."""

    enabled: bool = False
    message: str = ""
    retry_after: int = 120
    since: str | None = None
    by: str | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What a copy of the gateway told of itself last."""

    instance: str
    revision: int
    in_hand: int


@dataclass
class Maintenance:
    """What one copy of the gateway knows and tells."""

    redis: Redis
    instance: str
    state: State = field(default_factory=State)
    in_hand: int = 0

    def __post_init__(self) -> None:
        self._look = self.redis.register_script(_LOOK)
        self._change = self.redis.register_script(_CHANGE)
        self._told = self.redis.register_script(_TOLD)

    @classmethod
    def of(cls, redis: Redis, instance: str) -> "Maintenance":
        """Return the knowledge of a copy, which names itself by its instance, else by host and process."""
        return cls(redis, instance or f"{socket.gethostname()}.{os.getpid()}")

    # Letting in ---------------------------------------------------------------------------------------------------

    def refuse(self) -> None:
        """Raise InMaintenance while LMS is in maintenance."""
        if self.state.enabled:
            said = f": {self.state.message}" if self.state.message else "."
            raise InMaintenance(f"LMS is in maintenance{said}", self.state.retry_after)

    @contextmanager
    def counted(self) -> Iterator["Held"]:
        """Count a request as in hand, unless it came in during maintenance: it was let in then on purpose."""
        held = Held(self, counts=not self.state.enabled)
        try:
            yield held
        finally:
            held.let_go()

    # Changing -----------------------------------------------------------------------------------------------------

    async def change(self, *, enabled: bool, by: str, message: str = "", retry_after: int = 120) -> State:
        """Set the state for every copy and return it. Raises Unavailable without Redis: the others would not know."""
        wanted = State(enabled, message, retry_after, datetime.now(UTC).isoformat(timespec="seconds"), by)
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                args: list[str | int] = [self.state.revision + 1, json.dumps(asdict(wanted))]
                found = await self._change(keys=[_STATE], args=args)
        except _AWAY:
            raise Unavailable("Redis is away, so the other copies of the gateway would not know; try again.") from None
        self._take(State(**json.loads(found)))
        return self.state

    async def told(self) -> list[Told]:
        """Return what each living copy of the gateway told last. Raises Unavailable without Redis."""
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await self.look()
                now, pairs = await self._told(keys=[_COPIES])
        except _AWAY:
            raise Unavailable(
                "Redis is away, so it is not known what the copies of the gateway have in hand."
            ) from None
        names, reports = pairs[::2], [json.loads(one) for one in pairs[1::2]]
        return sorted(
            (
                Told(name.decode(), int(report["revision"]), int(report["in_hand"]))
                for name, report in zip(names, reports, strict=True)
                if int(now) - int(report["at"]) <= FORGOTTEN_MS
            ),
            key=lambda one: one.instance,
        )

    async def drained(self, seconds: float) -> list[Told]:
        """Wait, for at most so long, until every copy knows and none has a request in hand; return what they told."""
        until = time.monotonic() + seconds
        while True:
            found = await self.told()
            if is_drained(found, self.state) or time.monotonic() >= until:
                return found
            await asyncio.sleep(LOOK_SECONDS / 2)

    # Following ----------------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Look and tell, until cancelled; then be forgotten."""
        try:
            while True:
                try:
                    async with asyncio.timeout(REDIS_SECONDS):
                        await self.look()
                except _AWAY as error:
                    _log.debug("what is known of maintenance may be old: Redis is away", reason=error)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            with suppress(Exception):
                async with asyncio.timeout(0.2):
                    await self.redis.hdel(_COPIES, self.instance)

    async def look(self) -> None:
        """Offer what this copy knows, tell what it has in hand, and take over what is newer."""
        known = json.dumps(asdict(self.state))
        args: list[str | int] = [self.state.revision, known, self.instance, self.in_hand]
        self._take(State(**json.loads(await self._look(keys=[_STATE, _COPIES], args=args))))

    def _take(self, found: State) -> None:
        if found.enabled != self.state.enabled:
            _log.warning("maintenance begins or ends", enabled=found.enabled)
        self.state = found
        MAINTENANCE.set(int(found.enabled))


class Held:
    """One request, counted while it is in hand."""

    def __init__(self, maintenance: Maintenance, *, counts: bool) -> None:
        self._maintenance = maintenance
        self._counts = counts
        maintenance.in_hand += int(counts)

    def let_go(self) -> None:
        """Count it no longer: it is answered, or its answer is a stream that nobody waits to end."""
        self._maintenance.in_hand -= int(self._counts)
        self._counts = False


def is_drained(told: list[Told], state: State) -> bool:
    """Say whether every copy knows of the state and has no request in hand that came before it."""
    return bool(told) and all(one.revision >= state.revision and one.in_hand == 0 for one in told)
