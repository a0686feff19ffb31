"""The view `things`: every thing by its name."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from sqlalchemy import VARCHAR, Column, Index, Integer, MetaData, SmallInteger, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.pages import behind
from lms.kernel.projection import Handler, Projection, Upsert, Write, live
from lms.kernel.schema import name
from lms.specimen.events import ThingNamed

things = Table(
    "things",
    MetaData(),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("thing_id", name(36), primary_key=True),
    Column("name", VARCHAR(120), nullable=False),
    Column("version", Integer, nullable=False),
    Index("things_name", "generation", "name", "thing_id"),
)


def _named(event: ThingNamed, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(things, {"thing_id": event.thing_id, "name": event.name, "version": envelope.version})


class Things(Projection):
    """Every thing."""

    name: ClassVar[str] = "things"
    tables: ClassVar[tuple[Table, ...]] = (things,)
    handlers: ClassVar[Mapping[type, Handler]] = {ThingNamed: _named}


async def find(connection: AsyncConnection, *, limit: int, after: tuple[str, str] | None) -> list[Any]:
    """Return things by name and id, from behind `after` on."""
    key = (things.c.name, things.c.thing_id)
    statement = select(things).where(live(things, Things.name)).order_by(*key).limit(limit)
    if after is not None:
        statement = statement.where(behind(key, after))
    return list(await connection.execute(statement))
