"""The view `schedules`: by which minutes people work."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from sqlalchemy import Column, Date, Integer, SmallInteger, Table, bindparam, select
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Upsert, Write, live
from lms.kernel.schema import name
from lms.requests.decider.chargeable import Schedule
from lms.requests.projections.employees import metadata
from lms.requests.upstream import ScheduleDefined

schedules = Table(
    "schedules",
    metadata,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("schedule_id", name(36), primary_key=True),
    Column("anchor", Date, nullable=False),
    Column("weeks", LONGTEXT, nullable=False),
    Column("version", Integer, nullable=False),
)
"""`weeks` is a JSON list of weeks of seven pairs of minutes."""


def _defined(event: ScheduleDefined, envelope: Envelope) -> Iterable[Write]:
    weeks = [[(day.morning_minutes, day.afternoon_minutes) for day in week] for week in event.weeks]
    yield Upsert(
        schedules,
        {
            "schedule_id": event.schedule_id,
            "anchor": event.anchor,
            "weeks": orjson.dumps(weeks).decode(),
            "version": envelope.version,
        },
    )


class Schedules(Projection):
    """All work schedules."""

    name: ClassVar[str] = "schedules"
    tables: ClassVar[tuple[Table, ...]] = (schedules,)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {ScheduleDefined: _defined}


@dataclass(frozen=True)
class KnownSchedule:
    """A schedule, and the version of its stream."""

    schedule: Schedule
    version: int


_KNOWN = select(schedules).where(
    live(schedules, Schedules.name), schedules.c.schedule_id.in_(bindparam("schedule_ids", expanding=True))
)


async def known(connection: AsyncConnection, schedule_ids: Collection[str]) -> dict[str, KnownSchedule]:
    """Return those of the schedules that are known here, by id."""
    rows = await connection.execute(_KNOWN, {"schedule_ids": sorted(schedule_ids)})
    return {
        row.schedule_id: KnownSchedule(
            Schedule(
                row.anchor,
                tuple(tuple((morning, afternoon) for morning, afternoon in week) for week in orjson.loads(row.weeks)),
            ),
            row.version,
        )
        for row in rows
    }
