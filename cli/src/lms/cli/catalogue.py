"""The back-ups in a storage: which there are, what each consists of, and when they may go.

    databases/<stamp>/…             all schemas but the keyring, at one instant
    keyrings/<stamp>/…              the keyring, kept for a shorter time, so that a key that was destroyed is soon gone
    logs/<epoch>/<stamp>.<name>/…   the binary log, file by file, kept no longer than the keyring
    files/<stamp>/…                 uploads and configuration
    lists/<stamp>/…                 files that only grow: the erasure list, the audit log's checkpoints
    restores/<epoch>.json           each restore, which takes a log epoch that nobody has again
    system.json                     whose back-ups these are

A back-up is there once its `manifest.json` is, which is written last; what an interrupted run left is removed later.
Its stamp is the instant (UTC) at which it was begun, so that its age needs no look inside.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from lms.cli.binary_log import Place
from lms.cli.database_server import Sum
from lms.cli.packing import Damaged, Packed, checksum
from lms.cli.storage import NotStored, Storage

Kind = Literal["database", "keyring", "files", "lists", "log"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OFTEN: tuple[Kind, ...] = ("lists", "log")
"""What is stored every few minutes: it bounds what is lost with the database's machine."""

FOLDERS: dict[Kind, str] = {
    "database": "databases", "keyring": "keyrings", "log": "logs", "files": "files", "lists": "lists",
}  # fmt: skip
LISTS = 20
"""Back-ups of the lists that are kept."""

LEFTOVER_DAYS = 2
"""After so long what has no manifest was left by a run that broke."""

_MANIFEST = "manifest.json"
_STAMPED = "%Y%m%dT%H%M%S%fZ"
_STAMP = re.compile(r"(?P<stamp>\d{8}T\d{12}Z)")
_AT_ONCE = 8


class NoBackup(Exception):
    """There is no back-up as it is needed; the text says what there is."""


class Stored(BaseModel):
    """One file of a back-up; a dump has its `schema_name` and the sums of its tables (rows, content)."""

    model_config = ConfigDict(frozen=True)

    name: str
    bytes: int
    sha256: str
    plain_bytes: int
    plain_sha256: str
    schema_name: str | None = None
    tables: dict[str, Sum] = {}

    @classmethod
    def of(cls, name: str, packed: Packed, **more: object) -> Self:
        """Return what is known of a file that was packed."""
        return cls.model_validate({"name": name, **asdict(packed), **more})


class Manifest(BaseModel):
    """What a back-up is.

    `taken_at` is the instant that it shows, by the server's clock for a database, a keyring and a log; a log covers
    everything that was committed before it. `position` is where in the binary log that instant is; for a log it is the
    end of the file. `clock_offset` is how far the business clock was moved, in seconds. `tried_at` is when it was last
    restored for a trial, None if it never was.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    id: str
    taken_at: datetime
    system_id: str
    log_epoch: int
    server: str = ""
    position: Place | None = None
    clock_offset: float = 0.0
    files: tuple[Stored, ...]
    tried_at: datetime | None = None

    @property
    def size(self) -> int:
        """How many bytes are stored."""
        return sum(one.bytes for one in self.files)

    @property
    def log_name(self) -> str:
        """The name that a log's file has on the server."""
        return self.id.split(".", 1)[1]

    def at(self) -> Place:
        """Return the position. Raises NoBackup for a back-up without one."""
        if self.position is None:
            raise NoBackup(f"The back-up {self.id} names no position in the binary log.")
        return self.position


class RestoreRecord(BaseModel):
    """A restore that was begun: from what, to which instant, and the facts that were lost by topic, where known."""

    model_config = ConfigDict(frozen=True)

    log_epoch: int
    begun_at: datetime
    restored_to: datetime | None
    database: str | None
    lost: dict[str, int]
    complete: bool


def stamp_of(instant: datetime) -> str:
    """Return an instant as it stands in keys: to the microsecond, for two back-ups may be made in one second."""
    return instant.astimezone(UTC).strftime(_STAMPED)


def instant_of(key: str) -> datetime | None:
    """Return the instant that stands in a key, if one does."""
    found = _STAMP.search(key)
    return None if found is None else datetime.strptime(found["stamp"], _STAMPED).replace(tzinfo=UTC)


