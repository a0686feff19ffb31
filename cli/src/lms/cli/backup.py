"""Backing up: databases, keyring, binary log, files. What is made is tried before it counts.

    made = back_up(Backups.of(settings, tell), ("database", "files", "log"))

A back-up of the databases is one instant of all schemas, with the place in the binary log at which it was taken, so
that the log rolls it forward to any later instant. The keyring is part of that instant and stored apart, for a shorter
time. What was stored is fetched back, restored on a server of its own, and compared table by table with what the
running server had in that instant; only then does the back-up exist (`catalogue.py`).
"""

import contextlib
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from lms.cli import binary_log
from lms.cli.backup_settings import Backups, BackupSettings
from lms.cli.binary_log import Place
from lms.cli.catalogue import Kind, Manifest, NoBackup, Stored, stamp_of
from lms.cli.database_server import DatabaseServer, Snapshot
from lms.cli.packing import SUFFIX, Packer, unpacked
from lms.cli.trial import KEYRING, PREFIX, lms_schemas, staging, try_out
from lms.kernel.clock import OFFSET_KEY


class BackupFailed(Exception):
    """A back-up could not be made, or is not what it should be; the text says why."""


@dataclass(frozen=True, slots=True)
class Made:
    """A back-up that was made."""

    kind: Kind
    id: str
    size: int
    seconds: float
    tried: bool
    remark: str = ""


def back_up(backups: Backups, kinds: Sequence[Kind]) -> list[Made]:
    """Make back-ups of these kinds, try them, and delete those that are over.

    What was made before a failure stays, and is told of also when what is over cannot be deleted. Raises BackupFailed,
    TrialFailed, and what server, storage and keys raise.
    """
    if backups.trial:
        backups.opened()
    _check_owner(backups)
    made: list[Made] = []
    for kind in kinds:
        with _alone(backups.server, kind):
            made += _MAKERS[kind](backups)
        tell_metrics(backups.settings, made)  # it is there, whatever becomes of those that are over
        _retain(backups, kind)
    return made


def verify(backups: Backups, id_: str | None = None) -> list[Made]:
    """Try a back-up of the databases out that is stored, the newest or the one named, with the keyring of its instant.

    Raises TrialFailed, Damaged, NoBackup.
    """
    began, catalogue = time.monotonic(), backups.catalogue
    database = catalogue.newest("database") if id_ is None else catalogue.manifest("database", id_)
    manifests = [database]
    if database.id in catalogue.ids("keyring"):
        manifests.append(catalogue.manifest("keyring", database.id))
    try_out(backups, manifests)
    with staging() as folder:
        for one in manifests:
            catalogue.finish(one.model_copy(update={"tried_at": datetime.now(UTC)}), folder)
    made = [Made(one.kind, one.id, one.size, time.monotonic() - began, tried=True) for one in manifests]
    tell_metrics(backups.settings, made)
    return made


def _check_owner(backups: Backups) -> None:
    """Make sure that the storage holds the back-ups of this system and no other."""
    ours = system_id(backups.server)
    owner = backups.catalogue.claim(ours)
    if owner != ours:
        raise BackupFailed(
            f"{backups.settings.url} holds the back-ups of another system ({owner}, and this one is {ours}); give this"
            " one a prefix of its own."
        )


def system_id(server: DatabaseServer) -> str:
    """Return the id that a system keeps for ever, also through a restore; it is drawn at the first back-up."""
    server.execute(
        "CREATE TABLE IF NOT EXISTS lms_recovery.system"
        " (id TINYINT PRIMARY KEY, system_id CHAR(36) CHARACTER SET ascii NOT NULL) ENGINE=InnoDB",
        "INSERT IGNORE INTO lms_recovery.system VALUES (1, UUID())",
    )
    (row,) = server.rows("SELECT system_id FROM lms_recovery.system")
    return str(row["system_id"])


def log_epoch(server: DatabaseServer) -> int:
    """Return the log epoch that the services' logs stand at; 1 before the first service was migrated."""
    found = server.rows("SELECT table_schema AS s FROM information_schema.tables WHERE table_name = 'log'")
    schemas = sorted(str(row["s"]) for row in found if str(row["s"]).startswith(PREFIX))
    epochs = [int(row["e"]) for one in schemas for row in server.rows(f"SELECT log_epoch AS e FROM `{one}`.log")]  # noqa: S608  # names that the server gave
    return max(epochs, default=1)


