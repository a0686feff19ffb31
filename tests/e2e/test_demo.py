"""A demo company of the size that CI bears: killed in the middle and loaded on, and every fact of it holds."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.company import Company, Employee

from lms.cli.demo.company import Company as DemoCompany
from lms.cli.demo.company import Spec, made
from lms.cli.demo.history import Ask, Cancel, Turn, lived
from lms.cli.system import System

pytestmark = pytest.mark.slow  # the load alone takes some minutes

SPEC = Spec(employees=200, years=0.2, through=date(2026, 3, 2), seed=3, name="ci")
"""It goes over the turn of a year, and ends where the session's business clock stood."""

KILLED_AFTER = (40, 400)
"""Commands that were answered when the load is killed: among the first, and in the middle of a Monday."""


def _command(system: System, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "lms.cli.main", *arguments, "--home", str(system.home.folder)]


def _load(system: System) -> list[str]:
    return _command(
        system, "demo", "load", f"--employees={SPEC.employees}", f"--years={SPEC.years}", f"--seed={SPEC.seed}",
        f"--name={SPEC.name}", f"--through={SPEC.through}",
    )  # fmt: skip


def _answered(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def _kill_after(command: list[str], journal: Path, commands: int) -> None:
    """Start a load and kill it as soon as so many of its commands were answered."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 300
    while _answered(journal) < commands:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, f"only {_answered(journal)} commands were answered"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def loaded(system: System, company: Company) -> dict[str, Any]:
    """Load the company, killed twice on the way; return its journal by key."""
    del company  # it has set the clock that this load comes back to
    journal = system.home.folder / "demo" / f"{SPEC.name}.jsonl"
    for commands in KILLED_AFTER:
        _kill_after(_load(system), journal, commands)
    done = subprocess.run(_load(system), capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    return {line["key"]: line for line in lines}


@pytest.fixture(scope="module")
def plan() -> tuple[DemoCompany, list[Turn]]:
    """What was to be loaded."""
    people = made(SPEC)
    return people, lived(people)


def _requests(company: Company, loaded: dict[str, Any]) -> list[Any]:
    """Return every request of the demo company's people."""
    ids = {one for key, line in loaded.items() if key.startswith("turn.") for one in line["joined"].values()}
    auditor = company.hire(roles=("employee", "auditor"))
    return [one for one in company.every("/leave-requests", auditor) if one["employee_id"] in ids]


@pytest.mark.timeout(1200)
def test_a_load_that_was_killed_goes_on_and_doubles_nothing(
    company: Company, loaded: dict[str, Any], plan: tuple[DemoCompany, list[Turn]]
) -> None:
    _, turns = plan
    asked = {one.key: one for turn in turns for acts in turn.actions.values() for one in acts if isinstance(one, Ask)}
    requests = _requests(company, loaded)
    by_id = {one["id"]: one for one in requests}
    assert len(by_id) == len(requests)
    assert {loaded[key]["id"] for key in asked if "id" in loaded[key]} == set(by_id), "no request was made twice"
    refused = Counter(loaded[key].get("refused") for key in asked) - Counter({None: len(asked)})
    assert sum(refused.values()) < len(asked) / 50, refused
    assert all(one["settled"] for one in requests)


def test_every_request_has_come_to_the_end_that_was_meant_for_it(
    company: Company, loaded: dict[str, Any], plan: tuple[DemoCompany, list[Turn]]
) -> None:
    _, turns = plan
    by_id = {one["id"]: one for one in _requests(company, loaded)}
    verdicts = {one.key: one for turn in turns for one in turn.verdicts}
    acts = [one for turn in turns for actions in turn.actions.values() for one in actions]
    cancelled = {one.key for one in acts if isinstance(one, Cancel) and not one.dates}
    for ask in (one for one in acts if isinstance(one, Ask) and "id" in loaded[one.key]):
        request = by_id[loaded[ask.key]["id"]]
        if request["status"] == "rejected" and request["code"] is not None and request["code"] != "rejected":
            assert request["code"] in {"balance-insufficient", "waiting-period"}, request
        elif ask.leave_type == "sick":
            assert request["status"] == "approved", request
        elif ask.key in cancelled:
            assert request["status"] == "cancelled", request
        elif ask.key in verdicts:
            assert request["status"] in {"approved", "rejected"}, request
        else:
            assert request["status"] == "pending", request


def test_the_years_have_left_their_traces_in_the_balances(
    company: Company, loaded: dict[str, Any], plan: tuple[DemoCompany, list[Turn]]
) -> None:
    people, _ = plan
    joined = {
        int(number): one
        for key, line in loaded.items()
        if key.startswith("turn.")
        for number, one in line["joined"].items()
    }
    in_paris = next(one.number for one in people.people if one.office.city == "Paris" and one.employed_on(SPEC.through))
    kinds = {
        entry["kind"]
        for entry in company.do("GET", f"/balances/annual/entries?employee_id={joined[in_paris]}&limit=200")["items"]
    }
    assert {"grant", "reservation", "debit", "carry-over"} <= kinds, kinds


def test_everything_agrees_after_years_of_leave(system: System, loaded: dict[str, Any]) -> None:
    assert loaded["loaded"]["people"]
    told = subprocess.run(_command(system, "verify"), capture_output=True, text=True, check=False, timeout=600)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "drift 0" in told.stdout


def test_those_who_are_shown_can_sign_in(system: System, company: Company, loaded: dict[str, Any]) -> None:
    person = loaded["loaded"]["people"][-1]
    body = {"email": person["email"], "password": system.home.secret("demo", 12)}
    answer = company.client.post("/api/v1/auth/login", json={**body, "return_refresh_token": True})
    assert answer.is_success, answer.text
    assert company.balances(Employee(person["id"]))
