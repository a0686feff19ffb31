"""The whole system is lost, and comes back from a storage that speaks S3, to an instant, with all that hangs on it.

The system is one of its own; what it keeps is destroyed down to its folder.
"""

import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
import pytest
from moto.server import ThreadedMotoServer
from tests.e2e.company import Company, Employee
from tests.e2e.smoke import live_through
from tests.faults import invariants
from tests.faults.load import DAYS, Load
from tests.waiting import eventually

from lms.cli.home import Home
from lms.cli.packing import make_identity
from lms.cli.servers import SCHEMAS, KafkaServer
from lms.cli.system import System

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Site:
    """Where the system runs, and where its back-ups are; `asked` are requests for leave with the times around each."""

    folder: Path
    environment: dict[str, str]
    asked: list[tuple[str, float, float]] = field(default_factory=list)
    _companies: ExitStack = field(default_factory=ExitStack)

    def lms(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lms.cli.main", *arguments, "--home", str(self.folder)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, **self.environment}
        )

    def does(self, *arguments: str) -> Any:
        """Run a command that must succeed, and return what it told for scripts, if it did."""
        done = self.lms(*arguments)
        assert done.returncode == 0, f"lms {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout) if "--json" in arguments else None

    def refuses(self, *arguments: str) -> str:
        """Run a command that must be refused, and return why, in one line."""
        done = self.lms(*arguments)
        assert done.returncode == 1, done.stdout
        return " ".join(done.stderr.split())

    def company(self) -> Company:
        """Sign in anew, at the address that the system has now; whoever was signed in before is done."""
        self.leave()
        home = Home.at(self.folder, attached=True)
        company = Company.at(f"http://127.0.0.1:{home.port('public')}", home.secret("loader"))
        self._companies.callback(company.client.close)
        company.redis_url = f"redis://:{home.secret('redis')}@127.0.0.1:{home.port('redis')}/0"
        return company

    def leave(self) -> None:
        """Close what `company` opened."""
        self._companies.close()

    def kill(self) -> None:
        """End every process of the system at once."""
        supervisord = psutil.Process(int((Home.at(self.folder, attached=True).run / "supervisord.pid").read_text()))
        processes = [supervisord, *supervisord.children(recursive=True)]
        for one in processes:
            one.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, 10)

    def ask(self, load: Load, number: int) -> None:
        """Ask for a day, and note when that was sent and answered, if it was."""
        turn, who = divmod(number, len(load.people))
        person = load.people[who]
        week, weekday = divmod(turn, 5)
        start = date(2027, 1, 4) + timedelta(weeks=week, days=weekday)  # however many there are, they are of one year
        body = {"leave_type": load.leave_type, "start_date": str(start), "end_date": str(start)}
        sent = time.time()
        with suppress(httpx.TransportError):
            answer = load.company.call("POST", "/leave-requests", person, body)
            if answer.is_success:
                self.asked.append((answer.json()["id"], sent, time.time()))


@pytest.fixture(scope="module")
def storage() -> Iterator[dict[str, str]]:
    """A server that speaks S3, with a bucket and the variables that lead there."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    access = {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    client = boto3.client(
        "s3", endpoint_url=access["AWS_ENDPOINT_URL_S3"], region_name="us-east-1", aws_access_key_id="test",
        aws_secret_access_key="test",
    )  # fmt: skip
    client.create_bucket(Bucket="backups")
    yield {**access, "LMS_BACKUP_URL": "s3://backups/the-company"}
    server.stop()


@pytest.fixture(scope="module")
def site(storage: dict[str, str]) -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="lms-test-lost-"))
    folder.chmod(0o711)
    identity = folder / "kept-apart.txt"
    make_identity(identity)
    site = Site(folder / "home", {**storage, "LMS_BACKUP_IDENTITY_FILE": str(identity)})
    try:
        with ThreadPoolExecutor(1) as pool:  # the session's loop is not ours to run
            pool.submit(asyncio.run, System(site.folder, environment="test").up()).result()
        yield site
    finally:
        site.leave()
        System(site.folder).down()
        if not os.environ.get("LMS_TEST_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


def sound(site: Site) -> dict[str, Any]:
    """Assert that every invariant holds, the audit log's included; return what was found."""
    found: dict[str, Any] = site.does("verify", "--json")
    assert invariants.faults_of(found) == {}
    return found