@contextmanager
def _alone(server: DatabaseServer, kind: Kind) -> Iterator[None]:
    """Make sure that one back-up of a kind runs at a time."""
    with server.locked(f"lms-backup-{kind}") as held:
        if not held:
            raise BackupFailed(f"Another back-up of the {kind} runs; wait for it to end.")
        yield


# Databases and keyring ------------------------------------------------------------------------------------------------


def _database(backups: Backups) -> list[Made]:
    schemas = lms_schemas(backups.server)
    if not schemas:
        raise BackupFailed(f"{backups.server} has no schema of LMS, or the user may not read them.")
    return _dumped(backups, [*schemas, KEYRING])


def _keyring(backups: Backups) -> list[Made]:
    return _dumped(backups, [KEYRING])


def _dumped(backups: Backups, schemas: Sequence[str]) -> list[Made]:
    """Back up schemas in one instant; the keyring, which is the last of them, is a back-up of its own."""
    server, began = backups.server, time.monotonic()
    with staging() as folder:
        with contextlib.closing(_Packing(backups, folder)) as packing:
            snapshot = server.dump(schemas, packing.sink_of)
        backups.tell(
            f"dumped {len(schemas)} schemas as of {snapshot.taken_at:%H:%M:%S} ({snapshot.position}); writers waited"
            f" {snapshot.locked_seconds:.2f} s"
        )
        files = [packing.stored(schema, snapshot) for schema in schemas]
        parts: list[tuple[Kind, list[Stored]]] = [("keyring", files[-1:])]
        if files[:-1]:
            parts.insert(0, ("database", files[:-1]))
        manifests: list[Manifest] = []
        for kind, stored in parts:
            id_ = stamp_of(snapshot.taken_at)
            for one in stored:
                backups.catalogue.upload(kind, id_, folder / one.name)
                (folder / one.name).unlink()
            manifests.append(
                Manifest(
                    kind=kind,
                    id=id_,
                    taken_at=snapshot.taken_at,
                    system_id=system_id(server),
                    log_epoch=log_epoch(server),
                    server=f"{server.kind} {server.version}",
                    position=snapshot.position,
                    clock_offset=_clock_offset(backups.settings),
                    files=tuple(stored),
                )
            )
        if backups.trial:
            try_out(backups, manifests)
        for manifest in manifests:
            backups.catalogue.finish(_tried(backups, manifest), folder)
    return [_made(backups, one, began) for one in manifests]


class _Packing:
    """Packs the parts of a dump, one after the other."""

    def __init__(self, backups: Backups, folder: Path) -> None:
        self._backups = backups
        self._folder = folder
        self._open = contextlib.ExitStack()
        self._packers: dict[str, Packer] = {}

    def sink_of(self, schema: str) -> Packer:
        """Pack a schema from now on."""
        self._open.close()
        path = self._folder / f"{schema}.sql{SUFFIX}"
        self._packers[schema] = self._open.enter_context(Packer(path, self._backups.recipient))
        return self._packers[schema]

    def stored(self, schema: str, snapshot: Snapshot) -> Stored:
        """Return what is known of a schema's file."""
        packed, tables = self._packers[schema].packed, snapshot.sums[schema]
        return Stored.of(f"{schema}.sql{SUFFIX}", packed, schema_name=schema, tables=tables)

    def close(self) -> None:
        """Finish the last part."""
        self._open.close()


def _clock_offset(settings: BackupSettings) -> float:
    """Return how far the business clock was moved, which never happens in production."""
    if settings.redis_url is None:
        return 0.0
    with contextlib.suppress(RedisError), Redis.from_url(settings.redis_url.get_secret_value()) as redis:
        return float(redis.get(OFFSET_KEY) or 0)
    return 0.0


def _tried(backups: Backups, manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"tried_at": datetime.now(UTC) if backups.trial else None})


def _made(backups: Backups, manifest: Manifest, began: float) -> Made:
    return Made(manifest.kind, manifest.id, manifest.size, time.monotonic() - began, backups.trial)


# The binary log -------------------------------------------------------------------------------------------------------


