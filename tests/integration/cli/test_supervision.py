"""What a process manager owes: nothing is left behind, nobody grows for ever, no log fills the disk, a stop ends."""

import asyncio
import itertools
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pymysql
import pytest
from tests.waiting import eventually
from typer.testing import CliRunner

from lms.cli.home import Home, any_free_port
from lms.cli.main import app
from lms.cli.servers import MySQLServer
from lms.cli.supervision import Program, Supervisor
from lms.kernel.auth import public_key_of

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('at work', flush=True); time.sleep(600)",
)

HOPELESS = (sys.executable, "-c", "import time; print(time.time(), flush=True); time.sleep(2); raise SystemExit(1)")
PATIENCE = 60.0
TALKER = (sys.executable, "-c", "import time; print((('x' * 79) + '\\n') * 700_000, flush=True); time.sleep(600)")


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="lms-test-") as folder:
        Path(folder).chmod(0o711)  # the database's own account passes through
        yield Home.at(Path(folder))


@pytest.fixture
def supervisor(home: Home) -> Iterator[Supervisor]:
    found = Supervisor(home)
    yield found
    found.shut_down()


def pid_of(supervisor: Supervisor, name: str) -> int:
    return int(supervisor.states()[name]["pid"])


async def test_no_orphan_outlives_a_killed_supervisor(home: Home, supervisor: Supervisor) -> None:
    database = MySQLServer(home)
    database.prepare()
    server = Program(database.name, tuple(database.command), 10, stop_seconds=30, user=database.user)
    supervisor.start([server, Program("sleeper", SLEEPER, 100)])
    for name in ("mysql", "sleeper"):
        supervisor.start_program(name)
    async with asyncio.timeout(60):
        while not await _answers(database):  # noqa: ASYNC110  # looked for from outside
            await asyncio.sleep(0.1)
    children = [psutil.Process(pid_of(supervisor, name)) for name in ("mysql", "sleeper")]
    os.kill(int(supervisor._call("getPID")), signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    assert not (home.folder / "mysql" / "server.pid").exists(), "the database was cut off"


async def _answers(database: MySQLServer) -> bool:
    try:
        return await database.ready()
    except pymysql.err.MySQLError:
        return False


def test_a_process_that_does_not_end_is_killed_after_five_seconds(supervisor: Supervisor) -> None:
    supervisor.start([Program("stubborn", STUBBORN, 100), Program("sleeper", SLEEPER, 100)])
    for name in ("stubborn", "sleeper"):
        supervisor.start_program(name)
    log = supervisor.logs / "stubborn.log"
    eventually(lambda: log.exists() and "at work" in log.read_text(), "it did not start", PATIENCE)
    stubborn = psutil.Process(pid_of(supervisor, "stubborn"))
    supervisor.stop_programs(["stubborn", "sleeper", "nobody"])
    assert not stubborn.is_running()
    assert "killing 'stubborn'" in (supervisor.logs / "supervisord.log").read_text()


@pytest.mark.parametrize("command", [("up", "--detach"), ("restart",)], ids=" ".join)
def test_nothing_starts_in_a_home_whose_restore_was_interrupted(
    home: Home, supervisor: Supervisor, command: tuple[str, ...]
) -> None:
    """The servers of a restore that was killed still run, and so does their supervisor."""
    home.state |= {"ports": {}, "restoring": {"complete": True}}
    home.save()
    supervisor.start([Program("mysql", SLEEPER, 10), Program("requests", SLEEPER, 100)])
    supervisor.start_program("mysql")
    before = pid_of(supervisor, "mysql")
    refused = CliRunner().invoke(app, [*command, "--home", str(home.folder)])
    assert refused.exit_code == 1
    assert "was interrupted: run `lms restore` again" in " ".join(refused.stderr.split())
    assert supervisor.states()["requests"]["statename"] == "STOPPED"
    assert pid_of(supervisor, "mysql") == before


def test_what_ends_before_it_has_really_started_is_started_anew_after_growing_pauses(supervisor: Supervisor) -> None:
    supervisor.start([Program("hopeless", HOPELESS, 100)])
    supervisor.start_program("hopeless")

    def pauses() -> list[float]:
        said = (supervisor.logs / "hopeless.log").read_text().split()
        starts = [float(one) for one in said]
        return [later - earlier - 2 for earlier, later in itertools.pairwise(starts)]

    eventually(lambda: len(pauses()) >= 3, "it is not started anew", PATIENCE)
    first, second, third, *_ = pauses()
    # a busy machine makes each of them longer, never shorter
    assert first >= 1
    assert second >= 2
    assert third >= 3
    assert supervisor.states()["hopeless"]["statename"] in {"STARTING", "BACKOFF"}


def test_logs_are_rotated_before_they_fill_the_disk(supervisor: Supervisor) -> None:
    supervisor.start([Program("talker", TALKER, 100)])
    supervisor.start_program("talker")
    eventually(lambda: len(list(supervisor.logs.glob("talker.log*"))) == 4, "the log was not rotated", PATIENCE)
    supervisor.stop_program("talker")
    assert sum(file.stat().st_size for file in supervisor.logs.glob("talker.log*")) < 4 * 10.5 * 1024**2


def test_a_service_that_has_grown_past_its_limit_stops_in_order_and_begins_anew(
    home: Home, supervisor: Supervisor
) -> None:
    port = any_free_port()
    environment = {
        "LMS_PORT": str(port),
        "LMS_MEMORY_LIMIT_MB": "400",
        "REDIS_URL": f"redis://127.0.0.1:{any_free_port()}/0",
        "JWT_PUBLIC_KEY": public_key_of("d0c1b2a3" * 10),
    }
    file = home.folder / "growing.json"
    file.write_text(json.dumps(environment))
    growing = str(Path(__file__).with_name("growing.py"))
    supervisor.start([Program("growing", (sys.executable, "-m", "lms.cli.launch", str(file), growing), 100)])
    supervisor.start_program("growing")

    def ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).is_success
        except httpx.TransportError:
            return False

    eventually(ready, "the service did not start", PATIENCE)
    before = psutil.Process(pid_of(supervisor, "growing"))
    assert before.memory_info().rss < 400 * 1024**2
    httpx.post(f"http://127.0.0.1:{port}/grow", params={"megabytes": 500}, timeout=30).raise_for_status()
    eventually(
        lambda: not before.is_running() or before.status() == psutil.STATUS_ZOMBIE,
        "the service was not stopped",
        PATIENCE,
    )
    eventually(ready, "the service did not begin anew", PATIENCE)
    assert pid_of(supervisor, "growing") != before.pid
    said = [json.loads(line)["message"] for line in (supervisor.logs / "growing.log").read_text().splitlines()]
    assert said[:4] == [
        "the service is up",
        "request",
        "the process has grown past its memory limit, and stops to be started anew",
        "the service stops",
    ]
    assert said[4] == "the service has stopped", "it was killed, and did not stop in order"
