"""Processes whose clocks are wrong by an hour, either way: nothing is ordered by wall time."""

import asyncio
import itertools
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.kernel.town import Town

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
"""What `make install-tests` brings (the package faketime): it answers for the clock of the process that loads it."""


def wrong_by(hours: int) -> dict[str, str]:
    """Return the variables of a process whose clock is wrong; its monotonic clock is right, as in life."""
    return {"LD_PRELOAD": str(LIBRARY), "FAKETIME": f"{hours:+d}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.skipif(LIBRARY is None, reason="the package faketime is not installed")
async def test_copies_whose_clocks_are_two_hours_apart_lose_and_double_nothing_and_keep_the_order(town: Town) -> None:
    early, late, *_ = await asyncio.gather(
        *(town.start(part, **wrong_by(hours)) for part in ("bank", "count") for hours in (-1, 1))
    )
    async with town.people(early) as some, town.people(late) as others:
        await asyncio.gather(some.make(15), others.make(15))
    assert await town.faults() == []
    times: dict[str, list[datetime]] = {}
    for message in await town.messages():
        headers = {name: value.decode() for name, value in message.headers}
        times.setdefault(headers["ce_stream"], []).append(datetime.fromisoformat(headers["ce_time"]))
    leaps = [then - before for one in times.values() for before, then in itertools.pairwise(one)]
    assert min(leaps) < timedelta(hours=-1), "in no stream is a fact behind one of the future: the clocks were right"
