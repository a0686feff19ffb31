"""The disk under the database is full: commands are refused, nothing is written in part, and it heals by itself.

MariaDB lets a commit wait for room, and looks for it once a minute: commands that have a connection are not answered
for as long, and all others are refused.
"""

import asyncio
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import MetaData
from tests.integration.kernel.test_network import readiness
from tests.integration.kernel.test_replica import DatabaseProcess
from tests.integration.kernel.town import founded
from tests.schemas import emptied
from tests.waiting import eventually

from lms.cli.home import Home
from lms.kernel.ids import new_id

pytestmark = [pytest.mark.slow, pytest.mark.servers, pytest.mark.timeout(400)]

UNAVAILABLE = 503
CONNECTIONS = 10
"""Of a process to its database."""
MEGABYTES = 400
PATIENCE = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk, which only root may make."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("only root can mount a small disk")
    for parent in (folder, *folder.parents[:-1]):
        parent.chmod(parent.stat().st_mode | 0o011)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def database(disk: Path) -> Iterator[DatabaseProcess]:
    """A database server on the small disk."""
    process = DatabaseProcess(Home.at(disk / "home"))
    process.start()
    eventually(process.answers, "the database does not answer", PATIENCE)
    yield process
    process.stop()


def fill(disk: Path) -> Path:
    """Fill the disk to the last byte; return the file that does."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1024**2, 4096, 1):
            block = b"x" * size
            try:
                while file.write(block) == size:
                    pass
            except OSError:
                continue
    assert shutil.disk_usage(disk).free == 0
    return filler


async def test_with_a_full_disk_commands_are_refused_nothing_is_half_done_and_room_is_all_that_it_takes(
    disk: Path, database: DatabaseProcess, kafka_bootstrap: str, redis_url: str
) -> None:
    def emptied_here(schema: str, *own: MetaData) -> str:
        database(f"CREATE DATABASE {schema}")
        return emptied(database.url(schema), *own)

    async with founded(emptied_here, kafka_bootstrap, redis_url) as town:
        bank, _ = await asyncio.gather(town.start("bank"), town.start("count"))
        async with town.people(bank) as people:
            await people.make(2)
            assert await town.faults() == []
            filler = await asyncio.to_thread(fill, disk)

            keys = [new_id() for _ in range(CONNECTIONS + 10)]  # the first may find room in a block that is begun
            found = Counter(await asyncio.gather(*(people.send("a0", key) for key in keys)))
            assert found[UNAVAILABLE] >= 5, found
            assert await readiness(bank) == UNAVAILABLE
            filler.unlink()
            await asyncio.gather(*(people.insist("a0", key) for key in keys))
            assert await readiness(bank) == httpx.codes.OK
            await people.make(2)
        assert await town.faults() == []
