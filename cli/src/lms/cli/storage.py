"""Where back-ups are kept: a folder, or a bucket of an S3-compatible store. Both hold whole objects under keys.

    storage = storage_at("s3://bucket/production")     # or a folder's path
    storage.put("databases/20261128T060000000000Z/manifest.json", path)

An object is there whole or not at all.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit


class StorageFailed(Exception):
    """The storage could not be reached, or refused; the text says what and why."""


class NotStored(StorageFailed):
    """There is no such object."""


class Storage(Protocol):
    """Objects under keys such as `databases/20261128T060000000000Z/manifest.json`."""

    url: str

    def put(self, key: str, path: Path) -> None:
        """Store a file, in the place of what was there."""
        ...

    def put_new(self, key: str, content: bytes) -> bool:
        """Store content unless something is there; say whether it was stored."""
        ...

    def get(self, key: str, path: Path) -> None:
        """Copy an object into a file. Raises NotStored."""
        ...

    def read(self, key: str) -> bytes:
        """Return a small object. Raises NotStored."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Return every key that begins with `prefix`, in order."""
        ...

    def delete(self, keys: list[str]) -> None:
        """Delete objects; one that is gone is no error."""
        ...


def storage_at(url: str) -> Storage:
    """Return the storage at `s3://bucket/prefix` or in a folder. Raises StorageFailed for another kind of URL."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        from lms.cli.bucket import Bucket  # noqa: PLC0415  # boto3 loads for 0.3 s, and most commands store nothing

        return Bucket(url, parts.netloc, parts.path.strip("/"))
    if parts.scheme in {"", "file"} and parts.path:
        return Folder(Path(parts.path))
    raise StorageFailed(f"{url} is no storage that LMS knows; name a folder, or s3://bucket/prefix.")


class Folder:
    """Objects as files, readable by their owner alone; for a disk that is not the database's."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder)
        self._folder = folder.absolute()

    def put(self, key: str, path: Path) -> None:
        """Store a file, in the place of what was there."""
        with self._new(key) as new:
            shutil.copyfile(path, new)
            _flush(new)
            new.replace(self._path(key))

    def put_new(self, key: str, content: bytes) -> bool:
        """Store content unless something is there; say whether it was stored."""
        with self._new(key) as new:
            new.write_bytes(content)
            _flush(new)
            try:
                os.link(new, self._path(key))
            except FileExistsError:
                return False
            return True

    def get(self, key: str, path: Path) -> None:
        """Copy an object into a file. Raises NotStored."""
        try:
            shutil.copyfile(self._path(key), path)
        except FileNotFoundError:
            raise NotStored(f"{self._path(key)} is not there.") from None
        except OSError as error:
            raise StorageFailed(f"{self._path(key)} cannot be read: {error}") from error

    def read(self, key: str) -> bytes:
        """Return a small object. Raises NotStored."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise NotStored(f"{self._path(key)} is not there.") from None

    def keys(self, prefix: str) -> list[str]:
        """Return every key that begins with `prefix`, in order."""
        found = (path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_file())
        return sorted(key for key in found if key.startswith(prefix) and not Path(key).name.startswith("."))

    def delete(self, keys: list[str]) -> None:
        """Delete objects, and the folders that are then empty; one that is gone is no error."""
        for key in keys:
            path = self._path(key)
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self._folder or not parent.is_dir() or any(parent.iterdir()):
                    break
                parent.rmdir()

    def _path(self, key: str) -> Path:
        path = (self._folder / key).absolute()
        if not path.is_relative_to(self._folder) or ".." in Path(key).parts:
            raise StorageFailed(f"{key!r} leads out of {self._folder}.")
        return path

    @contextmanager
    def _new(self, key: str) -> Iterator[Path]:
        """Give a file beside the place where it will stand; it is gone at the end unless it was moved there."""
        folder = self._path(key).parent
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(prefix=".new-", dir=folder)
            os.close(descriptor)
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageFailed(f"{self._folder} cannot be written to: {error}") from error


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
