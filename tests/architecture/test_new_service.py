"""`make new-service` makes a service that works, and enters it wherever services are listed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import new_service

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the files that list the services."""
    for path in new_service._LISTS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
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
    assert '"trial", "gateway")' in (checkout / "scripts/services.py").read_text()


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
