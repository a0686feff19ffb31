"""`kill -9` at each failpoint of the kernel, under load: nothing is lost, nothing is doubled.

And without the checks that see to that, the same deaths show in the sums.
"""

import asyncio

import pytest
from tests.integration.kernel.town import Town

TOLD_TWICE = "relay.after-publish=kill@1"
DEATHS = [
    (TOLD_TWICE, "count", "consumer.in-batch=kill@5"),
    pytest.param("relay.after-read=kill@3", "count", "consumer.after-commit=kill@3", marks=pytest.mark.slow),
    pytest.param("relay.after-mark=kill@3", "record", "consumer.before-commit=kill@3", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("of_the_bank", "part", "of_the_part"), DEATHS)
async def test_who_is_killed_at_a_failpoint_loses_and_doubles_nothing(
    town: Town, of_the_bank: str, part: str, of_the_part: str
) -> None:
    bank, other = await asyncio.gather(
        town.start("bank", LMS_FAILPOINTS=of_the_bank), town.start(part, LMS_FAILPOINTS=of_the_part)
    )
    async with town.people(bank) as people:
        await people.make(20)
    assert await town.faults() == []
    assert bank.fired == [of_the_bank.partition("=")[0]]
    assert other.fired == [of_the_part.partition("=")[0]]
    assert (bank.kills, other.kills) == (1, 1)
    if of_the_bank == TOLD_TWICE:
        assert len(await town.messages()) > sum(town.deposits.values()), "nothing was told twice"


async def test_without_the_version_check_what_a_killed_relay_told_twice_is_counted_twice(town: Town) -> None:
    bank, _ = await asyncio.gather(
        town.start("bank", LMS_FAILPOINTS=TOLD_TWICE),
        town.start("count", LMS_FAILPOINTS="consumer.version-check=off"),
    )
    async with town.people(bank) as people:
        await people.make(2)
    assert await town.faults() == ["count has another sum", "count has other facts than it counted"]
    assert bank.fired == ["relay.after-publish"]
