"""What is watched is there: metrics, panels and runbooks, on the running system.

What faults do to panels and alerts stands in `test_exercises.py`, and here where it is no exercise.
"""

import asyncio
import math
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pymysql
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import make_url
from tests.conftest import TESTER
from tests.e2e.company import Company
from tests.faults.load import Load
from tests.monitoring import dashboards, runbooks
from tests.monitoring.registry import LABELS, METRICS, groups
from tests.monitoring.watching import Watched
from tests.waiting import eventually

from lms.cli.system import SERVICES, STREAMS, System

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SOON = 90.0
WALKED = {"README", "exercises"}
"""Pages whose commands go from the first to the last: alone they are of no use, or do harm."""


def moves(watched: Watched, page: str, panel: str, where: str, enough: Callable[[float], bool]) -> None:
    """Wait until the first query of a panel, narrowed by label matchers, gives a value that is enough."""
    (text, *_) = [one for one in dashboards.queries() if (one.page, one.panel) == (page, panel)]
    query = text.filled(rate_interval="20s").replace("{job=", "{" + where + "job=")
    eventually(lambda: enough(watched.number(query)), f"{page}: {panel} does not move: {query}", SOON)


def sql(system: System) -> "pymysql.Connection[Any]":
    """Return a connection of a user who may do anything."""
    url = make_url(system.mysql.url(TESTER, "lms_requests"))
    return pymysql.connect(
        host=url.host or "", port=url.port or 0, user=url.username, password=url.password or "", database=url.database
    )


@contextmanager
def everyday_life(company: Company, load: Load) -> Iterator[None]:
    """Let people ask, decide and look while the block runs; raise what went wrong for them."""
    over = threading.Event()
    auditor = company.hire(roles=("employee", "auditor"))

    def look() -> None:
        number = 0
        while not over.is_set():
            person = load.people[number % len(load.people)]
            with suppress(httpx.TransportError):
                company.call("GET", "/balances", person)
                company.call("GET", "/notifications?limit=1", person)
                company.call("GET", "/employees?limit=1")
                company.call("GET", "/audit?limit=1", auditor)
                load.life_of(number)
            number += 1
            over.wait(0.2)

    with ThreadPoolExecutor(1) as pool:
        living = pool.submit(look)
        try:
            yield
        finally:
            over.set()
        living.result()


@pytest.fixture(scope="module")
def load(company: Company) -> Load:
    return Load.of(company, size=4, days=100.0)


def processes(system: System) -> dict[str, str]:
    """Return the service of each process."""
    found = {program: service for service in SERVICES for program in system.programs_of(service)}
    return found | {f"{service}-streams": service for service in STREAMS}


def test_every_process_exposes_what_the_registry_says_and_no_more(system: System, load: Load) -> None:
    load.life_of(0)
    known, seen = groups(), dict[str, dict[str, set[str]]]()
    for program, service in processes(system).items():
        exposed: set[str] = set()
        for family in text_string_to_metric_families(httpx.get(f"{system.url_of(program)}/metrics").text):
            name = family.name + ("_total" if family.type == "counter" else "")
            if name in METRICS:
                exposed.add(name)
                for sample in family.samples:
                    for label, value in sample.labels.items():
                        if label != "le":
                            seen.setdefault(service, {}).setdefault(label, set()).add(value)
            else:
                assert name.startswith(("process_", "python_")) or name.endswith("_created"), (program, name)
        due = {name for name, metric in METRICS.items() if service in known.of(metric["services"])}
        if not program.endswith("-streams"):
            assert due <= exposed, f"{program} does not expose {due - exposed}"
    for service, labels in seen.items():
        for label, values in labels.items():
            bound = LABELS[label]
            assert len(values) <= bound.get("bound", len(values)), (service, label, values)
            assert values <= set(bound.get("values", values)), (service, label, values)


async def test_every_panel_shows_data_while_people_work(
    system: System, watched: Watched, company: Company, load: Load
) -> None:
    environment = {**os.environ, "LMS_HOME": str(system.home.folder)}
    verified = await asyncio.create_subprocess_exec(
        "lms", "verify", env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await verified.communicate()

    def empty(query: dashboards.Query) -> bool:
        return all(math.isnan(float(one["value"][1])) for one in watched.query(query.filled()))

    def filled() -> None:
        missing = dashboards.queries()
        with everyday_life(company, load):
            until = time.monotonic() + SOON
            while (missing := list(filter(empty, missing))) and time.monotonic() < until:
                time.sleep(2)
        assert not missing, "\n".join(map(str, missing))

    await asyncio.to_thread(filled)


def test_every_target_answers(watched: Watched) -> None:
    eventually(lambda: not watched.query("up == 0"), "some targets are down", SOON)
    jobs = {one["metric"]["job"] for one in watched.query("up")}
    assert jobs == {"lms", "mysql", "redis", "kafka", "node", "probe", "certificate", "prometheus", "alertmanager"}
    assert {one["metric"]["service"] for one in watched.query('up{job="lms"}')} == set(SERVICES)


def test_the_runbooks_queries_and_commands_work(system: System, watched: Watched) -> None:
    for _, query in runbooks.queries():
        watched.query(query.replace("$service", "balances"))
    environment = {
        **os.environ, "LMS_HOME": str(system.home.folder), "SERVICE": "balances", "URL": system.url,
        "PROMETHEUS": watched.prometheus,
    }  # fmt: skip

    def typed(command: str) -> None:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], env=environment, capture_output=True, text=True, check=False
        )
        known = command.startswith(("lms verify", "lms audit verify", "du "))  # they may find something: exit code 1
        assert done.returncode == 0 or (known and "Traceback" not in done.stderr), (command, done.stdout, done.stderr)

    with ThreadPoolExecutor(4) as pool:  # they look, and change nothing
        for _ in pool.map(typed, {command for page, command in runbooks.commands() if page not in WALKED}):
            pass


def test_the_watchdog_reaches_its_receiver_and_a_short_certificate_the_team(watched: Watched) -> None:
    eventually(lambda: watched.told_of("dead-mans-switch", "Watchdog"), "the watchdog is not heard of", SOON)
    eventually(lambda: watched.told_of("warning-alerts", "CertificateExpiry"), "nobody is told of it", SOON)


def test_a_locked_database_moves_duration_and_the_pool(system: System, watched: Watched, load: Load) -> None:
    moves(watched, "lms-requests", "Wait for a connection", "", lambda wait: wait < 5)
    with sql(system) as connection, connection.cursor() as cursor, ThreadPoolExecutor(24) as pool:
        cursor.execute("LOCK TABLES events WRITE")
        asked = [
            pool.submit(load.insist, "/leave-requests", load.people[number % 4], _days(load, 2000 + number))
            for number in range(24)
        ]
        try:
            moves(watched, "lms-requests", "Database pool", 'state="in_use",', lambda used: used >= 12)
        finally:
            cursor.execute("UNLOCK TABLES")
        for one in asked:
            one.result()
    moves(watched, "lms-requests", "Wait for a connection", "", lambda wait: wait > 0)
    (duration,) = {one.filled(rate_interval="1m") for one in dashboards.queries()
                   if (one.page, one.panel) == ("lms-requests", "Duration") and "0.99" in one.text}  # fmt: skip
    eventually(lambda: watched.number(duration) > 1, "the duration does not move", SOON)


def _days(load: Load, number: int) -> dict[str, Any]:
    """Return a request for a day that nobody has asked for; whether the balance covers it does not matter."""
    day = f"2027-{1 + number % 11:02}-{1 + number % 27:02}"
    return {"leave_type": load.leave_type, "start_date": day, "end_date": day}
