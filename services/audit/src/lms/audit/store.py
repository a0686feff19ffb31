"""The log's tables.

`lms_audit_log.records` stands in a schema of its own, where the service's user may read and insert and nothing else;
`head` is the one row that everybody who appends locks.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    CHAR,
    BigInteger,
    Column,
    Integer,
    MetaData,
    Select,
    SmallInteger,
    Table,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.audit.decider.merkle import Tree, leaf_hash, record_bytes
from lms.audit.decider.verification import Record, searched_by
from lms.kernel.pages import behind
from lms.kernel.schema import name, text_name
from lms.kernel.statements import Statement, together

metadata = MetaData()

records = Table(
    "records",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("topic", name(120), nullable=False),
    Column("key_", text_name(160), nullable=False),
    Column("headers", LONGTEXT, nullable=False),
    Column("payload", LONGTEXT, nullable=True),
    Column("leaf", CHAR(64), nullable=False),
    Column("root", CHAR(64), nullable=False),
    Column("event_id", text_name(80), nullable=False),
    Column("source", text_name(80), nullable=False),
    Column("type", text_name(120), nullable=False),
    Column("stream", text_name(160), nullable=False),
    Column("version", Integer, nullable=False),
    Column("log_epoch", Integer, nullable=False),
    Column("actor", text_name(120), nullable=True),
    Column("occurred_at", text_name(40), nullable=False),
    Column("correlation_id", text_name(80), nullable=False),
    schema="lms_audit_log",
)
"""One row for each fact. `headers` is a JSON list of [name, value]; from `event_id` on, columns repeat headers."""

head = Table(
    "head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("subtrees", LONGTEXT, nullable=False),
)
"""The tree so far: one row (id 1)."""

SEARCHED_BY = (
    "event_id", "source", "type", "stream", "version", "log_epoch", "actor", "occurred_at", "correlation_id",
)  # fmt: skip

CHUNK = 2_000
"""Records that are read at once."""

_HOLD_HEAD = Statement(select(head).where(head.c.id == 1).with_for_update())
_ENTER = Statement(insert(records))
_MOVE_HEAD = Statement(
    update(head).where(head.c.id == 1).values(size=bindparam("new_size"), subtrees=bindparam("new_subtrees"))
)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A fact as it came over Kafka."""

    topic: str
    key: str
    headers: tuple[tuple[str, str], ...]
    payload: str | None


async def append(connection: AsyncConnection, incoming: Sequence[Incoming]) -> None:
    """Append facts to the log in the caller's transaction, one writer at a time."""
    (row,) = await _HOLD_HEAD.rows(connection)
    tree = Tree.of(int(row.size), orjson.loads(row.subtrees))
    rows: list[dict[str, Any]] = []
    for one in incoming:
        leaf = leaf_hash(record_bytes(one.topic, one.key, one.headers, one.payload))
        tree.add(leaf)
        rows.append(
            {
                "position": tree.size,
                "topic": one.topic,
                "key_": one.key,
                "headers": orjson.dumps(one.headers).decode(),
                "payload": one.payload,
                "leaf": leaf,
                "root": tree.root(),
                **searched_by(one.headers),
            }
        )
    stands = {"new_size": tree.size, "new_subtrees": orjson.dumps(tree.stored()).decode()}
    await together(connection, _ENTER.of(rows), _MOVE_HEAD.having(**stands))


async def tree_of(connection: AsyncConnection) -> Tree:
    """Return the tree so far."""
    row = (await connection.execute(select(head).where(head.c.id == 1))).one()
    return Tree.of(int(row.size), orjson.loads(row.subtrees))


async def all_records(connection: AsyncConnection, *, after: int = 0) -> AsyncIterator[Record]:
    """Return every record behind a position in the order of positions, a chunk at a time."""
    while True:
        rows = (
            await connection.execute(
                select(records).where(records.c.position > after).order_by(records.c.position).limit(CHUNK)
            )
        ).all()
        for row in rows:
            yield record_of(row)
        if len(rows) < CHUNK:
            return
        after = int(rows[-1].position)


@dataclass(frozen=True)
class Criteria:
    """What a search is narrowed by; None does not narrow. `resource` is a stream or a key, such as an employee's id."""

    actor: str | None = None
    resource: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def find(
    connection: AsyncConnection, criteria: Criteria, *, after: tuple[str, int] | None = None, limit: int
) -> list[Record]:
    """Return records in the order of recording, or of time where a time is searched for.

    Each order has its index; the log as a whole is never read for a page. `after` is the last one shown: the time at
    which it occurred, as the headers write it, and its position.
    """
    by_time = criteria.since is not None or criteria.until is not None
    key = (records.c.occurred_at, records.c.position) if by_time else (records.c.position,)
    statement = _narrowed(select(records), criteria).order_by(*key).limit(limit)
    if after is not None:
        statement = statement.where(behind(key, after[-len(key) :]))
    return [record_of(row) for row in await connection.execute(statement)]


def _narrowed(statement: Select[Any], criteria: Criteria) -> Select[Any]:
    if criteria.actor is not None:
        statement = statement.where(records.c.actor == criteria.actor)
    if criteria.resource is not None:
        statement = statement.where((records.c.key_ == criteria.resource) | (records.c.stream == criteria.resource))
    if criteria.type is not None:
        statement = statement.where(records.c.type == criteria.type)
    if criteria.since is not None:
        statement = statement.where(records.c.occurred_at >= instant_text(criteria.since))
    if criteria.until is not None:
        statement = statement.where(records.c.occurred_at < instant_text(criteria.until))
    return statement


def instant_text(instant: datetime) -> str:
    """Return a UTC instant as the headers write it, so that texts compare as instants do."""
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")


def record_of(row: Any) -> Record:
    """Return a row as a record."""
    return Record(
        position=int(row.position),
        topic=row.topic,
        key=row.key_,
        headers=tuple((header, value) for header, value in orjson.loads(row.headers)),
        payload=row.payload,
        leaf=row.leaf,
        root=row.root,
        searched_by={column: getattr(row, column) for column in SEARCHED_BY},
    )
