"""The facts of specimen."""

from typing import ClassVar

from lms.kernel.event import Event

TOPIC = "leave.specimen.v1"


class ThingNamed(Event):
    """There is a thing, or it goes by another name."""

    TYPE: ClassVar[str] = "thing.named"

    thing_id: str
    name: str


EVENTS: tuple[type[Event], ...] = (ThingNamed,)

EXAMPLES: tuple[Event, ...] = (ThingNamed(thing_id="019306a0-0000-7000-8000-000000000001", name="The first thing"),)
