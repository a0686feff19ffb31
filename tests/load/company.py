"""The company of a running system: its size, and how long it takes to prove, verify, rebuild and recover everything.

`make bench-company` looks at the system in LMS_HOME (load it before) and writes its section of docs/benchmarks.md.
How long the load took is told by whoever loaded: LMS_COMPANY_LOADED, in seconds.
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pymysql
from tests.load.measure import Figure, ceiling
from tests.load.page import table, with_company

from lms.cli.servers import SCHEMAS
from lms.cli.system import System

_VIEWS = ("directory", "requests", "balances", "approvals", "notifications")


def write(home: Path, page: Path) -> None:
    """Measure, and write the section of the page. Exits with 1 when something is not in order."""
    system = System.running(home)
    figures = [*_sizes(system), *_times(home)]
    loaded = os.environ.get("LMS_COMPANY_LOADED")
    if loaded:
        figures.insert(0, Figure("load through the gateway", float(loaded) / 60, "min"))
    text = f"Measured on {datetime.now(UTC):%Y-%m-%d} on a running system.\n\n{table(figures)}"
    page.write_text(with_company(page.read_text(encoding="utf-8"), text), encoding="utf-8")
    sys.stdout.write(f"{text}\n")


def _sizes(system: System) -> list[Figure]:
    """Return how much there is of everything."""
    figures = [
        Figure("employees", _count(system, "directory", "SELECT COUNT(*) FROM employees")),
        Figure("leave requests", _count(system, "requests", "SELECT COUNT(DISTINCT request_id) FROM leave_requests")),
        Figure("ledger entries", _count(system, "balances", "SELECT COUNT(*) FROM ledger_entries")),
        Figure("approval cases", _count(system, "approvals", "SELECT COUNT(*) FROM approval_cases")),
    ]
    for service in SCHEMAS:
        facts = _count(system, service, "SELECT COUNT(*) FROM events")
        size = _count(
            system,
            service,
            "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()",
        )
        figures.append(Figure(f"{service}: schema", size / 2**20, "MiB", None, f"{facts:,.0f} facts"))
    kafka = sum(one.stat().st_size for one in (system.home.folder / "kafka").rglob("*.log"))
    figures.append(Figure("Kafka's log", kafka / 2**20, "MiB"))
    for program, state in sorted(system.supervisor.states().items()):
        if state["pid"] and program in {*SCHEMAS, "gateway", "kafka", "mysql", "redis"}:
            figures.append(Figure(f"{program}: memory", psutil.Process(state["pid"]).memory_info().rss / 2**20, "MiB"))
    return figures


def _times(home: Path) -> list[Figure]:
    """Return how long `lms verify`, the proof of the audit log, and a rebuild of every view take."""
    figures = [
        _timed("lms verify", home, "verify", note="drift 0"),
        _timed("lms audit verify", home, "audit", "verify", note="every record in its place"),
    ]
    figures += [_timed(f"lms rebuild {service} all", home, "rebuild", service, "all") for service in _VIEWS]
    return [*figures, _timed("lms backup", home, "backup", note="restored for a trial"), *_recovery(home)]


def _recovery(home: Path) -> list[Figure]:
    """Return what a drill achieves: everything restored on processes of its own, beside the running system."""
    found = json.loads(_run("lms drill", home, "drill", "--json"))
    return [
        Figure("lms drill: until leave is asked for and debited", found["recovery_seconds"], "s", ceiling(300)),
        Figure("lms drill: facts lost", found["facts_lost"], "", ceiling(0), f"drift {found['drift']}"),
    ]


def _timed(name: str, home: Path, *arguments: str, note: str = "") -> Figure:
    """Return how long a command takes, with a note on what it means that it ends with 0."""
    began = time.monotonic()
    _run(name, home, *arguments)
    return Figure(name, time.monotonic() - began, "s", None, note)


def _run(name: str, home: Path, *arguments: str) -> str:
    """Return what a command of `lms` prints. Exits with 1 when it fails."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lms")), *arguments, "--home", str(home)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def _count(system: System, service: str, query: str) -> float:
    user = f"lms_{service}"
    connection = pymysql.connect(
        host="127.0.0.1", port=system.ports["mysql"], database=user, user=user,
        password=system.home.secret(f"mysql:{user}"),
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        found: Any = cursor.fetchone()
    return float(found[0] or 0)
