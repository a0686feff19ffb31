"""The directory: its wiring, and the process that runs it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from lms.directory import store
from lms.directory.api import ROUTERS
from lms.directory.api.access import parts_of
from lms.directory.commands import sessions
from lms.directory.commands.bootstrap import create_first_administrator
from lms.directory.commands.imports import run_imports
from lms.directory.commands.privacy import reapply_erasures
from lms.directory.decider import DECIDERS
from lms.directory.events import EVENTS, EXAMPLES, TOPIC
from lms.directory.measures import count_employees
from lms.directory.projections import PROJECTIONS
from lms.directory.settings import Settings
from lms.kernel.recovery import Restoration
from lms.kernel.service import Job, Runtime, Service, run


async def import_people(runtime: Runtime) -> None:
    """Do what is left of the imports."""
    parts = parts_of(runtime)
    await run_imports(parts.executor, parts.registry)


async def prune(runtime: Runtime) -> None:
    """Remove sessions, invitations and counters that are over."""
    now = datetime.now(UTC)
    async with runtime.database.transaction() as connection:
        await store.prune(connection, now, now - sessions.FORGET_ATTEMPTS_AFTER)


async def prepare(runtime: Runtime) -> None:
    """Put right what may be wrong when a process starts, and create the first administrator if asked to.

    A restore may have brought back people who were erased; a rotation of ENCRYPTION_KEY leaves old look-up values.
    """
    parts = parts_of(runtime)
    await reapply_erasures(parts.executor, parts.registry, store.ErasureList(parts.settings.erasure_list))
    async with runtime.database.transaction() as connection:
        await store.reindex_emails(connection, parts.registry.emails)
        empty = await store.is_empty(connection)
    email, password = parts.settings.bootstrap_admin_email, parts.settings.bootstrap_admin_password
    if empty and email and password is not None:
        password_hash = await sessions.hashed(password.get_secret_value())
        await create_first_administrator(parts.executor, parts.registry, email, password_hash)


async def restored(runtime: Runtime, restoration: Restoration) -> None:
    """After a restore: erase again whoever was erased since, and let nobody stay signed in.

    A sign-out, a lock or a new password of after that instant is undone, so that everybody signs in anew.
    """
    if restoration.restored_to is None:
        return
    parts = parts_of(runtime)
    await reapply_erasures(parts.executor, parts.registry, store.ErasureList(parts.settings.erasure_list))
    async with runtime.database.transaction() as connection:
        await store.revoke_all_sessions(connection, datetime.now(UTC))


SERVICE = Service(
    name="directory",
    settings=Settings,
    examples=EXAMPLES,
    deciders=DECIDERS,
    publishes={TOPIC: EVENTS},
    inline=PROJECTIONS,
    routers=ROUTERS,
    jobs=(
        Job("imports", every=timedelta(seconds=1), run=import_people),
        Job("prune", every=timedelta(hours=1), run=prune),
    ),
    on_start=prepare,
    measures=(count_employees,),
    on_restored=restored,
    migrations=Path(__file__).parents[3] / "migrations",
)


def main() -> None:
    """Run the service."""
    run(SERVICE)


if __name__ == "__main__":
    main()
