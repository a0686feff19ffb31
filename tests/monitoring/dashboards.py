"""The dashboards as data: every panel's queries, with Grafana's variables filled in."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.monitoring.registry import DEPLOY

FOLDER = DEPLOY / "grafana" / "dashboards"


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    page: str
    panel: str
    text: str

    def filled(self, *, rate_interval: str = "1m") -> str:
        """Return the query as Prometheus gets it."""
        service = self.page.removeprefix("lms-")
        chosen = ".*" if service in {"overview", "kafka", "stores"} else service
        return self.text.replace("$service", chosen).replace("$__rate_interval", rate_interval)

    def __str__(self) -> str:
        """Say where the query stands."""
        return f"{self.page}: {self.panel}: {self.text}"


def documents() -> dict[str, dict[str, Any]]:
    """Return every dashboard by its file's name."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a dashboard's panels, without its rows."""
    for panel in document["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def queries() -> list[Query]:
    """Return every query of every dashboard."""
    return [
        Query(document["uid"], panel["title"], target["expr"])
        for document in documents().values()
        for panel in panels(document)
        for target in panel["targets"]
    ]


def metrics_of(expression: str) -> set[str]:
    """Return the names of the metrics and recorded series that an expression reads."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    bare = re.sub(r"\{[^}]*\}", "{}", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    words = re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)
    return set(words) - {"and", "or", "unless", "bool", "offset"}
