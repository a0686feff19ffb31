"""Restoring: all schemas back to one instant, from a back-up and the binary log behind it.

    with prepared(backups, to) as plan:             # everything is fetched and looked at; nothing is changed yet
        bring_back(backups, server, plan, epoch)    # the databases; each service's `--republish` does the rest

The databases come from the newest back-up of before the instant, and are rolled forward through the binary log in the
order of the commits, up to the first commit of that instant or later. The keyring comes from its own newest back-up and
is rolled forward to the end of the log, so that no key comes back that was destroyed meanwhile. What the log has behind
the instant is abandoned: it is counted, and told to whoever reads the topics (`lms.kernel.recovery`).

Every step but the taking of a log epoch is made again by the next run, and every run takes a new epoch; so whatever was
interrupted is simply run again.
"""

import asyncio
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import Table

from lms.cli import binary_log
from lms.cli.backup import log_epoch, members
from lms.cli.backup_settings import Backups
from lms.cli.binary_log import LogFile, Place
from lms.cli.catalogue import Manifest, RestoreRecord
from lms.cli.database_server import DatabaseServer, decoded
from lms.cli.packing import SUFFIX, Damaged
from lms.cli.servers import AUDIT_LOG, SCHEMAS
from lms.cli.trial import KEYRING, PREFIX, Fetched, faults_of, fetch, load, staging
from lms.kernel.append_only import AppendOnlyFile
from lms.kernel.database import Database
from lms.kernel.recovery import Abandoned, Restoration, begin
from lms.kernel.schema import restoration

_AT_ONCE = 8
_SERVICES = frozenset(f"{PREFIX}{one}" for one in SCHEMAS)
"""The schema of each service, and the user who is its own."""


class RestoreFailed(Exception):
    """The restore cannot be done, or broke off; the text says why, and what to do."""


class WouldReplace(RestoreFailed):
    """There is data, and nobody said that it may be replaced; the text says what would be lost."""


@dataclass(frozen=True)
class Plan:
    """What a restore will do: everything is here, whole, and opens.

    `logs` are the files to apply to `database`, from its position to `stop`; `covered_until` is the instant up to which
    nothing is missing. `later` are the facts that the log has behind the stop, by topic; `complete` says whether the
    log reaches to the last commit that the server ever made.
    """

    to: datetime | None
    database: Manifest
    dumps: Fetched
    keys_of_then: Fetched
    logs: Sequence[LogFile]
    stop: Place | None
    covered_until: datetime
    keyring: Manifest
    keys: Fetched
    key_logs: Sequence[LogFile]
    later: dict[str, Abandoned]
    complete: bool

    @property
    def restored_to(self) -> datetime:
        """The instant that the databases come back to."""
        return self.to or self.covered_until

    @property
    def abandoned(self) -> dict[str, Abandoned] | None:
        """The facts that are given up, by topic; None when there may be more than the log tells."""
        return self.later if self.complete else None

    def sentences(self) -> list[str]:
        """Return what will be done, in words."""
        log = f", and {len(self.logs)} files of the binary log behind it" if self.logs else ""
        told = [
            f"databases: from the back-up of {_shown(self.database.taken_at)}{log}, to {_shown(self.restored_to)}",
            f"keyring: from the back-up of {_shown(self.keyring.taken_at)}, and all of the log behind it",
        ]
        lost = sum(one.facts for one in self.later.values())
        topics = ", ".join(f"{one.facts} of {topic}" for topic, one in sorted(self.later.items()))
        told.append(f"lost: {lost} facts recorded later ({topics})" if lost else "lost: no fact that the log knows of")
        if not self.complete:
            told.append(f"lost: whatever was committed after {_shown(self.covered_until)}, for no log of it is at hand")
        return told


