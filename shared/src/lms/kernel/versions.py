"""The one rule by which a consumer knows an event as new: its place in its stream.

Offsets tell nothing: a relay that was killed between publishing and marking, or one that slept past its lease, repeats
an event at a new offset. Within a stream, versions count from 1 without gaps; a point-in-time restore of the producer
raises the log epoch for what is appended after it, and those events take over where the restored log ended.
"""

from enum import Enum
from typing import NamedTuple, Self

from lms.kernel.event import Envelope


class Seen(NamedTuple):
    """The last event of a stream that a consumer has seen; positions compare as (epoch, version)."""

    log_epoch: int
    version: int

    @classmethod
    def of(cls, envelope: Envelope) -> Self:
        """Return the position of an event."""
        return cls(envelope.log_epoch, envelope.version)


class Verdict(Enum):
    """What to do with an event."""

    APPLY = "apply"
    SKIP = "skip"
    GAP = "gap"


def judge(envelope: Envelope, seen: Seen | None) -> Verdict:
    """Compare an event with the last one seen of its stream (None: none yet)."""
    return judge_position(Seen.of(envelope), seen)


def judge_position(position: Seen, seen: Seen | None) -> Verdict:
    """Compare the position of an event with the last one seen of its stream (None: none yet)."""
    if seen is None:
        return Verdict.APPLY if position.version == 1 else Verdict.GAP
    if position <= seen:
        return Verdict.SKIP
    if position.version <= seen.version and position.log_epoch > seen.log_epoch:
        return Verdict.APPLY
    return Verdict.APPLY if position.version == seen.version + 1 else Verdict.GAP