def whole(site: Site, company: Company, load: Load) -> dict[str, Any]:
    """Assert that the system is sound, and that requests and balances agree; return what was found."""
    found = sound(site)
    invariants.agree(company, load.people, load.leave_type, DAYS * 10)
    return found


@dataclass
class Erasure:
    """Somebody who has left, and whose erasure waits for the second pair of eyes."""

    company: Company
    hr: Employee
    admin: Employee
    gone: str

    @classmethod
    def asked(cls, company: Company, load: Load) -> "Erasure":
        hr, admin = company.hire(roles=("employee", "hr")), company.hire(roles=("employee", "admin"))
        gone = load.employ(900)
        company.do("POST", f"/employees/{gone}/leave", body={"last_day": "2026-01-31"})
        company.do("POST", "/privacy/erasure", hr, {"employee_id": gone})
        return cls(company, hr, admin, gone)

    def confirm(self) -> None:
        assert self.company.do("POST", f"/privacy/erasure/{self.gone}/confirm", self.admin)["confirmed_at"]

    def holds(self, company: Company) -> None:
        """Assert that nobody can look them up, and that the log says why."""
        assert company.call("GET", f"/employees/{self.gone}").status_code == 404, "an erased person came back"
        again = company.call("POST", "/privacy/erasure", self.hr, {"employee_id": self.gone})
        assert (again.status_code, again.json()["code"]) == (409, "already-erased")


def sign_in(company: Company) -> str:
    """Employ somebody who signs in; return the token that keeps them signed in."""
    email, password = f"ada-{time.time_ns()}@test.example", "A-long-enough-password-1"
    company.hire(email=email, password=password)
    body = {"email": email, "password": password, "return_refresh_token": True}
    answer = company.do("POST", "/auth/login", body=body)
    return str(answer["refresh_token"])


@contextmanager
def people_asking(site: Site, load: Load) -> Iterator[None]:
    """Let people ask for leave, one request after the other, until the block ends."""
    stop = threading.Event()

    def ask() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            site.ask(load, number)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        stop.set()
        asking.join()


def test_everything_is_lost_and_comes_back_as_it_was_at_an_instant(site: Site) -> None:
    company = site.company()
    company.set_clock("2026-10-05")
    load = Load.of(company, 6)
    erasure, refresh_token = Erasure.asked(company, load), sign_in(company)
    with people_asking(site, load):
        load.run(12, threads=3)
        made = site.does("backup", "--json")
        assert {one["kind"] for one in made} == {"database", "keyring", "files", "lists", "log"}
        assert all(one["tried"] for one in made)
        time.sleep(1.0 - time.time() % 1.0)
        instant = datetime.now(UTC).replace(microsecond=0)
        until = len(site.asked) + 15
        while len(site.asked) < until:
            time.sleep(0.02)
    erasure.confirm()
    site.does("backup", "lists", "log", "--json")
    site.kill()
    shutil.rmtree(site.folder)

    report = site.does("restore", "--to", instant.isoformat(), "--no-backup", "--json")
    assert report["log_epoch"] == 2
    assert report["lost"]["leave.requests.v1"] >= 15
    company = load.company = site.company()
    acknowledged = [one for one, _, answered in site.asked if answered < instant.timestamp()]
    sent_later = [one for one, sent, _ in site.asked if sent >= instant.timestamp()]
    assert len(sent_later) >= 15
    assert {status_of(company, one) for one in acknowledged} == {200}
    assert {status_of(company, one) for one in sent_later} == {404}
    found = whole(site, company, load)
    (proof,) = [one for one in found["services"]["audit"] if one["remarks"]]
    assert "were abandoned" in proof["remarks"][0]

    erasure.holds(company)
    answer = company.call("POST", "/auth/refresh", body={"refresh_token": refresh_token})
    assert answer.status_code == 401, "a session outlived the restore"
    assert company.balances(load.people[0])["today"] == "2026-10-05", "the demo's clock did not come back"
    live_through(company)
    load.run(6, threads=3)
    whole(site, company, load)


def status_of(company: Company, request_id: str) -> int:
    return company.call("GET", f"/leave-requests/{request_id}").status_code


def test_when_kafka_alone_is_lost_its_topics_are_made_anew(site: Site) -> None:
    site.does("down")
    shutil.rmtree(site.folder / "kafka")
    report = site.does("restore", "--topics-only", "--no-backup", "--json")
    assert report["lost"] == {}
    live_through(site.company())
    sound(site)


