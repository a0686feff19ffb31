"""Hints: after a commit, Redis is told of whom something changed, so that whoever has a page open looks again.

A hint names the service that wrote something about a person, and nothing of what it was: whoever hears it asks the API
anew, which decides what they may see. The newest one also leaves a mark, for whoever kept an answer and wants to know
whether it may still be given. A hint may be lost or come twice; nothing may rest on one for longer than a moment.
"""

from collections.abc import Collection

from redis.asyncio import Redis

from lms.kernel.ids import new_id

EVERYBODY = ""
"""Stands for all people: for what changes something that all of them see, such as a policy."""

MARK_SECONDS = 3600
"""How long the mark of a hint stands, at least: longer than anybody may keep an answer."""

_PREFIX = "lms:hints:"


def channel_of(person: str) -> str:
    """Return the Redis channel of a person's hints; a message on it is the name of a service."""
    return _PREFIX + person


def mark_of(service: str, person: str) -> str:
    """Return the Redis key whose value is another one after each hint of a service about a person.

    Without a hint for MARK_SECONDS it does not exist.
    """
    return f"lms:hinted:{service}:{person}"


async def give(redis: Redis, service: str, people: Collection[str]) -> None:
    """Say that a service has written something about each of these people. Raises RedisError when Redis is away."""
    mark = new_id()
    async with redis.pipeline(transaction=False) as pipe:
        for person in people:
            pipe.set(mark_of(service, person), mark, ex=MARK_SECONDS)
            pipe.publish(channel_of(person), service)
        await pipe.execute()
