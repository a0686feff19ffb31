"""A file that only grows."""

from pathlib import Path

from lms.kernel.append_only import AppendOnlyFile


def test_entries_come_back_in_the_order_of_adding(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "list.jsonl"
    AppendOnlyFile(path).add({"n": 1})
    AppendOnlyFile(path).add({"n": 2, "text": "two\nlines"})
    assert AppendOnlyFile(path).all() == [{"n": 1}, {"n": 2, "text": "two\nlines"}]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_has_torn_is_left_out_and_spoils_nothing_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"n": 1}\n{"n": 2, "te')
    assert AppendOnlyFile(path).all() == [{"n": 1}]
    AppendOnlyFile(path).add({"n": 3})
    assert AppendOnlyFile(path).all() == [{"n": 1}, {"n": 3}]


def test_without_a_path_nothing_is_kept() -> None:
    file = AppendOnlyFile(None)
    file.add({"n": 1})
    assert file.all() == []
