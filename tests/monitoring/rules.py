"""The rules as data: groups, alerts and recorded series, and the files of promtool's tests."""

from typing import Any

import yaml
from tests.monitoring.registry import DEPLOY

RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
TESTS = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))
GROUPS = [group for path in RULES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule
}
RECORDED = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
