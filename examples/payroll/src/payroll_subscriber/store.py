"""What the subscriber knows, in one SQLite file: lines, months, and how far it has read, all in one transaction.

So whatever kills the process, the next one goes on where the last committed batch ended, and what comes again is
recognised by its stream's position. A line is written into exactly one file, that of the first month to be complete of
its own period or a later one.

When LMS is restored to an earlier moment, its topic is made anew: with what was kept, then `log.restored` in every
partition, then what comes under a higher epoch. The store then wants the topic from its beginning, and notes what it
meets again. What it had seen and does not meet in front of `log.restored` never happened, and is undone.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from payroll_subscriber.facts import Fact, Position, Unreadable, Verdict, judge, parse

_SCHEMA = """
-- `last_id` is the fact at the offset before: another one stands there when the topic was made anew.
CREATE TABLE IF NOT EXISTS offsets (
    partition INTEGER PRIMARY KEY,
    next_offset INTEGER NOT NULL,
    last_id TEXT NOT NULL
);
-- The last fact that was seen of each stream, and the last that was met since the topic was begun from its beginning.
-- `place` is the stream, or stream and partition where copies stand in all.
CREATE TABLE IF NOT EXISTS seen (
    place TEXT PRIMARY KEY,
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    log_epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    met_version INTEGER NOT NULL
);
-- The restores of LMS that were heard of, by the epoch that each began (partition NULL), and in which partitions each
-- was followed.
CREATE TABLE IF NOT EXISTS restores (
    log_epoch INTEGER NOT NULL,
    partition INTEGER,
    PRIMARY KEY (log_epoch, partition)
);
-- Every line. `state`: `stands`; `abandoned`, when LMS was restored to a moment before it and it had been written to a
-- file already; `reversal`, which takes an abandoned one back in a later file. `file` is the month whose file has it.
CREATE TABLE IF NOT EXISTS lines (
    stream TEXT NOT NULL,
    log_epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    line INTEGER NOT NULL,
    state TEXT NOT NULL,
    employee_id TEXT NOT NULL,
    absence_id TEXT NOT NULL,
    leave_type TEXT NOT NULL,
    date TEXT NOT NULL,
    part TEXT NOT NULL,
    entitlement_minutes INTEGER NOT NULL,
    scheduled_minutes INTEGER NOT NULL,
    pay_code TEXT NOT NULL,
    paid INTEGER NOT NULL,
    cost_centre TEXT NOT NULL,
    period TEXT NOT NULL,
    original_period TEXT,
    file TEXT,
    PRIMARY KEY (stream, log_epoch, version, line, state)
);
CREATE INDEX IF NOT EXISTS lines_file ON lines (file, period);
-- The copies of `period.closed` that have come, one for each partition, with the control totals that they name.
CREATE TABLE IF NOT EXISTS closings (
    period TEXT NOT NULL,
    stream TEXT NOT NULL,
    log_epoch INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    version INTEGER NOT NULL,
    copies INTEGER NOT NULL,
    line_count INTEGER NOT NULL,
    entitlement_minutes INTEGER NOT NULL,
    scheduled_minutes INTEGER NOT NULL,
    PRIMARY KEY (period, log_epoch, partition)
);
CREATE TABLE IF NOT EXISTS files (
    period TEXT PRIMARY KEY,
    delivered INTEGER NOT NULL
);
"""

COLUMNS = (
    "employee_id", "leave_type", "pay_code", "paid", "cost_centre", "date", "part", "entitlement_minutes",
    "scheduled_minutes", "period", "original_period", "absence_id", "log_epoch", "version", "line",
)  # fmt: skip
"""What a file says of a line."""


class Missing(Exception):
    """Something that should have come has not: nothing is written until a person has looked at it."""


class Busy(Exception):
    """Another process works with this file."""


class Message(NamedTuple):
    """A message as a client of Kafka gives it."""

    partition: int
    offset: int
    headers: Iterable[tuple[str, bytes]]
    value: bytes | None


class Store:
    """The SQLite file; one process at a time works with it."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        self._connection.row_factory = sqlite3.Row
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise Busy(f"{path}: {error}; does another subscriber run?") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # Reading the topic ------------------------------------------------------------------------------------------------

    def offsets(self) -> dict[int, int]:
        """Return where to go on in each partition: at the last message that was taken, to see that it is there."""
        rows = self._connection.execute("SELECT partition, next_offset FROM offsets")
        return {row["partition"]: row["next_offset"] - 1 for row in rows}

    def begin(self, ends: Mapping[int, int]) -> dict[int, int]:
        """Return where to go on in each partition of a topic that ends at these offsets.

        Where a partition ends before the last message that was taken, the topic was made anew: everything is then read
        from its beginning, for the facts that would tell stand before that place.
        """
        offsets = self.offsets()
        if any(offsets.get(partition, -1) >= end for partition, end in ends.items()):
            self.forget_offsets()
            offsets = {}
        return {partition: offsets.get(partition, 0) for partition in ends}

    def forget_offsets(self) -> None:
        """Read everything again from the beginning: what was seen is recognised."""
        with self._transaction() as do:
            _begin_anew(do)

    def apply(self, messages: Sequence[Message]) -> bool:
        """Take messages, each partition in its order, all in one transaction with the offsets.

        Return whether to go on; False: the topic was made anew, and must be read from its beginning. Raises Unreadable
        and Missing; then nothing of the batch was taken.
        """
        with self._transaction() as do:
            for message in messages:
                try:
                    fact = parse(message.headers, message.value)
                    if _is_another_topic(do, message, fact):
                        _begin_anew(do)
                        return False
                    _take(do, message.partition, fact)
                except (Unreadable, Missing) as error:
                    raise type(error)(f"partition {message.partition}, offset {message.offset}: {error}") from error
                do.execute(
                    "INSERT INTO offsets VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET next_offset = excluded.next_offset, last_id = excluded.last_id",
                    (message.partition, message.offset + 1, fact.id),
                )
        return True

    # Files ------------------------------------------------------------------------------------------------------------

    def undelivered(self) -> list[str]:
        """Return the months whose files are to be written, in their order."""
        rows = self._connection.execute("SELECT period FROM files WHERE NOT delivered ORDER BY period")
        return [row["period"] for row in rows]

    def lines_of(self, period: str) -> list[tuple[Any, ...]]:
        """Return the lines of a month's file: COLUMNS, by employee and day. The same every time."""
        rows = self._connection.execute(
            f"SELECT {', '.join(COLUMNS)} FROM lines WHERE file = ?"  # noqa: S608  # our own names
            " ORDER BY employee_id, date, log_epoch, version, line, state",
            (period,),
        )
        return [tuple(row) for row in rows]

    def delivered(self, period: str) -> None:
        """Note that a month's file is there."""
        with self._transaction() as do:
            do.execute("UPDATE files SET delivered = 1 WHERE period = ?", (period,))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _is_another_topic(do: sqlite3.Connection, message: Message, fact: Fact) -> bool:
    """Say whether the topic was made anew: a fact has a new epoch, or stands where another one was read."""
    if fact.position.log_epoch > 1:
        heard = do.execute("SELECT 1 FROM restores WHERE log_epoch >= ?", (fact.position.log_epoch,)).fetchone()
        if heard is None:
            do.execute("INSERT INTO restores VALUES (?, NULL)", (fact.position.log_epoch,))
            return True
    row = do.execute("SELECT next_offset, last_id FROM offsets WHERE partition = ?", (message.partition,)).fetchone()
    if row is None or message.offset >= row["next_offset"]:
        return False
    return bool(message.offset < row["next_offset"] - 1 or fact.id != row["last_id"])


