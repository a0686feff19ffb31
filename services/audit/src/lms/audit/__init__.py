"""Audit: an append-only, hash-chained record of every fact, and signed checkpoints of it."""
