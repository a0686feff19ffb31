"""What holds for every account, whatever happens to it."""

from datetime import date, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import TypeAdapter

from lms.balances.decider.account import (
    LEAVE_ACCOUNT,
    AccountCommand,
    Adjust,
    Cancel,
    Debit,
    NoteEmployment,
    Overdrawn,
    Recharge,
    RecordDue,
    Release,
    Reserve,
    limited_types,
)
from lms.balances.decider.due import quiet_until
from lms.balances.decider.engine import Lot, walk
from lms.balances.decider.rulebook import Employment, Rulebook
from lms.balances.decider.standing import standing
from lms.balances.decider.state import Account, lots_through, takings
from lms.balances.events import (
    AccountEvent,
    BalanceReserved,
    ChargedDay,
    LeaveTypeTerms,
    PolicyPublished,
)
from lms.balances.projections.ledger import lines

START = date(2025, 1, 1)
END = date(2027, 12, 31)
HORIZON = END + timedelta(days=60)
LIMIT = 2 * 480
TYPES = {
    "annual": LeaveTypeTerms(
        name="Annual", unit="half-day", paid=True, pay_code="A", colour="#000000", needs_approval=True, limited=True
    )
}
dates = some.integers(0, (END - START).days).map(lambda number: START + timedelta(days=number))
requests = some.sampled_from(["a", "b", "c", "d"])
policies = some.builds(
    PolicyPublished,
    policy_id=some.just("annual"),
    version=some.just(1),
    leave_type=some.just("annual"),
    effective_from=some.just(START),
    entitlement_minutes=some.sampled_from([0, 5 * 480, 12_000, 9_999]),
    accrual=some.sampled_from(["up-front", "monthly"]),
    cap_minutes=some.sampled_from([None, 6 * 480]),
    carry_over_limit_minutes=some.sampled_from([None, 0, 960]),
    carry_over_expires=some.sampled_from([None, "03-31"]),
    negative_limit_minutes=some.sampled_from([0, LIMIT]),
)


@some.composite
def leaves(draw: Any) -> tuple[ChargedDay, ...]:
    first = draw(dates)
    minutes = draw(some.sampled_from([240, 480]))
    return tuple(
        ChargedDay(date=first + timedelta(days=number), entitlement_minutes=minutes, scheduled_minutes=minutes)
        for number in range(draw(some.integers(1, 8)))
    )


OVERDRAWING = {"cancel", "refuse", "adjust", "employ", "move", "publish", "recharge"}
"""What may leave an account overdrawn beyond the limit: the limit is checked when leave is asked for."""
steps = some.one_of(
    some.tuples(some.just("run"), dates),
    some.tuples(some.just("reserve"), requests, leaves()),
    some.tuples(some.just("confirm"), requests),
    some.tuples(some.just("recharge"), requests, some.lists(some.sampled_from([0, 240, 480]), min_size=8, max_size=8)),
    some.tuples(some.just("refuse"), requests),
    some.tuples(some.just("cancel"), requests),
    some.tuples(some.just("employ"), dates, some.one_of(some.none(), dates)),
    some.tuples(some.just("adjust"), dates, some.integers(-1500, 1500).filter(bool)),
    some.tuples(some.just("move"), dates, some.sampled_from(["paris", "rome"])),
    some.tuples(
        some.just("publish"),
        some.sampled_from([0, 5 * 480, 12_000, 9_999]),
        some.sampled_from(["up-front", "monthly"]),
        some.sampled_from([None, ("paris",), ("rome",)]),
    ),
)


