"""The network between a service and its servers is cut, falls silent, or is slow; it is mended, and all goes on.

A service without its database takes no requests. Without Kafka or Redis it takes them, and catches up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import make_url
from tests.integration.kernel import brokers, cables
from tests.integration.kernel.cables import Cable
from tests.integration.kernel.town import PATIENCE, Copy, People, Town, founded
from tests.waiting import becomes

DELAY = 0.05
"""Seconds for each way: as far as another continent."""


async def readiness(copy: Copy) -> int:
    async with httpx.AsyncClient(base_url=copy.url, timeout=5) as client:
        return (await client.get("/readyz")).status_code


async def is_missed(copy: Copy, part: str) -> None:
    """Wait until a process says that it lacks something: the harm is done."""

    async def there() -> bool:
        async with httpx.AsyncClient(base_url=copy.url, timeout=5) as client:
            found = (await client.get("/health")).json()["checks"]
        return bool(found[part]["status"] == "down")

    await becomes(there, f"/health of {copy.part} does not miss {part}", PATIENCE)


async def becomes_ready(copy: Copy, status: int) -> None:
    async def there() -> bool:
        return await readiness(copy) == status

    await becomes(there, f"/readyz of {copy.part} does not say {status}", PATIENCE)


async def cut(cable: Cable) -> None:
    await cable.cut()


async def silence(cable: Cable) -> None:
    cable.silence()


HARMS: tuple[Callable[[Cable], Awaitable[None]], ...] = (cut, silence)


async def test_without_its_database_a_service_is_not_ready_and_goes_on_when_it_is_back(town: Town) -> None:
    url = make_url(town.urls["bank"])
    async with cables.laid(str(url.host), int(url.port or 0)) as cable:
        for part in ("bank", "count"):
            behind = make_url(town.urls[part]).set(port=cable.port)
            town.urls[part] = behind.render_as_string(hide_password=False)
        bank, count = await asyncio.gather(town.start("bank"), town.start("count"))
        async with town.people(bank) as people:
            for harm in HARMS:
                async with people.steadily():
                    await harm(cable)
                    await asyncio.gather(becomes_ready(bank, 503), becomes_ready(count, 503))
                    cable.mend()
                    await asyncio.gather(becomes_ready(bank, 200), becomes_ready(count, 200))
            cable.slow(DELAY)
            await people.make(1)
            assert await readiness(bank) == 200
        cable.mend()
        assert await town.faults() == []


async def without(town: Town, bank: Copy, people: People, cable: Cable, part: str) -> None:
    """Let people use the bank while it lacks something that it can do without."""
    for harm in HARMS:
        await harm(cable)
        await is_missed(bank, part)
        await people.make(3)
        assert await readiness(bank) == 200
        if part == "kafka":
            assert not await town.published()
        else:
            await becomes(town.published, f"without {part} nothing is published", PATIENCE)
        cable.mend()
        assert await town.faults() == []
    cable.slow(DELAY)
    await people.make(3)
    assert await readiness(bank) == 200
    cable.mend()


async def test_without_redis_a_service_is_ready_and_does_what_it_is_asked(
    emptied: Callable[..., str], kafka_bootstrap: str, redis_url: str
) -> None:
    url = make_url(redis_url)
    async with cables.laid(str(url.host), int(url.port or 0)) as cable:
        behind = url.set(port=cable.port).render_as_string(hide_password=False)
        async with founded(emptied, kafka_bootstrap, behind) as town:
            bank, _ = await asyncio.gather(town.start("bank"), town.start("count"))
            async with town.people(bank) as people:
                await without(town, bank, people, cable, "redis")
            assert await town.faults() == []


@pytest.mark.slow
async def test_without_kafka_a_service_is_ready_accepts_commands_and_publishes_them_later(
    emptied: Callable[..., str], redis_url: str, tmp_path: Path
) -> None:
    async with (
        brokers.behind_a_cable(tmp_path) as cable,
        founded(emptied, f"127.0.0.1:{cable.port}", redis_url) as town,
    ):
        bank, _ = await asyncio.gather(town.start("bank"), town.start("count"))
        async with town.people(bank) as people:
            await without(town, bank, people, cable, "kafka")
        assert await town.faults() == []
