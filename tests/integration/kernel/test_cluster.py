"""Three brokers: with one gone everything goes on; with two gone commands are accepted, and published afterwards."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.kernel.brokers import PATIENCE, cluster
from tests.integration.kernel.town import founded
from tests.waiting import becomes

pytestmark = [pytest.mark.slow, pytest.mark.servers, pytest.mark.timeout(400)]


async def test_one_broker_of_three_is_killed_then_a_second_and_what_was_accepted_stays(
    emptied: Callable[..., str], redis_url: str, tmp_path: Path
) -> None:
    async with cluster(tmp_path) as brokers:
        servers = ",".join(broker.server.bootstrap_servers for broker in brokers)
        async with founded(emptied, servers, redis_url) as town:
            bank, _ = await asyncio.gather(town.start("bank"), town.start("count"))
            async with town.people(bank) as people:
                async with people.steadily():
                    await becomes(town.counted, "nothing is counted", PATIENCE)
                    await brokers[0].kill()
                    before = await town.counted()

                    async def goes_on() -> bool:
                        return await town.counted() > before + 50

                    await becomes(goes_on, "with two brokers nothing goes on", PATIENCE)
                await brokers[1].kill()
                await people.make(5)
                assert not await town.published(), "one broker alone has acknowledged facts"
                await asyncio.gather(*(broker.start() for broker in brokers[:2]))
                await becomes(town.published, "what was accepted does not leave", PATIENCE)
                await people.make(1)
            assert await town.faults() == []