def _shown(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


# Preparing ------------------------------------------------------------------------------------------------------------


@contextmanager
def prepared(
    backups: Backups, to: datetime | None, log_folder: Path | None = None, *, complete: bool = False
) -> Iterator[Plan]:
    """Fetch all that a restore to `to` (None: as late as can be) needs, and look at it; nothing is changed.

    `log_folder` holds files of the binary log that were saved from the server; `complete` says that the log was stored
    to its last commit. Raises RestoreFailed, NoBackup, Damaged.
    """
    if to is not None and to.microsecond:
        raise RestoreFailed(f"The binary log dates commits in seconds; name a whole second, not {to.isoformat()}.")
    catalogue = backups.catalogue
    with staging() as folder:
        database = catalogue.newest("database", to)
        keyring = catalogue.newest("keyring")
        backups.tell(f"fetching the back-up of {_shown(database.taken_at)}")
        history = _history(backups, database, folder / "log", log_folder)
        logs, stop = _until(history, database, to)
        behind = database.log_epoch == keyring.log_epoch and keyring.taken_at >= database.taken_at
        key_history = history if behind else _history(backups, keyring, folder / "key-log", log_folder)
        keys_of_then: Fetched = []
        if logs:
            if database.id not in catalogue.ids("keyring"):
                raise RestoreFailed(
                    f"The keyring of {_shown(database.taken_at)} is not kept any more, so that the log behind that"
                    " back-up cannot be applied: choose a later back-up, or that very instant."
                )
            keys_of_then = fetch(backups, catalogue.manifest("keyring", database.id), folder)
        (folder / "newest").mkdir()
        yield Plan(
            to=to,
            database=database,
            dumps=fetch(backups, database, folder),
            keys_of_then=keys_of_then,
            logs=logs,
            stop=stop,
            covered_until=history.covered_until,
            keyring=keyring,
            keys=fetch(backups, keyring, folder / "newest"),
            key_logs=[one for one in key_history.files if one.number >= binary_log.number_of(keyring.at().file)],
            later=_facts_from(history, stop) if stop is not None else {},
            complete=complete or history.complete,
        )


@dataclass(frozen=True)
class _History:
    """The binary log behind a back-up, up to the first file that is missing, if one is; see `Plan`."""

    base: Manifest
    files: list[LogFile]
    covered_until: datetime
    complete: bool
    hole: str | None


def _history(backups: Backups, base: Manifest, folder: Path, log_folder: Path | None) -> _History:
    """Fetch the log from where a back-up was taken, from the storage and from a folder of saved files."""
    folder.mkdir()
    first, epoch = base.at().file, base.log_epoch
    number = binary_log.number_of(first)
    ids = [one for one in backups.catalogue.ids("log", epoch) if binary_log.number_of(one.split(".", 1)[1]) >= number]
    stored = {one.log_name: one for one in backups.catalogue.manifests("log", ids, epoch)}

    def copy(manifest: Manifest) -> None:
        packed = backups.catalogue.fetch(manifest, manifest.files[0], folder)
        backups.unpack(packed, folder / manifest.log_name)
        packed.unlink()

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(copy, stored.values()))
    saved = log_folder is not None and _take_over(folder, log_folder, first)
    files = [binary_log.look_at(one) for one in binary_log.in_folder(folder, first)]
    row = [one for place, one in enumerate(files, number) if one.number == place]
    hole = f"{first.rpartition('.')[0]}.{number + len(row):06}" if len(row) < len(files) else None
    covered = max([base.taken_at, *(stored[one.name].taken_at for one in row if one.name in stored)])
    if saved and hole is None:
        covered = datetime.now(UTC)  # with the server's own files at hand, all that it ever committed is there
    return _History(base, row, covered, saved and hole is None, hole)


def _take_over(folder: Path, log_folder: Path, first: str) -> bool:
    """Take over files that were saved from the server, where they say more than what was stored; say if there are any.

    Raises RestoreFailed for files of another log.
    """
    found = False
    for path in binary_log.in_folder(log_folder, first):
        if binary_log.number_of(path.name) < binary_log.number_of(first):
            continue
        here = folder / path.name
        if here.exists() and not binary_log.is_beginning_of(here, path):
            raise RestoreFailed(f"{path} is of another log than the file of that name that was stored.")
        shutil.copyfile(path, here)
        found = True
    return found


def _until(history: _History, database: Manifest, to: datetime | None) -> tuple[list[LogFile], Place | None]:
    """Return the files to apply, and where to stop; None: at the end. Raises RestoreFailed when they do not reach."""
    missing = f"{history.hole} of it is missing" if history.hole else "it ends there"
    if (to is None and history.hole) or (to is not None and to > history.covered_until):
        raise RestoreFailed(
            f"The binary log at hand reaches to {_shown(history.covered_until)} ({missing}): name an instant up to"
            " there (--to), or bring the files that the server had written (--binary-log)."
        )
    files: list[LogFile] = []
    for number, file in enumerate(history.files):
        begin_at = database.at().offset if number == 0 else 0
        files.append(file)
        cut = None if to is None else file.cut(to, begin_at)
        if cut is not None:
            nothing = number == 0 and cut == begin_at
            return ([] if nothing else files), Place(file.name, cut)
    return files, None


