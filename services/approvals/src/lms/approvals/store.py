"""A row of its own: up to which business day all open cases were routed."""

from datetime import date

from sqlalchemy import Column, Date, Integer, MetaData, Table, select
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

routing_day = Table(
    "routing_day",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("day", Date, nullable=False),
)


async def routed_on(connection: AsyncConnection) -> date | None:
    """Return the day for which all open cases were last routed."""
    day: date | None = await connection.scalar(select(routing_day.c.day))
    return day


async def note_routed(connection: AsyncConnection, day: date) -> None:
    """Note that all open cases are routed for a day."""
    insert = upsert(routing_day).values(id=1, day=day)
    await connection.execute(insert.on_duplicate_key_update(day=insert.inserted.day))
