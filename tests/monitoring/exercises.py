"""The exercises for who is on call as data: what each does to a system, and what is seen at each step.

A block of code on the page is a step, by its language: `sh` is typed, `promql` asked, `mail` waited for, and `trace` is
how spans hang together. A `text` behind a step says what it answers. Blocks without a language are the reader's own.
In an answer `…` stands for anything, a line with nothing else for any lines; in a query's, `> 60` is any such figure.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.monitoring import dashboards
from tests.monitoring.runbooks import FOLDER

PAGE = FOLDER / "exercises.md"

_ANYTHING = "…"
_MAIL = re.compile(r"\[([A-Z]+)\] LMS Alert: ([A-Z]+) (\w+) \((\w+)\)")


@dataclass(frozen=True)
class Step:
    """A block of the page: `panel` is that of which the words before a query say that it asks the same."""

    language: str
    text: str
    answer: str | None
    panel: tuple[str, str] | None

    def __str__(self) -> str:
        """Say what is done."""
        return self.text.splitlines()[0]

    def panels_queries(self) -> list[str]:
        """Return what its panel asks, as one types it; nothing where the step names no panel, or one that is not."""
        return [query.filled() for query in dashboards.queries() if (query.page, query.panel) == self.panel]


@dataclass(frozen=True)
class Mail:
    """What an alert's mail says: its severity, whether it fires or is resolved, and the summary if it is told."""

    severity: str
    status: str
    alert: str
    service: str
    summary: str | None

    @classmethod
    def of(cls, text: str) -> "Mail":
        """Read a mail as the page has it: its subject, and the first line of its text."""
        subject, *rest = text.splitlines()
        found = _MAIL.fullmatch(subject)
        assert found, f"the subject is not Alertmanager's: {subject}"
        severity, status, alert, service = found.groups()
        return cls(severity.lower(), status.lower(), alert, service, rest[0] if rest else None)


@dataclass(frozen=True)
class Exercise:
    """A fault, the way from its alert to its cause, and the mending."""

    title: str
    page: str
    fault: tuple[Step, ...]
    way: tuple[Step, ...]
    mending: tuple[Step, ...]

    @property
    def alerts(self) -> list[Mail]:
        """The mails that tell of the fault."""
        return [Mail.of(step.text) for step in self.way if step.language == "mail"]

    @property
    def queries(self) -> list[Step]:
        """The queries on the way from the alert to the cause."""
        return [step for step in self.way if step.language == "promql"]


def preparation() -> tuple[Step, ...]:
    """Return what is typed once, before the first exercise."""
    (found,) = _parts(_sections(PAGE.read_text(encoding="utf-8"), "## ")["Before you begin"], "### ").values()
    return found


def exercises() -> list[Exercise]:
    """Return the exercises, in the page's order."""
    sections = _sections(PAGE.read_text(encoding="utf-8"), "## ")
    found = []
    for title, text in sections.items():
        if re.match(r"\d+\. ", title):
            parts = _parts(text, "### ")
            found.append(
                Exercise(title, text, parts["The fault"], parts["From the alert to the cause"], parts["Mending"])
            )
    return found


def shown(series: Iterable[dict[str, Any]]) -> list[str]:
    """Return what a query gives as the page writes it: the labels, and the value."""
    found = []
    for one in series:
        labels = (f'{name}="{value}"' for name, value in sorted(one["metric"].items()) if name != "__name__")
        found.append(f"{{{', '.join(labels)}}} {float(one['value'][1]):g}")
    return found


def answers(expected: str, rows: Sequence[str]) -> bool:
    """Say whether a query's rows, in any order, are those of the page."""
    wanted = expected.splitlines()
    left = list(rows)
    for line in wanted:
        if line == _ANYTHING:
            continue
        found = next((row for row in left if _row_is(line, row)), None)
        if found is None:
            return False
        left.remove(found)
    return _ANYTHING in wanted or not left


def reads(expected: str, output: str) -> bool:
    """Say whether lines are those of the page, in their order."""
    pattern = "".join(r"(?:.*\n)*?" if line == _ANYTHING else _pattern(line) + r"\n" for line in expected.splitlines())
    return re.fullmatch(pattern, output.rstrip("\n") + "\n") is not None


def _row_is(line: str, row: str) -> bool:
    labels, _, value = row.rpartition(" ")
    named, more, least = line.partition(" > ")
    if more:
        return re.fullmatch(_pattern(named), labels) is not None and float(value) > float(least)
    return re.fullmatch(_pattern(line), row) is not None


def _pattern(line: str) -> str:
    return ".*".join(map(re.escape, line.rstrip().split(_ANYTHING)))


def _sections(text: str, mark: str) -> dict[str, str]:
    """Return the text under each heading of one level."""
    parts = re.split(rf"^{mark}(.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _parts(text: str, mark: str) -> dict[str, tuple[Step, ...]]:
    """Return the steps under each heading of one level; those of a text without headings under an empty name."""
    return {name: _steps(part) for name, part in (_sections(text, mark) or {"": text}).items()}


def _steps(text: str) -> tuple[Step, ...]:
    found: list[Step] = []
    for words, language, block in re.findall(r"(.*?)^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if language == "text":
            assert found, f"an answer to nothing: {block}"
            found[-1] = replace(found[-1], answer=block.rstrip("\n"))
        elif language:
            named = re.findall(r"Dashboard\s+`(lms-\w+)`,\s+panel\s+\*([^*]+)\*", words)
            panel = (named[-1][0], " ".join(named[-1][1].split())) if named else None
            found.append(Step(language, block.rstrip("\n"), None, panel))
    return tuple(found)
