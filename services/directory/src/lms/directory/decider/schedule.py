"""One work schedule: rotating weeks of half-days, defined once."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from lms.directory.events import TOPIC, ScheduleDefined, WorkDay
from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict, FieldError, RuleBroken

LONGEST_ROTATION = 52
"""Weeks after which a rotation must repeat."""

_DAYS_OF_A_WEEK = 7


class ScheduleExists(Conflict):
    """The id is taken: a schedule never changes."""

    code = "schedule-exists"


class ScheduleInvalid(RuleBroken):
    """The weeks or the anchor make no schedule."""

    code = "schedule-invalid"


@dataclass(frozen=True)
class NoSchedule:
    """The stream has no facts yet."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True)
class Schedule:
    """A schedule that is defined."""

    schedule_id: str
    kind: Literal["schedule"] = "schedule"


ScheduleState = NoSchedule | Schedule


@dataclass(frozen=True)
class DefineSchedule:
    """Define a schedule; `weeks` list their days from Monday to Sunday, `anchor` is a Monday of the first."""

    schedule_id: str
    name: str
    anchor: date
    weeks: tuple[tuple[WorkDay, ...], ...]


def decide(command: DefineSchedule, state: ScheduleState) -> list[ScheduleDefined]:
    """Answer the command; a schedule is defined once and never changed."""
    if isinstance(state, Schedule):
        raise ScheduleExists("A schedule never changes: define a new one and assign it from a day on.")
    errors: list[FieldError] = []
    if command.anchor.weekday() != 0:
        errors.append(FieldError("/anchor", f"{command.anchor} is no Monday."))
    if not 1 <= len(command.weeks) <= LONGEST_ROTATION:
        errors.append(FieldError("/weeks", f"Give 1 to {LONGEST_ROTATION} weeks, not {len(command.weeks)}."))
    errors.extend(
        FieldError(f"/weeks/{index}", f"Give 7 days from Monday to Sunday, not {len(week)}.")
        for index, week in enumerate(command.weeks)
        if len(week) != _DAYS_OF_A_WEEK
    )
    if not any(day.morning_minutes or day.afternoon_minutes for week in command.weeks for day in week):
        errors.append(FieldError("/weeks", "At least one half-day must have working minutes."))
    if errors:
        raise ScheduleInvalid("This is no work schedule; see the errors for what to change.", tuple(errors))
    return [
        ScheduleDefined(schedule_id=command.schedule_id, name=command.name, anchor=command.anchor, weeks=command.weeks)
    ]


def evolve(state: ScheduleState, event: ScheduleDefined) -> ScheduleState:  # noqa: ARG001  # the shape of every evolve
    """Fold the fact into the state."""
    return Schedule(event.schedule_id)


SCHEDULE: Decider[DefineSchedule, ScheduleState, ScheduleDefined] = Decider(
    category="schedule",
    topic=TOPIC,
    initial=NoSchedule(),
    decide=decide,
    evolve=evolve,
    state_type=ScheduleState,
)
