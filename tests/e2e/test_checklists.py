"""The checklists on a running system: what a machine can see there is seen, and what is wrong is told."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from tests.e2e.company import Company

from lms.cli.system import System

pytestmark = pytest.mark.timeout(600)


def checklist(system: System, name: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code of a checklist, and its lines by their text."""
    command = [sys.executable, "-m", "lms.cli.main", "checklist", name, "--home", str(system.home.folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout, done.stderr
    return done.returncode, {one["line"]: one for one in json.loads(done.stdout)["lines"]}


def test_a_running_system_is_seen_as_it_is(system: System, company: Company) -> None:
    company.hire()
    code, lines = checklist(system, "go-live")
    checks = {name: one for line in lines.values() for name, one in line["checks"].items()}
    for name in ("health", "processes", "schemas", "database", "cache", "door", "audit chain"):
        assert checks[name]["outcome"] == "done", (name, checks[name])
    assert lines["Application deployed and healthy"]["outcome"] == "done"
    for name in ("name", "certificates", "dashboards", "notifications", "error rate"):
        assert checks[name]["outcome"] == "not reachable", (name, checks[name])
        assert checks[name]["text"]
    assert lines["Smoke tests passed"]["person"]
    assert code == (1 if "failed" in {line["outcome"] for line in lines.values()} else 0)


async def test_a_copy_that_is_down_fails_the_list(system: System, company: Company) -> None:
    assert company.token
    copy = system.programs_of("audit")[-1]
    await asyncio.to_thread(system.supervisor.stop_program, copy)
    try:
        code, lines = await asyncio.to_thread(checklist, system, "daily")
        health = lines["Check system health dashboards"]
        assert (code, health["outcome"]) == (1, "failed")
        assert health["checks"]["processes"]["text"] == f"{copy} is stopped"
        assert health["checks"]["audit chain"]["outcome"] == "done"
    finally:
        system.supervisor.start_program(copy)
        await system.wait_ready(copy)
