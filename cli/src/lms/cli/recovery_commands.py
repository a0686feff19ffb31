"""The commands of back-up and recovery: `lms backup`, `lms backups`, `lms restore`, `lms drill`."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from lms.cli import backup as making
from lms.cli import rebuild, recovery
from lms.cli.backup import BackupFailed, Made
from lms.cli.backup_settings import Backups, settings_of
from lms.cli.binary_log import NotALog
from lms.cli.catalogue import KINDS, OFTEN, Catalogue, Kind, NoBackup
from lms.cli.database_server import DatabaseServer, ServerFailed
from lms.cli.drill import RECOVERY_TIME, Result, SmokeFailed, drill
from lms.cli.packing import Damaged, NoKey
from lms.cli.restore import (
    RestoreFailed,
    as_they_are,
    bring_back,
    extract_files,
    is_used,
    leave_word,
    prepared,
    refuse_to_replace,
    refuse_while_connected,
    restore_lists,
    take_epoch,
)
from lms.cli.servers import Missing
from lms.cli.storage import StorageFailed, storage_at
from lms.cli.system import DidNotStart
from lms.cli.trial import TrialFailed
from lms.kernel.recovery import EpochUsed
from lms.kernel.settings import BadSettings

ALL: tuple[Kind, ...] = ("database", "files", "lists", "log")
"""What `lms backup` makes; the keyring is part of the databases' instant."""

