"""The runbooks as data: the queries and commands in their code blocks."""

import re

from tests.monitoring.registry import ROOT

FOLDER = ROOT / "docs" / "runbooks"


def _blocks(language: str) -> list[tuple[str, str]]:
    return [
        (path.stem, line)
        for path in sorted(FOLDER.glob("*.md"))
        for block in re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.splitlines()
        if line.strip()
    ]


def queries() -> list[tuple[str, str]]:
    """Return every query with the page that it stands on."""
    return _blocks("promql")


def commands() -> list[tuple[str, str]]:
    """Return every command with the page that it stands on."""
    return _blocks("sh")
