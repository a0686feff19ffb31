"""What the subscriber knows, in one SQLite file: lines, months, and how far it has read, all in one transaction.

So whatever kills the process, the next one goes on where the last committed batch ended, and what comes again is
recognised by its stream's position. A line is written into exactly one file, that of the first month to be complete of
its own period or a later one.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from payroll_subscriber.facts import Fact, Position, Unreadable, Verdict, judge, parse

_SCHEMA = """
CREATE TABLE IF NOT EXISTS offsets (
    partition INTEGER PRIMARY KEY,
    next_offset INTEGER NOT NULL
);
-- The last fact that was seen of each stream. `place` is the stream, or stream and partition where copies stand in all.
CREATE TABLE IF NOT EXISTS seen (
    place TEXT PRIMARY KEY,
    log_epoch INTEGER NOT NULL,
    version INTEGER NOT NULL
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
        """Return where to go on in each partition."""
        return {row["partition"]: row["next_offset"] for row in self._connection.execute("SELECT * FROM offsets")}

    def forget_offsets(self) -> None:
        """Read everything again from the beginning: what was seen is recognised."""
        with self._transaction() as do:
            do.execute("DELETE FROM offsets")

    def apply(self, messages: Sequence[Message]) -> None:
        """Take messages, each partition in its order, all in one transaction with the offsets.

        Raises Unreadable and Missing; then nothing of the batch was taken.
        """
        with self._transaction() as do:
            for message in messages:
                try:
                    _take(do, message.partition, parse(message.headers, message.value))
                except (Unreadable, Missing) as error:
                    raise type(error)(f"partition {message.partition}, offset {message.offset}: {error}") from error
                do.execute(
                    "INSERT INTO offsets VALUES (?, ?) ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
                    (message.partition, message.offset + 1),
                )

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


def _take(do: sqlite3.Connection, partition: int, fact: Fact) -> None:
    place = fact.stream if fact.copies == 1 else f"{fact.stream} in {partition}"
    row = do.execute("SELECT log_epoch, version FROM seen WHERE place = ?", (place,)).fetchone()
    seen = None if row is None else Position(*row)
    match judge(fact.position, seen):
        case Verdict.SEEN:
            return
        case Verdict.MISSING:
            was = f"version {seen.version}" if seen else "nothing"
            raise Missing(f"{fact.stream} jumps from {was} to version {fact.position.version}")
        case Verdict.RESTORED:
            _abandon(do, partition, fact)
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
        "INSERT INTO seen VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET log_epoch = excluded.log_epoch, version = excluded.version",
        (place, *fact.position),
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
        "period": period, "log_epoch": epoch, "partition": partition, "version": fact.position.version,
        "copies": fact.copies, "line_count": fact.data["line_count"],
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
        (newest,) = do.execute("SELECT MAX(log_epoch) FROM seen").fetchone()
        if newest is not None and newest > epoch:
            return  # closed in a time that a restore may have undone; if it was not, the next month misses this one
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


def _abandon(do: sqlite3.Connection, partition: int, fact: Fact) -> None:
    """Undo what was seen of a stream from a version on: LMS was restored to a moment before it.

    Lines that no file has are forgotten; those of a file are taken back in the next one. A month that was complete
    stays so; what is booked in it anew goes into the next file, too.
    """
    gone = (fact.stream, fact.position.version, fact.position.log_epoch)
    if fact.copies > 1:
        do.execute(
            "DELETE FROM closings WHERE partition = ? AND version >= ? AND log_epoch < ?", (partition, *gone[1:])
        )
        return
    standing = "stream = ? AND version >= ? AND log_epoch < ? AND state = 'stands'"
    do.execute(f"DELETE FROM lines WHERE {standing} AND file IS NULL", gone)  # noqa: S608  # our own words
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
