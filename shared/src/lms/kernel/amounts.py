"""Amounts of leave as the API shows them: minutes are exact, days are for people.

A nominal day has 480 minutes whatever a person's schedule; `days` is a decimal string with two places, rounded half to
even. All arithmetic is done in minutes.
"""

from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Self

from pydantic import BaseModel, ConfigDict

NOMINAL_DAY_MINUTES = 480

_CENT = Decimal("0.01")


class Amount(BaseModel):
    """`{"minutes": 480, "days": "1.00"}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: int
    days: str

    @classmethod
    def of(cls, minutes: int) -> Self:
        """Return the amount of so many minutes; negative ones are debts."""
        return cls(minutes=minutes, days=days_of(minutes))


@lru_cache(maxsize=4096)
def days_of(minutes: int) -> str:
    """Return minutes in nominal days, as a decimal string with two places."""
    rounded = (Decimal(minutes) / NOMINAL_DAY_MINUTES).quantize(_CENT, rounding=ROUND_HALF_EVEN)
    return str(rounded or abs(rounded))
