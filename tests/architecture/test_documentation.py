"""The pages say what the code does."""

import re
from pathlib import Path

from pydantic_settings import BaseSettings
from scripts import services

from lms.cli.backup_settings import BackupSettings
from lms.kernel.settings import variable

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))


def test_every_setting_is_explained_and_no_other() -> None:
    models: list[type[BaseSettings]] = [*(service.settings for service in services.load()), BackupSettings]
    known = {variable(name, field, settings) for settings in models for name, field in settings.model_fields.items()}
    rows = [
        line.split("|")[1]
        for line in (ROOT / "docs/configuration.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    explained = {name for row in rows for name in re.findall(r"`([A-Z][A-Z_]+)`", row)}
    assert explained - known == set(), "docs/configuration.md explains settings that nobody reads"
    assert known - explained == set(), "docs/configuration.md lacks settings"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z][a-z0-9-]*)", page.read_text(encoding="utf-8")))
        assert named <= targets, f"{page.name} names {named - targets}"
