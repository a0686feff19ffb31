"""Trying a back-up out: it is restored on a server of its own, and compared table by table with what it shows."""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from lms.cli.backup_settings import Backups
from lms.cli.catalogue import Manifest, Stored
from lms.cli.database_server import DatabaseServer, ServerFailed, differences
from lms.cli.home import Home
from lms.cli.packing import unpacked
from lms.cli.servers import Missing, MySQLServer

KEYRING = "keyring"
PREFIX = "lms_"
"""Every schema of LMS but the keyring is named so."""

_MARK = f"{PREFIX}trial"
"""The schema that says, on a server which was named for trials, that what it has of LMS is a trial's."""

_STAGED = "lms-backup-"
_SURELY_HELD_SECONDS = 60.0
"""After which a folder that was just made is held by whoever made it."""

_SCRATCH_SECONDS = 120.0
_AT_ONCE = 2


class TrialFailed(Exception):
    """A back-up does not show what it should; the text says where."""


Fetched = list[tuple[Stored, Path]]
"""The files of a back-up, here and still packed."""


def try_out(backups: Backups, manifests: Sequence[Manifest]) -> None:
    """Restore dumps of one instant on a server of their own, and compare every table. Raises TrialFailed, Damaged."""
    began = time.monotonic()
    with staging() as folder, _scratch_server(backups, manifests[0].server.split(" ")[0]) as scratch:
        for manifest in manifests:
            try:
                load(backups, scratch, fetch(backups, manifest, folder))
            except ServerFailed as error:
                raise TrialFailed(f"The trial restore of {manifest.id} broke off: {error}") from error
        told = [line for manifest in manifests for line in faults_of(scratch, manifest)]
    if told:
        raise TrialFailed(f"The trial restore of {manifests[0].id} differs: {'; '.join(told[:10])}")
    tables = sum(len(file.tables) for manifest in manifests for file in manifest.files)
    backups.tell(f"the trial restore agrees in {tables} tables, after {time.monotonic() - began:.1f} s")


def faults_of(server: DatabaseServer, manifest: Manifest) -> list[str]:
    """Return a sentence for every table of a loaded dump that is not what it was."""
    expected = {str(file.schema_name): file.tables for file in manifest.files}
    return differences(expected, server.sums(expected))


def fetch(backups: Backups, manifest: Manifest, folder: Path) -> Fetched:
    """Copy the files of a back-up here, and see that each opens to its end. Raises Damaged."""

    def one(file: Stored) -> tuple[Stored, Path]:
        path = backups.catalogue.fetch(manifest, file, folder)
        with unpacked(path, backups.opened()) as plain:
            while plain.read():
                pass
        return file, path

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, manifest.files))


def load(backups: Backups, server: DatabaseServer, fetched: Fetched) -> None:
    """Load every schema of a dump, the largest first, each in the place of what was there."""

    def one(file_and_path: tuple[Stored, Path]) -> None:
        file, path = file_and_path
        server.execute(f"DROP DATABASE IF EXISTS `{file.schema_name}`", logged=False)
        with unpacked(path, backups.opened()) as plain:
            server.load(plain)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(one, sorted(fetched, key=lambda one: -one[0].plain_bytes)))


@contextmanager
def _scratch_server(backups: Backups, kind: str) -> Iterator[DatabaseServer]:
    """Give a server for a trial, with nothing of LMS on it: the one that was named, or one that lives as long."""
    if backups.settings.scratch_url is not None:
        server = DatabaseServer(backups.settings.scratch_url.get_secret_value())
        with _borrowed(server):
            yield server
        return
    folder = Path(tempfile.mkdtemp(prefix="lms-trial-"))
    folder.chmod(0o711)
    try:
        home = Home.at(folder)
        password = home.secret("trial")
        user = "'lms_trial'@'127.0.0.1'"
        sql = (f"CREATE USER {user} IDENTIFIED BY '{password}';", f"GRANT ALL ON *.* TO {user} WITH GRANT OPTION;")
        with running(MySQLServer(home, sql, durable=False), f"mysql://lms_trial:{password}@127.0.0.1") as server:
            if server.kind != kind:
                raise Missing(
                    f"The back-up is of {kind}, and the server installed here is {server.kind}: install {kind}, or name"
                    " a server for trials in LMS_BACKUP_SCRATCH_URL."
                )
            for one in (*lms_schemas(server), KEYRING):
                server.execute(f"DROP DATABASE `{one}`")
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _borrowed(server: DatabaseServer) -> Iterator[None]:
    """Have a server that was named for trials alone, and leave nothing of LMS on it.

    What a trial that was killed left there is removed. Raises TrialFailed when another one runs, or there is data.
    """
    with server.locked(_MARK) as held:
        if not held:
            raise TrialFailed(f"Another trial runs on {server}; wait for it to end.")
        if _MARK in server.schemas():
            _clear(server)
        if there := [*lms_schemas(server), *({KEYRING} & server.schemas())]:
            raise TrialFailed(f"{server} is to be tried on, and has {', '.join(there)}: name another, empty server.")
        server.execute(f"CREATE DATABASE `{_MARK}`", logged=False)
        try:
            yield
        finally:
            _clear(server)


def _clear(server: DatabaseServer) -> None:
    """Remove every schema of LMS, the mark of a trial last."""
    for one in (*(schema for schema in lms_schemas(server) if schema != _MARK), KEYRING, _MARK):
        server.execute(f"DROP DATABASE IF EXISTS `{one}`", logged=False)


@contextmanager
def running(process: MySQLServer, url: str) -> Iterator[DatabaseServer]:
    """Run a database server until the block ends."""
    process.prepare()
    log = process.home.folder / "logs" / "mysql.log"
    with log.open("wb") as output, subprocess.Popen(process.command, stdout=output, stderr=output) as child:  # noqa: S603  # our own command
        try:
            server = DatabaseServer(f"{url}:{process.port}/")
            until = time.monotonic() + _SCRATCH_SECONDS
            while True:
                try:
                    server.connect().close()
                    break
                except ServerFailed:
                    if child.poll() is not None or time.monotonic() > until:
                        raise TrialFailed(f"The server for the trial did not start: {_tail(log)}") from None
                    time.sleep(0.1)
            yield server
        finally:
            child.terminate()


def _tail(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8", errors="replace").split())[-500:]


@contextmanager
def staging() -> Iterator[Path]:
    """Give a folder that its owner alone can look into, and that is gone at the end.

    One that a killed run left is removed by the next run: it may hold the log in clear, with keys that were destroyed
    since.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_STAGED}*"):
        with suppress(OSError):  # somebody works in it, or removes it too
            there = left.lstat()
            if there.st_uid == os.getuid() and time.time() - there.st_mtime > _SURELY_HELD_SECONDS:
                with _held(left):
                    shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_STAGED) as folder, _held(Path(folder)):
        yield Path(folder)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder for as long as this process lives. Raises OSError when another one does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def lms_schemas(server: DatabaseServer) -> list[str]:
    """Return every schema of LMS but the keyring."""
    return sorted(one for one in server.schemas() if one.startswith(PREFIX))
