"""`make bench` works: a run of everything, with so little of each that only its completeness is looked at."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TITLES = [
    "The machine",
    "Append",
    "Projection",
    "Rebuild",
    "Through the gateway, all consumers running",
    "From the commit to the views of others, at 100 commands/s",
    "From the commit to the views of others, at 20 commands/s",
    "Up to 5 users",
    "Memory",
    "A command at the service",
    "What grows",
    "A company of 5,000",
    "What was improved",
    "What does not hold, and why",
]

pytestmark = [pytest.mark.servers, pytest.mark.slow]  # a second system, beside the one of the session


@pytest.mark.timeout(400)
def test_a_run_measures_everything_and_writes_it_down(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.bench", "--tiny", "--page", str(page)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    text = page.read_text(encoding="utf-8")
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == TITLES
    figures = [line for line in text.splitlines() if line.endswith("/s |") and " and " in line]
    assert len(figures) >= 6, "every ratio names the two rates that it is of"
    assert not [line for line in figures if " 0/s" in line], "each side did its work"
    assert "| failed | 0.00 % |" in text, "no request of a user failed"