def _begin_anew(do: sqlite3.Connection) -> None:
    do.execute("DELETE FROM offsets")
    do.execute("UPDATE seen SET met_version = 0")


def _take(do: sqlite3.Connection, partition: int, fact: Fact) -> None:
    if fact.type == "log.restored":
        _follow_restore(do, partition, fact)
        return
    place = fact.stream if fact.copies == 1 else f"{fact.stream} in {partition}"
    row = do.execute("SELECT log_epoch, version FROM seen WHERE place = ?", (place,)).fetchone()
    seen = None if row is None else Position(*row)
    match judge(fact.position, seen):
        case Verdict.SEEN:
            met = "UPDATE seen SET met_version = MAX(met_version, ?) WHERE place = ?"
            do.execute(met, (fact.position.version, place))
            return
        case Verdict.MISSING:
            was = f"version {seen.version}" if seen else "nothing"
            raise Missing(f"{fact.stream} jumps from {was} to version {fact.position.version}")
        case Verdict.NEXT:
            pass
    try:
        match fact.type:
            case "absence.confirmed" | "absence.corrected" | "absence.revoked":
                _book(do, fact)
            case "period.closed":
                _close(do, partition, fact)
            case _:
                pass  # a fact of tomorrow: its version counts, and what it says is for others
    except (KeyError, TypeError) as error:
        raise Unreadable(f"{fact.type} lacks what is read here: {error}") from error
    do.execute(
        "INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET log_epoch = excluded.log_epoch, version = excluded.version, met_version = excluded.met_version",
        (place, fact.stream, partition, *fact.position, fact.position.version),
    )


