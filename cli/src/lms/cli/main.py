"""The `lms` command: start, look at, stop and operate an embedded system."""

import asyncio
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.cli import keyring_commands, maintenance, recovery_commands
from lms.cli import rebuild as rebuilding
from lms.cli.checklists import command as checklists
from lms.cli.demo import command as demo
from lms.cli.demo.company import FEWEST, Spec
from lms.cli.demo.gateway import LoadFailed
from lms.cli.demo.journal import InUse
from lms.cli.demo.load import Target
from lms.cli.home import Home
from lms.cli.servers import SCHEMAS, Missing, MySQLServer, RedisServer
from lms.cli.supervision import NotRunning, Supervisor
from lms.cli.system import GATEWAY_PORT, MOST_WORKERS, SERVICES, DidNotStart, System, usual_workers
from lms.kernel import dead_letters
from lms.kernel.clock import OFFSET_KEY, write_offset
from lms.kernel.database import Database
from lms.kernel.errors import DomainError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
clock_app = typer.Typer(no_args_is_help=True, help="Show or move the business clock (never in production).")
audit_app = typer.Typer(no_args_is_help=True, help="Prove the audit log.")
demo_app = typer.Typer(no_args_is_help=True, help="Fill a system with a company and its years (never in production).")
maintenance_app = typer.Typer(no_args_is_help=True, help="Refuse new work for a while; LMS_URL: of a system elsewhere.")
dlq_app = typer.Typer(no_args_is_help=True, help="Look at parked keys and dead letters, release them, give one up.")
app.add_typer(clock_app, name="clock")
app.add_typer(demo_app, name="demo")
app.add_typer(dlq_app, name="dlq")
app.add_typer(audit_app, name="audit")
app.add_typer(maintenance_app, name="maintenance")
recovery_commands.add_to(app)
keyring_commands.add_to(app)
checklists.add_to(app)

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

HomeOption = Annotated[Path, typer.Option("--home", envvar="LMS_HOME", help="The folder of the embedded system.")]
_HOME = Path(".lms")


def _fail(text: str) -> typer.Exit:
    errors.print(f"[red]{text}[/red]", markup=True)
    return typer.Exit(1)


