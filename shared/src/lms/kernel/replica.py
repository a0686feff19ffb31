"""The replica: reads that may be some seconds old are answered by a copy of the database, while it follows closely.

    @router.get("", response_model=Page[RequestAnswer])
    async def list_requests(caller: CallerDep, views: StaleViewsDep, page: PageDep) -> Response: ...

How old its answers may be is known by heartbeats. Every process looks twice a second at the newest beat on the replica
and on the primary, where whoever finds that it is time adds one. A replica commits in the order of the primary; so one
that shows a beat shows everything that was committed before it, and thus before the look that did not find it on the
primary yet. All instants are this process's own and monotonic: no clock of another machine is trusted.

While what is known is older than the bound (LMS_REPLICA_LAG_SECONDS), or the replica cannot be reached, the primary is
asked. Whatever was asked of the replica and did not succeed is asked of the primary again (`AskPrimaryAgain`): one that
dies costs no request, one that hangs is given up by the next look, and no refusal is stale. It takes part again by
itself. A beat is its row's key: a replica that has other rows than the primary (after a restore, say) cannot follow it,
and stops at the next beat.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lms.kernel.database import Database
from lms.kernel.metrics import REPLICA_LAG, REPLICA_READS, announce_replica
from lms.kernel.schema import replica_beats
from lms.kernel.settings import KernelSettings

EVERY = 0.5
"""Seconds between two looks."""

PATIENCE = 1.0
"""Seconds in which the replica, and then the primary, must answer a look, and a new connection must be open."""

_REMEMBERED = 100
_REFUSED = 400
_FRESH = re.compile(r"(?:^|[,\s])(?:no-cache|max-age=0)(?:$|[,\s])", re.IGNORECASE)
_ASKED = "lms.replica"
"""In the scope of a request: True while the replica is what answers, False once the primary was asked instead."""

_DUE = text(
    "SELECT beat, beaten_at NOT BETWEEN NOW(6) - INTERVAL 1 SECOND AND NOW(6) AS due"
    " FROM replica_beats ORDER BY beat DESC LIMIT 1"
)
_FIRST_BEAT = text("INSERT IGNORE INTO replica_beats (beat, beaten_at) VALUES (1, NOW(6))")
_BEAT = text("UPDATE replica_beats SET beat = beat + 1, beaten_at = NOW(6) WHERE beat = :beat")

announce_replica()
_log = structlog.get_logger(__name__)


class NotAReplica(Exception):
    """What is called the replica shows what the primary does not have."""


class Freshness:
    """Up to which instant the replica is known to show what was committed on the primary.

    `as_of` is that instant (monotonic seconds); `holds` says whether it was found since the replica was lost last.
    """

    def __init__(self, now: float) -> None:
        self.as_of = now
        self.holds = False
        self._looked: tuple[int, float] | None = None
        self._beats: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)

    def looked(self, shown: int, beat: int, began: float) -> None:
        """Take in a look that began at an instant and found the replica at `shown`, and then the primary at `beat`.

        Raises NotAReplica where the replica is ahead.
        """
        if self._looked is not None and beat > self._looked[0]:
            self._beats.append((beat, self._looked[1]))
        self._looked = beat, began
        if shown > beat:
            self.holds = False
            raise NotAReplica(f"the replica shows beat {shown}, and the primary {beat}")
        while self._beats and self._beats[0][0] <= shown:
            self.as_of = self._beats.popleft()[1]
            self.holds = True


class Replica:
    """A replica of the service's schema: its connections, and whether reads may go there now."""

    def __init__(self, primary_url: str, url: str, *, pool_size: int, lag_seconds: float) -> None:
        self._database = Database(url, pool_size=pool_size, pool_timeout=PATIENCE, connect_timeout=PATIENCE)
        # Apart from the connections of requests: a look that had to wait for those would find the replica hanging.
        self._looks = Database(url, pool_size=1, connect_timeout=PATIENCE)
        self._primary = Database(primary_url, pool_size=1, connect_timeout=PATIENCE)
        self._bound = lag_seconds
        self._freshness = Freshness(time.monotonic())
        self._reading: set[asyncio.Timeout] = set()
        self._told: bool | None = None

    @classmethod
    def of(cls, settings: KernelSettings) -> Self | None:
        """Return the replica that the settings name, if they name one."""
        if settings.replica_database_url is None:
            return None
        return cls(
            settings.database_url.get_secret_value(),
            settings.replica_database_url.get_secret_value(),
            pool_size=settings.database_pool,
            lag_seconds=settings.replica_lag_seconds,
        )

    @property
    def lag(self) -> float:
        """How old, in seconds, the replica's answers are at most."""
        return time.monotonic() - self._freshness.as_of

    @property
    def follows(self) -> bool:
        """Whether reads that may be stale may go there now."""
        return self._freshness.holds and self.lag <= self._bound

    def takes(self, scope: Scope, cache_control: str | None) -> bool:
        """Say whether the replica answers a request, and let the primary be asked again if it does not succeed."""
        if _ASKED in scope:
            return False
        if cache_control is not None and _FRESH.search(cache_control):
            REPLICA_READS.labels("fresh").inc()
            return False
        if not self.follows:
            REPLICA_READS.labels("behind").inc()
            return False
        scope[_ASKED] = True
        return True

    @staticmethod
    def lacks(scope: Scope) -> None:
        """Note that the replica does not have yet what the caller has seen: the primary answers."""
        scope[_ASKED] = False
        REPLICA_READS.labels("behind").inc()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection to the replica. Raises TimeoutError once a look finds that it hangs."""
        async with asyncio.timeout(None) as limit:
            self._reading.add(limit)
            try:
                async with self._database.read() as connection:
                    yield connection
            finally:
                self._reading.discard(limit)

    async def watch(self) -> None:
        """Look for ever whether the replica follows; tell each change of that once."""
        reason: Exception | None = None
        while True:
            self._tell(reason)
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001  # whatever it is: what is known grows old, and that is looked at
                reason = error
            else:
                reason = None
            self._tell(reason)
            await asyncio.sleep(EVERY)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(self._database.close(), self._looks.close(), self._primary.close())

    async def _look(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE), self._looks.read() as connection:
                shown = int(await connection.scalar(select(func.max(replica_beats.c.beat))) or 0)
        except Exception:
            self._lose()
            raise
        async with asyncio.timeout(PATIENCE), self._primary.transaction() as connection:
            beat = await _newest_beat(connection)
        self._freshness.looked(shown, beat, began)

    def _tell(self, reason: Exception | None) -> None:
        """Bring the gauge up to date, and log a change; that it does not follow yet is no news soon after the start."""
        REPLICA_LAG.set(self.lag)
        follows = self.follows
        if follows is self._told or (self._told is None and not follows and self.lag <= self._bound):
            return
        self._told = follows
        if follows:
            _log.info("the replica answers reads that may be stale", seconds=self.lag)
        else:
            _log.warning("the replica lags or is away; the primary answers", seconds=self.lag, reason=reason)

    def _lose(self) -> None:
        """Give the replica up, and what waits for it, until a look finds it again."""
        self._freshness.holds = False
        now = asyncio.get_running_loop().time()
        while self._reading:
            self._reading.pop().reschedule(now)


async def _newest_beat(connection: AsyncConnection) -> int:
    """Return the primary's newest beat, after adding one if it is time. Processes that add at once add one."""
    row = (await connection.execute(_DUE)).first()
    if row is None:
        await connection.execute(_FIRST_BEAT)
        return 1
    if row.due:
        await connection.execute(_BEAT, {"beat": row.beat})
        return int(row.beat) + 1
    return int(row.beat)


class AskPrimaryAgain:
    """Runs a request again, on the primary, if the replica was asked and the answer would not be a success.

    That is for reads alone, whose requests have no body; nothing of the first answer has been sent then.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        failed = False

        async def send_unless_failed(message: Message) -> None:
            nonlocal failed
            if message["type"] == "http.response.start" and scope.get(_ASKED) and message["status"] >= _REFUSED:
                failed = True
            if not failed:
                await send(message)

        try:
            await self._app(scope, receive, send_unless_failed)
        except Exception:
            if not failed:
                raise
        if failed:
            REPLICA_READS.labels("again").inc()
            scope[_ASKED] = False
            scope.pop("lms.answered", None)
            await self._app(scope, receive, send)
        elif scope.get(_ASKED):
            REPLICA_READS.labels("replica").inc()
