"""The leave book: all requests of one employee, so that no two of them can book the same time.

It carries the process of each request. `balances` and `approvals` answer with facts about one revision; an answer about
a revision that no longer waits for it changes nothing, and a decision then lapses. Such an answer is never an error.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time
from typing import Any, Literal, NamedTuple, assert_never

from lms.kernel.decider import Decider
from lms.kernel.errors import DomainError, FieldError, Stale
from lms.kernel.sealed import Sealed
from lms.requests.decider.chargeable import (
    Booked,
    DayCharge,
    Interval,
    Taken,
    Unit,
    Work,
    charged_days,
    minutes_of,
    per_day,
    taken_by,
)
from lms.requests.decider.errors import (
    CancellationPending,
    NoSuchRequest,
    NothingChanged,
    NotInRequest,
    Overlapping,
    RequestClosed,
)
from lms.requests.decider.recharging import Changed, recharged
from lms.requests.decider.rules import Facts, broken_rules, shaped
from lms.requests.decider.states import (
    AwaitingApproval,
    AwaitingReservation,
    Book,
    CancellationRequested,
    Request,
    Revision,
    evolve,
)
from lms.requests.events import (
    TOPIC,
    BookEvent,
    ChargedDay,
    DayPart,
    LeaveAmended,
    LeaveApprovalRequested,
    LeaveCancellationRequested,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveDecisionLapsed,
    LeaveRecharged,
    LeaveRefused,
    LeaveRequested,
    RechargeCause,
    RestsOn,
)


@dataclass(frozen=True)
class RequestLeave:
    """Ask for leave. `today` is the business date."""

    request_id: str
    employee_id: str
    interval: Interval
    reason: Sealed | None
    requested_by: str
    facts: Facts
    today: date


@dataclass(frozen=True)
class Changes:
    """What an amendment changes of a request; None stays as it is."""

    start_date: date | None = None
    end_date: date | None = None
    start_part: DayPart | None = None
    end_part: DayPart | None = None
    from_time: time | None = None
    to_time: time | None = None
    reason: Sealed | None = None

    def of(self, interval: Interval) -> Interval:
        """Return the interval with the changes."""
        names = ("start_date", "end_date", "start_part", "end_part", "from_time", "to_time")
        given: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(interval, **given)


@dataclass(frozen=True)
class AmendLeave:
    """Make a newer revision. `expected_version`, if given, is the version of the request that the caller saw."""

    request_id: str
    employee_id: str
    changes: Changes
    requested_by: str
    facts: Facts
    today: date
    expected_version: int | None = None


@dataclass(frozen=True)
class CancelLeave:
    """Cancel the whole request: at once, or by request where the leave has begun."""

    request_id: str
    employee_id: str
    reason: Sealed | None
    today: date
    expected_version: int | None = None


@dataclass(frozen=True)
class CancelDays:
    """Make a revision without these days; without all of them, the request is cancelled."""

    request_id: str
    employee_id: str
    dates: frozenset[date]
    reason: Sealed | None
    requested_by: str
    today: date
    expected_version: int | None = None


@dataclass(frozen=True)
class RechargeLeave:
    """Charge days anew, because holidays, a schedule or a location changed for some dates.

    `work` is known for all the days that `recharging.touched` named, `units` for all their leave types.
    """

    employee_id: str
    cause: RechargeCause
    changed: Changed
    work: Work
    units: Mapping[str, Unit]
    rests_on: tuple[RestsOn, ...]


@dataclass(frozen=True)
class RecordReservation:
    """`balances` set the revision's minutes aside."""

    request_id: str
    employee_id: str
    revision: int


@dataclass(frozen=True)
class RecordInsufficient:
    """`balances` cannot cover the revision, or no longer does; `code` is what the request is refused with."""

    request_id: str
    employee_id: str
    revision: int
    code: str


@dataclass(frozen=True)
class RecordApproval:
    """The revision was approved; `decided_by` None: because its type needs no approval."""

    request_id: str
    employee_id: str
    revision: int
    decided_by: str | None


