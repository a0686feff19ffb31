"""Restoring a whole embedded system: its secrets and lists, its databases, its topics, and then its services.

`restore_home` does it in the system's own folder. `beside` gives a folder for a drill. What both then do is `recover`.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from rich.console import Console

from lms.cli import rebuild as services_own
from lms.cli.backup import BackupFailed, back_up
from lms.cli.backup_settings import HOME_FILES, HOME_IDENTITY, HOME_LISTS, Backups, settings_of
from lms.cli.catalogue import Kind, NoBackup
from lms.cli.database_server import DatabaseServer, ServerFailed
from lms.cli.home import OTHER_ENCRYPTION_KEYS, Home
from lms.cli.restore import (
    Plan,
    RestoreFailed,
    as_they_are,
    bring_back,
    extract_files,
    is_used,
    leave_word,
    prepared,
    refuse_to_replace,
    restore_lists,
    take_epoch,
)
from lms.cli.servers import SCHEMAS, schemas_and_users
from lms.cli.system import System
from lms.kernel.clock import OFFSET_KEY, write_offset

ADMIN = "lms_restore"
"""The user who may do everything, and lives as long as a restore."""

AFTERWARDS: tuple[Kind, ...] = ("database", "files", "lists", "log")
"""What is backed up at the end of a restore: what came before it rolls nothing forward that comes after."""


@dataclass
class Report:
    """What a restore did. `seconds` are those of each step, `lost` are facts by topic."""

    database: str
    restored_to: datetime
    covered_until: datetime
    complete: bool
    log_epoch: int
    lost: dict[str, int]
    facts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total_seconds(self) -> float:
        """How long it took, until the services answered."""
        return sum(self.seconds.values())

    def as_json(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {**asdict(self), "total_seconds": self.total_seconds}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Measure a step."""
        began = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - began, 2)


def admin_sql(home: Home) -> tuple[str, ...]:
    """Return the SQL that makes the user ADMIN, which the binary log must not know: it would be applied again."""
    user, password = f"'{ADMIN}'@'127.0.0.1'", home.secret(f"mysql:{ADMIN}")
    return (
        "SET SESSION sql_log_bin = 0;",
        f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}';",
        f"ALTER USER {user} IDENTIFIED BY '{password}';",
        f"GRANT ALL ON *.* TO {user} WITH GRANT OPTION;",
        "SET SESSION sql_log_bin = 1;",
    )


async def restore_home(
    folder: Path,
    backups: Backups,
    console: Console,
    *,
    to: datetime | None = None,
    log_folder: Path | None = None,
    replace: bool = False,
    topics_only: bool = False,
) -> Report:
    """Restore the embedded system in a folder, and start it. Raises WouldReplace, RestoreFailed and what parts raise.

    A folder that has data is refused unless it is to be replaced. What the server there has committed is stored first,
    so that even what is replaced can be restored later. An interrupted restore is run again in the same way.
    """
    bring_secrets(folder, backups)
    restore_lists(backups, [folder / one for one in HOME_LISTS])
    home = Home.at(folder)
    begun: dict[str, Any] | None = home.state.get("restoring")
    copies = int(home.state.get("copies", 1))
    system = System(folder, copies=copies, extra_sql=admin_sql(home), tell=backups.tell)
    if system.supervisor.running() and not (replace or topics_only or begun):
        with prepared(backups, to, log_folder, complete=_store_the_tail(folder, backups)) as plan:
            refuse_to_replace("There is data here", plan)
    system.down()
    system.configure()
    await system.start_servers()
    try:
        server = DatabaseServer(system.mysql.url(ADMIN, ""))
        used = begun is None and is_used(server)
        complete = bool(begun["complete"]) if begun else used and _store_the_tail(folder, backups)
        if topics_only:
            return await _topics_anew(system, server, backups, console, to)
        with prepared(backups, to, log_folder, complete=complete) as plan:
            if used and not replace:
                refuse_to_replace("There is data here", plan)
            for sentence in plan.sentences():
                backups.tell(sentence)
            return await recover(system, server, backups, plan, console)
    except BaseException:
        system.down()
        raise


def back_up_afterwards(folder: Path, backups: Backups) -> None:
    """Back up a system that was restored: nothing that was stored before rolls forward what comes now."""
    back_up(_of_home(folder, backups), AFTERWARDS)


def _of_home(folder: Path, backups: Backups) -> Backups:
    """Return the same storage and keys, for the server of an embedded system."""
    chosen = backups.settings
    settings = settings_of(folder, url=chosen.url, recipient=chosen.recipient, identity_file=chosen.identity_file)
    return Backups.of(settings, backups.tell)


def bring_secrets(folder: Path, backups: Backups) -> None:
    """Give a folder that has no secrets those that were backed up, and keep the key that opened them."""
    if (folder / HOME_FILES[0]).exists():
        return
    try:
        extract_files(backups, folder, only=HOME_FILES)
    except NoBackup as error:
        raise RestoreFailed(
            f"{error} Without the secrets of that system nothing can be read: put its {HOME_FILES[0]} into {folder}."
        ) from error
    identity, kept = backups.settings.identity_file, folder / HOME_IDENTITY
    if identity is not None and not kept.exists():
        shutil.copyfile(identity, kept)
        kept.chmod(0o600)


