"""The server's binary log as files: in which order they stand, what they cover, and where an instant cuts them.

Every commit stands in the log as one *group* of events, in the order of the commits of all schemas. A group begins
with an event (`GTID`) whose header dates it: the second in which the commit began, by the server's clock. Of an event
no more is read here than its header, which MySQL and MariaDB write alike (MySQL internals, "Binlog Event Header").

An instant cuts the log before the first group that is dated in its second or later. So what was acknowledged before the
instant is in front of the cut, for its commit ended earlier than any such group began; and what was sent at the instant
or later is behind it.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

MAGIC = b"\xfebin"

_HEADER = struct.Struct("<IBIIIH")  # timestamp, type, server id, size, next position, flags
_GROUP_BEGINS = frozenset({33, 34, 42, 162})  # GTID, anonymous GTID and tagged GTID of MySQL; GTID of MariaDB
_CLOSES = frozenset({3, 4})  # the server stopped, or went on to the next file
_NAME = re.compile(r"^(?P<base>.+)\.(?P<number>\d{6,})$")
_FLAGS = slice(len(MAGIC) + 17, len(MAGIC) + 19)  # of the first event: "in use" changes when the file is closed


class NotALog(Exception):
    """A file is no binary log; the text names it."""


class Place(NamedTuple):
    """A place in the log: a file's name and an offset in it."""

    file: str
    offset: int

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}"


class Group(NamedTuple):
    """A commit: where it begins, and in which second."""

    offset: int
    at: datetime


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of the log; `end` is behind its last whole event, `closed` says that nothing follows in this file.

    `first_at` and `last_at` are the seconds of its first and last commits, None without any.
    """

    path: Path
    end: int
    closed: bool
    first_at: datetime | None
    last_at: datetime | None

    @property
    def name(self) -> str:
        """Its name on the server, such as `binlog.000042`."""
        return self.path.name

    @property
    def number(self) -> int:
        """Its number, by which the files of a log follow each other."""
        return number_of(self.path.name)

    def cut(self, instant: datetime, begin: int = 0) -> int | None:
        """Return where the first commit of `instant` or later begins, from `begin` on; None if there is none."""
        groups = (one.offset for one in groups_of(self.path) if one.at >= instant and one.offset >= begin)
        return next(groups, None)


def number_of(name: str) -> int:
    """Return the number of a file of the log. Raises NotALog for another name."""
    found = _NAME.match(name)
    if found is None:
        raise NotALog(f"{name} is not how a file of a binary log is named, such as binlog.000042.")
    return int(found["number"])


def look_at(path: Path) -> LogFile:
    """Walk over a file of the log. Raises NotALog. What a crash tore at its end does not count."""
    number_of(path.name)
    end, last, first_at, last_at = len(MAGIC), -1, None, None
    for offset, seconds, kind, size in _events(path):
        end, last = offset + size, kind
        if kind in _GROUP_BEGINS:
            last_at = datetime.fromtimestamp(seconds, UTC)
            first_at = first_at or last_at
    return LogFile(path, end, last in _CLOSES and end == path.stat().st_size, first_at, last_at)


def groups_of(path: Path) -> Iterator[Group]:
    """Return every commit of a file, in order."""
    for offset, seconds, kind, _ in _events(path):
        if kind in _GROUP_BEGINS:
            yield Group(offset, datetime.fromtimestamp(seconds, UTC))


def is_beginning_of(one: Path, other: Path) -> bool:
    """Say whether `one` is `other`, or `other` as it was some time ago; only the mark "in use" may differ."""
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(1 << 20):
            expected = second.read(len(chunk))
            if first.tell() == len(chunk):
                chunk, expected = _unmarked(chunk), _unmarked(expected)
            if chunk != expected:
                return False
    return True


def in_folder(folder: Path, like: str) -> list[Path]:
    """Return the files of the log that a folder holds, in the order of their numbers; `like` is the name of one."""
    base = like.rpartition(".")[0]
    names = (one for one in folder.iterdir() if _NAME.match(one.name) and one.name.rpartition(".")[0] == base)
    return sorted(names, key=lambda one: number_of(one.name))


def _unmarked(beginning: bytes) -> bytes:
    return beginning[: _FLAGS.start] + beginning[_FLAGS.stop :]


def _events(path: Path) -> Iterator[tuple[int, int, int, int]]:
    """Return offset, second, type and size of every whole event. Raises NotALog."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise NotALog(f"{path} is no binary log, or an encrypted one.")
        length = path.stat().st_size
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            offset = len(MAGIC)
            while offset + _HEADER.size <= length:
                seconds, kind, _, size, _, _ = _HEADER.unpack_from(content, offset)
                if size < _HEADER.size or offset + size > length:
                    return
                yield offset, seconds, kind, size
                offset += size
