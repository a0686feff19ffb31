"""The page docs/benchmarks.md: generated as a whole, but for the company's section, which another run fills."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.load.measure import Bound, Figure, Section

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- company: begin -->", "<!-- company: end -->"

_INTRODUCTION = """# Benchmarks

Written by `make bench`; do not edit by hand. Every figure that matters is a ratio of two things that were measured in
turns, a few seconds apart, on the same cores: the system against the least that could do the same work. Ratios hold on
other machines, and on busy ones; rates do not. Five rounds, medians; a ratio is the median of the rounds' ratios. The
load generator (wrk, a C program) and the servers share the cores with both sides alike. `make bench` fails when a floor
or ceiling does not hold.
"""
_NO_COMPANY = "Not measured yet: `make bench-company` measures the company that runs in `LMS_HOME`."


def page(
    machine: Mapping[str, str], sections: Sequence[Section], improvements: str, company: str, seconds: float
) -> str:
    """Return the whole page."""
    failed = {one.title: [figure.name for figure in one.figures if not figure.holds] for one in sections}
    lines = "\n".join(f"- {title}: {'; '.join(names)}" for title, names in failed.items() if names)
    verdict = f"**Not held:**\n\n{lines}" if lines else "All floors and ceilings hold."
    facts = "\n".join(f"| {name} | {value} |" for name, value in machine.items())
    parts = [
        _INTRODUCTION,
        f"Taken on {datetime.now(UTC):%Y-%m-%d} in {seconds / 60:.0f} minutes. {verdict}\n",
        f"## The machine\n\n| | |\n|---|---|\n{facts}\n",
        *(_section(one) for one in sections),
        f"## A company of 5,000\n\n{BEGIN}\n{company.strip()}\n{END}\n",
        improvements,
    ]
    return "\n".join(parts)


def company_of(text: str) -> str:
    """Return the company's section of a page that was written before."""
    if BEGIN not in text or END not in text:
        return _NO_COMPANY
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def with_company(text: str, company: str) -> str:
    """Return a page with another section of the company."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{company.strip()}\n{END}{rest.partition(END)[2]}"


def table(figures: Sequence[Figure]) -> str:
    """Return figures as a table: value, what it must hold, and whether it does."""
    lines = ["| figure | value | must be | | from |", "|---|---|---|---|---|"]
    for one in figures:
        held = "" if one.bound is None else ("holds" if one.holds else "**does not hold**")
        lines.append(f"| {one.name} | {shown(one)} | {_bound(one)} | {held} | {one.parts} |")
    return "\n".join(lines)


def shown(figure: Figure) -> str:
    """Return a figure's value with its unit."""
    return _number(figure.value, figure.unit)


def _bound(figure: Figure) -> str:
    bound: Bound | None = figure.bound
    if bound is None:
        return ""
    return ("≥ " if bound.at_least else "≤ ") + _number(bound.limit, figure.unit)


def _number(value: float, unit: str) -> str:
    digits = 2 if abs(value) < 10 else (1 if abs(value) < 100 else 0)  # three figures are plenty
    text = f"{value:,.{digits}f}"
    return f"{text} {unit}" if unit else text


def _section(section: Section) -> str:
    return f"## {section.title}\n\n{section.how}\n\n{table(section.figures)}\n"
