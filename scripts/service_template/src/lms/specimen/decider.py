"""One thing: whether there is one, and its name."""

from dataclasses import dataclass
from typing import Literal, assert_never

from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict, NotFound
from lms.specimen.events import TOPIC, ThingNamed


class ThingExists(Conflict):
    """The id is taken."""

    code = "thing-exists"


class ThingUnknown(NotFound):
    """No thing has this id."""

    code = "thing-not-found"


@dataclass(frozen=True)
class Nothing:
    """The stream has no facts yet."""

    kind: Literal["nothing"] = "nothing"


@dataclass(frozen=True)
class Named:
    """There is a thing of this name."""

    name: str
    kind: Literal["named"] = "named"


Thing = Nothing | Named


@dataclass(frozen=True)
class Create:
    """Make a thing."""

    thing_id: str
    name: str


@dataclass(frozen=True)
class Rename:
    """Give a thing another name."""

    thing_id: str
    name: str


ThingCommand = Create | Rename


def decide(command: ThingCommand, state: Thing) -> list[ThingNamed]:
    """Answer a command; the name that a thing has already is no fact."""
    match command, state:
        case Create(thing_id=thing_id, name=name), Nothing():
            return [ThingNamed(thing_id=thing_id, name=name)]
        case Create(thing_id=thing_id), Named():
            raise ThingExists(f"There is already a thing with the id {thing_id}.")
        case Rename(), Nothing():
            raise ThingUnknown("There is no such thing.")
        case Rename(thing_id=thing_id, name=name), Named(name=before):
            return [] if name == before else [ThingNamed(thing_id=thing_id, name=name)]
        case _:
            assert_never((command, state))  # type: ignore[arg-type]  # mypy does not narrow pairs


def evolve(_state: Thing, event: ThingNamed) -> Thing:
    """Fold one fact into the state."""
    return Named(event.name)


THING: Decider[ThingCommand, Thing, ThingNamed] = Decider(
    category="thing",
    topic=TOPIC,
    initial=Nothing(),
    decide=decide,
    evolve=evolve,
    state_type=Thing,
)