class Life:
    """An account that plays the steps as the leave book would: a confirmation follows a reservation."""

    def __init__(self, policy: PolicyPublished) -> None:
        self.rulebook = Rulebook(TYPES, (policy,))
        self.today = START
        self.events: list[AccountEvent] = []
        self.state = LEAVE_ACCOUNT.initial
        self.commands: list[AccountCommand] = []
        self.revisions: dict[str, int] = {}
        self.do(NoteEmployment(**self.common, employment=Employment(START)))

    @property
    def common(self) -> dict[str, Any]:
        return {"employee_id": "ada", "today": self.today, "rulebook": self.rulebook}

    def do(self, command: AccountCommand) -> None:
        try:
            decided = LEAVE_ACCOUNT.decide(command, self.state)
        except Overdrawn:
            return
        self.commands.append(command)
        self.events += decided
        self.state = LEAVE_ACCOUNT.fold(decided, self.state)

    def play(self, step: tuple[Any, ...]) -> None:  # noqa: C901, PLR0912  # one arm for each step
        match step:
            case ("run", day):
                self.today = max(self.today, day)
                self.do(RecordDue(**self.common))
            case ("reserve", request, days):
                revision = self.revisions.get(request, 0) + 1
                self.revisions[request] = revision
                standing_ = self.state.standing(request)
                self.do(
                    Reserve(
                        **self.common, request_id=request, revision=revision, leave_type="annual", days=days,
                        replaces_revision=standing_.revision if standing_ else None,
                    )
                )  # fmt: skip
            case ("confirm", request):
                open_ = self.state.open(request)
                if open_:
                    days = tuple(
                        ChargedDay(date=day, entitlement_minutes=minutes, scheduled_minutes=minutes)
                        for day, minutes in open_.days
                    )
                    self.do(
                        Debit(
                            **self.common, request_id=request, revision=open_.revision, leave_type="annual", days=days
                        )
                    )
            case ("recharge", request, minutes):
                for booking in (self.state.standing(request), self.state.open(request)):
                    if booking:
                        days = tuple(
                            ChargedDay(date=day, entitlement_minutes=one, scheduled_minutes=one)
                            for (day, _), one in zip(booking.days, minutes, strict=False)
                            if one
                        )
                        self.do(
                            Recharge(
                                **self.common,
                                request_id=request,
                                revision=booking.revision,
                                cause="holidays",
                                days=days,
                            )
                        )
            case ("refuse", request):
                self.do(Release(**self.common, request_id=request, revision=self.revisions.get(request, 1)))
            case ("cancel", request):
                self.do(Cancel(**self.common, request_id=request))
            case ("employ", first_day, last_day):
                self.do(NoteEmployment(**self.common, employment=Employment(first_day, last_day)))
            case ("adjust", day, minutes):
                self.do(
                    Adjust(
                        **self.common, adjustment_id=str(len(self.commands)), leave_type="annual", minutes=minutes,
                        effective_date=day, expires_on=None, reason=None,
                    )
                )  # fmt: skip
            case ("move", day, location):
                assert self.state.employment is not None
                self.do(NoteEmployment(**self.common, employment=self.state.employment.moved(day, location)))
            case ("publish", minutes, accrual, locations) if self.today > self.rulebook.policies[-1].effective_from:
                self.publish(
                    effective_from=self.today, entitlement_minutes=minutes, accrual=accrual, locations=locations
                )

    def publish(self, **terms: Any) -> None:
        """Publish the next version, and have what it grants by today recorded, as the service does."""
        newest = self.rulebook.policies[-1]
        version = newest.model_copy(update={"version": newest.version + 1, **terms})
        self.rulebook = Rulebook(TYPES, (*self.rulebook.policies, version))
        self.do(RecordDue(**self.common))


lives = some.builds(lambda policy, played: (policy, played), policies, some.lists(steps, max_size=14))


def live(life: tuple[PolicyPublished, list[tuple[Any, ...]]]) -> Life:
    one = Life(life[0])
    for step in life[1]:
        one.play(step)
    return one


@settings(max_examples=150)
@given(lives)
def test_the_balance_is_the_sum_of_the_entries_up_to_the_date(life: Any) -> None:
    ada = live(life)
    day = max(ada.today, ada.state.through or ada.today)
    entries = [entry for event in ada.events for _, entry in lines(event)]
    for on in (day, date(day.year, 1, 1), day - timedelta(days=40)):
        assert standing(ada.state, "annual", ada.rulebook, on).balance == sum(
            entry.minutes for entry in entries if entry.date <= on
        )


@settings(max_examples=150)
@given(lives)
def test_no_lot_is_overspent_and_the_limit_is_never_passed(life: Any) -> None:
    ada = live(life)
    taken = takings(ada.state, "annual")
    terms = ada.rulebook.terms("annual", ada.state.employment)
    lots = lots_through(ada.state, "annual", ada.rulebook, HORIZON)
    found = walk("annual", lots, taken, terms, HORIZON)
    assert all(minutes > 0 for minutes in found.remaining.values())
    gone: dict[str, int] = {}
    spent = [(one.lot_id, one.minutes) for uses in found.uses.values() for one in uses]
    spent += [(one.lot_id, one.minutes) for one in found.repayments]
    spent += [(one.lot_id, one.minutes) for one in found.expiries]
    for spent_lot, minutes in spent:
        if spent_lot is not None:
            gone[spent_lot] = gone.get(spent_lot, 0) + minutes
    for carry in found.carries.values():
        for lot_id, minutes in carry.sources:
            gone[lot_id] = gone.get(lot_id, 0) + minutes
    for lot_id, lot in found.lots.items():
        assert gone.get(lot_id, 0) + found.remaining.get(lot_id, 0) == lot.minutes


@settings(max_examples=150)
@given(lives)
def test_no_lot_outlives_its_year_whatever_applies_on_its_last_day(life: Any) -> None:
    ada = live(life)
    ada.today = HORIZON
    ada.do(RecordDue(**ada.common))
    assert {lot.effective_date.year for lot, _ in standing(ada.state, "annual", ada.rulebook, HORIZON).lots} <= {
        HORIZON.year
    }


@settings(max_examples=150)
@given(lives.filter(lambda life: all(step[0] not in OVERDRAWING for step in life[1])))
def test_what_was_accepted_never_passes_the_negative_limit(life: Any) -> None:
    ada = live(life)
    terms = ada.rulebook.terms("annual", ada.state.employment)
    lots = lots_through(ada.state, "annual", ada.rulebook, HORIZON)
    found = walk("annual", lots, takings(ada.state, "annual"), terms, HORIZON)
    assert all(debt <= terms.negative_limit(day) for day, debt in found.debts)


