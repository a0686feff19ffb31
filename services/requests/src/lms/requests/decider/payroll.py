"""What payroll hears: the absences of each employee as signed lines, and which months are closed.

Payroll sees no absence that was not confirmed, and no rewrite: a change is the lines that take back what stood and the
lines that take its place. A line is booked in the month of its day, or, where that is closed, in the first month that
is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from lms.kernel.decider import Decider
from lms.kernel.errors import Conflict, RuleBroken
from lms.requests.decider.chargeable import Dated, in_force
from lms.requests.events import (
    PAYROLL_TOPIC,
    AbsenceConfirmed,
    AbsenceCorrected,
    AbsenceEvent,
    AbsenceRevoked,
    ChargedDay,
    PayrollLine,
    PeriodClosed,
)

MONTHLY = "monthly"
"""The id of the one payroll calendar that there is."""

_MONTHS = 12


class PeriodNotBegun(RuleBroken):
    """The month lies in the future."""

    code = "period-not-begun"


class PeriodOutOfOrder(Conflict):
    """Months are closed one after the other, from the first one on in which anything is booked."""

    code = "period-out-of-order"


def month_of(day: date) -> str:
    """Return the period of a day, such as `2026-07`."""
    return f"{day.year:04}-{day.month:02}"


def next_month(period: str) -> str:
    """Return the period after a period."""
    year, month = int(period[:4]), int(period[5:])
    return f"{year + month // _MONTHS:04}-{month % _MONTHS + 1:02}"


# The absences of one employee -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Payment:
    """How absence is paid, and from which day on its cost is booked where; an empty cost centre is nowhere."""

    pay_code: str
    paid: bool
    cost_centres: Dated[str]


@dataclass(frozen=True)
class Absences:
    """What stands of each absence: its lines in the order of their days, as they were booked."""

    standing: Mapping[str, tuple[PayrollLine, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class BookAbsence:
    """A revision was confirmed: `days` are all that stands of it. `last_closed` is None while no month is closed."""

    absence_id: str
    revision: int
    employee_id: str
    leave_type: str
    days: tuple[ChargedDay, ...]
    payment: Payment
    last_closed: str | None


@dataclass(frozen=True)
class RevokeAbsence:
    """Confirmed leave was cancelled."""

    absence_id: str
    revision: int
    employee_id: str
    leave_type: str
    last_closed: str | None


AbsenceCommand = BookAbsence | RevokeAbsence


def decide_absences(command: AbsenceCommand, state: Absences) -> Sequence[AbsenceEvent]:
    """Return what payroll hears; nothing where nothing changes for it. Never raises."""
    stood = state.standing.get(command.absence_id, ())
    about: dict[str, Any] = {
        "absence_id": command.absence_id,
        "revision": command.revision,
        "employee_id": command.employee_id,
        "leave_type": command.leave_type,
    }
    match command:
        case RevokeAbsence():
            taken_back = tuple(_taken_back(line, command.last_closed) for line in stood)
            return [AbsenceRevoked(lines=taken_back, **about)] if stood else []
        case BookAbsence():
            lines = _difference(command, stood)
            if not lines:
                return []
            return [AbsenceCorrected(lines=lines, **about) if stood else AbsenceConfirmed(lines=lines, **about)]


def _difference(command: BookAbsence, stood: Sequence[PayrollLine]) -> tuple[PayrollLine, ...]:
    """Return the lines that lead from what stood to what the command says, all that is taken back first."""
    asked = {day.date: day for day in command.days}
    kept = {line.date for line in stood if line.date in asked and _says(line, asked[line.date])}
    return (
        *(_taken_back(line, command.last_closed) for line in stood if line.date not in kept),
        *(
            _line(day, command.payment, command.last_closed)
            for date_, day in sorted(asked.items())
            if date_ not in kept
        ),
    )


def _says(line: PayrollLine, day: ChargedDay) -> bool:
    return (line.part, line.entitlement_minutes, line.scheduled_minutes) == (
        day.part,
        day.entitlement_minutes,
        day.scheduled_minutes,
    )


def _line(day: ChargedDay, payment: Payment, last_closed: str | None) -> PayrollLine:
    return PayrollLine(
        date=day.date,
        part=day.part,
        entitlement_minutes=day.entitlement_minutes,
        scheduled_minutes=day.scheduled_minutes,
        pay_code=payment.pay_code,
        paid=payment.paid,
        cost_centre=in_force(payment.cost_centres, day.date),
        **_periods(day.date, last_closed),
    )


def _taken_back(line: PayrollLine, last_closed: str | None) -> PayrollLine:
    return line.model_copy(
        update={
            "entitlement_minutes": -line.entitlement_minutes,
            "scheduled_minutes": -line.scheduled_minutes,
            **_periods(line.date, last_closed),
        }
    )


def _periods(day: date, last_closed: str | None) -> dict[str, Any]:
    """Return in which period a line of a day is booked, and which one it belonged to if that is closed."""
    month = month_of(day)
    if last_closed is None or month > last_closed:
        return {"period": month, "original_period": None}
    return {"period": next_month(last_closed), "original_period": month}


def evolve_absences(state: Absences, event: AbsenceEvent) -> Absences:
    """Fold a fact: each line takes the line of its day away, or puts itself there."""
    days = {line.date: line for line in state.standing.get(event.absence_id, ())}
    for line in event.lines:
        if line.takes_back:
            days.pop(line.date, None)
        else:
            days[line.date] = line
    standing = {absence: lines for absence, lines in state.standing.items() if absence != event.absence_id}
    if days:
        standing[event.absence_id] = tuple(days[day] for day in sorted(days))
    return Absences(standing)


ABSENCES: Decider[AbsenceCommand, Absences, AbsenceEvent] = Decider(
    category="absences",
    topic=PAYROLL_TOPIC,
    initial=Absences(),
    decide=decide_absences,
    evolve=evolve_absences,
    state_type=Absences,
)


# The months -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calendar:
    """Every month up to `last_closed` is closed; None while none is."""

    last_closed: str | None = None


@dataclass(frozen=True)
class Booked:
    """What is booked in a month: how many lines, and to how many minutes they add up."""

    line_count: int = 0
    entitlement_minutes: int = 0
    scheduled_minutes: int = 0


@dataclass(frozen=True)
class ClosePeriod:
    """Close a month. `today` is the business date, `first_booked` the first month in which anything is booked."""

    period: str
    closed_by: str
    today: date
    booked: Booked
    first_booked: str | None


def decide_calendar(command: ClosePeriod, state: Calendar) -> list[PeriodClosed]:
    """Close a month that has begun, in its turn; one that is closed stays so.

    A month may be closed before it ends: what is confirmed for the rest of it is then booked in the next one. Raises
    PeriodNotBegun, PeriodOutOfOrder.
    """
    if state.last_closed is not None and command.period <= state.last_closed:
        return []
    if command.period > month_of(command.today):
        raise PeriodNotBegun(f"{command.period} has not begun yet.")
    due = command.first_booked if state.last_closed is None else next_month(state.last_closed)
    if due is not None and command.period > due:
        raise PeriodOutOfOrder(f"Close {due} first: months are closed one after the other.")
    return [
        PeriodClosed(
            period=command.period,
            closed_by=command.closed_by,
            line_count=command.booked.line_count,
            entitlement_minutes=command.booked.entitlement_minutes,
            scheduled_minutes=command.booked.scheduled_minutes,
        )
    ]


def evolve_calendar(_state: Calendar, event: PeriodClosed) -> Calendar:
    """Fold a fact."""
    return Calendar(event.period)


CALENDAR: Decider[ClosePeriod, Calendar, PeriodClosed] = Decider(
    category="payroll-calendar",
    topic=PAYROLL_TOPIC,
    initial=Calendar(),
    decide=decide_calendar,
    evolve=evolve_calendar,
    state_type=Calendar,
    every_partition=True,
)