def _log(backups: Backups) -> list[Made]:
    """Store each file of the binary log that is not stored yet, with all that is committed now.

    A file counts as tried when it was walked over from its first event to its last.
    """
    server, began = backups.server, time.monotonic()
    for fault in settings_at_fault(server, backups.settings.keyring_days):
        backups.tell(f"warning: {fault}")
    epoch = log_epoch(server)
    after = _last_stored(backups, epoch)
    (row,) = server.rows("SELECT NOW(6) AS now")
    covered: datetime = row["now"].replace(tzinfo=UTC)
    if server.log_file_has_commits(server.position().file):
        server.begin_log_file()
    *closed, _ = server.log_files()
    wanted = [one for one in closed if binary_log.number_of(one) > after]
    size = 0
    for name in wanted:
        with staging() as folder:
            size += _store_log_file(backups, folder, name, epoch, covered)
    if wanted and binary_log.number_of(wanted[0]) != after + 1:
        raise BackupFailed(
            f"The server deleted its log before {wanted[0]} and it was not stored: back up the databases now, and see"
            " that the log is stored more often."
        )
    remark = f"{len(wanted)} files of the log, to {covered:%H:%M:%S}"
    return [Made("log", stamp_of(covered), size, time.monotonic() - began, tried=True, remark=remark)]


def _last_stored(backups: Backups, epoch: int) -> int:
    """Return the number of the last file of the log that is stored, or needs not be."""
    stored = [one.split(".", 1)[1] for one in backups.catalogue.ids("log", epoch)]
    if stored:
        return max(binary_log.number_of(one) for one in stored)
    base = backups.catalogue.newest("database")
    if base.log_epoch != epoch:
        raise BackupFailed(
            f"Since the restore that began log epoch {epoch} the databases were not backed up: do that first, for there"
            " is nothing that this log rolls forward."
        )
    return binary_log.number_of(base.at().file) - 1


def _store_log_file(backups: Backups, folder: Path, name: str, epoch: int, covered: datetime) -> int:
    server = backups.server
    path = server.fetch_log_file(name, folder)
    found = binary_log.look_at(path)
    if not found.closed:
        raise BackupFailed(f"{name} came from the server torn, at {found.end} of {path.stat().st_size} bytes.")

    def copy(packer: Packer) -> None:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                packer.write(chunk)

    packed = backups.pack(folder / f"{name}{SUFFIX}", copy)
    id_ = f"{stamp_of(covered)}.{name}"
    backups.catalogue.upload("log", id_, folder / f"{name}{SUFFIX}", epoch)
    manifest = Manifest(
        kind="log",
        id=id_,
        taken_at=covered,
        system_id=system_id(server),
        log_epoch=epoch,
        server=f"{server.kind} {server.version}",
        position=Place(name, found.end),
        files=(Stored.of(f"{name}{SUFFIX}", packed),),
        tried_at=datetime.now(UTC),
    )
    backups.catalogue.finish(manifest, folder)
    return manifest.size


def settings_at_fault(server: DatabaseServer, keyring_days: int) -> list[str]:
    """Return a sentence for each setting under which a commit could be lost, or a destroyed key come back."""
    found = server.variables(
        "log_bin", "binlog_format", "sync_binlog", "innodb_flush_log_at_trx_commit", "binlog_expire_logs_seconds"
    )
    due = {"log_bin": "ON", "binlog_format": "ROW", "sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1"}
    faults = [
        f"{name} is {found[name]} on {server} and must be {value}: acknowledged commits could be lost"
        for name, value in due.items()
        if found.get(name, value) != value
    ]
    seconds, most = int(found.get("binlog_expire_logs_seconds", "0")), keyring_days * 24 * 3600
    if not 0 < seconds <= most:
        faults.append(
            f"binlog_expire_logs_seconds is {seconds} on {server} and must be between 1 and {most}: a person's key that"
            " was destroyed would live on in the log longer than in the keyring's back-ups"
        )
    return faults


# Files ----------------------------------------------------------------------------------------------------------------


def _files(backups: Backups) -> list[Made]:
    """Store folders and files in one archive."""
    began, now = time.monotonic(), datetime.now(UTC)
    root = backups.settings.files_root.absolute()
    paths = [one.absolute() for one in backups.settings.file_paths if one.exists()]
    if not paths:
        return []

    def archive(packer: Packer) -> None:
        # Kubernetes mounts settings and secrets as links: what they point to is what has to come back.
        with tarfile.open(fileobj=packer, mode="w|", dereference=True) as tar:  # type: ignore[call-overload]  # write is all it needs
            for path in paths:
                tar.add(path, arcname=str(path.relative_to(root) if path.is_relative_to(root) else path).lstrip("/"))

    with staging() as folder:
        path = folder / f"files.tar{SUFFIX}"
        stored = Stored.of(path.name, backups.pack(path, archive))
        backups.catalogue.upload("files", stamp_of(now), path)
        path.unlink()
        manifest = _manifest_of_files(backups, "files", now, [stored])
        if backups.trial:
            entries = sum(1 for _ in members(backups, manifest, folder))
            backups.tell(f"the archive of files opens and has {entries} entries")
        backups.catalogue.finish(_tried(backups, manifest), folder)
    return [_made(backups, manifest, began)]


