"""What nobody waits for is gathered, and noted together a moment later; whatever is awaited is not kept waiting."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from aiokafka import TopicPartition
from tests.simulation.memory import finish
from tests.simulation.world import ANN, ANNUAL, BOB, FULL_TIME, Channel, World

from lms.directory import events as told
from lms.kernel.consumer import LINGER_SECONDS, ConsumerRunner
from lms.requests.events import TOPIC

CASES = Channel("approvals", "cases", TOPIC)
"""It does not read that leave was asked for; it reads that approval was."""
_NO_CLIENT: Any = None


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def _asked(world: World, *people: str) -> dict[TopicPartition, list[Any]]:
    """Let people ask for leave, and return the facts as Kafka would give them."""
    for person in people:
        world.request(person, ANNUAL, date(2026, 6, 1), days=1)
    world.relay(world.requests)
    return {
        TopicPartition(TOPIC, world.topics.numbers[person]): list(world.topics.messages[TOPIC, person])
        for person in people
    }


def _see(world: World, runner: ConsumerRunner, fetched: dict[TopicPartition, list[Any]]) -> None:
    for partition in fetched:
        world._position(runner, partition)
    world._loop.run_until_complete(runner._work(_NO_CLIENT, fetched))


def _stands(runner: ConsumerRunner, fetched: dict[TopicPartition, list[Any]]) -> list[int]:
    return [finish(runner._stored_offsets([partition]))[partition] for partition in fetched]


def test_events_that_a_consumer_does_not_read_are_noted_together_a_moment_later(world: World) -> None:
    runner = world.runner_of(CASES)
    fetched = _asked(world, ANN, BOB)
    _see(world, runner, fetched)
    assert _stands(runner, fetched) == [0, 0], "not yet"
    runner._gathered_since -= LINGER_SECONDS
    _see(world, runner, {})
    assert _stands(runner, fetched) == [1, 1]


def test_an_event_that_is_read_waits_for_nothing(world: World) -> None:
    runner = world.runner_of(CASES)
    fetched = _asked(world, ANN, BOB)
    _see(world, runner, fetched)
    runner._gathered_since += 3600  # nothing is due by the clock
    world.deliver(Channel("balances", "life-of-request", TOPIC), ANN)
    world.relay(world.balances)
    world.deliver(Channel("requests", "process", "leave.balances.v1"), ANN)
    world.relay(world.requests)
    (of_ann, _) = fetched
    _see(world, runner, {of_ann: list(world.topics.messages[TOPIC, ANN])[1:]})
    assert _stands(runner, fetched) == [2, 0], "what stood before it in its partition is noted with it"


@pytest.mark.parametrize("waits", [False, True])
def test_a_projector_gathers_nothing_that_a_reactor_waits_for(
    world: World, monkeypatch: pytest.MonkeyPatch, *, waits: bool
) -> None:
    facts = world.runner_of(Channel("approvals", "facts", told.TOPIC))
    partition = TopicPartition(told.TOPIC, world.topics.numbers[ANN])
    before = world._position(facts, partition)
    world.works(ANN, FULL_TIME, date(2026, 6, 1))  # the projector does not read schedules
    world.relay(world.directory)
    if waits:
        rerouting = world.runner_of(Channel("approvals", "rerouting", told.TOPIC))
        monkeypatch.setitem(rerouting._models, told.EmployeeScheduleAssigned.TYPE, told.EmployeeScheduleAssigned)
        monkeypatch.delitem(vars(facts), "_awaited", raising=False)  # found once, when the first message came
    fetched = {partition: list(world.topics.messages[told.TOPIC, ANN])[before:]}
    _see(world, facts, fetched)
    assert _stands(facts, fetched) == [before + waits]