class Catalogue:
    """The back-ups of one system, in one storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    # Whose they are -------------------------------------------------------------------------------------------------

    def claim(self, system_id: str) -> str:
        """Make the storage this system's if it is nobody's yet; return whose it is."""
        self.storage.put_new("system.json", _Owner(system_id=system_id).model_dump_json().encode())
        return self.owner() or system_id

    def owner(self) -> str | None:
        """Return the id of the system whose back-ups these are; None while there are none."""
        try:
            return _Owner.model_validate_json(self.storage.read("system.json")).system_id
        except NotStored:
            return None

    # What there is --------------------------------------------------------------------------------------------------

    def ids(self, kind: Kind, epoch: int | None = None) -> list[str]:
        """Return the ids of the back-ups of a kind, the oldest first; of a log, those of one epoch."""
        folder = _folder(kind, epoch)
        keys = (key.removeprefix(f"{folder}/") for key in self.storage.keys(f"{folder}/"))
        return sorted(key.removesuffix(f"/{_MANIFEST}") for key in keys if key.endswith(f"/{_MANIFEST}"))

    def manifest(self, kind: Kind, id_: str, epoch: int | None = None) -> Manifest:
        """Return the manifest of a back-up. Raises NoBackup, Damaged."""
        key = f"{_folder(kind, epoch)}/{id_}/{_MANIFEST}"
        try:
            return Manifest.model_validate_json(self.storage.read(key))
        except NotStored:
            raise NoBackup(f"There is no back-up {id_} of the {kind}.") from None
        except ValidationError as error:
            raise Damaged(f"{key} is not what was written: {error.errors()[0]['msg']}") from error

    def manifests(self, kind: Kind, ids: Sequence[str], epoch: int | None = None) -> list[Manifest]:
        """Return the manifests of several back-ups, in the order of the ids."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(lambda id_: self.manifest(kind, id_, epoch), ids))

    def newest(self, kind: Kind, until: datetime | None = None) -> Manifest:
        """Return the newest back-up of a kind that shows an instant no later than `until`. Raises NoBackup."""
        for id_ in reversed(self.ids(kind)):
            if until is None or (instant_of(id_) or until) <= until:
                found = self.manifest(kind, id_)
                if until is None or found.taken_at <= until:
                    return found
        before = "" if until is None else f" from before {until.isoformat()}"
        raise NoBackup(f"{self.storage.url} has no back-up of the {kind}{before}.")

    # Storing and fetching -------------------------------------------------------------------------------------------

    def upload(self, kind: Kind, id_: str, path: Path, epoch: int | None = None) -> None:
        """Store a file of a back-up that is being made."""
        self.storage.put(f"{_folder(kind, epoch)}/{id_}/{path.name}", path)

    def finish(self, manifest: Manifest, folder: Path) -> None:
        """Store the manifest: from now on the back-up is there."""
        path = folder / _MANIFEST
        path.write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        epoch = manifest.log_epoch if manifest.kind == "log" else None
        self.storage.put(f"{_folder(manifest.kind, epoch)}/{manifest.id}/{_MANIFEST}", path)

    def fetch(self, manifest: Manifest, file: Stored, folder: Path) -> Path:
        """Copy a file of a back-up, still packed. Raises Damaged when it is not what was stored, and NotStored."""
        epoch = manifest.log_epoch if manifest.kind == "log" else None
        key = f"{_folder(manifest.kind, epoch)}/{manifest.id}/{file.name}"
        path = folder / f"{manifest.id}.{file.name}"
        self.storage.get(key, path)
        found = checksum(path)
        if found != file.sha256:
            raise Damaged(
                f"{self.storage.url}/{key} is damaged: its SHA-256 is {found}, and {file.sha256} was stored. Choose"
                " another back-up, by an earlier instant."
            )
        return path

    # Restores -------------------------------------------------------------------------------------------------------

    def next_epoch(self) -> int:
        """Return the first log epoch that no restore has taken yet."""
        taken = [int(Path(key).stem) for key in self.storage.keys("restores/")]
        return max(taken, default=1) + 1

    def take_epoch(self, record: RestoreRecord) -> bool:
        """Write down that a restore takes an epoch; say whether it was still to be had."""
        return self.storage.put_new(f"restores/{record.log_epoch}.json", record.model_dump_json(indent=2).encode())

    # Retention ------------------------------------------------------------------------------------------------------

    def prune(self, kind: Kind, days: int, now: datetime) -> list[str]:
        """Delete back-ups of a kind that are older than so many days, and what broken runs left; return their keys.

        The newest of a kind stays, however old it is, but for logs. Of the lists, which only grow, the newest LISTS
        stay and any that is larger than the newest: were one cut, the whole one is kept. Only what lies where back-ups
        of this kind lie, with a stamp, is ever touched.
        """
        groups: dict[str, list[str]] = {}
        for key in self.storage.keys(f"{FOLDERS[kind]}/"):
            group = key.rpartition("/")[0]
            if instant_of(group) is not None:
                groups.setdefault(group, []).append(key)
        whole = [group for group, keys in sorted(groups.items()) if f"{group}/{_MANIFEST}" in keys]
        left = [group for group in groups if group not in whole and _age(group, now) > timedelta(days=LEFTOVER_DAYS)]
        match kind:
            case "lists":
                old = self._superseded([group.rpartition("/")[2] for group in whole])
            case "log":
                old = [group for group in whole if _age(group, now) > timedelta(days=days)]
            case _:
                old = [group for group in whole[:-1] if _age(group, now) > timedelta(days=days)]
        # the manifest first: what is left of it must not look like a back-up
        doomed = [key for group in (*left, *old) for key in sorted(groups[group], key=lambda one: _MANIFEST not in one)]
        self.storage.delete(doomed)
        return doomed

    def _superseded(self, ids: Sequence[str]) -> list[str]:
        if len(ids) <= LISTS:
            return []
        newest = {file.name: file.plain_bytes for file in self.manifest("lists", ids[-1]).files}
        return [
            f"{FOLDERS['lists']}/{one.id}"
            for one in self.manifests("lists", ids[:-LISTS])
            if all(file.plain_bytes <= newest.get(file.name, -1) for file in one.files)
        ]


def _age(group: str, now: datetime) -> timedelta:
    return now - (instant_of(group) or now)


class _Owner(BaseModel):
    system_id: str


def _folder(kind: Kind, epoch: int | None) -> str:
    return FOLDERS[kind] if kind != "log" else f"{FOLDERS[kind]}/{epoch}"
