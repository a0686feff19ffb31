"""The structure that a newcomer relies on: the same modules in every service, and pages that match the code."""

import re
import subprocess
from pathlib import Path

import pytest
from scripts import diagram, services

from lms.kernel.service import Service

ROOT = Path(__file__).parents[2]
MODULES = {
    "__init__", "api", "commands", "consumers", "decider", "events", "invariants", "main", "measures", "projections",
    "settings", "store", "streams", "upstream",
}  # fmt: skip
"""The modules a service may have."""
GATEWAY_MODULES = {
    "__init__", "admin", "api", "cache", "limits", "live", "main", "maintenance", "openapi", "preview", "proxy",
    "routes", "security", "settings", "web",
}  # fmt: skip
"""The gateway decides nothing, so it has others (docs/adr/0007)."""

SERVICES = services.load()
EVENT_SOURCED = [one for one in SERVICES if one.events]


def _ids(services_: list[Service]) -> list[str]:
    return [one.name for one in services_]


@pytest.mark.parametrize("service", SERVICES, ids=_ids(list(SERVICES)))
def test_a_service_has_only_the_modules_of_the_style_guide(service: Service) -> None:
    folder = ROOT / "services" / service.name / "src" / "lms" / service.name
    found = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()} - {"__pycache__"}
    allowed = MODULES if service.migrations else GATEWAY_MODULES
    assert found <= allowed, f"{service.name} has modules of its own invention: {found - allowed}"


@pytest.mark.parametrize("service", SERVICES, ids=_ids(list(SERVICES)))
def test_a_service_has_a_readme_a_dependency_list_and_migrations_if_it_stores_anything(service: Service) -> None:
    folder = ROOT / "services" / service.name
    assert (folder / "README.md").read_text(encoding="utf-8").strip()
    assert (folder / "pyproject.toml").exists()
    if service.events or service.consumers:
        assert service.migrations == folder / "migrations"
        assert list((folder / "migrations" / "versions").glob("*.py"))


def test_each_topic_has_one_publisher() -> None:
    published = [topic for service in SERVICES for topic in service.publishes]
    assert len(published) == len(set(published))


def test_each_stream_goes_whole_to_a_topic_of_its_service() -> None:
    for service in EVENT_SOURCED:
        assert service.deciders, service.name
        for decider in service.deciders:
            assert decider.topic in service.publishes, f"{service.name}: {decider.category}"


def test_the_streams_of_one_kind_are_told_from_those_of_another_by_their_names() -> None:
    for service in EVENT_SOURCED:
        categories = [decider.category for decider in service.deciders]
        for category in categories:
            assert not [one for one in categories if one.startswith(f"{category}-")], f"{service.name}: {category}"


def test_what_is_subscribed_is_published_by_somebody() -> None:
    published = {topic for service in SERVICES for topic in service.publishes}
    for service in SERVICES:
        assert set(service.subscribes) <= published, service.name


def test_the_diagram_in_the_architecture_page_is_what_the_code_says() -> None:
    text = diagram.PAGE.read_text(encoding="utf-8")
    assert diagram.page_with_diagram(text) == text, "docs/architecture.md differs from the code; run `make docs`."


@pytest.mark.parametrize("service", SERVICES, ids=_ids(list(SERVICES)))
def test_the_table_in_the_architecture_page_names_the_streams_of_a_service(service: Service) -> None:
    (row,) = [
        one for one in diagram.PAGE.read_text(encoding="utf-8").splitlines() if one.startswith(f"| `{service.name}`")
    ]
    named = re.findall(r"`([a-z-]+)-(?:…|<\w+>|<\w+>\.<\w+>|monthly)`", row.split(" | ")[-1])
    assert set(named) == {one.category for one in service.deciders}


def test_the_import_rules_hold() -> None:
    told = subprocess.run(
        ["lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )  # the environment's own
    assert told.returncode == 0, told.stdout + told.stderr
