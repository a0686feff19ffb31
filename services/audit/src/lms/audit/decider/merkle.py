"""The hash tree over the audit log, as in RFC 6962 (Certificate Transparency), section 2.1.

    leaf(n) = SHA-256(0x00 || record n)        node = SHA-256(0x01 || left || right)

The tree head of the first n records is the root of the tree over their leaves. Growing needs only the roots of the
perfect subtrees that make up the tree so far (one for each bit set in its size): `Tree` keeps those. All hashes are
hexadecimal at the edges, so that they are plain text in tables, events and files. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

EMPTY_ROOT = sha256(b"").hexdigest()
"""The tree head of no records."""

_LEAF, _NODE = b"\x00", b"\x01"
_LENGTH_BYTES = 8


def leaf_hash(record: bytes) -> str:
    """Return the hash of one record."""
    return sha256(_LEAF + record).hexdigest()


def record_bytes(topic: str, key: str, headers: Sequence[tuple[str, str]], payload: str | None) -> bytes:
    """Return the bytes of a record that are hashed: what came over Kafka, so that sealed text stays sealed.

    Every part is UTF-8 behind its length (8 bytes, big-endian): topic, key, the number of headers in decimal, each
    header's name and value in their order, and the payload. No payload is told from an empty one by a last part that
    is absent.
    """
    parts = [topic, key, str(len(headers)), *(part for header in headers for part in header)]
    if payload is not None:
        parts.append(payload)
    return b"".join(len(one := part.encode()).to_bytes(_LENGTH_BYTES, "big") + one for part in parts)


@dataclass(slots=True)
class Tree:
    """A growing tree: how many leaves, and the roots of its perfect subtrees, the largest first."""

    size: int = 0
    subtrees: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, size: int, subtrees: Iterable[str]) -> Self:
        """Return the tree that `stored` described. Raises ValueError when the parts do not fit the size."""
        tree = cls(size, [bytes.fromhex(one) for one in subtrees])
        if len(tree.subtrees) != size.bit_count():
            raise ValueError(f"A tree of {size} leaves has {size.bit_count()} subtrees, not {len(tree.subtrees)}.")
        return tree

    def stored(self) -> list[str]:
        """Return the subtrees' roots as text."""
        return [one.hex() for one in self.subtrees]

    def add(self, leaf: str) -> None:
        """Append a leaf."""
        node, grown = bytes.fromhex(leaf), self.size
        while grown & 1:
            node = _node(self.subtrees.pop(), node)
            grown >>= 1
        self.subtrees.append(node)
        self.size += 1

    def root(self) -> str:
        """Return the tree head."""
        if not self.subtrees:
            return EMPTY_ROOT
        head = self.subtrees[-1]
        for subtree in reversed(self.subtrees[:-1]):
            head = _node(subtree, head)
        return head.hex()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()