@settings(max_examples=100)
@given(lives, some.integers(0, 40))
def test_a_replay_in_any_chunking_gives_the_same_state(life: Any, cut: int) -> None:
    ada = live(life)
    adapter = TypeAdapter(Account)
    first = LEAVE_ACCOUNT.fold(ada.events[:cut])
    restored = adapter.validate_json(adapter.dump_json(first))
    assert LEAVE_ACCOUNT.fold(ada.events[cut:], restored) == ada.state == LEAVE_ACCOUNT.fold(ada.events)


@settings(max_examples=300)
@given(
    lives,
    some.lists(
        steps.filter(lambda step: step[0] in {"reserve", "confirm", "recharge", "refuse", "cancel"}), max_size=4
    ),
)
def test_nothing_falls_due_while_an_account_is_quiet_whatever_is_booked_meanwhile(life: Any, booked: Any) -> None:
    ada = live(life)
    ada.do(RecordDue(**ada.common))
    until = quiet_until(ada.state, limited_types(ada.rulebook, ada.state), ada.today, ada.rulebook)
    assert ada.today < until <= date(ada.today.year + 1, 1, 1)
    last = until - timedelta(days=1)
    for day in (ada.today + (last - ada.today) / 2, last):
        ada.today = day
        for step in booked:
            ada.play(step)
        assert LEAVE_ACCOUNT.decide(RecordDue(**ada.common), ada.state) == []


@settings(max_examples=300)
@given(lives)
def test_the_newest_year_is_granted_as_to_somebody_whose_account_is_opened_now(life: Any) -> None:
    ada = live(life)
    ada.today = date(max(ada.today, ada.state.through or ada.today).year, 12, 31)
    ada.do(RecordDue(**ada.common))
    assert ada.state.employment is not None
    opened = LEAVE_ACCOUNT.decide(NoteEmployment(**ada.common, employment=ada.state.employment), LEAVE_ACCOUNT.initial)
    newest = max((one.effective_date.year for one in _granted(ada.state)), default=START.year)
    assert _minutes_from(newest, ada.state) == _minutes_from(newest, LEAVE_ACCOUNT.fold(opened))


def _granted(state: Account) -> list[Lot]:
    return [one for one in state.holding("annual").lots.values() if one.capped]


def _minutes_from(year: int, state: Account) -> dict[str, int]:
    return {one.lot_id: one.minutes for one in _granted(state) if one.minutes and one.effective_date.year >= year}


@settings(max_examples=200)
@given(
    lives.filter(lambda life: all(step[0] not in {"employ", "move"} for step in life[1])),
    some.sampled_from(["up-front", "monthly"]),
)
def test_a_version_that_holds_from_today_changes_nothing_that_was_granted_before(life: Any, accrual: str) -> None:
    ada = live(life)
    ada.today += timedelta(days=1)
    ada.do(RecordDue(**ada.common))
    earlier = [one for one in _granted(ada.state) if one.effective_date < ada.today]
    ada.publish(effective_from=ada.today, entitlement_minutes=4_321, accrual=accrual)
    assert [ada.state.holding("annual").lots[one.lot_id] for one in earlier] == earlier


@settings(max_examples=100)
@given(lives)
def test_every_command_repeated_leads_to_nothing_more(life: Any) -> None:
    ada = live(life)
    for command in ada.commands[-3:]:
        if command is ada.commands[-1]:
            assert LEAVE_ACCOUNT.decide(command, ada.state) == []


@settings(max_examples=400)
@given(lives, dates)
def test_what_is_available_can_be_booked_and_a_minute_more_cannot(life: Any, day: date) -> None:
    ada = live((life[0].model_copy(update={"negative_limit_minutes": 0}), life[1]))
    if any(ada.state.open(one) and ada.state.standing(one) for one in ada.state.requests):
        return  # an open amendment also counts as confirmed, which the figure does not show
    available = standing(ada.state, "annual", ada.rulebook, day).available
    if available < 0:
        return

    def reserved(minutes: int) -> bool:
        days = (ChargedDay(date=day, entitlement_minutes=minutes, scheduled_minutes=minutes),)
        decided = LEAVE_ACCOUNT.decide(
            Reserve(**ada.common, request_id="probe", revision=1, leave_type="annual", days=days), ada.state
        )
        return isinstance(decided[0], BalanceReserved)

    assert not available or reserved(available)
    assert not reserved(available + 1)


@settings(max_examples=100)
@given(lives, dates)
def test_the_figures_of_a_year_sum_to_the_balance(life: Any, day: date) -> None:
    ada = live(life)
    one = standing(ada.state, "annual", ada.rulebook, day)
    assert one.balance == (one.carried + one.granted + one.adjusted - one.expired - one.taken - one.pending_until_then)
