"""What `lms backup --schedule` leaves when a kind fails is missed by the alerts, each kind by itself."""

import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from tests.monitoring.registry import DEPLOY

from lms.cli import backup, recovery_commands
from lms.cli.backup import BackupFailed, Made, tell_metrics
from lms.cli.backup_settings import BackupSettings
from lms.cli.catalogue import Catalogue, Kind
from lms.cli.storage import storage_at


class Over(Exception):
    """The schedule has had its turns."""


def told_after_two_turns(folder: Path, monkeypatch: pytest.MonkeyPatch, *failing: Kind) -> set[str]:
    """Let the schedule run twice where some kinds cannot be backed up; return of which kinds Prometheus is told."""
    settings = BackupSettings(url=str(folder), metrics_file=folder / "backup.prom")
    turns = iter(range(1))

    def back_up(_: Any, kinds: Sequence[Kind]) -> list[Made]:
        for kind in kinds:
            if kind in failing:
                raise BackupFailed(f"the {kind} cannot be read")
            made: tuple[Kind, ...] = ("database", "keyring") if kind == "database" else (kind,)
            tell_metrics(settings, [Made(one, "20261128T060000000000Z", 1000, 2.5, tried=True) for one in made])
        return []

    def sleep(_: float) -> None:
        if next(turns, None) is None:
            raise Over

    monkeypatch.setattr(backup, "back_up", back_up)
    monkeypatch.setattr(time, "sleep", sleep)
    backups: Any = SimpleNamespace(settings=settings, catalogue=Catalogue(storage_at(str(folder / "storage"))))
    with pytest.raises(Over):
        recovery_commands._for_ever(backups)
    text = (folder / "backup.prom").read_text("utf-8") if (folder / "backup.prom").exists() else ""
    return set(re.findall(r'^backup_last_success_timestamp_seconds\{kind="(\w+)"\}', text, re.MULTILINE))


def promtool_expects(folder: Path, told: set[str], lacking: set[str]) -> None:
    """Have promtool say that BackupMissing fires for these kinds alone after more than a day with what is told."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules" / "safety.yml").read_text("utf-8"))["groups"]
    (rule,) = [one for group in groups for one in group["rules"] if one["alert"] == "BackupMissing"]
    bare = {name: rule[name] for name in ("alert", "expr", "for")}
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "bare", "rules": [bare]}]}))
    case = {
        "interval": "5m",
        "input_series": [
            {"series": f'backup_last_success_timestamp_seconds{{kind="{kind}",job="node"}}', "values": "0x400"}
            for kind in sorted(told)
        ],
        "alert_rule_test": [
            {
                "eval_time": "27h",
                "alertname": "BackupMissing",
                "exp_alerts": [{"exp_labels": {"kind": kind}} for kind in sorted(lacking)],
            }
        ],
    }
    test = {"rule_files": ["rules.yml"], "evaluation_interval": "5m", "tests": [case]}
    (folder / "test.yml").write_text(yaml.safe_dump(test))
    command = ["promtool", "test", "rules", str(folder / "test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("failing", "told", "lacking"),
    [
        ((), {"database", "keyring", "files", "lists", "log"}, set()),
        (("database", "log"), {"lists"}, {"database", "keyring", "log"}),
        (("database",), {"lists", "log"}, {"database", "keyring"}),
        (("lists",), {"database", "keyring", "files", "log"}, {"lists"}),
    ],
    ids=["all is well", "the databases were never backed up", "the log is still stored", "the lists cannot be read"],
)
def test_a_kind_that_was_never_made_is_missed_whatever_else_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: tuple[Kind, ...], told: set[str], lacking: set[str]
) -> None:
    assert told_after_two_turns(tmp_path, monkeypatch, *failing) == told
    promtool_expects(tmp_path, told, lacking)