_EVENT_ROW = re.compile(rf"^### INSERT INTO `({PREFIX}\w+)`\.`events`")
_VALUE = re.compile(r"^###   @(\d+)=(.*)$")
_TOPIC = re.compile(r'"topic": ?"([^"\\]+)"')
_ID_COLUMN, _METADATA_COLUMN = "4", "9"
"""Where `event_id` and `metadata` stand among the columns of `events`: rows in the log name none."""


def _facts_from(history: _History, stop: Place) -> dict[str, Abandoned]:
    """Count the facts that the log has from `stop` on, by topic."""
    kind = history.base.server.split(" ")[0]
    paths = [one.path for one in history.files if one.number >= binary_log.number_of(stop.file)]
    found: dict[str, Abandoned] = {}
    inside, event_id = False, ""
    for line in decoded(kind, paths, stop.offset):
        if line.startswith("### "):
            value = _VALUE.match(line)
            if value is None:
                inside = (inside and line.startswith("### SET")) or _EVENT_ROW.match(line) is not None
            elif inside and value[1] == _ID_COLUMN:
                event_id = value[2].strip("'")
            elif inside and value[1] == _METADATA_COLUMN and (topic := _TOPIC.search(value[2])):
                found[topic[1]] = Abandoned(found.get(topic[1], Abandoned()).facts + 1, event_id)
    return found


# The databases --------------------------------------------------------------------------------------------------------


def refuse_to_replace(found: str, plan: Plan) -> NoReturn:
    """Say what was found, and what would be lost with it. Raises WouldReplace."""
    told = "\n  ".join(plan.sentences())
    raise WouldReplace(f"{found}, and it would be replaced:\n  {told}\nSay --replace if that is wanted.")


def is_used(server: DatabaseServer) -> bool:
    """Say whether a server has facts of LMS."""
    with_events = server.rows("SELECT table_schema AS s FROM information_schema.tables WHERE table_name = 'events'")
    schemas = [str(row["s"]) for row in with_events if str(row["s"]).startswith(PREFIX)]
    return any(server.rows(f"SELECT 1 FROM `{one}`.events LIMIT 1") for one in schemas)  # noqa: S608  # names that the server gave


def refuse_while_connected(server: DatabaseServer) -> None:
    """Raise RestoreFailed if a service is connected: it would write into what is being restored."""
    found = server.rows("SELECT DISTINCT user AS u FROM information_schema.processlist")
    if users := sorted({str(row["u"]) for row in found} & _SERVICES):
        raise RestoreFailed(
            f"{', '.join(users)} are connected to {server}: stop every service first, and run it again."
        )


def take_epoch(backups: Backups, server: DatabaseServer, plan: Plan | None) -> int:
    """Take a log epoch that nobody ever had and return it; the storage remembers that it is taken."""
    while True:
        epoch = max(backups.catalogue.next_epoch(), log_epoch(server) + 1, plan.database.log_epoch + 1 if plan else 0)
        record = RestoreRecord(
            log_epoch=epoch,
            begun_at=datetime.now(UTC),
            restored_to=plan.restored_to if plan else None,
            database=plan.database.id if plan else None,
            lost={topic: one.facts for topic, one in plan.later.items()} if plan else {},
            complete=plan.complete if plan else True,
        )
        if backups.catalogue.take_epoch(record):
            return epoch


