"""Reading what one has written: the Consistency-Token of a command, and reads that wait for it.

A token is base64url of a JSON list of [service, topic, stream, version], a dot, and base64url of its HMAC-SHA-256 under
a key derived from ENCRYPTION_KEY, which all services have: how far somebody's stream goes is learned by nobody whom no
command told. A read that sends it back waits until every consumer of its service that subscribes to the topic has seen
that version of the stream; views that a command writes in its own transaction need no wait. Several tokens may be sent,
separated by commas.

A replica has everything of a transaction or nothing, and in the order of the primary: it shows a command of its service
once it has the command's events, and what came of a foreign fact once its consumers there have seen it.
"""

import asyncio
import hmac
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import orjson
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.database import Database
from lms.kernel.errors import Malformed, NotCaughtUp
from lms.kernel.event import StreamVersion
from lms.kernel.keyring import derive_key
from lms.kernel.schema import consumer_versions, events

T = TypeVar("T")

HEADER = "Consistency-Token"
WAIT_SECONDS = 2.0
LARGEST = 64

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.05
_FIELDS = 4


class BadConsistencyToken(Malformed):
    """The token is none that a command gave out."""

    code = "bad-consistency-token"


class Written(NamedTuple):
    """Where a service's stream stood after a command."""

    service: str
    topic: str
    stream: str
    version: int


class Tokens:
    """The tokens of all services: signed under a key derived from the first of the secrets; those of each are read."""

    def __init__(self, secret: str, *others: str) -> None:
        self._keys = [derive_key(one, "consistency tokens") for one in (secret, *others)]

    def of(self, service: str, written: Iterable[StreamVersion]) -> str | None:
        """Return the token for what a command wrote; None if it wrote nothing."""
        entries = [[service, one.topic, one.stream, one.version] for one in written]
        if not entries:
            return None
        named = _encoded(orjson.dumps(entries))
        return f"{named}.{_signature(self._keys[0], named)}"

    def read(self, header: str) -> list[Written]:
        """Return what one or several tokens name. Raises BadConsistencyToken, also for one that nobody gave out."""
        for token in header.split(","):
            named, _, signature = token.strip().partition(".")
            given = signature.encode()
            if not any(hmac.compare_digest(given, _signature(key, named).encode()) for key in self._keys):
                raise BadConsistencyToken("No command gave out this Consistency-Token; leave it out.")
        return named_in(header)


def named_in(header: str) -> list[Written]:
    """Return what tokens name, whoever signed them: for those that stand in answers of ours (`idempotency.py`).

    Raises BadConsistencyToken.
    """
    found: list[Written] = []
    try:
        for token in header.split(","):
            named = token.partition(".")[0].strip()
            for entry in orjson.loads(urlsafe_b64decode(named.encode("ascii") + b"=" * (-len(named) % 4))):
                if len(entry) != _FIELDS:
                    raise BadConsistencyToken("The Consistency-Token cannot be read; leave it out.")
                found.append(Written(str(entry[0]), str(entry[1]), str(entry[2]), int(entry[3])))
    except (ValueError, TypeError):
        raise BadConsistencyToken("The Consistency-Token cannot be read; leave it out.") from None
    if len(found) > LARGEST:
        raise BadConsistencyToken(f"A read waits for at most {LARGEST} streams; send newer tokens only.")
    return found


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _signature(key: bytes, named: str) -> str:
    return _encoded(hmac.digest(key, named.encode(), "sha256"))


class CatchUp:
    """Waits until a service's consumers have seen what a token names.

    `subscriptions` maps the name of each consumer to the topics that it reads.
    """

    def __init__(
        self, service: str, database: Database, tokens: Tokens, subscriptions: Mapping[str, Sequence[str]]
    ) -> None:
        self._service = service
        self._database = database
        self._tokens = tokens
        self._readers: dict[str, tuple[str, ...]] = {}
        for consumer, topics in subscriptions.items():
            for topic in topics:
                self._readers[topic] = (*self._readers.get(topic, ()), consumer)

    async def wait(self, header: str, *, seconds: float = WAIT_SECONDS) -> None:
        """Return once everything that the tokens name was seen here.

        Raises BadConsistencyToken, and NotCaughtUp after `seconds`.
        """
        needed = self._needed(self._tokens.read(header))

        async def caught_up() -> bool | None:
            async with self._database.read() as connection:
                return await _have_seen(connection, needed) or None

        if needed and await polled(caught_up, seconds) is None:
            raise NotCaughtUp("The view has not seen your last change yet; repeat the request.")

    async def shown_on(self, connection: AsyncConnection, header: str) -> bool:
        """Say whether a replica, by this connection, shows everything that the tokens name.

        Raises BadConsistencyToken.
        """
        named = self._tokens.read(header)
        own: dict[str, int] = {}
        for one in named:
            if one.service == self._service:
                own[one.stream] = max(one.version, own.get(one.stream, 0))
        if own:
            at = events.c
            rows = await connection.execute(
                select(at.stream, func.max(at.version)).where(at.stream.in_(own)).group_by(at.stream)
            )
            there = {stream: int(version) for stream, version in rows}
            if any(there.get(stream, 0) < version for stream, version in own.items()):
                return False
        needed = self._needed(named)
        return not needed or await _have_seen(connection, needed)

    def _needed(self, named: Sequence[Written]) -> dict[tuple[str, str], int]:
        return {
            (consumer, one.stream): one.version
            for one in sorted(named, key=lambda one: one.version)
            for consumer in self._readers.get(one.topic, ())
        }


async def _have_seen(connection: AsyncConnection, needed: Mapping[tuple[str, str], int]) -> bool:
    """Say whether each consumer has seen the version of each stream that it needs."""
    consumers = {consumer for consumer, _ in needed}
    streams = {stream for _, stream in needed}
    rows = await connection.execute(
        select(consumer_versions.c.consumer, consumer_versions.c.stream, consumer_versions.c.version).where(
            consumer_versions.c.consumer.in_(consumers), consumer_versions.c.stream.in_(streams)
        )
    )
    seen = {(row.consumer, row.stream): int(row.version) for row in rows}
    return all(seen.get(one, 0) >= version for one, version in needed.items())


async def polled(poll: Callable[[], Awaitable[T | None]], seconds: float) -> T | None:
    """Return what `poll` gives as soon as that is not None; None after `seconds`. Asks at least once."""
    until = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        found = await poll()
        if found is not None:
            return found
        left = until - time.monotonic()
        if left <= 0:
            return None
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
