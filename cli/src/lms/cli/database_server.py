"""A MySQL or MariaDB server and its own tools: dump, load, the binary log, and sums over tables.

Which of the two it is decides which tools work: MariaDB's for MariaDB, MySQL's for MySQL. Passwords go to the tools in
a file that only its owner reads, never on the command line.
"""

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import pymysql
from sqlalchemy.engine import make_url

from lms.cli.binary_log import Place
from lms.cli.servers import Missing

LOCK_SECONDS = 10
"""How long a snapshot waits for the statements that are running, and how long writers then wait at most for it."""

_LOCK_ATTEMPTS = 5
_DATABASE = b"-- Current Database: `"
_COMPLETED = b"-- Dump completed"
_TOOLS = {
    "mariadb": {"dump": "mariadb-dump", "client": "mariadb", "log": "mariadb-binlog"},
    "mysql": {"dump": "mysqldump", "client": "mysql", "log": "mysqlbinlog"},
}
_PACKAGE = {"mariadb": "mariadb-client", "mysql": "mysql-client"}


class ServerFailed(Exception):
    """The server or one of its tools refused; the text says what it said."""


class Sum(NamedTuple):
    """A table's rows, and a sum over their content that does not depend on their order."""

    rows: int
    content: int


Sums = dict[str, dict[str, Sum]]
"""By schema and table."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One instant of several schemas: where in the binary log, when by the server's clock, and the sums of all tables.

    `locked_seconds` is how long writers waited.
    """

    position: Place
    taken_at: datetime
    sums: Sums
    locked_seconds: float


class Sink(Protocol):
    """Takes a dump."""

    def write(self, data: bytes) -> None:
        """Take some more."""
        ...


class Source(Protocol):
    """Gives a dump."""

    def read(self, size: int = ..., /) -> bytes:
        """Return at most so many bytes, and none at the end."""
        ...


