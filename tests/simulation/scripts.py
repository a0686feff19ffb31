"""Scripts: what people do and what the network does to it, drawn by Hypothesis and played in a World."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from hypothesis import strategies as some
from tests.simulation.world import (
    ANN,
    ANNUAL,
    BOB,
    BOSS,
    BRANCH,
    DAY,
    FULL_TIME,
    HOLIDAYS,
    HR,
    LEAD,
    NEWCOMERS,
    OFFICE,
    OTHER_HOLIDAYS,
    PART_TIME,
    PEER,
    SICK,
    World,
    attempt,
    counted_ids,
)

Step = tuple[Any, ...]
Script = Sequence[Step]

_numbers = some.integers(0, 5)
_offsets = some.integers(-6, 60)
_lengths = some.integers(1, 8)
_askers = some.sampled_from([ANN, BOB, *NEWCOMERS])
_deciders = some.sampled_from([LEAD, LEAD, BOSS, PEER, HR, ANN])

_request = some.tuples(
    some.just("request"), _askers, some.sampled_from([ANNUAL, ANNUAL, SICK]), _offsets, _lengths,
    some.sampled_from(["full", "afternoon"]),
)  # fmt: skip
_amend = some.tuples(some.just("amend"), _numbers, _offsets, _lengths)
_cancel = some.tuples(some.just("cancel"), _numbers)
_cancel_day = some.tuples(some.just("cancel-day"), _numbers, _numbers)
_decide = some.tuples(some.just("decide"), _numbers, _numbers, _deciders, some.sampled_from([True, True, False]))

_delegate = some.tuples(some.just("delegate"), some.sampled_from([LEAD, BOSS]), some.just(PEER), _lengths)
_revoke = some.tuples(some.just("revoke"), _numbers)
_reports_to = some.tuples(
    some.just("reports-to"), some.sampled_from([ANN, BOB, LEAD]), some.sampled_from([PEER, LEAD, BOSS]), _offsets
)
_leaves = some.tuples(some.just("leaves"), some.sampled_from([LEAD, PEER, BOB]), _offsets)
_works = some.tuples(
    some.just("works"), some.sampled_from([ANN, BOB]), some.sampled_from([FULL_TIME, PART_TIME]), _offsets
)
_moves = some.tuples(some.just("moves"), some.sampled_from([ANN, BOB]), some.sampled_from([OFFICE, BRANCH]), _offsets)
_calendars = some.sampled_from([HOLIDAYS, HOLIDAYS, OTHER_HOLIDAYS])
_keeps = some.tuples(some.just("keeps"), some.sampled_from([OFFICE, BRANCH]), _calendars)
_holiday = some.tuples(some.just("holiday"), _calendars, _offsets, some.sampled_from(["full", "morning", "afternoon"]))
_no_holiday = some.tuples(some.just("no-holiday"), _calendars, _offsets)
_join = some.tuples(some.just("join"), some.sampled_from(NEWCOMERS))
_policy = some.tuples(some.just("policy"), some.integers(0, 12), some.sampled_from([("manager",), ("manager", "hr")]))
_adjust = some.tuples(some.just("adjust"), _askers, some.sampled_from([-3 * DAY, -240, 240, DAY]))
_clock = some.tuples(some.just("clock"), some.sampled_from([1, 7, 30, 120]))
_jobs = some.tuples(some.just("jobs"))
_close = some.tuples(some.just("close"), some.integers(1, 3))

_slow = some.tuples(some.just("slow"), some.frozensets(some.integers(0, 20), max_size=6))
_deliver = some.tuples(some.just("deliver"), some.integers(0, 20), _numbers, some.integers(1, 3))
_relay_twice = some.tuples(some.just("relay-twice"), some.integers(0, 3))
_repeat = some.tuples(some.just("repeat"), some.integers(0, 40), some.integers(1, 12))
_flow = some.tuples(some.just("flow"))


def made_of(*weighted: tuple[int, some.SearchStrategy[Step]], longest: int) -> some.SearchStrategy[list[Step]]:
    """Return scripts in which each kind of step comes as often as its weight says; a step shrinks to nothing."""
    kinds = [some.just(("nothing",)), *(kind for weight, kind in weighted for _ in range(weight))]
    step = some.integers(0, len(kinds) - 1).flatmap(kinds.__getitem__)
    return some.lists(step, min_size=longest // 2, max_size=longest)


lives = made_of(
    (4, _request),
    (2, _amend),
    (1, _cancel),
    (1, _cancel_day),
    (5, _decide),
    (2, some.one_of(_delegate, _revoke, _reports_to, _leaves, _works, _join, _policy, _adjust, _clock, _jobs, _close)),
    (2, some.one_of(_holiday, _holiday, _no_holiday, _works, _moves, _keeps)),
    (4, some.one_of(_slow, _deliver, _relay_twice, _repeat, _flow)),
    longest=40,
)
"""Everything, in the proportions of a busy day."""

changes_told_twice = made_of((2, _reports_to), (2, _leaves), (2, _repeat), (1, _works), longest=16)
"""What a consumer must not believe a second time."""

leave_while_calendars_change = made_of(
    (4, _request),
    (1, _amend),
    (1, _cancel_day),
    (3, _decide),
    (4, some.one_of(_holiday, _no_holiday, _works, _moves, _keeps)),
    (1, some.one_of(_clock, _jobs, _close, _cancel)),
    (2, some.one_of(_slow, _deliver, _repeat, _flow)),
    longest=30,
)
"""Holidays come and go, schedules and locations change, under leave that is asked for, stands or is over."""

newcomers_in_haste = made_of(
    (2, _join),
    (3, some.tuples(some.just("request"), some.sampled_from(NEWCOMERS), some.just(ANNUAL), some.integers(1, 30),
                    some.integers(1, 3), some.just("full"))),
    (2, some.tuples(some.just("slow"), some.frozensets(some.integers(0, 20), min_size=1, max_size=2))),
    longest=12,
)  # fmt: skip
"""People who ask for leave before everybody has heard of them."""


class Player:
    """Plays a script. `slow` channels get nothing but what the script delivers, until it says otherwise."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.slow: frozenset[Any] = frozenset()

    def play(self, script: Script) -> None:
        """Play a script from the world's beginning, and let all come to rest."""
        self.world.begin_again()
        with counted_ids():
            for step in script:
                self.step(step)
                if step[0] != "slow":
                    self.world.flow(self.slow)
            self.world.settle()

    def step(self, step: Step) -> None:
        """Play one step; what it names is taken modulo what there is, and nothing happens where there is nothing."""
        world = self.world
        match step:
            case ("slow", numbers):
                self.slow = frozenset(world.channels[one % len(world.channels)] for one in numbers)
            case ("deliver", channel, key, at_most):
                found = world.channels[channel % len(world.channels)]
                waiting = [one for one, _ in world.waiting(found)]
                if waiting:
                    world.deliver(found, waiting[key % len(waiting)], at_most)
            case ("relay-twice", process):
                world.relay(world.processes[process], 2)
            case ("repeat", partition, until):
                partitions = sorted(world.topics.messages)
                topic, key = partitions[partition % len(partitions)]
                world.topics.repeat(topic, key, until)
            case ("flow",):
                self.slow = frozenset()
            case ("nothing",):
                pass
            case _:
                self._somebody_acts(step)

    def _somebody_acts(self, step: Step) -> None:  # noqa: C901, PLR0912  # one arm for each kind of step
        world = self.world
        today = world.clock.today()
        match step:
            case ("request", person, leave_type, offset, days, part):
                attempt(partial(world.request, person, leave_type, today + timedelta(days=offset), days, part))
            case ("delegate", delegator, delegate, days):
                world.delegate(delegator, delegate, days)
            case ("revoke", number) if world.delegations:
                world.revoke(number % len(world.delegations))
            case ("reports-to", person, manager, offset) if person != manager:
                world.reports_to(person, manager, today + timedelta(days=offset))
            case ("leaves", person, offset):
                world.leaves(person, today + timedelta(days=offset))
            case ("works", person, schedule, offset):
                world.works(person, schedule, today + timedelta(days=offset))
            case ("moves", person, location, offset):
                world.moves(person, location, today + timedelta(days=offset))
            case ("keeps", location, calendar):
                world.keeps(location, calendar)
            case ("holiday", calendar, offset, part):
                world.add_holiday(calendar, today + timedelta(days=offset), part)
            case ("no-holiday", calendar, offset):
                world.remove_holiday(calendar, today + timedelta(days=offset))
            case ("join", person) if person not in world.employed:
                world.join(person, LEAD)
            case ("policy", days, steps):
                attempt(partial(world.publish_policy, days=days, steps=steps))
            case ("adjust", person, minutes):
                attempt(partial(world.adjust, person, minutes))
            case ("clock", days):
                world.clock.pass_by(days)
            case ("jobs",):
                world.jobs()
            case ("close", months):
                attempt(partial(world.close_months, months))
            case _ if world.asked:
                self._about_a_request(step)

    def _about_a_request(self, step: Step) -> None:
        world = self.world
        number = step[1] % len(world.asked) if isinstance(step[1], int) else 0
        match step:
            case ("amend", _, offset, days):
                start = world.clock.today() + timedelta(days=offset)
                attempt(partial(world.amend, number, start, days))
            case ("cancel", _):
                attempt(partial(world.cancel, number))
            case ("cancel-day", _, day):
                days_of = world.days_of(number)
                if days_of:
                    attempt(partial(world.cancel, number, [days_of[day % len(days_of)]]))
            case ("decide", _, revision, caller, approve):
                newest = world.revisions_of(number)
                attempt(partial(world.decide, number, max(1, newest - max(0, revision - 3)), caller, approve=approve))
