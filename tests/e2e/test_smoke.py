"""The smoke test on the embedded system; tests/compose runs the same on `docker compose`."""

from tests.e2e import smoke
from tests.e2e.company import Company


def test_one_request_lives_its_whole_life(company: Company) -> None:
    smoke.live_through(company)
