"""Balances: the figures as of a date, the ledger, where each figure comes from, and changes by hand."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.balances import commands, store
from lms.balances.decider import LEAVE_ACCOUNT
from lms.balances.decider.account import Reserve
from lms.balances.decider.catalogue import LeaveTypeUnknown
from lms.balances.decider.engine import Lot
from lms.balances.decider.preview import preview
from lms.balances.decider.rulebook import Rulebook
from lms.balances.decider.standing import Covered, Standing, booked, standing, unlimited_coverage
from lms.balances.decider.state import Account, reference_of
from lms.balances.events import (
    BalanceDebited,
    BalanceRecharged,
    BalanceReserved,
    ChargedDay,
    Identifier,
    RestsOn,
    Slug,
)
from lms.balances.projections import catalogue, ledger, people
from lms.balances.projections.stamps import stamp
from lms.kernel.amounts import Amount
from lms.kernel.auth import Caller, CallerDep, requires
from lms.kernel.errors import FieldError, FourEyes, Malformed, NotFound
from lms.kernel.event import Envelope
from lms.kernel.eventstore import Recorded
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import (
    SURROGATE_CONTROL,
    Answer,
    Body,
    CommandsDep,
    StaleViewsDep,
    ViewsDep,
    answer,
    get_runtime,
    to_json,
)
from lms.kernel.ids import new_id
from lms.kernel.pages import Page, PageDep
from lms.kernel.sealed import ERASED, Sealed
from lms.kernel.service import Runtime

router = APIRouter(prefix="/api/v1/balances", tags=["balances"])

HrDep = Annotated[Caller, Depends(requires("hr"))]
RuntimeDep = Annotated[Runtime, Depends(get_runtime)]
EmployeeQuery = Annotated[Identifier | None, Query(description="Whose; the caller's own without it")]
AsOfQuery = Annotated[date | None, Query(description="The date of the figures, past or future; today without it")]
KnownAtQuery = Annotated[datetime | None, Query(description="As was known at this instant; as is known now without it")]

_GATEWAY_SECONDS = 30
"""How long the gateway may give people their own balances again: until the next hint, or so long where it was lost."""

_FURTHEST_YEAR = 2100
_EARLIEST_YEAR = 1900


class UnknownPerson(NotFound):
    """There is no such person, or the caller may not know."""

    code = "employee-not-found"


class BalanceAnswer(Answer):
    """One leave type as of a date.

    `balance` = `carried` + `granted` + `adjusted` - `expired` - `taken` - what is pending up to the date. `upcoming`
    are approved days after the date, `pending` all days of open requests, both of the entitlement year. `available` is
    what can still be taken on the date without overdraft and without starving a later booking; `overdraft_limit` is how
    far beyond it one may go. Null where the type needs no balance.
    """

    leave_type: str
    name: str
    unit: str
    colour: str
    limited: bool
    entitlement_year: int
    carried: Amount | None
    granted: Amount | None
    adjusted: Amount | None
    expired: Amount | None
    taken: Amount
    upcoming: Amount
    pending: Amount
    balance: Amount | None
    available: Amount | None
    overdraft_limit: Amount | None


class BalancesAnswer(Answer):
    """All leave types of one person as of a date; a date after `today` is a forecast."""

    employee_id: str
    as_of: date
    today: date
    forecast: bool
    known_at: datetime | None
    items: tuple[BalanceAnswer, ...]


class EntryAnswer(Answer):
    """One line of the ledger: signed, dated, with what it rests on. `reason` is for the person and hr.

    `caused_by` is the id of the fact or request that led to it; for debits and credits that is the decision.
    """

    id: str
    kind: str
    date: date
    amount: Amount
    lot_id: str | None
    request_id: str | None
    revision: int | None
    policy_id: str | None
    policy_version: int | None
    rests_on: list[dict[str, Any]]
    correction: bool
    reason: str | None
    event_id: str
    caused_by: str
    actor: str | None
    recorded_at: datetime


class LotAnswer(Answer):
    """A lot, with what remains of it on the date."""

    lot_id: str
    kind: str
    amount: Amount
    remaining: Amount
    effective_date: date
    expires_on: date | None
    policy_id: str | None
    policy_version: int | None
    recorded: bool


class UseAnswer(Answer):
    """Minutes that a lot covers on a day; without a lot they are overdrawn."""

    date: date
    lot_id: str | None
    amount: Amount


class BookingAnswer(Answer):
    """A leave within the year: which lots cover it, what it was computed from, and which facts led to it."""

    request_id: str
    revision: int
    state: str
    amount: Amount
    first_day: date
    last_day: date
    uses: tuple[UseAnswer, ...]
    rests_on: list[dict[str, Any]]
    reserved_by: str | None
    decided_by: str | None
    decided_at: datetime | None


class ExpiryAnswer(Answer):
    """Minutes of a lot that lapsed, and why."""

    lot_id: str
    date: date
    cause: str
    amount: Amount


class AdjustmentLineAnswer(Answer):
    """A change by hand within the year."""

    adjustment_id: str
    date: date
    amount: Amount


class ExplainAnswer(Answer):
    """Where each figure comes from: the figures, and the parts that each sums up."""

    employee_id: str
    as_of: date
    figures: BalanceAnswer
    granted: tuple[LotAnswer, ...]
    lots: tuple[LotAnswer, ...]
    adjustments: tuple[AdjustmentLineAnswer, ...]
    expired: tuple[ExpiryAnswer, ...]
    bookings: tuple[BookingAnswer, ...]


class BalancePreviewDay(Body):
    """What one day of a leave would cost."""

    date: date
    entitlement_minutes: int = Field(ge=0, le=1440)
    scheduled_minutes: int = Field(ge=0, le=1440)


class BalancePreviewBody(Body):
    """A leave that might be asked for, or with `request_id` the next revision of one that was."""

    leave_type: Slug
    employee_id: Identifier | None = None
    request_id: Identifier | None = None
    days: tuple[BalancePreviewDay, ...] = Field(max_length=400)


class YearAfter(Answer):
    """One entitlement year as of the leave's last day in it: what can be taken without the leave, and with it."""

    entitlement_year: int
    as_of: date
    available: Amount
    remaining: Amount


