"""The checkpoints of one log: each covers more than the last, and none covers less."""

from dataclasses import dataclass
from datetime import datetime

from lms.audit.events import TOPIC, CheckpointSigned
from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict


class LogShrunk(Conflict):
    """The log has fewer records than were signed for: its tail was cut, or an older back-up was restored."""

    code = "audit-log-shrunk"


@dataclass(frozen=True)
class Signed:
    """What the last checkpoint covers; nothing yet is size 0."""

    size: int = 0


@dataclass(frozen=True)
class PublishCheckpoint:
    """Publish a checkpoint that was signed; see `CheckpointSigned`."""

    log_id: str
    size: int
    root: str
    signed_at: datetime
    public_key: str
    signature: str


def decide(command: PublishCheckpoint, state: Signed) -> list[CheckpointSigned]:
    """Publish what covers more than the last checkpoint; the same again is no fact."""
    if command.size < state.size:
        raise LogShrunk(
            f"The audit log has {command.size} records, and {state.size} were signed for: run `lms audit verify`."
        )
    if command.size == state.size:
        return []
    return [
        CheckpointSigned(
            log_id=command.log_id,
            size=command.size,
            root=command.root,
            signed_at=command.signed_at,
            public_key=command.public_key,
            signature=command.signature,
        )
    ]


def evolve(_state: Signed, event: CheckpointSigned) -> Signed:
    """Remember what is covered."""
    return Signed(event.size)


CHECKPOINTS: Decider[PublishCheckpoint, Signed, CheckpointSigned] = Decider(
    category="audit-log",
    topic=TOPIC,
    initial=Signed(),
    decide=decide,
    evolve=evolve,
    state_type=Signed,
)
