"""What is deleted of the back-ups in a storage, and what never is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lms.cli.catalogue import LISTS, Catalogue, Kind, Manifest, NoBackup, RestoreRecord, Stored, instant_of, stamp_of
from lms.cli.main import app
from lms.cli.packing import Damaged, checksum
from lms.cli.storage import Folder

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def age(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(Folder(tmp_path / "storage"))


def keep(catalogue: Catalogue, tmp_path: Path, kind: Kind, days: float, *, name: str = "", size: int = 4) -> str:
    """Store a back-up of so many days ago."""
    file = tmp_path / "file.zst.age"
    file.write_bytes(b"x" * size)
    stored = Stored(name=file.name, bytes=size, sha256=checksum(file), plain_bytes=size, plain_sha256="")
    id_ = stamp_of(age(days)) + (f".{name}" if name else "")
    epoch = 1 if kind == "log" else None
    catalogue.upload(kind, id_, file, epoch)
    manifest = Manifest(
        kind=kind, id=id_, taken_at=age(days), system_id="s", log_epoch=1, files=(stored,), tried_at=NOW
    )
    catalogue.finish(manifest, tmp_path)
    return id_


@pytest.mark.parametrize("kind", ["database", "keyring", "files"])
def test_what_is_older_than_its_days_goes_and_the_newest_stays(
    catalogue: Catalogue, tmp_path: Path, kind: Kind
) -> None:
    old = [keep(catalogue, tmp_path, kind, days) for days in (40, 31)]
    young = [keep(catalogue, tmp_path, kind, days) for days in (29.9, 1)]
    gone = catalogue.prune(kind, 30, NOW)
    assert catalogue.ids(kind) == young
    assert {instant_of(one) for one in gone} == {instant_of(one) for one in old}
    assert catalogue.prune(kind, 30, NOW + timedelta(days=365))
    assert catalogue.ids(kind) == young[-1:]


def test_two_back_ups_of_one_second_are_two(catalogue: Catalogue, tmp_path: Path) -> None:
    first, second = (keep(catalogue, tmp_path, "keyring", days) for days in (1 + 1e-6, 1))
    assert catalogue.ids("keyring") == [first, second]
    assert instant_of(second) == age(1)


def test_the_log_goes_without_regard_to_the_newest(catalogue: Catalogue, tmp_path: Path) -> None:
    keep(catalogue, tmp_path, "log", 8, name="binlog.000001")
    kept = keep(catalogue, tmp_path, "log", 6, name="binlog.000002")
    catalogue.prune("log", 7, NOW)
    assert catalogue.ids("log", 1) == [kept]
    catalogue.prune("log", 7, NOW + timedelta(days=7))
    assert catalogue.ids("log", 1) == []


def test_of_the_lists_the_newest_stay_and_one_that_was_longer(catalogue: Catalogue, tmp_path: Path) -> None:
    whole = keep(catalogue, tmp_path, "lists", 90, size=9)
    ids = [keep(catalogue, tmp_path, "lists", 80 - number, size=5) for number in range(LISTS + 5)]
    catalogue.prune("lists", 7, NOW)
    assert catalogue.ids("lists") == [whole, *ids[5:]]


def test_only_what_lies_where_back_ups_lie_is_deleted(catalogue: Catalogue, tmp_path: Path) -> None:
    keep(catalogue, tmp_path, "database", 40)
    keep(catalogue, tmp_path, "database", 1)
    others = [
        "databases/readme.txt",
        "databases/2020/notes",
        "elsewhere/20200101T000000000000Z/manifest.json",
        "restores/2.json",
    ]
    for key in others:
        catalogue.storage.put_new(key, b"x")
    keyring = keep(catalogue, tmp_path, "keyring", 400)
    catalogue.prune("database", 30, NOW)
    assert set(others) <= set(catalogue.storage.keys(""))
    assert catalogue.ids("keyring") == [keyring]


def test_what_a_broken_run_left_is_no_back_up_and_goes_after_two_days(catalogue: Catalogue, tmp_path: Path) -> None:
    file = tmp_path / "lms_requests.sql.zst.age"
    file.touch()
    catalogue.upload("database", stamp_of(age(1)), file)
    catalogue.upload("database", stamp_of(age(3)), file)
    assert catalogue.ids("database") == []
    with pytest.raises(NoBackup, match="no back-up of the database"):
        catalogue.newest("database")
    assert catalogue.prune("database", 30, NOW) == [f"databases/{stamp_of(age(3))}/{file.name}"]


def test_the_newest_back_up_of_before_an_instant_is_found(catalogue: Catalogue, tmp_path: Path) -> None:
    older, newer = (keep(catalogue, tmp_path, "database", days) for days in (3, 2))
    assert catalogue.newest("database").id == newer
    assert catalogue.newest("database", age(2)).id == newer
    assert catalogue.newest("database", age(2) - timedelta(seconds=1)).id == older
    with pytest.raises(NoBackup, match="from before"):
        catalogue.newest("database", age(4))


def test_a_damaged_file_is_refused_by_name(catalogue: Catalogue, tmp_path: Path) -> None:
    id_ = keep(catalogue, tmp_path, "database", 1)
    manifest = catalogue.manifest("database", id_)
    stored = tmp_path / "storage" / "databases" / id_ / "file.zst.age"
    assert catalogue.fetch(manifest, manifest.files[0], tmp_path).exists()
    stored.write_bytes(b"xxxy")
    with pytest.raises(Damaged, match=rf"databases/{id_}/file\.zst\.age is damaged"):
        catalogue.fetch(manifest, manifest.files[0], tmp_path)


def test_a_log_epoch_is_taken_once(catalogue: Catalogue) -> None:
    def record(epoch: int) -> RestoreRecord:
        return RestoreRecord(
            log_epoch=epoch, begun_at=NOW, restored_to=NOW, database="x", lost={"leave.requests.v1": 3}, complete=True
        )

    assert catalogue.next_epoch() == 2
    assert catalogue.take_epoch(record(2))
    assert not catalogue.take_epoch(record(2))
    assert catalogue.next_epoch() == 3


def test_a_storage_belongs_to_the_system_that_came_first(catalogue: Catalogue) -> None:
    assert catalogue.owner() is None
    assert catalogue.claim("one") == "one"
    assert catalogue.claim("other") == "one"


def test_the_list_shows_whole_names_also_on_a_narrow_terminal(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [keep(catalogue, tmp_path, kind, 1) for kind in ("database", "keyring")]
    monkeypatch.setenv("COLUMNS", "80")
    listed = CliRunner().invoke(
        app, ["backups", "list", "--home", str(tmp_path / "home"), "--from", str(tmp_path / "storage")]
    )
    assert listed.exit_code == 0, listed.output
    assert all(one in listed.stdout for one in kept), listed.stdout
