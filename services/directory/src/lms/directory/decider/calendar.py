"""One holiday calendar: at most one entry for each date."""

from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, assert_never

from lms.directory.events import (
    TOPIC,
    CalendarCreated,
    CalendarHolidaysAdded,
    CalendarHolidaysRemoved,
    Holiday,
)
from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict, FieldError, NotFound


class CalendarExists(Conflict):
    """The id is taken."""

    code = "calendar-exists"


class CalendarUnknown(NotFound):
    """No calendar has this id."""

    code = "calendar-not-found"


class DateTaken(Conflict):
    """The date is another holiday already."""

    code = "holiday-exists"


class HolidayUnknown(NotFound):
    """The date is no holiday."""

    code = "holiday-not-found"


@dataclass(frozen=True)
class NoCalendar:
    """The stream has no facts yet."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True)
class Calendar:
    """A calendar and its holidays by date."""

    calendar_id: str
    holidays: dict[date, Holiday] = field(default_factory=dict)
    kind: Literal["calendar"] = "calendar"


CalendarState = NoCalendar | Calendar


@dataclass(frozen=True)
class CreateCalendar:
    """Start a calendar with the holidays known so far."""

    calendar_id: str
    name: str
    country: str
    subdivision: str | None
    holidays: tuple[Holiday, ...] = ()


@dataclass(frozen=True)
class AddHolidays:
    """Make dates holidays."""

    holidays: tuple[Holiday, ...]


@dataclass(frozen=True)
class FillHolidays:
    """Make those of the dates holidays that are none yet: repeating it changes nothing, and edits stay."""

    holidays: tuple[Holiday, ...]


@dataclass(frozen=True)
class RemoveHoliday:
    """Make a holiday an ordinary date again."""

    date: date


CalendarCommand = CreateCalendar | AddHolidays | FillHolidays | RemoveHoliday
CalendarEvent = CalendarCreated | CalendarHolidaysAdded | CalendarHolidaysRemoved


def decide(command: CalendarCommand, state: CalendarState) -> list[CalendarEvent]:
    """Answer a command; a holiday that stands so already is no fact."""
    if isinstance(state, NoCalendar):
        if isinstance(command, CreateCalendar):
            return _created(command)
        raise CalendarUnknown("There is no such holiday calendar.")
    match command:
        case CreateCalendar():
            raise CalendarExists(f"There is already a calendar with the id {state.calendar_id}.")
        case AddHolidays(holidays=holidays):
            _refuse_taken(state, holidays)
            return _added(state.calendar_id, _on_free_dates(state, holidays))
        case FillHolidays(holidays=holidays):
            return _added(state.calendar_id, _on_free_dates(state, holidays))
        case RemoveHoliday(date=day):
            if day not in state.holidays:
                raise HolidayUnknown(f"{day} is no holiday of this calendar.")
            return [CalendarHolidaysRemoved(calendar_id=state.calendar_id, dates=(day,))]
        case _:
            assert_never(command)


def evolve(state: CalendarState, event: CalendarEvent) -> CalendarState:
    """Fold one fact into the state."""
    if isinstance(event, CalendarCreated):
        return Calendar(event.calendar_id)
    if isinstance(state, NoCalendar):
        return state
    match event:
        case CalendarHolidaysAdded():
            added = {holiday.date: holiday for holiday in event.holidays}
            return replace(state, holidays={**state.holidays, **added})
        case CalendarHolidaysRemoved():
            gone = frozenset(event.dates)
            kept = {day: holiday for day, holiday in state.holidays.items() if day not in gone}
            return replace(state, holidays=kept)
        case _:
            assert_never(event)


def _created(command: CreateCalendar) -> list[CalendarEvent]:
    created = CalendarCreated(
        calendar_id=command.calendar_id,
        name=command.name,
        country=command.country,
        subdivision=command.subdivision,
    )
    return [created, *_added(command.calendar_id, command.holidays)]


def _added(calendar_id: str, holidays: tuple[Holiday, ...]) -> list[CalendarEvent]:
    if not holidays:
        return []
    by_date = {holiday.date: holiday for holiday in holidays}
    return [CalendarHolidaysAdded(calendar_id=calendar_id, holidays=tuple(by_date[day] for day in sorted(by_date)))]


def _on_free_dates(state: Calendar, holidays: tuple[Holiday, ...]) -> tuple[Holiday, ...]:
    return tuple(holiday for holiday in holidays if holiday.date not in state.holidays)


def _refuse_taken(state: Calendar, holidays: tuple[Holiday, ...]) -> None:
    errors = tuple(
        FieldError(f"/holidays/{index}/date", f"{holiday.date} is already “{standing.name}”.")
        for index, holiday in enumerate(holidays)
        if (standing := state.holidays.get(holiday.date)) is not None and standing != holiday
    )
    if errors:
        raise DateTaken("A date has one entry: remove the standing one first to replace it.", errors)


CALENDAR: Decider[CalendarCommand, CalendarState, CalendarEvent] = Decider(
    category="calendar",
    topic=TOPIC,
    initial=NoCalendar(),
    decide=decide,
    evolve=evolve,
    state_type=CalendarState,
)
