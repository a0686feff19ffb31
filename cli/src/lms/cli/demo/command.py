"""The command `lms demo load`, and the company of a first `lms up`: a progress bar around a load into one home."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lms.cli.demo.company import Spec
from lms.cli.demo.gateway import LoadFailed
from lms.cli.demo.journal import Journal
from lms.cli.demo.load import Loaded, Target, load
from lms.cli.demo.load import Progress as Hears
from lms.cli.home import Home

FIRST = Spec(employees=60, years=0.25, through=date.max, step_days=28)
"""What `lms up` loads at the first start; `through` is that day."""

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
"""What a company may be called: a label of a domain."""


def load_into(home: Home, target: Target, spec: Spec, console: Console) -> Loaded:
    """Load a company into an embedded system, and remember its people for `lms status`.

    An interrupted load goes on with the days that it began with. Raises LoadFailed, InUse.
    """
    journal = Journal(home.folder / "demo" / f"{spec.name}.jsonl")
    try:
        begun = _begun(journal, spec)
        with _shown(console, spec.name) as tell:
            loaded = asyncio.run(load(target, begun, journal, home.secret("demo", 12), tell))
    finally:
        journal.close()
    people = home.state.get("demo", {"people": []})["people"]
    known = {one["id"] for one in people}
    home.state["demo"] = {"people": [*people, *(one for one in loaded.people if one["id"] not in known)]}
    home.save()
    return loaded


def _begun(journal: Journal, spec: Spec) -> Spec:
    """Return the spec as its load began with it. Raises LoadFailed if another company has the name."""
    wanted = {**asdict(spec), "through": spec.through.isoformat()}
    known: dict[str, Any] = journal.get("spec") or journal.note("spec", **wanted)
    if {**known, "through": ""} != {**wanted, "through": ""}:
        other = ", ".join(f"{name} {value}" for name, value in known.items() if wanted[name] != value)
        raise LoadFailed(f"The company {spec.name!r} was begun with {other}; go on with that, or take another name.")
    return replace(spec, through=date.fromisoformat(known["through"]))


@contextmanager
def _shown(console: Console, name: str) -> Iterator[Hears]:
    """Show progress as a bar, or as a line now and then where nobody watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    began = datetime.now(UTC)
    told = 0
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        task = bars.add_task(name, total=None)

        def tell(what: str, *, done: int = 0, total: int | None = None) -> None:
            nonlocal told
            bars.update(task, advance=done, total=total, description=f"{name}: {what}" if what else None)
            found = bars.tasks[0]
            tenth = int(10 * found.completed / (found.total or 1))
            if not console.is_terminal and tenth > told:
                told = tenth
                seconds = (datetime.now(UTC) - began).total_seconds()
                console.print(f"{found.description}: {found.completed:,.0f} of {found.total:,.0f}, {seconds:.0f} s")

        yield tell
