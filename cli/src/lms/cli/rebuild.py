"""Rebuilding, verifying, finishing a restore: the services' own processes do it and tell how far they are.

They are started with `--rebuild`, `--verify` or `--republish`, the first two beside the running service, and with its
environment: that of the embedded home, or the caller's own where DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS are set. They
write a JSON object a line (`lms.kernel.service.operate`); here those become progress bars, tables and exit codes.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.table import Table

from lms.cli.home import Home
from lms.cli.servers import SCHEMAS

AT_ONCE = 2
"""Services that are verified at the same time."""

OWN_ENVIRONMENT = ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS")


class DidNotWork(Exception):
    """The process could not do it; the text says why."""


def rebuild(home: Path, service: str, view: str, console: Console) -> None:
    """Make one view of a service anew, or all of them, with a progress bar. Raises DidNotWork."""
    with _bars(console) as bars:
        done = [one["rebuilt"] for one in _messages(home, service, ["--rebuild", view], bars) if "rebuilt" in one]
    if not done:
        console.print(f"{service} has no views.")
    for one in done:
        console.print(
            f"{service} {one['view']}: {one['facts']:,} facts in {one['seconds']:.1f} s; generation"
            f" {one['generation']} is live"
        )


def verify(home: Path, services: Sequence[str], console: Console, *, as_json: bool) -> bool:
    """Verify services and show what was found; say whether everything agrees. Raises DidNotWork."""
    found = checks_of(home, services, console)
    drift = drift_of(found)
    if as_json:
        sys.stdout.write(json.dumps({"sound": drift == 0, "drift": drift, "services": found}, indent=2) + "\n")
    else:
        show(found)
    return drift == 0


Checks = dict[str, list[dict[str, Any]]]
"""What verifying found, by service: each check as `lms.kernel.verify.Check` has it."""


def checks_of(home: Path, services: Sequence[str], console: Console) -> Checks:
    """Verify services, with progress bars, and return what was found. Raises DidNotWork."""
    said = _said(home, services, "--verify", console)
    return {service: [one["check"] for one in messages if "check" in one] for service, messages in said.items()}


def drift_of(found: Checks) -> int:
    """Return how many faults there are."""
    return sum(int(check["faults"]) for checks in found.values() for check in checks)


def republish(home: Path, services: Sequence[str], console: Console) -> dict[str, int]:
    """Have restored services make their topics anew; return the facts of each. Raises DidNotWork."""
    said = _said(home, services, "--republish", console)
    return {
        service: sum(int(one["republished"]["facts"]) for one in messages if "republished" in one)
        for service, messages in said.items()
    }


def _said(home: Path, services: Sequence[str], option: str, console: Console) -> dict[str, list[dict[str, Any]]]:
    """Run services with an option, AT_ONCE at a time and with progress bars; return what each said at its end."""
    with _bars(console) as bars, ThreadPoolExecutor(AT_ONCE) as pool:

        def said_by(service: str) -> list[dict[str, Any]]:
            return [one for one in _messages(home, service, [option], bars) if "progress" not in one]

        return dict(zip(services, pool.map(said_by, services), strict=True))


def show(found: Checks) -> None:
    """Show a table of what was looked at, and every fault that has a name."""
    console = Console(highlight=False)
    table = Table("service", "check", "looked at", "faults", title="Verification")
    for service, checks in found.items():
        for check in checks:
            faults = f"[red]{check['faults']}[/red]" if check["faults"] else "[green]0[/green]"
            table.add_row(service, check["name"], f"{check['examined']:,}", faults)
    console.print(table)
    for service, checks in found.items():
        for check in checks:
            for remark in check["remarks"]:
                console.print(f"{service}, {check['name']}: {remark}", markup=False)
            for fault in check["named"]:
                console.print(f"{service}, {check['name']}: {fault['text']}", markup=False)
            if check["faults"] > len(check["named"]):
                console.print(f"{service}, {check['name']}: and {check['faults'] - len(check['named'])} more")
    console.print(f"drift {drift_of(found)}")


def command_of(home: Path, service: str) -> list[str]:
    """Return how to start a process of the service with the environment that it has in the home, or with our own."""
    module = f"lms.{service}.main"
    if all(name in os.environ for name in OWN_ENVIRONMENT):
        return [sys.executable, "-m", module]
    environment = Home.at(home, attached=True).folder / "env" / f"{service}.json"
    if not environment.exists():
        raise DidNotWork(f"{home} holds no system; start one with `lms up`, or set {' and '.join(OWN_ENVIRONMENT)}.")
    return [sys.executable, "-m", "lms.cli.launch", str(environment), module]


def _messages(home: Path, service: str, arguments: Sequence[str], bars: Progress) -> Iterator[dict[str, Any]]:
    """Run a process of the service to its end and return what it tells; show its progress meanwhile."""
    if service not in SCHEMAS:
        raise DidNotWork(f"No service {service!r} keeps anything; choose one of {', '.join(SCHEMAS)}.")
    failed, finished = "", False
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(  # noqa: S603  # our own command
            [*command_of(home, service), *arguments], stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as process,
    ):
        tasks: dict[str, TaskID] = {}
        for line in process.stdout or ():
            message = json.loads(line)
            if "progress" in message:
                _advance(bars, tasks, service, message["progress"])
            failed = message.get("failed", failed)
            finished = finished or "finished" in message
            yield message
        process.wait()
        complaints.seek(0)
        complaint = complaints.read()
    if not finished:
        raise DidNotWork(failed or f"{service} {' '.join(arguments)} failed:\n{complaint[-3000:]}")


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), Remaining())
    with Progress(*columns, console=console, transient=True) as bars:
        yield bars


def _advance(bars: Progress, tasks: dict[str, TaskID], service: str, progress: dict[str, Any]) -> None:
    views = ", ".join(progress["views"])
    name = f"{service} {views}: {progress['phase']}"
    if name not in tasks:
        tasks[name] = bars.add_task(name, total=progress["total"])
    bars.update(tasks[name], completed=progress["done"], total=progress["total"])
