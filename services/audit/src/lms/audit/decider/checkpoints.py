"""The checkpoints of one log: each covers more than the last, and none covers less, but after a restore."""

from dataclasses import dataclass
from typing import assert_never

from lms.audit.events import TOPIC, CheckpointSigned, LogRestored
from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict


class LogShrunk(Conflict):
    """The log has fewer records than were signed for: its tail was cut, or somebody restored it by hand."""

    code = "audit-log-shrunk"


@dataclass(frozen=True)
class Signed:
    """What the last checkpoint covers, nothing yet is size 0; and the epoch that the last restore began, if any."""

    size: int = 0
    log_epoch: int = 0


@dataclass(frozen=True)
class PublishCheckpoint:
    """Publish a checkpoint that was signed."""

    signed: CheckpointSigned


@dataclass(frozen=True)
class TellRestored:
    """Publish that the log was restored, signed."""

    signed: LogRestored


Command = PublishCheckpoint | TellRestored
Fact = CheckpointSigned | LogRestored


def decide(command: Command, state: Signed) -> list[Fact]:
    """Publish what covers more than the last checkpoint, or a restore; the same again is no fact."""
    match command:
        case PublishCheckpoint(signed):
            if signed.size < state.size:
                raise LogShrunk(
                    f"The audit log has {signed.size} records, and {state.size} were signed for: run"
                    " `lms audit verify`."
                )
            return [signed] if signed.size > state.size else []
        case TellRestored(signed):
            return [signed] if signed.log_epoch > state.log_epoch else []
        case _:
            assert_never(command)


def evolve(state: Signed, event: Fact) -> Signed:
    """Remember what is covered."""
    match event:
        case CheckpointSigned():
            return Signed(event.size, state.log_epoch)
        case LogRestored():
            return Signed(event.size, event.log_epoch)
        case _:
            assert_never(event)


CHECKPOINTS: Decider[Command, Signed, Fact] = Decider(
    category="audit-log",
    topic=TOPIC,
    initial=Signed(),
    decide=decide,
    evolve=evolve,
    state_type=Signed,
    evolve_version=2,
)
