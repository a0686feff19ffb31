"""The API tells in English what is wrong; the web app has its own words for each code that a page of it may meet."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import lms
from lms.kernel.errors import DomainError

GERMAN = Path(__file__).parents[2] / "web/src/i18n/de.json"

NO_PAGE_MEETS = {
    "act-for-refused", "audit-log-shrunk", "bad-consistency-token", "bad-cursor", "bad-idempotency-key",
    "clock-unavailable", "csrf-token-missing", "not-parked",
}  # fmt: skip
"""What the app cannot cause, or what is told on the command line."""


def errors_of(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    """Yield a kind of error and all kinds of it."""
    yield kind
    for one in kind.__subclasses__():
        yield from errors_of(one)


def test_every_code_that_a_page_may_meet_has_german_words() -> None:
    for module in pkgutil.walk_packages(lms.__path__, "lms."):
        if not module.name.endswith(("__main__", ".main")):
            importlib.import_module(module.name)
    codes = {one.code for one in errors_of(DomainError) if one.__module__.startswith("lms.")}
    assert len(codes) > len(NO_PAGE_MEETS), "nothing was found"
    translated = set(json.loads(GERMAN.read_text("utf-8"))["problem"])
    assert codes - translated == NO_PAGE_MEETS
