from datetime import UTC, date, datetime, timedelta

from lms.kernel.clock import FixedClock


def test_a_fixed_clock_stands_until_it_is_moved() -> None:
    clock = FixedClock(datetime(2027, 12, 31, 23, 30, tzinfo=UTC))
    assert clock.today() == date(2027, 12, 31)
    clock.advance(timedelta(hours=1))
    assert clock.now() == datetime(2028, 1, 1, 0, 30, tzinfo=UTC)
    assert clock.today() == date(2028, 1, 1)
