"""End-to-end tests share one running system and one company."""

from pathlib import Path

import pytest
from tests.e2e.company import Company

from lms.cli.system import System


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of today's life first, then those that move the clock."""
    items.sort(key=lambda item: Path(str(item.fspath)).name == "test_rules.py")


@pytest.fixture(scope="session")
def company(system: System) -> Company:
    """The company."""
    return Company.of(system)
