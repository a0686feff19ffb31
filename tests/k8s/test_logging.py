"""In a cluster Filebeat ships the lines of LMS and nobody else's, with no more rights than that takes; old days go."""

import re
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest
from tests.k8s.conftest import Manifest, containers, of, pods, ways_out

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def template_of(manifests: list[Manifest], name: str) -> Manifest:
    ((_, found),) = [one for one in pods(manifests) if one[0] == name]
    return found


def maps_of(manifests: list[Manifest]) -> dict[str, dict[str, str]]:
    return {one["metadata"]["name"]: one["data"] for one in of(manifests, "ConfigMap")}


def given_to(manifests: list[Manifest], container: Manifest) -> set[str]:
    """Return the variables that a container has; those of the secret are what k8s/logging/secrets.yaml says."""
    text = (ROOT / "k8s/logging/secrets.yaml").read_text(encoding="utf-8")
    secrets = {"elasticsearch": set(re.findall(r"\b(ELASTICSEARCH_\w+)\b", text))}
    found: set[str] = set()
    for one in container["envFrom"]:
        if "configMapRef" in one:
            found |= set(maps_of(manifests)[one["configMapRef"]["name"]])
        else:
            found |= secrets[one["secretRef"]["name"]]
    return found


def file_at(manifests: list[Manifest], template: Manifest, container: Manifest, path: str) -> str:
    """Return the text of a file of a ConfigMap that a container has mounted."""
    for mount in container["volumeMounts"]:
        (volume,) = [one for one in template["spec"]["volumes"] if one["name"] == mount["name"]]
        if "configMap" not in volume:
            continue
        files = maps_of(manifests)[volume["configMap"]["name"]]
        if mount["mountPath"] == path:
            return files[mount["subPath"]]
        if PurePosixPath(path).parent == PurePosixPath(mount["mountPath"]):
            return files[PurePosixPath(path).name]
    raise AssertionError(f"{path} is not mounted")


def test_filebeat_runs_on_every_node_with_the_configuration_of_every_form(logging: list[Manifest]) -> None:
    (daemon,) = of(logging, "DaemonSet")
    assert "nodeSelector" not in daemon["spec"]["template"]["spec"]
    template = template_of(logging, "DaemonSet filebeat")
    (filebeat,) = template["spec"]["containers"]
    text = file_at(logging, template, filebeat, "/usr/share/filebeat/filebeat.yml")
    assert text == (DEPLOY / "filebeat/filebeat.yml").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+)[:}]", text)) - {"LMS_LOGS_IN_CONTAINERS", "LMS_LOGS_IN_FILES", "LMS_LOG_FILES"}
    assert wanted <= given_to(logging, filebeat)


def test_it_reads_the_lines_of_lms_and_nobody_elses(logging: list[Manifest]) -> None:
    template = template_of(logging, "DaemonSet filebeat")
    (filebeat,) = template["spec"]["containers"]
    pattern = maps_of(logging)[filebeat["envFrom"][0]["configMapRef"]["name"]]["LMS_CONTAINER_LOGS"]
    folder = "/var/log/containers"
    assert fnmatch(f"{folder}/requests-api-5d5c5b9c6-abcde_lms_service-0123456789abcdef.log", pattern)
    assert not fnmatch(f"{folder}/grafana-0_monitoring_grafana-0123456789abcdef.log", pattern)
    assert not fnmatch(f"{folder}/filebeat-abcde_lms-logging_filebeat-0123456789abcdef.log", pattern)
    assert not fnmatch(f"{folder}/coredns-0_kube-system_lms-0123456789abcdef.log", pattern)


def test_it_sees_of_the_node_the_logs_alone_and_writes_only_how_far_it_has_read(logging: list[Manifest]) -> None:
    template = template_of(logging, "DaemonSet filebeat")
    (filebeat,) = template["spec"]["containers"]
    of_the_node = {
        one["name"]: one["hostPath"]["path"] for one in template["spec"]["volumes"] if "hostPath" in one
    }  # fmt: skip
    mounts = {one["name"]: one for one in filebeat["volumeMounts"]}
    readable = {of_the_node[name] for name, one in mounts.items() if name in of_the_node and one.get("readOnly")}
    # (what is in the first are links into the second)
    assert readable == {"/var/log/containers", "/var/log/pods"}
    for name, path in of_the_node.items():
        if path in readable:
            assert mounts[name]["mountPath"] == path, "or the links lead nowhere"
    writable = {name for name, one in mounts.items() if not one.get("readOnly")}
    assert {(of_the_node[name], mounts[name]["mountPath"]) for name in writable} == {
        ("/var/lib/lms-filebeat", "/usr/share/filebeat/data")
    }
    for container in template["spec"]["initContainers"]:
        assert not {one["name"] for one in container["volumeMounts"]} & set(of_the_node)


