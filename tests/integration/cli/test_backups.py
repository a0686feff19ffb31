"""Backing up and bringing back, on real database servers: one that is lost, and one that takes its place."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from tests.waiting import eventually
from typer.testing import CliRunner, Result

from lms.cli import restore
from lms.cli.backup import BackupFailed, Made, back_up, settings_at_fault, verify
from lms.cli.backup_settings import Backups, BackupSettings
from lms.cli.catalogue import Kind, Stored
from lms.cli.database_server import DatabaseServer
from lms.cli.home import Home
from lms.cli.main import app
from lms.cli.packing import Damaged, NoKey, Packer, make_identity, unpacked
from lms.cli.recovery import ADMIN, admin_sql
from lms.cli.restore import RestoreFailed, bring_back, extract_files, is_used, prepared, restore_lists, take_epoch
from lms.cli.servers import BACKUP_USER, MySQLServer, schemas_and_users
from lms.cli.trial import KEYRING, TrialFailed, lms_schemas, running
from lms.kernel.keyring import DDL
from lms.kernel.schema import log, metadata

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SERVICES = ("requests", "balances")
TOPIC = {one: f"leave.{one}.v1" for one in SERVICES}


@dataclass
class Server:
    """A database server with the kernel's tables in two services' schemas and the keyring."""

    process: MySQLServer
    admin: DatabaseServer
    committed: list[tuple[int, float, float]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.process.home.folder / "mysql"

    def connect(self) -> Any:
        url = make_url(self.admin.url_of(""))
        return pymysql.connect(host="127.0.0.1", port=url.port or 0, user=url.username, password=url.password or "")

    def commit(self, number: int, *, connection: Any = None) -> None:
        """Write a fact of each service, and a key, in one transaction; note when it was sent and when acknowledged."""
        with ExitStack() as stack:
            used = connection or stack.enter_context(self.connect())
            with used.cursor() as cursor:
                sent = time.time()
                cursor.execute("BEGIN")
                for service in SERVICES:
                    told = json.dumps({"topic": TOPIC[service], "key": "k", "odd": 'it\'s \\ \n "quoted"'})
                    cursor.execute(
                        f"INSERT INTO lms_{service}.events VALUES"  # noqa: S608  # our own names
                        " (NULL, %s, %s, %s, 'thing.done', 1, 1, '{}', %s, NOW(6))",
                        (f"thing-{number}", 1, f"{service}-{number}", told),
                    )
                cursor.execute("INSERT INTO keyring.data_keys VALUES (%s, 'k', 'wrapped', NOW(6), NULL)", (number,))
                cursor.execute("COMMIT")
            self.committed.append((number, sent, time.time()))

    def destroy_key(self, number: int) -> None:
        self.admin.execute(f"UPDATE keyring.data_keys SET wrapped_key = NULL WHERE subject = '{number}'")  # noqa: S608

    def numbers(self, service: str) -> set[int]:
        there = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = 'events'"
        if not self.admin.rows(there, f"lms_{service}"):
            return set()
        return {int(row["stream"][6:]) for row in self.admin.rows(f"SELECT stream FROM lms_{service}.events")}  # noqa: S608

    def keys(self) -> dict[int, str | None]:
        rows = self.admin.rows("SELECT subject, wrapped_key FROM keyring.data_keys")
        return {int(row["subject"]): row["wrapped_key"] for row in rows}


@contextmanager
def server() -> Iterator[Server]:
    """Run a server as an embedded system has it."""
    folder = Path(tempfile.mkdtemp(prefix="lms-test-db-"))
    folder.chmod(0o711)
    try:
        home = Home.at(folder)
        process = MySQLServer(home, admin_sql(home))
        password = home.secret(f"mysql:{ADMIN}")
        with running(process, f"mysql://{ADMIN}:{password}@127.0.0.1") as admin:
            yield Server(process, admin)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_tables(made: Server) -> None:
    for service in SERVICES:
        engine = create_engine(make_url(made.admin.url_of(f"lms_{service}")).set(drivername="mysql+pymysql"))
        metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(log.insert().values(id=1, log_epoch=1))
        engine.dispose()
    made.admin.execute(DDL)


@pytest.fixture(scope="module")
def source() -> Iterator[Server]:
    with server() as made:
        make_tables(made)
        for number in range(20):
            made.commit(number)
        yield made


@pytest.fixture(scope="module")
def target() -> Iterator[Server]:
    with server() as made:
        yield made


@pytest.fixture(scope="module")
def scratch() -> Iterator[str]:
    """A server that trials may do what they like on: the URL. Starting one for each would take long."""
    with server() as made:
        for schema in (*lms_schemas(made.admin), KEYRING):
            made.admin.execute(f"DROP DATABASE `{schema}`")
        yield made.admin.url_of("")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def backups(source: Server, scratch: str, tmp_path: Path, told: list[str]) -> Backups:
    make_identity(tmp_path / "identity.txt")
    settings = BackupSettings(
        url=str(tmp_path / "storage"),
        database_url=SecretStr(source.process.url(BACKUP_USER, "")),
        identity_file=tmp_path / "identity.txt",
        metrics_file=tmp_path / "metrics" / "backup.prom",
        scratch_url=SecretStr(scratch),
    )
    return Backups.of(settings, told.append)


@pytest.fixture
def variables(source: Server, scratch: str, backups: Backups, tmp_path: Path) -> dict[str, str]:
    """The same settings for a process of its own."""
    return {
        "LMS_HOME": str(tmp_path / "none"),
        "LMS_BACKUP_URL": backups.settings.url,
        "LMS_BACKUP_DATABASE_URL": source.process.url(BACKUP_USER, ""),
        "LMS_BACKUP_IDENTITY_FILE": str(backups.settings.identity_file),
        "LMS_BACKUP_SCRATCH_URL": scratch,
    }


def with_settings(backups: Backups, *, trial: bool = True, **changes: Any) -> Backups:
    return Backups.of(backups.settings.model_copy(update=changes), backups.tell, trial=trial)


def whole_second_later() -> datetime:
    """Wait for the next second to begin, and return it."""
    time.sleep(1.0 - time.time() % 1.0)
    return datetime.now(UTC).replace(microsecond=0)


def bring_to(backups: Backups, target: Server, to: datetime | None, log_folder: Path | None = None) -> restore.Plan:
    with prepared(backups, to, log_folder) as plan:
        bring_back(backups, target.admin, plan, take_epoch(backups, target.admin, plan))
    return plan


def metrics(backups: Backups) -> dict[str, float]:
    assert backups.settings.metrics_file is not None
    lines = backups.settings.metrics_file.read_text().splitlines()
    return {name: float(value) for name, value in (line.split(" ") for line in lines if not line.startswith("#"))}


def test_the_embedded_server_keeps_every_commit_and_its_log_no_longer_than_the_keyring(source: Server) -> None:
    assert settings_at_fault(source.admin, 7) == []
    assert "must be between 1 and 86400" in settings_at_fault(source.admin, 1)[0]
    try:
        source.admin.execute("SET GLOBAL sync_binlog = 0", "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        found = settings_at_fault(source.admin, 7)
    finally:
        source.admin.execute("SET GLOBAL sync_binlog = 1", "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    assert [one.split(" ")[0] for one in found] == ["sync_binlog", "innodb_flush_log_at_trx_commit"]


def test_a_back_up_under_load_is_one_instant_that_is_tried_and_rolls_forward_to_any_second(
    source: Server, target: Server, backups: Backups, told: list[str]
) -> None:
    backups = with_settings(backups, scratch_url=None)  # a server is started for the trial
    stop, numbers = threading.Event(), iter(range(1000, 100_000))

    def write() -> None:
        with source.connect() as connection:
            while not stop.is_set():
                source.commit(next(numbers), connection=connection)
                time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = back_up(backups, ("database", "log"))
        source.destroy_key(3)
        instant = whole_second_later()
        while source.committed[-1][1] < instant.timestamp() + 1:
            time.sleep(0.01)
    finally:
        stop.set()
        writer.join()
    source.destroy_key(4)
    last = back_up(backups, ("log",))
    assert [(one.kind, one.tried) for one in [*made, *last]] == [
        ("database", True), ("keyring", True), ("log", True), ("log", True),
    ]  # fmt: skip
    assert any("the trial restore agrees" in one for one in told)

    plan = bring_to(backups, target, instant)
    assert plan.database.taken_at < instant <= plan.covered_until
    acknowledged = {number for number, _, until in source.committed if until < instant.timestamp()}
    sent_later = {number for number, since, _ in source.committed if since >= instant.timestamp()}
    there = target.numbers("requests")
    assert len(sent_later) >= 20
    assert acknowledged <= there
    assert not there & sent_later
    assert target.numbers("balances") == there
    lost = {number for number, _, _ in source.committed} - there
    assert {topic: one.facts for topic, one in plan.later.items()} == dict.fromkeys(TOPIC.values(), len(lost))
    assert plan.later[TOPIC["requests"]].head == f"requests-{max(lost)}"

    keys = target.keys()  # they come to the end of the log, whatever the instant
    assert set(keys) == {number for number, _, _ in source.committed}
    assert [number for number, wrapped in keys.items() if wrapped is None] == [3, 4]
    for service in SERVICES:
        (row,) = target.admin.rows(f"SELECT * FROM lms_{service}.restoration")  # noqa: S608
        assert (row["log_epoch"], row["restored_to"].replace(tzinfo=UTC)) == (2, instant)
        assert row["abandoned"] is None  # what was committed after the last storing is not known
    assert target.admin.rows("SELECT system_id FROM lms_recovery.system") == source.admin.rows(
        "SELECT system_id FROM lms_recovery.system"
    )


def test_with_the_servers_own_log_at_hand_nothing_acknowledged_is_lost_and_a_restore_can_be_run_again(
    source: Server, target: Server, backups: Backups, tmp_path: Path
) -> None:
    back_up(backups, ("database", "log"))
    for number in range(200_000, 200_020):
        source.commit(number)
    saved = tmp_path / "saved"
    shutil.copytree(source.data, saved, ignore=lambda _, names: [one for one in names if "binlog." not in one])
    with (saved / max(one.name for one in saved.glob("binlog.0*"))).open("ab") as torn:
        torn.write(b"what a crash tore in the middle of an event")
    for expected_epoch in (2, 3):
        plan = bring_to(backups, target, None, saved)
        assert plan.complete
        assert plan.later == {}
        assert target.numbers("requests") == {number for number, _, _ in source.committed}
        (row,) = target.admin.rows("SELECT log_epoch, abandoned FROM lms_requests.restoration")
        assert (row["log_epoch"], row["abandoned"]) == (expected_epoch, "{}")
    assert is_used(target.admin)


def test_a_log_of_another_server_is_refused(target: Server, source: Server, backups: Backups, tmp_path: Path) -> None:
    back_up(backups, ("database", "log"))
    name = sorted(one.name for one in source.data.glob("binlog.0*"))[-2]
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(next(target.data.glob("binlog.0*")), other / name)
    with pytest.raises(RestoreFailed, match="of another log"), prepared(backups, None, other):
        pass


def test_an_instant_that_the_log_does_not_reach_is_refused(source: Server, backups: Backups) -> None:
    back_up(backups, ("database", "log"))
    with (
        pytest.raises(RestoreFailed, match=r"reaches to .* and not|reaches to .* \(it ends there\)"),
        prepared(backups, datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)),
    ):
        pass
    with (
        pytest.raises(RestoreFailed, match="whole second"),
        prepared(backups, datetime.now(UTC).replace(microsecond=1)),
    ):
        pass
    catalogue = backups.catalogue
    whole_second_later()
    for number in (300_000, 300_001, 300_002):
        source.commit(number)
        back_up(backups, ("log",))
    hole = catalogue.ids("log", 1)[-2]
    catalogue.storage.delete(catalogue.storage.keys(f"logs/1/{hole}/"))
    with pytest.raises(RestoreFailed, match=rf"{hole.split('.', 1)[1]} of it is missing"), prepared(backups, None):
        pass
    reached = catalogue.manifest("log", catalogue.ids("log", 1)[-2], 1).taken_at
    with prepared(backups, reached.replace(microsecond=0)) as plan:
        assert not plan.complete


def test_without_the_keyring_of_that_instant_no_log_is_applied(source: Server, backups: Backups) -> None:
    back_up(backups, ("database", "log"))
    source.commit(400_000)
    back_up(backups, ("keyring", "log"))
    catalogue = backups.catalogue
    catalogue.storage.delete(catalogue.storage.keys(f"keyrings/{catalogue.ids('keyring')[0]}/"))
    with pytest.raises(RestoreFailed, match="not kept any more"), prepared(backups, None):
        pass


def damage(backups: Backups, change: Callable[[bytes], bytes]) -> Path:
    """Change the stored dump of a schema as a failing disk would."""
    database = backups.catalogue.newest("database")
    path = Path(backups.settings.url) / "databases" / database.id / "lms_requests.sql.zst.age"
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    "change", [lambda one: one[:-1], lambda one: one[:500] + bytes([one[500] ^ 1]) + one[501:]], ids=["cut", "flipped"]
)
def test_a_damaged_back_up_is_refused_before_anything_is_changed(
    target: Server, backups: Backups, change: Callable[[bytes], bytes]
) -> None:
    back_up(backups, ("database",))
    before = target.numbers("requests")
    path = damage(backups, change)
    with pytest.raises(Damaged, match=rf"{path.name} is damaged: its SHA-256 .* Choose another back-up"):
        bring_to(backups, target, None)
    assert target.numbers("requests") == before


def repacked(backups: Backups, change: Callable[[Sequence[bytes]], Sequence[bytes]]) -> None:
    """Store a dump anew that lacks something, with all its checksums right: what a broken dump tool would leave."""
    database = backups.catalogue.newest("database")
    path = damage(backups, lambda one: one)
    with unpacked(path, backups.opened()) as plain:
        lines = b"".join(iter(plain.read, b"")).splitlines(keepends=True)
    with Packer(path, backups.recipient) as packer:
        packer.write(b"".join(change(lines)))
    files = [
        Stored.of(one.name, packer.packed, schema_name=one.schema_name, tables=one.tables)
        if one.name == path.name
        else one
        for one in database.files
    ]
    backups.catalogue.finish(database.model_copy(update={"files": tuple(files)}), path.parent.parent)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[: len(lines) // 2], "broke off|is missing"),
        (lambda lines: [one for one in lines if b"thing-7'" not in one], r"lms_requests\.events has \d+ rows"),
        (lambda lines: [one.replace(b"requests-7'", b"requests-x'") for one in lines], r"lms_requests\.events has"),
    ],
    ids=["cut in half", "a row less", "a row changed"],
)
def test_the_trial_restore_notices_a_dump_that_is_not_what_the_server_had(
    backups: Backups, change: Callable[[Sequence[bytes]], Sequence[bytes]], said: str
) -> None:
    back_up(with_settings(backups, trial=False), ("database",))
    repacked(backups, change)
    with pytest.raises(TrialFailed, match=said):
        verify(backups)
    assert backups.catalogue.newest("database").tried_at is None


def test_a_back_up_counts_once_it_was_tried(backups: Backups) -> None:
    untried = with_settings(backups, trial=False)
    kinds: tuple[Kind, ...] = ("database", "keyring")
    made: list[Made] = back_up(untried, kinds)
    assert {one.tried for one in made} == {False}
    assert metrics(backups) == {}
    verify(backups, made[0].id)
    found = metrics(backups)
    assert {name.split("{")[0] for name in found} == {
        "backup_last_success_timestamp_seconds", "backup_last_duration_seconds", "backup_last_size_bytes",
    }  # fmt: skip
    assert time.time() - found['backup_last_success_timestamp_seconds{kind="database"}'] < 120
    assert found['backup_last_size_bytes{kind="keyring"}'] > 100


def test_a_server_with_data_is_no_place_for_a_trial(target: Server, backups: Backups) -> None:
    with pytest.raises(TrialFailed, match="name another, empty server"):
        back_up(with_settings(backups, scratch_url=SecretStr(target.admin.url_of(""))), ("database",))
    assert "lms_requests" in target.admin.schemas()


KILLED_IN_THE_TRIAL = """
import os
from lms.cli import main, trial
trial.faults_of = lambda *_: os._exit(9)
main.main()
"""


def test_what_a_trial_left_that_was_killed_does_not_stand_in_the_way_of_the_next(
    source: Server, scratch: str, backups: Backups, variables: dict[str, str]
) -> None:
    command = [sys.executable, "-c", KILLED_IN_THE_TRIAL, "backup", "database"]
    assert subprocess.run(command, env={**os.environ, **variables}, check=False).returncode == 9
    left = DatabaseServer(scratch)
    assert set(lms_schemas(source.admin)) < set(lms_schemas(left))
    assert [one.tried for one in back_up(backups, ("database",))] == [True, True]
    assert lms_schemas(left) == []


def test_one_trial_runs_on_a_server_at_a_time(scratch: str, backups: Backups) -> None:
    with DatabaseServer(scratch).locked("lms_trial") as held:
        assert held
        with pytest.raises(TrialFailed, match="Another trial runs on"):
            back_up(backups, ("database",))


def test_the_storage_of_another_system_is_refused(backups: Backups) -> None:
    backups.catalogue.claim("another")
    with pytest.raises(BackupFailed, match="a prefix of its own"):
        back_up(backups, ("database",))
    assert backups.catalogue.ids("database") == []


def test_one_back_up_of_a_kind_runs_at_a_time(source: Server, backups: Backups) -> None:
    with source.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('lms-backup-log', 0)")
        with pytest.raises(BackupFailed, match="Another back-up of the log runs"):
            back_up(backups, ("log",))


def test_a_machine_with_the_recipient_alone_backs_up_and_cannot_read(backups: Backups) -> None:
    recipient = str(backups.recipient)
    blind = with_settings(backups, identity_file=None, recipient=recipient)
    with pytest.raises(NoKey, match="--no-trial"):
        back_up(blind, ("database",))
    back_up(with_settings(backups, identity_file=None, recipient=recipient, trial=False), ("database",))
    with pytest.raises(NoKey), prepared(blind, None):
        pass
    verify(backups)


def test_files_come_back_and_lists_only_ever_grow(backups: Backups, tmp_path: Path) -> None:
    folder, erasures = tmp_path / "home", tmp_path / "home" / "erasures.jsonl"
    (folder / "attachments").mkdir(parents=True)
    (folder / "attachments" / "note.pdf").write_bytes(b"%PDF")
    (folder / "secrets.json").write_text("{}")
    one, two, three = ({"employee_id": name} for name in ("anna", "ben", "cleo"))
    files = f"{folder}/attachments:{folder}/secrets.json:{folder}/none"
    mine = with_settings(backups, files=files, files_root=folder, lists=str(erasures))
    erasures.write_text(json.dumps(one) + "\n" + json.dumps(two) + "\n")
    assert [found.kind for found in back_up(mine, ("files", "lists"))] == ["files", "lists"]
    assert [found.remark for found in back_up(mine, ("lists",))] == ["as they were"]
    assert len(mine.catalogue.ids("lists")) == 1
    erasures.write_text(json.dumps(three) + "\n")
    restore_lists(mine, [erasures])
    assert [json.loads(line) for line in erasures.read_text().splitlines()] == [three, one, two]
    erasures.unlink()
    back_up(mine, ("lists",))
    restore_lists(mine, [erasures])
    assert [json.loads(line) for line in erasures.read_text().splitlines()] == [one, two]

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secrets.json").write_text('{"newer": "than the back-up"}')
    assert set(extract_files(mine, elsewhere)) == {"attachments", "attachments/note.pdf"}
    assert (elsewhere / "attachments" / "note.pdf").read_bytes() == b"%PDF"
    assert "newer" in (elsewhere / "secrets.json").read_text()


def test_a_mounted_secret_comes_back_as_what_its_link_pointed_to_and_as_closed_as_it_was(
    backups: Backups, tmp_path: Path
) -> None:
    mounted, empty = tmp_path / "mounted", tmp_path / "empty"
    (mounted / "..data").mkdir(parents=True)
    empty.mkdir()
    (mounted / "..data" / "key").write_text("of today")
    (mounted / "..data" / "key").chmod(0o600)
    (mounted / "key").symlink_to("..data/key")
    mine = with_settings(backups, files=str(mounted / "key"), files_root=mounted)
    back_up(mine, ("files",))
    assert extract_files(mine, empty) == ["key"]
    assert not (empty / "key").is_symlink()
    assert (empty / "key").read_text() == "of today"
    assert (empty / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "kind"), [("../outside", tarfile.REGTYPE), ("/outside", tarfile.REGTYPE), ("link", tarfile.SYMTYPE)]
)
def test_an_archive_that_somebody_forged_writes_nothing_outside_of_the_folder(
    backups: Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: bytes
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    back_up(with_settings(backups, files=str(inside), files_root=tmp_path), ("files",))
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, "../outside"
    forged = io.BytesIO()
    with tarfile.open(fileobj=forged, mode="w") as tar:
        tar.addfile(entry)
    forged.seek(0)
    with tarfile.open(fileobj=forged) as tar:
        monkeypatch.setattr(restore, "members", lambda *_: [(tar, member) for member in tar])
        with pytest.raises(Damaged, match="no back-up writes"):
            extract_files(backups, inside)
    assert list(inside.iterdir()) == []
    assert not (tmp_path / "outside").exists()


def test_nothing_is_restored_under_a_service_that_is_connected(target: Server, backups: Backups) -> None:
    back_up(backups, ("database",))
    before = target.numbers("requests")
    target.admin.execute(*schemas_and_users(lambda user: target.process.home.secret(f"mysql:{user}"), "127.0.0.1"))
    url = make_url(target.process.url("lms_requests", "lms_requests"))
    service = pymysql.connect(host="127.0.0.1", port=url.port or 0, user=url.username, password=url.password or "")
    with service, pytest.raises(RestoreFailed, match="lms_requests are connected"):
        bring_to(backups, target, None)
    assert target.numbers("requests") == before


def test_the_command_restores_a_server_that_others_run_or_takes_it_as_others_restored_it(
    source: Server, target: Server, backups: Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMS_BACKUP_URL", backups.settings.url)
    monkeypatch.setenv("LMS_BACKUP_IDENTITY_FILE", str(backups.settings.identity_file))
    monkeypatch.setenv("LMS_RESTORE_DATABASE_URL", target.admin.url_of(""))

    def lms(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["restore", "--home", str(tmp_path / "none"), *arguments])

    def word_left() -> tuple[int, datetime | None, str | None]:
        (row,) = target.admin.rows("SELECT log_epoch, restored_to, abandoned FROM lms_requests.restoration")
        return row["log_epoch"], row["restored_to"] and row["restored_to"].replace(tzinfo=UTC), row["abandoned"]

    back_up(backups, ("database", "log"))
    bring_to(backups, target, None)
    before = word_left()
    refused = lms()
    assert refused.exit_code == 1
    assert "Say --replace" in refused.stderr
    assert word_left() == before
    done = lms("--replace")
    assert done.exit_code == 0, done.output
    assert "(--republish)" in done.stdout
    assert target.numbers("requests") == source.numbers("requests")
    assert (word_left()[0], word_left()[2]) == (before[0] + 1, None)

    instant = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
    assert lms("--topics-only").exit_code == 0
    assert word_left() == (before[0] + 2, None, "{}")
    assert lms("--topics-only", "--to", instant.isoformat()).exit_code == 0
    assert word_left() == (before[0] + 3, instant, None)


@contextmanager
def scheduled(variables: dict[str, str], *, every_hours: float = 24) -> Iterator[None]:
    """Run `lms backup --schedule`, which looks what is due every second."""
    command = [sys.executable, "-m", "lms.cli.main", "backup", "--schedule"]
    schedule = {"LMS_BACKUP_LOG_SECONDS": "1", "LMS_BACKUP_EVERY_HOURS": str(every_hours)}
    with subprocess.Popen(command, env={**os.environ, **variables, **schedule}) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture
def schedule(variables: dict[str, str]) -> Iterator[None]:
    with scheduled(variables):
        yield


@pytest.mark.usefixtures("schedule")
def test_by_schedule_everything_is_made_once_and_the_log_again_and_again(source: Server, backups: Backups) -> None:
    def stored(count: int) -> int:
        eventually(lambda: len(backups.catalogue.ids("log", 1)) >= count, "the log is not stored", 120)
        return len(backups.catalogue.ids("log", 1))

    source.commit(600_000)
    first = stored(1)
    source.commit(600_001)
    stored(first + 1)
    assert len(backups.catalogue.ids("database")) == 1


@pytest.mark.usefixtures("schedule")
def test_after_a_restore_the_schedule_does_not_wait_for_the_next_day(source: Server, backups: Backups) -> None:
    source.commit(700_000)
    eventually(lambda: backups.catalogue.ids("log", 1), "the log is not stored", 120)
    try:
        source.admin.execute("UPDATE lms_requests.log SET log_epoch = 2")  # as a restore does
        source.commit(700_001)
        eventually(lambda: backups.catalogue.ids("log", 2), "the log of the second epoch is not stored", 120)
    finally:
        source.admin.execute("UPDATE lms_requests.log SET log_epoch = 1")
    epochs = [backups.catalogue.manifest("database", one).log_epoch for one in backups.catalogue.ids("database")]
    assert epochs[:2] == [1, 2]


def test_the_log_is_stored_also_while_the_databases_cannot_be_tried(
    source: Server, scratch: str, backups: Backups, variables: dict[str, str]
) -> None:
    back_up(backups, ("database", "log"))
    before = len(backups.catalogue.ids("log", 1))
    source.commit(800_000)
    with DatabaseServer(scratch).locked("lms_trial"), scheduled(variables, every_hours=0.0001):
        eventually(lambda: len(backups.catalogue.ids("log", 1)) > before, "the log is not stored", 120)
    assert len(backups.catalogue.ids("database")) == 1


def test_the_log_is_stored_from_the_first_back_up_on_and_a_gap_is_told(source: Server, backups: Backups) -> None:
    source.commit(500_000)
    back_up(backups, ("database", "log"))
    first = backups.catalogue.newest("database").at()
    names = [one.split(".", 1)[1] for one in backups.catalogue.ids("log", 1)]
    assert names[0] == first.file
    assert back_up(backups, ("log",))[0].size == 0  # a quiet server's log is not cut into pieces
    source.commit(500_001)
    source.admin.begin_log_file()
    source.commit(500_002)
    source.admin.begin_log_file()
    source.admin.execute(f"PURGE BINARY LOGS TO '{source.admin.log_files()[-1]}'")
    source.commit(500_003)
    with pytest.raises(BackupFailed, match="it was not stored: back up the databases now"):
        back_up(backups, ("log",))
    back_up(backups, ("database", "log"))
    with prepared(backups, None) as plan:
        assert plan.covered_until >= plan.database.taken_at