def test_data_is_replaced_only_when_that_was_said_and_what_would_be_lost_is_told(site: Site) -> None:
    company = site.company()
    load = Load.of(company, 4)
    site.does("backup")
    time.sleep(1.1)
    instant = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    time.sleep(1.0)
    for number in range(5):
        site.ask(load, number)
    refused = site.refuses("restore", "--to", instant.isoformat())
    assert "Say --replace" in refused
    assert "of leave.requests.v1" in refused
    late = [one for one, _, _ in site.asked[-5:]]
    assert {status_of(company, one) for one in late} == {200}, "refusing changed something"

    report = site.does("restore", "--to", instant.isoformat(), "--replace", "--no-backup", "--json")
    assert report["complete"]
    company = load.company = site.company()
    assert {status_of(company, one) for one in late} == {404}
    whole(site, company, load)
    markers = [  # the subscribers are told how much was given up
        json.loads(message.value)
        for message in asyncio.run(invariants.messages(attached(site), "leave.requests.v1"))
        if dict(message.headers)["ce_type"] == b"log.restored"
    ]
    assert markers[-1]["abandoned"] == report["lost"]["leave.requests.v1"]


def attached(site: Site) -> System:
    """Return the system that runs, to look at it."""
    system = System.running(site.folder)
    system.kafka = KafkaServer(system.home)
    return system


def test_an_interrupted_restore_is_run_again_and_with_the_log_at_hand_nothing_acknowledged_is_lost(site: Site) -> None:
    company = site.company()
    load = Load.of(company, 6)
    site.does("backup")
    before = len(site.asked)
    with people_asking(site, load):
        load.run(12, threads=3)
        site.kill()
    saved = site.folder.parent / "saved"
    shutil.move(site.folder / "mysql", saved)
    shutil.rmtree(site.folder / "kafka")
    shutil.rmtree(site.folder / "redis")

    command = [sys.executable, "-m", "lms.cli.main", "restore", "--binary-log", str(saved), "--home", str(site.folder)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **site.environment}
    ) as restoring:
        assert any("applying" in line for line in restoring.stderr or ())
        restoring.kill()
    assert "was interrupted: run `lms restore` again" in site.refuses("up", "--detach")

    report = site.does("restore", "--binary-log", str(saved), "--json")
    assert report["complete"]
    assert report["lost"] == {}
    company = load.company = site.company()
    assert len(site.asked) > before + 10
    assert {status_of(company, one) for one, _, _ in site.asked[before:]} == {200}
    whole(site, company, load)


def test_the_drill_recovers_beside_the_running_system_and_loses_nothing(site: Site) -> None:
    company = site.company()
    load = Load.of(company, 6)
    site.does("backup")
    load.run(24, threads=3)
    result = site.does("drill", "--json")
    assert result["sound"], result
    assert (result["facts_lost"], result["recovery_point_seconds"], result["drift"]) == (0, 0.0, 0)
    assert result["recovery_seconds"] > 0
    assert set(result["checks"]) == set(SCHEMAS)
    status = site.does("status", "--json")
    assert all(one["state"] == "running" for one in status["services"].values())

    company.do("POST", "/departments", body={"name": f"after the log was stored {time.time_ns()}"})
    lost = site.lms("drill", "--host-lost", "--json")
    found = json.loads(lost.stdout)
    assert lost.returncode == 1
    assert found["facts_lost"] > 0
    assert found["recovery_point_seconds"] > 0
    assert found["drift"] == 0


def test_a_drill_that_is_ended_takes_its_processes_and_its_folder_with_it(site: Site) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lms-test-drill-", dir=site.folder.parent))
    folder.chmod(0o711)
    site.does("backup")
    command = [sys.executable, "-m", "lms.cli.main", "drill", "--home", str(site.folder)]
    with subprocess.Popen(command, env={**os.environ, **site.environment, "TMPDIR": str(folder)}) as drilling:

        def servers() -> list[psutil.Process]:
            try:
                (pid,) = [int(one.read_text()) for one in folder.rglob("supervisord.pid")]
                running = psutil.Process(pid)
                return [running, *children] if len(children := running.children()) >= 3 else []
            except (ValueError, psutil.NoSuchProcess):
                return []  # not yet

        processes = eventually(servers, "the drill's servers did not start")
        drilling.terminate()
    assert drilling.returncode
    _, alive = psutil.wait_procs(processes, 10)
    assert alive == []
    assert list(folder.iterdir()) == []