def test_only_who_reads_the_nodes_files_is_root_and_has_none_of_its_rights(logging: list[Manifest]) -> None:
    for name, template in pods(logging):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        for container in containers(template):
            context = {**spec["securityContext"], **container["securityContext"]}
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert "privileged" not in context, name
            root = context["runAsUser"] == 0
            assert root == (container["name"] == "filebeat"), name
            assert root or context["runAsNonRoot"] is True, name


def test_lms_itself_still_runs_where_nobody_may_be_root(production: list[Manifest], logging: list[Manifest]) -> None:
    standards = {
        one["metadata"]["name"]: one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for one in of(production + logging, "Namespace")
    }
    assert standards == {"lms": "restricted", "lms-logging": "privileged"}
    assert not of(production, "DaemonSet")
    assert {one["metadata"]["namespace"] for one in logging if one["kind"] != "Namespace"} == {"lms-logging"}


def test_every_container_of_the_logs_says_what_it_needs_and_is_of_a_version(logging: list[Manifest]) -> None:
    for name, template in pods(logging):
        for container in containers(template):
            for bound in ("requests", "limits"):
                assert set(container["resources"][bound]) == {"cpu", "memory"}, name
            assert ":" in container["image"], name
            assert not container["image"].endswith(":latest"), name


def test_every_secret_and_configuration_of_the_logs_is_made_by_somebody(logging: list[Manifest]) -> None:
    maps = set(maps_of(logging))
    secrets = {one["spec"]["target"]["name"] for one in of(logging, "ExternalSecret")}
    for name, template in pods(logging):
        for container in containers(template):
            for one in container["envFrom"]:
                if "configMapRef" in one:
                    assert one["configMapRef"]["name"] in maps, name
                else:
                    assert one["secretRef"]["name"] in secrets, name
        for volume in template["spec"]["volumes"]:
            assert "configMap" not in volume or volume["configMap"]["name"] in maps, name


def test_the_index_template_is_there_before_the_first_line(logging: list[Manifest]) -> None:
    template = template_of(logging, "DaemonSet filebeat")
    (setup,) = template["spec"]["initContainers"]
    assert "restartPolicy" not in setup, "before Filebeat, not beside it"
    _runs_the_script(logging, template, setup, "setup.sh")
    # The script looks for the template beside itself.
    beside = file_at(logging, template, setup, "/lms/elasticsearch/index-template.json")
    assert beside == (DEPLOY / "elasticsearch/index-template.json").read_text(encoding="utf-8")


def test_every_day_the_indices_that_are_over_go(logging: list[Manifest]) -> None:
    (job,) = of(logging, "CronJob")
    minute, hour, *days = job["spec"]["schedule"].split()
    assert minute.isdigit()
    assert hour.isdigit()
    assert days == ["*", "*", "*"]
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    template = template_of(logging, "CronJob log-retention")
    (retention,) = containers(template)
    _runs_the_script(logging, template, retention, "retention.sh")
    (settings,) = [one for one in maps_of(logging).values() if "LMS_LOG_RETENTION_DAYS" in one]
    assert settings["LMS_LOG_RETENTION_DAYS"] == "30"


def _runs_the_script(manifests: list[Manifest], template: Manifest, container: Manifest, name: str) -> None:
    shell, path = container["command"]
    assert shell == "sh", "a ConfigMap's files are not executable"
    script = file_at(manifests, template, container, path)
    assert PurePosixPath(path).name == name
    assert script == (DEPLOY / "elasticsearch" / name).read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+):-", script))
    assert wanted <= given_to(manifests, container)


def test_what_ships_the_logs_reaches_elasticsearch_and_nothing_else_and_nobody_reaches_it(
    logging: list[Manifest],
) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in of(logging, "NetworkPolicy")}
    assert policies["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert not [name for name, spec in policies.items() if "ingress" in spec]
    for name, template in pods(logging):
        ways = {port["port"] for rule in ways_out(logging, template["metadata"]["labels"]) for port in rule["ports"]}
        assert ways == {53, 9200}, name
        (settings,) = [one for one in maps_of(logging).values() if "ELASTICSEARCH_URL" in one]
        assert settings["ELASTICSEARCH_URL"].startswith("https://")
        assert settings["ELASTICSEARCH_URL"].endswith(":9200")
