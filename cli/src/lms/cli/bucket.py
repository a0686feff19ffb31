"""A bucket of an S3-compatible store, reached as every AWS tool reaches it.

Credentials, region and endpoint come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL_S3`, …) or from the
machine's role.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lms.cli.storage import NotStored, StorageFailed

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_THERE = frozenset({"409", "412", "ConditionalRequestConflict", "PreconditionFailed"})
_AT_ONCE = 1000
"""Keys that S3 deletes with one request."""


class Bucket:
    """Objects of an S3-compatible store, under a prefix of a bucket."""

    def __init__(self, url: str, bucket: str, prefix: str) -> None:
        self.url = url
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = boto3.client(
            "s3",
            config=Config(
                retries={"mode": "standard", "max_attempts": 5},
                connect_timeout=10,
                read_timeout=60,
                # stores other than Amazon's know no checksums in trailers; back-ups carry their own. A bucket with a
                # lock wants one with every object: the usual variable asks for it
                request_checksum_calculation=os.environ.get("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required"),
                response_checksum_validation="when_required",
            ),
        )

    def put(self, key: str, path: Path) -> None:
        """Store a file, in the place of what was there."""
        with _telling(f"storing {self.url}/{key}"):
            self._client.upload_file(str(path), self._bucket, self._prefix + key)

    def put_new(self, key: str, content: bytes) -> bool:
        """Store content unless something is there; say whether it was stored."""
        with _telling(f"storing {self.url}/{key}"):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content, IfNoneMatch="*")
            except ClientError as error:
                if _code(error) in _THERE:
                    return False
                raise
        return True

    def get(self, key: str, path: Path) -> None:
        """Copy an object into a file. Raises NotStored."""
        with _telling(f"reading {self.url}/{key}"):
            self._client.download_file(self._bucket, self._prefix + key, str(path))

    def read(self, key: str) -> bytes:
        """Return a small object. Raises NotStored."""
        with _telling(f"reading {self.url}/{key}"):
            content: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
            return content

    def keys(self, prefix: str) -> list[str]:
        """Return every key that begins with `prefix`, in order."""
        return sorted(self._list(prefix))

    def _list(self, prefix: str) -> Iterator[str]:
        with _telling(f"listing {self.url}/{prefix}"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for one in page.get("Contents", ()):
                    yield str(one["Key"]).removeprefix(self._prefix)

    def delete(self, keys: list[str]) -> None:
        """Delete objects; one that is gone is no error."""
        for start in range(0, len(keys), _AT_ONCE):
            objects = [{"Key": self._prefix + key} for key in keys[start : start + _AT_ONCE]]
            with _telling(f"deleting from {self.url}"):
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise StorageFailed(f"{self.url} keeps {first['Key']}: {first['Code']} {first['Message']}")


@contextmanager
def _telling(doing: str) -> Iterator[None]:
    """Turn what boto3 raises into a sentence."""
    try:
        yield
    except ClientError as error:
        if _code(error) in _MISSING:
            raise NotStored(f"{doing}: it is not there.") from error
        raise StorageFailed(f"{doing} failed: {error}") from error
    except (BotoCoreError, boto3.exceptions.Boto3Error) as error:
        raise StorageFailed(f"{doing} failed: {error}") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
