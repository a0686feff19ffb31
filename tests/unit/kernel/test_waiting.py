"""A bounded wait ends with the work, with the time, or with whoever waits, and tells these apart."""

import asyncio

import pytest

from lms.kernel import waiting
from lms.kernel.waiting import at_most, cancelled


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


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "AGAIN_SECONDS", 0.01)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    async def failing() -> None:
        raise ValueError("broken")

    loop = asyncio.get_running_loop()
    tasks = {loop.create_task(stubborn()), loop.create_task(failing())}
    await asyncio.sleep(0)
    async with asyncio.timeout(10.0):
        await cancelled(tasks)
    assert swallowed == 3
    assert all(one.done() for one in tasks)