def members(backups: Backups, manifest: Manifest, folder: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Return every entry of an archive of files, with the archive open at it. Raises Damaged."""
    (file,) = manifest.files
    with unpacked(backups.catalogue.fetch(manifest, file, folder), backups.opened()) as plain:
        with tarfile.open(fileobj=plain, mode="r|") as tar:  # type: ignore[call-overload]  # read is all it needs
            for member in tar:
                yield tar, member
        while plain.read():
            pass


def _lists(backups: Backups) -> list[Made]:
    """Store the files that only grow; those that are stored as they are need not be stored again."""
    began, now = time.monotonic(), datetime.now(UTC)
    try:
        last = backups.catalogue.newest("lists")
    except NoBackup:
        last = None
    with staging() as folder:
        stored: list[Stored] = []
        for path in backups.settings.list_paths:
            if path.exists():
                packed = folder / f"{path.name}{SUFFIX}"
                with Packer(packed, backups.recipient) as packer:
                    packer.write(path.read_bytes())
                stored.append(Stored.of(packed.name, packer.packed))
        if not stored:
            return []
        if last is not None and _contents(last.files) == _contents(stored):
            seconds = time.monotonic() - began
            return [Made("lists", last.id, last.size, seconds, last.tried_at is not None, "as they were")]
        for one in stored:
            backups.catalogue.upload("lists", stamp_of(now), folder / one.name)
        manifest = _manifest_of_files(backups, "lists", now, stored)
        if backups.trial:
            for one in stored:
                backups.unpack(backups.catalogue.fetch(manifest, one, folder), folder / "tried")
        backups.catalogue.finish(_tried(backups, manifest), folder)
    return [_made(backups, manifest, began)]


def _contents(files: Sequence[Stored]) -> dict[str, str]:
    return {one.name: one.plain_sha256 for one in files}


def _manifest_of_files(backups: Backups, kind: Kind, now: datetime, stored: Sequence[Stored]) -> Manifest:
    server = backups.server
    return Manifest(
        kind=kind, id=stamp_of(now), taken_at=now, system_id=system_id(server), log_epoch=log_epoch(server),
        files=tuple(stored),
    )  # fmt: skip


_MAKERS: dict[Kind, Callable[[Backups], list[Made]]] = {
    "database": _database, "keyring": _keyring, "log": _log, "files": _files, "lists": _lists,
}  # fmt: skip


# Retention and metrics ------------------------------------------------------------------------------------------------


def _retain(backups: Backups, kind: Kind) -> None:
    """Delete what is over; a back-up of the databases made one of the keyring too."""
    settings = backups.settings
    days = {
        "database": settings.database_days, "files": settings.files_days, "lists": settings.files_days,
        "keyring": settings.keyring_days, "log": settings.keyring_days,
    }  # fmt: skip
    kinds: tuple[Kind, ...] = ("database", "keyring") if kind == "database" else (kind,)
    for one in kinds:
        gone = backups.catalogue.prune(one, days[one], datetime.now(UTC))
        if gone:
            backups.tell(f"deleted {len(gone)} objects of back-ups of the {one}, kept for {days[one]} days")


_METRICS = {
    "backup_last_success_timestamp_seconds": "When a back-up of this kind was last made and tried",
    "backup_last_duration_seconds": "How long it took, the trial included",
    "backup_last_size_bytes": "How much was stored, packed",
}
"""Name and help, as `deploy/metrics.yaml` has them."""


def tell_metrics(settings: BackupSettings, made: Sequence[Made]) -> None:
    """Write a file for Prometheus' textfile collector; what was made and not tried is no success."""
    path = settings.metrics_file
    if path is None:
        return
    values: dict[tuple[str, str], str] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := re.match(r'^(\w+)\{kind="(\w+)"\} (\S+)$', line):
                values[found[1], found[2]] = found[3]
    for one in made:
        if one.tried:
            figures = (time.time(), one.seconds, one.size)
            values |= {(name, one.kind): f"{figure:.3f}" for name, figure in zip(_METRICS, figures, strict=True)}
    lines: list[str] = []
    for name, help_ in _METRICS.items():
        lines += [f"# HELP {name} {help_}", f"# TYPE {name} gauge"]
        lines += [f'{name}{{kind="{kind}"}} {value}' for (one, kind), value in sorted(values.items()) if one == name]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text("\n".join([*lines, ""]), encoding="utf-8")
    new.chmod(0o644)  # the collector is another user
    new.replace(path)
