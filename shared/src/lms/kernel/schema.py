"""The kernel's tables, the same in every service's schema.

Only what MySQL and MariaDB both speak. JSON is kept as text: MariaDB's JSON is an alias of LONGTEXT, and the kernel
never queries inside it. Instants are UTC with microseconds.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT, VARCHAR

metadata = MetaData()

_TABLE: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB"}


def name(length: int) -> VARCHAR:
    """Return a column type for identifiers: compared byte by byte, so that `a` is not `A`."""
    return VARCHAR(length, charset="ascii", collation="ascii_bin")


def text_name(length: int) -> VARCHAR:
    """Return a column type for keys that come from outside (message keys): any text, compared byte by byte."""
    return VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")


def instant() -> DATETIME:
    """Return a column type for a UTC instant with microseconds."""
    return DATETIME(fsp=6)


log = Table(
    "log",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("log_epoch", Integer, nullable=False),
    **_TABLE,
)
"""One row (id 1): the epoch that new events carry; a point-in-time restore raises it."""

restoration = Table(
    "restoration",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("log_epoch", Integer, nullable=False),
    Column("restored_to", instant(), nullable=True),
    Column("abandoned", LONGTEXT, nullable=True),
    **_TABLE,
)
"""One row (id 1) while a restore of the schema is not finished (`recovery.py`); the service does not run meanwhile."""

events = Table(
    "events",
    metadata,
    Column("global_position", BigInteger, primary_key=True, autoincrement=True),
    Column("stream", name(160), nullable=False),
    Column("version", Integer, nullable=False),
    Column("event_id", name(36), nullable=False),
    Column("type", name(100), nullable=False),
    Column("schema_version", SmallInteger, nullable=False),
    Column("log_epoch", Integer, nullable=False),
    Column("data", LONGTEXT, nullable=False),
    Column("metadata", LONGTEXT, nullable=False),
    Column("recorded_at", instant(), nullable=False),
    UniqueConstraint("stream", "version", name="events_stream_version"),
    UniqueConstraint("event_id", name="events_event_id"),
    **_TABLE,
)
"""The log. `metadata` holds topic, key, correlation, causation, actor, traceparent, prerequisites and copies."""

snapshots = Table(
    "snapshots",
    metadata,
    Column("stream", name(160), primary_key=True),
    Column("evolve_version", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", LONGTEXT, nullable=False),
    **_TABLE,
)
"""The newest snapshot of a stream; discardable at any time."""

outbox = Table(
    "outbox",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=True),
    Column("id", name(36), nullable=False),
    Column("aggregatetype", name(120), nullable=False),
    Column("aggregateid", text_name(160), nullable=False),
    Column("type", name(100), nullable=False),
    Column("payload", LONGTEXT, nullable=False),
    Column("headers", LONGTEXT, nullable=False),
    Column("recorded_at", instant(), nullable=False),
    **_TABLE,
)
"""Facts not yet on Kafka; a row is deleted once the broker has acknowledged it. The columns fit Debezium's outbox
event router: `aggregatetype` is the topic, `aggregateid` the key, `id` the CloudEvents id."""

relay_lease = Table(
    "relay_lease",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("holder", name(80), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", instant(), nullable=False),
    **_TABLE,
)
"""One row (id 1): which copy may relay, by the database's own clock, fenced by the epoch."""

job_leases = Table(
    "job_leases",
    metadata,
    Column("job", name(80), primary_key=True),
    Column("holder", name(80), nullable=False),
    Column("expires_at", instant(), nullable=False),
    **_TABLE,
)
"""Which copy runs a periodic job now."""

replica_beats = Table(
    "replica_beats",
    metadata,
    Column("beat", BigInteger, primary_key=True, autoincrement=False),
    Column("beaten_at", instant(), nullable=False),
    **_TABLE,
)
"""One row, where there is a replica: how often the primary was told to show that the replica follows (`replica.py`)."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", text_name(80), primary_key=True),
    Column("route", name(120), primary_key=True),
    Column("key_", text_name(128), primary_key=True),
    Column("body_hmac", name(64), nullable=False),
    Column("status", SmallInteger, nullable=True),
    Column("answer", LONGTEXT, nullable=True),
    Column("created_at", instant(), nullable=False),
    Index("idempotency_created_at", "created_at"),
    **_TABLE,
)
"""Answers already given, sealed; they commit with the events of the command."""

consumer_offsets = Table(
    "consumer_offsets",
    metadata,
    Column("consumer", name(80), primary_key=True),
    Column("topic", name(120), primary_key=True),
    Column("partition_no", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    **_TABLE,
)
"""Where each consumer stands; moved by compare-and-set in the transaction of the effect."""

consumer_versions = Table(
    "consumer_versions",
    metadata,
    Column("consumer", name(80), primary_key=True),
    Column("stream", name(160), primary_key=True),
    Column("log_epoch", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    **_TABLE,
)
"""The last version of each stream that a consumer has seen."""

parked_keys = Table(
    "parked_keys",
    metadata,
    Column("consumer", name(80), primary_key=True),
    Column("key_", text_name(160), primary_key=True),
    Column("kind", name(10), nullable=False),
    Column("reason", LONGTEXT, nullable=False),
    Column("waiting_topic", name(120), nullable=True),
    Column("waiting_stream", name(160), nullable=True),
    Column("waiting_version", Integer, nullable=True),
    Column("since", instant(), nullable=False),
    **_TABLE,
)
"""Keys that a consumer does not process now: `poison` (waits for a person), `gap` or `held` (wait for facts)."""

parked_events = Table(
    "parked_events",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=True),
    Column("consumer", name(80), nullable=False),
    Column("key_", text_name(160), nullable=False),
    Column("topic", name(120), nullable=False),
    Column("partition_no", Integer, nullable=False),
    Column("offset_", BigInteger, nullable=False),
    Column("headers", LONGTEXT, nullable=False),
    Column("payload", LONGTEXT, nullable=True),
    Index("parked_events_key", "consumer", "key_", "position"),
    **_TABLE,
)
"""The events of parked keys, in the order of their arrival."""

given_up_events = Table(
    "given_up_events",
    metadata,
    Column("consumer", name(80), primary_key=True),
    Column("event_id", text_name(80), primary_key=True),
    **_TABLE,
)
"""Events that a person gave up for a consumer (`lms dlq skip`): a rebuild passes them over, as the consumer did. They
are named by their ids, which stay the same when a restore makes the topics anew."""

verifications = Table(
    "verifications",
    metadata,
    Column("check_", name(120), primary_key=True),
    Column("examined", BigInteger, nullable=False),
    Column("faults", Integer, nullable=False),
    Column("checked_at", instant(), nullable=False),
    **_TABLE,
)
"""What the last verification found, a row for each check; the metrics of drift are read from here."""

view_generations = Table(
    "view_generations",
    metadata,
    Column("view_name", name(80), primary_key=True),
    Column("live", SmallInteger, nullable=False),
    **_TABLE,
)
"""The generation of each view that queries read; a view without a row reads generation 1.

Whoever writes a view holds its row shared until the commit; whoever swaps the generation holds it alone."""
