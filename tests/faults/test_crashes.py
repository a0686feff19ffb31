"""`kill -9` at the worst moments, under load: nothing is lost, nothing is counted twice."""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from redis import Redis
from scripts import services
from tests.e2e.company import Company
from tests.faults import invariants
from tests.faults.load import DAYS, Load
from tests.waiting import eventually

from lms.cli.servers import SCHEMAS
from lms.cli.system import System
from lms.kernel.database import SILENT_TRANSACTION_SECONDS

Alone = Callable[[str, str, Path], Awaitable[None]]
"""Runs one copy of a service, with a failpoint whose proof goes to a folder."""


async def under(load: Load, requests: int = 40) -> None:
    """Run a load beside the test."""
    await asyncio.to_thread(load.run, requests)


@pytest.fixture(scope="module", autouse=True)
async def verified(system: System) -> AsyncIterator[None]:
    """After all of it, let `lms verify` find nothing: what a crash did to a view, a ledger or a log is still there."""
    yield
    await invariants.at_rest(system)
    await invariants.check(system)


async def whole(system: System, load: Load) -> None:
    """Assert that everything came to rest, and that every command had its effect once."""
    await invariants.at_rest(system)
    states = await asyncio.to_thread(invariants.agree, load.company, load.people, load.leave_type, DAYS)
    assert sum(states.values()) == 40, states
    assert states == {"approved": 16, "rejected": 8, "cancelled": 8, "pending": 8}, states


@pytest.fixture
async def alone(system: System) -> AsyncIterator[Alone]:
    """Run one copy of a service, with a failpoint; afterwards both copies run as before."""
    used: list[tuple[str, Path]] = []

    async def start(service: str, failpoints: str, folder: Path) -> None:
        used.append((service, folder))
        await asyncio.to_thread(system.supervisor.stop_programs, system.programs_of(service))
        extra = {"LMS_FAILPOINTS": failpoints, "LMS_FAILPOINT_DIR": str(folder)}
        await system.restart_with(service, extra)
        system.forget_extra(service)

    yield start
    for service, folder in used:
        system.supervisor.start_program(f"{service}-2")
        if not any(folder.iterdir()):  # whoever was killed has begun anew without the failpoint
            await system.restart_with(service, {})
    await asyncio.gather(*(system.wait_ready(one) for service, _ in used for one in system.programs_of(service)))


AFTER_COMMIT = frozenset({"command.after-commit", "consumer.after-commit", "relay.after-read"})
AFTER_PUBLISH = frozenset({"relay.after-publish"})
IN_BATCH = frozenset({"consumer.in-batch"})
DEATHS = {
    "first": {
        "directory": "command.after-commit=kill@10",
        "requests": "command.after-commit=kill@5",
        "balances": "consumer.in-batch=kill@6",
        "approvals": "relay.after-publish=kill@4",
        "audit": "consumer.in-batch=kill@5",
        "notifications": "consumer.in-batch=kill@5",
    },
    "second": {
        "directory": "relay.after-publish=kill@3",
        "requests": "relay.after-publish=kill@4",
        "balances": "consumer.after-commit=kill@8",
        "approvals": "consumer.in-batch=kill@6",
        "audit": "relay.after-publish=kill@1",
        "notifications": "consumer.after-commit=kill@5",
    },
    "third": {
        "directory": "command.before-commit=kill@10",
        "requests": "consumer.in-batch=kill@6",
        "balances": "relay.after-publish=kill@4",
        "approvals": "command.after-commit=kill@4",
        "audit": "command.after-commit=kill@1",
        "notifications": "consumer.before-commit=kill@5",
    },
}
"""Each load kills every service once."""


def test_each_service_is_killed_after_a_commit_after_publishing_and_inside_a_batch() -> None:
    for service in services.load():
        killed_at = {deaths[service.name].partition("=")[0] for deaths in DEATHS.values() if service.name in deaths}
        if service.publishes or service.consumers:
            assert killed_at & AFTER_COMMIT, service.name
        if service.publishes:
            assert killed_at & AFTER_PUBLISH, service.name
        if service.consumers:
            assert killed_at & IN_BATCH, service.name


@pytest.mark.parametrize(
    "deaths", ["first", *(pytest.param(one, marks=pytest.mark.slow) for one in DEATHS if one != "first")]
)
@pytest.mark.timeout(600)
async def test_services_killed_at_failpoints_lose_and_double_nothing(
    system: System, company: Company, alone: Alone, tmp_path: Path, deaths: str
) -> None:
    failpoints = DEATHS[deaths]
    load = await asyncio.to_thread(Load.of, company)
    folders = {service: tmp_path / service for service in failpoints}
    for folder in folders.values():
        folder.mkdir()
    await asyncio.gather(*(alone(service, failpoints[service], folder) for service, folder in folders.items()))
    _, people = await asyncio.gather(under(load), employ(load))
    for service, failpoint in failpoints.items():
        look = partial(os.listdir, folders[service])
        fired = await asyncio.to_thread(eventually, look, f"the failpoint of {service} did not fire")
        # Who dies as it starts may do so again, before it begins without the failpoint.
        assert {one.rpartition(".")[0] for one in fired} == {failpoint.partition("=")[0]}
    await all_know(system, load, people)
    await whole(system, load)


