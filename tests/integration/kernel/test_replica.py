"""A real primary and a real replica: which of them answers, and that no read fails whatever befalls the replica."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pymysql
import pytest
from fastapi import APIRouter
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import create_engine, func, insert, select, text
from starlette.responses import Response
from structlog.testing import capture_logs
from tests.conftest import TESTER, sql_of_the_tester

from lms.cli.home import Home
from lms.cli.servers import MySQLServer
from lms.kernel.auth import TokenSigner, public_key_of
from lms.kernel.consistency import CatchUp, Tokens
from lms.kernel.decider import Decider
from lms.kernel.errors import NotFound
from lms.kernel.event import Event, StreamVersion
from lms.kernel.http import Answer, CommandsDep, StaleViewsDep, ViewsDep, answer, create_app
from lms.kernel.ids import new_id
from lms.kernel.schema import consumer_versions, events, log, metadata
from lms.kernel.service import Runtime, Service
from lms.kernel.settings import KernelSettings, load

PASSWORD = "only-for-this-test"
SECRET = "s" * 64
PRIMARY, REPLICA = 1, 2
BOUND = 5.0
ROW_NOT_FOUND = 1032
ANSWERS = "the replica answers reads that may be stale"
AWAY = "the replica lags or is away; the primary answers"

pytestmark = pytest.mark.servers


class Deposited(Event):
    """Minutes came in."""

    TYPE: ClassVar[str] = "account.deposited"
    minutes: int


ACCOUNT: Decider[int, int, Event] = Decider(
    category="account",
    topic="leave.test.v1",
    initial=0,
    decide=lambda minutes, _: [Deposited(minutes=minutes)],
    evolve=lambda balance, event: balance + (event.minutes if isinstance(event, Deposited) else 0),
    state_type=int,
)


class Account(Answer):
    """An account, and which server was asked."""

    server: int
    deposits: int


router = APIRouter(prefix="/api/v1/accounts")


async def _account(views: Any, account: str) -> Account:
    of = select(func.count()).where(events.c.stream == f"account-{account}").scalar_subquery()
    row = (await views.connection.execute(select(text("@@server_id"), of))).one()
    return Account(server=row[0], deposits=row[1])


@router.get("/{account}")
async def get_account(account: str, views: ViewsDep) -> Response:
    return answer(await _account(views, account))


@router.get("/{account}/history")
async def get_history(account: str, views: StaleViewsDep, seconds: int = 0) -> Response:
    if seconds:
        await views.connection.execute(text("SELECT SLEEP(:seconds)"), {"seconds": seconds})
    return answer(await _account(views, account))


@router.get("/{account}/existing")
async def get_existing(account: str, views: StaleViewsDep) -> Response:
    found = await _account(views, account)
    if not found.deposits:
        raise NotFound("There is no such account.")
    return answer(found)


@router.post("/{account}/deposits")
async def post_deposit(account: str, commands: CommandsDep) -> Response:
    async def deposit(uow: Any) -> None:
        await uow.handle(ACCOUNT, account, 60, key=account)

    return await commands.run(deposit, status=204)


SERVICE = Service(
    name="accounts", publishes={"leave.test.v1": (Deposited,)}, deciders=(ACCOUNT,), routers=(router,)
)  # fmt: skip


@dataclass
class DatabaseProcess:
    """A database server as a child process; `options` go behind those of an embedded system."""

    home: Home
    options: tuple[str, ...] = ()
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def __post_init__(self) -> None:
        self.server = MySQLServer(self.home, extra_sql=sql_of_the_tester(PASSWORD))

    def start(self) -> None:
        self.server.prepare()
        with (self.home.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen([*self.server.command, *self.options], stdout=log, stderr=log)

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def answers(self) -> bool:
        try:
            self("SELECT 1")
        except pymysql.err.OperationalError:
            return False
        return True

    def url(self, schema: str) -> str:
        return f"mysql://{TESTER}:{PASSWORD}@127.0.0.1:{self.server.port}/{schema}"

    def __call__(self, statement: str) -> list[dict[str, Any]]:
        """Execute one statement."""
        with (
            pymysql.connect(
                host="127.0.0.1", port=self.server.port, user=TESTER, password=PASSWORD, autocommit=True
            ) as connection,
            connection.cursor(pymysql.cursors.DictCursor) as cursor,
        ):
            cursor.execute(statement)
            return list(cursor.fetchall())


def by(seconds: float, condition: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, otherwise
        time.sleep(0.05)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[DatabaseProcess, DatabaseProcess]]:
    """A primary and a replica that follows it; the schema `accounts` is there on both."""
    folder = Path(tempfile.mkdtemp(prefix="lms-replica-"))
    folder.chmod(0o711)
    primary = DatabaseProcess(Home.at(folder / "primary"))
    replica = DatabaseProcess(Home.at(folder / "replica"), ("--server-id=2", "--read-only=ON", "--relay-log=relay"))
    try:
        for one in (primary, replica):
            one.start()
        for one in (primary, replica):
            by(60, one.answers, "a database does not start")
        (stands,) = primary("SELECT @@gtid_binlog_pos AS position")
        replica(f"SET GLOBAL gtid_slave_pos = '{stands['position']}'")
        replica(
            f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {primary.server.port},"
            f" MASTER_USER = '{TESTER}', MASTER_PASSWORD = '{PASSWORD}',"
            " MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1"
        )
        replica("START SLAVE")
        primary("CREATE DATABASE accounts")
        engine = create_engine(primary.url("accounts").replace("mysql:", "mysql+pymysql:"))
        metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(insert(log).values(id=1, log_epoch=1))
        engine.dispose()
        yield primary, replica
    finally:
        for one in (primary, replica):
            if one.process is not None:
                one.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class System:
    """A running service with a primary and a replica, and a client of it."""

    primary: DatabaseProcess
    replica: DatabaseProcess
    runtime: Runtime
    client: httpx.AsyncClient
    told: list[Any]

    async def read(self, path: str, **headers: str) -> Account:
        answered = await self.client.get(f"/api/v1/accounts/{path}", headers=headers)
        assert answered.status_code == 200, answered.text
        return Account.model_validate_json(answered.content)

    async def deposit(self, account: str) -> str:
        """Write, and return the token."""
        done = await self.client.post(f"/api/v1/accounts/{account}/deposits")
        assert done.status_code == 204, done.text
        return str(done.headers["consistency-token"])

    async def answered_by(self, server: int, *, seconds: float = 15) -> None:
        """Wait until stale reads are answered by one of the servers."""
        async with asyncio.timeout(seconds):
            while (await self.read("none/history")).server != server:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def read_meanwhile(self) -> AsyncIterator[Counter[int]]:
        """Read without pause, of which nothing may fail; yields how many answers each server has given."""
        found: Counter[int] = Counter()

        async def for_ever() -> None:
            while True:
                found[(await self.read("none/history")).server] += 1

        readers = [asyncio.create_task(for_ever()) for _ in range(3)]
        try:
            yield found
            for one in readers:
                assert not one.done(), one.exception()
        finally:
            for one in readers:
                one.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    def sleeps_on_the_replica(self) -> bool:
        return any("SLEEP(" in str(row["Info"]) for row in self.replica("SHOW PROCESSLIST"))

    def lines(self) -> list[str]:
        """Return what was told of the replica since the last call."""
        found = [line["event"] for line in self.told if line["event"] in {ANSWERS, AWAY}]
        self.told.clear()
        return found


@pytest.fixture
async def system(pair: tuple[DatabaseProcess, DatabaseProcess]) -> AsyncIterator[System]:
    primary, replica = pair
    settings = load(
        KernelSettings,
        database_url=SecretStr(primary.url("accounts")),
        replica_database_url=SecretStr(replica.url("accounts")),
        replica_lag_seconds=BOUND,
        redis_url=SecretStr("redis://127.0.0.1:1"),
        kafka_bootstrap_servers="127.0.0.1:1",
        encryption_key=SecretStr("k" * 40),
        jwt_public_key=public_key_of(SECRET),
    )
    with capture_logs() as told:
        runtime = Runtime(SERVICE, settings)
        app = create_app(runtime, SERVICE.routers, title="LMS accounts")
        await runtime.start(worker=False)
        try:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://accounts",
                timeout=30,
                headers={"Authorization": f"Bearer {TokenSigner(SECRET).sign('emp-1')}"},
            ) as client:
                found = System(primary, replica, runtime, client, told)
                await found.answered_by(REPLICA)
                yield found
        finally:
            await runtime.stop()


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("replica_reads_total", {"outcome": outcome}) or 0.0


async def test_the_replica_answers_what_may_be_stale_and_the_primary_everything_else(system: System) -> None:
    assert (await system.read("none/history")).server == REPLICA
    assert (await system.read("none")).server == PRIMARY
    assert (await system.read("none/history", **{"Cache-Control": "no-cache"})).server == PRIMARY
    assert system.lines() == [ANSWERS]


async def test_a_token_is_honoured_by_the_replica_once_it_has_what_was_written_and_else_by_the_primary(
    system: System,
) -> None:
    account = new_id()
    system.replica("STOP SLAVE SQL_THREAD")
    try:
        token = await system.deposit(account)
        assert (await system.read(f"{account}/history")) == Account(server=REPLICA, deposits=0), "it may be stale"
        behind = counted("behind")
        seen = await system.read(f"{account}/history", **{"Consistency-Token": token})
        assert seen == Account(server=PRIMARY, deposits=1)
        assert counted("behind") == behind + 1
    finally:
        system.replica("START SLAVE SQL_THREAD")
    async with asyncio.timeout(10):
        while True:
            seen = await system.read(f"{account}/history", **{"Consistency-Token": token})
            assert seen.deposits == 1
            if seen.server == REPLICA:
                break


async def test_a_token_of_another_service_is_honoured_once_the_replica_shows_what_came_of_it(system: System) -> None:
    stream, database = f"other-{new_id()}", system.runtime.database
    tokens = Tokens("k" * 40)
    token = tokens.of("others", [StreamVersion("leave.other.v1", stream, 2)]) or ""
    catch_up = CatchUp("accounts", database, tokens, {"views": ("leave.other.v1",), "reactor": ("leave.other.v1",)})
    replica = system.runtime.replica
    assert replica is not None

    async def shown() -> bool:
        async with replica.read() as connection:
            return await catch_up.shown_on(connection, token)

    system.replica("STOP SLAVE SQL_THREAD")
    try:
        for consumer, version in (("views", 3), ("reactor", 2)):
            assert not await shown()
            async with database.transaction() as connection:
                seen = {"consumer": consumer, "stream": stream, "log_epoch": 1, "version": version}
                await connection.execute(insert(consumer_versions).values(seen))
        await catch_up.wait(token)
        assert not await shown(), "only the primary has it"
    finally:
        system.replica("START SLAVE SQL_THREAD")
    async with asyncio.timeout(10):
        while not await shown():  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.02)


async def test_what_the_replica_does_not_know_yet_is_asked_of_the_primary_before_it_is_refused(system: System) -> None:
    account = new_id()
    system.replica("STOP SLAVE SQL_THREAD")
    try:
        await system.deposit(account)
        again = counted("again")
        assert (await system.read(f"{account}/existing")).server == PRIMARY
        assert counted("again") == again + 1
        refused = await system.client.get(f"/api/v1/accounts/{new_id()}/existing")
        assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
    finally:
        system.replica("START SLAVE SQL_THREAD")


async def test_a_replica_that_lags_is_left_out_before_an_answer_is_older_than_the_bound_and_comes_back(
    system: System,
) -> None:
    system.lines()
    async with system.read_meanwhile() as answers:
        system.replica("STOP SLAVE SQL_THREAD")
        stopped = time.monotonic()
        try:
            await system.answered_by(PRIMARY)
            assert time.monotonic() - stopped < BOUND + 1
            by_replica = answers[REPLICA]
            assert (REGISTRY.get_sample_value("replica_lag_seconds") or 0) > BOUND - 1
        finally:
            system.replica("START SLAVE SQL_THREAD")
        await system.answered_by(REPLICA)
        async with asyncio.timeout(15):
            while answers[REPLICA] == by_replica:  # noqa: ASYNC110  # the readers tell nobody
                await asyncio.sleep(0.02)
    assert system.lines() == [AWAY, ANSWERS]


async def test_a_replica_that_is_killed_with_reads_in_hand_costs_none_and_comes_back(system: System) -> None:
    system.lines()
    async with system.read_meanwhile():
        slow = asyncio.create_task(system.read("none/history?seconds=2"))
        await asyncio.to_thread(by, 5, system.sleeps_on_the_replica, "the replica was not asked")
        system.replica.stop()
        assert (await slow).server == PRIMARY
        await system.answered_by(PRIMARY)
        await asyncio.to_thread(system.replica.start)
        await system.answered_by(REPLICA, seconds=30)
    assert system.lines() == [AWAY, ANSWERS]


async def test_a_replica_that_hangs_costs_none_either(system: System) -> None:
    async with system.read_meanwhile():
        slow = asyncio.create_task(system.read("none/history?seconds=2"))
        await asyncio.to_thread(by, 5, system.sleeps_on_the_replica, "the replica was not asked")
        system.replica.stop(signal.SIGSTOP)
        try:
            async with asyncio.timeout(10):
                assert (await slow).server == PRIMARY
            await system.answered_by(PRIMARY)
        finally:
            system.replica.stop(signal.SIGCONT)
        await system.answered_by(REPLICA)


async def test_a_replica_that_has_other_rows_than_the_primary_is_not_asked_any_more(system: System) -> None:
    """As after a restore, which the binary log does not tell of. (Nothing follows any more then: the last test.)"""
    change = "SET STATEMENT sql_log_bin = 0 FOR UPDATE accounts.replica_beats SET beat = beat - 10"
    await asyncio.to_thread(system.primary, change)  # who beats may hold the row, and needs the loop to let it go
    await system.answered_by(PRIMARY)

    def stopped() -> bool:
        (status,) = system.replica("SHOW SLAVE STATUS")
        return bool(status["Last_SQL_Errno"] == ROW_NOT_FOUND)

    await asyncio.to_thread(by, 10, stopped, "the replica follows what it is no copy of")
