"""The linters of the clouds' templates."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of cfn-lint."""
    told = subprocess.run([str(ROOT / "scripts/deployment-tools")], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return Path(told.stdout.strip())
