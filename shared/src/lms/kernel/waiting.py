"""Waiting for something, but not for ever; ending what runs in the background."""

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Any


async def at_most(seconds: float, work: Awaitable[Any]) -> None:
    """Wait until something is done, or for so many seconds; then it is cancelled.

    What it raises passes through, but for TimeoutError. On Python 3.11 `asyncio.wait_for` swallows a cancellation that
    arrives as the work ends, and whoever waits would go on for ever.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work


AGAIN_SECONDS = 1.0


async def cancelled(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks and wait until all have ended, however they do.

    One that goes on is cancelled again each AGAIN_SECONDS: now and then a library takes a cancellation for a failure of
    its own that it can handle, and a loop around it would go on for ever.
    """
    ending = set(tasks)
    pending = {one for one in ending if not one.done()}
    while pending:
        for one in pending:
            one.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    await asyncio.gather(*ending, return_exceptions=True)  # what they raised has been seen
