"""Alertmanager tells the right people, and keeps quiet about what follows from something else."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.compose.reading import mounts, services
from tests.monitoring.registry import DEPLOY
from tests.monitoring.rules import ALERTS

from lms.cli import monitoring

FILE = DEPLOY / "alertmanager" / "alertmanager.yml"
CONFIGURATION: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
RECEIVERS = {receiver["name"]: receiver for receiver in CONFIGURATION["receivers"]}


def amtool(*arguments: str) -> str:
    done = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_the_configuration_is_valid() -> None:
    assert "SUCCESS" in amtool("check-config", str(FILE))


@pytest.mark.parametrize(
    ("alert", "receiver"),
    [
        ("Watchdog", "dead-mans-switch"),
        ("ServiceDown", "critical-alerts"),
        ("ApplicationDown", "critical-alerts"),
        ("AuditChainBroken", "critical-alerts"),
        ("ProjectionDrift", "critical-alerts"),
        ("ErrorBudgetBurnFast", "critical-alerts"),
        ("ErrorBudgetBurnSlow", "tickets"),
        ("ConsumerLagging", "warning-alerts"),
        ("CertificateExpiry", "warning-alerts"),
        ("CertificateUnmeasured", "warning-alerts"),
        ("BackupTooOld", "critical-alerts"),
        ("BackupMissing", "critical-alerts"),
    ],
)
def test_an_alert_goes_to(alert: str, receiver: str) -> None:
    severity = ALERTS[alert]["labels"]["severity"]
    routed = amtool(
        "config", "routes", "test", f"--config.file={FILE}", f"--verify.receivers={receiver}",
        f"alertname={alert}", f"severity={severity}", "service=balances",
    )  # fmt: skip
    assert routed == receiver


def test_critical_alerts_wake_somebody_by_all_three_ways() -> None:
    assert set(RECEIVERS["critical-alerts"]) == {"name", "pagerduty_configs", "slack_configs", "email_configs"}


def test_no_secret_stands_in_the_file() -> None:
    text = FILE.read_text(encoding="utf-8")
    for direct in ("api_url:", "routing_key:", "service_key:", "smtp_auth_password:", "hooks.slack.com"):
        assert direct not in text


def files_named_in(node: Any) -> set[Path]:
    """Return the files that a part of the configuration names for its secrets."""
    if isinstance(node, dict):
        own = {Path(value) for key, value in node.items() if key.endswith("_file")}
        return own.union(*map(files_named_in, node.values()))
    return set().union(*map(files_named_in, node)) if isinstance(node, list) else set()


def test_secrets_lie_where_compose_mounts_them() -> None:
    alertmanager = services(ALERTMANAGER_SECRETS="/srv/secrets")["alertmanager"]
    mounted = {str(one.target): one.source for one in mounts(alertmanager)}
    secrets = files_named_in(CONFIGURATION)
    assert {one.name for one in secrets} == {"smtp_password", "slack_url", "pagerduty_key", "pagerduty_heartbeat_key"}
    assert {mounted[str(one.parent)] for one in secrets} == {"/srv/secrets"}


def test_what_is_inhibited_exists() -> None:
    for rule in CONFIGURATION["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            name, _, value = matcher.partition("=")
            if name.strip() == "alertname":
                for alert in value.strip().removeprefix("~").strip().strip('"').split("|"):
                    assert alert in ALERTS or any(one.startswith(alert.removesuffix(".*")) for one in ALERTS), alert


def test_embedded_mails_go_to_the_sink_and_receivers_without_their_secret_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "slack_url").write_text("https://127.0.0.1:9/hook")
    changed = monitoring.with_the_sink(CONFIGURATION, "127.0.0.1:2525")
    changed = monitoring.with_the_secrets_at_hand(changed, tmp_path)
    assert changed["global"]["smtp_smarthost"] == "127.0.0.1:2525"
    assert not [key for key in changed["global"] if key.startswith("smtp_auth")]
    receivers = {receiver["name"]: receiver for receiver in changed["receivers"]}
    assert set(receivers["critical-alerts"]) == {"name", "slack_configs", "email_configs"}
    assert receivers["critical-alerts"]["slack_configs"][0]["api_url_file"] == str(tmp_path / "slack_url")
    assert set(receivers["dead-mans-switch"]) == {"name"}
