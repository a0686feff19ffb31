"""The use cases of balances: they supply time, rules and ids, and leave the deciding to the deciders."""

from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any, Literal, NamedTuple

from lms.balances import store
from lms.balances.decider import LEAVE_ACCOUNT, LEAVE_TYPE, POLICY
from lms.balances.decider.account import (
    AccountCommand,
    Adjust,
    Cancel,
    Debit,
    NoteEmployment,
    Recharge,
    RecordDue,
    Release,
    Reserve,
    limited_types,
)
from lms.balances.decider.catalogue import ChangeLeaveType, DefineLeaveType, PublishPolicy
from lms.balances.decider.due import quiet_until
from lms.balances.decider.rulebook import Employment, Rulebook
from lms.balances.events import ChargedDay, LeaveTypeTerms, PolicyPublished, PolicyTerms, RestsOn
from lms.balances.projections import catalogue, people
from lms.kernel.errors import FieldError, RuleBroken, Stale
from lms.kernel.event import Prerequisite
from lms.kernel.execution import UnitOfWork
from lms.kernel.hints import EVERYBODY
from lms.kernel.ids import new_id
from lms.kernel.sealed import Sealed
from lms.kernel.service import Runtime

_BATCH = 100
"""People of an accrual run that are looked up at a time."""


class PolicyOverlaps(RuleBroken):
    """Another policy already rules the same leave type for the same people."""

    code = "policy-overlaps"


class RunInTheFuture(RuleBroken):
    """What is not due yet cannot be recorded."""

    code = "run-in-the-future"


# --- the account ------------------------------------------------------------------------------------------------------


async def _decide(
    uow: UnitOfWork, employee_id: str, command: AccountCommand, prerequisites: tuple[Prerequisite, ...] = ()
) -> int:
    handled = await uow.handle(LEAVE_ACCOUNT, employee_id, command, key=employee_id, prerequisites=prerequisites)
    return handled.version


async def _common(uow: UnitOfWork, employee_id: str) -> dict[str, Any]:
    """Return what every command on an account brings; open the account first if nobody did."""
    rules = catalogue.rulebook_of(await uow.load_beside(LEAVE_ACCOUNT, employee_id, *catalogue.about_rules()))
    common: dict[str, Any] = {"employee_id": employee_id, "today": uow.today, "rulebook": rules}
    if not (await uow.load(LEAVE_ACCOUNT, employee_id)).version:
        employment = await people.employment_of(uow.connection, employee_id)
        if employment is not None:
            await _decide(uow, employee_id, NoteEmployment(**common, employment=employment))
    return common


async def note_joined(uow: UnitOfWork, employee_id: str, employed_from: date, location_id: str) -> None:
    """Open the account of somebody who is employed from a day on; what is known already beyond that stays."""
    current = (await uow.load(LEAVE_ACCOUNT, employee_id)).state.employment
    employment = replace(current or Employment(employed_from), employed_from=employed_from)
    await _note(uow, employee_id, employment.moved(employed_from, location_id))


async def note_left(uow: UnitOfWork, employee_id: str, last_day: date) -> None:
    """Follow the end of somebody's employment."""
    current = (await uow.load(LEAVE_ACCOUNT, employee_id)).state.employment
    if current is not None:
        await _note(uow, employee_id, replace(current, last_day=last_day))


async def note_moved(uow: UnitOfWork, employee_id: str, effective_from: date, location_id: str) -> None:
    """Follow somebody to another location."""
    current = (await uow.load(LEAVE_ACCOUNT, employee_id)).state.employment
    if current is not None:
        await _note(uow, employee_id, current.moved(effective_from, location_id))


async def _note(uow: UnitOfWork, employee_id: str, employment: Employment) -> None:
    rules = await catalogue.rulebook(uow.connection)
    command = NoteEmployment(employee_id=employee_id, today=uow.today, rulebook=rules, employment=employment)
    await _decide(uow, employee_id, command)


async def reserve(
    uow: UnitOfWork,
    *,
    employee_id: str,
    request_id: str,
    revision: int,
    leave_type: str,
    days: tuple[ChargedDay, ...],
    rests_on: tuple[RestsOn, ...],
    replaces_revision: int | None = None,
) -> None:
    """Set a revision's leave aside, or answer that the balance does not cover it."""
    command = Reserve(
        **await _common(uow, employee_id),
        request_id=request_id,
        revision=revision,
        leave_type=leave_type,
        days=days,
        rests_on=rests_on,
        replaces_revision=replaces_revision,
    )
    await _decide(uow, employee_id, command)


