"""A file that only grows: a JSON object a line, on the disk before `add` returns.

For what must survive whatever happens to a database: the erasure list, the checkpoints of the audit log. One process
writes at a time (a job's lease, or appends shorter than a disk block). A line that a crash has torn is never read, and
the next one starts anew behind it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class AppendOnlyFile:
    """The file at `path`; without a path nothing is kept, for development."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append an entry, and return once it cannot be lost with the process or the machine's power."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, (("\n" if torn else "") + json.dumps(entry) + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

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
