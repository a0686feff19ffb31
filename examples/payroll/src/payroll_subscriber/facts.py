"""What stands on the topic: messages as facts, and the one rule by which a fact is known as new. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple


class Unreadable(Exception):
    """A message that is no fact of LMS, or lacks what is read here; the text says what."""


class Position(NamedTuple):
    """A fact's place in its stream; places compare as (log epoch, version)."""

    log_epoch: int
    version: int


@dataclass(frozen=True)
class Fact:
    """A message of the topic: `copies` is how many partitions it stands in, 1 for most."""

    id: str
    stream: str
    position: Position
    type: str
    copies: int
    data: Mapping[str, Any]


class Verdict(Enum):
    """What to do with a fact."""

    SEEN = "seen"
    NEXT = "next"
    MISSING = "missing"
    """A fact before it has not come."""


def parse(headers: Iterable[tuple[str, bytes]], value: bytes | None) -> Fact:
    """Return the fact of a message. Raises Unreadable."""
    found = {name: raw.decode() for name, raw in headers}
    try:
        data = json.loads(value or b"")
        return Fact(
            id=found["ce_id"],
            stream=found["ce_stream"],
            position=Position(int(found["ce_logepoch"]), int(found["ce_streamversion"])),
            type=found["ce_type"],
            copies=int(found.get("ce_copies", "1")),
            data=data,
        )
    except (KeyError, ValueError) as error:
        raise Unreadable(f"not a fact of LMS: {type(error).__name__} {error}") from error


def judge(position: Position, seen: Position | None) -> Verdict:
    """Compare a fact with the last one that was seen of its stream; None: none was.

    A fact may come again at any later offset, so offsets tell nothing. Versions count from 1 without gaps.
    """
    if seen is None:
        return Verdict.NEXT if position.version == 1 else Verdict.MISSING
    if position <= seen:
        return Verdict.SEEN
    return Verdict.NEXT if position.version == seen.version + 1 else Verdict.MISSING
