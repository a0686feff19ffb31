"""The live tests share one running system, one company, and one Prometheus with Alertmanager that watch it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.e2e.company import Company
from tests.monitoring.watching import TlsServer, Watched, Webhook, hurried

from lms.cli.system import System


@pytest.fixture(scope="session")
def company(system: System) -> Iterator[Company]:
    """The company, on a day in October."""
    found = Company.of(system)
    found.set_clock("2026-10-05")
    yield found
    found.client.close()


@pytest.fixture(scope="session")
async def watched(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    """Prometheus and Alertmanager, as `lms up --monitoring` starts them, in a hurry; a back-up has just been made."""
    folder: Path = tmp_path_factory.mktemp("deploy")
    watched = Watched("", "")
    webhook, tls = Webhook(watched.told), TlsServer(folder, days=10)
    backups = system.home.folder / "metrics" / "backup.prom"
    backups.parent.mkdir(exist_ok=True)
    young = time.time() + 86_400  # for as long as the session may take
    kinds = ("database", "keyring", "log", "lists")
    backups.write_text("".join(f'backup_last_success_timestamp_seconds{{kind="{kind}"}} {young}\n' for kind in kinds))
    monitoring = await system.start_monitoring(hurried(folder, webhook.url), [tls.address])
    watched.prometheus, watched.alertmanager = monitoring.url, monitoring.alertmanager_url
    try:
        yield watched
    finally:
        await asyncio.to_thread(system.stop_monitoring)
        webhook.close()
        tls.close()