class BalancePreview(Answer):
    """Whether the balance covers a leave, else the `cause`; `years` is empty where the type needs no balance."""

    sufficient: bool
    cause: str | None
    years: tuple[YearAfter, ...]


class NewAdjustment(Body):
    """A change by hand. A positive one is a lot of its own, which may expire."""

    employee_id: Identifier
    leave_type: Slug
    minutes: int = Field(ge=-1_000_000, le=1_000_000)
    effective_date: date | None = None
    expires_on: date | None = None
    reason: str = Field(min_length=1, max_length=2000)


class AdjustmentAnswer(Answer):
    """An adjustment as it was made."""

    adjustment_id: str
    employee_id: str
    leave_type: str
    amount: Amount
    effective_date: date
    expires_on: date | None


@router.get("", response_model=BalancesAnswer)
async def get_balances(
    *,
    caller: CallerDep,
    views: ViewsDep,
    runtime: RuntimeDep,
    employee_id: EmployeeQuery = None,
    as_of: AsOfQuery = None,
    known_at: KnownAtQuery = None,
) -> Response:
    """Show the balances of one person as of a date: recorded, or forecast from policies and bookings."""
    connection = views.connection
    today = runtime.clock.now().date()
    person = employee_id or caller.id
    found = await stamp(connection, person, LEAVE_ACCOUNT.stream(person))
    await _check_visible(connection, caller, person, today, exists=found.person_exists)
    day = _sane(as_of or today)
    seconds = runtime.settings.cache_seconds if found.account and known_at is None else 0
    key = store.cache_key(person, found[1:], day, today)
    kept = await store.cached(runtime.redis, key) if seconds else None
    if kept is None:
        kept = to_json(await _balances(runtime, connection, person, day=day, today=today, known_at=known_at))
        if seconds:
            await store.cache(runtime.redis, key, kept, seconds)
    again = {SURROGATE_CONTROL: f"max-age={_GATEWAY_SECONDS}"} if seconds and person == caller.id else None
    return Response(kept, media_type="application/json", headers=again)