@app.command()
def up(
    home: HomeOption = _HOME,
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return once everything is up.")] = False,
    port: Annotated[int, typer.Option(help="The gateway's port; another is taken when it is not free.")] = GATEWAY_PORT,
    monitoring: Annotated[bool, typer.Option("--monitoring", help="Prometheus and Alertmanager too.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(envvar="LMS_WORKERS", min=1, max=MOST_WORKERS, help="Copies of each service; else one per core."),
    ] = None,
) -> None:
    """Start Kafka, the database, Redis and every service; load the demo company at the first start."""
    system = System(
        home,
        copies=workers or usual_workers(),
        gateway_port=port,
        kafka_metrics=monitoring,
        tell=lambda text: console.print(f"[dim]· {text}[/dim]"),
    )
    try:
        system.refuse_while_restoring()  # whose servers may still run
    except DidNotStart as error:
        raise _fail(str(error)) from error
    if system.supervisor.running():
        console.print(f"The system in {system.home.folder} runs already.")
        _load_demo_into_running(system)
        _show(system.status())
        return
    began = time.monotonic()
    try:
        asyncio.run(system.up())
        _load_demo(system.home, Target(system.url, system.home.secret("loader"), system.redis.url))
        if monitoring:
            asyncio.run(system.start_monitoring())
        system.start_further_copies()
    except (Missing, DidNotStart, LoadFailed, InUse, RuntimeError) as error:
        system.down()
        raise _fail(str(error)) from error
    except KeyboardInterrupt:
        console.print("Stopping.")
        system.down()
        raise typer.Exit(130) from None
    if system.ports["public"] != port:
        console.print(f"Port {port} is taken, so the gateway listens on {system.ports['public']}.")
    _show(system.status())
    console.print(f"Up after {time.monotonic() - began:.1f} s.")
    if not detach:
        _stay(system)


def _load_demo(home: Home, target: Target) -> None:
    """Load the company of the first start, unless any company was loaded before."""
    if not home.state.get("demo"):
        demo.load_into(home, target, replace(demo.FIRST, through=datetime.now(UTC).date()), console)


def _load_demo_into_running(system: System) -> None:
    """Go on with a load that was interrupted while the system stayed up."""
    try:
        _load_demo(system.home, _target(system.home.folder))
    except (LoadFailed, InUse) as error:
        raise _fail(str(error)) from error


def _target(home: Path) -> Target:
    """Return where a running system takes a company. Raises NotRunning."""
    attached = Home.at(home, attached=True)
    return Target(System(home).status()["url"], attached.secret("loader"), RedisServer(attached).url)


def _stay(system: System) -> None:
    """Stay in the foreground until Ctrl-C or SIGTERM, then stop everything in order."""
    console.print("Ctrl-C stops everything; the data stays.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while system.supervisor.running():
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("Stopping.")
        system.down()
        console.print("Everything has stopped.")


@app.command()
def down(home: HomeOption = _HOME) -> None:
    """Stop everything in order; the data stays."""
    system = System(home)
    if not system.supervisor.running():
        console.print(f"Nothing runs in {system.home.folder}.")
        return
    system.down()
    console.print("Everything has stopped.")


@app.command()
def restart(
    service: Annotated[str | None, typer.Argument(help="Only this service.")] = None, home: HomeOption = _HOME
) -> None:
    """Restart the services copy by copy, each when the one before is ready; with two copies no request fails."""
    if service is not None and service not in SERVICES:
        raise _fail(f"There is no service {service!r}; there are: {', '.join(SERVICES)}.")
    try:
        system = System.running(home, tell=lambda text: console.print(f"[dim]· {text}[/dim]"))
        asyncio.run(system.restart([service] if service else SERVICES))
    except (NotRunning, DidNotStart) as error:
        raise _fail(str(error)) from error
    console.print("Every copy runs anew." if service is None else f"Every copy of {service} runs anew.")


@app.command()
def status(
    home: HomeOption = _HOME, *, as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False
) -> None:
    """Show the URL, each process and the demo people."""
    try:
        found = System(home).status()
    except NotRunning as error:
        raise _fail(str(error)) from error
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    processes = Table("part", "state", "pid", "url", title="LMS")
    for name, one in found["services"].items():
        colour = "green" if one["state"] == "running" else "red"
        processes.add_row(name, f"[{colour}]{one['state']}[/{colour}]", str(one["pid"] or ""), one["url"] or "")
    console.print(processes)
    if found["demo"]["people"]:
        people = Table("e-mail", "roles", "manager", "department", "location", title="Some of the demo people")
        shown = [one for one in found["demo"]["people"] if len(one["roles"]) > 1] + found["demo"]["people"][-3:]
        for one in shown:
            people.add_row(
                one["email"], ", ".join(one["roles"]), one["manager"] or "", one["department"], one["location"]
            )
        console.print(people)
        console.print(f"Everybody's password: [bold]{found['demo']['password']}[/bold]")
    console.print(f"URL: [bold]{found['url']}[/bold]   API: {found['url']}/docs   Mails: {found['mail']}")
    if found["monitoring"]:
        console.print(f"Prometheus: [bold]{found['monitoring']}[/bold]")


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="A part, as `lms status` names it.")],
    home: HomeOption = _HOME,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the newest lines.")] = 100,
) -> None:
    """Show the log of one part."""
    file = Supervisor(Home.at(home)).logs / f"{service}.log"
    if not file.exists():
        known = ", ".join(sorted(one.stem for one in file.parent.glob("*.log")))
        raise _fail(f"There is no log of {service!r}; there are: {known or 'none yet'}.")
    tail = shutil.which("tail") or "/usr/bin/tail"
    command = [tail, "-n", str(lines), *(["-F"] if follow else []), str(file)]
    try:
        subprocess.run(command, check=False)  # noqa: S603  # our own command
    except KeyboardInterrupt:
        return


