"""What the leave book is: each request's state and how the facts make it. `evolve` never refuses a fact."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field

from lms.kernel.sealed import Sealed
from lms.requests.decider.chargeable import Interval
from lms.requests.events import (
    BookEvent,
    ChargedDay,
    LeaveAmended,
    LeaveApprovalRequested,
    LeaveCancellationRequested,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveDecisionLapsed,
    LeaveRecharged,
    LeaveRefused,
    LeaveRequested,
    RestsOn,
)

Status = Literal["pending", "approved", "rejected", "cancelled", "cancellation-requested"]
Outcome = Literal["confirmed", "refused", "superseded", "cancelled"]


@dataclass(frozen=True)
class Revision:
    """What one revision asks for; of the days between its first and its last, `cancelled` are those that were."""

    number: int
    interval: Interval
    days: tuple[ChargedDay, ...]
    reason: Sealed | None
    needs_approval: bool
    rests_on: tuple[RestsOn, ...]
    cancelled: frozenset[date] = frozenset()


@dataclass(frozen=True)
class AwaitingReservation:
    """`open` waits for balances; `standing`, if any, is the confirmed leave that it would replace."""

    open: Revision
    standing: Revision | None
    kind: Literal["awaiting-reservation"] = "awaiting-reservation"


@dataclass(frozen=True)
class AwaitingApproval:
    """`open` is reserved and waits for its decision."""

    open: Revision
    standing: Revision | None
    kind: Literal["awaiting-approval"] = "awaiting-approval"


@dataclass(frozen=True)
class Approved:
    """`standing` is confirmed leave, and nothing is open."""

    standing: Revision
    kind: Literal["approved"] = "approved"


@dataclass(frozen=True)
class CancellationRequested:
    """`standing` is leave that has begun; an approver decides on `revision`, which would cancel it."""

    standing: Revision
    revision: int
    reason: Sealed | None
    kind: Literal["cancellation-requested"] = "cancellation-requested"


@dataclass(frozen=True)
class Rejected:
    """The request ended without leave."""

    kind: Literal["rejected"] = "rejected"


@dataclass(frozen=True)
class Cancelled:
    """The request was withdrawn, or its leave no longer stands."""

    kind: Literal["cancelled"] = "cancelled"


State = Annotated[
    AwaitingReservation | AwaitingApproval | Approved | CancellationRequested | Rejected | Cancelled,
    Field(discriminator="kind"),
]


@dataclass(frozen=True)
class Request:
    """A request: its state, and what became of each of its revisions.

    `version` is the version of the stream at its last fact; `needs_approval` what the leave type said last.
    """

    request_id: str
    leave_type: str
    state: State
    revisions: int
    version: int
    needs_approval: bool
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    lapsed: frozenset[int] = frozenset()

    @property
    def status(self) -> Status:
        """The request's state in the words of the API; a confirmed revision stands while another is open."""
        match self.state:
            case AwaitingReservation(standing=None) | AwaitingApproval(standing=None):
                return "pending"
            case AwaitingReservation() | AwaitingApproval() | Approved():
                return "approved"
            case CancellationRequested():
                return "cancellation-requested"
            case Rejected():
                return "rejected"
            case Cancelled():
                return "cancelled"

    @property
    def settled(self) -> bool:
        """Whether the next step, if there is one, is a person's."""
        match self.state:
            case AwaitingReservation():
                return False
            case AwaitingApproval(open=revision):
                return revision.needs_approval
            case _:
                return True

    @property
    def open(self) -> Revision | None:
        """The leave that is asked for and not decided on."""
        match self.state:
            case AwaitingReservation(open=revision) | AwaitingApproval(open=revision):
                return revision
            case _:
                return None

    @property
    def standing(self) -> Revision | None:
        """The confirmed leave."""
        match self.state:
            case Rejected() | Cancelled():
                return None
            case state:
                return state.standing

    @property
    def newest(self) -> Revision | None:
        """The leave as it was asked for last: what is open, else what stands."""
        return self.open or self.standing

    @property
    def booking(self) -> tuple[Revision, ...]:
        """The revisions whose days are booked: what stands, and what is open."""
        return tuple(one for one in (self.standing, self.open) if one is not None)


@dataclass(frozen=True)
class Book:
    """All requests of one employee by id; `version` counts the facts, as the stream does.

    `months` holds the ids of those that ever asked for a day of a month, by its number: of a long history a decision
    looks at few.
    """

    requests: Mapping[str, Request] = field(default_factory=dict)
    version: int = 0
    months: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def near(self, interval: Interval) -> list[Request]:
        """Return the requests that may book days of an interval: all that ever asked for one of its months."""
        ids = dict.fromkeys(one for month in _months(interval) for one in self.months.get(month, ()))
        return [self.requests[one] for one in ids]


