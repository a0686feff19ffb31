"""Every overlay as kustomize builds it, in a copy that has the development overlay's secrets."""

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

Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of kustomize, kubeconform, cfn-lint and the schemas."""
    told = subprocess.run([str(ROOT / "scripts/deployment-tools")], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return Path(told.stdout.strip())


@pytest.fixture(scope="session")
def built(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file that each overlay builds to."""
    folder = tmp_path_factory.mktemp("k8s")
    shutil.copytree(ROOT / "k8s", folder / "k8s", ignore=shutil.ignore_patterns("secrets"))
    k8s.write_secrets(folder / "k8s" / "overlays" / "development" / "secrets")
    found = {}
    for name in OVERLAYS:
        done = subprocess.run(
            [str(tools / "bin" / "kustomize"), "build", str(folder / "k8s" / "overlays" / name)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "deprecated" not in done.stderr, done.stderr
        found[name] = folder / f"{name}.yaml"
        found[name].write_text(done.stdout, encoding="utf-8")
    return found


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, built: dict[str, Path]) -> list[Manifest]:
    """All resources of an overlay."""
    return list(yaml.safe_load_all(built[request.param].read_text(encoding="utf-8")))


@pytest.fixture
def production(built: dict[str, Path]) -> list[Manifest]:
    """All resources of production."""
    return list(yaml.safe_load_all(built["production"].read_text(encoding="utf-8")))


def of(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Return the resources of some kinds."""
    return [one for one in manifests if one["kind"] in kinds]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod that a workload makes: its workload's kind and name, and the pod's template."""
    for one in manifests:
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield name, one["spec"]["template"]
        elif one["kind"] == "CronJob":
            yield name, one["spec"]["jobTemplate"]["spec"]["template"]
