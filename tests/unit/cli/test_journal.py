"""The journal of a load: what was answered stays answered, whatever a crash does to the file."""

from pathlib import Path
from typing import Any

import pytest

from lms.cli.demo.journal import InUse, Journal


async def test_what_was_answered_is_not_sent_again(tmp_path: Path) -> None:
    sent: list[str] = []

    async def send() -> dict[str, Any]:
        sent.append("sent")
        return {"id": "1"}

    first = Journal(tmp_path / "demo" / "a.jsonl")
    assert await first.once("p1.r1", send) == {"id": "1"}
    first.note("p1.r2", refused="overlap")
    first.close()
    again = Journal(tmp_path / "demo" / "a.jsonl")
    assert await again.once("p1.r1", send) == {"id": "1"}
    assert sent == ["sent"]
    assert again["p1.r2"] == {"refused": "overlap"}
    assert again.refusals() == {"overlap": 1}
    again.close()


def test_a_line_that_a_crash_cut_short_is_dropped_and_the_rest_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"key": "a", "id": "1"}\n{"key": "b", "i')
    journal = Journal(path)
    assert ("a" in journal, "b" in journal) == (True, False)
    journal.note("c", id="3")
    journal.close()
    assert path.read_text() == '{"key": "a", "id": "1"}\n{"key": "c", "id": "3"}\n'


def test_two_loads_do_not_write_one_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.jsonl")
    with pytest.raises(InUse, match="under way"):
        Journal(tmp_path / "a.jsonl")
    journal.close()
    Journal(tmp_path / "a.jsonl").close()
