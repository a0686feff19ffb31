"""What must hold once everything that was asked has come to rest: `design/reliability.md`, for one process."""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from functools import partial
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.simulation.memory import MemoryProcess
from tests.simulation.world import ANNUAL, World

from lms.approvals.decider import CASE, Case, Closed, Decided, Open, case_id, route
from lms.approvals.projections import employees
from lms.balances.decider import LEAVE_ACCOUNT
from lms.balances.decider.engine import walk
from lms.balances.decider.standing import standing
from lms.balances.decider.state import Account, lots_through, takings
from lms.balances.events import BalanceCredited, BalanceDebited, BalanceRecharged
from lms.balances.projections import catalogue
from lms.balances.projections.ledger import lines
from lms.kernel.consumer import Projector
from lms.kernel.projection import Delete, Projection, Update, Upsert, writes_of
from lms.kernel.schema import parked_events, parked_keys
from lms.kernel.statements import together
from lms.requests.decider import BOOK
from lms.requests.decider.chargeable import per_day
from lms.requests.decider.payroll import Booked
from lms.requests.decider.rules import Facts
from lms.requests.decider.states import AwaitingReservation, Book, CancellationRequested, Request, Revision, revision_of
from lms.requests.events import (
    AbsenceConfirmed,
    AbsenceCorrected,
    AbsenceRevoked,
    LeaveAmended,
    LeaveConfirmed,
    LeaveRecharged,
    LeaveRequested,
    PeriodClosed,
)
from lms.requests.projections import payroll_lines
from lms.requests.projections.facts import facts_of


def check(world: World, *, limit: int | None) -> None:
    """Assert every invariant; `limit`, if given, is how far (minutes) no balance may be overdrawn."""
    at_rest(world)
    whole_streams(world)
    for process in world.processes:
        for view in process.views:
            equals_a_rebuild(world, process, view)
    for person in world.employed:
        book: Book = _state(world, world.requests, BOOK, person)
        account: Account = _state(world, world.balances, LEAVE_ACCOUNT, person)
        adds_up(world, person, account, limit)
        for request in book.requests.values():
            agrees(world, person, request, account)
        costs_what_the_facts_say(world, person, book)
    debited_once(world)
    payroll_adds_up(world)


def _state(world: World, process: MemoryProcess, decider: Any, aggregate_id: str) -> Any:
    return world.ask(process, lambda connection: process.store.load(connection, decider, aggregate_id)).state


def at_rest(world: World) -> None:
    """Nothing waits: no fact to be relayed or seen, no key parked."""
    for process in world.processes:
        parked = process.database.rows(select(parked_keys.c.consumer, parked_keys.c.key_, parked_keys.c.reason))
        assert not parked, f"{process.service.name} has parked {parked}"
        assert not process.database.rows(select(parked_events))
        assert not process.take_outbox()
    for channel in world.channels:
        assert not list(world.waiting(channel)), f"{channel} has not seen everything"


def whole_streams(world: World) -> None:
    """Versions count from 1 without gaps."""
    for process in world.processes:
        heads: dict[str, int] = {}
        for one in process.log():
            assert one.envelope.version == heads.get(one.envelope.stream, 0) + 1, one.envelope
            heads[one.envelope.stream] = one.envelope.version


def equals_a_rebuild(world: World, process: MemoryProcess, view: type[Projection]) -> None:
    """A view holds what its facts, each once and in order, lead to."""
    expected: dict[Table, dict[tuple[Any, ...], dict[str, Any]]] = {table: {} for table in view.tables}
    for write in writes_of(view, list(_facts_for(world, process, view))):
        rows = expected[write.table]
        keys = [one.name for one in write.table.primary_key.columns if one.name != "generation"]
        if isinstance(write, Upsert):
            key = tuple(write.row[name] for name in keys)
            empty = {one.name: None for one in write.table.columns if one.name != "generation"}
            rows[key] = {**rows.get(key, empty), **write.row}
        else:
            matching = [key for key, row in rows.items() if all(row[name] == of for name, of in write.where.items())]
            for key in matching:
                match write:
                    case Update():
                        rows[key] |= write.values
                    case Delete():
                        del rows[key]
    for table in view.tables:
        wanted = {
            key: {
                name: value.replace(tzinfo=None) if hasattr(value, "tzinfo") else value for name, value in row.items()
            }
            for key, row in expected[table].items()
        }
        assert process.view(table) == wanted, f"{process.service.name}.{table.name} is not what its facts lead to"


