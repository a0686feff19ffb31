"""Figures, and how they are taken fairly: contenders in turns, several rounds, medians.

A figure of one contender means little on a machine that other work shares; the ratio of two that ran in turns, a few
seconds apart, means the same on any day. `in_turns` changes the order from round to round, so that neither side always
runs on the warmer caches.
"""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

ROUNDS = 5

Contender = Callable[[], Awaitable[float]]
"""Does its work once and returns its rate, in works per second."""


@dataclass(frozen=True)
class Bound:
    """What a figure must hold: a floor (`at_least`) or a ceiling."""

    limit: float
    at_least: bool

    def holds(self, value: float) -> bool:
        """Say whether the value is on the right side; the limit itself is."""
        return value >= self.limit if self.at_least else value <= self.limit


def floor(limit: float) -> Bound:
    """Return the bound that a value must reach."""
    return Bound(limit, at_least=True)


def ceiling(limit: float) -> Bound:
    """Return the bound that a value must not pass."""
    return Bound(limit, at_least=False)


@dataclass(frozen=True)
class Figure:
    """One measured value: what it is, in which unit, from which parts, and what it must hold, if anything."""

    name: str
    value: float
    unit: str = ""
    bound: Bound | None = None
    parts: str = ""

    @property
    def holds(self) -> bool:
        """Say whether the figure is within its bound; one without a bound always is."""
        return self.bound is None or self.bound.holds(self.value)


@dataclass(frozen=True)
class Section:
    """Figures that were measured together, with a text that says how."""

    title: str
    how: str
    figures: tuple[Figure, ...]


async def in_turns(contenders: Mapping[str, Contender], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Run every contender once a round, in changing order; return each one's rates, a round after the other."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        for name in order:
            rates[name].append(await contenders[name]())
        order.reverse()
    return rates


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def ratio(rates: Mapping[str, Sequence[float]], over: str, under: str) -> float:
    """Return the median, over the rounds, of the ratio within a round: what disturbs a round disturbs both sides."""
    return median([one / other for one, other in zip(rates[over], rates[under], strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that the given share (0 to 1) of all values does not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def rate(value: float) -> str:
    """Return a rate for people to read, such as `1,234/s`."""
    return f"{value:,.0f}/s"
