"""The profile `backup`: what it stores was tried, and brings everything back, on MySQL by MySQL's own tools."""

import re
import time
from datetime import UTC, datetime

import httpx
import pytest
from tests.compose.conftest import Compose
from tests.waiting import eventually

from lms.cli.servers import SCHEMAS

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

PROFILE = ("--profile", "backup")


@pytest.fixture(scope="module")
def backed_up(core: Compose) -> Compose:
    core(*PROFILE, "up", "--build", "--detach", "--wait", "backup")
    return core


def succeeded(core: Compose) -> dict[str, float]:
    """Return when a back-up of each kind was last made and tried, as Prometheus is told."""
    text = core("exec", "-T", "backup", "sh", "-c", "cat /metrics/*.prom 2>/dev/null || true")
    found = re.findall(r'^backup_last_success_timestamp_seconds\{kind="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {kind: float(at) for kind, at in found}


def test_everything_is_backed_up_and_tried_when_the_profile_starts(backed_up: Compose) -> None:
    eventually(lambda: {"database", "keyring", "log"} <= set(succeeded(backed_up)), "nothing was tried", 180)
    told = backed_up("logs", "--no-log-prefix", "backup")
    assert "the trial restore agrees in" in told
    assert "warning" not in told, "the server keeps every commit, and its log no longer than the keyring"


def test_all_comes_back_as_it_was_in_the_second_that_is_named(backed_up: Compose) -> None:
    with backed_up.company() as company:
        before = company.hire()
        time.sleep(1.0 - time.time() % 1.0)  # the log dates commits in seconds
        instant = datetime.now(UTC).replace(microsecond=0).isoformat()
        later = company.hire()
    backed_up("exec", "-T", "backup", "lms", "backup", "lists", "log")

    backed_up(*PROFILE, "down", "--timeout", "6")
    backed_up("run", "--rm", "restore", "--to", instant, "--replace")
    for service in SCHEMAS:
        backed_up("run", "--rm", service, "--republish")
    restored_at = time.time()
    backed_up(*PROFILE, "up", "--detach", "--wait")

    with backed_up.company() as company:
        assert company.do("GET", f"/employees/{before.id}")["id"] == before.id
        assert company.call("GET", f"/employees/{later.id}").status_code == httpx.codes.NOT_FOUND
        assert company.hire().id
    eventually(
        lambda: min(succeeded(backed_up).get(kind, 0) for kind in ("database", "log")) > restored_at,
        "what comes after the restore is not backed up",
        180,
    )
