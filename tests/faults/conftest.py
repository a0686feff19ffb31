"""The fault tests use the session's system, and leave it whole."""

from collections.abc import Iterator

import pytest
from tests.e2e.company import Company

from lms.cli.system import System


@pytest.fixture(scope="session")
def company(system: System) -> Iterator[Company]:
    """The company, on a day in October."""
    found = Company.of(system)
    found.set_clock("2026-10-05")
    yield found
    found.client.close()
