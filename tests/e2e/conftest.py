"""End-to-end tests share one running system and one company."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.company import Company

from lms.cli.system import System


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of today's life first, then those that move the clock."""
    items.sort(key=lambda item: Path(str(item.fspath)).name == "test_rules.py")


@pytest.fixture(scope="session")
def company(system: System) -> Iterator[Company]:
    """The company, on a Monday in March."""
    found = Company.of(system)
    found.set_clock("2026-03-02")
    yield found
    found.client.close()
