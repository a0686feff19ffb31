"""Where a service must be listed beside the code: compose, Kubernetes, monitoring, and the page about them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Place = Callable[[Path, str], bool]
"""Whether a service is listed there, in a checkout."""


def _yaml(root: Path, path: str) -> list[Any]:
    """Return the documents of a file; none where there is no file."""
    file = root / path
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8"))) if file.exists() else []


def _named(root: Path, path: str, kind: str) -> dict[str, Any]:
    """Return the resources of a kind by their names."""
    return {one["metadata"]["name"]: one for one in _yaml(root, path) if one["kind"] == kind}


def _has(root: Path, path: str, line: str) -> bool:
    return any(one.strip().startswith(line) for one in (root / path).read_text(encoding="utf-8").splitlines())


def _compose(root: Path) -> Any:
    return _yaml(root, "docker-compose.yml")[0]["services"]


def _kustomization(root: Path, folder: str) -> Any:
    return _yaml(root, f"{folder}/kustomization.yaml")[0]


def _in_network_of_cluster(root: Path, name: str) -> bool:
    (egress,) = _named(root, "k8s/base/network.yaml", "NetworkPolicy")["gateway"]["spec"]["egress"]
    (to,) = egress["to"]
    return any(name in one["values"] for one in to["podSelector"]["matchExpressions"])


def _in_gateways_settings_of_cluster(root: Path, name: str) -> bool:
    (settings,) = _kustomization(root, "k8s/base/services/gateway")["configMapGenerator"]
    return f"LMS_GATEWAY_{name.upper()}_URL=http://{name}-api:8000" in settings["literals"]


EVERY: dict[str, Place] = {
    "docker-compose.yml: services": lambda root, name: name in _compose(root),
    "k8s/base/services/kustomization.yaml": lambda root, name: (
        name in _kustomization(root, "k8s/base/services")["resources"]
    ),
    "k8s/base/services/<name>/kustomization.yaml": lambda root, name: any(
        one["namePrefix"] == f"{name}-" for one in _yaml(root, f"k8s/base/services/{name}/kustomization.yaml")
    ),
    "k8s/overlays/production/kustomization.yaml: images": lambda root, name: any(
        one["name"] == f"lms-{name}" for one in _kustomization(root, "k8s/overlays/production")["images"]
    ),
    "k8s/overlays/production/secrets.yaml": lambda root, name: (
        name in _named(root, "k8s/overlays/production/secrets.yaml", "ExternalSecret")
    ),
    "deploy/prometheus/targets/compose/lms.yml": lambda root, name: any(
        one["labels"]["service"] == name for one in _yaml(root, "deploy/prometheus/targets/compose/lms.yml")[0]
    ),
    "deploy/prometheus/rules/availability.yml: lms:service:expected": lambda root, name: (
        f'"service", "{name}"' in (root / "deploy/prometheus/rules/availability.yml").read_text(encoding="utf-8")
    ),
    "deploy/grafana/dashboards/<name>.json (`make docs`)": lambda root, name: (
        root / f"deploy/grafana/dashboards/{name}.json"
    ).exists(),
    "docs/architecture.md: the table of services": lambda root, name: _has(
        root, "docs/architecture.md", f"| `{name}` |"
    ),
}
"""The places of every service."""

BEHIND_THE_GATEWAY: dict[str, Place] = {
    "docker-compose.yml: LMS_GATEWAY_<NAME>_URL of gateway": lambda root, name: (
        _compose(root)["gateway"]["environment"].get(f"LMS_GATEWAY_{name.upper()}_URL") == f"http://{name}:8000"
    ),
    "docker-compose.yml: depends_on of gateway": lambda root, name: name in _compose(root)["gateway"]["depends_on"],
    "k8s/base/services/gateway/kustomization.yaml: LMS_GATEWAY_<NAME>_URL": _in_gateways_settings_of_cluster,
    "k8s/base/network.yaml: egress of gateway": _in_network_of_cluster,
    "services/gateway/src/lms/gateway/main.py: checks": lambda root, name: _has(
        root, "services/gateway/src/lms/gateway/main.py", f'"{name}": partial('
    ),
    "deploy/metrics.yaml: values of upstream": lambda root, name: (
        name in _yaml(root, "deploy/metrics.yaml")[0]["labels"]["upstream"]["values"]
    ),
}
"""The places of a service that the gateway asks, besides those of every service."""

STORING: dict[str, Place] = {
    "docker-compose.yml: <name>-migrate": lambda root, name: f"{name}-migrate" in _compose(root),
    "docker-compose.yml: depends_on of backup": lambda root, name: (
        f"{name}-migrate" in _compose(root)["backup"]["depends_on"]
    ),
    "k8s/overlays/production/secrets.yaml: <name>-migration": lambda root, name: (
        f"{name}-migration" in _named(root, "k8s/overlays/production/secrets.yaml", "ExternalSecret")
    ),
    "k8s/generated/kafka/kafka.yaml (`make k8s`)": lambda root, name: (
        f"{name}-kafka" in _named(root, "k8s/generated/kafka/kafka.yaml", "KafkaUser")
    ),
}
"""The places of a service with a schema of its own, besides those of every service."""


def lacking(root: Path, name: str, *, stores: bool) -> list[str]:
    """Return the places that lack a service."""
    places = {**EVERY, **(BEHIND_THE_GATEWAY if name != "gateway" else {}), **(STORING if stores else {})}
    return [place for place, lists in places.items() if not lists(root, name)]
