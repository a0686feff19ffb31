"""Whether schemas and topics are as this code left them, so that a start need not bring them up to date again.

To migrate and to declare takes a process of each service, and a third of a start. What decides is looked at anew each
time: the sources, and what there really is in the database and in Kafka. A database that was brought back from an older
back-up, a topic that was deleted and a table that is missing therefore all show.
"""

import asyncio
import hashlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pymysql
from sqlalchemy.engine import make_url

from lms.cli.servers import SCHEMAS, KafkaServer


def code() -> str:
    """Return a digest of all that says how schemas and topics should be: the kernel, the services, their migrations."""
    digest = hashlib.sha256()
    for package in ("kernel", *SCHEMAS):
        for folder in _folders(package):
            for file in sorted(folder.rglob("*.py")):
                digest.update(f"{package}/{file.relative_to(folder)}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _folders(package: str) -> Iterable[Path]:
    spec = find_spec(f"lms.{package}")
    for found in (spec and spec.submodule_search_locations) or ():
        yield Path(found)
        migrations = Path(found).parents[2] / "migrations"
        if migrations.is_dir():
            yield migrations


async def found(database_url: str, kafka: KafkaServer) -> str:
    """Return a digest of what there is: the revision and tables of each service's schema, and the topics.

    `database_url` is that of a user who may look at all schemas.
    """
    tables, names = await asyncio.gather(asyncio.to_thread(_tables, database_url), kafka.topics())
    topics = sorted(f"topic {name}" for name in names if not name.startswith("__"))  # those are Kafka's own
    return hashlib.sha256("\n".join([*tables, *topics]).encode()).hexdigest()


def _tables(database_url: str) -> list[str]:
    """Return a line for each table of the services, and one for the revision of each schema that has one."""
    url = make_url(database_url)
    with pymysql.connect(
        host=url.host, port=int(url.port or 3306), user=url.username, password=str(url.password or "")
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN %s ORDER BY 1, 2",
            [[f"lms_{one}" for one in SCHEMAS]],
        )
        tables = cursor.fetchall()
        lines = [f"table {schema}.{table}" for schema, table in tables]
        for schema, table in tables:
            if table == "alembic_version":
                cursor.execute(f"SELECT version_num FROM `{schema}`.alembic_version ORDER BY 1")  # noqa: S608  # our own schemas
                lines += [f"revision {schema} {revision}" for (revision,) in cursor.fetchall()]
    return lines
