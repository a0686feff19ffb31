"""How figures are taken and shown: medians of ratios, bounds on either side, and a page that keeps its company."""

import pytest
from tests.load import page
from tests.load.measure import Contender, Figure, Section, ceiling, floor, in_turns, percentile, ratio


async def test_contenders_run_in_turns_and_change_their_order() -> None:
    ran: list[str] = []

    def contender(name: str) -> Contender:
        async def measure() -> float:
            ran.append(name)
            return float(len(ran))

        return measure

    rates = await in_turns({"a": contender("a"), "b": contender("b")}, 3)
    assert "".join(ran) == "abbaab"
    assert rates == {"a": [1.0, 4.0, 5.0], "b": [2.0, 3.0, 6.0]}


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    slow_in_one_round = {"one": [50.0, 5.0, 60.0], "other": [100.0, 10.0, 100.0]}
    assert ratio(slow_in_one_round, "one", "other") == 0.5


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert percentile([float(one) for one in range(100, 0, -1)], share) == value


def test_a_bound_holds_at_its_limit() -> None:
    assert Figure("at the floor", 0.5, "", floor(0.5)).holds
    assert not Figure("below the floor", 0.49, "", floor(0.5)).holds
    assert Figure("at the ceiling", 30, "ms", ceiling(30)).holds
    assert not Figure("above the ceiling", 31, "ms", ceiling(30)).holds
    assert Figure("without a bound", -1).holds


def test_the_page_says_first_what_does_not_hold() -> None:
    figures = (Figure("speed", 0.4, "", floor(0.5), "4/s and 10/s"), Figure("delay", 20, "ms", ceiling(30)))
    text = page.page({"memory": "1 GiB"}, [Section("Some", "How.", figures)], "", "", 60)
    assert "**Not held:**\n\n- Some: speed\n" in text.split("## The machine")[0]
    assert "| speed | 0.40 | ≥ 0.50 | **does not hold** | 4/s and 10/s |" in text
    assert "| delay | 20.0 ms | ≤ 30.0 ms | holds |  |" in text


def test_the_company_stays_on_the_page_when_the_rest_is_written_anew() -> None:
    first = page.page({}, [], "", "", 60)
    with_company = page.with_company(first, "5,000 people")
    again = page.page({}, [], "", page.company_of(with_company), 60)
    assert page.company_of(again) == "5,000 people"
    assert "Not measured yet" in page.company_of("")
