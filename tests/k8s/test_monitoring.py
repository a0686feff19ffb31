"""In a cluster every alert has series to judge, somebody is told of it, and every dashboard and trace finds its way."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts import k8s
from tests.k8s.conftest import (
    BESIDE,
    Manifest,
    containers,
    labels_of,
    loaded,
    may_leave,
    may_speak,
    of,
    pods,
    promtool,
    refusals,
    rules_of,
    ways_out,
)

from lms.kernel import tracing

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VALUES: dict[str, Any] = yaml.safe_load((ROOT / "k8s/monitoring/values.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", BESIDE)
def test_what_stands_beside_lms_is_valid_too(tools: Path, built: dict[str, Path], name: str) -> None:
    refused, valid = refusals(tools, built[name])
    assert refused == []
    assert valid == len(loaded(built[name]))


# What is scraped ------------------------------------------------------------------------------------------------------


def _endpoints(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Every endpoint that is scraped of pods or Services, with the monitor that names it."""
    for monitor in of(manifests, "PodMonitor", "ServiceMonitor"):
        for endpoint in monitor["spec"].get("podMetricsEndpoints", monitor["spec"].get("endpoints")):
            yield monitor, endpoint


def _written(endpoint: Manifest) -> dict[str, Manifest]:
    """Return the relabelings of an endpoint by the label that they write."""
    return {one["targetLabel"]: one for one in endpoint["relabelings"]}


def _jobs_of_the_rules() -> set[str]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (DEPLOY / "prometheus/rules").glob("*.yml"))
    named = set(re.findall(r'\bjob="([\w-]+)"', text))
    for some in re.findall(r'\bjob=~"([\w|-]+)"', text):
        named |= set(some.split("|"))
    return named


def test_every_job_that_an_alert_reads_is_scraped_under_its_name(production: list[Manifest]) -> None:
    scraped = {_written(endpoint)["job"]["replacement"] for _, endpoint in _endpoints(production)}
    scraped |= {one["spec"]["jobName"] for one in of(production, "Probe")}
    assert _jobs_of_the_rules() == scraped
    configured = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    assert {one["job_name"] for one in configured} == scraped, "the same as in every other form"


def test_what_is_scraped_of_lms_is_there_and_lets_prometheus_in(production: list[Manifest]) -> None:
    services = of(production, "Service")
    for monitor, endpoint in _endpoints(production):
        if "namespaceSelector" in monitor["spec"] or monitor["metadata"]["name"] == "kafka":
            continue  # not LMS's own; of Kafka's pods Strimzi makes the ports and the policy
        selector = monitor["spec"]["selector"]["matchLabels"]
        if monitor["kind"] == "ServiceMonitor":
            (service,) = [one for one in services if selector.items() <= one["metadata"].get("labels", {}).items()]
            assert endpoint["port"] in {one["name"] for one in service["spec"]["ports"]}
            selector, port = service["spec"]["selector"], service["spec"]["ports"][0]["targetPort"]
        else:
            port = endpoint["port"]
        found = [pod for _, pod in pods(production) if selector.items() <= pod["metadata"]["labels"].items()]
        assert found, monitor["metadata"]["name"]
        for pod in found:
            (number,) = [
                one["containerPort"]
                for container in pod["spec"]["containers"]
                for one in container["ports"]
                if one["name"] == port
            ]
            assert _lets_in(production, pod["metadata"]["labels"], "monitoring", number), monitor["metadata"]["name"]


