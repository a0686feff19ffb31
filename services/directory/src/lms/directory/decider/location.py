"""One place of work, which decides the holiday calendar of those who work there."""

from dataclasses import asdict, dataclass, replace
from typing import Literal, assert_never

from lms.directory.events import TOPIC, LocationCalendarChanged, LocationCreated
from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict, NotFound


class LocationExists(Conflict):
    """The id is taken."""

    code = "location-exists"


class LocationUnknown(NotFound):
    """No location has this id."""

    code = "location-not-found"


@dataclass(frozen=True)
class NoLocation:
    """The stream has no facts yet."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True)
class Location:
    """A location as it stands."""

    location_id: str
    calendar_id: str
    kind: Literal["location"] = "location"


LocationState = NoLocation | Location


@dataclass(frozen=True)
class CreateLocation:
    """Open a place of work."""

    location_id: str
    name: str
    country: str
    subdivision: str | None
    time_zone: str
    calendar_id: str


@dataclass(frozen=True)
class ChangeCalendar:
    """Let the location keep the holidays of another calendar."""

    calendar_id: str


LocationCommand = CreateLocation | ChangeCalendar
LocationEvent = LocationCreated | LocationCalendarChanged


def decide(command: LocationCommand, state: LocationState) -> list[LocationEvent]:
    """Answer a command; what is so already is no fact."""
    if isinstance(state, NoLocation):
        if isinstance(command, CreateLocation):
            return [LocationCreated(**asdict(command))]
        raise LocationUnknown("There is no such location.")
    own = state.location_id
    match command:
        case CreateLocation():
            raise LocationExists(f"There is already a location with the id {own}.")
        case ChangeCalendar(calendar_id=to):
            held = to == state.calendar_id
            return [] if held else [LocationCalendarChanged(location_id=own, calendar_id=to)]
        case _:
            assert_never(command)


def evolve(state: LocationState, event: LocationEvent) -> LocationState:
    """Fold one fact into the state."""
    match event:
        case LocationCreated():
            return Location(event.location_id, event.calendar_id)
        case LocationCalendarChanged():
            return state if isinstance(state, NoLocation) else replace(state, calendar_id=event.calendar_id)
        case _:
            assert_never(event)


LOCATION: Decider[LocationCommand, LocationState, LocationEvent] = Decider(
    category="location",
    topic=TOPIC,
    initial=NoLocation(),
    decide=decide,
    evolve=evolve,
    state_type=LocationState,
)
