"""Every name of the production guide's environment is a setting, or the page says why it is none."""

import re
from pathlib import Path

from scripts import services

from lms.kernel.settings import variable

PAGE = Path(__file__).parents[2] / "docs" / "guide-coverage.md"
NAMES = (
    "NODE_ENV", "JWT_SECRET", "ENCRYPTION_KEY", "DATABASE_URL", "RATE_LIMIT_WINDOW_MS", "RATE_LIMIT_MAX_REQUESTS",
    "CORS_ORIGIN", "MAX_FILE_SIZE", "ALLOWED_FILE_TYPES", "SESSION_SECURE", "COOKIE_SECURE", "COOKIE_SAME_SITE",
)  # fmt: skip
"""The guide's `.env` for production, in its order."""


def rows() -> dict[str, tuple[str, str]]:
    """Return where each name of the page's table is read, and why it is not."""
    text = PAGE.read_text(encoding="utf-8").partition("## The guide's environment\n")[2]
    found = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*?) ?\|$", text, re.MULTILINE)
    return {name: (here, reason) for name, here, reason in found}


def readers() -> dict[str, set[str]]:
    """Return the services that read each variable."""
    found: dict[str, set[str]] = {}
    for service in services.load():
        for name, field in service.settings.model_fields.items():
            found.setdefault(variable(name, field, service.settings), set()).add(service.name)
    return found


def test_each_name_of_the_guides_environment_is_a_setting_or_is_not_for_a_reason() -> None:
    assert tuple(rows()) == NAMES
    known = readers()
    with_schema = {service.name for service in services.load() if service.migrations is not None}
    for name, (here, reason) in rows().items():
        if name not in known:
            assert not re.search(r"\w", here), f"{name} is no setting of {here}"
            assert len(reason) > 40, f"{name} is neither a setting nor is it said why"
        else:
            assert not reason, f"{name} is a setting"
            named = set(re.findall(r"`(\w+)`", here)) or with_schema
            assert known[name] == named, f"{name} is read by {known[name]}"


def test_the_settings_that_take_a_names_place_are_settings() -> None:
    known = readers()
    for name, (_, reason) in rows().items():
        for other in re.findall(r"`([A-Z][A-Z_]+)(?:=\w+)?`", reason):
            assert other in known, f"{name} is answered by {other}, which nobody reads"
