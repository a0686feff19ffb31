"""Verifying the log: every record against its own hashes, every tree head against what was signed. Pure.

Each record keeps its leaf hash and the tree head that includes it, so that the first record that was changed, removed,
inserted or moved is named exactly. Whoever can rewrite all of those behind it as well is found by the signed
checkpoints, which are also kept outside the database: a fault then lies between the last that fits and the first that
does not. A tail that was cut is found by a checkpoint that covers more than there is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lms.audit.decider.merkle import EMPTY_ROOT, Tree, leaf_hash, record_bytes
from lms.kernel.versions import Seen, Verdict, judge_position


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it is stored: what came over Kafka, its place, its hashes, and the columns to search by."""

    position: int
    topic: str
    key: str
    headers: tuple[tuple[str, str], ...]
    payload: str | None
    leaf: str
    root: str
    searched_by: Mapping[str, str | int | None]

    def leaf_again(self) -> str:
        """Return the leaf hash that the content has."""
        return leaf_hash(record_bytes(self.topic, self.key, self.headers, self.payload))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head whose signature was found good; `told_by` says where it was kept."""

    size: int
    root: str
    told_by: str


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A tree head, when it was signed, and whether it was signed for a restore that went back to it."""

    checkpoint: Checkpoint
    signed_at: datetime
    restored: bool = False


def standing(heads: Sequence[SignedHead]) -> list[Checkpoint]:
    """Return the checkpoints that the log must have: all but those that a later restore went back behind."""
    restores = [one for one in heads if one.restored]
    return [
        one.checkpoint
        for one in heads
        if one.checkpoint.size > 0
        and not any(back.signed_at > one.signed_at and back.checkpoint.size < one.checkpoint.size for back in restores)
    ]


@dataclass(slots=True)
class Verification:
    """A walk over the log from its first record; feed it every record in the order of positions, then call `end`."""

    checkpoints: Sequence[Checkpoint]
    tree: Tree = field(default_factory=Tree)
    _seen: dict[str, Seen] = field(default_factory=dict)
    _next: int = 0
    _last_good: int = 0
    _off: bool = False

    def __post_init__(self) -> None:
        """Put the checkpoints into their order."""
        self.checkpoints = sorted(self.checkpoints, key=lambda one: one.size)

    def record(self, record: Record) -> Iterator[str]:
        """Look at the next record; yield what is wrong with it."""
        expected = self.tree.size + 1
        if record.position != expected and not self._off:
            self._off = True
            yield f"position {expected} is missing: the next record is {record.position}"
        leaf = record.leaf_again()
        if leaf != record.leaf:
            yield f"record {record.position} was changed: its content does not have the hash that it was recorded with"
        yield from _columns(record)
        self.tree.add(leaf)
        root = self.tree.root()
        if root != record.root and leaf == record.leaf and not self._off:
            self._off = True
            yield (
                f"record {record.position} is not the one that followed {record.position - 1}: it was inserted, moved,"
                " or replaced together with its hash"
            )
        elif root != record.root:
            self._off = True
        yield from self._versions(record)
        yield from self._reached(root)

    def end(self, size: int, root: str) -> Iterator[str]:
        """Compare the whole with the head that the database keeps, and look for signed records that are gone."""
        if (self.tree.size, self.tree.root()) != (size, root):
            yield f"the log has {self.tree.size} records, and its head was written for {size} others"
        for one in self.checkpoints[self._next :]:
            yield (
                f"the tail is cut: {one.told_by} has a signed checkpoint of {one.size} records, and there are"
                f" {self.tree.size}"
            )

    def _reached(self, root: str) -> Iterator[str]:
        while self._next < len(self.checkpoints) and self.checkpoints[self._next].size <= self.tree.size:
            one = self.checkpoints[self._next]
            self._next += 1
            if one.size == self.tree.size and one.root == root:
                self._last_good = one.size
            else:
                yield (
                    f"the records {self._last_good + 1} to {one.size} are not those that the checkpoint of {one.size}"
                    f" records in {one.told_by} was signed for"
                )

    def _versions(self, record: Record) -> Iterator[str]:
        stream = str(record.searched_by["stream"])
        position = Seen(_number(record.searched_by["log_epoch"]), _number(record.searched_by["version"]))
        before = self._seen.get(stream)
        if judge_position(position, before) is not Verdict.APPLY:
            after = f"version {before.version}" if before else "nothing"
            yield f"record {record.position} is version {position.version} of {stream} after {after}"
        self._seen[stream] = position if before is None else max(before, position)


def empty_head() -> tuple[int, str]:
    """Return the head of a log without records."""
    return 0, EMPTY_ROOT


def searched_by(headers: Sequence[tuple[str, str]]) -> dict[str, str | int | None]:
    """Return the columns that a record is searched by, as its headers have them."""
    found = dict(headers)
    return {
        "event_id": found.get("ce_id", ""),
        "source": found.get("ce_source", ""),
        "type": found.get("ce_type", ""),
        "stream": found.get("ce_stream", ""),
        "version": _number(found.get("ce_streamversion")),
        "log_epoch": _number(found.get("ce_logepoch")),
        "actor": found.get("ce_actor"),
        "occurred_at": found.get("ce_time", ""),
        "correlation_id": found.get("ce_correlationid", ""),
    }


def _columns(record: Record) -> Iterator[str]:
    due = searched_by(record.headers)
    wrong = sorted(name for name, value in record.searched_by.items() if due[name] != value)
    if wrong:
        yield f"record {record.position} shows another {', '.join(wrong)} than its headers have"


def _number(text: object) -> int:
    try:
        return int(str(text))
    except ValueError:
        return 0
