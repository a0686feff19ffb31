"""The images of the services are made in one way, and those of the `lms` command in another."""

import re
from pathlib import Path

import pytest
from scripts import services

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", services.NAMES)
def test_a_services_image_is_made_as_the_template_says(name: str) -> None:
    template = (ROOT / "scripts/service_template/Dockerfile").read_text(encoding="utf-8")
    found = (ROOT / "services" / name / "Dockerfile").read_text(encoding="utf-8")
    assert found == template.replace("specimen", name)


def test_the_two_images_of_the_lms_command_differ_by_their_base_and_its_tools_alone() -> None:
    alike, stages = [], []
    for name in ("Dockerfile", "mysql.Dockerfile"):
        text = (ROOT / "cli" / name).read_text(encoding="utf-8")
        build, run = text.split("\nFROM ")[1:]
        stages.append(run)
        alike.append((re.findall(r"uv==\S+", build), build.partition("\nWORKDIR /app\n")[2]))
    assert alike[0] == alike[1]
    for run in stages:
        assert run.partition("\nUSER ")[2] == '10001:10001\nENTRYPOINT ["lms"]\nCMD ["--help"]\n'
