"""What falls due by itself: grants, carry-overs, expiries, and corrections of those already recorded.

Each is wanted as the walk finds it today; what is recorded of it already is subtracted, and the difference recorded.
So a run that was missed or repeated changes nothing, a change in a closed year reaches the years after it, and a policy
that holds from today reaches whoever was granted something today already.
"""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta

from lms.balances.decider.engine import Lot, Walk, walk
from lms.balances.decider.rulebook import Rulebook
from lms.balances.decider.state import Account, Expired, Plan, lots_through, takings
from lms.balances.events import (
    AccountEvent,
    BalanceCarriedOver,
    BalanceExpired,
    BalanceGrantCorrected,
    BalanceGranted,
    LedgerEntry,
)


def due(state: Account, leave_type: str, employee_id: str, today: date, rulebook: Rulebook) -> Iterator[AccountEvent]:
    """Yield what is due and not yet recorded: grants, carry-overs, expiries, and corrections of recorded ones."""
    if not rulebook.limited(leave_type):
        return
    until = max(today, state.through or today)
    recorded = state.holding(leave_type)
    lots = lots_through(state, leave_type, rulebook, until)
    for lot in lots:
        before = recorded.lots.get(lot.lot_id)
        if before is not None:
            yield from grant_corrections(employee_id, leave_type, before, lot)
        elif lot.effective_date <= until:
            yield granted(employee_id, leave_type, lot)
    terms = rulebook.terms(leave_type, state.employment)
    found = walk(leave_type, lots, takings(state, leave_type), terms, until)
    yield from _carry_overs(employee_id, leave_type, state, found)
    yield from _expiries(employee_id, leave_type, state, found)


def quiet_until(state: Account, leave_types: Iterable[str], today: date, rulebook: Rulebook) -> date:
    """Return the first day on which anything can fall due of an account for which everything due today is recorded.

    Until then only a fact of employment, a change by hand or a change of the rules makes anything due: bookings record
    what they lead to along with themselves. No day lies beyond the turn of the year.
    """
    turn = date(today.year + 1, 1, 1)
    days = [turn]
    for leave_type in leave_types:
        if state.employment is not None:
            plan = Plan(leave_type, state.employment, rulebook, today.year, turn)
            days += [one.effective_date for one in plan.lots.values()]
        holding = state.holding(leave_type)
        lots = [*holding.lots.values(), *(one.lot for one in holding.carried.values())]
        days += [one.expires_on + timedelta(days=1) for one in lots if one.expires_on is not None]
    return min(day for day in days if day > today)


def grant_corrections(employee_id: str, leave_type: str, before: Lot, after: Lot) -> Iterator[BalanceGrantCorrected]:
    """Yield what a policy made of a granted lot since it was recorded: nothing where it is as large."""
    if after.minutes != before.minutes:
        yield BalanceGrantCorrected(
            employee_id=employee_id,
            leave_type=leave_type,
            lot_id=after.lot_id,
            minutes=after.minutes - before.minutes,
            effective_date=after.effective_date,
            policy_id=after.policy_id,
            policy_version=after.policy_version,
        )


def _carry_overs(employee_id: str, leave_type: str, state: Account, found: Walk) -> Iterator[AccountEvent]:
    recorded = state.holding(leave_type).carried
    wanted = {str(year): carry for year, carry in found.carries.items()}
    for year in sorted({*recorded, *wanted}):
        before = recorded.get(year)
        after = wanted.get(year)
        old = before.sources if before else {}
        new = dict(after.sources) if after else {}
        lot = after.lot if after else before.lot if before else None
        changes = {
            lot_id: new.get(lot_id, 0) - old.get(lot_id, 0)
            for lot_id in sorted({*old, *new})
            if new.get(lot_id, 0) != old.get(lot_id, 0)
        }
        if lot is None or not changes:
            continue
        minutes = sum(changes.values())
        into = (LedgerEntry(lot_id=lot.lot_id, date=lot.effective_date, minutes=minutes),) if minutes else ()
        yield BalanceCarriedOver(
            employee_id=employee_id,
            leave_type=leave_type,
            lot_id=lot.lot_id,
            minutes=minutes,
            from_period=year,
            effective_date=lot.effective_date,
            expires_on=lot.expires_on,
            policy_id=lot.policy_id or "",
            policy_version=lot.policy_version or 0,
            entries=(
                *(
                    LedgerEntry(lot_id=lot_id, date=lot.effective_date, minutes=-change)
                    for lot_id, change in changes.items()
                ),
                *into,
            ),
            correction=before is not None or _settled(state, lot.effective_date),
        )


def _expiries(employee_id: str, leave_type: str, state: Account, found: Walk) -> Iterator[AccountEvent]:
    recorded = state.holding(leave_type).expired
    wanted = {f"{one.lot_id}|{one.cause}": Expired(one.date, one.minutes) for one in found.expiries}
    for key in sorted({*recorded, *wanted}):
        before = recorded.get(key)
        after = wanted.get(key)
        difference = (after.minutes if after else 0) - (before.minutes if before else 0)
        if not difference:
            continue
        lot_id, _, cause = key.rpartition("|")
        day = after.date if after else before.date if before else date.min
        yield BalanceExpired.model_validate(
            {
                "employee_id": employee_id,
                "leave_type": leave_type,
                "lot_id": lot_id,
                "minutes": difference,
                "date": day,
                "cause": cause,
                "correction": before is not None or _settled(state, day),
            }
        )


def _settled(state: Account, day: date) -> bool:
    return state.through is not None and day <= state.through


def granted(employee_id: str, leave_type: str, lot: Lot) -> BalanceGranted:
    """Return the fact that a lot of the plan was granted."""
    return BalanceGranted(
        employee_id=employee_id,
        leave_type=leave_type,
        lot_id=lot.lot_id,
        kind="grant" if lot.kind == "grant" else "accrual",
        minutes=lot.minutes,
        effective_date=lot.effective_date,
        expires_on=lot.expires_on,
        period=lot.period,
        policy_id=lot.policy_id or "",
        policy_version=lot.policy_version or 0,
    )