def evolve(book: Book, event: BookEvent) -> Book:
    """Fold a fact into the book; whatever it says is so."""
    version = book.version + 1
    request = book.requests.get(event.request_id)
    if isinstance(event, LeaveRequested):
        request = _opened(event)
    elif request is not None:
        request = _changed(request, event)
    if request is None:
        return replace(book, version=version)
    months = book.months
    if isinstance(event, LeaveRequested | LeaveAmended):
        months = _noted(months, event.request_id, revision_of(event).interval)
    return Book({**book.requests, event.request_id: replace(request, version=version)}, version, months)


def _noted(months: Mapping[int, tuple[str, ...]], request_id: str, interval: Interval) -> Mapping[int, tuple[str, ...]]:
    before = {month: months.get(month, ()) for month in _months(interval)}
    return {**months, **{month: (*ids, request_id) for month, ids in before.items() if request_id not in ids}}


def _months(interval: Interval) -> range:
    first, last = interval.start_date, interval.end_date
    return range(first.year * 12 + first.month, last.year * 12 + last.month + 1)


def _opened(event: LeaveRequested) -> Request:
    return Request(
        request_id=event.request_id,
        leave_type=event.leave_type,
        state=AwaitingReservation(revision_of(event), None),
        revisions=event.revision,
        version=0,
        needs_approval=event.needs_approval,
    )


def _changed(
    request: Request,
    event: LeaveAmended
    | LeaveApprovalRequested
    | LeaveConfirmed
    | LeaveRecharged
    | LeaveRefused
    | LeaveCancelled
    | LeaveCancellationRequested
    | LeaveDecisionLapsed,
) -> Request:
    match event:
        case LeaveAmended():
            changed = _amended(request, event)
        case LeaveApprovalRequested():
            changed = _awaiting_approval(request, event)
        case LeaveConfirmed():
            changed = _confirmed(request, event)
        case LeaveRecharged():
            changed = _recharged(request, event)
        case LeaveRefused():
            refused = _closed(request, event.revision, "refused")
            changed = replace(refused, state=Approved(request.standing) if request.standing else Rejected())
        case LeaveCancelled():
            changed = _cancelled(request, event)
        case LeaveCancellationRequested():
            changed = _cancellation_requested(request, event)
        case LeaveDecisionLapsed():
            changed = replace(request, lapsed=request.lapsed | {event.revision})
        case _:
            assert_never(event)
    return changed


def _amended(request: Request, event: LeaveAmended) -> Request:
    return replace(
        _closed(request, event.supersedes_revision, "superseded"),
        state=AwaitingReservation(revision_of(event), request.standing),
        revisions=event.revision,
        needs_approval=event.needs_approval if event.change == "amend" else request.needs_approval,
    )


def _awaiting_approval(request: Request, event: LeaveApprovalRequested) -> Request:
    if event.kind == "leave" and request.open is not None:
        return replace(request, state=AwaitingApproval(request.open, request.standing))
    return request


def _confirmed(request: Request, event: LeaveConfirmed) -> Request:
    confirmed = _closed(request, event.revision, "confirmed")
    return confirmed if request.open is None else replace(confirmed, state=Approved(request.open))


def _recharged(request: Request, event: LeaveRecharged) -> Request:
    def as_charged_now(revision: Revision | None) -> Any:
        if revision is None or revision.number != event.revision:
            return revision
        return replace(revision, days=event.days, rests_on=event.rests_on)

    match request.state:
        case AwaitingReservation() | AwaitingApproval() as state:
            open_, standing = as_charged_now(state.open), as_charged_now(state.standing)
            return replace(request, state=replace(state, open=open_, standing=standing))
        case Approved() | CancellationRequested() as state:
            return replace(request, state=replace(state, standing=as_charged_now(state.standing)))
        case _:
            return request


def _cancelled(request: Request, event: LeaveCancelled) -> Request:
    if isinstance(request.state, CancellationRequested) and request.state.revision == event.revision:
        return replace(_closed(request, event.revision, "confirmed"), state=Cancelled())
    return replace(_closed(request, event.open_revision, "cancelled"), state=Cancelled())


def _cancellation_requested(request: Request, event: LeaveCancellationRequested) -> Request:
    if request.standing is None:
        return request
    return replace(
        request,
        state=CancellationRequested(request.standing, event.revision, event.reason),
        revisions=event.revision,
    )


def _closed(request: Request, revision: int | None, outcome: Outcome) -> Request:
    return request if revision is None else replace(request, outcomes={**request.outcomes, revision: outcome})


def revision_of(event: LeaveRequested | LeaveAmended) -> Revision:
    """Return what a fact asks for."""
    return Revision(
        number=event.revision,
        interval=Interval(
            start_date=event.start_date,
            end_date=event.end_date,
            start_part=event.start_part,
            end_part=event.end_part,
            from_time=event.from_time,
            to_time=event.to_time,
        ),
        days=event.days,
        reason=event.reason,
        needs_approval=event.needs_approval,
        rests_on=event.rests_on,
        cancelled=frozenset(event.cancelled_dates) if isinstance(event, LeaveAmended) else frozenset(),
    )
