"""A bounded wait ends with the work, with the time, or with whoever waits, and tells these apart."""

import asyncio

import pytest

from lms.kernel.waiting import at_most


async def test_it_ends_with_the_work() -> None:
    done = asyncio.Event()
    asyncio.get_running_loop().call_soon(done.set)
    await at_most(60.0, done.wait())
    assert done.is_set()


async def test_work_that_takes_longer_is_cancelled() -> None:
    work = asyncio.get_running_loop().create_task(asyncio.Event().wait())
    await at_most(0.01, work)
    assert work.cancelled()


async def test_what_the_work_raises_passes_through() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await at_most(60.0, fail())


async def test_a_cancellation_that_meets_the_end_of_the_work_is_heard() -> None:
    work = asyncio.get_running_loop().create_future()
    waiting = asyncio.get_running_loop().create_task(at_most(60.0, work))
    await asyncio.sleep(0)
    work.set_result(None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
