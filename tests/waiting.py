"""Waiting for what processes beside the test do."""

import time
from collections.abc import Callable
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
