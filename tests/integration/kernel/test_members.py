"""Members of a group come, go, and fall asleep while facts come in: each fact is counted once."""

import asyncio
import os
import signal

import pytest
from tests.integration.kernel.town import PATIENCE, Copy, Town
from tests.waiting import becomes

from lms.kernel.database import SILENT_TRANSACTION_SECONDS


async def has_work(copy: Copy) -> None:
    """Wait until a member has applied something, of the partitions that it has now."""
    before = await copy.metric("consumer_events_total")

    async def applied() -> bool:
        return await copy.metric("consumer_events_total") > before

    await becomes(applied, f"a copy of {copy.part} has no work", PATIENCE)


async def test_one_member_becomes_three_and_one_again_while_deposits_come_in(town: Town) -> None:
    bank, first = await asyncio.gather(town.start("bank"), town.start("count"))
    async with town.people(bank) as people, people.steadily():
        await has_work(first)
        second, third = await asyncio.gather(town.start("count"), town.start("count"))
        for copy in (first, second, third):
            await has_work(copy)
        await asyncio.gather(first.end(), second.end())
        await has_work(third)
    assert await town.faults() == []


@pytest.mark.slow
async def test_a_member_that_sleeps_until_another_has_taken_over_changes_nothing_when_it_wakes(town: Town) -> None:
    bank, sleeper, other = await asyncio.gather(town.start("bank"), town.start("count"), town.start("count"))
    async with town.people(bank) as people, people.steadily():
        for copy in (sleeper, other):
            await has_work(copy)
        rebalances = await other.metric("consumer_rebalances_total")
        os.kill(sleeper.pid, signal.SIGSTOP)

        async def has_taken_over() -> bool:
            return await other.metric("consumer_rebalances_total") > rebalances

        await becomes(has_taken_over, "nobody takes over", PATIENCE)
        await asyncio.wait_for(has_work(other), SILENT_TRANSACTION_SECONDS + PATIENCE)
        os.kill(sleeper.pid, signal.SIGCONT)
        await has_work(sleeper)
    assert await town.faults() == []