@router.get("/{leave_type}/entries", response_model=Page[EntryAnswer])
async def get_entries(
    *,
    leave_type: str,
    caller: CallerDep,
    views: StaleViewsDep,
    runtime: RuntimeDep,
    page: PageDep,
    employee_id: EmployeeQuery = None,
    from_date: Annotated[date | None, Query(alias="from")] = None,
    to_date: Annotated[date | None, Query(alias="to")] = None,
) -> Response:
    """List the ledger of one account in the order of recording."""
    person = await _visible(views.connection, caller, employee_id, runtime.clock.now().date())
    await _leave_type(views.connection, leave_type)
    after = page.after(int, int)
    rows = await ledger.entries_of(
        views.connection,
        person,
        leave_type,
        after=(after[0], after[1]) if after else None,
        from_date=from_date,
        to_date=to_date,
        limit=page.limit + 1,
    )
    shows_reasons = person == caller.id or caller.has("hr")
    reasons = await _reasons(runtime, rows[: page.limit]) if shows_reasons else {}
    shown = Page[EntryAnswer].of(
        rows, page, key=lambda row: (row.version, row.line), item=lambda row: _entry(row, reasons)
    )
    return answer(shown)


@router.get("/{leave_type}/explain", response_model=ExplainAnswer)
async def get_explanation(
    *,
    leave_type: str,
    caller: CallerDep,
    views: ViewsDep,
    runtime: RuntimeDep,
    employee_id: EmployeeQuery = None,
    as_of: AsOfQuery = None,
) -> Response:
    """Trace each figure of one leave type to lots, policy versions, holiday versions and decisions."""
    connection = views.connection
    today = runtime.clock.now().date()
    person = await _visible(connection, caller, employee_id, today)
    found = await _leave_type(connection, leave_type)
    day = _sane(as_of or today)
    recorded = await runtime.store.read(connection, LEAVE_ACCOUNT.stream(person))
    state = await _account(runtime, connection, person, None)
    rules = await catalogue.rulebook(connection)
    figures = _figures(found, state, rules, day)
    if found.terms.limited:
        now = standing(state, leave_type, rules, day)
        return answer(_explained(person, figures, now, _Traces(recorded, state)))
    covered = unlimited_coverage(state, leave_type, day.year)
    return answer(
        ExplainAnswer(
            employee_id=person,
            as_of=day,
            figures=figures,
            granted=(),
            lots=(),
            adjustments=(),
            expired=(),
            bookings=_Traces(recorded, state).bookings(covered),
        )
    )


@router.post("/preview", response_model=BalancePreview)
async def post_preview(body: BalancePreviewBody, caller: CallerDep, views: ViewsDep, runtime: RuntimeDep) -> Response:
    """Show what a leave would leave; change nothing."""
    today = runtime.clock.now().date()
    person = await _visible(views.connection, caller, body.employee_id, today)
    await _leave_type(views.connection, body.leave_type)
    for number, day in enumerate(body.days):
        _sane(day.date, f"/days/{number}/date")
    command = Reserve(
        employee_id=person,
        today=today,
        rulebook=await catalogue.rulebook(views.connection),
        request_id=body.request_id or new_id(),
        revision=1,
        leave_type=body.leave_type,
        days=tuple(ChargedDay(**day.model_dump()) for day in body.days),
    )
    found = preview(command, await _account(runtime, views.connection, person, None))
    return answer(
        BalancePreview(
            sufficient=found.sufficient,
            cause=found.cause,
            years=tuple(
                YearAfter(
                    entitlement_year=one.year,
                    as_of=one.as_of,
                    available=Amount.of(one.available),
                    remaining=Amount.of(one.remaining),
                )
                for one in found.years
            ),
        )
    )


@router.post("/adjustments", status_code=201, response_model=AdjustmentAnswer)
async def post_adjustment(body: NewAdjustment, caller: HrDep, run: CommandsDep, runtime: RuntimeDep) -> Response:
    """Change a balance by hand, never one's own; the reason is sealed under the person's own key."""
    if body.employee_id == caller.id:
        raise FourEyes("Let somebody else of HR adjust your own balance.")
    for field in ("effective_date", "expires_on"):
        if getattr(body, field) is not None:
            _sane(getattr(body, field), f"/{field}")
    async with runtime.database.read() as connection:
        if not await people.exists(connection, body.employee_id):
            raise UnknownPerson("There is no such person.")
    reason: Sealed = await runtime.keyring.seal(body.employee_id, body.reason)

    async def adjust(uow: UnitOfWork) -> AdjustmentAnswer:
        made = await commands.adjust(
            uow,
            employee_id=body.employee_id,
            leave_type=body.leave_type,
            minutes=body.minutes,
            effective_date=body.effective_date,
            expires_on=body.expires_on,
            reason=reason,
        )
        return AdjustmentAnswer(
            adjustment_id=made.adjustment_id,
            employee_id=made.employee_id,
            leave_type=made.leave_type,
            amount=Amount.of(made.minutes),
            effective_date=made.effective_date,
            expires_on=made.expires_on,
        )

    return await run.run(adjust, status=201)


