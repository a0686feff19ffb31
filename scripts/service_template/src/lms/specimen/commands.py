"""The use cases of specimen: they supply ids and time."""

from dataclasses import dataclass

from lms.kernel.execution import UnitOfWork
from lms.kernel.ids import new_id
from lms.specimen.decider import THING, Create, Rename, ThingCommand


@dataclass(frozen=True)
class Written:
    """A thing after a command, and where its stream stands."""

    id: str
    name: str
    version: int


async def create_thing(uow: UnitOfWork, name: str) -> Written:
    """Make a thing."""
    thing_id = new_id()
    return await _handled(uow, thing_id, Create(thing_id, name), name)


async def rename_thing(uow: UnitOfWork, thing_id: str, name: str) -> Written:
    """Give a thing another name. Raises ThingUnknown."""
    return await _handled(uow, thing_id, Rename(thing_id, name), name)


async def _handled(uow: UnitOfWork, thing_id: str, command: ThingCommand, name: str) -> Written:
    handled = await uow.handle(THING, thing_id, command, key=thing_id)
    return Written(thing_id, name, handled.version)
