"""Labels take few values."""

from lms.kernel.metrics import OTHER, Few


def test_the_first_values_of_a_label_pass_and_later_ones_are_not_told_apart() -> None:
    few = Few(2)
    assert [few(value) for value in ("annual", "sick", "annual", "third", "sick")] == [
        "annual", "sick", "annual", OTHER, "sick",
    ]  # fmt: skip
