"""The subscriber's loop, on a topic on paper: with `--once` it ends when everything has been read, and not before."""

import asyncio
import csv
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from lms_on_paper import Lms

from payroll_subscriber import subscriber
from payroll_subscriber.store import Message, Store


class Place(NamedTuple):
    """A partition, as a client of Kafka names it."""

    topic: str
    partition: int


class Client:
    """What is used of aiokafka's consumer, over the topic of `lms`."""

    lms: Lms

    def __init__(self, topic: str, **_: Any) -> None:
        self._positions = {Place(topic, number): 0 for number in range(self.lms.partitions)}

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Leave."""

    def assignment(self) -> frozenset[Place]:
        return frozenset(self._positions)

    def seek(self, place: Place, offset: int) -> None:
        self._positions[place] = offset

    async def position(self, place: Place) -> int:
        return self._positions[place]

    async def end_offsets(self, places: Collection[Place]) -> dict[Place, int]:
        return {one: len(self.lms.topic[one.partition]) for one in places}

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[Place, list[Message]]:
        assert timeout_ms > 0
        found: dict[Place, list[Message]] = {}
        for place, position in self._positions.items():
            on_topic = self.lms.topic[place.partition]
            start = position if position <= len(on_topic) else 0  # out of range: auto_offset_reset="earliest"
            found[place] = on_topic[start : start + max_records]
            self._positions[place] = start + len(found[place])
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "subscriber.sqlite")
    yield made
    made.close()


@pytest.fixture
def lms(monkeypatch: pytest.MonkeyPatch) -> Lms:
    made = Lms()
    monkeypatch.setattr(Client, "lms", made, raising=False)
    monkeypatch.setattr(subscriber, "AIOKafkaConsumer", Client)
    return made


def once(store: Store, folder: Path) -> None:
    run = subscriber.run(store, folder, bootstrap_servers="", topic="payroll", once=True, stop=asyncio.Event())
    asyncio.run(asyncio.wait_for(run, 10))


def minutes(folder: Path, period: str) -> int:
    with (folder / f"absences-{period}.csv").open(encoding="utf-8", newline="") as file:
        return sum(int(line["entitlement_minutes"]) for line in csv.DictReader(file))


def test_it_ends_when_what_was_there_has_been_read(lms: Lms, store: Store, tmp_path: Path) -> None:
    lms.book(0, (0, 480))
    lms.close()
    once(store, tmp_path)
    lms.book(1, (1, 240))
    lms.close()
    once(store, tmp_path)
    assert (minutes(tmp_path, "2026-01"), minutes(tmp_path, "2026-02")) == (480, 240)


@pytest.mark.parametrize("repeated", [0, 1, 2, 9], ids=lambda count: f"{count} repeated")
def test_after_a_restore_the_topic_that_was_made_anew_is_read_however_much_shorter_it_is(
    lms: Lms, store: Store, tmp_path: Path, repeated: int
) -> None:
    lms.close()
    for partition in range(lms.partitions):
        lms.book(partition, (1, 480))
        for _ in range(repeated):
            lms.repeat(partition, 1)  # on the wire twice, and in the log once
    once(store, tmp_path)
    lms.restore(1)
    lms.close()
    once(store, tmp_path)
    assert minutes(tmp_path, "2026-02") == 0, "what the restore undid was never booked"


def test_a_topic_that_is_shorter_in_one_partition_is_read_from_the_beginning_of_all(lms: Lms, store: Store) -> None:
    for employee in (0, 0, 1, 1):
        lms.book(employee, (0, 480))
    store.apply(lms.messages())
    assert store.begin({0: 2, 1: 2, 2: 0}) == {0: 1, 1: 1, 2: 0}, "each at the last message that was taken"
    assert store.begin({0: 2, 1: 1, 2: 0}) == {0: 0, 1: 0, 2: 0}
    assert store.offsets() == {}
