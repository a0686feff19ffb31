"""Hypothesis drives requests, balances and approvals through every disorder that Kafka allows.

The last tests prove that this finds something: each takes one protection away, and a script must show the damage.
"""

from collections.abc import Iterator
from random import Random
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis.strategies import SearchStrategy
from tests.simulation.invariants import check, dearer
from tests.simulation.scripts import (
    Player,
    Script,
    Step,
    changes_told_twice,
    leave_while_calendars_change,
    lives,
    newcomers_in_haste,
)
from tests.simulation.world import DAY, World

OVERDRAWING = frozenset({"adjust", "policy", "leaves"})
"""What may leave a balance overdrawn beyond its limit, as leave does that came to cost more: the limit is checked when
leave is asked for."""

usual = settings(max_examples=50, derandomize=True, suppress_health_check=list(HealthCheck))
thorough = settings(usual, max_examples=300, derandomize=False, print_blob=True)
searching = settings(usual, max_examples=1000, derandomize=False, phases=[Phase.generate], database=None)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A company of five people, at rest."""
    made = World()
    yield made
    made.close()


def holds(world: World, script: Script) -> None:
    """Play a script and check everything."""
    Player(world).play(script)
    kinds = {step[0] for step in script}
    check(world, limit=None if kinds & OVERDRAWING or dearer(world) else DAY)


def harms(world: World, script: Script) -> bool:
    """Say whether a script breaks something."""
    try:
        holds(world, script)
    except AssertionError:
        return True
    return False


@pytest.mark.timeout(600)
@usual
@given(lives)
def test_whatever_people_and_the_network_do_the_three_services_agree_in_the_end(world: World, script: Script) -> None:
    holds(world, script)


@pytest.mark.timeout(600)
@usual
@given(leave_while_calendars_change)
def test_leave_costs_what_calendars_and_schedules_say_whenever_they_change(world: World, script: Script) -> None:
    holds(world, script)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("half", ["one", "another"])  # side by side, a core each
@thorough
@given(lives)
def test_they_agree_over_hundreds_of_further_lives_others_in_every_run(world: World, half: str, script: Script) -> None:
    del half
    holds(world, script)


def _rests_on_nothing(*_: Any) -> list[Any]:
    """Answer that no fact is needed."""
    return []


async def _does_nothing(*_: Any, **__: Any) -> None:
    """Change nothing."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("place", "instead", "scripts"),
    [
        pytest.param(
            "lms.kernel.failpoints._off", frozenset({"consumer.version-check"}), changes_told_twice,
            id="the version rule",
        ),
        pytest.param(
            "lms.kernel.consumer.ConsumerRunner._wanted", _rests_on_nothing, newcomers_in_haste,
            id="the hold for prerequisites",
        ),
        pytest.param(
            "lms.requests.commands.recharge_leave", _does_nothing, leave_while_calendars_change,
            id="the corrections",
        ),
    ],
)  # fmt: skip
def test_without_a_protection_a_script_shows_the_damage(
    world: World, place: str, instead: Any, scripts: SearchStrategy[list[Step]]
) -> None:
    with mock.patch(place, instead):
        found = find(scripts, lambda script: harms(world, script), settings=searching, random=Random(2026))  # noqa: S311  # repeatable, no secret
    holds(world, found)