async def debit(
    uow: UnitOfWork,
    *,
    employee_id: str,
    request_id: str,
    revision: int,
    leave_type: str,
    days: tuple[ChargedDay, ...],
    replaces_revision: int | None,
) -> None:
    """Take the days of a confirmed revision, and give back those of the revision that it replaces."""
    command = Debit(
        **await _common(uow, employee_id),
        request_id=request_id,
        revision=revision,
        leave_type=leave_type,
        days=days,
        replaces_revision=replaces_revision,
    )
    await _decide(uow, employee_id, command)


async def recharge(
    uow: UnitOfWork,
    *,
    employee_id: str,
    request_id: str,
    revision: int,
    cause: Literal["holidays", "schedule", "location"],
    days: tuple[ChargedDay, ...],
    rests_on: tuple[RestsOn, ...],
) -> None:
    """Let a booked revision cost something else, or answer that it is no longer covered."""
    command = Recharge(
        **await _common(uow, employee_id),
        request_id=request_id,
        revision=revision,
        cause=cause,
        days=days,
        rests_on=rests_on,
    )
    await _decide(uow, employee_id, command)


async def release(uow: UnitOfWork, *, employee_id: str, request_id: str, revision: int) -> None:
    """Free what was set aside for a refused revision."""
    common = await _common(uow, employee_id)
    await _decide(uow, employee_id, Release(**common, request_id=request_id, revision=revision))


async def cancel(uow: UnitOfWork, *, employee_id: str, request_id: str) -> None:
    """Release and credit whatever a cancelled request holds."""
    await _decide(uow, employee_id, Cancel(**await _common(uow, employee_id), request_id=request_id))


@dataclass(frozen=True)
class Adjusted:
    """An adjustment as it was made; `version` is the account's."""

    adjustment_id: str
    employee_id: str
    leave_type: str
    minutes: int
    effective_date: date
    expires_on: date | None
    version: int


async def adjust(
    uow: UnitOfWork,
    *,
    employee_id: str,
    leave_type: str,
    minutes: int,
    effective_date: date | None,
    expires_on: date | None,
    reason: Sealed,
) -> Adjusted:
    """Change a balance by hand, from today where no date is given."""
    adjustment_id = new_id()
    day = effective_date or uow.today
    command = Adjust(
        **await _common(uow, employee_id),
        adjustment_id=adjustment_id,
        leave_type=leave_type,
        minutes=minutes,
        effective_date=day,
        expires_on=expires_on,
        reason=reason,
    )
    version = await _decide(uow, employee_id, command)
    return Adjusted(adjustment_id, employee_id, leave_type, minutes, day, expires_on, version)


# --- accruals ---------------------------------------------------------------------------------------------------------


class Quiet(NamedTuple):
    """Nothing falls due for a person before `until`, while what it rests on stands at these versions."""

    account: int
    rules: tuple[int, int]
    until: date


async def record_due(uow: UnitOfWork, through: date, employee_id: str, seen: tuple[int, tuple[int, int]]) -> Quiet:
    """Record everything due for one person through a date; return until when nothing more falls due.

    `seen` are the versions of account and rules that were read before.
    """
    common = {**await _common(uow, employee_id), "today": through}
    handled = await uow.handle(LEAVE_ACCOUNT, employee_id, RecordDue(**common), key=employee_id)
    rules: Rulebook = common["rulebook"]
    until = quiet_until(handled.state, limited_types(rules, handled.state), through, rules)
    return Quiet(handled.version if handled.events else seen[0], seen[1], until)


async def request_run(uow: UnitOfWork, through: date | None, *, anew: bool = False) -> store.AccrualRun:
    """Enter a run through a date (today) in the work list; the job `accruals` does the work.

    `anew`: a run under way begins again, because the rules have changed for those that it has done.
    """
    day = through or uow.today
    if day > uow.today:
        raise RunInTheFuture(
            f"Today is {uow.today}: what is due later cannot be recorded yet.",
            (FieldError("/through", "must not be in the future"),),
        )
    await store.start_run(uow.connection, day, await people.count(uow.connection), uow.now, anew=anew)
    run = await store.run_of(uow.connection, day)
    if run is None:
        raise LookupError("The run that was just entered is gone.")
    return run


