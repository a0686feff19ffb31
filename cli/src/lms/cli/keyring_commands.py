"""The commands of the keyring: `lms keyring status`, `lms keyring rotate`."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lms.cli.keyring import Access, Refused, Rotated, rotate, rotate_home, status
from lms.cli.servers import SCHEMAS, Missing
from lms.cli.supervision import NotRunning
from lms.cli.system import DidNotStart, System
from lms.kernel.idempotency import KEPT
from lms.kernel.settings import BadSettings

keyring_app = typer.Typer(
    no_args_is_help=True,
    help="Rotate ENCRYPTION_KEY while everybody works. KEYRING_DATABASE_URL (or DATABASE_URL), REDIS_URL and the keys"
    " in the environment: of a system elsewhere.",
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

_HOME = Path(".lms")
_NAMED = 20
_ELSEWHERE = ("KEYRING_DATABASE_URL", "DATABASE_URL")
HomeOption = Annotated[Path, typer.Option("--home", envvar="LMS_HOME", help="The folder of the embedded system.")]


def add_to(app: typer.Typer) -> None:
    """Give an application the commands."""
    app.add_typer(keyring_app, name="keyring")


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what is told in a sentence into a line and an exit code."""
    try:
        yield
    except (Refused, BadSettings, NotRunning, DidNotStart, Missing) as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error


def _tell(text: str) -> None:
    errors.print(f"· {text}", style="dim", markup=False)


def _elsewhere() -> bool:
    return any(name in os.environ for name in _ELSEWHERE)


@keyring_app.command("status")
def keyring_status(home: HomeOption = _HOME) -> None:
    """Show which keys each process holds, and which key wraps the people's data keys."""
    with _telling():
        access = Access.of_environment() if _elsewhere() else Access.of_home(System.running(home).home)
        found = asyncio.run(status(access))
    table = Table("service", "process", "seals with", "opens too", title="Encryption keys")
    for one in found.holders:
        first, *others = (access.name_of(told) for told in one.fingerprints)
        table.add_row(one.service, one.process, first, "\n".join(others))
    for service in found.unheard:
        table.add_row(service, "[yellow]not heard of[/yellow]", "", "")
    console.print(table)
    for variable, count in found.opened.items():
        console.print(f"{count:,} data keys are wrapped with {variable}.")
    _tell_unopened(found.unopened)


@keyring_app.command("rotate")
def keyring_rotate(
    home: HomeOption = _HOME,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Of a system elsewhere: do not ask which keys the services hold.")
    ] = False,
) -> None:
    """Wrap the people's data keys with a new ENCRYPTION_KEY; safe to interrupt and to repeat.

    An embedded system draws the new key itself and restarts its services, copy by copy. Elsewhere the environment has
    ENCRYPTION_KEY, the new one, and ENCRYPTION_KEY_PREVIOUS, and the services have both already.
    """
    with _telling():
        if _elsewhere():
            rotated = asyncio.run(rotate(Access.of_environment(), force=force))
        else:
            system = System.running(home, tell=_tell)
            programs = system.supervisor.states()
            rotated = asyncio.run(rotate_home(system.home, programs, lambda: system.restart(SCHEMAS), _tell))
    _show(rotated)
    raise typer.Exit(1 if rotated.unopened else 0)


def _show(rotated: Rotated) -> None:
    console.print(
        f"{rotated.rewrapped:,} data keys were wrapped anew; {rotated.before:,} were wrapped with the new key before."
    )
    _tell_unopened(rotated.unopened)
    console.print(
        "Run `lms backup` now, and keep the new key where the old one was kept. Back-ups of the keyring from before"
        " open with the old key alone: keep it as long as you keep them, and let the services hold it as"
        f" ENCRYPTION_KEY_PREVIOUS for more than {KEPT.days} days.",
        markup=False,
    )


def _tell_unopened(subjects: tuple[str, ...]) -> None:
    if subjects:
        listed = ", ".join(subjects[:_NAMED]) + (
            f" and {len(subjects) - _NAMED:,} more" if len(subjects) > _NAMED else ""
        )
        errors.print(
            f"{len(subjects):,} data keys open with none of the keys, those of: {listed}", style="red", markup=False
        )