async def _visible(connection: AsyncConnection, caller: Caller, employee_id: str | None, today: date) -> str:
    """Return whose account is meant. Raises UnknownPerson unless it is the caller's own, or hr or a manager asks."""
    person = employee_id or caller.id
    exists = await people.exists(connection, person)
    await _check_visible(connection, caller, person, today, exists=exists)
    return person


async def _check_visible(
    connection: AsyncConnection, caller: Caller, person: str, today: date, *, exists: bool
) -> None:
    allowed = exists and (
        person == caller.id or caller.has("hr") or await people.manages(connection, caller.id, person, today)
    )
    if not allowed:
        raise UnknownPerson("There is no such person.")


async def _leave_type(connection: AsyncConnection, leave_type: str) -> catalogue.LeaveTypeRow:
    types = await catalogue.all_leave_types(connection)
    found = next((one for one in types if one.leave_type == leave_type), None)
    if found is None:
        raise LeaveTypeUnknown(f"There is no leave type {leave_type!r}.")
    return found


def _sane(day: date, pointer: str = "/as_of") -> date:
    if not _EARLIEST_YEAR <= day.year <= _FURTHEST_YEAR:
        raise Malformed(
            f"The date must lie between the years {_EARLIEST_YEAR} and {_FURTHEST_YEAR}.",
            (FieldError(pointer, "is out of range"),),
        )
    return day


async def _account(runtime: Runtime, connection: AsyncConnection, person: str, known_at: datetime | None) -> Account:
    """Return the account, now or as known at an instant; one that is not opened yet rests on the directory's facts."""
    if known_at is None:
        state = (await runtime.store.load(connection, LEAVE_ACCOUNT, person)).state
        if state.employment is None:
            return replace(state, employment=await people.employment_of(connection, person))
        return state
    recorded = await runtime.store.read(connection, LEAVE_ACCOUNT.stream(person))
    known: list[Any] = [one.event for one in recorded if one.envelope.time <= known_at]
    return LEAVE_ACCOUNT.fold(known)


async def _balances(
    runtime: Runtime,
    connection: AsyncConnection,
    person: str,
    *,
    day: date,
    today: date,
    known_at: datetime | None,
) -> BalancesAnswer:
    instant = known_at.astimezone(UTC) if known_at else None
    state = await _account(runtime, connection, person, instant)
    rules = await catalogue.rulebook(connection, known_at=instant.replace(tzinfo=None) if instant else None)
    types = await catalogue.all_leave_types(connection)
    return BalancesAnswer(
        employee_id=person,
        as_of=day,
        today=today,
        forecast=day > today,
        known_at=instant,
        items=tuple(_figures(one, state, rules, day) for one in types),
    )


def _figures(row: catalogue.LeaveTypeRow, state: Account, rules: Rulebook, day: date) -> BalanceAnswer:
    common: dict[str, Any] = {
        "leave_type": row.leave_type,
        "name": row.terms.name,
        "unit": row.terms.unit,
        "colour": row.terms.colour,
        "limited": row.terms.limited,
        "entitlement_year": day.year,
    }
    if not row.terms.limited:
        taken, upcoming, pending = booked(state, row.leave_type, day)
        return BalanceAnswer(
            **common, carried=None, granted=None, adjusted=None, expired=None, taken=Amount.of(taken),
            upcoming=Amount.of(upcoming), pending=Amount.of(pending), balance=None, available=None,
            overdraft_limit=None,
        )  # fmt: skip
    now = standing(state, row.leave_type, rules, day)
    return BalanceAnswer(
        **common,
        carried=Amount.of(now.carried),
        granted=Amount.of(now.granted),
        adjusted=Amount.of(now.adjusted),
        expired=Amount.of(now.expired),
        taken=Amount.of(now.taken),
        upcoming=Amount.of(now.upcoming),
        pending=Amount.of(now.pending),
        balance=Amount.of(now.balance),
        available=Amount.of(now.available),
        overdraft_limit=Amount.of(now.limit),
    )


async def _reasons(runtime: Runtime, rows: list[Any]) -> dict[str, str]:
    sealed = {row.reason: Sealed.model_validate_json(row.reason) for row in rows if row.reason}
    opened = await runtime.keyring.unseal_all(list(sealed.values())) if sealed else []
    return {text: str(ERASED) if one == ERASED else str(one) for text, one in zip(sealed, opened, strict=True)}