@dataclass(frozen=True)
class RecordRejection:
    """The revision was rejected, with the approver's reason."""

    request_id: str
    employee_id: str
    revision: int
    decided_by: str | None
    reason: Sealed | None


Answer = RecordReservation | RecordInsufficient | RecordApproval | RecordRejection
"""What other services found."""

Command = RequestLeave | AmendLeave | CancelLeave | CancelDays | RechargeLeave | Answer


def decide(command: Command, book: Book) -> Sequence[BookEvent]:
    """Return what follows from a command.

    Commands of people raise a DomainError; answers of other services and later changes of facts never do.
    """
    match command:
        case RequestLeave():
            decided = _request(command, book)
        case AmendLeave():
            decided = _amend(command, _changeable(book, command), book)
        case CancelLeave():
            decided = _cancel(command, _changeable(book, command))
        case CancelDays():
            decided = _cancel_days(command, _changeable(book, command))
        case RechargeLeave():
            decided = _recharge(command, book)
        case _:
            request = book.requests.get(command.request_id)
            decided = [] if request is None else _answered(command, request)
    return decided


def _answered(command: Answer, request: Request) -> list[BookEvent]:
    match command:
        case RecordReservation():
            return _reserved(command, request)
        case RecordInsufficient():
            return _insufficient(command, request)
        case RecordApproval():
            return _approved(command, request)
        case RecordRejection():
            return _rejected(command, request)
        case _:
            assert_never(command)


def overlapping(
    book: Book, days: Sequence[ChargedDay], interval: Interval, *, besides: str | None = None
) -> Overlapping | None:
    """Return that another request than `besides` books a time of `days`; None if all are free."""
    wanted = {one.date: minutes_of(one.part, interval.from_time, interval.to_time) for one in days}
    clashes = [
        one.date
        for request in book.near(interval)
        if request.request_id != besides
        for revision in request.booking
        for one in _booked(revision, interval)
        if one.date in wanted and one.overlaps(*wanted[one.date])
    ]
    if not clashes:
        return None
    return Overlapping(f"Another request books {min(clashes)} already.", (FieldError("/start_date", "overlaps"),))


def _booked(revision: Revision, within: Interval) -> Iterator[Booked]:
    """Return the days that a revision books if it reaches into an interval."""
    booked = revision.interval
    if booked.start_date <= within.end_date and within.start_date <= booked.end_date:
        for day in revision.days:
            begin, end = minutes_of(day.part, booked.from_time, booked.to_time)
            yield Booked(day.date, begin, end, day.scheduled_minutes)


def _taken_beside(book: Book, interval: Interval, besides: Request | None) -> Taken:
    """Return what other requests take of the days of an interval, at other times of the same half.

    A time that overlaps with the interval's is left to `overlapping`: it is refused, not charged.
    """
    others: dict[date, dict[str, list[Booked]]] = {}
    for request in book.near(interval):
        if besides is not None and request.request_id == besides.request_id:
            continue
        for revision in request.booking:
            for one in _booked(revision, interval):
                if interval.covers(one.date) and not one.overlaps(*interval.minutes_on(one.date)):
                    others.setdefault(one.date, {}).setdefault(request.request_id, []).append(one)
    return {day: taken_by(by_request.values()) for day, by_request in others.items()}


class _Changeable(NamedTuple):
    """A request that can be changed; `newest` is its open revision, else the standing one."""

    request: Request
    open: Revision | None
    standing: Revision | None
    newest: Revision


def _changeable(book: Book, command: AmendLeave | CancelLeave | CancelDays) -> _Changeable:
    """Return the request if it can be changed now. Raises NoSuchRequest, Stale, RequestClosed, CancellationPending."""
    request = book.requests.get(command.request_id)
    if request is None:
        raise NoSuchRequest("There is no such request.")
    if command.expected_version is not None and command.expected_version != request.version:
        raise Stale("The request has changed since you read it; read it again.")
    if isinstance(request.state, CancellationRequested):
        raise CancellationPending("The cancellation of this leave is to be decided on first.")
    if request.newest is None:
        raise RequestClosed(f"The request is {request.status}; make a new one.")
    return _Changeable(request, request.open, request.standing, request.newest)


