"""The subscriber's store: what it makes of the topic, whatever is repeated, undone or cut short."""

import contextlib
import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from lms_on_paper import Lms, month

from payroll_subscriber import files
from payroll_subscriber.facts import Position, Unreadable, Verdict, judge
from payroll_subscriber.store import COLUMNS, Busy, Message, Missing, Store
from payroll_subscriber.subscriber import deliver


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = Store(tmp_path / "subscriber.sqlite")
    yield made
    made.close()


def read(folder: Path, period: str) -> list[dict[str, str]]:
    with (folder / f"absences-{period}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def minutes(folder: Path, period: str) -> list[tuple[str, int, str]]:
    """Employee, entitlement minutes and original period of each line of a file."""
    return [
        (one["employee_id"], int(one["entitlement_minutes"]), one["original_period"]) for one in read(folder, period)
    ]


@pytest.mark.parametrize(
    ("position", "seen", "verdict"),
    [
        ((1, 1), None, Verdict.NEXT),
        ((1, 2), None, Verdict.MISSING),
        ((2, 1), None, Verdict.NEXT),
        ((1, 3), (1, 2), Verdict.NEXT),
        ((1, 2), (1, 2), Verdict.SEEN),
        ((1, 4), (1, 2), Verdict.MISSING),
        ((2, 3), (1, 2), Verdict.NEXT),
        ((2, 2), (1, 2), Verdict.MISSING),
        ((2, 1), (1, 9), Verdict.MISSING),
        ((2, 4), (1, 2), Verdict.MISSING),
        ((1, 9), (2, 3), Verdict.SEEN),
    ],
)
def test_a_fact_is_known_by_its_epoch_and_version(position: Any, seen: Any, verdict: Verdict) -> None:
    assert judge(Position(*position), None if seen is None else Position(*seen)) is verdict


def test_a_file_is_written_when_the_month_has_closed_in_every_partition(store: Store, tmp_path: Path) -> None:
    lms = Lms()
    for employee in range(4):
        lms.book(employee, (0, 480), (1, 240))
    lms.close()
    *all_but_one, last = lms.messages()
    store.apply(all_but_one)
    deliver(store, tmp_path)
    assert list(tmp_path.glob("*.csv")) == []
    store.apply([last])
    deliver(store, tmp_path)
    assert minutes(tmp_path, "2026-01") == [(f"e{employee}", 480, "") for employee in range(4)]
    (first, *_) = read(tmp_path, "2026-01")
    assert tuple(first) == COLUMNS
    assert (first["date"], first["pay_code"], first["cost_centre"], first["paid"]) == ("2026-01-01", "ANN", "4100", "1")


def test_what_is_corrected_after_the_close_is_in_the_next_file_and_names_its_month(
    store: Store, tmp_path: Path
) -> None:
    lms = Lms()
    lms.book(1, (0, 480))
    lms.close()
    lms.book(1, (0, -480), (0, 240), kind="absence.corrected")
    lms.book(1, (0, -240), kind="absence.revoked")
    lms.close()
    store.apply(lms.messages())
    deliver(store, tmp_path)
    assert minutes(tmp_path, "2026-01") == [("e1", 480, "")]
    late = [("e1", -480, "2026-01"), ("e1", -240, "2026-01"), ("e1", 240, "2026-01")]
    assert minutes(tmp_path, "2026-02") == late


def test_a_month_without_absences_has_an_empty_file(store: Store, tmp_path: Path) -> None:
    lms = Lms()
    lms.close()
    store.apply(lms.messages())
    deliver(store, tmp_path)
    assert read(tmp_path, "2026-01") == []


def test_the_whole_topic_delivered_twice_changes_nothing(store: Store, tmp_path: Path) -> None:
    lms = Lms()
    lms.book(1, (0, 480))
    lms.close()
    lms.book(2, (1, 480))
    for partition in range(3):
        lms.repeat(partition, len(lms.topic[partition]))
    lms.close()
    store.apply(lms.messages())
    deliver(store, tmp_path)
    assert minutes(tmp_path, "2026-01") == [("e1", 480, "")]
    assert minutes(tmp_path, "2026-02") == [("e2", 480, "")]
    assert store.offsets() == {partition: len(lms.topic[partition]) - 1 for partition in range(3)}


def test_a_batch_that_fails_leaves_nothing_behind(store: Store) -> None:
    lms = Lms()
    lms.book(0, (0, 480))
    good, bad = lms.messages()[0], Message(0, 1, [], b"junk")
    with pytest.raises(Unreadable, match="partition 0, offset 1: not a fact of LMS"):
        store.apply([good, bad])
    assert store.offsets() == {}
    store.apply([good])
    assert store.offsets() == {0: 0}


def test_a_fact_without_what_is_read_stops_it(store: Store) -> None:
    lms = Lms()
    lms.tell("absences-e0", "absence.confirmed", {"employee_id": "e0"}, 0)
    with pytest.raises(Unreadable, match=r"absence\.confirmed lacks what is read here: 'lines'"):
        store.apply(lms.messages())


def test_a_version_that_is_missing_stops_it(store: Store) -> None:
    lms = Lms()
    for _ in range(3):
        lms.book(0, (0, 480))
    first, _, third = lms.messages()
    store.apply([first])
    with pytest.raises(Missing, match="absences-e0 jumps from version 1 to version 3"):
        store.apply([third])


def test_totals_that_do_not_match_stop_it_before_a_file_is_written(store: Store, tmp_path: Path) -> None:
    lms = Lms(partitions=1)
    lms.book(0, (0, 480))
    lms.log[0].data["lines"][0]["entitlement_minutes"] = 240
    lms.close()
    with pytest.raises(Missing, match=r"2026-01 should have .* \(1, 240, 240\), and has \(1, 480, 240\)"):
        store.apply(lms.messages())
    deliver(store, tmp_path)
    assert list(tmp_path.glob("*.csv")) == []


def test_facts_of_other_types_are_passed_over_and_their_versions_count(store: Store) -> None:
    lms = Lms()
    lms.book(0, (0, 480))
    lms.tell("absences-e0", "absence.praised", {}, 0)
    lms.book(0, (0, 240))
    store.apply(lms.messages())
    assert store.offsets() == {0: 2}


def test_after_a_restore_what_no_file_has_is_forgotten_and_what_one_has_is_taken_back_in_the_next(
    store: Store, tmp_path: Path
) -> None:
    lms = Lms(partitions=1)
    lms.book(1, (0, 480), (1, 60))
    lms.close()
    follow(store, lms)
    deliver(store, tmp_path)
    lms.restore(0)
    lms.book(1, (0, 30))
    lms.close()
    lms.close()
    follow(store, lms)
    deliver(store, tmp_path)
    assert minutes(tmp_path, "2026-01") == [("e1", 480, "")]
    assert sorted(minutes(tmp_path, "2026-02")) == [("e1", -480, ""), ("e1", 30, "")]


def test_what_a_restore_gave_up_is_undone_also_where_nothing_takes_its_place(store: Store, tmp_path: Path) -> None:
    lms = Lms()
    lms.book(0, (0, 480))
    lms.book(1, (0, 480))
    lms.book(1, (0, 240))
    follow(store, lms)
    lms.restore(2)
    lms.close()
    follow(store, lms)
    deliver(store, tmp_path)
    assert minutes(tmp_path, "2026-01") == [("e0", 480, ""), ("e1", 480, "")]


def test_a_topic_that_was_made_anew_with_nothing_given_up_changes_nothing(store: Store, tmp_path: Path) -> None:
    lms = Lms()
    lms.book(0, (0, 480))
    lms.close()
    follow(store, lms)
    deliver(store, tmp_path)
    (tmp_path / "absences-2026-01.csv").unlink()  # payroll has taken it
    lms.restore(len(lms.log))
    follow(store, lms)
    lms.close()
    follow(store, lms)
    deliver(store, tmp_path)
    assert [one.name for one in tmp_path.glob("*.csv")] == ["absences-2026-02.csv"]
    assert minutes(tmp_path, "2026-02") == []


def test_a_topic_that_was_made_anew_is_known_by_its_epoch_or_by_another_fact_at_the_last_offset(store: Store) -> None:
    lms = Lms(partitions=1)
    lms.book(0, (0, 480))
    lms.book(0, (0, 240))
    lms.repeat(0, 2)
    follow(store, lms)
    lms.book(0, (0, 480))
    lms.restore(3)
    (last,) = store.offsets().values()
    assert last == 3
    assert lms.topic[0][2].headers != lms.topic[0][3].headers
    assert store.apply(lms.topic[0][3:]) is False, "the epoch is a new one"
    assert store.offsets() == {}
    assert store.apply(lms.topic[0]) is True
    lms.repeat(0, 1)
    again = lms.topic[0][-1]
    assert store.apply([Message(0, 3, again.headers, again.value)]) is False, "another fact stood there"
    assert store.apply(lms.topic[0]) is True
    assert store.apply(lms.topic[0][:1]) is False, "it is shorter than what was read"


def test_a_closing_that_a_restore_undid_does_not_count(store: Store, tmp_path: Path) -> None:
    lms = Lms(partitions=2)
    lms.book(0, (0, 480))
    lms.close()
    store.apply(lms.topic[0])  # the second copy of the close is not there yet, nor is it ever read
    lms.restore(1)
    lms.book(1, (0, 240))
    follow(store, lms)
    assert store.undelivered() == []
    lms.close()
    follow(store, lms)
    deliver(store, tmp_path)
    assert minutes(tmp_path, "2026-01") == [("e0", 480, ""), ("e1", 240, "")]


def test_a_closing_that_a_restore_kept_counts_when_its_last_copy_comes(store: Store, tmp_path: Path) -> None:
    lms = Lms(partitions=2)
    lms.book(1, (0, 480))
    lms.close()
    lms.book(1, (1, 240))
    store.apply(lms.topic[1])
    lms.restore(2)
    follow(store, lms)
    lms.close()
    follow(store, lms)
    deliver(store, tmp_path)
    assert minutes(tmp_path, "2026-01") == [("e1", 480, "")]
    assert minutes(tmp_path, "2026-02") == []


def follow(store: Store, lms: Lms) -> None:
    """Read the topic to its end, as one who begins at the last message that was taken."""
    partitions = range(lms.partitions)
    while False in [store.apply(behind(store, lms, one)) for one in partitions]:
        pass


def behind(store: Store, lms: Lms, partition: int) -> list[Message]:
    """Return what comes from where the store stands, and everything where there is no such offset."""
    begin = store.offsets().get(partition, 0)
    return lms.topic[partition][begin if begin <= len(lms.topic[partition]) else 0 :]


def test_one_process_at_a_time_works_with_a_folder(store: Store, tmp_path: Path) -> None:
    store.apply([])
    with pytest.raises(Busy, match="does another subscriber run"):
        Store(tmp_path / "subscriber.sqlite")


def test_a_file_is_there_whole_or_not_at_all_and_the_same_every_time(tmp_path: Path) -> None:
    line = ("e1", "annual", 'A "quoted"; code', 1, "Süd, Ost", *range(10))
    path = files.write(tmp_path, "2026-01", [line])
    first = path.read_bytes()
    (tmp_path / "absences-2026-01.draft").write_text("half a fi")
    assert files.write(tmp_path, "2026-01", [line]).read_bytes() == first
    assert [one.name for one in tmp_path.iterdir()] == ["absences-2026-01.csv"]
    assert read(tmp_path, "2026-01")[0]["cost_centre"] == "Süd, Ost"


def test_a_file_that_was_not_noted_as_written_is_written_again(store: Store, tmp_path: Path) -> None:
    lms = Lms(partitions=1)
    lms.book(0, (0, 480))
    lms.close()
    store.apply(lms.messages())
    files.write(tmp_path, "2026-01", store.lines_of("2026-01"))  # and there it is killed
    before = (tmp_path / "absences-2026-01.csv").read_bytes()
    deliver(store, tmp_path)
    assert (tmp_path / "absences-2026-01.csv").read_bytes() == before
    (tmp_path / "absences-2026-01.csv").unlink()  # payroll has taken it
    deliver(store, tmp_path)
    assert list(tmp_path.glob("*.csv")) == []


# Whatever happens -----------------------------------------------------------------------------------------------------

_books = some.tuples(
    some.just("book"), some.integers(0, 4),
    some.lists(some.tuples(some.integers(0, 5), some.sampled_from([480, 240, -240])), min_size=1, max_size=3),
)  # fmt: skip
_repeats = some.tuples(some.just("repeat"), some.integers(0, 2), some.integers(1, 9))
_restores = some.tuples(some.just("restore"), some.integers(0, 30), some.just(None))
_closes = some.tuples(some.just("close"), some.just(None), some.just(None))
_reads = some.tuples(some.just("read"), some.integers(0, 2), some.integers(1, 6))
_kills = some.tuples(some.just("kill"), some.integers(0, 2), some.integers(1, 6))
_again = some.tuples(some.just("again"), some.just(None), some.just(None))
lives = some.lists(
    some.one_of(_books, _books, _closes, _repeats, _reads, _reads, _kills, _again, _restores), max_size=30
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(lives)
def test_the_files_add_up_to_what_stands_whatever_is_repeated_killed_read_again_or_restored(
    tmp_path_factory: pytest.TempPathFactory, life: list[tuple[str, Any, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("life")
    lms, reader = Lms(), Reader(folder)
    for step in life:
        play(lms, reader, *step)
    ever_closed = lms.furthest  # one month more: its file has what a restore took back from the others
    while lms.last_booked >= month(lms.open_month) or lms.open_month <= ever_closed:
        lms.close()
    follow(reader.store, lms)
    deliver(reader.store, folder)
    reader.store.close()
    found: Counter[str] = Counter()
    for number in range(lms.open_month):
        for employee, booked, _ in minutes(folder, month(number)):
            found[employee] += booked
    assert {key: value for key, value in found.items() if value} == {
        key: value for key, value in lms.totals().items() if value
    }


def play(lms: Lms, reader: "Reader", what: str, first: Any, second: Any) -> None:
    match what:
        case "book":
            lms.book(first, *second)
        case "close":
            lms.close()
        case "repeat":
            lms.repeat(first, second)
        case "restore":
            lms.restore(min(first, len(lms.log)))
        case "read":
            reader.read(lms, first, second)
        case "kill":
            reader.kill(lms, first, second)
        case "again":
            reader.store.forget_offsets()


class Reader:
    """A subscriber that reads a little, and is killed now and then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "subscriber.sqlite")

    def read(self, lms: Lms, partition: int, count: int) -> None:
        self.store.apply(self._next(lms, partition, count))
        deliver(self.store, self.folder)

    def kill(self, lms: Lms, partition: int, count: int) -> None:
        """Die inside a batch, and in writing a file: what was not committed is gone, what was is there.

        A batch that tells of a restore ends there, and is committed.
        """
        with contextlib.suppress(Unreadable):
            self.store.apply([*self._next(lms, partition, count), Message(partition, 0, [], b"the end")])
        for period in self.store.undelivered():
            (self.folder / f"absences-{period}.draft").write_text("half a")
        self.store.close()
        self.store = Store(self.folder / "subscriber.sqlite")

    def _next(self, lms: Lms, partition: int, count: int) -> list[Message]:
        return behind(self.store, lms, partition)[: count + 1]  # the first of them was taken before
