"""What a leave would leave: the reservation decided as it would be, with nothing recorded."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date

from lms.balances.decider.account import Reserve, beyond, decide
from lms.balances.decider.standing import standing
from lms.balances.decider.state import Account, charged, evolve
from lms.balances.events import BalanceInsufficient


@dataclass(frozen=True)
class YearAfter:
    """One entitlement year as of the leave's last day in it, in minutes.

    `available` is what can be taken on that day without the leave, `remaining` with it; below 0, an overdraft.
    """

    year: int
    as_of: date
    available: int
    remaining: int


@dataclass(frozen=True)
class Preview:
    """Whether the balance covers a leave, why not, and what each year is left with."""

    sufficient: bool
    cause: str | None
    years: tuple[YearAfter, ...]


def preview(command: Reserve, state: Account) -> Preview:
    """Return what would follow if the leave were reserved as the next revision of its request."""
    earlier = state.requests.get(command.request_id, ())
    command = replace(command, revision=max((one.revision for one in earlier), default=0) + 1)
    events = decide(command, state)
    refused = next((one for one in events if isinstance(one, BalanceInsufficient)), None)
    years: tuple[YearAfter, ...] = ()
    if command.rulebook.limited(command.leave_type):
        after = state
        for event in events:
            after = evolve(after, event)
        years = tuple(_years(command, state, after, refused=refused is not None))
    return Preview(refused is None, refused.cause if refused else None, years)


def _years(command: Reserve, state: Account, after: Account, *, refused: bool) -> list[YearAfter]:
    lasts: dict[int, date] = {}
    for day in command.days:
        lasts[day.date.year] = max(day.date, lasts.get(day.date.year, day.date))
    booked = state.standing(command.request_id) or state.open(command.request_id)
    needed: Counter[int] = Counter()
    for taken_on, minutes in beyond(booked.days if booked else (), charged(command.days)):
        needed[taken_on.year] += minutes
    found = []
    for year, last in sorted(lasts.items()):
        available = standing(state, command.leave_type, command.rulebook, last).available
        remaining = (
            available - needed[year]
            if refused
            else standing(after, command.leave_type, command.rulebook, last).available
        )
        found.append(YearAfter(year, last, available, remaining))
    return found
