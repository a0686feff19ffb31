"""What is told of a back-up that was made, whatever happens to those that are over."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from lms.cli.backup import back_up
from lms.cli.backup_settings import Backups, BackupSettings
from lms.cli.catalogue import LISTS, Catalogue
from lms.cli.database_server import DatabaseServer
from lms.cli.packing import make_identity
from lms.cli.storage import Folder, StorageFailed


class RetainingFolder(Folder):
    """A storage with a retention policy: it takes everything, and lets nobody delete."""

    def delete(self, keys: list[str]) -> None:
        """Refuse, as a bucket does, when there is something to delete."""
        if keys:
            raise StorageFailed(f"{self.url} keeps {keys[0]}: AccessDenied")


class OneSystem:
    """As much of a database server as a back-up of the lists asks for."""

    @contextmanager
    def locked(self, _name: str) -> Iterator[bool]:
        """Say that nobody else backs up."""
        yield True

    def execute(self, *_statements: str) -> None:
        """Make the table with the system's id, which is there."""

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Return the system's id, and no service's log."""
        return [{"system_id": "s"}] if "system_id" in sql else []


class WithoutServer(Backups):
    """Back-ups of a system whose database server is not run."""

    @property
    def server(self) -> DatabaseServer:
        """The stand-in."""
        return cast("DatabaseServer", OneSystem())


@pytest.fixture
def backups(tmp_path: Path) -> Backups:
    identity = tmp_path / "identity.txt"
    make_identity(identity)
    settings = BackupSettings(
        url=str(tmp_path / "storage"),
        identity_file=identity,
        lists=str(tmp_path / "erasures.jsonl"),
        metrics_file=tmp_path / "backup.prom",
    )
    opened = Backups.of(settings, lambda _: None)
    storage = Catalogue(RetainingFolder(tmp_path / "storage"))
    return WithoutServer(settings, storage, opened.recipient, opened.identity, opened.tell)


def last_success(backups: Backups) -> float:
    assert backups.settings.metrics_file is not None
    lines = backups.settings.metrics_file.read_text(encoding="utf-8").splitlines()
    (found,) = [line for line in lines if line.startswith('backup_last_success_timestamp_seconds{kind="lists"}')]
    return float(found.split(" ")[1])


def test_a_back_up_that_was_made_and_tried_is_told_of_when_the_storage_keeps_what_is_over(backups: Backups) -> None:
    (erasures,) = backups.settings.list_paths
    for number in range(LISTS):
        with erasures.open("a", encoding="utf-8") as file:
            file.write(f'{{"subject": "{number}"}}\n')
        back_up(backups, ("lists",))
    with erasures.open("a", encoding="utf-8") as file:
        file.write('{"subject": "last"}\n')
    began = time.time()
    with pytest.raises(StorageFailed, match="AccessDenied"):
        back_up(backups, ("lists",))
    assert len(backups.catalogue.ids("lists")) == LISTS + 1
    assert last_success(backups) >= round(began, 3)