def _as_stored(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def _facts_for(world: World, process: MemoryProcess, view: type[Projection]) -> Iterable[tuple[Any, Any]]:
    if view in process.service.inline:
        return [(one.event, one.envelope) for one in process.log()]
    topics = {
        topic
        for one in process.service.consumers
        if isinstance(one, Projector) and view in one.projections
        for topic in one.topics
    }
    models = {model.TYPE: model for model in view.handlers}
    return [
        (models[one.envelope.type].model_validate(one.envelope.data), one.envelope)
        for source in world.processes
        if topics & set(source.service.publishes)
        for one in source.log()
        if one.envelope.type in models
    ]


def adds_up(world: World, person: str, account: Account, limit: int | None) -> None:
    """The balance is the sum of its entries, and is never overdrawn beyond what is allowed."""
    rules = world.ask(world.balances, catalogue.rulebook)
    stream = LEAVE_ACCOUNT.stream(person)
    entries = [
        entry
        for one in world.balances.log()
        if one.envelope.stream == stream and getattr(one.event, "leave_type", None) == ANNUAL
        for _, entry in lines(one.event)  # type: ignore[arg-type]  # an account's stream holds its facts only
    ]
    day = max(world.clock.today(), account.through or world.clock.today())
    found = standing(account, ANNUAL, rules, day).balance
    assert found == sum(one.minutes for one in entries if one.date <= day), (person, found, entries)
    if limit is not None:
        taken = takings(account, ANNUAL)
        last = max([day, *(one.date for one in taken)])
        terms = rules.terms(ANNUAL, account.employment)
        walked = walk(ANNUAL, lots_through(account, ANNUAL, rules, last), taken, terms, last)
        assert all(debt <= limit for _, debt in walked.debts), (person, walked.debts)


def agrees(world: World, person: str, request: Request, account: Account) -> None:
    """The leave book, the account and the cases say the same of a request, and nothing automatic is left to do."""
    about = (person, request)
    assert request.settled, about
    assert not isinstance(request.state, AwaitingReservation), about
    for booked, asked in (
        (account.standing(request.request_id), request.standing),
        (account.open(request.request_id), request.open),
    ):
        assert (booked and booked.revision) == (asked and asked.number), (about, booked)
        if booked and asked:
            charged = tuple((one.date, one.entitlement_minutes) for one in asked.days if one.entitlement_minutes)
            assert booked.days == charged, (about, booked)
    waiting = request.open.number if request.open else None
    if isinstance(request.state, CancellationRequested):
        waiting = request.state.revision
    for revision in range(1, request.revisions + 1):
        case = _state(world, world.approvals, CASE, case_id(request.request_id, revision))
        assert isinstance(case, Open) == (revision == waiting), (about, revision, case)
        outcome = request.outcomes.get(revision)
        match case:
            case Open():
                asks_the_right_people(world, case)
                asked_of = request.standing if isinstance(request.state, CancellationRequested) else request.open
                assert asked_of, about
                assert case.days_minutes == sum(one.entitlement_minutes for one in asked_of.days), (about, case)
            case Decided(decision=decision):
                assert outcome == {"approved": "confirmed", "rejected": "refused"}[decision], (about, revision, case)
            case Closed(cause=cause):
                assert (cause == "lapsed") == (revision in request.lapsed), (about, revision, case)


def asks_the_right_people(world: World, open_: Open) -> None:
    """An open case waits for whom its step names today, as far as `approvals` knows the reporting line."""
    case: Case = open_.case
    today = world.clock.today()
    line = world.ask(world.approvals, lambda connection: employees.line_of(connection, case.employee_id, today))
    assert open_.route == route(open_.steps[0], case.employee_id, line), (open_, line)


async def _facts_of(connection: AsyncConnection, asked: tuple[str, str, date, date]) -> Facts:
    return await facts_of(partial(together, connection), *asked)


def costs_what_the_facts_say(world: World, person: str, book: Book) -> None:
    """Every day of leave costs what schedule and holidays say today, unless other leave of the person took it."""
    for request in book.requests.values():
        for revision in request.booking:
            interval = revision.interval
            asked = (person, request.leave_type, interval.start_date, interval.end_date)
            facts = world.ask(world.requests, partial(_facts_of, asked=asked))
            charged = {one.date: one.entitlement_minutes for one in revision.days}
            for day in per_day(interval, facts.terms.unit, facts.work, cancelled=revision.cancelled):
                others = [one for one in book.requests.values() if one is not request]
                elsewhere = any(one.interval.covers(day.date) for other in others for one in ever_asked(world, other))
                found = charged.get(day.date, 0)
                assert found == day.entitlement_minutes or (not found and elsewhere), (person, request, day)


def ever_asked(world: World, request: Request) -> list[Revision]:
    """Return all revisions of a request."""
    return [
        revision_of(one.event)
        for one in world.requests.log()
        if isinstance(one.event, LeaveRequested | LeaveAmended) and one.event.request_id == request.request_id
    ]


def debited_once(world: World) -> None:
    """Each confirmed revision has exactly one debit, and nothing else has any."""
    confirmed = Counter(
        (one.event.request_id, one.event.revision)
        for one in world.requests.log()
        if isinstance(one.event, LeaveConfirmed)
    )
    debited = Counter(
        (one.event.request_id, one.event.revision)
        for one in world.balances.log()
        if isinstance(one.event, BalanceDebited)
    )
    assert debited == confirmed
    assert all(times == 1 for times in debited.values()), debited


def payroll_adds_up(world: World) -> None:
    """Payroll's lines are the debits, to the minute; and what a month had when it was closed is what it has."""
    debited: Counter[tuple[str, str]] = Counter()
    for one in world.balances.log():
        match one.event:
            case BalanceDebited() | BalanceCredited() | BalanceRecharged(booking="debit") as fact:
                for entry in fact.entries:
                    debited[fact.employee_id, fact.leave_type] -= entry.minutes
    booked: Counter[tuple[str, str]] = Counter()
    closed: dict[str, Booked] = {}
    for one in world.requests.log():
        match one.event:
            case PeriodClosed() as month:
                closed[month.period] = Booked(month.line_count, month.entitlement_minutes, month.scheduled_minutes)
            case AbsenceConfirmed() | AbsenceCorrected() | AbsenceRevoked() as absence:
                for line in absence.lines:
                    assert line.period not in closed, (absence, closed)
                    booked[absence.employee_id, absence.leave_type] += line.entitlement_minutes
    assert _some(booked) == _some(debited)
    months = world.ask(world.requests, lambda connection: payroll_lines.booked_after(connection, None))
    assert {month: months.get(month, Booked()) for month in closed} == closed


def dearer(world: World) -> bool:
    """Say whether a later change made leave cost more than when it was asked for."""
    events = [one.event for one in world.requests.log() if isinstance(one.event, LeaveRecharged)]
    return any(
        sum(one.entitlement_minutes for one in event.days) > sum(one.entitlement_minutes for one in event.days_before)
        for event in events
    )


def _some(minutes: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    return {key: value for key, value in minutes.items() if value}