def _request(command: RequestLeave, book: Book) -> list[BookEvent]:
    facts = command.facts
    interval = shaped(command.interval, facts.terms.unit)
    days = _permitted(interval, facts, command.today, book)
    return [
        LeaveRequested(
            request_id=command.request_id,
            revision=1,
            employee_id=command.employee_id,
            leave_type=facts.terms.leave_type,
            **_terms(interval),
            days=days,
            reason=command.reason,
            needs_approval=facts.terms.needs_approval,
            requested_by=command.requested_by,
            rests_on=facts.rests_on,
        )
    ]


def _permitted(
    interval: Interval, facts: Facts, today: date, book: Book, amended: Request | None = None
) -> tuple[ChargedDay, ...]:
    """Return the charged days of an interval that keeps all rules; raise the first that it breaks."""
    charges, broken = assessed(interval, facts, today, book, amended)
    for one in broken:
        raise one
    return charged_days(charges)


class Assessment(NamedTuple):
    """What each day of an interval costs, and every rule that the interval breaks: overlap is the last of them."""

    charges: tuple[DayCharge, ...]
    broken: tuple[DomainError, ...]


def assessed(interval: Interval, facts: Facts, today: date, book: Book, amended: Request | None = None) -> Assessment:
    """Return what an interval costs and breaks, beside all that is booked; as a newer revision of `amended`, if given.

    The days that were cancelled of `amended` stay so. What other requests take of a half is not charged again.
    """
    taken = _taken_beside(book, interval, amended)
    newest = None if amended is None else amended.newest
    cancelled = frozenset() if newest is None else _kept(newest.cancelled, interval)
    charges = per_day(interval, facts.terms.unit, facts.work, cancelled=cancelled, taken=taken)
    before = {} if amended is None else _booked_before(amended, facts, taken)
    broken = list(broken_rules(interval, charges, facts, today=today, booked_before=before))
    overlap = overlapping(book, charged_days(charges), interval, besides=amended.request_id if amended else None)
    return Assessment(charges, (*broken, *([] if overlap is None else [overlap])))


def _kept(cancelled: Collection[date], interval: Interval) -> frozenset[date]:
    """Return which days stay cancelled in an interval: those within. Who names one as an end asks for it again."""
    return frozenset(day for day in cancelled if interval.start_date < day < interval.end_date)


def _booked_before(request: Request, facts: Facts, taken: Taken) -> Mapping[date, int]:
    """Return what a request has booked of each day, as entitlement minutes of today: of two revisions, the more.

    They are not those that its facts tell. A day that has come to cost more, because a holiday or other leave was taken
    away or the schedule grew, is no more leave than it was.
    """
    before: dict[date, int] = {}
    for revision in request.booking:
        unit, work = facts.terms.unit, facts.work
        for one in per_day(revision.interval, unit, work, cancelled=revision.cancelled, taken=taken):
            before[one.date] = max(before.get(one.date, 0), one.entitlement_minutes)
    return before


def _amend(command: AmendLeave, target: _Changeable, book: Book) -> list[BookEvent]:
    request, open_, standing, base = target
    facts = command.facts
    interval = shaped(command.changes.of(base.interval), facts.terms.unit)
    same_time = interval == base.interval
    if same_time and command.changes.reason is None:
        raise NothingChanged("The request says this already.")
    return [
        LeaveAmended(
            request_id=request.request_id,
            revision=request.revisions + 1,
            employee_id=command.employee_id,
            leave_type=request.leave_type,
            **_terms(interval),
            days=base.days if same_time else _permitted(interval, facts, command.today, book, request),
            reason=command.changes.reason or base.reason,
            needs_approval=facts.terms.needs_approval,
            requested_by=command.requested_by,
            rests_on=base.rests_on if same_time else facts.rests_on,
            supersedes_revision=open_.number if open_ else None,
            replaces_revision=standing.number if standing else None,
            change="amend",
            cancelled_dates=tuple(sorted(_kept(base.cancelled, interval))),
        )
    ]


