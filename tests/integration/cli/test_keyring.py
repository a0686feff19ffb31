"""ENCRYPTION_KEY is rotated under a running system, by the command, and nobody ever meets what they cannot open."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import httpx
import pymysql
import pytest
from redis.asyncio import Redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from tests.schemas import with_keyring
from tests.waiting import eventually

from lms.cli.home import Home
from lms.cli.keyring import Access, Refused, rotate, status
from lms.cli.servers import SCHEMAS, MySQLServer, RedisServer
from lms.cli.supervision import Program, Supervisor
from lms.kernel.auth import public_key_of
from lms.kernel.database import Database
from lms.kernel.ids import new_id
from lms.kernel.key_holders import fingerprint, tell
from lms.kernel.keyring import DDL, Keyring, Survey
from lms.kernel.schema import log, metadata

PATIENCE = 90.0

OLD = "q8Zr1Vx0Lk7WmT5pYc3NhJ9dFb2GsKaUeRwXo6iQ"
NEW = "Hd6Jf1GsXc0UeZx8Qv3Lm5Tn7Rk2Wp9Yb4Ao1iPz"
OTHER = "m4NcV8sXz1LqKj7HgF3dPoIuYtRe9WaQ5b2Tn0Mv"
PROGRAMS = {**{name: name for name in SCHEMAS}, "directory-2": "directory"}


# A system elsewhere ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def elsewhere(database_url: Callable[[str], str], redis_url: str) -> AsyncIterator[Callable[..., Access]]:
    url = with_keyring(database_url("keyring_command"), emptied=True)
    yield lambda **keys: Access(url, redis_url, keys)
    with_keyring(url, emptied=True)


async def people(access: Access, key: str, count: int) -> list[str]:
    database = Database(access.database_url, pool_size=1)
    keyring = Keyring(database, key)
    subjects = [new_id() for _ in range(count)]
    async with database.transaction() as connection:
        for subject in subjects:
            await keyring.create_key(connection, subject)
    await database.close()
    return subjects


async def survey(access: Access, *keys: str) -> Survey:
    database = Database(access.database_url, pool_size=1)
    found = await Keyring(database, *keys).survey()
    await database.close()
    return found


@asynccontextmanager
async def services_that_hold(access: Access, **keys: tuple[str, ...]) -> AsyncIterator[None]:
    """Tell as services do, in the place of those that do not run here."""
    async with Redis.from_url(access.redis_url) as redis:
        tasks = [asyncio.create_task(tell(redis, name, f"{name}-1", held)) for name, held in keys.items()]
        while len((await status(access)).holders) < len(tasks):  # noqa: ASYNC110  # looked for from outside
            await asyncio.sleep(0.01)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_keys_are_wrapped_anew_once_every_service_seals_with_the_new_one(
    elsewhere: Callable[..., Access],
) -> None:
    access = elsewhere(ENCRYPTION_KEY=NEW, ENCRYPTION_KEY_PREVIOUS=OLD)
    await people(access, OLD, 3)
    await people(access, NEW, 1)
    async with services_that_hold(access, **dict.fromkeys(SCHEMAS, (NEW, OLD))):
        done = await rotate(access)
        again = await rotate(access)
    assert (done.rewrapped, done.before, done.unopened) == (3, 1, ())
    assert (again.rewrapped, again.before, again.unopened) == (0, 4, ())
    assert await survey(access, NEW) == Survey((4,), ())


@pytest.mark.parametrize(
    ("held", "complaint"),
    [
        ((OLD,), r"balances \(balances-1\.\d+\) does not hold it"),
        ((OLD, NEW), r"balances \(balances-1\.\d+\) still seals with ENCRYPTION_KEY_PREVIOUS"),
        (None, "balances is not heard of"),
    ],
)
async def test_a_service_that_would_be_harmed_keeps_the_keys_as_they_are(
    elsewhere: Callable[..., Access], held: tuple[str, ...] | None, complaint: str
) -> None:
    access = elsewhere(ENCRYPTION_KEY=NEW, ENCRYPTION_KEY_PREVIOUS=OLD)
    await people(access, OLD, 2)
    keys = {**dict.fromkeys(SCHEMAS, (NEW, OLD)), "balances": held}
    async with services_that_hold(access, **{name: one for name, one in keys.items() if one is not None}):
        with pytest.raises(Refused, match=complaint) as refusal:
            await rotate(access)
        assert str(refusal.value).count("\n- ") == 1, "the others are fine"
        assert OLD not in str(refusal.value)
        assert await survey(access, OLD) == Survey((2,), ())
        assert (await rotate(access, force=True)).rewrapped == 2


async def test_keys_that_will_not_do_are_refused_before_anything_changes(elsewhere: Callable[..., Access]) -> None:
    async def refused(complaint: str, **keys: str) -> None:
        with pytest.raises(Refused, match=complaint):
            await rotate(elsewhere(**keys), force=True)

    await people(elsewhere(), OLD, 2)
    await refused("has 5 characters and needs at least 32", ENCRYPTION_KEY="short", ENCRYPTION_KEY_PREVIOUS=OLD)
    await refused("placeholder", ENCRYPTION_KEY="change-me" * 5, ENCRYPTION_KEY_PREVIOUS=OLD)
    await refused("are the same key", ENCRYPTION_KEY=OLD, ENCRYPTION_KEY_PREVIOUS=OLD)
    await refused("ENCRYPTION_KEY_PREVIOUS: not set", ENCRYPTION_KEY=NEW)
    await refused("opens none of the 2 data keys", ENCRYPTION_KEY=NEW, ENCRYPTION_KEY_PREVIOUS=OTHER)
    assert await survey(elsewhere(), OLD) == Survey((2,), ())


async def test_a_damaged_data_key_is_named_and_stops_no_other(elsewhere: Callable[..., Access]) -> None:
    access = elsewhere(ENCRYPTION_KEY=NEW, ENCRYPTION_KEY_PREVIOUS=OLD)
    await people(access, OLD, 2)
    (stranger,) = await people(access, OTHER, 1)
    done = await rotate(access, force=True)
    assert (done.rewrapped, done.unopened) == (2, (stranger,))
    assert (await survey(access, OTHER)).opened == (1,), "it is as it was"


def lms(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command with nothing of the caller's that would name another system."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("LMS_", "ENCRYPTION_"))}
    return subprocess.run(
        [sys.executable, "-m", "lms.cli.main", *arguments],
        env={**ours, "COLUMNS": "200", **variables}, capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip


async def test_the_command_reads_everything_from_the_environment_and_tells_no_key(
    elsewhere: Callable[..., Access],
) -> None:
    access = elsewhere(ENCRYPTION_KEY=NEW, ENCRYPTION_KEY_PREVIOUS=OLD)
    await people(access, OLD, 3)
    variables = {"KEYRING_DATABASE_URL": access.database_url, "REDIS_URL": access.redis_url, **access.keys}
    async with services_that_hold(access, **dict.fromkeys(SCHEMAS, (NEW, OLD))):
        before = await asyncio.to_thread(lms, "keyring", "status", **variables)
        done = await asyncio.to_thread(lms, "keyring", "rotate", **variables)
        wrong = await asyncio.to_thread(lms, "keyring", "rotate", **{**variables, "ENCRYPTION_KEY_PREVIOUS": NEW})
        unset = await asyncio.to_thread(lms, "keyring", "rotate", KEYRING_DATABASE_URL=access.database_url)
    assert "3 data keys are wrapped with ENCRYPTION_KEY_PREVIOUS." in before.stdout, before
    assert f"ENCRYPTION_KEY ({fingerprint(NEW)})" in before.stdout
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 data keys were wrapped anew; 0 were wrapped with the new key before.")
    assert "Back-ups of the keyring from before open with the old key alone" in " ".join(done.stdout.split())
    assert (wrong.returncode, unset.returncode) == (1, 1)
    assert "are the same key" in wrong.stderr
    assert {line.split(":")[0] for line in unset.stderr.splitlines()} == {"REDIS_URL", "ENCRYPTION_KEY"}
    for one in (before, done, wrong, unset):
        assert OLD not in one.stdout + one.stderr
        assert NEW not in one.stdout + one.stderr


# An embedded system ---------------------------------------------------------------------------------------------------


@pytest.fixture
def home() -> Iterator[Home]:
    """A home in which a database, a Redis, and a process for each service run."""
    with tempfile.TemporaryDirectory(prefix="lms-test-") as folder:
        Path(folder).chmod(0o711)  # the database's own account passes through
        made = Home.at(Path(folder))
        supervisor = Supervisor(made)
        try:
            start_system(made, supervisor)
            yield made
        finally:
            supervisor.shut_down()


def start_system(home: Home, supervisor: Supervisor) -> None:
    mysql, redis = MySQLServer(home), RedisServer(home)
    servers = []
    for server in (mysql, redis):
        server.prepare()
        servers.append(Program(server.name, tuple(server.command), 10, stop_seconds=30, user=server.user))
    script, programs = str(Path(__file__).with_name("opening.py")), []
    for name, service in PROGRAMS.items():
        file = home.folder / "env" / f"{name}.json"
        environment = {
            "LMS_ENVIRONMENT": "test",
            "LMS_PORT": str(home.port(name)),
            "LMS_INSTANCE": name,
            "LMS_DRAIN_SECONDS": "0",
            "JWT_PUBLIC_KEY": public_key_of("d0c1b2a3" * 10),
            "REDIS_URL": redis.url,
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
            "DATABASE_URL": mysql.url("lms_directory", "lms_directory"),
            **home.encryption_keys(),
        }
        file.write_text(json.dumps(environment))
        command = (sys.executable, "-m", "lms.cli.launch", str(file), script, service)
        programs.append(Program(name, command, 100))
    home.port("public")
    home.save()
    supervisor.start([*servers, *programs])
    for program in servers:
        supervisor.start_program(program.name)
    eventually(lambda: answers(mysql) and asyncio.run(redis.ready()), "the servers did not start", PATIENCE)
    engine = create_engine(make_url(mysql.url("lms_migrator", "lms_directory")).set(drivername="mysql+pymysql"))
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text(DDL))
        connection.execute(log.insert().values(id=1, log_epoch=1))
    engine.dispose()
    for name in PROGRAMS:
        supervisor.start_program(name)
    eventually(lambda: all(is_ready(home, program) for program in PROGRAMS), "the services did not start", PATIENCE)


def answers(server: MySQLServer) -> bool:
    try:
        return asyncio.run(server.ready())
    except pymysql.err.MySQLError:
        return False


def is_ready(home: Home, program: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{home.state['ports'][program]}/readyz", timeout=2).is_success
    except httpx.TransportError:
        return False


class Users:
    """Have every process open everything that any process has sealed, all the time, and new people join."""

    def __init__(self, home: Home) -> None:
        ports = home.state["ports"]
        self._urls = {program: f"http://127.0.0.1:{ports[program]}" for program in PROGRAMS}
        self.sealed: list[dict[str, str]] = []
        self.failures: list[str] = []
        self.opened = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def __enter__(self) -> Self:
        self._thread.start()
        eventually(lambda: self.opened > len(PROGRAMS), "nothing was opened", PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        with httpx.Client(timeout=20) as client:
            while not self._over.is_set():
                for program, url in self._urls.items():
                    try:
                        if program.startswith("directory"):
                            self.sealed.append(client.post(f"{url}/seal").raise_for_status().json())
                        answer = client.post(f"{url}/open", json=self.sealed).raise_for_status()
                    except httpx.TransportError:
                        continue  # it is being restarted
                    except httpx.HTTPStatusError as error:
                        if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                            self.failures.append(f"{program}: {error.response.text}")
                        continue
                    if answer.json() != [one["subject"] for one in self.sealed]:
                        self.failures.append(f"{program} opened something else")
                    self.opened += 1
                self._over.wait(0.05)


@pytest.mark.servers
@pytest.mark.slow
def test_a_running_system_is_rotated_without_a_failure_also_when_that_is_interrupted(home: Home) -> None:
    old = home.secrets["encryption"]
    command = ("keyring", "rotate", "--home", str(home.folder))

    def promoted() -> bool:
        return "encryption-previous" in json.loads((home.folder / "secrets.json").read_text())

    with Users(home) as users:
        first = subprocess.Popen([sys.executable, "-m", "lms.cli.main", *command])
        eventually(promoted, "it did not come so far", PATIENCE)
        first.send_signal(signal.SIGKILL)
        first.wait()
        done = lms(*command)
        sealed = len(users.sealed)
        eventually(lambda: len(users.sealed) > sealed + 2, "nobody joins afterwards", PATIENCE)
    assert done.returncode == 0, done.stderr
    assert users.failures == []
    assert int(done.stdout.split(" ", maxsplit=1)[0]) > 0
    kept = json.loads((home.folder / "secrets.json").read_text())
    assert kept["encryption-previous"] == old
    assert "encryption-next" not in kept
    access = Access.of_home(Home.at(home.folder, attached=True))
    assert asyncio.run(survey(access, kept["encryption"])) == Survey((len(users.sealed),), ())

    shown = lms("keyring", "status", "--home", str(home.folder))
    assert shown.stdout.count(f"ENCRYPTION_KEY ({fingerprint(kept['encryption'])})") == len(PROGRAMS), shown

    again = lms(*command)
    assert again.returncode == 1
    assert "services need the one of before until" in " ".join(again.stderr.split())
    assert json.loads((home.folder / "secrets.json").read_text()) == kept

    # as after a restore of a keyring from before
    asyncio.run(wrapped_with(access, old, kept["encryption"]))
    restored = lms(*command)
    assert restored.stdout.startswith(f"{len(users.sealed)} data keys were wrapped anew; 0 were"), restored
    assert asyncio.run(survey(access, kept["encryption"])) == Survey((len(users.sealed),), ())


async def wrapped_with(access: Access, wanted: str, current: str) -> None:
    database = Database(access.database_url, pool_size=1)
    await Keyring.rotating(database, current, wanted).rewrap()
    await database.close()
