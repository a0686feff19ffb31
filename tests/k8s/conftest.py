"""All of k8s/ as kustomize builds it, in a copy that has the development overlay's secrets."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts import k8s

ROOT = Path(__file__).parents[2]
OVERLAYS = ("development", "production")
BESIDE = ("monitoring", "logging")
"""What is applied to namespaces of its own."""

Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of kustomize, kubeconform, cfn-lint and the schemas."""
    told = subprocess.run([str(ROOT / "scripts/deployment-tools")], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return Path(told.stdout.strip())


@pytest.fixture(scope="session")
def built(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file that each overlay, and each folder beside them, builds to."""
    folder = _copied(tmp_path_factory)
    k8s.write_secrets(folder / "k8s" / "overlays" / "development" / "secrets")
    paths = {**{name: f"overlays/{name}" for name in OVERLAYS}, **{name: name for name in BESIDE}}
    return {name: _build(tools, folder, path) for name, path in paths.items()}


@pytest.fixture(scope="session")
def built_with_own_mysql(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that production builds to where MySQL is one's own: without the patches that take back-ups away."""
    folder = _copied(tmp_path_factory)
    path = folder / "k8s" / "overlays" / "production" / "kustomization.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    taken = [one for one in content["patches"] if yaml.safe_load(one["patch"]).get("$patch") == "delete"]
    assert {yaml.safe_load(one["patch"])["metadata"]["name"] for one in taken} == {"backup-database", "backup-log"}
    content["patches"] = [one for one in content["patches"] if one not in taken]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return _build(tools, folder, "overlays/production")


def _copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("k8s")
    shutil.copytree(ROOT / "k8s", folder / "k8s", ignore=shutil.ignore_patterns("secrets"))
    return folder


def _build(tools: Path, folder: Path, path: str) -> Path:
    done = subprocess.run(
        [str(tools / "bin" / "kustomize"), "build", str(folder / "k8s" / path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    found = folder / f"{Path(path).name}.yaml"
    found.write_text(done.stdout, encoding="utf-8")
    return found


def loaded(path: Path) -> list[Manifest]:
    """Read all resources of a built file, anew for each test, by the loader that is written in C."""
    return list(yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader))


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, built: dict[str, Path]) -> list[Manifest]:
    """All resources of an overlay."""
    return loaded(built[request.param])


@pytest.fixture
def production(built: dict[str, Path]) -> list[Manifest]:
    """All resources of production."""
    return loaded(built["production"])


@pytest.fixture
def development(built: dict[str, Path]) -> list[Manifest]:
    """All resources of development."""
    return loaded(built["development"])


@pytest.fixture
def monitoring(built: dict[str, Path]) -> list[Manifest]:
    """All resources of the namespace that watches."""
    return loaded(built["monitoring"])


@pytest.fixture
def logging(built: dict[str, Path]) -> list[Manifest]:
    """All resources of the namespace of the logs."""
    return loaded(built["logging"])


@pytest.fixture
def own_mysql(built_with_own_mysql: Path) -> list[Manifest]:
    """All resources of production where MySQL is one's own."""
    return loaded(built_with_own_mysql)


def of(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Return the resources of some kinds."""
    return [one for one in manifests if one["kind"] in kinds]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod that a workload makes: its workload's kind and name, and the pod's template."""
    for one in manifests:
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}:
            yield name, one["spec"]["template"]
        elif one["kind"] == "CronJob":
            yield name, one["spec"]["jobTemplate"]["spec"]["template"]


def containers(template: Manifest) -> list[Manifest]:
    """Return the containers of a pod's template, those that start before the others too."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for one in selector.get("matchExpressions", []):
        inside = labels.get(one["key"]) in one["values"]
        if inside != (one["operator"] == "In"):
            return False
    return True


def _admits(rules: list[Manifest], side: str, labels: dict[str, str], port: int) -> bool:
    return any(
        (side not in rule or any(_selects(peer["podSelector"], labels) for peer in rule[side] if "podSelector" in peer))
        and any(one["port"] == port for one in rule["ports"])
        for rule in rules
    )


def ways_out(manifests: list[Manifest], source: dict[str, str]) -> list[Manifest]:
    """Return what the policies of the network let pods with these labels speak with."""
    policies = [one["spec"] for one in of(manifests, "NetworkPolicy")]
    return [rule for one in policies if _selects(one["podSelector"], source) for rule in one.get("egress", [])]


def may_leave(manifests: list[Manifest], source: dict[str, str], target: dict[str, str], port: int) -> bool:
    """Say whether pods of one kind may speak with those of another, if those let them."""
    return _admits(ways_out(manifests, source), "to", target, port)


def may_speak(manifests: list[Manifest], source: dict[str, str], target: dict[str, str], port: int) -> bool:
    """Say whether the policies of the network let pods of one kind speak with those of another."""
    policies = [one["spec"] for one in of(manifests, "NetworkPolicy")]
    into = [rule for one in policies if _selects(one["podSelector"], target) for rule in one.get("ingress", [])]
    return may_leave(manifests, source, target, port) and _admits(into, "from", source, port)


def promtool(folder: Path, rules: dict[str, Manifest], series: list[dict[str, str]], cases: list[Any]) -> None:
    """Have promtool compare which alerts fire with those that should, by the rules of a PrometheusRule each."""
    for name, spec in rules.items():
        (folder / f"{name}.yml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    test = {
        "rule_files": [f"{name}.yml" for name in rules],
        "evaluation_interval": "5m",
        "tests": [{"interval": "5m", "input_series": series, "alert_rule_test": cases}],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(test), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", str(folder / "test.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rules_of(manifests: list[Manifest], name: str) -> Manifest:
    """Return what a PrometheusRule says."""
    (found,) = [one for one in of(manifests, "PrometheusRule") if one["metadata"]["name"] == name]
    spec: Manifest = found["spec"]
    return spec


def labels_of(manifests: list[Manifest], workload: str) -> dict[str, str]:
    """Return the labels of a workload's pods."""
    ((_, template),) = [(name, pod) for name, pod in pods(manifests) if name.endswith(f" {workload}")]
    found: dict[str, str] = template["metadata"]["labels"]
    return found


def refusals(tools: Path, manifests: Path) -> tuple[list[str], int]:
    """Return what kubeconform says against each resource that is not valid, and how many are."""
    core = f"{tools}/schemas/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}"
    custom = f"{tools}/schemas/{{{{.ResourceKind}}}}-{{{{.Group}}}}-{{{{.ResourceAPIVersion}}}}"
    told = subprocess.run(
        [
            str(tools / "bin" / "kubeconform"), "-strict", "-output", "json", "-summary",
            "-schema-location", f"{core}.json",
            "-schema-location", f"{custom}.json",
            str(manifests),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip  # kubeconform's template
    found = json.loads(told.stdout)
    assert found["summary"]["skipped"] == 0
    return [f"{one['kind']} {one['name']}: {one['msg']}" for one in found.get("resources", [])], found["summary"][
        "valid"
    ]
