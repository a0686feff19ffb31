"""The command `lms checklist`: what a machine can do of the guide's checklists, and what is left to a person."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from lms.cli.checklists.judgement import Outcome, worst
from lms.cli.checklists.lists import CHECKLISTS, Name, Result, run
from lms.cli.checklists.looks import Looks
from lms.cli.supervision import NotRunning

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

_COLOURS = {
    Outcome.DONE: "green", Outcome.FAILED: "red", Outcome.PERSON: "yellow", Outcome.UNREACHABLE: "magenta",
}  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Give an application the command."""
    app.command("checklist")(checklist)


def checklist(
    name: Annotated[Name, typer.Argument(help="Which list of the production guide.")],
    home: Annotated[Path, typer.Option("--home", envvar="LMS_HOME", help="The folder of the embedded system.")] = Path(
        ".lms"
    ),
    url: Annotated[
        str | None, typer.Option(envvar="LMS_URL", help="The gateway of a system elsewhere; the home is left alone.")
    ] = None,
    prometheus: Annotated[str | None, typer.Option(envvar="LMS_PROMETHEUS_URL", help="Prometheus.")] = None,
    alertmanager: Annotated[str | None, typer.Option(envvar="LMS_ALERTMANAGER_URL", help="Alertmanager.")] = None,
    grafana: Annotated[str | None, typer.Option(envvar="LMS_GRAFANA_URL", help="Grafana.")] = None,
    storage: Annotated[str | None, typer.Option("--backups", envvar="LMS_BACKUP_URL", help="The back-ups.")] = None,
    certificate: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="A further TLS server; may be repeated.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Do what a machine can do of a checklist, and list what is left to a person; exit with 1 if anything failed."""
    looks = Looks(
        url=url, prometheus=prometheus, alertmanager=alertmanager, grafana=grafana, storage=storage,
        certificates=tuple(certificate or ()), console=errors,
    )  # fmt: skip
    try:
        results = run(CHECKLISTS[name], looks if url is not None else Looks.at_home(home, looks))
    except NotRunning as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    if as_json:
        told = {"checklist": name, "lines": [one.as_json() for one in results]}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        _show(name, results)
    raise typer.Exit(1 if worst(one.outcome for one in results) is Outcome.FAILED else 0)


def _show(name: str, results: Sequence[Result]) -> None:
    table = Table("line", "outcome", "why", Column("page", overflow="fold"), title=f"Checklist {name}", show_lines=True)
    for one in results:
        colour = _COLOURS[one.outcome]
        table.add_row(one.line.text, f"[{colour}]{one.outcome}[/{colour}]", "\n".join(_reasons(one)), one.line.page)
    console.print(table)
    counts = {outcome: sum(1 for one in results if one.outcome is outcome) for outcome in Outcome}
    console.print(", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count))


def _reasons(result: Result) -> list[str]:
    colours = {name: _COLOURS[verdict.outcome] for name, verdict in result.verdicts.items()}
    told = [f"[{colours[name]}]{name}[/{colours[name]}]: {escape(one.text)}" for name, one in result.verdicts.items()]
    return [*told, *([f"[yellow]a person[/yellow]: {escape(result.line.person)}"] if result.line.person else [])]
