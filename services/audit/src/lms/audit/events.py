"""The facts of the audit log: its signed checkpoints, and signed restores. They are published to `leave.audit.v1`."""

from datetime import UTC, datetime
from typing import ClassVar

from lms.kernel.event import Event

TOPIC = "leave.audit.v1"


class CheckpointSigned(Event):
    """The log had `size` records and the tree head `root` (SHA-256, hexadecimal) at `signed_at` (real time).

    `signature` is Ed25519 in base64 over the UTF-8 lines `lms audit checkpoint v1`, log id, size, root and `signed_at`
    in ISO 8601 with microseconds and Z, each ended by a newline. `public_key` (base64, raw) tells which key it was; a
    verifier must know it from elsewhere.
    """

    TYPE: ClassVar[str] = "audit.checkpoint-signed"

    log_id: str
    size: int
    root: str
    signed_at: datetime
    public_key: str
    signature: str


class LogRestored(Event):
    """The log was brought back to its first `size` records, whose tree head is `root`, at `signed_at` (real time).

    That was part of a restore of all of LMS to the instant `restored_to`; what is appended afterwards has `log_epoch`.
    The records behind are void, and so are the checkpoints that cover them: the newest known one covered
    `abandoned_size` records with the head `abandoned_root` (None: none covered more than were kept).

    `signature` is Ed25519 in base64 over the UTF-8 lines `lms audit restored v1`, log id, size, root, abandoned size,
    abandoned root (both empty for None), log epoch, `restored_to` and `signed_at` in ISO 8601 with microseconds and Z,
    each ended by a newline; `public_key` as in `CheckpointSigned`.
    """

    TYPE: ClassVar[str] = "audit.log-restored"

    log_id: str
    size: int
    root: str
    abandoned_size: int | None
    abandoned_root: str | None
    log_epoch: int
    restored_to: datetime
    signed_at: datetime
    public_key: str
    signature: str


EVENTS: tuple[type[Event], ...] = (CheckpointSigned, LogRestored)

EXAMPLES: tuple[Event, ...] = (
    CheckpointSigned(
        log_id="lms",
        size=1842,
        root="6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        signed_at=datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
        public_key="O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=",
        signature="5VZDAMNgrHKQhIsRNUIeijFSVFyVNJeiOYPQDlGCKyvJKvzHOZ4mUVVZTjoqcCzNpVwfIrnxTVB1RMGmAuMVCg==",
    ),
    LogRestored(
        log_id="lms",
        size=1790,
        root="4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a",
        abandoned_size=1842,
        abandoned_root="6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        log_epoch=2,
        restored_to=datetime(2026, 3, 2, 9, 15, tzinfo=UTC),
        signed_at=datetime(2026, 3, 2, 10, 2, tzinfo=UTC),
        public_key="O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=",
        signature="q0cXQ1pJ8cQv3m8m1cVnJrS7nq3vYw0sG1r1k9y5zP2bF4u7d6a8e9f0a1b2c3d4e5f6a7b8c9d0e1f2a3b4Ag==",
    ),
)
