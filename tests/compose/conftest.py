"""Tests of docker-compose.yml run where a Docker engine answers and the images can be had."""

import pytest
from tests import containers


@pytest.fixture(autouse=True, scope="session")
def _docker() -> None:
    reason = containers.why_not()
    if reason is not None:
        pytest.skip(f"containers: not tried: {reason}")