def _entry(row: Any, reasons: dict[str, str]) -> EntryAnswer:
    return EntryAnswer(
        id=f"{row.version}.{row.line}",
        kind=row.kind,
        date=row.date,
        amount=Amount.of(row.minutes),
        lot_id=row.lot_id,
        request_id=row.request_id,
        revision=row.revision,
        policy_id=row.policy_id,
        policy_version=row.policy_version,
        rests_on=orjson.loads(row.rests_on) if row.rests_on else [],
        correction=bool(row.correction),
        reason=reasons.get(row.reason) if row.reason else None,
        event_id=row.event_id,
        caused_by=row.causation_id,
        actor=row.actor,
        recorded_at=row.recorded_at.replace(tzinfo=UTC),
    )


class _Traces:
    """What the log says of each revision: what its days rest on, and which facts reserved and decided it."""

    def __init__(self, recorded: Sequence[Recorded], state: Account) -> None:
        self._state = state
        self._reserved: dict[str, Envelope] = {}
        self._rests_on: dict[str, tuple[RestsOn, ...]] = {}
        self._debited: dict[str, Envelope] = {}
        for one in recorded:
            event = one.event
            if isinstance(event, BalanceReserved):
                reference = reference_of(event.request_id, event.revision)
                self._reserved[reference], self._rests_on[reference] = one.envelope, event.rests_on
            elif isinstance(event, BalanceRecharged) and event.rests_on:
                self._rests_on[reference_of(event.request_id, event.revision)] = event.rests_on
            elif isinstance(event, BalanceDebited):
                self._debited[reference_of(event.request_id, event.revision)] = one.envelope

    def bookings(self, covered: Iterable[Covered]) -> tuple[BookingAnswer, ...]:
        """Return the leaves with their traces."""
        return tuple(self._booking(one) for one in covered)

    def _booking(self, covered: Covered) -> BookingAnswer:
        request_id, _, revision = covered.reference.rpartition(".")
        reserved = self._reserved.get(covered.reference)
        decided = self._debited.get(covered.reference)
        return BookingAnswer(
            request_id=request_id,
            revision=int(revision),
            state="approved" if decided is not None else "pending",
            amount=Amount.of(covered.minutes),
            first_day=covered.first_day,
            last_day=covered.last_day,
            uses=tuple(
                UseAnswer(date=one.date, lot_id=one.lot_id, amount=Amount.of(one.minutes)) for one in covered.uses
            ),
            rests_on=[one.model_dump() for one in self._rests_on.get(covered.reference, ())],
            reserved_by=reserved.event_id if reserved is not None else None,
            decided_by=decided.causation_id if decided is not None else None,
            decided_at=decided.time if decided is not None else None,
        )

    def lot(self, lot: Lot, remaining: int) -> LotAnswer:
        """Return a lot with what remains of it; one that is only planned yet is not `recorded`."""
        holding = self._state.holding(lot.lot_id.split(".")[0])
        carried = {one.lot.lot_id for one in holding.carried.values()}
        return LotAnswer(
            lot_id=lot.lot_id,
            kind=lot.kind,
            amount=Amount.of(lot.minutes),
            remaining=Amount.of(remaining),
            effective_date=lot.effective_date,
            expires_on=lot.expires_on,
            policy_id=lot.policy_id,
            policy_version=lot.policy_version,
            recorded=lot.kind == "adjustment" or lot.lot_id in holding.lots or lot.lot_id in carried,
        )


def _explained(person: str, figures: BalanceAnswer, now: Standing, traces: _Traces) -> ExplainAnswer:
    remaining = {lot.lot_id: minutes for lot, minutes in now.lots}
    return ExplainAnswer(
        employee_id=person,
        as_of=now.as_of,
        figures=figures,
        granted=tuple(traces.lot(one, remaining.get(one.lot_id, 0)) for one in now.grants),
        lots=tuple(traces.lot(lot, minutes) for lot, minutes in now.lots),
        adjustments=tuple(
            AdjustmentLineAnswer(
                adjustment_id=reference.removeprefix("adjustment."), date=day, amount=Amount.of(minutes)
            )
            for reference, day, minutes in now.adjustments
        ),
        expired=tuple(
            ExpiryAnswer(lot_id=one.lot_id, date=one.date, cause=one.cause, amount=Amount.of(one.minutes))
            for one in now.expiries
        ),
        bookings=traces.bookings(now.covered),
    )
