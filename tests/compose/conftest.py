"""What runs docker-compose.yml does so where a Docker engine answers and the images can be had.

What only reads it (`reading.py`, `test_configuration.py`) needs neither.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from scripts import compose
from tests import containers
from tests.e2e.company import Company

from lms.cli.home import Home, any_free_port

ROOT = Path(__file__).parents[2]
PROJECT = "lms-test"


class Compose:
    """`docker compose` with a project, a port and secrets of its own."""

    def __init__(self, folder: Path) -> None:
        self.port, self.mail_port, self.edge_http, self.edge_https = (any_free_port() for _ in range(4))
        self.prometheus_port, self.alertmanager_port = any_free_port(), any_free_port()
        compose.write(folder / "secrets", folder / "environment")
        self.home = Home.at(folder / "secrets")
        self._override = folder / "override.yml"
        secrets = folder / "secrets"
        users = f"{secrets / 'mysql' / 'users.sql'}:/docker-entrypoint-initdb.d/users.sql:ro"
        identity = {"volumes": [f"{secrets / 'backup-identity.txt'}:/etc/lms/backup/identity.txt:ro"]}
        mysql = {"ports": ["127.0.0.1::3306"], "volumes": [users]}
        services = {"mysql": mysql, "backup": identity, "restore": identity}
        self._override.write_text(json.dumps({"services": services}), "utf-8")
        self._environment = {
            **os.environ,
            "GATEWAY_PORT": str(self.port),
            "MAIL_PORT": str(self.mail_port),
            "EDGE_HTTP_PORT": str(self.edge_http),
            "EDGE_HTTPS_PORT": str(self.edge_https),
            "PROMETHEUS_PORT": str(self.prometheus_port),
            "ALERTMANAGER_PORT": str(self.alertmanager_port),
            "ALERTMANAGER_SECRETS": str(folder / "secrets" / "alertmanager"),
        }
        self._command = [
            "docker", "compose", "--project-name", PROJECT, "--project-directory", str(ROOT),
            "--env-file", str(folder / "environment"),
            "--file", str(ROOT / "docker-compose.yml"), "--file", str(self._override),
        ]  # fmt: skip

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def mails(self) -> str:
        """Where the sink lists what it took."""
        return f"http://127.0.0.1:{self.mail_port}/mails"

    @contextmanager
    def company(self) -> Iterator[Company]:
        """Give the company behind the gateway."""
        company = Company.at(self.url, self.home.secret("loader"))
        with closing(company.client):
            yield company

    def __call__(self, *arguments: str) -> str:
        """Run a sub-command; it must succeed."""
        done = self._run(*arguments)
        if done.returncode:
            logs = self._run("--profile", "*", "logs", "--tail", "20").stdout
            pytest.fail(f"{arguments}: {done.stdout[-3000:]}{done.stderr[-6000:]}{logs}")
        return done.stdout

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [*self._command, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment)

    def containers(self) -> list[dict[str, Any]]:
        """Return what runs."""
        return [json.loads(line) for line in self("ps", "--all", "--format", "json").splitlines()]


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    reason = containers.why_not()
    if reason is not None:
        pytest.skip(f"containers: not tried: {reason}")
    found = Compose(tmp_path_factory.mktemp("compose"))
    try:
        found("up", "--build", "--detach", "--wait")
        yield found
    finally:
        found("--profile", "*", "down", "--volumes", "--timeout", "6")
