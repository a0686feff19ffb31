"""`deploy/metrics.yaml` as data, and the names that Prometheus makes of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from scripts import services

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

_document: dict[str, Any] = yaml.safe_load((DEPLOY / "metrics.yaml").read_text(encoding="utf-8"))

LABELS: dict[str, dict[str, Any]] = _document["labels"]
METRICS: dict[str, dict[str, Any]] = _document["metrics"]
FILES: dict[str, dict[str, Any]] = _document["files"]

FROM_SCRAPING = {"job", "instance", "service", "system", "component"}

FOREIGN = (
    "up", "scrape_", "process_", "python_", "prometheus_", "alertmanager_", "ALERTS", "mysql_", "redis_", "kafka_",
    "jvm_", "node_", "probe_", "backup_", "kube_",
)  # fmt: skip
"""What others tell; `backup_` stands under `files` in the registry."""


@dataclass(frozen=True)
class Groups:
    """The services that a word of the registry stands for."""

    stores: frozenset[str]
    consumers: frozenset[str]
    everybody: frozenset[str]

    def of(self, word: str | list[str]) -> frozenset[str]:
        """Return the services of `all`, `stores`, `consumers` or a list of names."""
        known = {"all": self.everybody, "stores": self.stores, "consumers": self.consumers}
        return known[word] if isinstance(word, str) else frozenset(word)


def groups() -> Groups:
    """Return the groups, from the services' own wiring."""
    wired = services.load()
    return Groups(
        frozenset(one.name for one in wired if one.migrations),
        frozenset(one.name for one in wired if one.consumers),
        frozenset(one.name for one in wired),
    )


def series_names(metric: str) -> set[str]:
    """Return the names under which a metric is stored."""
    if METRICS[metric]["type"] == "histogram":
        return {f"{metric}_bucket", f"{metric}_sum", f"{metric}_count"}
    return {metric}


def all_series() -> set[str]:
    """Return every name of ours that a query may use."""
    return {name for metric in METRICS for name in series_names(metric)} | set(FILES)