async def run_accruals(runtime: Runtime) -> None:
    """Enter today's run once the business date has changed, and do what is left of all runs, one person at a time.

    Somebody for whom nothing can be due, as an earlier run of this process found, is passed over. A crash loses
    nothing: the run goes on behind the last batch, and what is recorded already is not recorded again. A person who
    comes meanwhile is not missed either, because opening an account records what is due.
    """
    quiet: dict[str, Quiet] = runtime.parts.setdefault("quiet accounts", {})
    today = runtime.clock.now().date()
    async with runtime.database.read() as connection:
        entered = await store.run_of(connection, today) is not None
    if not entered:
        await runtime.executor.run(lambda uow: request_run(uow, None))
    while True:
        async with runtime.database.read() as connection:
            run = await store.open_run(connection)
            if run is None:
                return
            batch = await people.after(connection, run.last_employee_id, _BATCH)
            rules = await catalogue.versions(connection)
            accounts = await store.newest_unbooked(connection, [LEAVE_ACCOUNT.stream(one) for one in batch])
        for employee_id in batch:
            seen = accounts.get(LEAVE_ACCOUNT.stream(employee_id), 0), rules
            known = quiet.get(employee_id)
            if known is None or known[:2] != seen or known.until <= run.through:
                record = partial(record_due, through=run.through, employee_id=employee_id, seen=seen)
                quiet[employee_id] = await runtime.executor.run(record)
        async with runtime.database.transaction() as connection:
            if batch:
                await store.advance_run(connection, run, batch[-1], len(batch))
            else:
                await store.finish_run(connection, run, runtime.clock.now())


# --- leave types and policies -----------------------------------------------------------------------------------------


async def define_leave_type(uow: UnitOfWork, leave_type: str, terms: LeaveTypeTerms) -> catalogue.LeaveTypeRow:
    """Define a leave type."""
    uow.concerns(EVERYBODY)
    handled = await uow.handle(LEAVE_TYPE, leave_type, DefineLeaveType(leave_type, terms), key=leave_type)
    return catalogue.LeaveTypeRow(leave_type, handled.version, terms)


async def change_leave_type(
    uow: UnitOfWork, leave_type: str, terms: LeaveTypeTerms, expected: int | None
) -> catalogue.LeaveTypeRow:
    """Change a leave type. Raises Stale when it is no longer the version that the caller saw."""
    found = await uow.load(LEAVE_TYPE, leave_type)
    _fresh(expected, found.version)
    uow.concerns(EVERYBODY)
    handled = await uow.handle(LEAVE_TYPE, leave_type, ChangeLeaveType(leave_type, terms), key=leave_type)
    return catalogue.LeaveTypeRow(leave_type, handled.version, terms)


async def publish_policy(
    uow: UnitOfWork, policy_id: str, terms: PolicyTerms, *, first: bool, expected: int | None = None
) -> PolicyPublished:
    """Publish a policy's first or next version, and have what it grants by today recorded for everybody.

    Raises Stale when the policy is no longer at the version that the caller saw, PolicyOverlaps when another policy
    rules the same leave type at one of the locations.
    """
    found = await uow.load(POLICY, policy_id)
    _fresh(expected, found.version)
    policies = await catalogue.all_policies(uow.connection)
    leave_type = await uow.load(LEAVE_TYPE, terms.leave_type)
    others = [one for one in policies if one.leave_type == terms.leave_type and one.policy_id != policy_id]
    command = PublishPolicy(
        policy_id=policy_id,
        first=first,
        terms=terms,
        today=uow.today,
        leave_type=leave_type.state.terms,
        covered=terms.locations is not None and any(one.locations is None for one in others),
    )
    uow.concerns(EVERYBODY)
    handled = await uow.handle(POLICY, policy_id, command, key=policy_id)
    for location in sorted(terms.locations or (store.EVERYWHERE,)):
        owner = await store.claim(uow.connection, terms.leave_type, location, policy_id)
        if owner != policy_id:
            raise PolicyOverlaps(
                f"The policy {owner!r} rules this leave type there already; publish its next version instead.",
                (FieldError("/locations", f"overlap with those of {owner!r}"),),
            )
    await request_run(uow, None, anew=True)
    return handled.events[-1]


def _fresh(expected: int | None, version: int) -> None:
    if expected is not None and expected != version:
        raise Stale("It was changed meanwhile; read it again and decide anew.")
