"""Write what of k8s/ follows from elsewhere: `make k8s`. A test fails when it drifts.

- `generated/scaling`: how each service's workers follow the lag of its consumers, from each `main.py`;
- `generated/kafka`: what each service may do on Kafka, from the same;
- `generated/rules`: the alerts of `deploy/prometheus/rules` as PrometheusRules;
- `generated/configuration`: that of databases and exporters as ConfigMaps (kustomize reads no file outside its folder);
- `generated/dashboards`: the dashboards of `deploy/grafana` as ConfigMaps that Grafana's sidecar finds;
- `generated/alertmanager`: `deploy/alertmanager` as the Secret that an Alertmanager of the operator's reads;
- `generated/logs`: `deploy/filebeat` and the scripts of `deploy/elasticsearch` as ConfigMaps.

`python scripts/k8s.py secrets` writes, once, the secrets of the development overlay, which nobody may commit.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lms.cli.backup_settings import HOME_IDENTITY
from lms.cli.home import Home
from lms.cli.packing import make_identity
from lms.cli.servers import BACKUP_USER, SCHEMAS, schemas_and_users
from lms.kernel.consumer import dead_letter_topic
from lms.kernel.service import Service
from scripts import compose, services

ROOT = Path(__file__).parents[1]
K8S = ROOT / "k8s"
DEPLOY = ROOT / "deploy"
CONFIGURATION = {
    "mysql": ("mysql/my.cnf",),
    "redis": ("redis/redis.conf", "redis/sentinel.sh"),
    "kafka-metrics": ("prometheus/jmx-kafka.yml",),
    "blackbox-exporter": ("prometheus/blackbox.yml",),
}
"""The ConfigMaps, and the files under deploy/ that each holds."""
LOGS = {
    "filebeat": ("filebeat/filebeat.yml",),
    "elasticsearch": ("elasticsearch/setup.sh", "elasticsearch/index-template.json", "elasticsearch/retention.sh"),
}
"""The same for what ships the logs and lets old ones go."""
ALERTMANAGER = "lms-alertmanager"
"""The Secret with Alertmanager's configuration: the operator takes it from no other kind of resource."""
ALERTMANAGER_SECRETS = "lms-alertmanager-secrets"
"""The Secret with what the receivers want: the operator mounts it in a folder of its name."""
STREAMS = {"notifications": "notifications-streams"}
"""Services with a process for Faust, and the prefix of its topic and group."""
LAG = 1000
"""Events that a copy may be behind before another is added: a consumer applies as many in well under a second."""

_HEAD = "# Written by `make k8s`; change {source} instead.\n"
Manifest = dict[str, Any]


def group_of(service: str, consumer: str) -> str:
    """Return the consumer group, as the kernel names it."""
    return f"lms.{service}.{consumer}"


# Scaling --------------------------------------------------------------------------------------------------------------


def scaling(service: Service) -> Manifest:
    """Return how many workers a service has: more while they lag, fewer again slowly."""
    triggers = [
        {
            "type": "kafka",
            "metadata": {
                "bootstrapServers": "lms-kafka-bootstrap.lms:9093",
                "consumerGroup": group_of(service.name, consumer.name),
                "topic": topic,
                "lagThreshold": str(LAG),
                "offsetResetPolicy": "earliest",
                "sasl": "scram_sha512",
                "tls": "enable",
            },
            "authenticationRef": {"name": "keda-kafka"},
        }
        for consumer in service.consumers
        for topic in sorted(consumer.topics)
    ]
    triggers.append({"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}})
    slowly = {
        "scaleDown": {
            "stabilizationWindowSeconds": 900,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}],
        }
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": f"{service.name}-worker", "namespace": "lms"},
        "spec": {
            "scaleTargetRef": {"name": f"{service.name}-worker"},
            "minReplicaCount": 2,
            "maxReplicaCount": 10,
            "pollingInterval": 15,
            "cooldownPeriod": 900,
            "fallback": {"failureThreshold": 4, "replicas": 3},
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": slowly}},
            "triggers": triggers,
        },
    }


# Kafka ----------------------------------------------------------------------------------------------------------------


def _on_topic(name: str, *operations: str, prefix: bool = False) -> Manifest:
    pattern = "prefix" if prefix else "literal"
    return {"resource": {"type": "topic", "name": name, "patternType": pattern}, "operations": list(operations)}


def _on_groups(name: str, *operations: str) -> Manifest:
    return {"resource": {"type": "group", "name": name, "patternType": "prefix"}, "operations": list(operations)}