def _lets_in(manifests: list[Manifest], labels: dict[str, str], namespace: str, port: int) -> bool:
    """Say whether pods with these labels may be spoken with from a namespace."""
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    return any(
        peer in rule["from"] and any(one["port"] == port for one in rule["ports"])
        for policy in of(manifests, "NetworkPolicy")
        if policy["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()
        for rule in policy["spec"].get("ingress", [])
        if "from" in rule
    )


def test_what_watches_is_found_by_the_names_that_the_operator_and_the_chart_give_it(production: list[Manifest]) -> None:
    found = {
        monitor["metadata"]["name"]: (monitor["spec"]["selector"]["matchLabels"], endpoint["targetPort"])
        for monitor, endpoint in _endpoints(production)
        if monitor["spec"].get("namespaceSelector") == {"matchNames": ["monitoring"]}
    }
    assert found == {
        "node": ({"app.kubernetes.io/name": "prometheus-node-exporter"}, 9100),
        "prometheus": ({"operated-prometheus": "true"}, 9090),
        "alertmanager": ({"operated-alertmanager": "true"}, 9093),
    }


def test_series_of_workers_say_that_they_are_of_workers(production: list[Manifest]) -> None:
    ((monitor, endpoint),) = [one for one in _endpoints(production) if one[0]["metadata"]["name"] == "lms"]
    sources = {name: one.get("sourceLabels") for name, one in _written(endpoint).items()}
    assert sources["component"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_component"]
    assert sources["service"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    components = {
        (pod["metadata"]["labels"]["app.kubernetes.io/name"], pod["metadata"]["labels"]["app.kubernetes.io/component"])
        for _, pod in pods(production)
        if monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    }
    assert {component for _, component in components} == {"api", "worker", "streams"}
    (alert,) = [
        rule
        for group in rules_of(production, "lms-availability")["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "ServiceDown"
    ]
    (left_out,) = re.findall(r'component!~"([\w|]+)"', alert["expr"])
    assert {component for _, component in components} - set(left_out.split("|")) == {"api"}, "who takes requests"


def test_the_probe_asks_whether_requests_are_taken_by_the_name_that_people_open(production: list[Manifest]) -> None:
    probes = {one["spec"]["jobName"]: one["spec"] for one in of(production, "Probe")}
    (domain,) = [
        one["data"]["LMS_DOMAIN"] for one in of(production, "ConfigMap") if "LMS_DOMAIN" in (one.get("data") or {})
    ]
    (target,) = probes["probe"]["targets"]["staticConfig"]["static"]
    assert target == f"https://{domain}/readyz", "a mail server that is away makes /health 503, and stops nobody's work"
    assert probes["certificate"]["targets"]["staticConfig"]["static"] == [f"{domain}:443"]
    modules = yaml.safe_load((DEPLOY / "prometheus/blackbox.yml").read_text(encoding="utf-8"))["modules"]
    for spec in probes.values():
        assert spec["module"] in modules
        assert spec["prober"]["url"] == "blackbox-exporter.lms:9115"
    (service,) = [one for one in of(production, "Service") if one["metadata"]["name"] == "blackbox-exporter"]
    assert [one["port"] for one in service["spec"]["ports"]] == [9115]


@pytest.mark.parametrize(
    ("source", "target", "port", "may"),
    [
        ("blackbox-exporter", "edge", 8443, True),
        ("blackbox-exporter", "gateway-api", 8000, False),
        ("blackbox-exporter", "redis", 6379, False),
        ("mysql-exporter", "redis", 6379, False),
        ("mysql-exporter", "requests-api", 8000, False),
    ],
)
def test_an_exporter_reaches_what_it_looks_at_and_no_other_part(
    production: list[Manifest], source: str, target: str, port: int, *, may: bool
) -> None:
    assert may_speak(production, labels_of(production, source), labels_of(production, target), port) is may


def test_exporters_leave_for_the_database_and_for_the_name_that_people_open(production: list[Manifest]) -> None:
    def outside(workload: str) -> set[tuple[str, int]]:
        return {
            (peer["ipBlock"]["cidr"], port["port"])
            for rule in ways_out(production, labels_of(production, workload))
            for peer in rule["to"]
            if "ipBlock" in peer
            for port in rule["ports"]
        }

    assert outside("mysql-exporter") == outside("requests-api")
    assert outside("mysql-exporter")
    assert outside("blackbox-exporter") == {("0.0.0.0/0", 443)}
    assert outside("redis-exporter") == set()


def test_the_databases_exporter_has_its_password_in_a_file_that_nobody_else_mounts(production: list[Manifest]) -> None:
    for name, template in pods(production):
        mounted = {one["secret"]["secretName"] for one in template["spec"].get("volumes", []) if "secret" in one}
        assert ("mysql-exporter" in mounted) == (name == "Deployment mysql-exporter"), name
    ((_, template),) = [one for one in pods(production) if one[0] == "Deployment mysql-exporter"]
    (container,) = containers(template)
    (folder,) = [one["mountPath"] for one in container["volumeMounts"]]
    assert f"--config.my-cnf={folder}/my.cnf" in container["args"]
    assert "env" not in container


# Who is told ----------------------------------------------------------------------------------------------------------


def _alertmanager(folder: Path) -> Path:
    """Write Alertmanager's configuration as the cluster has it, with its templates, to a folder."""
    for name, text in k8s.alertmanager().items():
        (folder / Path(name).name).write_text(text, encoding="utf-8")
    return folder / "alertmanager.yaml"


def test_alertmanager_is_configured_as_in_every_form_with_its_files_where_the_operator_puts_them(
    monitoring: list[Manifest], tmp_path: Path
) -> None:
    written = _alertmanager(tmp_path)
    spec = VALUES["alertmanager"]["alertmanagerSpec"]
    (secret,) = of(monitoring, "Secret")
    assert secret["metadata"]["name"] == spec["configSecret"]
    assert spec["useExistingSecret"] is True
    assert set(secret["data"]) == {"alertmanager.yaml", *(one.name for one in tmp_path.glob("*.tmpl"))}
    (mounted,) = spec["secrets"]
    (external,) = of(monitoring, "ExternalSecret")
    assert external["spec"]["target"]["name"] == mounted

    here: Any = yaml.safe_load(written.read_text(encoding="utf-8"))
    there: Any = yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text(encoding="utf-8"))
    assert here.pop("templates") == ["/etc/alertmanager/config/*.tmpl"]
    assert there.pop("templates") == ["templates/*.tmpl"]
    for value in _files(here):
        assert Path(value).parent == Path("/etc/alertmanager/secrets") / mounted
    assert {Path(one).name for one in _files(here)} == set(_secrets_named())
    assert _without_folders(here) == _without_folders(there)


def _files(found: Any) -> Iterator[str]:
    """Every file that a configuration names as a secret."""
    if isinstance(found, dict):
        for name, value in found.items():
            if name.endswith("_file"):
                yield value
            else:
                yield from _files(value)
    elif isinstance(found, list):
        for one in found:
            yield from _files(one)


def _without_folders(found: Any) -> Any:
    if isinstance(found, dict):
        return {
            name: Path(value).name if name.endswith("_file") else _without_folders(value)
            for name, value in found.items()
        }
    return [_without_folders(one) for one in found] if isinstance(found, list) else found


def _secrets_named() -> list[str]:
    """Return the secrets that k8s/monitoring/secrets.yaml says there must be."""
    text = (ROOT / "k8s/monitoring/secrets.yaml").read_text(encoding="utf-8")
    (found,) = re.findall(r"What the receivers of alerts want: ([\w, ]+?), from", text)
    return str(found).split(", ")


def test_alertmanager_takes_the_configuration_and_sends_what_is_critical_to_who_is_woken(tmp_path: Path) -> None:
    written = _alertmanager(tmp_path)
    written.write_text(written.read_text(encoding="utf-8").replace("/etc/alertmanager/config", str(tmp_path)))
    told = subprocess.run(["amtool", "check-config", str(written)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "1 templates" in told.stdout
    routed = subprocess.run(
        ["amtool", "config", "routes", "test", f"--config.file={written}", "alertname=DatabaseDown",
         "severity=critical"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert routed.stdout.strip() == "critical-alerts"


def test_prometheus_takes_up_what_has_no_label_of_the_charts_and_says_which_system_it_is() -> None:
    spec = VALUES["prometheus"]["prometheusSpec"]
    for kind in ("podMonitor", "serviceMonitor", "probe", "rule"):
        assert spec[f"{kind}SelectorNilUsesHelmValues"] is False
    configured = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    assert spec["externalLabels"] == configured["global"]["external_labels"]


# Jobs that end --------------------------------------------------------------------------------------------------------

DAY, NIGHT = 288, 30
"""How many times five minutes a day has, and the night's job takes."""


def _times(name: str, values: str, cronjob: str, namespace: str = "lms") -> dict[str, str]:
    labels = f'namespace="{namespace}",job="kube-state-metrics",cronjob="{cronjob}"'
    return {"series": f"kube_cronjob_status_last_{name}_time{{{labels}}}", "values": values}


def _due(when: str, cronjob: str, namespace: str) -> dict[str, Any]:
    return {
        "exp_labels": {"cronjob": cronjob, "namespace": namespace, "severity": "warning"},
        "exp_annotations": {
            "summary": f"The job {cronjob} has not succeeded since it was due at {when}:00 +0000 UTC",
            "description": f"What it does is not done; its last pod in {namespace} says why. "
            "A verification has found drift, or could not look.",
            "runbook_url": "docs/runbooks/JobFailing.md",
            "dashboard_url": "/d/lms-overview",
        },
    }


def test_a_verification_that_fails_is_told_of_until_one_succeeds(production: list[Manifest], tmp_path: Path) -> None:
    series = [
        # Due at one; the second night's has success at last, by hand, on the third day.
        _times("schedule", f"3600+0x{DAY} 90000+0x{2 * DAY}", "requests-verification"),
        _times("successful", f"7200+0x{DAY + 12 * 27} 187200+0x{DAY}", "requests-verification"),
        _times("schedule", f"3600+0x{DAY} 90000+0x{2 * DAY}", "balances-verification"),
        _times("successful", f"7200+0x{DAY + NIGHT} 97200+0x{2 * DAY}", "balances-verification"),
        # Back-ups are judged by how old they are.
        _times("schedule", f"90000+0x{3 * DAY}", "backup-lists"),
        _times("successful", f"0+0x{3 * DAY}", "backup-lists"),
    ]
    cases = [
        {"alertname": "JobFailing", "eval_time": "20h", "exp_alerts": []},
        {"alertname": "JobFailing", "eval_time": "28h", "exp_alerts": []},
        {
            "alertname": "JobFailing",
            "eval_time": "31h",
            "exp_alerts": [_due("1970-01-02 01:00", "requests-verification", "lms")],
        },
        {"alertname": "JobFailing", "eval_time": "52h", "exp_alerts": []},
    ]
    promtool(tmp_path, {"lms-jobs": rules_of(production, "lms-jobs")}, series, cases)


def test_a_job_that_never_succeeded_is_told_of_too(
    production: list[Manifest], logging: list[Manifest], tmp_path: Path
) -> None:
    (job,) = of(logging, "CronJob")
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    series = [_times("schedule", f"3600+0x{DAY}", name, namespace)]
    cases = [
        {"alertname": "JobFailing", "eval_time": "4h", "exp_alerts": []},
        {"alertname": "JobFailing", "eval_time": "6h", "exp_alerts": [_due("1970-01-01 01:00", name, namespace)]},
    ]
    promtool(tmp_path, {"lms-jobs": rules_of(production, "lms-jobs")}, series, cases)


def test_no_job_may_take_so_long_that_it_would_be_told_of_while_it_works(
    production: list[Manifest], logging: list[Manifest]
) -> None:
    (group,) = rules_of(production, "lms-jobs")["groups"]
    (alert,) = group["rules"]
    patience = int(alert["for"].removesuffix("h")) * 3600
    for one in of(production + logging, "CronJob"):
        if not one["metadata"]["name"].startswith("backup-"):
            assert one["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] < patience


# Dashboards -----------------------------------------------------------------------------------------------------------


def test_grafana_finds_every_dashboard(monitoring: list[Manifest]) -> None:
    found = {}
    for one in of(monitoring, "ConfigMap"):
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1", "what its sidecar looks for"
        assert one["metadata"]["namespace"] == "monitoring"
        ((name, text),) = one["data"].items()
        # `kubectl apply` keeps all of it once more, in an annotation that may be a quarter of a megabyte.
        assert len(json.dumps(one)) < 262_144, name
        found[name] = json.loads(text)
    there = {path.name: json.loads(path.read_text("utf-8")) for path in (DEPLOY / "grafana/dashboards").glob("*.json")}
    assert found == there


def test_the_dashboards_take_any_prometheus_for_their_source(monitoring: list[Manifest]) -> None:
    for one in of(monitoring, "ConfigMap"):
        (text,) = one["data"].values()
        (choice,) = [one for one in json.loads(text)["templating"]["list"] if one["type"] == "datasource"]
        assert (choice["name"], choice["query"]) == ("datasource", "prometheus"), "no name that a chart might change"
        assert set(re.findall(r'"datasource": \{[^}]*"uid": "([^"]+)"', text)) == {"$datasource"}


# Traces ---------------------------------------------------------------------------------------------------------------


def _traced(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod of a service whose process makes spans: all but Faust's."""
    for name, template in pods(manifests):
        (*_, container) = containers(template)
        if "args" in container and "command" not in container and container["name"] == "service":
            yield name, template


def test_spans_of_every_service_reach_a_pod_that_says_it_collects_them(production: list[Manifest]) -> None:
    found = dict(_traced(production))
    assert {"Deployment gateway-api", "Deployment requests-api", "Deployment requests-worker"} <= set(found)
    for name, template in found.items():
        labels = template["metadata"]["labels"]
        assert may_leave(production, labels, {"lms/traces": "collected"}, 4318), name
        assert not may_leave(production, labels, {"app.kubernetes.io/name": "collector"}, 4318), name
    for other in ("edge", "redis", "redis-exporter", "backup-lists"):
        assert not may_leave(production, labels_of(production, other), {"lms/traces": "collected"}, 4318), other


@pytest.mark.parametrize(("collector", "exports"), [(None, False), ("http://collector.observability:4318", True)])
def test_traces_are_switched_on_by_the_configuration_alone(
    production: list[Manifest], monkeypatch: pytest.MonkeyPatch, collector: str | None, *, exports: bool
) -> None:
    maps = {one["metadata"]["name"]: one["data"] for one in of(production, "ConfigMap")}
    for _, template in _traced(production):
        (*_, container) = containers(template)
        given: dict[str, str] = {}
        for one in container["envFrom"]:
            if "configMapRef" in one:
                given |= maps[one["configMapRef"]["name"]]
        variables = {name: value for name, value in given.items() if name.startswith("OTEL_")}
        assert set(variables) == {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"}
    for name in [one for one in os.environ if one.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if collector is not None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
    tracing.configure("requests")
    try:
        assert tracing.exporting() is exports
    finally:
        tracing.shut_down()
