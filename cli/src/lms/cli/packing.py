"""Back-up files: compressed by zstd, encrypted by age. `age -d -i IDENTITY FILE | zstd -d` reads one by hand.

    with Packer(path, recipient) as file:
        file.write(b"…")
    file.packed.sha256

    with unpacked(path, identity) as plain:
        plain.read(100)

Who writes needs the public recipient alone, so that a machine which backs up cannot read what it backed up before.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import zstandard
from pyrage import DecryptError, IdentityError, RecipientError, decrypt_io, encrypt_io, x25519

SUFFIX = ".zst.age"

_LEVEL = 3
_CHUNK = 1 << 20


class Damaged(Exception):
    """A packed file is not what was packed, or does not open with this identity; the text says which."""


class NoKey(Exception):
    """A recipient or an identity cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed file: its size and SHA-256 as stored, and those of what was packed."""

    bytes: int
    sha256: str
    plain_bytes: int
    plain_sha256: str


def make_identity(path: Path) -> None:
    """Write a new identity, readable by its owner alone; whoever has it reads every back-up made for it."""
    identity = x25519.Identity.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"# public key: {identity.to_public()}\n{identity}\n")


def identity_in(path: Path) -> x25519.Identity:
    """Return the identity of a file as `age-keygen` writes it. Raises NoKey."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split() if line.startswith("AGE-SECRET-KEY-")]
        return x25519.Identity.from_str(lines[0])
    except (OSError, IndexError, IdentityError) as error:
        raise NoKey(f"{path} holds no age identity ({error}); `age-keygen -o {path}` writes one.") from error


def recipient_of(text: str) -> x25519.Recipient:
    """Return the recipient that `age1…` names. Raises NoKey."""
    try:
        return x25519.Recipient.from_str(text)
    except RecipientError as error:
        raise NoKey(f"{text!r} is no age recipient ({error}); it is the public key, age1….") from error


class Packer:
    """A file being packed: write to it in a `with` block, behind which `packed` says what it has become."""

    packed: Packed

    def __init__(self, path: Path, recipient: x25519.Recipient) -> None:
        self._path = path
        self._recipient = recipient
        self._plain = hashlib.sha256()
        self._plain_bytes = 0

    def __enter__(self) -> Self:
        reader, writer = os.pipe()
        self._target = _Hashed(self._path.open("wb"))
        self._pool = ThreadPoolExecutor(1)
        self._encryption = self._pool.submit(_encrypt, os.fdopen(reader, "rb"), self._target, self._recipient)
        self._zstd = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(os.fdopen(writer, "wb", _CHUNK))
        return self

    def write(self, data: bytes) -> None:
        """Pack some more."""
        self._zstd.write(data)
        self._plain.update(data)
        self._plain_bytes += len(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with suppress(BrokenPipeError):  # the encryption tells why it ended
                self._zstd.close()  # type: ignore[no-untyped-call]  # zstandard types all but this
        finally:
            self._pool.shutdown()
            self._target.file.close()
        if error is None:
            self._encryption.result()
            self.packed = Packed(
                self._target.bytes, self._target.digest.hexdigest(), self._plain_bytes, self._plain.hexdigest()
            )


class Plain:
    """The content of a packed file."""

    def __init__(self, path: Path, pipe: IO[bytes], decryption: "Future[None]") -> None:
        self._path = path
        self._zstd = zstandard.ZstdDecompressor().stream_reader(pipe, read_size=_CHUNK)
        self._decryption = decryption

    def read(self, size: int = _CHUNK) -> bytes:
        """Return at most so many bytes, and none at the end. Raises Damaged."""
        try:
            found = self._zstd.read(size)
            if not found:
                self._decryption.result()
        except (zstandard.ZstdError, DecryptError, OSError) as error:
            raise Damaged(f"{self._path.name} cannot be unpacked: {error}; is it the right identity?") from error
        return found


@contextmanager
def unpacked(path: Path, identity: x25519.Identity) -> Iterator[Plain]:
    """Open a packed file for reading."""
    reader, writer = os.pipe()
    with path.open("rb") as source, ThreadPoolExecutor(1) as pool, os.fdopen(reader, "rb", _CHUNK) as pipe:
        yield Plain(path, pipe, pool.submit(_decrypt, source, os.fdopen(writer, "wb", _CHUNK), identity))


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _encrypt(source: IO[bytes], target: "_Hashed", recipient: x25519.Recipient) -> None:
    with source:  # when this ends before its time, whoever writes to the pipe must not wait for ever
        encrypt_io(source, target, [recipient])


def _decrypt(source: IO[bytes], target: IO[bytes], identity: x25519.Identity) -> None:
    with suppress(BrokenPipeError), target:  # whoever reads may stop early
        decrypt_io(source, target, [identity])


class _Hashed(RawIOBase):
    """A file that is hashed while it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        return self.file.write(data)
