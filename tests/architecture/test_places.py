"""Every service of the code is listed wherever LMS is put together, watched and described."""

from pathlib import Path

import pytest
from scripts import services
from tests.architecture.places import BEHIND_THE_GATEWAY, EVERY, STORING, lacking

from lms.cli import servers, system
from lms.kernel.service import Service

ROOT = Path(__file__).parents[2]
SERVICES = services.load()


@pytest.mark.parametrize("service", SERVICES, ids=[one.name for one in SERVICES])
def test_no_place_lacks_a_service(service: Service) -> None:
    places = lacking(ROOT, service.name, stores=service.migrations is not None)
    assert places == [], f"{service.name} is not listed in:\n" + "\n".join(places)


def test_a_service_that_is_listed_nowhere_is_missed_everywhere() -> None:
    assert lacking(ROOT, "trial", stores=True) == [*EVERY, *BEHIND_THE_GATEWAY, *STORING]


def test_an_embedded_system_starts_each_and_makes_a_schema_for_each_that_stores() -> None:
    assert set(system.SERVICES) == set(services.NAMES)
    assert set(servers.SCHEMAS) == {one.name for one in SERVICES if one.migrations is not None}


def test_the_audit_log_takes_in_every_topic_but_its_own() -> None:
    wired = {one.name: one for one in SERVICES}
    published = {topic for one in SERVICES for topic in one.publishes}
    assert set(wired["audit"].subscribes) == published - set(wired["audit"].publishes)
