"""The shared cache: answers about the caller that a service lets the gateway keep, until it hints that they changed.

A service marks such an answer with `Surrogate-Control: max-age=<seconds>` (`lms.kernel.http.SURROGATE_CONTROL` says
what it promises by that). An entry belongs to one caller, path, query and business date, and carries the marks of the
newest hints (`lms.kernel.hints`) about the caller and about everybody, as they were before the service was asked: it is
given only while they are the same. So an answer is out of date for as long as a hint takes to come after its commit; a
hint that was lost costs the entry's seconds. Whoever may not wait sends the `Consistency-Token` of a command, or
`Cache-Control: no-cache`, and is answered by the service. Without Redis every request is.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
import structlog
from redis.asyncio import Redis

from lms.gateway.limits import PAUSE_SECONDS, REDIS_SECONDS
from lms.gateway.security import first
from lms.kernel.auth import Caller
from lms.kernel.clock import OFFSET_KEY
from lms.kernel.hints import EVERYBODY, mark_of
from lms.kernel.http import SURROGATE_CONTROL
from lms.kernel.metrics import CACHE_LOOKUPS, announce_cache

CACHE = "answers"
announce_cache(CACHE)

KEPT = {"/api/v1/balances": "balances"}
"""The paths that are looked up, each with its service."""

LARGEST = 64 * 1024
"""Bytes of the largest answer that is kept."""
LONGEST_QUERY = 200
LONGEST_SECONDS = 300

_MAX_AGE = re.compile(r"max-age=(\d{1,6})")
_ASKING_ANEW = (b"cache-control", b"consistency-token", b"if-none-match", b"range")

HeaderList = list[tuple[bytes, bytes]]

_log = structlog.get_logger(__name__)


class Entry(NamedTuple):
    """An answer that was kept, with its headers and with its age in seconds."""

    headers: HeaderList
    body: bytes
    age: int


class Place(NamedTuple):
    """Where an answer goes that is not kept yet: the key, and the marks as they were before the service was asked."""

    key: str
    marks: bytes
    business_date: str


class Cache:
    """The answers that are kept in Redis, for all copies of the gateway. `production` knows no moved business clock."""

    def __init__(self, redis: Redis, *, production: bool) -> None:
        self._redis = redis
        self._production = production
        self._away_until = 0.0

    async def look(
        self, method: str, path: str, query: bytes, headers: HeaderList, caller: Caller | None
    ) -> Entry | Place | None:
        """Return the answer, or the place for it; None for a request that only the service may answer."""
        service = KEPT.get(path)
        if service is None or caller is None or method != "GET" or len(query) > LONGEST_QUERY:
            return None
        if any(first(headers, name) is not None for name in _ASKING_ANEW) or time.monotonic() < self._away_until:
            return None
        key = f"lms:gateway:answer:{caller.id}:{path}?{query.decode('latin-1')}"
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                values: Any = await self._redis.mget(
                    key, mark_of(service, caller.id), mark_of(service, EVERYBODY), OFFSET_KEY
                )
        except Exception as error:  # noqa: BLE001  # whatever ails Redis, the service answers
            self._away_until = time.monotonic() + PAUSE_SECONDS
            CACHE_LOOKUPS.labels(CACHE, "away").inc()
            _log.warning("no answer is looked up: Redis is away", reason=error)
            return None
        found, *marks, offset = values
        today = self._business_date(offset)
        place = Place(key, b"/".join([today.encode(), *(mark or b"" for mark in marks)]), today)
        entry = None if found is None else _read(found, place.marks)
        CACHE_LOOKUPS.labels(CACHE, "miss" if entry is None else "hit").inc()
        return entry or place

    def _business_date(self, offset: bytes | None) -> str:
        ahead = 0.0 if self._production else float(offset or 0)
        return (datetime.now(UTC) + timedelta(seconds=ahead)).date().isoformat()

    async def keep(self, place: Place, headers: HeaderList, body: bytes, seconds: int) -> None:
        """Keep an answer for so many seconds, unless it is of another business date; without Redis it is not kept."""
        dated = first(headers, b"business-date")
        if dated is not None and dated != place.business_date:
            return
        shown = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        entry = b"\n".join([place.marks, orjson.dumps({"kept_at": time.time(), "headers": shown}), body])
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await self._redis.set(place.key, entry, ex=seconds)
        except Exception as error:  # noqa: BLE001  # whatever ails Redis, the answer has come
            _log.debug("an answer was not kept: Redis is away", reason=error)


def seconds_to_keep(status: int, headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return for how long the service lets an answer be kept; 0: not at all, or it is too large."""
    headers = [(name.lower(), value) for name, value in headers]
    control = first(headers, SURROGATE_CONTROL.lower().encode())
    length = first(headers, b"content-length")
    if status != 200 or control is None or length is None or int(length) > LARGEST:  # noqa: PLR2004  # the HTTP status
        return 0
    found = _MAX_AGE.search(control)
    return min(int(found[1]), LONGEST_SECONDS) if found is not None else 0


def _read(entry: bytes, marks: bytes) -> Entry | None:
    """Return an entry, if nothing was hinted since it was made."""
    before, about, body = entry.split(b"\n", 2)
    if before != marks:
        return None
    known = orjson.loads(about)
    headers = [(str(name).encode("latin-1"), str(value).encode("latin-1")) for name, value in known["headers"]]
    return Entry(headers, body, max(0, int(time.time() - known["kept_at"])))
