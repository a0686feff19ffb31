"""What backing up and restoring need to know: which server, which storage, which keys, for how long."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from pyrage import x25519

from lms.cli.catalogue import Catalogue
from lms.cli.database_server import DatabaseServer
from lms.cli.home import Home
from lms.cli.packing import NoKey, Packed, Packer, identity_in, make_identity, recipient_of, unpacked
from lms.cli.servers import BACKUP_USER, MySQLServer, RedisServer
from lms.cli.storage import storage_at
from lms.kernel.settings import BadSettings, load, variable

HOME_IDENTITY = "backup-identity.txt"
HOME_FILES = ("secrets.json", "state.json")
HOME_LISTS = ("erasures.jsonl", "audit-checkpoints.jsonl")
"""What is backed up of an embedded system's folder, besides the databases."""

Tell = Callable[[str], None]


class BackupSettings(BaseSettings):
    """What `lms backup`, `lms restore` and `lms drill` read: `LMS_BACKUP_…`.

    `url` is a folder, or `s3://bucket/prefix`. `database_url` is that of the server to back up, without a schema.
    `recipient` is the age public key that everything is encrypted for; `identity_file` holds the identity that opens
    it, and with it alone a back-up can be tried or restored. `every_hours` and `log_seconds` are for `--schedule`: how
    often everything is backed up, and the binary log with the lists. `files` are folders and files to keep, named in
    the archive relative to `files_root`; `lists` are files that only grow; both are paths separated by colons.
    `scratch_url` is a database server on which trials may do what they like; without it one is started for them.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_prefix="LMS_BACKUP_", populate_by_name=True, hide_input_in_errors=True
    )

    url: str
    database_url: SecretStr | None = None
    recipient: str | None = None
    identity_file: Path | None = None
    database_days: int = Field(30, ge=1, le=3650)
    keyring_days: int = Field(7, ge=1, le=90)
    files_days: int = Field(7, ge=1, le=3650)
    every_hours: float = Field(24, gt=0, le=168)
    log_seconds: float = Field(300, ge=1, le=3600)
    files: str = ""
    files_root: Path = Path("/")
    lists: str = ""
    metrics_file: Path | None = None
    scratch_url: SecretStr | None = None
    redis_url: SecretStr | None = Field(None, validation_alias="REDIS_URL")

    @property
    def file_paths(self) -> list[Path]:
        """The files and folders to keep."""
        return [Path(one) for one in self.files.split(":") if one]

    @property
    def list_paths(self) -> list[Path]:
        """The files that only grow."""
        return [Path(one) for one in self.lists.split(":") if one]


def settings_of(home: Path, *, make_key: bool = False, **chosen: Any) -> BackupSettings:
    """Return the settings: what is `chosen`, else the environment's, else those of the embedded system in `home`.

    With `make_key` an embedded system that has no key for its back-ups gets one. Raises BadSettings.
    """
    given: dict[str, Any] = {}
    if (home / "state.json").exists():
        there = Home.at(home, attached=True)
        folder = there.folder
        identity = folder / HOME_IDENTITY
        if make_key and not identity.exists() and "LMS_BACKUP_RECIPIENT" not in os.environ:
            make_identity(identity)
        given = {
            "url": str(folder / "backups"),
            "database_url": MySQLServer(there).url(BACKUP_USER, ""),
            "files": ":".join(str(folder / one) for one in HOME_FILES),
            "files_root": folder,
            "lists": ":".join(str(folder / one) for one in HOME_LISTS),
            "metrics_file": folder / "metrics" / "backup.prom",
            "redis_url": RedisServer(there).url,
            **({"identity_file": identity} if identity.exists() else {}),
        }
    fields = BackupSettings.model_fields
    unset = {n: value for n, value in given.items() if variable(n, fields[n], BackupSettings) not in os.environ}
    wanted = {name: value for name, value in chosen.items() if value is not None}
    return load(BackupSettings, **{**unset, **wanted})


@dataclass(frozen=True)
class Backups:
    """What backing up and restoring work with; `trial` says whether what is made is tried out."""

    settings: BackupSettings
    catalogue: Catalogue
    recipient: x25519.Recipient
    identity: x25519.Identity | None
    tell: Tell
    trial: bool = True

    @classmethod
    def of(cls, settings: BackupSettings, tell: Tell, *, trial: bool = True) -> Self:
        """Open the storage and the keys. Raises NoKey, StorageFailed."""
        identity = identity_in(settings.identity_file) if settings.identity_file else None
        if settings.recipient:
            recipient = recipient_of(settings.recipient)
        elif identity is not None:
            recipient = identity.to_public()
        else:
            raise NoKey(
                "Back-ups are always encrypted: set LMS_BACKUP_RECIPIENT to an age public key, or"
                " LMS_BACKUP_IDENTITY_FILE to a file with the identity (`age-keygen` writes one)."
            )
        return cls(settings, Catalogue(storage_at(settings.url)), recipient, identity, tell, trial)

    @property
    def server(self) -> DatabaseServer:
        """The server that is backed up. Raises BadSettings when none is named."""
        if self.settings.database_url is None:
            raise BadSettings("LMS_BACKUP_DATABASE_URL: not set; set it in the environment.")
        return DatabaseServer(self.settings.database_url.get_secret_value())

    def opened(self) -> x25519.Identity:
        """Return the identity. Raises NoKey."""
        if self.identity is None:
            raise NoKey(
                "Without the age identity no back-up can be read: set LMS_BACKUP_IDENTITY_FILE, or leave the trial out"
                " (--no-trial) and run `lms backup verify` where the identity is."
            )
        return self.identity

    def pack(self, path: Path, source: Callable[[Packer], None]) -> Packed:
        """Pack what `source` writes."""
        with Packer(path, self.recipient) as packer:
            source(packer)
        return packer.packed

    def unpack(self, path: Path, target: Path) -> None:
        """Unpack a file into another. Raises Damaged."""
        with unpacked(path, self.opened()) as plain, target.open("wb") as file:
            shutil.copyfileobj(plain, file, 1 << 20)