def bring_back(backups: Backups, server: DatabaseServer, plan: Plan, epoch: int) -> None:
    """Bring all schemas of a server back, in the place of what is there, and leave word for the services.

    What a run that was interrupted left is replaced. Raises RestoreFailed, and what the server raises.
    """
    refuse_while_connected(server)
    for schema in sorted({*_SERVICES, AUDIT_LOG} & server.schemas()):  # one that the back-up lacks begins anew
        server.execute(f"DROP DATABASE `{schema}`", f"CREATE DATABASE `{schema}`", logged=False)
    backups.tell(f"loading {sum(file.plain_bytes for file, _ in plan.dumps) / 1e6:,.0f} MB")
    load(backups, server, plan.dumps)
    if told := faults_of(server, plan.database):
        raise RestoreFailed(f"What was loaded is not what was backed up: {'; '.join(told[:10])}")
    if plan.logs:
        load(backups, server, plan.keys_of_then)
        size = sum(one.end for one in plan.logs)
        backups.tell(f"applying up to {size / 1e6:,.0f} MB of the binary log")
        paths = [one.path for one in plan.logs]
        server.replay(paths, plan.database.at().offset, plan.stop.offset if plan.stop else plan.logs[-1].end)
    load(backups, server, plan.keys)
    if told := faults_of(server, plan.keyring):
        raise RestoreFailed(f"The keyring that was loaded is not what was backed up: {'; '.join(told)}")
    if plan.key_logs:
        paths = [one.path for one in plan.key_logs]
        server.replay(paths, plan.keyring.at().offset, plan.key_logs[-1].end, KEYRING)
    refuse_while_connected(server)
    leave_word(server, Restoration(epoch, plan.restored_to, plan.abandoned))


def as_they_are(epoch: int, restored_to: datetime | None) -> Restoration:
    """Return what to tell services whose databases stay as they are; `restored_to` is None when Kafka alone was lost.

    A database that others brought back to an instant, as a provider's own restore does, does not say what it gave up.
    """
    return Restoration(epoch, restored_to, {} if restored_to is None else None)


def leave_word(server: DatabaseServer, found: Restoration) -> None:
    """Leave a row for each service that has a log, so that it does not run before its topics are made anew."""
    rows = server.rows("SELECT table_schema AS s FROM information_schema.tables WHERE table_name = 'log'")
    schemas = {str(row["s"]) for row in rows} & _SERVICES

    async def leave(schema: str) -> None:
        database = Database(server.url_of(schema), pool_size=1)
        try:
            async with database.transaction() as connection:
                await connection.run_sync(lambda one: _create(restoration, one))
                await begin(connection, found)
        finally:
            await database.close()

    async def leave_all() -> None:
        for schema in sorted(schemas):
            await leave(schema)

    asyncio.run(leave_all())


def _create(table: Table, connection: object) -> None:
    table.create(connection, checkfirst=True)  # type: ignore[arg-type]  # what run_sync gives


# Files ----------------------------------------------------------------------------------------------------------------


def restore_lists(backups: Backups, paths: Iterable[Path]) -> None:
    """Give each file that only grows every line that was ever backed up of it; what stands in it stays.

    A list on the disk may be newer than its back-up, or lost, or cut: the union is right in every case.
    """
    catalogue = backups.catalogue
    known: dict[str, list[dict[str, Any]]] = {}
    with staging() as folder:
        for manifest in catalogue.manifests("lists", catalogue.ids("lists")):
            for file in manifest.files:
                target = folder / "plain"
                backups.unpack(catalogue.fetch(manifest, file, folder), target)
                known.setdefault(file.name.removesuffix(SUFFIX), []).extend(AppendOnlyFile(target).all())
    for path in paths:
        AppendOnlyFile(path).merge(known.get(path.name, []))


def extract_files(backups: Backups, folder: Path, *, only: Sequence[str] = ()) -> list[str]:
    """Extract the newest archive of files into a folder, whole or only what is named; return the names.

    What is there already stays as it is. Raises NoBackup, Damaged.
    """
    names: list[str] = []
    with staging() as scratch:
        for tar, member in members(backups, backups.catalogue.newest("files"), scratch):
            if (only and member.name not in only) or (folder / member.name).is_file():
                continue
            _extract(tar, member, folder)
            names.append(member.name)
    return names


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Extract a file or a folder. Raises Damaged for anything else, and for a name outside of the folder.

    `TarFile.extract(filter="data")` is for this, but the Python of Debian 12 does not know filters yet.
    """
    target = folder / member.name
    content = tar.extractfile(member) if member.isreg() else None
    if not (content or member.isdir()) or not target.resolve().is_relative_to(folder.resolve()):
        raise Damaged(
            f"The archive of files holds {member.name!r}, which no back-up writes: it and the rest stay where they are."
        )
    if content is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=member.mode & 0o755)
    with content, target.open("wb") as written:
        shutil.copyfileobj(content, written)