class DatabaseServer:
    """The server at `mysql://user:password@host:port/`; the user must be allowed what is asked of it.

    `?ssl_ca=FILE` in the URL asks for TLS with a certificate of that authority.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._ca = self._url.query.get("ssl_ca")

    def __str__(self) -> str:
        return f"{self._url.host}:{self._url.port or 3306}"

    def url_of(self, schema: str) -> str:
        """Return the URL of a schema."""
        return self._url.set(database=schema).render_as_string(hide_password=False)

    # Asking ---------------------------------------------------------------------------------------------------------

    def connect(self) -> "pymysql.Connection[Any]":
        """Open a connection of one's own, in UTC. Raises ServerFailed."""
        try:
            return pymysql.connect(
                host=self._url.host or "localhost",
                port=self._url.port or 3306,
                user=self._url.username,
                password=self._url.password or "",
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=10,
                init_command="SET time_zone = '+00:00'",
                ssl={"ca": self._ca} if self._ca else None,
            )
        except pymysql.MySQLError as error:
            raise ServerFailed(f"The database server {self} cannot be reached: {error}") from error

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Return what a statement gives. Raises ServerFailed."""
        with self.connect() as connection:
            return _rows(connection, sql, *values)

    def execute(self, *statements: str, logged: bool = True) -> None:
        """Execute statements, one by one; `logged` false keeps them out of the binary log."""
        with self.connect() as connection:
            if not logged:
                _rows(connection, "SET SESSION sql_log_bin = 0")
            for statement in statements:
                _rows(connection, statement)

    @cached_property
    def version(self) -> str:
        """The server's version, such as `10.11.19-MariaDB`."""
        (row,) = self.rows("SELECT VERSION() AS version")
        return str(row["version"])

    @property
    def kind(self) -> str:
        """Which server it is: mariadb or mysql."""
        return "mariadb" if "mariadb" in self.version.lower() else "mysql"

    def variables(self, *names: str) -> dict[str, str]:
        """Return global variables by name; one that the server does not have is absent."""
        marks = ", ".join(["%s"] * len(names))
        rows = self.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})", *names)
        return {row["Variable_name"]: str(row["Value"]) for row in rows}

    def schemas(self) -> set[str]:
        """Return every schema that the user sees."""
        return {str(row["name"]) for row in self.rows("SELECT schema_name AS name FROM information_schema.schemata")}

    def sums(self, schemas: Iterable[str]) -> Sums:
        """Return the sums of every table of the schemas, as they are now."""
        with self.connect() as connection:
            return _sums(connection, schemas)

    def counts(self, schemas: Iterable[str]) -> dict[str, dict[str, int]]:
        """Return the number of rows of every table of the schemas."""
        with self.connect() as connection:
            return {
                schema: {
                    table: int(_rows(connection, f"SELECT COUNT(*) AS n FROM `{schema}`.`{table}`")[0]["n"])  # noqa: S608  # names that the server gave
                    for table in _columns(connection, schema)
                }
                for schema in schemas
            }

    @contextmanager
    def locked(self, name: str) -> Iterator[bool]:
        """Hold the server's lock of a name, unless somebody else does; say whether it is held. It ends with us."""
        with self.connect() as connection:
            (row,) = _rows(connection, "SELECT GET_LOCK(%s, 0) AS held", name)
            yield row["held"] == 1

    # The binary log -------------------------------------------------------------------------------------------------

    def log_files(self) -> list[str]:
        """Return the names of the files of the binary log, the one that is being written last."""
        return [str(row["Log_name"]) for row in self.rows("SHOW BINARY LOGS")]

    def begin_log_file(self) -> None:
        """Close the file of the binary log that is being written, and begin the next one."""
        self.execute("FLUSH BINARY LOGS")

    def log_file_has_commits(self, name: str) -> bool:
        """Say whether anything was committed into a file of the binary log, which begins with a few marks."""
        rows = self.rows(f"SHOW BINLOG EVENTS IN '{name}' LIMIT 8")
        return any(str(row["Event_type"]) not in _MARKS for row in rows)

    def position(self) -> Place:
        """Return where the binary log ends. Raises ServerFailed when the server writes none."""
        with self.connect() as connection:
            return self._position(connection)

    def _position(self, connection: Any) -> Place:
        shows = "SHOW MASTER STATUS" if self.kind == "mariadb" else "SHOW BINARY LOG STATUS"
        try:
            found = _rows(connection, shows)
        except ServerFailed:
            found = _rows(connection, "SHOW MASTER STATUS")  # MySQL before 8.2
        if not found:
            raise ServerFailed(f"The database server {self} writes no binary log; start it with --log-bin.")
        return Place(str(found[0]["File"]), int(found[0]["Position"]))

    def fetch_log_file(self, name: str, folder: Path) -> Path:
        """Copy a file of the binary log, as far as it is written, byte by byte. Raises ServerFailed."""
        command = ["--read-from-remote-server", "--raw", f"--result-file={folder}/", name]
        with self._options() as options:
            self._run([*self._tool("log", options), *command])
        return folder / name

    def replay(self, files: Sequence[Path], start: int, stop: int | None, schema: str | None = None) -> None:
        """Do again what the files say, from `start` in the first to `stop` in the last; of one schema, or all.

        Nothing of it is logged anew. Raises ServerFailed.
        """
        command = [_tool(self.kind, "log"), "--no-defaults", "--disable-log-bin", "--verify-binlog-checksum"]
        command += ["--skip-gtids"] if self.kind == "mysql" else ["--skip-annotate-row-events"]
        command += [f"--start-position={start}"]
        command += [f"--stop-position={stop}"] if stop is not None else []
        command += [f"--database={schema}"] if schema is not None else []
        with (
            self._options() as options,
            subprocess.Popen(  # noqa: S603  # our own command
                [*command, *map(str, files)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_UTC
            ) as reading,
            subprocess.Popen(  # noqa: S603  # our own command
                [*self._tool("client", options), "--binary-mode"],
                stdin=reading.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            ) as writing,
        ):  # fmt: skip
            if reading.stdout is not None:
                reading.stdout.close()  # the client's alone: when it ends early, so does the reader
            complaints = _Complaint(reading.stderr), _Complaint(writing.stderr)
            failed = [writing.wait(), reading.wait()]
        if any(failed):
            told = " ".join(one.text() for one in complaints)
            raise ServerFailed(f"The binary log could not be applied to {self}: {told}")

    # Dumping and loading --------------------------------------------------------------------------------------------

    def dump(self, schemas: Sequence[str], sink_of: Callable[[str], Sink]) -> Snapshot:
        """Write one instant of the schemas, each to its sink, while the server goes on.

        Writers wait from the moment at which the instant is fixed until the dump has begun its transaction in it. What
        is written is checked to be whole; `sink_of` is called once for each schema, in order. Raises ServerFailed.
        """
        with (
            self.connect() as holder,
            self.connect() as beside,
            self._options() as options,
            ThreadPoolExecutor(1) as pool,
        ):
            _rows(beside, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            _rows(beside, "SET SESSION net_write_timeout = 3600")
            began = self._hold(holder)
            _rows(beside, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
            position = self._position(holder)
            (now,) = _rows(holder, "SELECT NOW(6) AS now")
            command = [*self._tool("dump", options), *_DUMP[self.kind], "--databases", *schemas]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603  # our own
                complaint = _Complaint(process.stderr)
                watch = threading.Timer(LOCK_SECONDS, process.kill)
                watch.start()
                lines = iter(process.stdout or ())
                preamble = list(_until_schema(lines))
                watch.cancel()
                _rows(holder, "UNLOCK TABLES")
                locked = time.monotonic() - began
                summing = pool.submit(_sums, beside, schemas)
                whole, dumped = _distribute(preamble, lines, sink_of)
                if process.wait() or not whole:
                    raise ServerFailed(f"{command[0]} did not finish: {complaint.text() or 'it was cut off'}")
            if dumped != list(schemas):
                raise ServerFailed(f"The dump has the schemas {dumped}, and should have {list(schemas)}.")
            return Snapshot(position, now["now"].replace(tzinfo=UTC), summing.result(), locked)

    def _hold(self, holder: Any) -> float:
        """Let nobody write from now on; return since when."""
        _rows(holder, f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        for attempt in range(1, _LOCK_ATTEMPTS + 1):
            began = time.monotonic()
            try:
                _rows(holder, "FLUSH TABLES WITH READ LOCK")
            except ServerFailed:
                if attempt == _LOCK_ATTEMPTS:
                    raise
                time.sleep(attempt)
            else:
                return began
        raise AssertionError

    def load(self, source: Source) -> None:
        """Execute a dump; nothing of it is logged. Raises ServerFailed."""
        with self._options() as options:
            command = [*self._tool("client", options), "--binary-mode", "--init-command=SET SESSION sql_log_bin = 0"]
            with subprocess.Popen(  # noqa: S603  # our own command
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                complaint = _Complaint(process.stderr)
                try:
                    if process.stdin is not None:
                        shutil.copyfileobj(source, process.stdin, 1 << 20)
                        process.stdin.close()
                except BrokenPipeError:
                    pass
                except BaseException:
                    process.kill()
                    raise
                if process.wait():
                    raise ServerFailed(f"A dump could not be loaded into {self}: {complaint.text()}")

    # The tools ------------------------------------------------------------------------------------------------------

    def _tool(self, what: str, options: Path) -> list[str]:
        return [_tool(self.kind, what), f"--defaults-file={options}"]

    @contextmanager
    def _options(self) -> Iterator[Path]:
        values = {
            "host": self._url.host or "localhost",
            "port": self._url.port or 3306,
            "user": self._url.username,
            "password": self._url.password,
            "protocol": "tcp",
            "ssl-ca": self._ca,
        }
        with tempfile.NamedTemporaryFile("w", prefix="lms-", suffix=".cnf", encoding="utf-8") as file:
            lines = [f'{name}="{_quoted(value)}"' for name, value in values.items() if value is not None]
            file.write("\n".join(["[client]", *lines, ""]))
            file.flush()
            yield Path(file.name)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_UTC)  # noqa: S603  # our own
        if done.returncode:
            raise ServerFailed(f"{command[0]} failed: {_told(done.stderr)}")


_MARKS = frozenset({"Format_desc", "Gtid_list", "Binlog_checkpoint", "Previous_gtids", "Start_encryption", "Rotate"})
_UTC = {"TZ": "UTC", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_DUMP = {
    "mariadb": ["--single-transaction", "--quick", "--hex-blob", "--no-tablespaces", "--default-character-set=utf8mb4"],
    "mysql": [
        "--single-transaction", "--quick", "--hex-blob", "--no-tablespaces", "--default-character-set=utf8mb4",
        "--set-gtid-purged=OFF", "--column-statistics=0",
    ],
}  # fmt: skip


def decoded(kind: str, files: Sequence[Path], start: int) -> Iterator[str]:
    """Return the lines of the log as text, with the values of every row (`###   @1=…`). Raises ServerFailed.

    `kind` is that of the server which wrote it.
    """
    command = [_tool(kind, "log"), "--no-defaults", "--verbose", "--base64-output=decode-rows"]
    with subprocess.Popen(  # noqa: S603  # our own command
        [*command, f"--start-position={start}", *map(str, files)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace", env=_UTC,
    ) as process:  # fmt: skip
        complaint = _Complaint(process.stderr)
        yield from process.stdout or ()
        if process.wait():
            raise ServerFailed(f"{command[0]} cannot read the log: {complaint.text()}")


def _tool(kind: str, what: str) -> str:
    """Return the path of a server's own tool. Raises Missing."""
    name = _TOOLS[kind][what]
    found = shutil.which(name)
    if found is None or (kind == "mysql" and _is_of_mariadb(found)):
        raise Missing(f"{name} of {kind} is not installed; run: sudo apt-get install {_PACKAGE[kind]}")
    return found


class _Complaint:
    """What a process writes to its standard error, read beside its output so that it never waits."""

    def __init__(self, stream: IO[Any] | None) -> None:
        self._parts: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[Any] | None) -> None:
        for line in stream or ():
            self._parts.append(line if isinstance(line, str) else line.decode("utf-8", "replace"))
            del self._parts[:-50]

    def text(self) -> str:
        self._thread.join(5)
        return _told("".join(self._parts))


def _told(text: str) -> str:
    """Return what a tool complained of, without the rows that it complained about."""
    lines = text.splitlines()
    errors = [line for line in lines if line.startswith("ERROR")]
    return " ".join(" ".join(errors or lines).split())[-1500:]


def _quoted(value: object) -> str:
    return str(value).replace("\\", "\\\\").replace('"', '\\"')


def _is_of_mariadb(program: str) -> bool:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603  # a version
    return "mariadb" in done.stdout.lower()


def _rows(connection: Any, sql: str, *values: object) -> list[dict[str, Any]]:
    try:
        with connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())
    except pymysql.MySQLError as error:
        raise ServerFailed(f"The database server refused: {error} ({sql[:200]})") from error


def _columns(connection: Any, schema: str) -> dict[str, list[str]]:
    """Return the columns of every table of a schema."""
    found: dict[str, list[str]] = {}
    for row in _rows(
        connection,
        "SELECT c.table_name AS t, c.column_name AS c FROM information_schema.columns c"
        " JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name"
        " WHERE c.table_schema = %s AND t.table_type = 'BASE TABLE' ORDER BY c.table_name, c.ordinal_position",
        schema,
    ):
        found.setdefault(str(row["t"]), []).append(str(row["c"]))
    return found


def _sums(connection: Any, schemas: Iterable[str]) -> Sums:
    found: Sums = {}
    for schema in schemas:
        found[schema] = {}
        for table, columns in _columns(connection, schema).items():
            # QUOTE tells NULL from a text; as bytes, columns of any collation stand beside each other
            values = ", ".join(f"CAST(QUOTE(`{column}`) AS BINARY)" for column in columns)
            (row,) = _rows(
                connection,
                f"SELECT COUNT(*) AS n, COALESCE(SUM(CRC32(CONCAT_WS(',', {values}))), 0) AS s"  # noqa: S608  # names that the server gave
                f" FROM `{schema}`.`{table}`",
            )
            found[schema][table] = Sum(int(row["n"]), int(row["s"]))
    return found


def _until_schema(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Return the lines up to the first that names a schema, that one included."""
    for line in lines:
        yield line
        if line.startswith(_DATABASE):
            return


def _distribute(
    preamble: Sequence[bytes], lines: Iterator[bytes], sink_of: Callable[[str], Sink]
) -> tuple[bool, list[str]]:
    """Give each schema's part of a dump to its sink, behind what stands before all; say whether it is whole, and which.

    No line of data begins like the line that names a schema: values are written without line breaks.
    """
    *settings, first = preamble or [b""]
    sink: Sink | None = None
    schemas: list[str] = []
    last = b""
    for line in _again(first, lines):
        if line.startswith(_DATABASE):
            schemas.append(line[len(_DATABASE) :].split(b"`")[0].decode())
            sink = sink_of(schemas[-1])
            for setting in settings:
                sink.write(setting)
        if sink is not None:
            sink.write(line)
        if line.strip():
            last = line
    return last.startswith(_COMPLETED), schemas


def _again(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def differences(expected: Mapping[str, Mapping[str, Sum]], found: Mapping[str, Mapping[str, Sum]]) -> list[str]:
    """Return a sentence for every table whose rows are not those expected."""
    told: list[str] = []
    for schema, tables in expected.items():
        there = found.get(schema, {})
        for table in sorted(tables.keys() | there.keys()):
            wanted, got = tables.get(table), there.get(table)
            if wanted is None or got is None:
                told.append(f"{schema}.{table} {'should not be there' if wanted is None else 'is missing'}")
            elif tuple(wanted) != tuple(got):
                told.append(f"{schema}.{table} has {got[0]} rows (sum {got[1]}) instead of {wanted[0]} ({wanted[1]})")
    return told
