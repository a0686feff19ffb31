"""The checklists: the guide's lines in the guide's order, and what counts as right on each."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lms.cli.catalogue import KINDS
from lms.cli.checklists import judgement as judge
from lms.cli.checklists.judgement import (
    WATCHDOG,
    Alert,
    Backup,
    Certificate,
    Health,
    Monitoring,
    Outcome,
    Parked,
    Traffic,
    Verdict,
)
from lms.cli.checklists.lists import CHECKLISTS, Line, Name, result_of, run
from lms.cli.checklists.looks import Away, Looks

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
UP, DOWN = {"status": "up"}, {"status": "down"}
CHECK = {"name": "view balances", "examined": 10, "faults": 0}
BROKEN = {**CHECK, "faults": 2}
FINE = Verdict(Outcome.DONE, "")

GUIDE: Mapping[str, tuple[str, ...]] = {
    "pre-deploy": (
        "All tests passing (unit, integration, E2E)", "Security scan results reviewed", "Performance benchmarks met",
        "Database migrations tested", "SSL certificates installed and verified", "Monitoring and alerting configured",
        "Backup procedures tested", "Documentation updated", "Team training completed",
    ),
    "go-live": (
        "DNS records updated", "Load balancer configured", "SSL certificates active",
        "Application deployed and healthy", "Database connections verified", "Cache services running",
        "Monitoring dashboards accessible", "Alert notifications working", "Smoke tests passed",
        "Performance within acceptable limits",
    ),
    "post-deploy": (
        "Monitor system for 24 hours", "Verify all integrations working", "Check error rates and performance",
        "Validate user workflows", "Update runbooks if needed", "Schedule first backup verification",
        "Plan first maintenance window", "Document lessons learned",
    ),
    "daily": (
        "Check system health dashboards", "Review error logs and alerts", "Monitor performance metrics",
        "Verify backup completion", "Check SSL certificate status",
    ),
    "weekly": (
        "Review security scan results", "Analyze performance trends", "Update dependency vulnerabilities",
        "Review system capacity", "Clean up old log files",
    ),
    "monthly": (
        "Update system packages", "Review and update monitoring thresholds", "Conduct disaster recovery test",
        "Review access controls and permissions", "Update documentation",
    ),
    "quarterly": (
        "Security audit and penetration testing", "Capacity planning review", "Business continuity plan update",
        "Performance optimization review", "Update incident response procedures",
    ),
}  # fmt: skip
"""The lines as they stand in the production guide."""

BACKUPS = [Backup(kind, NOW - timedelta(minutes=20), NOW) for kind in KINDS]
WHOLE = Monitoring(down=(), targets=9, rules={"a", "b"}, failing_rules=())
REPORT = {"dependencies": [{"name": "aiohttp", "version": "3.14", "vulns": []}]}
WEAK = {"dependencies": [{"name": "aiohttp", "version": "3.0", "vulns": [{"id": "CVE-2024-1"}]}]}
UNASKED = {"dependencies": [{"name": "aiohttp", "skip_reason": "no network"}, {"name": "lms-cli", "skip_reason": "no"}]}
OURS = {"dependencies": [*REPORT["dependencies"], {"name": "lms-cli", "skip_reason": "ours"}]}


def certificate(days: float, fault: str | None = None) -> list[Certificate]:
    return [Certificate("lms:443", NOW + timedelta(days=days), fault)]


def aged(hours: float, *, kind: str = "log") -> list[Backup]:
    return [Backup(one.kind, NOW - timedelta(hours=hours), NOW) if one.kind == kind else one for one in BACKUPS]


@pytest.mark.parametrize("name", Name)
def test_a_list_has_the_guides_lines_in_the_guides_order(name: Name) -> None:
    assert tuple(line.text for line in CHECKLISTS[name]) == GUIDE[name]


@pytest.mark.parametrize("name", Name)
def test_a_line_is_somebodys_and_its_page_is_there(name: Name) -> None:
    for line in CHECKLISTS[name]:
        assert line.checks or line.person, line.text
        assert (Path(__file__).parents[3] / line.page.partition("#")[0]).is_file(), line.page


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (judge.health(Health(healthy=True, parts={"database": UP})), Outcome.DONE),
        (judge.health(Health(healthy=True, parts={})), Outcome.DONE),
        (judge.health(Health(healthy=False, parts={"database": DOWN})), Outcome.FAILED),
        (judge.health(Health(healthy=False, parts={})), Outcome.FAILED),
        (judge.health(Health(healthy=False, parts={}, error="refused")), Outcome.FAILED),
        (judge.part("redis", Health(healthy=False, parts={"redis": UP, "email": DOWN})), Outcome.DONE),
        (judge.part("redis", Health(healthy=False, parts={"redis": DOWN})), Outcome.FAILED),
        (judge.part("redis", Health(healthy=True, parts={})), Outcome.DONE),
        (judge.part("redis", Health(healthy=False, parts={})), Outcome.UNREACHABLE),
        (judge.part("redis", Health(healthy=False, parts={}, error="refused")), Outcome.FAILED),
        (judge.processes([], 9), Outcome.DONE),
        (judge.processes(["requests is backoff"], 9), Outcome.FAILED),
        (judge.processes([], 0), Outcome.FAILED),
        (judge.ready({"requests": None}), Outcome.DONE),
        (judge.ready({"requests": "503 not ready: migrations"}), Outcome.FAILED),
        (judge.ready({}), Outcome.UNREACHABLE),
        (judge.parked([]), Outcome.DONE),
        (judge.parked([Parked("balances", "accounts", "held", 0)]), Outcome.DONE),
        (judge.parked([Parked("balances", "accounts", "poison", 1)]), Outcome.FAILED),
        (judge.drift({"balances": [CHECK]}), Outcome.DONE),
        (judge.drift({"balances": [CHECK, BROKEN]}), Outcome.FAILED),
        (judge.drift({}), Outcome.UNREACHABLE),
        (judge.audit_chain({"audit": [CHECK], "balances": [BROKEN]}), Outcome.DONE),
        (judge.audit_chain({"audit": [BROKEN]}), Outcome.FAILED),
        (judge.audit_chain({"balances": [CHECK]}), Outcome.UNREACHABLE),
        (judge.drifted({"balances, streams": 0}, 3600), Outcome.DONE),
        (judge.drifted({"balances, streams": 1}, 3600), Outcome.FAILED),
        (judge.drifted({"balances, streams": 0}, 50 * 3600), Outcome.FAILED),
        (judge.drifted({}, None), Outcome.UNREACHABLE),
        (judge.proven(1), Outcome.DONE),
        (judge.proven(0), Outcome.FAILED),
        (judge.proven(None), Outcome.UNREACHABLE),
        (judge.error_lines({}, 24), Outcome.DONE),
        (judge.error_lines({"a fact was not applied": 3}, 24), Outcome.PERSON),
        (judge.log_files({"requests": 20_000_000}, 45_000_000), Outcome.DONE),
        (judge.log_files({"requests": 60_000_000}, 45_000_000), Outcome.FAILED),
    ],
)  # fmt: skip
def test_the_system_is_judged(verdict: Verdict, outcome: Outcome) -> None:
    assert verdict.outcome is outcome, verdict
    assert verdict.text


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (judge.alerts([Alert(WATCHDOG)]), Outcome.DONE),
        (judge.alerts([Alert(WATCHDOG), Alert("DatabaseDown", "away")]), Outcome.FAILED),
        (judge.day_without_alerts({WATCHDOG}, 24.5, 24), Outcome.DONE),
        (judge.day_without_alerts({WATCHDOG}, 3, 24), Outcome.PERSON),
        (judge.day_without_alerts({"MailLate"}, 3, 24), Outcome.FAILED),
        (judge.monitored(WHOLE, {"a"}), Outcome.DONE),
        (judge.monitored(WHOLE, {"a", "c"}), Outcome.FAILED),
        (judge.monitored(Monitoring(["redis"], 9, {"a"}, ()), {"a"}), Outcome.FAILED),
        (judge.monitored(Monitoring((), 9, {"a"}, ["a"]), {"a"}), Outcome.FAILED),
        (judge.monitored(Monitoring((), 0, {"a"}, ()), {"a"}), Outcome.FAILED),
        (judge.notified([Alert(WATCHDOG)], 0, ["sre"]), Outcome.DONE),
        (judge.notified([Alert(WATCHDOG)], None, ["sre"]), Outcome.DONE),
        (judge.notified([Alert(WATCHDOG)], 2, ["sre"]), Outcome.FAILED),
        (judge.notified([Alert(WATCHDOG)], 0, []), Outcome.FAILED),
        (judge.notified([], 0, ["sre"]), Outcome.FAILED),
        (judge.answering({"Prometheus": None, "Grafana": None}), Outcome.DONE),
        (judge.answering({"Prometheus": None, "Grafana": "502"}), Outcome.FAILED),
        (judge.error_rate(Traffic(10, 0.1, 0.2)), Outcome.DONE),
        (judge.error_rate(Traffic(10, 0.11, 0.2)), Outcome.FAILED),
        (judge.error_rate(Traffic(0, 0, None)), Outcome.UNREACHABLE),
        (judge.latency(Traffic(10, 0, 1.0)), Outcome.DONE),
        (judge.latency(Traffic(10, 0, 1.1)), Outcome.FAILED),
        (judge.latency(Traffic(0, 0, None)), Outcome.UNREACHABLE),
    ],
)
def test_monitoring_is_judged(verdict: Verdict, outcome: Outcome) -> None:
    assert verdict.outcome is outcome, verdict
    assert verdict.text


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (judge.backups(BACKUPS, NOW), Outcome.DONE),
        (judge.backups(aged(26, kind="database"), NOW), Outcome.DONE),
        (judge.backups(aged(26.1, kind="database"), NOW), Outcome.FAILED),
        (judge.backups(aged(0.5), NOW), Outcome.DONE),
        (judge.backups(aged(0.6), NOW), Outcome.FAILED),
        (judge.backups(aged(0.6, kind="lists"), NOW), Outcome.FAILED),
        (judge.backups(BACKUPS[1:], NOW), Outcome.FAILED),
        (judge.backups([], NOW), Outcome.FAILED),
        (judge.tried(BACKUPS), Outcome.DONE),
        (judge.tried([Backup("database", NOW, None)]), Outcome.FAILED),
        (judge.tried([Backup("keyring", NOW, NOW)]), Outcome.FAILED),
        (judge.certificates(certificate(14), NOW), Outcome.DONE),
        (judge.certificates(certificate(13.9), NOW), Outcome.FAILED),
        (judge.certificates(certificate(90, "self-signed certificate"), NOW), Outcome.FAILED),
        (judge.certificates([*certificate(90), *certificate(-1)], NOW), Outcome.FAILED),
        (judge.resolved("leave.example.com", ["192.0.2.1"]), Outcome.PERSON),
        (judge.resolved("leave.example.com", []), Outcome.FAILED),
        (judge.door(20, [], None), Outcome.DONE),
        (judge.door(20, [], True), Outcome.DONE),
        (judge.door(20, [], False), Outcome.FAILED),
        (judge.door(20, ["502"], None), Outcome.FAILED),
        (judge.entrance([]), Outcome.DONE),
        (judge.entrance(["/ answers 502"]), Outcome.FAILED),
        (judge.capacity({"/": 0.1}, 0.08), Outcome.DONE),
        (judge.capacity({"/": 0.5, "/data": 0.09}, 0.5), Outcome.FAILED),
        (judge.capacity({"/": 0.5}, 0.07), Outcome.FAILED),
        (judge.advisories(REPORT), Outcome.DONE),
        (judge.advisories(OURS), Outcome.DONE),
        (judge.advisories(WEAK), Outcome.FAILED),
        (judge.advisories(UNASKED), Outcome.UNREACHABLE),
        (judge.advisories({"dependencies": [*WEAK["dependencies"], *UNASKED["dependencies"]]}), Outcome.FAILED),
    ],
)
def test_back_ups_edge_and_host_are_judged(verdict: Verdict, outcome: Outcome) -> None:
    assert verdict.outcome is outcome, verdict
    assert verdict.text


def test_a_long_row_of_faults_is_counted() -> None:
    told = judge.processes([f"copy-{number} is down" for number in range(20)], 20).text
    assert "copy-7 is down" in told
    assert "copy-8 is down" not in told
    assert told.endswith("and 12 more")


@pytest.mark.parametrize(
    ("outcomes", "person", "whole"),
    [
        ([Outcome.DONE, Outcome.DONE], "", Outcome.DONE),
        ([Outcome.DONE], "read it", Outcome.PERSON),
        ([Outcome.DONE, Outcome.UNREACHABLE], "read it", Outcome.UNREACHABLE),
        ([Outcome.UNREACHABLE, Outcome.FAILED], "read it", Outcome.FAILED),
        ([], "read it", Outcome.PERSON),
    ],
)
def test_a_line_is_as_good_as_the_worst_of_it(outcomes: list[Outcome], person: str, whole: Outcome) -> None:
    verdicts = {str(number): Verdict(outcome, "because") for number, outcome in enumerate(outcomes)}
    assert result_of(Line("a line", "README.md", person=person), verdicts).outcome is whole


def test_what_cannot_be_looked_at_is_told_with_its_reason_and_looked_at_once() -> None:
    looked: list[Looks] = []

    def away(looks: Looks) -> Verdict:
        looked.append(looks)
        raise Away("no Prometheus is named")

    def fine(_: Looks) -> Verdict:
        return FINE

    first, second = run([Line("one", "README.md", (away,)), Line("two", "README.md", (fine, away))], Looks())
    assert len(looked) == 1
    assert first.verdicts == {"away": Verdict(Outcome.UNREACHABLE, "no Prometheus is named")}
    assert second.as_json() == {
        "line": "two",
        "outcome": "not reachable",
        "checks": {
            "fine": {"outcome": "done", "text": ""},
            "away": {"outcome": "not reachable", "text": "no Prometheus is named"},
        },
        "person": "",
        "page": "README.md",
    }


@pytest.mark.parametrize("name", Name)
def test_without_anything_to_look_at_no_line_is_done_and_none_raises(name: Name, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", "")  # no pip-audit
    results = run(CHECKLISTS[name], Looks())
    assert {one.outcome for one in results} <= {Outcome.UNREACHABLE, Outcome.PERSON}
    assert all(one.verdicts or one.line.person for one in results)
