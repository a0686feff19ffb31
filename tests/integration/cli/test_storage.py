"""Storages: a folder, and a real server that speaks S3."""

import base64
import os
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lms.cli.catalogue import Catalogue, stamp_of
from lms.cli.storage import NotStored, Storage, StorageFailed, storage_at


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    if request.param == "folder":
        return storage_at(str(tmp_path / "storage"))
    environment = {
        "AWS_ENDPOINT_URL_S3": request.getfixturevalue("endpoint"), "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-west-1",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"backups-{os.urandom(4).hex()}"
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return storage_at(f"s3://{bucket}/some/system")


def test_what_is_stored_can_be_listed_read_and_replaced(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(9_000_000))  # more than one part of an upload
    storage.put("databases/1/large", file)
    storage.get("databases/1/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == file.read_bytes()
    file.write_bytes(b"small")
    storage.put("databases/1/large", file)
    storage.put("databases/10/small", file)
    assert storage.read("databases/1/large") == b"small"
    assert storage.keys("databases/") == ["databases/1/large", "databases/10/small"]
    assert storage.keys("databases/10/") == ["databases/10/small"]
    assert storage.keys("nothing/") == []


def test_only_the_first_stores_what_is_new(storage: Storage) -> None:
    assert storage.put_new("restores/2.json", b"first")
    assert not storage.put_new("restores/2.json", b"second")
    assert storage.read("restores/2.json") == b"first"


def test_what_is_not_there_is_told(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotStored, match="not there"):
        storage.read("databases/none")
    with pytest.raises(NotStored, match="not there"):
        storage.get("databases/none", tmp_path / "none")


def test_deleting_touches_what_is_named_alone(storage: Storage) -> None:
    keys = (
        [f"logs/1/{number}/manifest.json" for number in range(1005)] if "s3" in storage.url else ["logs/1/0", "logs/2"]
    )
    for key in (keys[0], keys[-1], "logs/kept"):
        storage.put_new(key, b"x")
    storage.delete(keys)
    storage.delete(["logs/was-never-there"])
    assert storage.keys("") == ["logs/kept"]


def test_retention_deletes_only_what_is_over(storage: Storage) -> None:
    now = datetime(2026, 11, 28, tzinfo=UTC)
    stamps = {days: stamp_of(now - timedelta(days=days)) for days in (31, 29, 8, 6)}
    kept = ["databases/notes.txt", "restores/2.json", "system.json"]
    for key in kept:
        storage.put_new(key, b"x")
    for kind in ("databases", "keyrings"):
        for stamp in stamps.values():
            for name in ("manifest.json", "part.zst.age"):
                storage.put_new(f"{kind}/{stamp}/{name}", b"x")
    Catalogue(storage).prune("database", 30, now)
    Catalogue(storage).prune("keyring", 7, now)
    expected = [("databases", days) for days in (29, 8, 6)] + [("keyrings", 6)]
    kept += [f"{kind}/{stamps[days]}/{name}" for kind, days in expected for name in ("manifest.json", "part.zst.age")]
    assert storage.keys("") == sorted(kept)


def test_a_bucket_with_a_lock_gets_the_checksums_that_it_wants_when_they_are_asked_for(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    (tmp_path / "file").write_bytes(b"x")

    def checksum_of_what_is_stored(key: str) -> str | None:
        storage = storage_at("s3://locked")
        storage.put(f"{key}/file", tmp_path / "file")
        storage.put_new(f"{key}/content", b"x")
        found: set[str | None] = {
            client.head_object(Bucket="locked", Key=f"{key}/{one}", ChecksumMode="ENABLED").get("ChecksumCRC32")
            for one in ("file", "content")
        }
        (checksum,) = found
        return checksum

    assert checksum_of_what_is_stored("plain") is None
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    assert checksum_of_what_is_stored("locked") == base64.b64encode(zlib.crc32(b"x").to_bytes(4)).decode()


def test_a_bucket_that_is_not_there_is_told(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL_S3", endpoint), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageFailed, match=r"storing s3://no-such-bucket/key.*NoSuchBucket"):
        storage_at("s3://no-such-bucket").put_new("key", b"x")


def test_other_urls_are_refused() -> None:
    for url in ("ftp://host/path", "s3://", ""):
        with pytest.raises(StorageFailed, match="name a folder, or s3://bucket/prefix"):
            storage_at(url)


def test_a_key_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="leads out of"):
        storage_at(str(tmp_path / "storage")).put_new("../outside", b"x")
