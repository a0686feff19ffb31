"""Views are rebuilt under load and after kills, and `lms verify` names whatever drifts: in each view, at each consumer.

The tests follow the services' wiring, so that a new view or consumer is covered as soon as it is named there.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from scripts import services
from sqlalchemy import Column, Table
from tests.e2e.company import Company
from tests.faults import invariants
from tests.faults.load import Load
from tests.waiting import eventually

from lms.cli.servers import SCHEMAS
from lms.cli.system import System
from lms.kernel.cloudevents import encode_headers
from lms.kernel.event import Envelope
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer
from lms.kernel.rebuild import views_of

STORING = [service for service in services.load() if service.name in SCHEMAS]
WITH_VIEWS = [service for service in STORING if views_of(service)]
WITH_CONSUMERS = [service for service in STORING if service.consumers]
SHORT = 12


pytestmark = pytest.mark.timeout(600)


def sql(system: System, statement: str, *values: Any) -> int:
    """Execute a statement as somebody who tampers; return how many rows it changed."""
    with invariants.mysql(system) as cursor:
        return int(cursor.execute(statement, values))


@pytest.fixture(scope="module")
async def settled(system: System, company: Company) -> Load:
    """Some people with some requests, everything at rest."""
    load = await asyncio.to_thread(Load.of, company, 4)
    await asyncio.to_thread(load.run, SHORT)
    await invariants.at_rest(system)
    return load


def rebuild(system: System, service: str, view: str = "all") -> None:
    answer = invariants.lms(system, "rebuild", service, view)
    assert answer.returncode == 0, answer.stderr


# Rebuilding -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_rebuild_under_load_changes_nothing_visible(system: System, company: Company, settled: Load) -> None:
    """All views of all services are rebuilt while people ask and managers decide; readers look all the time."""
    stop = threading.Event()
    requests = [len(company.every(f"/leave-requests?employee_id={one.id}")) for one in settled.people]

    def look() -> int:
        looked = 0
        while not stop.wait(1.0):
            for one in settled.people:
                assert company.do("GET", f"/employees/{one.id}")["id"] == one.id
            for number, person in enumerate(settled.people):
                assert len(company.every(f"/leave-requests?employee_id={person.id}")) == requests[number]
                balances = company.balances(person)
                assert balances is not None
                assert settled.leave_type in {one["leave_type"] for one in balances["items"]}
            looked += 1
        return looked

    def load() -> None:
        while not stop.wait(2.0):  # rebuilds and verifications give way to whoever asks, and would never end
            Load.of(company, 2).run(6, threads=2)

    looking, loading = asyncio.create_task(asyncio.to_thread(look)), asyncio.create_task(asyncio.to_thread(load))
    try:
        await asyncio.gather(*(asyncio.to_thread(rebuild, system, service.name) for service in WITH_VIEWS))
        await invariants.check(system)
    finally:
        stop.set()
    assert await looking > 0
    await loading
    await invariants.at_rest(system)
    before = invariants.digest(system)
    await asyncio.gather(*(asyncio.to_thread(rebuild, system, service.name) for service in WITH_VIEWS))
    assert changed(before, invariants.digest(system)) == set()


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return the tables that differ, of the services that have views; mails are no view, and go out meanwhile."""
    schemas = {f"lms_{service.name}" for service in WITH_VIEWS}
    differing = {name for name in before if before[name] != after[name] and name.partition(".")[0] in schemas}
    return differing - {"lms_notifications.mails"}


