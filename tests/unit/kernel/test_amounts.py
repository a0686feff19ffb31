import pytest

from lms.kernel.amounts import Amount


@pytest.mark.parametrize(
    ("minutes", "days"),
    [(480, "1.00"), (240, "0.50"), (-240, "-0.50"), (0, "0.00"), (100, "0.21"), (-1, "0.00"), (12_000, "25.00")],
)
def test_minutes_are_shown_in_nominal_days(minutes: int, days: str) -> None:
    assert Amount.of(minutes).model_dump() == {"minutes": minutes, "days": days}


@pytest.mark.parametrize(("minutes", "days"), [(12, "0.02"), (36, "0.08"), (60, "0.12"), (84, "0.18")])
def test_halves_are_rounded_to_the_even_neighbour(minutes: int, days: str) -> None:
    assert Amount.of(minutes).days == days