def _cancel(command: CancelLeave | CancelDays, target: _Changeable) -> list[BookEvent]:
    request, open_, standing, _ = target
    if standing is None or standing.interval.start_date > command.today:
        return [
            LeaveCancelled(
                request_id=request.request_id,
                revision=request.revisions,
                employee_id=command.employee_id,
                leave_type=request.leave_type,
                open_revision=open_.number if open_ else None,
                confirmed_revision=standing.number if standing else None,
                decided_by=None,
                reason=command.reason,
            )
        ]
    revision = request.revisions + 1
    superseded = [] if open_ is None else [_refused(request, command.employee_id, open_.number, "superseded", standing)]
    return [
        *superseded,
        LeaveCancellationRequested(
            request_id=request.request_id,
            revision=revision,
            employee_id=command.employee_id,
            leave_type=request.leave_type,
            confirmed_revision=standing.number,
            reason=command.reason,
        ),
        LeaveApprovalRequested(
            request_id=request.request_id,
            revision=revision,
            employee_id=command.employee_id,
            leave_type=request.leave_type,
            kind="cancellation",
            start_date=standing.interval.start_date,
            end_date=standing.interval.end_date,
            days=standing.days,
            needs_approval=True,
        ),
    ]


def _cancel_days(command: CancelDays, target: _Changeable) -> list[BookEvent]:
    request, open_, standing, base = target
    strangers = command.dates - {day.date for day in base.days}
    if strangers:
        raise NotInRequest(
            f"{min(strangers)} is no day that this request takes.", (FieldError("/dates", "names other days"),)
        )
    days = tuple(day for day in base.days if day.date not in command.dates)
    if not days:
        return _cancel(command, target)
    not_begun = min(command.dates) > command.today
    remaining = replace(
        base.interval,
        start_date=days[0].date,
        end_date=days[-1].date,
        start_part=days[0].part,
        end_part=days[-1].part,
    )
    return [
        LeaveAmended(
            request_id=request.request_id,
            revision=request.revisions + 1,
            employee_id=command.employee_id,
            leave_type=request.leave_type,
            **_terms(remaining),
            days=days,
            reason=command.reason or base.reason,
            needs_approval=request.needs_approval and not (open_ is None and not_begun),
            requested_by=command.requested_by,
            rests_on=base.rests_on,
            supersedes_revision=open_.number if open_ else None,
            replaces_revision=standing.number if standing else None,
            change="cancel-days",
            cancelled_dates=tuple(sorted(_kept(base.cancelled | command.dates, remaining))),
        )
    ]


def _recharge(command: RechargeLeave, book: Book) -> list[BookEvent]:
    return [
        LeaveRecharged(
            request_id=request.request_id,
            revision=revision.number,
            employee_id=command.employee_id,
            leave_type=request.leave_type,
            confirmed=revision == request.standing,
            cause=command.cause,
            days=days,
            days_before=revision.days,
            rests_on=_newest(revision.rests_on, command.rests_on),
        )
        for request, revision, days in recharged(book, command.changed, command.work, command.units)
        if days != revision.days
    ]


def _newest(before: Sequence[RestsOn], now: Sequence[RestsOn]) -> tuple[RestsOn, ...]:
    versions = {one.stream: one for one in before}
    for one in now:
        known = versions.get(one.stream)
        if known is None or known.version < one.version:
            versions[one.stream] = one
    return tuple(versions.values())


