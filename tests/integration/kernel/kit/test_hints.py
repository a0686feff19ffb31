"""Hints: who is told, after a commit, that something of theirs has changed."""

import asyncio

import pytest
from redis.asyncio import Redis
from tests.integration.kernel.kit.test_commands import ACCOUNT, NOON, Deposited, Full

from lms.kernel.clock import FixedClock
from lms.kernel.database import Database
from lms.kernel.event import Codec
from lms.kernel.eventstore import EventStore
from lms.kernel.execution import Executor, UnitOfWork
from lms.kernel.hints import MARK_SECONDS, channel_of, give, mark_of


@pytest.fixture
def told() -> list[set[str]]:
    return []


@pytest.fixture
def executor(database: Database, told: list[set[str]]) -> Executor:
    store = EventStore("accounts", Codec((Deposited,)))
    return Executor(database, store, FixedClock(NOON), on_change=lambda people: told.append(set(people)))


async def test_a_commit_concerns_whom_its_facts_are_keyed_by_and_whom_the_use_case_names(
    executor: Executor, told: list[set[str]]
) -> None:
    async def deposit(uow: UnitOfWork) -> None:
        await uow.handle(ACCOUNT, "a1", 10, key="anna")
        uow.concerns("ben")
        assert told == [], "nobody is told before the commit"

    await executor.run(deposit)
    assert told == [{"anna", "ben"}]


async def test_what_was_not_committed_concerns_nobody(executor: Executor, told: list[set[str]]) -> None:
    async def refused(uow: UnitOfWork) -> None:
        await uow.handle(ACCOUNT, "a2", 10, key="anna")
        raise Full("The account takes no more.")

    with pytest.raises(Full):
        await executor.run(refused)
    assert told == []


async def test_a_hint_names_the_service_and_reaches_only_those_whom_it_concerns(redis: Redis) -> None:
    async with redis.pubsub(ignore_subscribe_messages=True) as annas:
        await annas.subscribe(channel_of("anna"))
        await give(redis, "balances", ["ben"])
        await give(redis, "requests", ["anna", "ben"])
        async with asyncio.timeout(10):
            while (message := await annas.get_message(timeout=1.0)) is None:
                continue
    assert message["data"] == b"requests"


async def test_the_newest_hint_of_a_service_about_a_person_leaves_a_mark_of_its_own(redis: Redis) -> None:
    seen = []
    for _ in range(3):
        await give(redis, "balances", ["carla", "dan"])
        seen.append(await redis.get(mark_of("balances", "carla")))
    await give(redis, "requests", ["carla"])
    await give(redis, "balances", ["dan"])
    assert None not in seen
    assert len(set(seen)) == 3
    assert await redis.get(mark_of("balances", "carla")) == seen[-1]
    assert MARK_SECONDS - 60 < await redis.ttl(mark_of("balances", "carla")) <= MARK_SECONDS