def _store_the_tail(folder: Path, backups: Backups) -> bool:
    """Store what the server of the folder has committed; say whether the stored log is then complete."""
    try:
        back_up(_of_home(folder, backups), ("lists", "log"))
    except (BackupFailed, NoBackup, ServerFailed) as error:
        backups.tell(f"the log of the server here is not stored: {error}")
        return False
    return True


async def recover(
    system: System, server: DatabaseServer, backups: Backups, plan: Plan, console: Console, *, epoch: int | None = None
) -> Report:
    """Restore into a system whose servers run and whose services do not; then start them.

    Without an `epoch` one is taken for good, as a drill must not.
    """
    if epoch is None:
        epoch = take_epoch(backups, server, plan)
    report = Report(
        database=plan.database.id,
        restored_to=plan.restored_to,
        covered_until=plan.covered_until,
        complete=plan.complete,
        log_epoch=epoch,
        lost={topic: one.facts for topic, one in plan.later.items()},
    )
    _begin(system.home, complete=plan.complete)
    with report.timed("databases"):
        await asyncio.to_thread(bring_back, backups, server, plan, epoch)
        # the log may have given the users the passwords of another server
        own = schemas_and_users(lambda user: system.home.secret(f"mysql:{user}"), "127.0.0.1")
        server.execute(*own, logged=False)
    await _set_clock(system, plan.database.clock_offset)
    await _finish(system, server, console, report)
    return report


async def _topics_anew(
    system: System, server: DatabaseServer, backups: Backups, console: Console, restored_to: datetime | None
) -> Report:
    """Make all topics anew from the databases as they are: Kafka was lost, or others restored the databases."""
    epoch, instant = take_epoch(backups, server, None), restored_to or datetime.now(UTC)
    report = Report("", instant, instant, complete=restored_to is None, log_epoch=epoch, lost={})
    _begin(system.home, complete=True)
    await asyncio.to_thread(leave_word, server, as_they_are(epoch, restored_to))
    await _finish(system, server, console, report)
    return report


async def _finish(system: System, server: DatabaseServer, console: Console, report: Report) -> None:
    with report.timed("migrations"):
        await system.migrate()
    with report.timed("topics"):
        report.facts = await asyncio.to_thread(services_own.republish, system.home.folder, SCHEMAS, console)
    with report.timed("services"):
        await system.start_services()
    server.execute(f"DROP USER '{ADMIN}'@'127.0.0.1'", logged=False)
    del system.home.state["restoring"]
    system.home.save()


def _begin(home: Home, *, complete: bool) -> None:
    """Remember that a restore is under way, until it has come to its end: meanwhile `lms up` starts nothing."""
    home.state["restoring"] = {"complete": complete}
    home.save()


async def _set_clock(system: System, offset: float) -> None:
    """Move the business clock to where it stood, where no clock was moved yet; production has none."""
    if offset:
        async with Redis.from_url(system.redis.url) as redis:
            if await redis.get(OFFSET_KEY) is None:
                await write_offset(redis, timedelta(seconds=offset))


@asynccontextmanager
async def beside(backups: Backups) -> AsyncIterator[System]:
    """Give an empty system in a folder of its own, with the secrets that were backed up, and its servers running.

    ENCRYPTION_KEY and LMS_AUDIT_SIGNING_KEY of the environment win over what was backed up, and so do the keys that
    stand beside ENCRYPTION_KEY while it is rotated. All of it is gone at the end, with its processes.
    """
    folder = Path(tempfile.mkdtemp(prefix="lms-drill-"))
    os.chmod(folder, 0o711)  # noqa: PTH101, S103  # the database server's own account must reach its files
    system: System | None = None
    try:
        home = Home.at(folder)
        _take_secrets(home, backups)
        restore_lists(backups, [folder / one for one in HOME_LISTS])
        system = System(folder, environment="test", extra_sql=admin_sql(home), tell=backups.tell)
        system.configure()
        await system.start_servers()
        yield system
    finally:
        if system is not None:
            system.down()
        shutil.rmtree(folder, ignore_errors=True)


def _take_secrets(home: Home, backups: Backups) -> None:
    wanted = {"encryption": "ENCRYPTION_KEY", "audit": "LMS_AUDIT_SIGNING_KEY"}
    given = {**wanted, **OTHER_ENCRYPTION_KEYS}
    found = {name: os.environ[variable] for name, variable in given.items() if os.environ.get(variable)}
    if not set(wanted) <= set(found):
        with tempfile.TemporaryDirectory() as folder:
            extract_files(backups, Path(folder), only=HOME_FILES[:1])
            found = {**Home.at(Path(folder)).secrets, **found}
    for name, variable in wanted.items():
        if name not in found:
            raise RestoreFailed(f"The files that were backed up hold no secret {name!r}: set {variable}.")
    home.change_secrets({name: found[name] for name in given if name in found})