@pytest.mark.parametrize("failpoint", [pytest.param("rebuild.in-batch", marks=pytest.mark.slow), "rebuild.before-swap"])
async def test_a_rebuild_that_was_killed_is_begun_anew(
    system: System, settled: Load, tmp_path: Path, failpoint: str
) -> None:
    del settled
    before = invariants.digest(system)
    killed = await asyncio.to_thread(
        invariants.lms, system, "rebuild", "requests", "all",
        LMS_FAILPOINTS=f"{failpoint}=kill", LMS_FAILPOINT_DIR=str(tmp_path),
    )  # fmt: skip
    assert killed.returncode == 1
    assert len(os.listdir(tmp_path)) == 1  # noqa: PTH208  # names are all that is asked
    generations = "SELECT COUNT(DISTINCT generation) FROM lms_requests.leave_requests"
    if failpoint == "rebuild.before-swap":
        assert invariants.rows(system, generations) == [(2,)]
    await asyncio.to_thread(rebuild, system, "requests")
    assert invariants.rows(system, generations) == [(1,)]
    assert changed(before, invariants.digest(system)) == set()
    await invariants.check(system, "requests")


# Drift has a name -----------------------------------------------------------------------------------------------------


async def test_an_altered_row_of_each_view_is_named_and_a_rebuild_repairs_it(system: System, settled: Load) -> None:
    del settled
    altered = [
        (service.name, view_name, table)
        for service in WITH_VIEWS
        for view_name, view in views_of(service).items()
        for table in view.tables
    ]
    for service, view_name, table in altered:
        alter(system, service, view_name, table)
    try:
        found = invariants.faults_of(await asyncio.to_thread(invariants.verified, system))
        for service, view_name, table in altered:
            named = found.get(f"{service}: view {view_name}", [])
            assert any(one.startswith(f"{table.name} ") for one in named), f"{table.name} of {view_name}: {named}"
    finally:
        await asyncio.gather(*(asyncio.to_thread(rebuild, system, one.name) for one in WITH_VIEWS))
    await invariants.check(system)


def alter(system: System, service: str, view: str, table: Table) -> None:
    """Change one row of a view's table: a value of it, or the row itself where it has nothing but its key."""
    place = f"`lms_{service}`.`{table.name}`"
    ((live,),) = invariants.rows(
        system,
        f"SELECT COALESCE(MAX(live), 1) FROM lms_{service}.view_generations WHERE view_name = '{view}'",  # noqa: S608
    )
    values = [one for one in table.columns if not one.primary_key]
    changed = 0
    if values:
        column = values[0]
        changed = sql(
            system,
            f"UPDATE {place} SET `{column.name}` = %s WHERE generation = {live} LIMIT 1",  # noqa: S608  # our own names
            _other(column),
        )
    if not changed:
        columns = [one for one in table.columns if one.name != "generation"]
        changed = sql(
            system,
            f"INSERT INTO {place} (generation, {', '.join(f'`{one.name}`' for one in columns)})"  # noqa: S608
            f" VALUES ({live}{', %s' * len(columns)})",
            *(_other(one) for one in columns),
        )
    assert changed == 1, f"nothing of {table.name} was altered"


def _other(column: Column[Any]) -> Any:
    """Return a value that no row of a test has."""
    kind = column.type.python_type
    if kind is str:
        return "?"
    if kind in {int, bool}:
        return 1 if kind is bool else 77
    return {"date": "1999-01-01", "datetime": "1999-01-01 00:00:00", "time": "01:02:03"}[kind.__name__]


@pytest.mark.slow
async def test_an_event_that_a_consumer_dropped_is_named_for_each_consumer(system: System, settled: Load) -> None:
    """Every consumer is told that it has read a fact which it has not: its offset is moved past it."""
    del settled
    async with deaf(system, [service.name for service in WITH_CONSUMERS]) as consumers:
        streams = await _publish_one_fact(system, {topic for one in WITH_CONSUMERS for topic in one.subscribes})
        ends = await invariants.ends(system, set(streams))
        for service, consumer, topic, number in consumers:
            _move(system, service, consumer, topic, number, ends[topic, number])
        faults = invariants.faults_of(await asyncio.to_thread(invariants.verified, system))
        for service, consumer, topic, _ in consumers:
            named = "\n".join(faults.get(f"{service}: consumer {consumer}", []))
            assert f"has seen nothing of {streams[topic]}" in named, f"{service}/{consumer}: {named}"
        assert {(service, consumer) for service, consumer, _, _ in consumers} == {
            (service.name, consumer.name) for service in WITH_CONSUMERS for consumer in service.consumers
        }
    await invariants.at_rest(system)
    await invariants.check(system)


