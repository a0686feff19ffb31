"""Which ENCRYPTION_KEYs each process holds, told in Redis, so that a rotation knows whom it would harm.

Keys are told by their fingerprints, the one that seals first. A process tells every TELL_SECONDS for as long as it
runs; one that has ended without a word is forgotten after FORGOTTEN_SECONDS. Who is not heard of may still run: Redis
may have been away, and versions from before this module tell nothing.
"""

import asyncio
import json
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from lms.kernel.keyring import derive_key

TELL_SECONDS = 5.0
FORGOTTEN_SECONDS = 20

_PREFIX = "lms:encryption-keys:"
_FINGERPRINT_BYTES = 6
_CLOSE_SECONDS = 0.2
_AWAY = (RedisError, OSError, TimeoutError)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """A process that told which keys it holds: their fingerprints, that of the key which seals first."""

    service: str
    process: str
    fingerprints: tuple[str, ...]

    @property
    def instance(self) -> str:
        """The name that the process was given (LMS_INSTANCE), else its host's."""
        return self.process.rpartition(".")[0]


def fingerprint(encryption_key: str) -> str:
    """Return 12 hexadecimal digits that tell keys apart and give none away."""
    return derive_key(encryption_key, "fingerprint")[:_FINGERPRINT_BYTES].hex()


async def tell(redis: Redis, service: str, instance: str, encryption_keys: Sequence[str]) -> None:
    """Tell which keys this process holds, until cancelled; then be forgotten."""
    name = f"{_PREFIX}{service}:{instance or socket.gethostname()}.{os.getpid()}"
    told = json.dumps([fingerprint(one) for one in encryption_keys])
    try:
        while True:
            try:
                await redis.set(name, told, ex=FORGOTTEN_SECONDS)
            except _AWAY as error:
                _log.debug("nobody learns which keys this process holds: Redis is away", reason=error)
            await asyncio.sleep(TELL_SECONDS)
    finally:
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await redis.delete(name)


async def holders(redis: Redis) -> list[Holder]:
    """Return every process that is heard of. Raises what Redis raises when it is away."""
    names = [name async for name in redis.scan_iter(match=f"{_PREFIX}*", count=1000)]
    told = await redis.mget(names) if names else []
    found = []
    for name, value in zip(names, told, strict=True):
        if value is not None:
            service, _, process = name.decode().removeprefix(_PREFIX).partition(":")
            found.append(Holder(service, process, tuple(json.loads(value))))
    return sorted(found)
