"""What is applied to a cluster is valid, small in its rights, and follows from the code where it can."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from scripts import k8s, services
from tests.k8s.conftest import (
    OVERLAYS,
    Manifest,
    containers,
    labels_of,
    loaded,
    may_speak,
    of,
    pods,
    refusals,
    ways_out,
)

pytestmark = pytest.mark.timeout(600)  # a first run also installs kustomize, kubeconform and the schemas

ROOT = Path(__file__).parents[2]
STORES = tuple(one for one in services.load() if one.migrations is not None)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_fits_its_schema_and_none_is_passed_over(
    tools: Path, built: dict[str, Path], overlay: str
) -> None:
    refused, valid = refusals(tools, built[overlay])
    assert refused == []
    assert valid == len(loaded(built[overlay]))


@pytest.mark.parametrize(
    ("version", "kind", "spec", "complaint"),
    [
        ("apps/v1", "Deployment", {"replica": 1}, "replica"),
        ("keda.sh/v1alpha1", "ScaledObject", {"trigger": []}, "trigger"),
        ("kafka.strimzi.io/v1", "KafkaUser", {"authentications": {}}, "authentications"),
        ("example.com/v1", "Unknown", {}, "could not find schema"),
    ],
)
def test_the_check_of_schemas_does_refuse(
    tools: Path, tmp_path: Path, version: str, kind: str, spec: Manifest, complaint: str
) -> None:
    wrong = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    (tmp_path / "wrong.json").write_text(json.dumps(wrong), encoding="utf-8")
    refused, _ = refusals(tools, tmp_path / "wrong.json")
    assert complaint in refused[0]


def test_what_follows_from_the_code_is_up_to_date() -> None:
    there = {
        str(path.relative_to(k8s.K8S / "generated")): path.read_text(encoding="utf-8")
        for path in (k8s.K8S / "generated").rglob("*")
        if path.is_file()
    }
    assert there == k8s.generated(), "run `make k8s`"


def test_files_that_a_comment_names_are_there() -> None:
    for path in k8s.K8S.rglob("*.yaml"):
        if k8s.K8S / "generated" in path.parents:
            continue
        comments = re.findall(r"^\s*#(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        for name in re.findall(r"(?<![\w./-])[\w-]+(?:/[\w-]+)*\.(?:yaml|yml|md|sh|py)\b", "\n".join(comments)):
            assert any((folder / name).exists() for folder in (ROOT, k8s.K8S, path.parent)), f"{path}: {name}"


def test_every_service_has_its_workloads(manifests: list[Manifest]) -> None:
    deployed = {one["metadata"]["name"] for one in of(manifests, "Deployment")}
    for name in services.NAMES:
        assert f"{name}-api" in deployed
    for service in STORES:
        assert f"{service.name}-worker" in deployed
        assert f"{service.name}-migration" in {one["metadata"]["name"] for one in of(manifests, "Job")}
        assert f"{service.name}-verification" in {one["metadata"]["name"] for one in of(manifests, "CronJob")}


def test_no_pod_has_more_rights_than_it_needs(manifests: list[Manifest]) -> None:
    for name, template in pods(manifests):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(template):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            if not name.endswith(" mysql"):  # MySQL writes its sockets beside its programs
                assert context["readOnlyRootFilesystem"] is True, name


def test_every_container_says_what_it_needs_and_may_take(manifests: list[Manifest]) -> None:
    for name, template in pods(manifests):
        for container in containers(template):
            for bound in ("requests", "limits"):
                assert set(container["resources"][bound]) == {"cpu", "memory"}, name
    for service in services.NAMES:
        (api,) = [one for one in of(manifests, "Deployment") if one["metadata"]["name"] == f"{service}-api"]
        assert api["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "1Gi", "the guide's"


def test_services_are_probed_and_spread_and_stop_in_order(production: list[Manifest]) -> None:
    for deployment in of(production, "Deployment"):
        if not deployment["metadata"]["name"].endswith(("-api", "-worker")):
            continue
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        probed = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
        assert probed == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
        assert spec["terminationGracePeriodSeconds"] > container["lifecycle"]["preStop"]["sleep"]["seconds"] + 5
        keys = {one["topologyKey"] for one in spec["topologySpreadConstraints"]}
        assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        for one in spec["topologySpreadConstraints"]:
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            assert one["labelSelector"]["matchLabels"].items() <= labels.items()
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_copies_follow_the_load_from_2_to_10_at_70_percent_and_go_slowly(production: list[Manifest]) -> None:
    scalers = {one["metadata"]["name"]: one["spec"] for one in of(production, "HorizontalPodAutoscaler")}
    assert set(scalers) == {*(f"{one}-api" for one in services.NAMES), "edge"}
    for name, spec in scalers.items():
        assert spec["scaleTargetRef"]["name"] == name
        assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 10)
        assert [one["resource"]["target"]["averageUtilization"] for one in spec["metrics"]] == [70]
        assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 900


def test_nothing_scales_a_workload_twice_and_no_number_of_copies_is_fixed_under_a_scaler(
    production: list[Manifest],
) -> None:
    scaled = [
        one["spec"]["scaleTargetRef"]["name"] for one in of(production, "HorizontalPodAutoscaler", "ScaledObject")
    ]
    assert len(scaled) == len(set(scaled))
    deployments = {one["metadata"]["name"]: one for one in of(production, "Deployment")}
    assert set(scaled) <= set(deployments)
    for one in of(production, "HorizontalPodAutoscaler"):
        assert "replicas" not in deployments[one["metadata"]["name"]]["spec"]


def test_workers_follow_the_lag_of_each_of_their_consumers(production: list[Manifest]) -> None:
    watched = {
        (trigger["metadata"]["consumerGroup"], trigger["metadata"]["topic"])
        for one in of(production, "ScaledObject")
        for trigger in one["spec"]["triggers"]
        if trigger["type"] == "kafka"
    }
    assert watched == {
        (f"lms.{service.name}.{consumer.name}", topic)
        for service in STORES
        for consumer in service.consumers
        for topic in consumer.topics
    }


def test_every_workload_with_copies_has_a_disruption_budget(production: list[Manifest]) -> None:
    budgets = [one["spec"]["selector"]["matchLabels"] for one in of(production, "PodDisruptionBudget")]
    for one in of(production, "Deployment", "StatefulSet"):
        name, labels = one["metadata"]["name"], one["spec"]["template"]["metadata"]["labels"]
        if name.endswith(("-streams", "-exporter")):
            continue
        assert any(budget.items() <= labels.items() for budget in budgets), name


# Who may do what ------------------------------------------------------------------------------------------------------


def test_each_service_has_only_its_own_rights_on_kafka(production: list[Manifest]) -> None:
    users = {one["metadata"]["name"]: one["spec"] for one in of(production, "KafkaUser")}
    writers: dict[str, list[str]] = {}
    for name, spec in users.items():
        assert spec["authentication"] == {"type": "scram-sha-512"}
        for acl in spec["authorization"]["acls"]:
            assert "All" not in acl["operations"]
            if acl["resource"]["type"] == "topic" and "Write" in acl["operations"]:
                writers.setdefault(acl["resource"]["name"], []).append(name)
    for service in STORES:
        for topic in service.publishes:
            if topic != "leave.access.v1":
                assert writers[topic] == [f"{service.name}-kafka"], "one owner for each topic"
    readers = {acl["resource"]["name"] for acl in users["payroll-kafka"]["authorization"]["acls"]}
    assert readers == {"leave.payroll.v1", "payroll."}
    creators = [
        name
        for name, spec in users.items()
        if any("Create" in acl["operations"] for acl in spec["authorization"]["acls"])
    ]
    assert creators == ["topics-kafka"]


def test_a_service_signs_in_to_kafka_as_itself_and_only_its_migration_as_one_who_makes_topics(
    manifests: list[Manifest],
) -> None:
    known = {one["metadata"]["name"] for one in of(manifests, "KafkaUser")}
    for name, template in pods(manifests):
        for container in template["spec"]["containers"]:
            values = {one["name"]: one for one in container.get("env", [])}
            if "KAFKA_USERNAME" not in values:
                continue
            user = values["KAFKA_USERNAME"]["value"]
            service = template["metadata"]["labels"]["app.kubernetes.io/name"]
            assert user in known, name
            assert user == ("topics-kafka" if name.startswith("Job ") else f"{service}-kafka"), name
            assert values["KAFKA_PASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": user, "key": "password"}, name


def test_only_migrations_know_the_user_who_may_change_tables(manifests: list[Manifest]) -> None:
    for name, template in pods(manifests):
        for container in template["spec"]["containers"]:
            secrets = {one["secretRef"]["name"] for one in container.get("envFrom", []) if "secretRef" in one}
            if any(one.endswith("-migration") for one in secrets):
                assert name.startswith("Job "), name


def test_every_secret_and_configuration_that_a_pod_names_is_made_by_somebody(manifests: list[Manifest]) -> None:
    made = {one["metadata"]["name"] for one in of(manifests, "Secret", "ConfigMap", "KafkaUser")}
    made |= {one["spec"]["target"]["name"] for one in of(manifests, "ExternalSecret")}
    made |= {one["spec"]["secretName"] for one in of(manifests, "Certificate")}
    made.add("lms-cluster-ca-cert")  # Strimzi's
    for name, template in pods(manifests):
        for needed in _names_of(template):
            assert needed in made, f"{name} needs {needed}"


def test_every_claim_that_a_pod_mounts_is_made_by_somebody(manifests: list[Manifest]) -> None:
    made = {one["metadata"]["name"] for one in of(manifests, "PersistentVolumeClaim")}
    for name, template in pods(manifests):
        for volume in template["spec"].get("volumes", []):
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in made, name


def _names_of(template: Manifest) -> set[str]:
    found = set()
    for container in containers(template):
        for one in container.get("envFrom", []):
            found.add(one.get("secretRef", one.get("configMapRef"))["name"])
        for one in container.get("env", []):
            reference = one.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                found.add(reference["name"])
    for volume in template["spec"].get("volumes", []):
        if "secret" in volume and not volume["secret"].get("optional"):
            found.add(volume["secret"]["secretName"])
        if "configMap" in volume:
            found.add(volume["configMap"]["name"])
    return found


# Who may speak with whom ----------------------------------------------------------------------------------------------


def test_nothing_speaks_with_anything_unless_it_is_said(manifests: list[Manifest]) -> None:
    denied = next(one["spec"] for one in of(manifests, "NetworkPolicy") if one["metadata"]["name"] == "nothing")
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize(
    ("source", "target", "port", "may"),
    [
        ("edge", "gateway-api", 8000, True),
        ("edge", "requests-api", 8000, False),
        ("edge", "redis", 6379, False),
        ("gateway-api", "requests-api", 8000, True),
        ("gateway-api", "requests-worker", 8000, False),
        ("gateway-api", "redis", 6379, True),
        ("requests-api", "balances-api", 8000, False),
        ("requests-api", "gateway-api", 8000, False),
        ("requests-worker", "redis", 6379, True),
        ("notifications-streams", "redis", 6379, True),
        ("redis-exporter", "requests-api", 8000, False),
    ],
)
def test_requests_take_the_one_way_through(
    production: list[Manifest], source: str, target: str, port: int, *, may: bool
) -> None:
    assert may_speak(production, labels_of(production, source), labels_of(production, target), port) is may


def test_only_the_edge_is_for_the_world(production: list[Manifest]) -> None:
    assert [
        one["metadata"]["name"] for one in of(production, "Service") if one["spec"].get("type") == "LoadBalancer"
    ] == ["edge"]
    assert not of(production, "Ingress")
    open_to_all = [
        one["metadata"]["name"]
        for one in of(production, "NetworkPolicy")
        if any("from" not in rule for rule in one["spec"].get("ingress", []))
    ]
    assert open_to_all == ["edge"]


# Kafka's own pods are Strimzi's, by these labels.
_KAFKA = {"strimzi.io/cluster": "lms", "strimzi.io/kind": "Kafka"}
BROKER = {**_KAFKA, "strimzi.io/name": "lms-kafka", "strimzi.io/broker-role": "true"}
CONTROLLER = {**_KAFKA, "strimzi.io/name": "lms-kafka", "strimzi.io/controller-role": "true"}
USER_OPERATOR = {**_KAFKA, "strimzi.io/name": "lms-entity-operator"}
REQUESTS = {"app.kubernetes.io/name": "requests", "app.kubernetes.io/component": "api", "lms/kafka": "allowed"}


def with_strimzis(manifests: list[Manifest]) -> list[Manifest]:
    """Add the policy that Strimzi makes of the Kafka resource, as its KafkaCluster has it: ways in, and none out."""
    (kafka,) = of(manifests, "Kafka")
    pods_of_kafka = {"podSelector": {"matchLabels": {**_KAFKA, "strimzi.io/name": "lms-kafka"}}}
    operator = {"podSelector": {"matchLabels": {"strimzi.io/name": "lms-entity-operator"}}}
    into: list[Manifest] = [
        {"from": [pods_of_kafka], "ports": [{"port": 9090}]},
        {"from": [pods_of_kafka, operator], "ports": [{"port": 9091}]},
    ]
    for listener in kafka["spec"]["kafka"]["listeners"]:
        peers = {"from": listener["networkPolicyPeers"]} if "networkPolicyPeers" in listener else {}
        into.append({**peers, "ports": [{"port": listener["port"]}]})
    own = {"podSelector": pods_of_kafka["podSelector"], "ingress": into}
    return [*manifests, {"kind": "NetworkPolicy", "metadata": {"name": "lms-network-policy-kafka"}, "spec": own}]


@pytest.mark.parametrize(
    ("source", "target", "port", "may"),
    [
        (BROKER, CONTROLLER, 9090, True),
        (CONTROLLER, CONTROLLER, 9090, True),
        (CONTROLLER, BROKER, 9090, True),
        (BROKER, BROKER, 9091, True),
        (USER_OPERATOR, BROKER, 9091, True),
        (USER_OPERATOR, CONTROLLER, 9090, False),
        (REQUESTS, BROKER, 9093, True),
        (REQUESTS, BROKER, 9091, False),
        (REQUESTS, CONTROLLER, 9090, False),
        (BROKER, REQUESTS, 8000, False),
        (BROKER, {"app.kubernetes.io/name": "redis"}, 6379, False),
        (USER_OPERATOR, {"app.kubernetes.io/name": "mysql"}, 3306, False),
    ],
)
def test_kafka_speaks_with_itself_and_services_with_its_brokers(
    manifests: list[Manifest], source: dict[str, str], target: dict[str, str], port: int, *, may: bool
) -> None:
    assert may_speak(with_strimzis(manifests), source, target, port) is may


@pytest.mark.parametrize(
    ("source", "may"), [(BROKER, True), (CONTROLLER, True), (USER_OPERATOR, True), (REQUESTS, False)]
)
def test_of_the_pods_kafkas_alone_may_ask_the_api_server(
    manifests: list[Manifest], source: dict[str, str], *, may: bool
) -> None:
    ports = {
        one["port"]
        for rule in ways_out(manifests, source)
        for one in rule["ports"]
        if {"cidr": "10.0.0.0/8"} in [peer.get("ipBlock") for peer in rule["to"]]
    }
    assert ports == ({443, 6443} if may else set())


def test_kafkas_containers_are_as_the_namespace_demands(manifests: list[Manifest]) -> None:
    (kafka,) = of(manifests, "Kafka")
    made = {
        **kafka["spec"]["kafka"]["template"],
        **kafka["spec"]["entityOperator"]["template"],
    }
    wanted = {"kafkaContainer", "userOperatorContainer"}
    if "rack" in kafka["spec"]["kafka"]:
        wanted.add("initContainer")
    assert {name for name in made if name.endswith("Container")} == wanted
    for name in wanted:
        # What the standard `restricted` asks for, and Strimzi does not write by itself.
        assert made[name]["securityContext"] == {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


# Durability -----------------------------------------------------------------------------------------------------------


def test_what_kafka_acknowledges_is_on_two_brokers_of_three(production: list[Manifest]) -> None:
    (kafka,) = of(production, "Kafka")
    config: dict[str, Any] = kafka["spec"]["kafka"]["config"]
    assert config["min.insync.replicas"] == 2
    assert config["default.replication.factor"] == 3
    assert config["unclean.leader.election.enable"] is False
    assert config["auto.create.topics.enable"] is False
    brokers = [one for one in of(production, "KafkaNodePool") if "broker" in one["spec"]["roles"]]
    assert [one["spec"]["replicas"] for one in brokers] == [3]
    for one in of(production, "KafkaNodePool"):
        assert all(volume["deleteClaim"] is False for volume in one["spec"]["storage"]["volumes"])


def test_no_image_is_whatever_is_newest(production: list[Manifest]) -> None:
    for name, template in pods(production):
        for container in containers(template):
            assert ":" in container["image"], name
            assert not container["image"].endswith(":latest"), name
