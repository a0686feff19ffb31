"""`make new-service` makes a service that works, and enters it wherever services are listed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import dashboards, new_service
from tests.architecture.places import lacking

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the files that list the services, and with what makes packages of their folders."""
    for path in new_service._LISTS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
        if (package := (ROOT / path).parent / "__init__.py").exists():
            shutil.copy(package, (tmp_path / path).parent)
    return tmp_path


def test_a_new_services_own_tests_and_wiring_work(checkout: Path) -> None:
    made = new_service.create("trial", checkout)
    assert checkout / "services/trial/src/lms/trial/main.py" in made
    assert not [path for path in made if re.search(r"\bspecimen", path.read_text(), re.IGNORECASE)]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "services/trial/src")}
    wired = subprocess.run(
        [sys.executable, "-c", "from lms.trial.main import SERVICE; print(SERVICE.topics()[0].name)"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert wired.stdout.strip() == "leave.trial.v1", wired.stderr
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", str(checkout / "tests/unit/trial")],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_new_service_stands_in_every_list(checkout: Path) -> None:
    new_service.create("trial", checkout)
    for path in new_service._LISTS:
        assert "trial" in (checkout / path).read_text().lower(), path
    assert re.search(r'^NAMES = \([^)]*"trial"', (checkout / "scripts/services.py").read_text(), re.MULTILINE)


def test_a_new_service_lacks_nothing_but_what_make_writes(checkout: Path) -> None:
    new_service.create("trial", checkout)
    places = lacking(checkout, "trial", stores=True)
    assert places == [
        "deploy/grafana/dashboards/<name>.json (`make docs`)",
        "k8s/generated/kafka/kafka.yaml (`make k8s`)",
    ]


@pytest.mark.parametrize("name", ["trial", "abcdefghijklmnopqrs"])
def test_what_is_written_and_what_is_edited_passes_the_linter(checkout: Path, name: str) -> None:
    new_service.create(name, checkout)
    for command in (["ruff", "check", "--no-cache", "."], ["ruff", "format", "--no-cache", "--check", "."]):
        told = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr


def test_new_services_may_follow_each_other(checkout: Path) -> None:
    names = ("trial", "abcdefghijklmnopqrs", "another")
    for name in names:
        new_service.create(name, checkout)
    for name in names:
        assert len(lacking(checkout, name, stores=True)) == 2, name


def test_a_service_has_a_dashboard_before_it_has_rows_of_its_own() -> None:
    assert "trial" not in dashboards.OWN
    assert [title for title, _ in dashboards.rows_of("trial")] == ["Requests", "Saturation"]


@pytest.mark.parametrize("name", ["", "Attendance", "at", "time-sheet", "../escape"])
def test_a_bad_name_makes_nothing(checkout: Path, name: str) -> None:
    before = {path: (checkout / path).read_text() for path in new_service._LISTS}
    with pytest.raises(new_service.NotDone, match="no name"):
        new_service.create(name, checkout)
    assert {path: (checkout / path).read_text() for path in new_service._LISTS} == before
    assert not (checkout / "services" / "trial").exists()


def test_a_service_that_is_there_is_not_written_over(checkout: Path) -> None:
    new_service.create("trial", checkout)
    with pytest.raises(new_service.NotDone, match="is there already"):
        new_service.create("trial", checkout)
