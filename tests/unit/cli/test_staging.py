"""Folders in which back-ups are made: one's own, and gone even where a run was killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lms.cli.trial import staging

KILLED = """
import os
from lms.cli.trial import staging
with staging() as folder:
    (folder / "binlog.000001").write_text("keys")
    print(folder, flush=True)
    os._exit(9)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def long_ago(folder: Path) -> None:
    os.utime(folder, (0, 0))


def test_what_is_staged_can_be_read_by_its_owner_alone_and_is_gone_at_the_end(temporary: Path) -> None:
    with staging() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "dump").write_text("rows")
    assert list(temporary.iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next(temporary: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    left = Path(done.stdout.strip())
    assert (left / "binlog.000001").exists()
    long_ago(left)
    with staging() as folder:
        assert list(temporary.iterdir()) == [folder]


def test_what_another_run_works_in_stays() -> None:
    with staging() as one:
        long_ago(one)
        with staging():
            assert one.exists()


def test_a_link_is_not_followed(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "mine").touch()
    link = temporary / "lms-backup-link"
    link.symlink_to(elsewhere)
    os.utime(link, (0, 0), follow_symlinks=False)
    with staging():
        assert (elsewhere / "mine").exists()
