"""The registry of metrics says what the code exposes, and the other way round."""

import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from scripts import services
from tests.monitoring.registry import FILES, FROM_SCRAPING, LABELS, METRICS, groups

from lms.cli.backup import Made, tell_metrics
from lms.cli.backup_settings import BackupSettings
from lms.cli.catalogue import KINDS


def collectors() -> dict[str, Any]:
    """Return every metric that the services' code declares, by the name under which it is exposed."""
    services.load()
    importlib.import_module("lms.notifications.streams")
    ours: dict[int, Any] = {
        id(one): one for one in REGISTRY._names_to_collectors.values() if hasattr(one, "_labelnames")
    }
    return {one._name + ("_total" if one._type == "counter" else ""): one for one in ours.values()}


def test_every_metric_of_the_code_is_in_the_registry_and_every_metric_of_the_registry_in_the_code() -> None:
    declared = set(collectors())
    assert declared - set(METRICS) == set(), "deploy/metrics.yaml lacks metrics"
    assert set(METRICS) - declared == set(), "deploy/metrics.yaml has metrics that nobody exposes"


def test_type_labels_and_help_are_as_the_registry_says() -> None:
    for name, collector in collectors().items():
        said = METRICS[name]
        found = (collector._type, list(collector._labelnames), collector._documentation)
        assert found == (said["type"], said["labels"], said["help"]), name


def test_every_cache_that_the_code_announces_is_in_the_registry() -> None:
    looks = collectors()["cache_lookups_total"]
    assert {labels[0] for labels in looks._metrics} == set(LABELS["cache"]["values"])


def test_what_back_ups_leave_for_the_node_exporter_is_as_the_registry_says(tmp_path: Path) -> None:
    settings = BackupSettings(url=str(tmp_path), metrics_file=tmp_path / "metrics" / "backup.prom")
    tell_metrics(settings, [Made(kind, "20261128T060000000000Z", 1000, 2.5, tried=True) for kind in KINDS])
    text = (tmp_path / "metrics" / "backup.prom").read_text(encoding="utf-8")
    said = {
        (family.name, family.type, family.documentation, label)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for label in sample.labels
    }
    assert said == {(name, one["type"], one["help"], "kind") for name, one in FILES.items()}
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_names_carry_their_units() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert name.endswith("_total") == (metric["type"] == "counter"), name
        assert ("seconds" in name) == (metric["unit"] == "seconds"), name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb)(_|$)", name), f"{name}: base units only"


def test_every_label_has_a_bound() -> None:
    used = {label for metric in (*METRICS.values(), *FILES.values()) for label in metric["labels"]}
    assert used <= set(LABELS), "labels without a bound"
    assert set(LABELS) <= used, "labels that no metric has"
    for name, label in LABELS.items():
        assert name not in FROM_SCRAPING, f"{name} comes from the scraper"
        assert bool(label.get("values")) != bool(label.get("bound") and label.get("from")), name


def test_the_services_of_a_metric_exist() -> None:
    known = groups()
    for name, metric in METRICS.items():
        assert known.of(metric["services"]) <= known.everybody, name


def test_promtool_finds_nothing_wrong_with_what_is_exposed() -> None:
    collectors()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(REGISTRY), capture_output=True, check=False
    )
    told = (done.stdout + done.stderr).decode().splitlines()
    assert [line for line in told if not line.startswith(("python_", "process_"))] == []