def acls(service: Service) -> list[Manifest]:
    """Return what a service may do: publish its facts, read what it reacts to, and keep its offsets.

    It reads its own topics too, for `--verify` compares them with its facts.
    """
    found = [_on_topic(topic, "Write", "Read", "Describe") for topic in service.publishes]
    found += [_on_topic(topic, "Read", "Describe") for topic in service.subscribes if topic not in service.publishes]
    found += [
        _on_topic(dead_letter_topic(service.name, consumer.name), "Write", "Describe") for consumer in service.consumers
    ]
    if service.consumers:
        found.append(_on_groups(group_of(service.name, ""), "Read", "Describe"))
    if service.name in STREAMS:
        name = STREAMS[service.name]
        found += [_on_topic(f"{name}.due", "Write", "Read", "Describe"), _on_groups(name, "Read", "Describe")]
    return found


def _user(name: str, acls: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {"name": name, "namespace": "lms", "labels": {"strimzi.io/cluster": "lms"}},
        "spec": {
            "authentication": {"type": "scram-sha-512"},
            "authorization": {"type": "simple", "acls": acls},
        },
    }


def kafka_users() -> Iterator[Manifest]:
    """Return a user for each service, for the job that declares topics, for KEDA, and for payroll systems."""
    for service in services.load():
        if service.migrations is not None:
            yield _user(f"{service.name}-kafka", acls(service))
    prefixes = ("leave.", "dlq.", *(f"{name}." for name in STREAMS.values()))
    yield _user(
        "topics-kafka",
        [_on_topic(one, "Create", "Describe", "DescribeConfigs", prefix=True) for one in prefixes],
    )
    yield _user("keda-kafka", [_on_topic("leave.", "Describe", prefix=True), _on_groups("lms.", "Describe")])
    yield _user(
        "payroll-kafka",
        [_on_topic("leave.payroll.v1", "Read", "Describe"), _on_groups("payroll.", "Read", "Describe")],
    )


# Alerts ---------------------------------------------------------------------------------------------------------------


def rules() -> Iterator[Manifest]:
    """Return the alerts of each file of deploy/prometheus/rules."""
    for path in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml")):
        yield {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": f"lms-{path.stem}", "namespace": "lms"},
            "spec": yaml.safe_load(path.read_text(encoding="utf-8")),
        }


# Dashboards and who is told -------------------------------------------------------------------------------------------


def dashboards() -> dict[str, str]:
    """Return each dashboard in a ConfigMap of its own, for one must not be larger than a megabyte."""
    files = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
    options = {"disableNameSuffixHash": True, "labels": {"grafana_dashboard": "1"}}
    maps = [{"name": f"lms-dashboard-{one.stem}", "files": [one.name], "options": options} for one in files]
    return {
        **{f"dashboards/{one.name}": one.read_text(encoding="utf-8") for one in files},
        # (kustomize makes a new name for new content, and the sidecar would show the old dashboard beside the new one)
        "dashboards/kustomization.yaml": _kustomization("deploy/grafana/dashboards", configMapGenerator=maps),
    }


def alertmanager() -> dict[str, str]:
    """Return Alertmanager's configuration with its files where the operator puts them.

    The templates lie beside the configuration, in /etc/alertmanager/config; the receivers' secrets in
    /etc/alertmanager/secrets, in a folder for each Secret.
    """
    folder = DEPLOY / "alertmanager"
    text = (folder / "alertmanager.yml").read_text(encoding="utf-8")
    secrets = str(Path(yaml.safe_load(text)["global"]["smtp_auth_password_file"]).parent)
    text = text.replace(secrets, f"/etc/alertmanager/secrets/{ALERTMANAGER_SECRETS}")
    text = text.replace("- templates/*.tmpl", "- /etc/alertmanager/config/*.tmpl")
    templates = sorted((folder / "templates").glob("*.tmpl"))
    made = {
        "name": ALERTMANAGER,
        "files": ["alertmanager.yaml", *(one.name for one in templates)],
        "options": {"disableNameSuffixHash": True},  # the operator's resource names it, and that is not ours
    }
    return {
        "alertmanager/alertmanager.yaml": _HEAD.format(source="deploy/alertmanager") + text,
        **{f"alertmanager/{one.name}": one.read_text(encoding="utf-8") for one in templates},
        "alertmanager/kustomization.yaml": _kustomization("deploy/alertmanager", secretGenerator=[made]),
    }


# Writing --------------------------------------------------------------------------------------------------------------


def generated() -> dict[str, str]:
    """Return every generated file by its path under k8s/generated."""
    return {
        **_part("scaling", "services/*/main.py", [scaling(one) for one in services.load() if one.consumers]),
        **_part("kafka", "services/*/main.py", list(kafka_users())),
        **_part("rules", "deploy/prometheus/rules", list(rules())),
        **_maps("configuration", CONFIGURATION),
        **_maps("logs", LOGS),
        **dashboards(),
        **alertmanager(),
    }


