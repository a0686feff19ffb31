"""Identifiers: UUIDv7 strings, so that ids of one moment sit together in an index."""

from uuid_utils import uuid7


def new_id() -> str:
    """Return a new UUIDv7 as its canonical 36-character string."""
    return str(uuid7())
