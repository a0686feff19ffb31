"""Redis: one server, or the leader whom sentinels name.

    redis://:password@host:6379/0
    redis+sentinel://:password@host:26379,host:26379/lms/0

The second form asks the sentinels who leads the group `lms`, and asks again when that one goes: callers see failures
until another leads, and nothing else of it. Redis and the sentinels have the same password.
"""

from typing import Any
from urllib.parse import unquote

from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

_SENTINELS = "redis+sentinel://"
_FORM = "write redis://:password@host:port/0 or redis+sentinel://:password@host:port,host:port/group/0."


def connect(url: str, *, timeout: float = 2.0) -> Redis:
    """Return a client; it connects when it is first used. Raises ValueError for a URL of another form.

    `timeout` is how long, in seconds, a connection and an answer may take.
    """
    if not url.startswith(_SENTINELS):
        client: Redis = Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        return client
    credentials, _, rest = url.removeprefix(_SENTINELS).rpartition("@")
    hosts, _, path = rest.partition("/")
    group, _, number = path.partition("/")
    addresses = [one.rpartition(":") for one in hosts.split(",")]
    if not group or not all(host and port.isdigit() for host, _, port in addresses) or not (number or "0").isdigit():
        raise ValueError(_FORM)
    password = unquote(credentials.partition(":")[2]) or None
    connection: dict[str, Any] = {
        "password": password,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
    }
    sentinels = Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types here
        [(host, int(port)) for host, _, port in addresses], sentinel_kwargs=connection
    )
    leader: Redis = sentinels.master_for(group, connection_pool_class=_Pool, db=int(number or 0), **connection)
    return leader


class _Pool(SentinelConnectionPool):
    """Connections to the leader; closing them closes those to the sentinels too, which redis-py leaves open."""

    async def aclose(self) -> None:
        await super().aclose()
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()
