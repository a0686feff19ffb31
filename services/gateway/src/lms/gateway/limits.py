"""How many requests a caller may send: one Lua script in Redis, shared by every copy of the gateway.

The generic cell rate algorithm: a whole quota may come at once, and comes back evenly over the window. Without Redis
everybody passes (`gateway_rate_limit_skipped_total`): the limit protects the system, and must not be what stops it.
"""

import asyncio
import math
import time
from typing import NamedTuple

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis

from lms.gateway.security import subscriber_of
from lms.gateway.settings import Settings
from lms.kernel.auth import Caller
from lms.kernel.errors import DomainError

SKIPPED = Counter("gateway_rate_limit_skipped_total", "Requests let through uncounted because Redis was away")
LIMITED = Counter("gateway_rate_limited_total", "Requests refused by the rate limit", ("policy",))

REDIS_SECONDS = 0.25
PAUSE_SECONDS = 1.0
"""After a failure Redis is left alone for so long, so that requests do not all wait for it."""

_log = structlog.get_logger(__name__)

SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local window = tonumber(ARGV[1])
local step = window / tonumber(ARGV[2])
local whole = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
if whole + step - now > window + 0.5 then return {0, string.format('%.0f', whole - now)} end
whole = whole + step
redis.call('SET', KEYS[1], string.format('%.0f', whole), 'PX', math.ceil((whole - now) / 1000))
return {1, string.format('%.0f', whole - now)}
"""
"""KEYS[1] holds when the quota is whole again (microseconds); ARGV: the window in microseconds, the quota.

Returns whether the request passes, and in how many microseconds the quota is whole again.
"""


class TooManyRequests(DomainError):
    """The caller has used up the quota."""

    code = "too-many-requests"
    status = 429


class Policy(NamedTuple):
    """So many requests per window, in seconds."""

    name: str
    quota: int
    window: float


class Verdict(NamedTuple):
    """`remaining` requests pass at once; the quota is whole again after `reset` seconds; one passes after `retry`."""

    allowed: bool
    remaining: int
    reset: int
    retry: int


def verdict(policy: Policy, *, allowed: bool, owed: float) -> Verdict:
    """Return what the state of the limit means; `owed` is the time in seconds until the quota is whole again."""
    step = policy.window / policy.quota
    remaining = max(0, int((policy.window - owed) / step + 1e-3)) if allowed else 0
    retry = 0 if allowed else max(1, math.ceil(owed + step - policy.window))
    return Verdict(allowed, remaining, math.ceil(owed), retry)


def limit_headers(policy: Policy, found: Verdict) -> list[tuple[bytes, bytes]]:
    """Return the RateLimit headers (IETF draft, structured fields)."""
    return [
        (b"ratelimit-policy", f'"{policy.name}";q={policy.quota};w={int(policy.window)}'.encode()),
        (b"ratelimit", f'"{policy.name}";r={found.remaining};t={found.reset}'.encode()),
    ]


class Limiter:
    """Counts whoever really calls: people, service accounts, and addresses of those who are not signed in.

    Of an IPv6 address only the network counts, for whoever has one may come from any other of it.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        window = settings.rate_limit_window_ms / 1000
        self._anonymous = Policy("anonymous", settings.rate_limit_max_requests, window)
        self._people = Policy("signed-in", settings.rate_limit_signed_in, window)
        self._programs = Policy("service-accounts", settings.rate_limit_service_accounts, window)
        self._script = redis.register_script(SCRIPT)
        self._away_until = 0.0
        for policy in (self._anonymous, self._people, self._programs):
            LIMITED.labels(policy.name)

    async def count(self, caller: Caller | None, address: str) -> tuple[Policy, Verdict] | None:
        """Count one request; None where there is no limit, or while Redis is away."""
        if caller is None:
            policy, key = self._anonymous, f"lms:limit:address:{subscriber_of(address)}"
        elif caller.actor.startswith("service:"):
            policy, key = self._programs, f"lms:limit:{caller.actor}"
        else:
            policy, key = self._people, f"lms:limit:person:{caller.id}"
        if not policy.quota:
            return None
        if time.monotonic() < self._away_until:
            SKIPPED.inc()
            return None
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                allowed, owed = await self._script(keys=[key], args=[int(policy.window * 1e6), policy.quota])
        except Exception as error:  # noqa: BLE001  # whatever ails Redis, callers pass
            self._away_until = time.monotonic() + PAUSE_SECONDS
            SKIPPED.inc()
            _log.warning("nobody is counted: Redis is away", reason=error)
            return None
        found = verdict(policy, allowed=bool(allowed), owed=int(owed) / 1e6)
        if not found.allowed:
            LIMITED.labels(policy.name).inc()
        return policy, found
