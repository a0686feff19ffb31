"""The directory in one process on a real database and a real Redis, without its worker: nothing goes to Kafka here."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from lms.directory.main import SERVICE, prepare
from lms.directory.settings import Settings
from lms.kernel.auth import public_key_of
from lms.kernel.http import create_app
from lms.kernel.migrations import migrate
from lms.kernel.service import Runtime

JWT_SECRET = "b6f2c6e1" * 10
ADMIN = ("admin@example.com", "correct-horse-battery")


@dataclass
class Directory:
    """A running directory, and an administrator who is signed in."""

    runtime: Runtime
    client: httpx.AsyncClient
    organisation: dict[str, str] = field(default_factory=dict)

    async def sign_in(self, email: str, password: str) -> dict[str, str]:
        """Return the headers of somebody who has signed in."""
        answer = await self.client.post(
            "/api/v1/auth/login", json={"email": email, "password": password, "return_refresh_token": True}
        )
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def employ(self, headers: dict[str, str], email: str, **fields: Any) -> httpx.Response:
        """Employ a person with the first department, location and schedule."""
        body = {
            "email": email,
            "given_name": email.split("@", maxsplit=1)[0].title(),
            "family_name": "Example",
            "employed_from": "2026-01-01",
            **self.organisation,
            **fields,
        }
        return await self.client.post("/api/v1/employees", json=body, headers=headers)

    async def employed(self, headers: dict[str, str], email: str, **fields: Any) -> str:
        """Return the id of a person who was just employed."""
        answer = await self.employ(headers, email, **fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


def settings_for(database_url: str, redis_url: str) -> Settings:
    """Return the settings of a directory with a first administrator and two service accounts."""
    return Settings.model_validate(
        {
            "environment": "test",
            "redis_url": redis_url,
            "jwt_public_key": public_key_of(JWT_SECRET),
            "jwt_secret": JWT_SECRET,
            "database_url": database_url,
            "kafka_bootstrap_servers": "127.0.0.1:9",
            "encryption_key": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "bootstrap_admin_email": ADMIN[0],
            "bootstrap_admin_password": ADMIN[1],
            "service_accounts": {
                "payroll": {"secret_sha256": sha256(b"s3cret").hexdigest(), "scopes": ["payroll.read"]},
                "loader": {"secret_sha256": sha256(b"l0ader").hexdigest(), "scopes": ["act-for"], "roles": ["hr"]},
            },
        }
    )


@pytest.fixture(scope="session")
async def _migrated(database_url: Callable[[str], str]) -> str:
    url = database_url("directory")
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        connection.execute(text("CREATE DATABASE IF NOT EXISTS keyring"))
    engine.dispose()
    assert SERVICE.migrations is not None
    migrate(SERVICE.migrations, url)
    return url


@pytest.fixture
async def settings(_migrated: str, redis_url: str) -> Settings:
    engine = create_engine(make_url(_migrated).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        tables = [row[0] for row in connection.execute(text("SHOW TABLES"))]
        for table in set(tables) - {"alembic_version", "log"}:
            connection.execute(text(f"DELETE FROM `{table}`"))  # noqa: S608  # names of our own tables
    engine.dispose()
    return settings_for(_migrated, redis_url)


@pytest.fixture
async def directory(settings: Settings) -> AsyncIterator[Directory]:
    runtime = Runtime(SERVICE, settings)
    await prepare(runtime)
    runtime.ready = True
    app = create_app(runtime, SERVICE.routers, title="directory")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://directory") as client:
        directory = Directory(runtime, client)
        admin = await directory.sign_in(*ADMIN)
        for path, name in (
            ("departments", "department_id"),
            ("locations", "location_id"),
            ("schedules", "schedule_id"),
        ):
            listed = await client.get(f"/api/v1/{path}", headers=admin)
            directory.organisation[name] = listed.json()["items"][0]["id"]
        yield directory
    await runtime.database.close()
    await runtime.redis.aclose()


@pytest.fixture
async def admin(directory: Directory) -> dict[str, str]:
    return await directory.sign_in(*ADMIN)
