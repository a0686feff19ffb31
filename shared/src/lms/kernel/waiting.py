"""Waiting for something, but not for ever."""

import asyncio
from collections.abc import Awaitable
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
