"""Hints: after a commit, Redis is told of whom something changed, so that whoever has a page open looks again.

A hint names the service that wrote something about a person, and nothing of what it was: whoever hears it asks the API
anew, which decides what they may see. A hint may be lost or come twice; nothing may rest on one.
"""

from collections.abc import Collection

from redis.asyncio import Redis

_PREFIX = "lms:hints:"


def channel_of(person: str) -> str:
    """Return the Redis channel of a person's hints; a message on it is the name of a service."""
    return _PREFIX + person


async def give(redis: Redis, service: str, people: Collection[str]) -> None:
    """Say that a service has written something about each of these people. Raises RedisError when Redis is away."""
    async with redis.pipeline(transaction=False) as pipe:
        for person in people:
            pipe.publish(channel_of(person), service)
        await pipe.execute()
