"""The view `schedules`."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import orjson
from sqlalchemy import VARCHAR, Column, Date, Integer, SmallInteger, Table, select
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.directory.events import ScheduleDefined
from lms.directory.store import metadata
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.pages import behind
from lms.kernel.projection import Handler, Projection, Upsert, Write, live
from lms.kernel.schema import name

schedules = Table(
    "schedules",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("schedule_id", name(36), primary_key=True),
    Column("name", VARCHAR(120), nullable=False),
    Column("anchor", Date, nullable=False),
    Column("weeks", LONGTEXT, nullable=False),
    Column("version", Integer, nullable=False),
)
"""`weeks` is the JSON of the event."""


def _defined(event: ScheduleDefined, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(
        schedules,
        {
            "schedule_id": event.schedule_id,
            "name": event.name,
            "anchor": event.anchor,
            "weeks": orjson.dumps(event.model_dump(mode="json")["weeks"]).decode(),
            "version": envelope.version,
        },
    )


class Schedules(Projection):
    """All work schedules."""

    name: ClassVar[str] = "schedules"
    tables: ClassVar[tuple[Table, ...]] = (schedules,)
    handlers: ClassVar[Mapping[type[Event] | type[ForeignEvent], Handler]] = {ScheduleDefined: _defined}


async def find(connection: AsyncConnection, *, limit: int, after: tuple[str, str] | None = None) -> list[Any]:
    """Return schedules by name and id, from behind `after` on."""
    key = (schedules.c.name, schedules.c.schedule_id)
    statement = select(schedules).where(live(schedules, "schedules")).order_by(*key).limit(limit)
    if after is not None:
        statement = statement.where(behind(key, after))
    return list(await connection.execute(statement))


async def one(connection: AsyncConnection, schedule_id: str) -> Any | None:
    """Return one schedule."""
    found = await connection.execute(
        select(schedules).where(live(schedules, "schedules"), schedules.c.schedule_id == schedule_id)
    )
    return found.first()
