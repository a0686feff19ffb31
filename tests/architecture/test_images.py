"""The images of the services are made in one way."""

from pathlib import Path

import pytest
from scripts import services

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", services.NAMES)
def test_a_services_image_is_made_as_the_template_says(name: str) -> None:
    template = (ROOT / "scripts/service_template/Dockerfile").read_text(encoding="utf-8")
    found = (ROOT / "services" / name / "Dockerfile").read_text(encoding="utf-8")
    assert found == template.replace("specimen", name)
