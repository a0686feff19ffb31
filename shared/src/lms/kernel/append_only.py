"""A file that only grows: a JSON object a line, on the disk before `add` returns.

For what must survive whatever happens to a database: the erasure list, the checkpoints of the audit log. One process
writes at a time (a job's lease, or appends shorter than a disk block). A line that a crash has torn is never read, and
the next one starts anew behind it.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


class AppendOnlyFile:
    """The file at `path`; without a path nothing is kept, for development."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append an entry, and return once it cannot be lost with the process or the machine's power."""
        self._append([entry])

    def merge(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Append those entries that are not in the file yet, each once."""
        there = {json.dumps(one) for one in self.all()}
        wanted = {json.dumps(one): one for one in entries}
        self._append([one for text, one in wanted.items() if text not in there])

    def _append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        if self._path is None or not entries:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab", closefd=True) as file:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            file.write(("\n" if torn else "").encode() + b"".join(f"{json.dumps(one)}\n".encode() for one in entries))
            file.flush()
            os.fsync(descriptor)

    def all(self) -> list[dict[str, Any]]:
        """Return every whole entry, in the order of adding."""
        if self._path is None or not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8").splitlines()
        return [entry for line in lines if (entry := _parsed(line)) is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
