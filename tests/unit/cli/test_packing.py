"""Packed files open with their identity alone, and whatever was done to one is noticed."""

import os
from pathlib import Path

import pytest

from lms.cli.packing import Damaged, NoKey, Packer, checksum, identity_in, make_identity, recipient_of, unpacked

CONTENT = [b"(1,'Gr\xc3\xbc\xc3\x9fe'),\n" * 5_000, os.urandom(300_000), b""]


@pytest.fixture
def identity_file(tmp_path: Path) -> Path:
    path = tmp_path / "identity.txt"
    make_identity(path)
    return path


@pytest.fixture
def packed(tmp_path: Path, identity_file: Path) -> Path:
    path = tmp_path / "file.zst.age"
    recipient = recipient_of(str(identity_in(identity_file).to_public()))
    with Packer(path, recipient) as packer:
        for part in CONTENT:
            packer.write(part)
    assert (packer.packed.bytes, packer.packed.sha256) == (path.stat().st_size, checksum(path))
    assert packer.packed.plain_bytes == sum(map(len, CONTENT))
    return path


def read(path: Path, identity_file: Path) -> bytes:
    with unpacked(path, identity_in(identity_file)) as plain:
        return b"".join(iter(plain.read, b""))


def test_what_was_packed_comes_out_again(packed: Path, identity_file: Path) -> None:
    assert read(packed, identity_file) == b"".join(CONTENT)
    assert identity_file.stat().st_mode & 0o077 == 0


def test_who_stops_reading_early_waits_for_nothing(packed: Path, identity_file: Path) -> None:
    with unpacked(packed, identity_in(identity_file)) as plain:
        assert plain.read(3) == b"(1,"


@pytest.mark.parametrize("kept", [0, 100, 70_000, -1])
def test_a_cut_file_is_damaged(packed: Path, identity_file: Path, kept: int) -> None:
    packed.write_bytes(packed.read_bytes()[:kept])
    with pytest.raises(Damaged, match=r"file\.zst\.age cannot be unpacked"):
        read(packed, identity_file)


def test_a_changed_byte_is_damage(packed: Path, identity_file: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 1
    packed.write_bytes(bytes(content))
    with pytest.raises(Damaged):
        read(packed, identity_file)


def test_another_identity_opens_nothing(packed: Path, tmp_path: Path) -> None:
    make_identity(tmp_path / "other.txt")
    with pytest.raises(Damaged, match="is it the right identity"):
        read(packed, tmp_path / "other.txt")


def test_what_cannot_be_written_is_told(identity_file: Path) -> None:
    full = Path("/dev/full")
    with pytest.raises(OSError, match="No space left"), Packer(full, identity_in(identity_file).to_public()) as packer:
        packer.write(os.urandom(3_000_000))


def test_a_key_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(NoKey, match="age-keygen"):
        identity_in(tmp_path / "empty")
    with pytest.raises(NoKey, match="it is the public key"):
        recipient_of("age1nonsense")


def test_an_identity_is_never_overwritten(identity_file: Path) -> None:
    with pytest.raises(FileExistsError):
        make_identity(identity_file)
