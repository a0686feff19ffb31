from datetime import date, time

import pytest

from lms.requests.decider.chargeable import (
    DayCharge,
    Interval,
    Schedule,
    Unit,
    Work,
    charged_days,
    per_day,
)

EIGHT_HOURS = (240, 240)
OFF = (0, 0)
FULL_TIME = Schedule(date(2024, 1, 1), ((EIGHT_HOURS,) * 5 + (OFF,) * 2,))
SHORT_DAYS = Schedule(date(2024, 1, 1), (((192, 192),) * 5 + (OFF,) * 2,))
FOUR_DAYS = Schedule(date(2024, 1, 1), ((EIGHT_HOURS,) * 4 + (OFF,) * 3,))


def charge(interval: Interval, work: Work, unit: Unit = "half-day") -> dict[date, int]:
    return {one.date: one.entitlement_minutes for one in charged_days(per_day(interval, unit, work))}


def in_days(interval: Interval, work: Work) -> float:
    return sum(charge(interval, work).values()) / 480


def by(schedule: Schedule) -> Work:
    return Work(((date(2010, 1, 1), schedule),))


def test_christmas_leave_charges_five_days_to_the_old_year_and_three_to_the_new() -> None:
    charged = charge(Interval(date(2017, 12, 25), date(2018, 1, 3)), by(FULL_TIME))
    assert sum(minutes for day, minutes in charged.items() if day.year == 2017) == 5 * 480
    assert sum(minutes for day, minutes in charged.items() if day.year == 2018) == 3 * 480


def test_a_day_off_and_a_holiday_cost_nothing() -> None:
    work = Work(((date(2010, 1, 1), FULL_TIME),), ((date(2010, 1, 1), {date(2018, 1, 1): "full"}),))
    assert in_days(Interval(date(2017, 12, 27), date(2018, 1, 2)), work) == 4


def test_half_a_holiday_costs_the_other_half() -> None:
    work = Work(((date(2010, 1, 1), FULL_TIME),), ((date(2010, 1, 1), {date(2026, 12, 24): "afternoon"}),))
    assert in_days(Interval(date(2026, 12, 24), date(2026, 12, 24)), work) == 0.5
    assert in_days(Interval(date(2026, 12, 24), date(2026, 12, 24), "afternoon", "afternoon"), work) == 0


def test_a_half_working_day_costs_half_a_day_whole_or_by_its_morning_and_nothing_by_its_afternoon() -> None:
    new_years_eve = Schedule(date(2024, 1, 1), (((240, 240), (240, 240), (240, 240), (240, 0), (0, 0), OFF, OFF),))
    day = date(2026, 12, 31)
    assert in_days(Interval(day, day), by(new_years_eve)) == 0.5
    assert in_days(Interval(day, day, "morning", "morning"), by(new_years_eve)) == 0.5
    assert in_days(Interval(day, day, "afternoon", "afternoon"), by(new_years_eve)) == 0


def test_two_weeks_off_cost_nine_days_when_the_schedule_drops_to_four_days_after_the_first() -> None:
    work = Work(((date(2010, 1, 1), FULL_TIME), (date(2026, 6, 8), FOUR_DAYS)))
    assert in_days(Interval(date(2026, 6, 1), date(2026, 6, 14)), work) == 9


def test_a_weekend_of_clock_change_in_paris_costs_its_one_working_day() -> None:
    assert in_days(Interval(date(2026, 10, 24), date(2026, 10, 26)), by(FULL_TIME)) == 1


def test_days_of_fewer_hours_are_whole_days_of_entitlement_and_real_minutes_of_work() -> None:
    (monday,) = charged_days(per_day(Interval(date(2026, 6, 1), date(2026, 6, 1)), "day", by(SHORT_DAYS)))
    assert (monday.entitlement_minutes, monday.scheduled_minutes) == (480, 384)


def test_weeks_rotate_from_the_anchor_on_and_before_it() -> None:
    rotating = Schedule(date(2024, 1, 1), ((EIGHT_HOURS,) * 5 + (OFF,) * 2, (EIGHT_HOURS,) * 3 + (OFF,) * 4))
    assert rotating.on(date(2024, 1, 5)) == EIGHT_HOURS
    assert rotating.on(date(2024, 1, 12)) == OFF
    assert rotating.on(date(2024, 1, 19)) == EIGHT_HOURS
    assert rotating.on(date(2023, 12, 29)) == OFF


@pytest.mark.parametrize(
    ("begin", "end", "minutes"),
    [
        (time(9, 0), time(11, 0), 120),
        (time(11, 0), time(14, 0), 180),
        (time(7, 0), time(12, 0), 240),
        (time(9, 30), time(17, 0), 390),
        (time(6, 0), time(20, 0), 480),
    ],
)
def test_hours_cost_scheduled_minutes_up_to_those_of_each_half(begin: time, end: time, minutes: int) -> None:
    interval = Interval(date(2026, 6, 1), date(2026, 6, 1), from_time=begin, to_time=end)
    assert sum(charge(interval, by(FULL_TIME), "hour").values()) == minutes


def test_whole_days_of_a_type_in_hours_cost_what_is_scheduled() -> None:
    assert sum(charge(Interval(date(2026, 6, 1), date(2026, 6, 7)), by(SHORT_DAYS), "hour").values()) == 5 * 384


def test_hours_on_a_holiday_cost_nothing() -> None:
    work = Work(((date(2010, 1, 1), FULL_TIME),), ((date(2010, 1, 1), {date(2026, 6, 1): "morning"}),))
    interval = Interval(date(2026, 6, 1), date(2026, 6, 1), from_time=time(10, 0), to_time=time(13, 0))
    assert sum(charge(interval, work, "hour").values()) == 60


def test_a_preview_shows_the_days_that_cost_nothing_too() -> None:
    work = Work(((date(2010, 1, 1), FULL_TIME),), ((date(2010, 1, 1), {date(2026, 6, 1): "full"}),))
    assert per_day(Interval(date(2026, 5, 31), date(2026, 6, 2)), "day", work) == (
        DayCharge(date(2026, 5, 31), "full", 0, 0),
        DayCharge(date(2026, 6, 1), "full", 0, 0, "full"),
        DayCharge(date(2026, 6, 2), "full", 480, 480),
    )


def test_who_moves_keeps_the_holidays_of_each_location_on_its_days() -> None:
    work = Work(
        ((date(2010, 1, 1), FULL_TIME),),
        ((date(2010, 1, 1), {date(2026, 6, 1): "full"}), (date(2026, 6, 2), {date(2026, 6, 3): "full"})),
    )
    charged = charge(Interval(date(2026, 6, 1), date(2026, 6, 4)), work)
    assert list(charged) == [date(2026, 6, 2), date(2026, 6, 4)]
