"""The binary log as files: what is whole, and where an instant cuts it."""

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lms.cli.binary_log import MAGIC, NotALog, groups_of, in_folder, is_beginning_of, look_at, number_of

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
FORMAT, ROTATE, XID, GTID, ROWS = 15, 4, 16, 162, 23


def event(kind: int, at: datetime, *, size: int = 40, flags: int = 0) -> bytes:
    body = b"x" * (size - 19)
    return struct.pack("<IBIIIH", int(at.timestamp()), kind, 1, size, 0, flags) + body


def commit(at: datetime) -> bytes:
    """A commit: its rows are older than itself, as those of a long transaction are."""
    return event(GTID, at) + event(ROWS, at - timedelta(seconds=5)) + event(XID, at)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "binlog.000007"
    commits = (commit(NOON + timedelta(seconds=number)) for number in (0, 1, 1, 3))
    path.write_bytes(MAGIC + event(FORMAT, NOON, flags=1) + b"".join(commits))
    return path


def test_a_log_tells_what_it_covers(log: Path) -> None:
    found = look_at(log)
    assert (found.name, found.number, found.closed) == ("binlog.000007", 7, False)
    assert (found.first_at, found.last_at) == (NOON, NOON + timedelta(seconds=3))
    assert found.end == log.stat().st_size
    log.write_bytes(log.read_bytes() + event(ROTATE, NOON))
    assert look_at(log).closed


def test_an_instant_cuts_before_its_first_commit(log: Path) -> None:
    found = look_at(log)
    first, second, third, fourth = (one.offset for one in groups_of(log))
    assert found.cut(NOON) == first
    assert found.cut(NOON + timedelta(seconds=1)) == second
    assert found.cut(NOON + timedelta(seconds=2)) == fourth
    assert found.cut(NOON + timedelta(seconds=1), begin=third) == third
    assert found.cut(NOON + timedelta(seconds=4)) is None


@pytest.mark.parametrize("cut_off", [1, 20, 39])
def test_what_a_crash_tore_does_not_count(log: Path, cut_off: int) -> None:
    whole = log.read_bytes()
    log.write_bytes(whole[:-cut_off])
    found = look_at(log)
    assert found.end == len(whole) - 40
    assert not found.closed


def test_a_file_is_told_from_one_of_another_log(log: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    closed = bytearray(log.read_bytes() + event(ROTATE, NOON))
    closed[len(MAGIC) + 17] = 0  # the server takes the mark "in use" away when it closes the file
    later.write_bytes(bytes(closed))
    assert is_beginning_of(log, later)
    assert not is_beginning_of(later, log)
    closed[60] ^= 1
    later.write_bytes(bytes(closed))
    assert not is_beginning_of(log, later)


def test_files_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in (
        "binlog.999999",
        "binlog.1000000",
        "binlog.index",
        "aria_log.00000001",
        "other.000001",
        "binlog.000002",
    ):
        (tmp_path / name).touch()
    found = [one.name for one in in_folder(tmp_path, "binlog.000001")]
    assert found == ["binlog.000002", "binlog.999999", "binlog.1000000"]
    with pytest.raises(NotALog, match="is not how"):
        number_of("binlog.index")


@pytest.mark.parametrize("content", [b"", b"\xfdbin", b"some text that is no log"])
def test_what_is_no_log_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "binlog.000001"
    path.write_bytes(content)
    with pytest.raises(NotALog, match=r"binlog\.000001 is no binary log"):
        look_at(path)