@app.command()
def reset(home: HomeOption = _HOME, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop everything and delete all data of this home."""
    folder = home.resolve()
    if not (folder / "state.json").exists():
        console.print(f"There is nothing in {folder}.")
        return
    if not yes and not typer.confirm(f"Delete all data in {folder}?"):
        raise typer.Exit(1)
    System(home).down()
    shutil.rmtree(folder)
    console.print(f"{folder} is gone.")


# Demo companies -------------------------------------------------------------------------------------------------------


@demo_app.command("load")
def demo_load(
    home: HomeOption = _HOME,
    *,
    employees: Annotated[int, typer.Option(min=FEWEST, max=20_000, help="How many people.")] = 5000,
    years: Annotated[float, typer.Option(min=0.1, max=10, help="How long a history, up to today.")] = 2.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same company and the same commands.")] = 1,
    name: Annotated[str | None, typer.Option(help="Keeps companies apart: their people are at NAME.example.")] = None,
    through: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Where it ends; today.")] = None,
) -> None:
    """Load a company and live its years through the public API; an interrupted load goes on where it was."""
    today = datetime.now(UTC).date()
    until = today if through is None else through.date()
    if until > today:
        raise typer.BadParameter(f"A history ends today ({today}) or before.", param_hint="--through")
    if name is not None and not demo.NAME.fullmatch(name):
        raise typer.BadParameter(
            "Take small letters, digits and hyphens: it is part of addresses.", param_hint="--name"
        )
    spec = Spec(employees, years, until, seed, name=name or f"seed{seed}-{employees}")
    began = time.monotonic()
    try:
        loaded = demo.load_into(Home.at(home), _target(home), spec, errors)
    except (NotRunning, LoadFailed, InUse) as error:
        raise _fail(str(error)) from error
    console.print(f"{employees:,} people have lived {years:g} years in {time.monotonic() - began:,.0f} s.")
    for code, count in sorted(loaded.refusals.items()):
        console.print(f"{count:,} requests were refused at once: {code}")


# The business clock ---------------------------------------------------------------------------------------------------


def _move(home: Path, offset: timedelta | None, add: timedelta | None = None) -> timedelta:
    url = (
        RedisServer(Home.at(home, attached=True)).url
        if os.environ.get("REDIS_URL") is None
        else os.environ["REDIS_URL"]
    )

    async def move() -> timedelta:
        async with Redis.from_url(url) as client:
            found = timedelta(seconds=float(await client.get(OFFSET_KEY) or 0))
            if offset is None and add is None:
                return found
            new = offset if offset is not None else found + (add or timedelta())
            await write_offset(client, new)
            return new

    return asyncio.run(move())


def _tell_clock(offset: timedelta) -> None:
    console.print(f"The business clock says {datetime.now(UTC) + offset:%Y-%m-%d %H:%M:%S} UTC (offset {offset}).")


@clock_app.command("show")
def clock_show(home: HomeOption = _HOME) -> None:
    """Show the business clock."""
    _tell_clock(_move(home, None))


@clock_app.command("set")
def clock_set(
    instant: Annotated[datetime, typer.Argument(help="The business instant, UTC.")], home: HomeOption = _HOME
) -> None:
    """Set the business clock of every service."""
    _tell_clock(_move(home, instant.replace(tzinfo=UTC) - datetime.now(UTC)))


@clock_app.command("advance")
def clock_advance(
    days: Annotated[float, typer.Argument(help="How many days to go forward.")], home: HomeOption = _HOME
) -> None:
    """Move the business clock of every service forward."""
    _tell_clock(_move(home, None, timedelta(days=days)))


# Views ----------------------------------------------------------------------------------------------------------------


@app.command()
def rebuild(
    service: Annotated[str, typer.Argument(help="Whose view.")],
    view: Annotated[str, typer.Argument(help="The view, or all.")],
    home: HomeOption = _HOME,
) -> None:
    """Make a view of a service anew from its facts, while the system runs."""
    try:
        rebuilding.rebuild(home, service, view, errors)
    except rebuilding.DidNotWork as error:
        raise _fail(str(error)) from error


@app.command()
def verify(
    service: Annotated[str | None, typer.Argument(help="Only this service.")] = None,
    home: HomeOption = _HOME,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Compare every view, topic and balance with the facts; exit with 1 when something differs."""
    _verify(home, [service] if service else SCHEMAS, as_json=as_json)


@audit_app.command("verify")
def audit_verify(
    home: HomeOption = _HOME, *, as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False
) -> None:
    """Prove that no record was changed, removed, inserted or moved, and that the tail is there; else exit with 1."""
    _verify(home, ["audit"], as_json=as_json)


def _verify(home: Path, services: Sequence[str], *, as_json: bool) -> None:
    try:
        sound = rebuilding.verify(home, services, errors, as_json=as_json)
    except rebuilding.DidNotWork as error:
        raise _fail(str(error)) from error
    raise typer.Exit(0 if sound else 1)


# Maintenance ----------------------------------------------------------------------------------------------------------

Message = Annotated[str, typer.Option(help="What callers are told.")]
RetryAfter = Annotated[int, typer.Option(min=1, help="After how many seconds callers should try again.")]


def _told_of_maintenance(home: Path, method: str, path: str, body: Any = None) -> None:
    try:
        found = maintenance.Gateway.of(home).call(method, f"/admin/maintenance{path}", body)
    except maintenance.Refused as error:
        raise _fail(str(error)) from error
    console.print(f"Maintenance is [bold]{'on' if found['enabled'] else 'off'}[/bold].")
    for one in found["gateways"] if found["enabled"] else []:
        knows = "knows" if one["informed"] else "does not know yet"
        console.print(f"{one['instance']} {knows}, and has {one['requests_in_hand']} requests in hand.")


@maintenance_app.command("enable")
def maintenance_enable(home: HomeOption = _HOME, *, message: Message = "", retry_after: RetryAfter = 120) -> None:
    """Refuse new work from now on."""
    _told_of_maintenance(home, "POST", "/enable", {"message": message, "retry_after_seconds": retry_after})


@maintenance_app.command("disable")
def maintenance_disable(home: HomeOption = _HOME) -> None:
    """Take work again."""
    _told_of_maintenance(home, "POST", "/disable")


@maintenance_app.command("status")
def maintenance_status(home: HomeOption = _HOME) -> None:
    """Show whether LMS is in maintenance, and what is still in hand."""
    _told_of_maintenance(home, "GET", "")


@maintenance_app.command("run")
def maintenance_run(
    command: Annotated[list[str], typer.Argument(help="What to run, after `--`.")],
    home: HomeOption = _HOME,
    *,
    message: Message = "",
    retry_after: RetryAfter = 120,
    drain_seconds: Annotated[float, typer.Option(help="How long to wait for requests in hand.")] = 30.0,
    health_seconds: Annotated[float, typer.Option(help="How long to wait for every part to be healthy.")] = 120.0,
    force: Annotated[bool, typer.Option("--force", help="Run even if requests are still in hand.")] = False,
) -> None:
    """Refuse new work, wait for what is in hand, run a command, check the health, take work again."""
    window = maintenance.Window(drain_seconds, health_seconds, message, retry_after, force)
    try:
        code = window.run(maintenance.Gateway.of(home), command, lambda text: errors.print(text, markup=False))
    except maintenance.Refused as error:
        raise _fail(str(error)) from error
    raise typer.Exit(code)


# Dead letters ---------------------------------------------------------------------------------------------------------


def _with_database(home: Path, service: str, work: Any) -> Any:
    if service not in SCHEMAS:
        raise _fail(f"No service {service!r} has parked keys; choose one of {', '.join(SCHEMAS)}.")

    async def run() -> Any:
        database = Database(
            MySQLServer(Home.at(home, attached=True)).url(f"lms_{service}", f"lms_{service}"), pool_size=1
        )
        try:
            async with database.transaction() as connection:
                return await work(connection)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except DomainError as error:
        raise _fail(str(error)) from error


@dlq_app.command("list")
def dlq_list(home: HomeOption = _HOME) -> None:
    """Show every parked key of every service."""
    table = Table("service", "consumer", "key", "kind", "events", "since", "reason")
    for service in SCHEMAS:
        found: list[dead_letters.ParkedKey] = _with_database(home, service, dead_letters.parked)
        for one in found:
            since = one.since.strftime("%Y-%m-%d %H:%M:%S")
            table.add_row(service, one.consumer, one.key, one.kind, str(one.events), since, one.reason[:200])
    console.print(table if table.row_count else "No key is parked.")


@dlq_app.command("show")
def dlq_show(service: str, consumer: str, key: str, home: HomeOption = _HOME) -> None:
    """Show the events that wait under a parked key."""

    async def work(connection: AsyncConnection) -> Any:
        return await dead_letters.show(connection, consumer, key)

    for one in _with_database(home, service, work):
        console.print_json(
            json.dumps(
                {
                    "topic": one.topic, "partition": one.partition, "offset": one.offset,
                    "headers": dict(one.headers), "payload": one.payload,
                }
            )
        )  # fmt: skip


@dlq_app.command("retry")
def dlq_retry(service: str, consumer: str, key: str, home: HomeOption = _HOME) -> None:
    """Release a parked key after its cause was mended."""

    async def work(connection: AsyncConnection) -> None:
        await dead_letters.retry(connection, consumer, key)

    _with_database(home, service, work)
    console.print(f"{consumer} tries {key} again.")


@dlq_app.command("skip")
def dlq_skip(service: str, consumer: str, key: str, home: HomeOption = _HOME) -> None:
    """Give up the first event of a parked key and release the rest."""

    async def work(connection: AsyncConnection) -> Any:
        return await dead_letters.skip(connection, consumer, key)

    skipped = _with_database(home, service, work)
    console.print(f"Skipped {skipped.topic}/{skipped.partition}@{skipped.offset}; {consumer} goes on with {key}.")


def main() -> None:
    """Run the command."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it complains of a broker that is still starting
    app()


if __name__ == "__main__":
    main()