def _maps(part: str, files_of: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return copies of files under deploy/, and the ConfigMaps that hold them."""
    found: dict[str, str] = {}
    maps = []
    for name, paths in files_of.items():
        files = [DEPLOY / path for path in paths]
        found |= {f"{part}/{one.name}": one.read_text(encoding="utf-8") for one in files}
        made: Manifest = {"name": name, "files": [one.name for one in files]}
        if name == "kafka-metrics":  # Strimzi's resources name it, and kustomize follows names in its own kinds alone
            made["options"] = {"disableNameSuffixHash": True}
        maps.append(made)
    return {**found, f"{part}/kustomization.yaml": _kustomization("deploy", configMapGenerator=maps)}


def _part(name: str, source: str, manifests: list[Manifest]) -> dict[str, str]:
    text = _HEAD.format(source=source) + yaml.safe_dump_all(manifests, sort_keys=False, width=110)
    return {
        f"{name}/{name}.yaml": text,
        f"{name}/kustomization.yaml": _kustomization(source, resources=[f"{name}.yaml"]),
    }


def _kustomization(source: str, **content: Any) -> str:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return _HEAD.format(source=source) + yaml.safe_dump({**head, **content}, sort_keys=False)


# Secrets of the development overlay -----------------------------------------------------------------------------------


def secrets(folder: Path) -> list[Manifest]:
    """Return the Secrets of the development overlay: for each workload, for the back-ups, and the database's users.

    What is drawn is kept in `folder`, and the same the next time.
    """
    home = Home.at(folder)
    known = compose.environment(home)
    redis = f"redis://:{known['REDIS_PASSWORD']}@redis:6379/0"
    common = {"REDIS_URL": redis, "JWT_PUBLIC_KEY": known["JWT_PUBLIC_KEY"]}
    own = {
        "directory": {
            "JWT_SECRET": known["JWT_SECRET"],
            "LMS_DIRECTORY_BOOTSTRAP_ADMIN_EMAIL": known["ADMIN_EMAIL"],
            "LMS_DIRECTORY_BOOTSTRAP_ADMIN_PASSWORD": known["ADMIN_PASSWORD"],
            "LMS_DIRECTORY_SERVICE_ACCOUNTS": known["SERVICE_ACCOUNTS"],
        },
        "audit": {"LMS_AUDIT_SIGNING_KEY": known["AUDIT_SIGNING_KEY"]},
    }
    identity = folder / HOME_IDENTITY
    if not identity.exists():
        make_identity(identity)
    users = schemas_and_users(lambda user: home.secret(f"mysql:{user}"), "%")
    found: dict[str, Mapping[str, str]] = {
        "gateway": common,
        "mysql": {"MYSQL_ROOT_PASSWORD": known["MYSQL_ROOT_PASSWORD"]},
        "mysql-users": {"users.sql": "\n".join(users) + "\n"},
        "redis": {"REDIS_PASSWORD": known["REDIS_PASSWORD"]},
        "backup": {"LMS_BACKUP_DATABASE_URL": f"mysql://{BACKUP_USER}:{known['MYSQL_BACKUP_PASSWORD']}@mysql:3306/"},
        "backup-identity": {"identity.txt": identity.read_text(encoding="utf-8")},
    }
    migrator = known["MYSQL_MIGRATOR_PASSWORD"]
    for one in SCHEMAS:
        password = known[f"MYSQL_{one.upper()}_PASSWORD"]
        found[one] = {
            **common,
            **own.get(one, {}),
            "DATABASE_URL": f"mysql://lms_{one}:{password}@mysql:3306/lms_{one}",
            "ENCRYPTION_KEY": known["ENCRYPTION_KEY"],
        }
        found[f"{one}-migration"] = {"MIGRATION_DATABASE_URL": f"mysql://lms_migrator:{migrator}@mysql:3306/lms_{one}"}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(values)}
        for name, values in found.items()
    ]


def write_secrets(target: Path) -> None:
    """Write the Secrets; what was drawn before stays."""
    made = secrets(target / "drawn")
    target.chmod(0o700)
    (target / "secrets.yaml").write_text(yaml.safe_dump_all(made, sort_keys=False), encoding="utf-8")


def main() -> int:
    """Write the generated files, or the secrets."""
    if sys.argv[1:] == ["secrets"]:
        target = K8S / "overlays" / "development" / "secrets"
        write_secrets(target)
        print(f"{target} is written; apply by `kubectl apply -k k8s/overlays/development`.")
        return 0
    for name, text in generated().items():
        path = K8S / "generated" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(json.dumps(sorted(generated())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
