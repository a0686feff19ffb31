"""The facts of the audit log: its signed checkpoints. They are published to `leave.audit.v1`."""

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


EVENTS: tuple[type[Event], ...] = (CheckpointSigned,)

EXAMPLES: tuple[Event, ...] = (
    CheckpointSigned(
        log_id="lms",
        size=1842,
        root="6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        signed_at=datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
        public_key="O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=",
        signature="5VZDAMNgrHKQhIsRNUIeijFSVFyVNJeiOYPQDlGCKyvJKvzHOZ4mUVVZTjoqcCzNpVwfIrnxTVB1RMGmAuMVCg==",
    ),
)
