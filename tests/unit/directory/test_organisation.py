"""The rules of departments, locations, schedules and holiday calendars."""

from datetime import date

import pytest

from lms.directory.decider.calendar import (
    CALENDAR,
    AddHolidays,
    CalendarExists,
    CalendarUnknown,
    CreateCalendar,
    DateTaken,
    FillHolidays,
    HolidayUnknown,
    RemoveHoliday,
)
from lms.directory.decider.department import (
    DEPARTMENT,
    ChangeHead,
    CreateDepartment,
    DepartmentExists,
    DepartmentUnknown,
    RenameDepartment,
)
from lms.directory.decider.location import (
    LOCATION,
    ChangeCalendar,
    CreateLocation,
    LocationExists,
    LocationUnknown,
)
from lms.directory.decider.schedule import SCHEDULE, DefineSchedule, ScheduleExists, ScheduleInvalid
from lms.directory.events import (
    CalendarCreated,
    CalendarHolidaysAdded,
    CalendarHolidaysRemoved,
    DepartmentCreated,
    DepartmentHeadChanged,
    DepartmentRenamed,
    Holiday,
    LocationCalendarChanged,
    LocationCreated,
    ScheduleDefined,
    WorkDay,
)
from lms.kernel.testing import given

SALES = DepartmentCreated(department_id="sales", name="Sales", head_id=None)
BERLIN = LocationCreated(
    location_id="berlin",
    name="Berlin",
    country="DE",
    subdivision="BE",
    time_zone="Europe/Berlin",
    calendar_id="berlin-holidays",
)
GERMANY = CalendarCreated(calendar_id="de", name="Germany", country="DE", subdivision=None)
NEW_YEAR = Holiday(date=date(2026, 1, 1), name="Neujahr", part="full")
UNITY = Holiday(date=date(2026, 10, 3), name="Tag der Deutschen Einheit", part="full")
EVE = Holiday(date=date(2026, 12, 31), name="Silvester", part="afternoon")
WORK = WorkDay(morning_minutes=240, afternoon_minutes=240)
OFF = WorkDay(morning_minutes=0, afternoon_minutes=0)
WEEK = (WORK,) * 5 + (OFF,) * 2
MONDAY = date(2024, 1, 1)


def test_a_department_is_created_once() -> None:
    create = CreateDepartment("sales", "Sales", None)
    assert given(DEPARTMENT).when(create) == [SALES]
    given(DEPARTMENT, SALES).refuses(create, DepartmentExists)


def test_a_department_gets_another_name_and_another_head() -> None:
    assert given(DEPARTMENT, SALES).when(RenameDepartment("Service")) == [
        DepartmentRenamed(department_id="sales", name="Service")
    ]
    assert given(DEPARTMENT, SALES).when(ChangeHead("ben")) == [
        DepartmentHeadChanged(department_id="sales", head_id="ben")
    ]


def test_what_a_department_is_already_is_no_fact() -> None:
    department = given(DEPARTMENT, SALES).after(RenameDepartment("Service"), ChangeHead("ben"))
    assert department.when(RenameDepartment("Service")) == []
    assert department.when(ChangeHead("ben")) == []


def test_an_unknown_department_cannot_change() -> None:
    given(DEPARTMENT).refuses(RenameDepartment("Service"), DepartmentUnknown)


def test_a_location_is_created_once() -> None:
    create = CreateLocation("berlin", "Berlin", "DE", "BE", "Europe/Berlin", "berlin-holidays")
    assert given(LOCATION).when(create) == [BERLIN]
    given(LOCATION, BERLIN).refuses(create, LocationExists)


def test_a_location_changes_to_another_calendar() -> None:
    changed = LocationCalendarChanged(location_id="berlin", calendar_id="de")
    assert given(LOCATION, BERLIN).when(ChangeCalendar("de")) == [changed]
    assert given(LOCATION, BERLIN, changed).when(ChangeCalendar("de")) == []
    given(LOCATION).refuses(ChangeCalendar("de"), LocationUnknown)


def test_a_schedule_is_defined_once() -> None:
    define = DefineSchedule("full-time", "Full time", MONDAY, (WEEK,))
    defined = ScheduleDefined(schedule_id="full-time", name="Full time", anchor=MONDAY, weeks=(WEEK,))
    assert given(SCHEDULE).when(define) == [defined]
    given(SCHEDULE, defined).refuses(define, ScheduleExists)


@pytest.mark.parametrize(
    ("anchor", "weeks", "pointer"),
    [
        (date(2024, 1, 2), (WEEK,), "/anchor"),
        (MONDAY, (), "/weeks"),
        (MONDAY, (WEEK,) * 53, "/weeks"),
        (MONDAY, (WEEK, WEEK[:6]), "/weeks/1"),
        (MONDAY, ((OFF,) * 7,), "/weeks"),
    ],
)
def test_an_impossible_schedule_is_refused(anchor: date, weeks: tuple[tuple[WorkDay, ...], ...], pointer: str) -> None:
    refusal = given(SCHEDULE).refuses(DefineSchedule("odd", "Odd", anchor, weeks), ScheduleInvalid)
    assert refusal.errors[0].pointer == pointer


def test_a_calendar_starts_with_its_holidays_in_order_of_date() -> None:
    create = CreateCalendar("de", "Germany", "DE", None, (UNITY, NEW_YEAR))
    assert given(CALENDAR).when(create) == [
        GERMANY,
        CalendarHolidaysAdded(calendar_id="de", holidays=(NEW_YEAR, UNITY)),
    ]
    given(CALENDAR, GERMANY).refuses(create, CalendarExists)


def test_a_calendar_may_start_empty() -> None:
    assert given(CALENDAR).when(CreateCalendar("de", "Germany", "DE", None)) == [GERMANY]


def test_adding_a_holiday_twice_is_one_fact() -> None:
    calendar = given(CALENDAR, GERMANY).after(AddHolidays((EVE,)))
    assert calendar.past[-1] == CalendarHolidaysAdded(calendar_id="de", holidays=(EVE,))
    assert calendar.when(AddHolidays((EVE,))) == []


def test_a_date_has_one_entry() -> None:
    calendar = given(CALENDAR, GERMANY).after(AddHolidays((EVE,)))
    refusal = calendar.refuses(AddHolidays((NEW_YEAR, EVE.model_copy(update={"part": "full"}))), DateTaken)
    assert [error.pointer for error in refusal.errors] == ["/holidays/1/date"]


def test_filling_keeps_what_was_edited() -> None:
    edited = given(CALENDAR, GERMANY).after(AddHolidays((EVE,)))
    official = EVE.model_copy(update={"part": "full"})
    assert edited.when(FillHolidays((official, UNITY))) == [CalendarHolidaysAdded(calendar_id="de", holidays=(UNITY,))]


def test_a_holiday_is_removed_once() -> None:
    calendar = given(CALENDAR, GERMANY).after(AddHolidays((EVE,)))
    assert calendar.when(RemoveHoliday(EVE.date)) == [CalendarHolidaysRemoved(calendar_id="de", dates=(EVE.date,))]
    calendar.after(RemoveHoliday(EVE.date)).refuses(RemoveHoliday(EVE.date), HolidayUnknown)


def test_an_unknown_calendar_cannot_change() -> None:
    given(CALENDAR).refuses(FillHolidays((EVE,)), CalendarUnknown)


def test_a_calendar_survives_its_snapshot() -> None:
    state = given(CALENDAR, GERMANY).after(AddHolidays((EVE, UNITY))).state
    adapter = CALENDAR.snapshot_adapter
    assert adapter.validate_json(adapter.dump_json(state)) == state
