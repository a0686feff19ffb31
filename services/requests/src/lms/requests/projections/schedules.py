"""The view `schedules`: by which minutes people work."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from sqlalchemy import Column, Date, Integer, SmallInteger, Table, select
from sqlalchemy.dialects.mysql import LONGTEXT

from lms.kernel.event import Envelope
from lms.kernel.projection import Projection, Upsert, Write, live
from lms.kernel.schema import name
from lms.kernel.statements import Statement
from lms.requests.decider.chargeable import Schedule
from lms.requests.projections.employees import assigned_ever, metadata
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


OF_EMPLOYEE = Statement(
    select(schedules).where(live(schedules, Schedules.name), schedules.c.schedule_id.in_(assigned_ever("schedule")))
)
"""The schedules that `:employee_id` was ever assigned, as far as they are known here; `known` reads the rows."""


def known(rows: Iterable[Any]) -> dict[str, KnownSchedule]:
    """Return schedules by id."""
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
