"""The rules are right by promtool, each alert has both its cases, and its runbook says what can be done."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from scripts import services
from tests.commands import arguments_of
from tests.monitoring import runbooks
from tests.monitoring.dashboards import documents, metrics_of
from tests.monitoring.registry import DEPLOY, FOREIGN, ROOT, all_series
from tests.monitoring.rules import ALERTS, GROUPS, RECORDED, RULES, TESTS


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_and_the_rules_are_valid() -> None:
    promtool("check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")
    promtool("check", "rules", *RULES)


@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.stem)
def test_each_alert_fires_when_it_should_and_not_otherwise(file: Path) -> None:
    promtool("test", "rules", file)


def test_no_alert_lacks_one_of_its_two_cases() -> None:
    cases = [case for path in TESTS for case in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]]
    looked_at = [(one["alertname"], bool(one.get("exp_alerts"))) for case in cases for one in case["alert_rule_test"]]
    assert {name for name, fires in looked_at if fires} == set(ALERTS)
    assert {name for name, fires in looked_at if not fires} == set(ALERTS) - {"Watchdog"}


def test_the_guides_three_alerts_are_there() -> None:
    assert {"ApplicationDown", "DatabaseConnections", "HighErrorRate"} <= set(ALERTS)


def test_every_service_is_expected() -> None:
    (expected,) = [rule for group in GROUPS for rule in group["rules"] if rule.get("record") == "lms:service:expected"]
    assert set(re.findall(r'"service", "(\w+)"', expected["expr"])) == set(services.NAMES)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_it_is_and_where_to_look(name: str) -> None:
    alert = ALERTS[name]
    pages = {document["uid"] for document in documents().values()}
    assert alert["labels"]["severity"] in {"critical", "warning", "ticket", "info"}
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["description"]
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    address = alert["annotations"]["dashboard_url"].removeprefix("/d/")
    choices = {address.replace("{{ $labels.service }}", service) for service in services.NAMES}
    assert choices <= pages


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_reads_metrics_that_exist(name: str) -> None:
    for metric in metrics_of(ALERTS[name]["expr"]):
        assert metric in all_series() | RECORDED or metric.startswith(FOREIGN), metric


def test_each_alert_has_its_runbook_and_the_index_names_them_all() -> None:
    pages = {path.stem for path in runbooks.FOLDER.glob("[A-Z]*.md")} - {"README"}
    assert pages == set(ALERTS)
    index = (runbooks.FOLDER / "README.md").read_text(encoding="utf-8")
    for name, alert in ALERTS.items():
        assert f"| [{name}]({name}.md) | {alert['labels']['severity']} |" in index


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_has_its_sections_and_its_links_lead_somewhere(name: str) -> None:
    text = (runbooks.FOLDER / f"{name}.md").read_text(encoding="utf-8")
    for part in (
        f"# {name}\n",
        "**What it means.**",
        "**Impact.**",
        "## First look",
        "## Causes and cures",
        "**Escalate**",
    ):
        assert part in text, part
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (runbooks.FOLDER / target).exists(), target


TROUBLES = ("high-cpu", "memory", "slow-queries", "log-analysis")
"""Pages for what somebody notices before an alert does, or beside one: those of the guide's "Troubleshooting"."""


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_of_the_guide_has_its_page_in_the_index(name: str) -> None:
    text = (runbooks.FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert "In the guide: " in text
    index = (runbooks.FOLDER / "README.md").read_text(encoding="utf-8").partition("## Troubleshooting")[2]
    assert f"[{name}]({name}.md)" in index


def test_links_of_all_pages_lead_somewhere() -> None:
    for page in runbooks.FOLDER.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert (runbooks.FOLDER / target).exists(), (page.name, target)


def test_the_queries_of_the_runbooks_parse_and_read_metrics_that_exist(tmp_path: Path) -> None:
    found = runbooks.queries()
    for page, query in found:
        for metric in metrics_of(query):
            assert metric in all_series() | RECORDED or metric.startswith(FOREIGN), (page, metric)
    rules = [{"record": "parsed", "expr": query.replace("$service", "x"), "labels": {"n": str(number)}}
             for number, (_, query) in enumerate(found)]  # fmt: skip
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": rules}]}))
    promtool("check", "rules", file)


def test_the_commands_of_the_runbooks_parse_and_the_lms_commands_exist() -> None:
    script = "\n".join(command for _, command in runbooks.commands())
    parsed = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr
    named = {
        tuple(found.split())
        for path in runbooks.FOLDER.glob("*.md")
        for found in re.findall(
            r"`?lms ((?:dlq|clock|audit|backups|maintenance) [a-z]+|[a-z]+)", path.read_text(encoding="utf-8")
        )
    }
    for words in named:
        assert not arguments_of(words), words


def test_the_operations_page_and_the_alerts_agree_on_where_runbooks_are() -> None:
    assert "(runbooks/README.md)" in (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