async def employ(load: Load, people: int = 30) -> set[str]:
    """Employ people beside the test, several at a time; return their ids."""
    with ThreadPoolExecutor(4) as pool:
        return set(await asyncio.gather(*(asyncio.wrap_future(pool.submit(load.employ, one)) for one in range(people))))


async def all_know(system: System, load: Load, people: set[str]) -> None:
    """Assert that the directory has exactly these people of the load, and that every other service knows each once."""
    await invariants.at_rest(system)
    managed = f'%"manager_id":"{load.manager.id}"%'
    joined = invariants.rows(
        system,
        f"SELECT stream FROM lms_directory.events WHERE type = 'employee.joined' AND data LIKE '{managed}'",  # noqa: S608  # our own ids
    )
    before = {f"employee-{one.id}" for one in load.people}
    assert Counter(stream for (stream,) in joined) == Counter(before | {f"employee-{one}" for one in people})
    for table in ("lms_requests.employees", "lms_balances.people", "lms_approvals.employees"):
        known = Counter(one for (one,) in invariants.rows(system, f"SELECT employee_id FROM {table}"))  # noqa: S608
        assert all(known[one] == 1 for one in people), table


@pytest.mark.parametrize(
    "names", [("gateway",), pytest.param(SCHEMAS, marks=pytest.mark.slow)], ids=["gateway", "each-service-in-turn"]
)
@pytest.mark.timeout(600)
async def test_services_killed_at_any_moment_with_all_their_copies_lose_and_double_nothing(
    system: System, company: Company, names: tuple[str, ...]
) -> None:
    load = await asyncio.to_thread(Load.of, company)
    running = asyncio.gather(under(load), employ(load))
    killed: Counter[str] = Counter()
    turns, at = itertools.cycle(names), 5
    while not running.done():
        if load.answered < at:
            await asyncio.sleep(0.01)
            continue
        service = next(turns)
        programs = system.programs_of(service)
        for program in programs:
            await system.wait_ready(program)  # who is killed a second time has come back
        states = system.supervisor.states()
        for program in programs:
            os.kill(states[program]["pid"], signal.SIGKILL)
        killed[service] += 1
        at = load.answered + 10
    _, people = await running
    assert set(killed) == set(names), "the load was over too soon to prove anything"
    for program in itertools.chain.from_iterable(map(system.programs_of, names)):
        await system.wait_ready(program)
    await all_know(system, load, people)
    await whole(system, load)


async def test_a_relay_that_slept_past_its_lease_repeats_and_doubles_nothing(system: System, company: Company) -> None:
    load = await asyncio.to_thread(Load.of, company)
    sql = "SELECT holder FROM lms_requests.relay_lease WHERE expires_at > UTC_TIMESTAMP(6)"
    ((holder,),) = invariants.rows(system, sql)
    process = int(holder.split(".")[-2])
    running = asyncio.create_task(under(load))
    os.kill(process, signal.SIGSTOP)
    try:
        until = time.monotonic() + SILENT_TRANSACTION_SECONDS + 30  # it may sleep with the lease's row locked
        while not [one for one in invariants.rows(system, sql) if one[0] != holder]:
            assert time.monotonic() < until, "no other copy took the lease"
            await asyncio.sleep(0.1)
    finally:
        os.kill(process, signal.SIGCONT)
    await running
    await whole(system, load)


@pytest.mark.parametrize(
    "server", ["mysql", *(pytest.param(one, marks=pytest.mark.slow) for one in ("kafka", "redis"))]
)
async def test_a_server_killed_under_load_costs_time_and_nothing_else(
    system: System, company: Company, server: str
) -> None:
    load = await asyncio.to_thread(Load.of, company)
    running = asyncio.create_task(under(load))
    while load.answered < 20:  # noqa: ASYNC110  # counted by threads
        await asyncio.sleep(0.01)
    os.kill(system.supervisor.states()[server]["pid"], signal.SIGKILL)
    await running
    if server == "redis":
        with Redis.from_url(system.redis.url) as redis:
            offset = redis.get("lms:clock:offset")
            redis.flushall()
            redis.set("lms:clock:offset", offset or "0")
    await whole(system, load)


async def test_every_topic_delivered_again_changes_nothing(system: System, company: Company) -> None:
    load = await asyncio.to_thread(Load.of, company)
    await under(load)
    await whole(system, load)
    await invariants.signed_for(system)
    await invariants.mailed(system)
    before = invariants.digest(system)
    producer = AIOKafkaProducer(bootstrap_servers=system.kafka.bootstrap_servers, acks="all")
    await producer.start()
    try:
        for topic in invariants.TOPICS:
            for message in await invariants.messages(system, topic):
                await producer.send(
                    topic, message.value, key=message.key, partition=message.partition, headers=list(message.headers)
                )
        await producer.flush()
    finally:
        await producer.stop()
    await invariants.at_rest(system)
    after = invariants.digest(system)
    assert {name for name in before if before[name] != after[name]} == set()