backups_app = typer.Typer(
    no_args_is_help=True, help="Look at the back-ups that are stored, try one out, extract files."
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

_HOME = Path(".lms")
HomeOption = Annotated[Path, typer.Option("--home", envvar="LMS_HOME", help="The folder of the embedded system.")]
FromOption = Annotated[str | None, typer.Option("--from", help="The storage, instead of LMS_BACKUP_URL.")]
IdentityOption = Annotated[Path | None, typer.Option("--identity", help="The file with the age identity.")]
ToOption = Annotated[
    str | None, typer.Option("--to", help="A whole second, such as 2026-11-28T09:30:00Z; else the last.")
]
LogOption = Annotated[
    Path | None, typer.Option("--binary-log", help="A folder with the server's own files of the binary log.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For scripts.")]

_FAILURES = (
    BackupFailed, TrialFailed, RestoreFailed, SmokeFailed, NoBackup, Damaged, NoKey, NotALog, StorageFailed,
    ServerFailed, Missing, DidNotStart, BadSettings, EpochUsed, rebuild.DidNotWork,
)  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Give an application the commands."""
    app.command()(backup)
    app.command()(restore)
    app.command("drill")(drill_command)
    app.add_typer(backups_app, name="backups")


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what is told in a sentence into a line and an exit code."""
    try:
        yield
    except _FAILURES as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error


def _tell(text: str) -> None:
    errors.print(f"· {text}", style="dim", markup=False)


def _instant(text: str | None) -> datetime | None:
    if text is None or text == "latest":
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise RestoreFailed(f"{text!r} is no instant; write 2026-11-28T09:30:00Z.") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


# Backing up -----------------------------------------------------------------------------------------------------------


def backup(
    kinds: Annotated[
        list[str] | None, typer.Argument(help="database, keyring, files, lists, log; all without.")
    ] = None,
    home: HomeOption = _HOME,
    *,
    trial: Annotated[bool, typer.Option(help="Restore it for a trial; without that it is no success yet.")] = True,
    schedule: Annotated[bool, typer.Option("--schedule", help="Go on for ever, each kind when it is due.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Back up databases, keyring, files and the binary log; try them out; delete what is over."""
    with _telling():
        wanted = _kinds(kinds)
        backups = Backups.of(settings_of(home, make_key=True), _tell, trial=trial)
        if schedule:
            _for_ever(backups)
        _show_made(making.back_up(backups, wanted), as_json=as_json)


def _kinds(names: list[str] | None) -> tuple[Kind, ...]:
    unknown = sorted(set(names or ()) - set(KINDS))
    if unknown:
        raise BackupFailed(f"There is no kind {', '.join(unknown)}; choose of {', '.join(KINDS)}.")
    return tuple(kind for kind in KINDS if kind in (names or ALL))


def _show_made(made: list[Made], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps([{**_figures(one), "remark": one.remark} for one in made], indent=2) + "\n")
        return
    table = Table("kind", Column("back-up", no_wrap=True), "size", "seconds", "tried", "", title="Back-ups")
    for one in made:
        table.add_row(one.kind, one.id, _size(one.size), f"{one.seconds:.1f}", "yes" if one.tried else "no", one.remark)
    console.print(table)


def _figures(one: Made) -> dict[str, Any]:
    return {"kind": one.kind, "id": one.id, "bytes": one.size, "seconds": one.seconds, "tried": one.tried}


def _size(size: int) -> str:
    return f"{size / 1e6:,.2f} MB"


def _for_ever(backups: Backups) -> None:
    """Make each kind when it is due; what fails is told, and tried again at the next look.

    While the databases cannot be backed up, the log is stored all the same: it rolls their last back-up forward. Nor
    does the failure of one kind hold up another: each is missed by itself (the alerts BackupTooOld, BackupMissing).
    """
    settings = backups.settings
    every = timedelta(hours=settings.every_hours)
    while True:
        if not (_is_due(backups, every) and _make(backups, ALL)):
            for kind in OFTEN:
                _make(backups, (kind,))
        time.sleep(settings.log_seconds)


def _is_due(backups: Backups, every: timedelta) -> bool:
    """Say whether the databases were last backed up so long ago, or before a restore, behind which no log is stored."""
    try:
        newest = backups.catalogue.newest("database")
        return datetime.now(UTC) - newest.taken_at >= every or newest.log_epoch != making.log_epoch(backups.server)
    except _FAILURES:
        return True  # there is none, or the attempt will say what is wrong


def _make(backups: Backups, kinds: tuple[Kind, ...]) -> bool:
    """Make some kinds, and tell of it; say whether all were made."""
    try:
        for one in making.back_up(backups, kinds):
            _tell(f"{one.kind} {one.id}: {_size(one.size)} in {one.seconds:.1f} s {one.remark}")
    except _FAILURES as error:
        errors.print(str(error), style="red", markup=False)
        return False
    return True


@backups_app.command("list")
def list_backups(home: HomeOption = _HOME, from_: FromOption = None) -> None:
    """Show the back-ups of databases, keyring and files."""
    with _telling():
        catalogue = Catalogue(storage_at(settings_of(home, url=from_).url))
        table = Table("kind", Column("back-up", no_wrap=True), "taken at (UTC)", "log epoch", "server", "size", "tried")
        kinds: tuple[Kind, ...] = ("database", "keyring", "files", "lists")
        for kind in kinds:
            for one in catalogue.manifests(kind, catalogue.ids(kind)):
                tried = "no" if one.tried_at is None else f"{one.tried_at:%Y-%m-%d %H:%M}"
                taken = f"{one.taken_at:%Y-%m-%d %H:%M:%S}"
                table.add_row(kind, one.id, taken, str(one.log_epoch), one.server, _size(one.size), tried)
        console.print(table if table.row_count else f"{catalogue.storage.url} holds no back-up.")


@backups_app.command("verify")
def verify_backup(
    id_: Annotated[
        str | None, typer.Argument(metavar="BACKUP", help="Which, as `list` names it; else the newest.")
    ] = None,
    home: HomeOption = _HOME,
    from_: FromOption = None,
    identity: IdentityOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Restore a stored back-up of the databases for a trial, and compare every table."""
    with _telling():
        backups = Backups.of(settings_of(home, url=from_, identity_file=identity), _tell)
        _show_made(making.verify(backups, id_), as_json=as_json)


@backups_app.command("extract")
def extract(
    folder: Annotated[Path, typer.Argument(help="Where to; what is there already stays as it is.")],
    home: HomeOption = _HOME,
    from_: FromOption = None,
    identity: IdentityOption = None,
) -> None:
    """Extract the newest back-up of uploads and configuration into a folder."""
    with _telling():
        backups = Backups.of(settings_of(home, url=from_, identity_file=identity), _tell)
        names = extract_files(backups, folder)
        console.print(f"{len(names)} entries were extracted into {folder}.")


# Restoring ------------------------------------------------------------------------------------------------------------


def restore(
    to: ToOption = None,
    home: HomeOption = _HOME,
    from_: FromOption = None,
    identity: IdentityOption = None,
    binary_log: LogOption = None,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the data that is there.")] = False,
    topics_only: Annotated[
        bool,
        typer.Option(
            "--topics-only",
            help="Leave the databases, make the topics anew: Kafka was lost or, with --to, others restored them.",
        ),
    ] = False,
    backup: Annotated[bool, typer.Option(help="Back up at the end.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Bring everything back to one instant, from the newest back-up of before it and the binary log."""
    with _telling():
        instant = _instant(to)
        backups = Backups.of(settings_of(home, url=from_, identity_file=identity), _tell)
        if url := os.environ.get("LMS_RESTORE_DATABASE_URL"):
            elsewhere = DatabaseServer(url)
            if topics_only:
                refuse_while_connected(elsewhere)
                epoch = take_epoch(backups, elsewhere, None)
                leave_word(elsewhere, as_they_are(epoch, instant))
            else:
                epoch = _restore_elsewhere(backups, elsewhere, instant, binary_log, replace=replace)
            console.print(
                f"{elsewhere} is ready for log epoch {epoch}. Now migrate each service (--migrate), have each make its"
                " topics anew (--republish), start them all, and back up (lms backup); docs/recovery.md says how."
            )
            return
        report = asyncio.run(
            recovery.restore_home(
                home, backups, errors, to=instant, log_folder=binary_log, replace=replace, topics_only=topics_only
            )
        )
        _show_report(report, as_json=as_json)
        if backup:
            recovery.back_up_afterwards(home, backups)


def _restore_elsewhere(
    backups: Backups, server: DatabaseServer, to: datetime | None, log_folder: Path | None, *, replace: bool
) -> int:
    """Restore the databases of a server that others run, and return the log epoch that the services go on in."""
    restore_lists(backups, backups.settings.list_paths)
    with prepared(backups, to, log_folder) as plan:
        if is_used(server) and not replace:
            refuse_to_replace(f"{server} has data", plan)
        for sentence in plan.sentences():
            _tell(sentence)
        epoch = take_epoch(backups, server, plan)
        bring_back(backups, server, plan, epoch)
        return epoch


def _show_report(report: recovery.Report, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(report.as_json(), indent=2, default=str) + "\n")
        return
    table = Table("step", "seconds", title=f"Restored to {report.restored_to:%Y-%m-%d %H:%M:%S} UTC")
    for step, seconds in report.seconds.items():
        table.add_row(step, f"{seconds:.1f}")
    table.add_row("in all", f"{report.total_seconds:.1f}")
    console.print(table)
    lost = sum(report.lost.values())
    console.print(
        f"{sum(report.facts.values()):,} facts stand again, under log epoch {report.log_epoch}; {lost:,} that the log"
        " knows of were given up. Everybody signs in anew."
    )


# The drill ------------------------------------------------------------------------------------------------------------


def drill_command(
    home: HomeOption = _HOME,
    to: ToOption = None,
    from_: FromOption = None,
    identity: IdentityOption = None,
    binary_log: LogOption = None,
    *,
    host_lost: Annotated[
        bool, typer.Option("--host-lost", help="Do without the binary log that is on the database's own disk.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Recover from a disaster on processes of its own, beside the running system; tell what was achieved."""
    with _telling():
        backups = Backups.of(settings_of(home, url=from_, identity_file=identity), _tell)
        own = home / "mysql"
        log = binary_log or (own if own.is_dir() and not host_lost else None)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # its processes end with it, as by Ctrl-C
        result = asyncio.run(drill(backups, errors, to=_instant(to), log_folder=log))
    if as_json:
        sys.stdout.write(json.dumps(result.as_json(), indent=2, default=str) + "\n")
    else:
        _show_result(result)
    raise typer.Exit(0 if result.sound else 1)


def _show_result(result: Result) -> None:
    _show_report(result.report, as_json=False)
    rebuild.show(result.checks)
    lost = (
        "not compared: the running system was away"
        if result.facts_lost is None
        else f"{result.facts_lost:,} facts lost"
    )
    aim = RECOVERY_TIME.total_seconds()
    console.print(
        f"Recovery time {result.recovery_seconds:.1f} s (aim {aim:.0f} s; the guide allows 4 h). Recovery point"
        f" {result.recovery_point_seconds:.1f} s before the disaster (aim 0 s; the guide allows 1 h), {lost}. Verified"
        f" in {result.verification_seconds:.1f} s."
    )