async def test_a_request_that_balances_never_heard_of_is_named(system: System, company: Company, settled: Load) -> None:
    person = settled.people[0]
    count = "UPDATE lms_balances.consumer_versions SET version = version + %s WHERE stream = %s"
    stream = f"leave-book-{person.id}"
    async with deaf(system, ["balances"]) as consumers:
        body = {"leave_type": settled.leave_type, "start_date": "2027-06-07", "end_date": "2027-06-07"}
        asked = await asyncio.to_thread(company.do, "POST", "/leave-requests", person, body)
        await _until_published(system)
        ends = await invariants.ends(system, {"leave.requests.v1"})
        for service, consumer, topic, number in consumers:
            if topic == "leave.requests.v1":
                _move(system, service, consumer, topic, number, ends[topic, number])
        sql(system, count, 1, stream)
        try:
            faults = invariants.faults_of(await asyncio.to_thread(invariants.verified, system, "balances"))
        finally:
            sql(system, count, -1, stream)
    rule = "balances: no reservation dangles and every decision is booked once"
    assert faults == {rule: [f"revision 1 of {asked['id']} has no answer"]}
    await invariants.at_rest(system)
    await invariants.check(system, "balances")


@asynccontextmanager
async def deaf(system: System, names: Sequence[str]) -> AsyncIterator[list[tuple[str, str, str, int]]]:
    """Stop services, and give their consumers' partitions to be moved; afterwards they stand where they stood."""
    programs = [program for name in names for program in system.programs_of(name)]
    await asyncio.to_thread(system.supervisor.stop_programs, programs)
    before = {name: _offsets(system, name) for name in names}
    try:
        yield [(name, *partition) for name, offsets in before.items() for partition in offsets]
    finally:
        for name, offsets in before.items():
            for (consumer, topic, number), offset in offsets.items():
                _move(system, name, consumer, topic, number, offset)
        for program in programs:
            system.supervisor.start_program(program)
        await asyncio.gather(*map(system.wait_ready, programs))


def _offsets(system: System, service: str) -> dict[tuple[str, str, int], int]:
    found = invariants.rows(
        system,
        f"SELECT consumer, topic, partition_no, next_offset FROM lms_{service}.consumer_offsets",  # noqa: S608
    )
    return {(consumer, topic, number): offset for consumer, topic, number, offset in found}


def _move(system: System, service: str, consumer: str, topic: str, number: int, offset: int) -> None:
    sql(
        system,
        f"UPDATE lms_{service}.consumer_offsets SET next_offset = %s"  # noqa: S608  # our own names
        " WHERE consumer = %s AND topic = %s AND partition_no = %s",
        offset, consumer, topic, number,
    )  # fmt: skip


async def _publish_one_fact(system: System, topics: Iterable[str]) -> dict[str, str]:
    """Publish a fact that nobody reads to each topic; return its stream by topic."""
    streams = {topic: f"test-{new_id()}" for topic in topics}
    producer = Producer(system.kafka.bootstrap_servers, client_id="test")
    messages = []
    for topic, stream in streams.items():
        envelope = Envelope(
            event_id=new_id(), source="test", type="test.happened", schema_version=1, stream=stream, version=1,
            log_epoch=1, key=stream, time=datetime.now(UTC), data={}, correlation_id="c", causation_id="c",
        )  # fmt: skip
        messages.append(Message(topic, stream, "{}", encode_headers(envelope)))
    await producer.send_all(messages)
    await producer.stop()
    return streams


async def _until_published(system: System) -> None:
    def empty() -> bool:
        return invariants.rows(system, "SELECT COUNT(*) FROM lms_requests.outbox") == [(0,)]

    await asyncio.to_thread(eventually, empty, "requests does not publish")
