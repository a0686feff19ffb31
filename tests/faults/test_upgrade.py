"""Versions follow one another while people work: schemas expand under the running version, and copies are replaced."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.conftest import TESTER, sql_of_the_tester
from tests.e2e.company import Company
from tests.faults import invariants
from tests.faults.traffic import Traffic, processes

from lms.cli.servers import SCHEMAS
from lms.cli.system import SERVICES, System
from lms.kernel.migrations import migrate, newest

ROOT = Path(__file__).parents[2]
NEXT = """
from alembic import op
from sqlalchemy import text

revision = "next"
down_revision = "{head}"


def upgrade() -> None:
    tables = [name for (name,) in op.get_bind().execute(text("SHOW TABLES")) if name != "alembic_version"]
    for table in tables:
        op.execute(f"ALTER TABLE `{{table}}` ADD COLUMN next_optional VARCHAR(20)")
        op.execute(f"ALTER TABLE `{{table}}` ADD COLUMN next_required INTEGER NOT NULL DEFAULT 0")
        op.execute(f"ALTER TABLE `{{table}}` ADD INDEX next_index (next_optional)")
    op.execute("CREATE TABLE next_table (id INTEGER NOT NULL, PRIMARY KEY (id))")
"""
"""A release to come that does to every table whatever a migration may do (tests/architecture/test_migrations.py)."""


def migrations_of(service: str) -> Path:
    return ROOT / "services" / service / "migrations"


@pytest.fixture
def next_release(tmp_path: Path) -> dict[str, Path]:
    """The migrations of each service in a release to come."""
    found = {}
    for service in SCHEMAS:
        found[service] = tmp_path / service
        shutil.copytree(migrations_of(service), found[service], ignore=shutil.ignore_patterns("__pycache__"))
        text = NEXT.format(head=newest(migrations_of(service)))
        (found[service] / "versions" / "9999_next.py").write_text(text, encoding="utf-8")
    return found


@pytest.fixture
def taken_back(system: System) -> Iterator[None]:
    """Take the release to come back afterwards."""
    yield
    with invariants.mysql(system) as cursor:
        for service in SCHEMAS:
            schema = f"lms_{service}"
            cursor.execute(
                "SELECT DISTINCT table_name FROM information_schema.columns"
                " WHERE table_schema = %s AND column_name = 'next_required'",
                (schema,),
            )
            for (table,) in cursor.fetchall():
                cursor.execute(
                    f"ALTER TABLE {schema}.`{table}` DROP INDEX next_index, DROP COLUMN next_optional,"
                    " DROP COLUMN next_required"
                )
            cursor.execute(f"DROP TABLE IF EXISTS {schema}.next_table")
            head = newest(migrations_of(service))
            cursor.execute(f"UPDATE {schema}.alembic_version SET version_num = %s", (head,))  # noqa: S608  # our own


async def test_the_running_version_serves_while_the_next_ones_migrations_run_and_after_them(
    system: System, company: Company, next_release: dict[str, Path], taken_back: None
) -> None:
    assert taken_back is None
    traffic = await asyncio.to_thread(Traffic, system, company)
    with traffic.flowing():
        await asyncio.to_thread(traffic.since, 30)
        for service, folder in next_release.items():
            await asyncio.to_thread(migrate, folder, system.mysql.url("lms_migrator", f"lms_{service}"))
            await asyncio.to_thread(traffic.since, 10)
        await system.restart_with("requests-2", {})  # an old copy that begins anew before its successor comes
        await system._run_once("requests", "--migrate")  # and an old deployment that is repeated
        await asyncio.to_thread(traffic.since, 30)
    assert traffic.failures == []
    await invariants.at_rest(system)
    standing = invariants.rows(system, "SELECT version_num FROM lms_requests.alembic_version")
    assert standing == [("next",)]


# From the version before ----------------------------------------------------------------------------------------------


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None if done.returncode == 0 else None


def _version_before() -> str | None:
    """Return the last release, else the commit before the newest migration; None without a history that far back."""
    release = _git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD~1")
    if release is not None:
        return release
    newest_migration = _git("log", "-1", "--format=%H", "--", ":(glob)services/*/migrations/versions/*.py")
    return _git("rev-parse", "--verify", "--quiet", f"{newest_migration}~1") if newest_migration else None


@pytest.fixture
def version_before() -> Iterator[Path | None]:
    """The sources of the version before; None in a clone whose history does not reach back so far."""
    commit = _version_before()
    if commit is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="lms-version-before-") as folder:
        archive = Path(folder) / "sources.tar"
        parts = ["archive", "--output", str(archive), commit, "shared", "services"]
        subprocess.run(["git", "-C", str(ROOT), *parts], check=True)
        subprocess.run(["tar", "--extract", "--file", str(archive), "--directory", folder], check=True)
        yield Path(folder)


@pytest.fixture
async def old_system(version_before: Path | None) -> AsyncIterator[System]:
    """A system of its own, whose services are of the version before, as far as there is one."""
    found = version_before
    sources = [found / "shared" / "src", *(found / "services" / one / "src" for one in SCHEMAS)] if found else []
    old = {"PYTHONPATH": os.pathsep.join(map(str, sources))}
    with tempfile.TemporaryDirectory(prefix="lms-test-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # noqa: ASYNC240  # nothing else runs yet
        system = System(Path(folder), copies=2, environment="test", extra=dict.fromkeys(SCHEMAS, old))
        system.extra_sql = sql_of_the_tester(system.home.secret(f"mysql:{TESTER}"))
        system.configure()
        try:
            await system.start_servers()
            await system.migrate()
            await system.start_services()
            yield system
        finally:
            system.down()


@pytest.mark.slow
@pytest.mark.timeout(1500)
async def test_an_upgrade_that_restarts_everything_costs_no_request(
    version_before: Path | None, old_system: System
) -> None:
    system = old_system
    company = await asyncio.to_thread(Company.of, system)
    await asyncio.to_thread(company.set_clock, "2026-10-05")
    traffic = await asyncio.to_thread(Traffic, system, company)
    before = invariants.rows(system, "SELECT version_num FROM lms_notifications.alembic_version")
    old = processes(system, SERVICES)
    with traffic.flowing():
        await asyncio.to_thread(traffic.since, 50)
        for service in SCHEMAS:
            system._extra[service].pop("PYTHONPATH")
        system._write_environments()
        await system.migrate()
        await asyncio.to_thread(traffic.since, 50)
        await system.restart()
        await asyncio.to_thread(traffic.since, 50)
    assert not old & processes(system, SERVICES)
    assert traffic.failures == []
    assert invariants.rows(system, "SELECT version_num FROM lms_notifications.alembic_version") >= before
    await invariants.at_rest(system)
    await invariants.check(system)
    company.client.close()
    if version_before is None:
        pytest.skip("all was restarted, but from the same version: the history of this clone does not reach back")
