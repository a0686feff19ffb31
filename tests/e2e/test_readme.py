"""The README's walk works as it is written."""

import os
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from lms.cli.demo.command import FIRST, load_into
from lms.cli.demo.load import Target
from lms.cli.system import System

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("company")
def test_the_walk_of_the_readme_works_as_written(system: System) -> None:
    target = Target(system.url, system.home.secret("loader"), system.redis.url)
    loaded = load_into(system.home, target, replace(FIRST, through=datetime.now(UTC).date()), Console(quiet=True))
    assert loaded.people
    walk = (ROOT / "README.md").read_text(encoding="utf-8").partition("## A walk")[2]
    blocks = re.findall(r"```sh\n(.*?)```", walk, re.DOTALL)
    assert len(blocks) == 7
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=90,
        env={**os.environ, "LMS_HOME": str(system.home.folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in (
        '"status": "pending"', '"settled": true', '"approved"', '"leave_type": "annual"', '"what": "confirmed"',
        '"subject": "Your leave is confirmed"', '"type": "absence.confirmed"', '"valid": true', '"pay_code": "UNP"',
        '"cost_centre": "CC-',
    ):  # fmt: skip
        assert shown in done.stdout, done.stdout
