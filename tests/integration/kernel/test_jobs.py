"""Periodic jobs: whichever copy takes one runs it, and copies that ask at the same moment do not stand in their way."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY

from lms.kernel.ids import new_id
from lms.kernel.service import Job, Runtime, Service
from lms.kernel.settings import KernelSettings

RUNS = 300
TOGETHER_SECONDS = 60


async def test_copies_that_take_and_give_back_a_job_at_once_never_fail_each_other(
    settings_of: Callable[..., KernelSettings],
) -> None:
    ran = 0
    enough = asyncio.Event()

    async def run(_: Any) -> None:
        nonlocal ran
        ran += 1
        if ran >= RUNS:
            enough.set()

    job = Job(f"often-{new_id()[-8:]}", timedelta(milliseconds=1), run)
    service = Service(name="jobs", jobs=(job,))
    settings = settings_of("jobs")
    copies = [Runtime(service, settings) for _ in range(3)]
    try:
        for copy in copies:
            await copy.start(worker=True)
        await asyncio.wait_for(enough.wait(), TOGETHER_SECONDS)
    finally:
        for copy in copies:
            await copy.stop()
    assert REGISTRY.get_sample_value("job_runs_total", {"name": job.name, "outcome": "failed"}) == 0