def _book(do: sqlite3.Connection, fact: Fact) -> None:
    for number, line in enumerate(fact.data["lines"], start=1):
        row = {
            "stream": fact.stream, "log_epoch": fact.position.log_epoch, "version": fact.position.version,
            "line": number, "state": "stands", "employee_id": fact.data["employee_id"],
            "absence_id": fact.data["absence_id"], "leave_type": fact.data["leave_type"], "date": line["date"],
            "part": line["part"], "entitlement_minutes": line["entitlement_minutes"],
            "scheduled_minutes": line["scheduled_minutes"], "pay_code": line["pay_code"], "paid": line["paid"],
            "cost_centre": line["cost_centre"], "period": line["period"], "original_period": line["original_period"],
        }  # fmt: skip
        _insert(do, "lines", row)


def _close(do: sqlite3.Connection, partition: int, fact: Fact) -> None:
    """Note a copy; with the last one the month is complete, and its lines are put into its file."""
    period, epoch = fact.data["period"], fact.position.log_epoch
    row = {
        "period": period, "stream": fact.stream, "log_epoch": epoch, "partition": partition,
        "version": fact.position.version, "copies": fact.copies, "line_count": fact.data["line_count"],
        "entitlement_minutes": fact.data["entitlement_minutes"], "scheduled_minutes": fact.data["scheduled_minutes"],
    }  # fmt: skip
    _insert(do, "closings", row)
    (come,) = do.execute("SELECT COUNT(*) FROM closings WHERE period = ? AND log_epoch = ?", (period, epoch)).fetchone()
    if come < fact.copies:
        return
    found = do.execute(
        "SELECT COUNT(*), COALESCE(SUM(entitlement_minutes), 0), COALESCE(SUM(scheduled_minutes), 0)"
        " FROM lines WHERE period = ? AND state = 'stands'",
        (period,),
    ).fetchone()
    expected = (row["line_count"], row["entitlement_minutes"], row["scheduled_minutes"])
    if tuple(found) != expected:
        raise Missing(
            f"{period} should have (lines, entitlement, scheduled minutes) {expected}, and has {tuple(found)}"
        )
    earlier = do.execute(
        "SELECT MIN(period) FROM closings WHERE period < ? AND period NOT IN (SELECT period FROM files)", (period,)
    ).fetchone()[0]
    if earlier is not None:
        raise Missing(f"{period} is complete, and {earlier} before it is not")
    if do.execute("INSERT INTO files VALUES (?, 0) ON CONFLICT DO NOTHING", (period,)).rowcount:
        do.execute("UPDATE lines SET file = ? WHERE file IS NULL AND period <= ?", (period, period))


def _follow_restore(do: sqlite3.Connection, partition: int, fact: Fact) -> None:
    """Undo what was seen of the partition's streams and did not come again in front of this: it never happened."""
    epoch = fact.position.log_epoch
    if do.execute("SELECT 1 FROM restores WHERE log_epoch = ? AND partition = ?", (epoch, partition)).fetchone():
        return
    beyond = do.execute(
        "SELECT place, stream, met_version FROM seen WHERE partition = ? AND log_epoch < ? AND met_version < version",
        (partition, epoch),
    ).fetchall()
    for place, stream, met in beyond:
        _abandon(do, partition, stream, met, epoch)
        do.execute("UPDATE seen SET version = met_version WHERE place = ?", (place,))
    do.execute("DELETE FROM seen WHERE version = 0")
    do.execute("INSERT INTO restores VALUES (?, ?)", (epoch, partition))


def _abandon(do: sqlite3.Connection, partition: int, stream: str, kept: int, epoch: int) -> None:
    """Undo what was recorded in a stream behind a version, and before an epoch.

    Lines that no file has are forgotten; those of a file are taken back in the next one. A month that was complete
    stays so; what is booked in it anew goes into the next file, too.
    """
    behind, gone = "stream = ? AND version > ? AND log_epoch < ?", (stream, kept, epoch)
    do.execute(f"DELETE FROM closings WHERE {behind} AND partition = ?", (*gone, partition))  # noqa: S608  # our own words
    standing = f"{behind} AND state = 'stands'"
    do.execute(f"DELETE FROM lines WHERE {standing} AND file IS NULL", gone)  # noqa: S608
    for row in do.execute(f"SELECT * FROM lines WHERE {standing}", gone).fetchall():  # noqa: S608
        reversal = {
            **row, "state": "reversal", "entitlement_minutes": -row["entitlement_minutes"],
            "scheduled_minutes": -row["scheduled_minutes"], "file": None,
        }  # fmt: skip
        _insert(do, "lines", reversal)
    do.execute(f"UPDATE lines SET state = 'abandoned' WHERE {standing}", gone)  # noqa: S608


def _insert(do: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    marks = ", ".join(f":{name}" for name in row)
    do.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", row)  # noqa: S608  # our own names
