"""Schema migrations of a service, by alembic, run by the process itself (`--migrate`) or by a deployment's job.

A service's `migrations/` folder holds `env.py` (one import and one call) and `versions/`. Migrations only expand what
the running version uses, so that it goes on serving while they run and beside its successor; what nobody uses any more
is contracted a release later (`tests/architecture/test_migrations.py`). A schema that is newer than the code is
therefore one that the code can use.
"""

from pathlib import Path

import structlog
from alembic import command, context
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.schema import log, metadata

_LOCK_SECONDS = 120

_log = structlog.get_logger(__name__)


def _config(folder: Path, url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["url"] = url
    return config


def migrate(folder: Path, url: str) -> None:
    """Bring the schema at `url` to the newest version of `folder`; a second process that does the same waits.

    A schema that is newer than the code stays as it is: an older release may be deployed again.
    """
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    if found is None or knows(folder, found):
        command.upgrade(_config(folder, url), "head")
    else:
        _log.warning("the schema is newer than the code, and stays as it is", revision=found)


def knows(folder: Path, revision: str) -> bool:
    """Say whether a revision is one of the folder's; one that is not comes from a newer release."""
    return any(one.revision == revision for one in ScriptDirectory(str(folder)).walk_revisions())


def newest(folder: Path) -> str | None:
    """Return the newest revision that the code knows; None without migrations."""
    return ScriptDirectory(str(folder)).get_current_head()


async def applied(connection: AsyncConnection) -> str | None:
    """Return the revision at which the schema stands; None when it was never migrated."""
    try:
        found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError:
        return None
    return None if found is None else str(found)


def run_environment() -> None:
    """Run inside alembic's `env.py`: connect, take the migration lock, apply."""
    url = make_url(context.config.attributes["url"]).set(drivername="mysql+pymysql")
    engine = create_engine(url.update_query_dict({"charset": "utf8mb4"}))
    lock = f"lms-migrate-{url.database}"
    with engine.connect() as connection:
        if not connection.scalar(text("SELECT GET_LOCK(:lock, :wait)"), {"lock": lock, "wait": _LOCK_SECONDS}):
            raise TimeoutError(
                f"Another process has been migrating {url.database} for {_LOCK_SECONDS} s; look for it and retry."
            )
        try:
            context.configure(connection=connection, transaction_per_migration=True)
            with context.begin_transaction():
                context.run_migrations()
            metadata.create_all(connection)  # the kernel's tables that are younger than the service's first migration
            connection.commit()
        finally:
            connection.execute(text("SELECT RELEASE_LOCK(:lock)"), {"lock": lock})
    engine.dispose()


def create_kernel_tables(operations: Operations) -> None:
    """Create the kernel's tables in a service's first migration."""
    bind = operations.get_bind()
    metadata.create_all(bind)
    if bind.scalar(select(log.c.id)) is None:
        bind.execute(insert(log).values(id=1, log_epoch=1))
