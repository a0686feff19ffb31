"""How far a load has come: one line for each command that was answered, so that an interrupted load goes on there.

A line that was lost in a crash does no harm: the command is sent again under the same idempotency key, and the system
gives the answer that it gave before.
"""

import fcntl
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any


class InUse(Exception):
    """Another load writes this journal."""


class Journal:
    """A file of answered commands by key, each with what later commands need to know of the answer.

    One process at a time has it: opening it raises InUse while another does.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise InUse(f"Another load is under way: it holds {path}.") from None
        self._answered: dict[str, dict[str, Any]] = {}
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break  # the line that a crash cut short
            entry = json.loads(line)
            self._answered[entry.pop("key")] = entry
            whole += len(line)
        self._file.truncate(whole)

    def __contains__(self, key: str) -> bool:
        return key in self._answered

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._answered[key]

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what is known of a command's answer; None if it was not answered yet."""
        return self._answered.get(key)

    def note(self, key: str, **known: Any) -> dict[str, Any]:
        """Write down that a command was answered; return what is known of it."""
        self._answered[key] = known
        self._file.write(json.dumps({"key": key, **known}).encode() + b"\n")
        self._file.flush()
        return known

    async def once(self, key: str, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Return what is known of a command's answer; send it by `work` if it was not answered yet."""
        known = self._answered.get(key)
        return self.note(key, **await work()) if known is None else known

    def refusals(self) -> dict[str, int]:
        """Return how many commands were refused, by code."""
        return dict(Counter(entry["refused"] for entry in self._answered.values() if "refused" in entry))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
