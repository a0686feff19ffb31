"""Everything foreign that leave of one employee rests on, gathered from the views and named with its versions.

Whoever decides what days cost holds the employee's and the calendars' rows (`hold`) until the transaction ends: the
projector, which needs them alone, then writes a change of them before or after the whole decision. So the correction
that follows a change (`consumers.CORRECTIONS`) finds all leave that was charged without it.
"""

from collections.abc import Awaitable, Sequence
from datetime import date
from typing import Any, NamedTuple, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.statements import Call, Result, together
from lms.requests.decider.chargeable import Dated, Work, in_force
from lms.requests.decider.errors import EmployeeUnknown, UnknownLeaveType
from lms.requests.decider.payroll import Payment
from lms.requests.decider.rules import Employment, Facts
from lms.requests.events import RestsOn
from lms.requests.projections import calendars, employees, leave_types, schedules


class Send(Protocol):
    """Sends statements in one round trip."""

    def __call__(self, *calls: Call) -> Awaitable[Sequence[Result]]:
        """Return what came of each, in their order."""
        ...


async def facts_of(
    send: Send, employee_id: str, leave_type: str, first: date, last: date, *, hold: bool = False
) -> Facts:
    """Return what is known here of the employee and the leave type for the days from `first` to `last`.

    `send` sends statements in one round trip, with what else it is to fetch. Raises EmployeeUnknown, also while the
    schedule or calendar has not come here, and UnknownLeaveType.
    """
    *found, of_type = await send(
        *_about_work(employee_id, first, last, hold=hold),
        leave_types.FIND.having(leave_type=leave_type),
    )
    known = _known_work(employee_id, first, last, found)
    known_type = leave_types.known(list(of_type.rows), leave_type)
    if known_type is None:
        raise UnknownLeaveType(f"There is no leave type {leave_type!r}.")
    return Facts(
        employment=Employment(
            employed_from=known.history[0].employed_from,
            last_day=known.history[0].last_day,
            locations=_all(known.history, "location"),
        ),
        work=known.work,
        terms=known_type.terms,
        policies=known_type.policies,
        rests_on=known.rests_on
        + tuple(RestsOn(stream=stream, version=version) for stream, version in known_type.streams.items()),
    )


async def work_of(
    connection: AsyncConnection, employee_id: str, first: date, last: date
) -> tuple[Work, tuple[RestsOn, ...]]:
    """Return by what the employee works from `first` to `last`, held, and which facts say so.

    Raises EmployeeUnknown, also while the schedule or calendar has not come here.
    """
    found = await together(connection, *_about_work(employee_id, first, last, hold=True))
    known = _known_work(employee_id, first, last, found)
    return known.work, known.rests_on


class _KnownWork(NamedTuple):
    history: list[Any]
    work: Work
    rests_on: tuple[RestsOn, ...]


def _about_work(employee_id: str, first: date, last: date, *, hold: bool) -> tuple[Call, Call, Call]:
    """Return the questions of which `_known_work` reads the answers."""
    history, of_calendars = (
        (employees.HISTORY_HELD, calendars.OF_EMPLOYEE_HELD) if hold else (employees.HISTORY, calendars.OF_EMPLOYEE)
    )
    return (
        history.having(employee_id=employee_id),
        schedules.OF_EMPLOYEE.having(employee_id=employee_id),
        of_calendars.having(employee_id=employee_id, first=first, last=last),
    )


def _known_work(employee_id: str, first: date, last: date, found: Sequence[Result]) -> _KnownWork:
    history, of_schedules, of_calendars = (list(one.rows) for one in found)
    if not history:
        raise EmployeeUnknown("No such employee is known here; one who has just been added is known in a moment.")
    used_schedules = _used(history, "schedule", first, last)
    used_locations = _used(history, "location", first, last)
    known_schedules, known_calendars = schedules.known(of_schedules), calendars.by_location(of_calendars)
    if any(value not in known_schedules for _, value in used_schedules) or any(
        value not in known_calendars for _, value in used_locations
    ):
        raise EmployeeUnknown("The employee's schedule or calendar has not come here yet; repeat in a moment.")
    known_schedules = {value: known_schedules[value] for _, value in used_schedules}
    known_calendars = {value: known_calendars[value] for _, value in used_locations}
    streams = {f"employee-{employee_id}": int(history[0].version)}
    streams |= {f"schedule-{schedule_id}": one.version for schedule_id, one in known_schedules.items()}
    for location_id, calendar in known_calendars.items():
        streams[f"location-{location_id}"] = calendar.location_version
        streams[f"calendar-{calendar.calendar_id}"] = calendar.version
    work = Work(
        schedules=tuple((since, known_schedules[value].schedule) for since, value in used_schedules),
        holidays=tuple((since, known_calendars[value].holidays) for since, value in used_locations),
    )
    return _KnownWork(
        history, work, tuple(RestsOn(stream=stream, version=version) for stream, version in streams.items())
    )


async def payment_of(
    connection: AsyncConnection, employee_id: str, leave_type: str
) -> tuple[Payment, tuple[RestsOn, ...]] | None:
    """Return how an employee's absence is paid, and which facts say so; None while they are not all known here.

    A request is accepted only after these facts have come here, so they are known unless the views were written by an
    older release that did not read them, and were not rebuilt yet.
    """
    types, found = await together(
        connection,
        leave_types.PAYMENT.having(leave_type=leave_type),
        employees.COST_CENTRES.having(employee_id=employee_id),
    )
    centres = found.rows
    if not types.rows or not centres:
        return None
    (terms,) = types.rows
    payment = Payment(
        pay_code=terms.pay_code,
        paid=bool(terms.paid),
        cost_centres=tuple((row.effective_from, row.cost_centre) for row in centres),
    )
    return payment, (
        RestsOn(stream=f"employee-{employee_id}", version=centres[0].version),
        RestsOn(stream=f"leave-type-{leave_type}", version=terms.version),
    )


def _all(history: list[Any], kind: employees.Kind) -> Dated[str]:
    return tuple((row.effective_from, row.value) for row in history if row.kind == kind and row.value is not None)


def _used(history: list[Any], kind: employees.Kind, first: date, last: date) -> Dated[str]:
    """Return what holds on any of the days."""
    dated = _all(history, kind)
    opening = in_force([(since, (since, value)) for since, value in dated], first)
    return (opening, *(one for one in dated if opening[0] < one[0] <= last))
