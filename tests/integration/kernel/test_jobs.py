"""Periodic jobs: whichever copy takes one runs it, and copies that ask at the same moment do not stand in their way."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import create_engine, insert
from sqlalchemy.engine import make_url

from lms.kernel.auth import public_key_of
from lms.kernel.ids import new_id
from lms.kernel.schema import log, metadata
from lms.kernel.service import Job, Runtime, Service
from lms.kernel.settings import KernelSettings, load

RUNS = 300
TOGETHER_SECONDS = 60


def _settings(url: str, kafka_bootstrap: str, redis_url: str) -> KernelSettings:
    return load(
        KernelSettings,
        database_url=SecretStr(url),
        redis_url=SecretStr(redis_url),
        kafka_bootstrap_servers=kafka_bootstrap,
        encryption_key=SecretStr("k" * 40),
        jwt_public_key=public_key_of("s" * 64),
    )


async def test_copies_that_take_and_give_back_a_job_at_once_never_fail_each_other(
    database_url: Callable[[str], str], kafka_bootstrap: str, redis_url: str
) -> None:
    url = database_url("jobs")
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    metadata.drop_all(engine)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(log).values(id=1, log_epoch=1))
    engine.dispose()
    ran = 0
    enough = asyncio.Event()

    async def run(_: Any) -> None:
        nonlocal ran
        ran += 1
        if ran >= RUNS:
            enough.set()

    job = Job(f"often-{new_id()[-8:]}", timedelta(milliseconds=1), run)
    service = Service(name="jobs", jobs=(job,))
    copies = [Runtime(service, _settings(url, kafka_bootstrap, redis_url)) for _ in range(3)]
    try:
        for copy in copies:
            await copy.start(worker=True)
        await asyncio.wait_for(enough.wait(), TOGETHER_SECONDS)
    finally:
        for copy in copies:
            await copy.stop()
    assert REGISTRY.get_sample_value("job_runs_total", {"name": job.name, "outcome": "failed"}) == 0