def _reserved(command: RecordReservation, request: Request) -> list[BookEvent]:
    match request.state:
        case AwaitingReservation(open=revision) if revision.number == command.revision:
            return [
                LeaveApprovalRequested(
                    request_id=command.request_id,
                    revision=revision.number,
                    employee_id=command.employee_id,
                    leave_type=request.leave_type,
                    kind="leave",
                    start_date=revision.interval.start_date,
                    end_date=revision.interval.end_date,
                    days=revision.days,
                    needs_approval=revision.needs_approval,
                )
            ]
    return []


def _insufficient(command: RecordInsufficient, request: Request) -> list[BookEvent]:
    match request.state:
        case (
            AwaitingReservation(open=revision, standing=standing) | AwaitingApproval(open=revision, standing=standing)
        ) if revision.number == command.revision:
            return [_refused(request, command.employee_id, command.revision, command.code, standing)]
    return []


def _approved(command: RecordApproval, request: Request) -> list[BookEvent]:
    match request.state:
        case AwaitingApproval(open=revision, standing=standing) if revision.number == command.revision:
            return [
                LeaveConfirmed(
                    request_id=command.request_id,
                    revision=revision.number,
                    employee_id=command.employee_id,
                    leave_type=request.leave_type,
                    days=revision.days,
                    replaces_revision=standing.number if standing else None,
                    decided_by=command.decided_by,
                )
            ]
        case CancellationRequested(revision=number, standing=standing, reason=reason) if number == command.revision:
            return [
                LeaveCancelled(
                    request_id=command.request_id,
                    revision=number,
                    employee_id=command.employee_id,
                    leave_type=request.leave_type,
                    open_revision=None,
                    confirmed_revision=standing.number,
                    decided_by=command.decided_by,
                    reason=reason,
                )
            ]
    return _lapsed(command, request, "approved")


def _rejected(command: RecordRejection, request: Request) -> list[BookEvent]:
    match request.state:
        case AwaitingApproval(open=revision) if revision.number == command.revision:
            code = "rejected"
        case CancellationRequested(revision=number) if number == command.revision:
            code = "cancellation-rejected"
        case _:
            return _lapsed(command, request, "rejected")
    return [
        _refused(
            request,
            command.employee_id,
            command.revision,
            code,
            request.standing,
            decided_by=command.decided_by,
            reason=command.reason,
        )
    ]


def _refused(
    request: Request,
    employee_id: str,
    revision: int,
    code: str,
    standing: Revision | None,
    *,
    decided_by: str | None = None,
    reason: Sealed | None = None,
) -> LeaveRefused:
    return LeaveRefused(
        request_id=request.request_id,
        revision=revision,
        employee_id=employee_id,
        leave_type=request.leave_type,
        code=code,
        standing_revision=standing.number if standing else None,
        decided_by=decided_by,
        reason=reason,
    )


def _lapsed(
    command: RecordApproval | RecordRejection, request: Request, decision: Literal["approved", "rejected"]
) -> list[BookEvent]:
    """Return that the decision came too late; nothing if it is one that the book holds already."""
    if command.revision > request.revisions or command.revision in request.lapsed:
        return []
    outcome = request.outcomes.get(command.revision)
    if outcome is None or outcome == {"approved": "confirmed", "rejected": "refused"}[decision]:
        return []
    return [
        LeaveDecisionLapsed(
            request_id=command.request_id,
            revision=command.revision,
            employee_id=command.employee_id,
            decision=decision,
            standing_state=request.status,
        )
    ]


def _terms(interval: Interval) -> dict[str, Any]:
    return {
        "start_date": interval.start_date,
        "end_date": interval.end_date,
        "start_part": interval.start_part,
        "end_part": interval.end_part,
        "from_time": interval.from_time,
        "to_time": interval.to_time,
    }


BOOK: Decider[Command, Book, BookEvent] = Decider(
    category="leave-book",
    topic=TOPIC,
    initial=Book(),
    decide=decide,
    evolve=evolve,
    state_type=Book,
    evolve_version=4,
)
