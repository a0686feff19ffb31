"""Waiting for what processes beside the test do."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

DEADLINE = 30.0


def eventually(look: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Return what `look` returns as soon as it is true; fail with `what` and the last answer otherwise."""
    until = time.monotonic() + seconds
    found = look()
    while not found:
        assert time.monotonic() < until, f"{what}; last seen: {found!r}"
        time.sleep(0.03)
        found = look()
    return found


async def becomes(look: Callable[[], Awaitable[Any]], what: str, seconds: float = DEADLINE) -> Any:
    """Return what `look` gives as soon as it is true, as `eventually` does, while the test's own loop goes on."""
    found: Any = None
    try:
        async with asyncio.timeout(seconds):
            while not (found := await look()):  # noqa: ASYNC110  # what is looked at from outside has no event
                await asyncio.sleep(0.03)
    except TimeoutError:
        raise AssertionError(f"{what}; last seen: {found!r}") from None
    return found
