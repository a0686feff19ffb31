"""Later changes of holidays, schedules and locations, on a real database: the work list, payroll, and every race."""

import asyncio
from datetime import date
from typing import Any

import pytest
from sqlalchemy import delete, select
from tests.integration.requests.test_payroll import breaches, close, kinds, lines

from lms.kernel.consumer import NotYetKnown
from lms.requests import commands, measures, store
from lms.requests.events import LeaveRecharged
from lms.requests.projections.schedules import schedules
from lms.requests.upstream import (
    CalendarCreated,
    CalendarHolidaysAdded,
    CalendarHolidaysRemoved,
    EmployeeLocationChanged,
    EmployeeScheduleAssigned,
    Holiday,
    LocationCalendarChanged,
    LocationCreated,
    ScheduleDefined,
    WorkDay,
)

pytestmark = pytest.mark.servers

MONDAY, WEDNESDAY, FRIDAY = "2026-04-06", "2026-04-08", "2026-04-10"


async def add(requests: Any, *days: str, part: Any = "full", calendar: str = "france") -> None:
    """Let dates be holidays of a calendar from now on."""
    holidays = tuple(Holiday(date=date.fromisoformat(day), part=part) for day in days)
    await requests.tell(f"calendar-{calendar}", CalendarHolidaysAdded(calendar_id=calendar, holidays=holidays))


async def work(requests: Any) -> None:
    """Do what is in the work list."""
    await commands.run_recharges(requests.runtime)


async def runs(requests: Any) -> list[Any]:
    """Return every run: how many people it has done of how many, and whether it has finished."""
    at = store.recharge_runs.c
    async with requests.runtime.database.read() as connection:
        rows = await connection.execute(select(at.done, at.total, at.finished_at).order_by(at.started_at))
        return [(row.done, row.total, row.finished_at is not None) for row in rows]


async def days_of(requests: Any, request: dict[str, Any]) -> list[tuple[str, int]]:
    """Return what each day of a request costs as the API shows it."""
    shown = await requests.shown(request["employee_id"], request["id"])
    return [(day["date"], day["amount"]["minutes"]) for day in shown["days"]]


async def recharged(requests: Any, employee_id: str) -> list[Any]:
    return [one for one in await requests.log_of(employee_id) if isinstance(one.event, LeaveRecharged)]


async def test_a_holiday_reaches_everybody_with_leave_on_it_once(requests: Any) -> None:
    people = [await requests.hire() for _ in range(3)]
    booked = [await requests.confirmed(person, MONDAY, FRIDAY) for person in people]
    elsewhere = await requests.confirmed(people[0], "2026-06-01")
    await requests.hire()
    await add(requests, WEDNESDAY)
    assert await runs(requests) == [(0, 3, False)]
    await measures.measure_recharges(requests.runtime)
    assert measures.RECHARGE_REMAINING._value.get() == 3
    await work(requests)
    assert await runs(requests) == [(3, 3, True)]
    await measures.measure_recharges(requests.runtime)
    assert (measures.RECHARGE_REMAINING._value.get(), measures.RECHARGE_LATENESS._value.get()) == (0, 0)
    for request in booked:
        assert await days_of(requests, request) == [(day, 480) for day in (MONDAY, "2026-04-07", "2026-04-09", FRIDAY)]
    assert await days_of(requests, elsewhere) == [("2026-06-01", 480)]
    (one,) = await recharged(requests, people[0])
    assert {"calendar-france": 3}.items() <= {rest.stream: rest.version for rest in one.event.rests_on}.items()
    assert {(need.stream, need.version) for need in one.envelope.prerequisites} >= {("calendar-france", 3)}
    await work(requests)
    assert len(await recharged(requests, people[0])) == 1
    assert await breaches(requests) == []


async def test_a_run_that_breaks_off_goes_on_behind_its_last_batch(
    requests: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = sorted([await requests.hire() for _ in range(3)])
    for person in people:
        await requests.confirmed(person, WEDNESDAY)
    await add(requests, WEDNESDAY)
    done: list[str] = []
    recharge = commands.recharge_leave

    async def dies_at_the_third(uow: Any, employee_id: str, *args: Any, **more: Any) -> None:
        if employee_id == people[2] and len(done) < 3:
            raise ConnectionError("gone")
        done.append(employee_id)
        await recharge(uow, employee_id, *args, **more)

    monkeypatch.setattr(commands, "_BATCH", 1)
    monkeypatch.setattr(commands, "recharge_leave", dies_at_the_third)
    with pytest.raises(ConnectionError):
        await work(requests)
    assert await runs(requests) == [(2, 3, False)]
    done.append("mended")
    await work(requests)
    assert done == [*people[:2], "mended", people[2]]
    assert await runs(requests) == [(3, 3, True)]
    assert [len(await recharged(requests, person)) for person in people] == [1, 1, 1]


async def test_somebody_of_whom_something_is_not_known_here_yet_holds_up_one_run_alone(requests: Any) -> None:
    anna, ben = await requests.hire(), await requests.hire()
    of_anna, of_ben = await requests.confirmed(anna, WEDNESDAY), await requests.confirmed(ben, "2026-05-04")
    half = WorkDay(morning_minutes=240, afternoon_minutes=0)
    assigned = EmployeeScheduleAssigned(
        employee_id=anna, schedule_id="new", effective_from=date.fromisoformat(WEDNESDAY)
    )
    with pytest.raises(NotYetKnown):
        await requests.tell(f"employee-{anna}", assigned)
    await add(requests, WEDNESDAY, part="morning")
    await add(requests, "2026-05-04", part="morning")
    await work(requests)
    assert await runs(requests) == [(0, 1, False), (1, 1, True)]
    assert await days_of(requests, of_ben) == [("2026-05-04", 240)]
    weeks = ((half,) * 7,)
    await requests.tell("schedule-new", ScheduleDefined(schedule_id="new", anchor=date(2024, 1, 1), weeks=weeks))
    await work(requests)
    assert await runs(requests) == [(1, 1, True), (1, 1, True)]
    assert await days_of(requests, of_anna) == []
    async with requests.runtime.database.transaction() as connection:
        await connection.execute(delete(schedules).where(schedules.c.schedule_id == "new"))


async def test_a_schedule_and_a_location_from_a_day_on_change_the_days_from_it(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, MONDAY, FRIDAY)
    half = WorkDay(morning_minutes=200, afternoon_minutes=0)
    weeks = ((half,) * 5 + (WorkDay(morning_minutes=0, afternoon_minutes=0),) * 2,)
    await requests.tell("schedule-half", ScheduleDefined(schedule_id="half", anchor=date(2024, 1, 1), weeks=weeks))
    from_thursday = EmployeeScheduleAssigned(employee_id=anna, schedule_id="half", effective_from=date(2026, 4, 9))
    await requests.tell(f"employee-{anna}", from_thursday)
    assert await days_of(requests, request) == [
        (MONDAY, 480), ("2026-04-07", 480), (WEDNESDAY, 480), ("2026-04-09", 240), (FRIDAY, 240),
    ]  # fmt: skip
    await requests.tell("calendar-spain", CalendarCreated(calendar_id="spain"))
    await add(requests, MONDAY, "2026-04-07", calendar="spain")
    await requests.tell("location-madrid", LocationCreated(location_id="madrid", calendar_id="spain"))
    moved = EmployeeLocationChanged(employee_id=anna, location_id="madrid", effective_from=date(2026, 4, 7))
    await requests.tell(f"employee-{anna}", moved)
    assert [day for day, _ in await days_of(requests, request)] == [MONDAY, WEDNESDAY, "2026-04-09", FRIDAY]
    assert [one.event.cause for one in await recharged(requests, anna)] == ["schedule", "location"]
    assert await breaches(requests) == []


async def test_another_calendar_of_a_location_concerns_all_dates(requests: Any) -> None:
    anna = await requests.hire()
    past, coming = await requests.confirmed(anna, "2025-07-14"), await requests.confirmed(anna, "2026-07-14")
    await requests.tell("calendar-spain", CalendarCreated(calendar_id="spain"))
    await add(requests, "2025-07-14", "2026-07-14", calendar="spain")
    await requests.tell("location-paris", LocationCalendarChanged(location_id="paris", calendar_id="spain"))
    await work(requests)
    assert [await days_of(requests, one) for one in (past, coming)] == [[], []]
    assert await kinds(requests, anna) == ["absence.confirmed"] * 2 + ["absence.corrected"] * 2
    await requests.tell(
        "calendar-spain", CalendarHolidaysRemoved(calendar_id="spain", dates=(date(2025, 7, 14), date(2026, 7, 14)))
    )
    await work(requests)
    assert await days_of(requests, coming) == [("2026-07-14", 480)]
    assert await breaches(requests) == []


async def test_a_holiday_in_a_closed_month_is_corrected_in_the_next_one_which_names_it(requests: Any) -> None:
    anna = await requests.hire()
    await requests.confirmed(anna, "2026-03-02", "2026-03-04")
    assert (await close(requests, "2026-03")).status_code == 200
    await add(requests, "2026-03-03", part="afternoon")
    await work(requests)
    assert (await lines(requests, anna))[1:] == [
        [("2026-03-03", -480, "2026-04", "2026-03"), ("2026-03-03", 240, "2026-04", "2026-03")]
    ]
    assert await breaches(requests) == []


async def test_pending_leave_shows_what_it_costs_now_and_is_refused_when_it_is_no_longer_covered(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, MONDAY, FRIDAY)
    await requests.reserved(request)
    await add(requests, WEDNESDAY)
    await work(requests)
    assert (await requests.shown(anna, request["id"]))["amount"]["days"] == "4.00"
    assert await kinds(requests, anna) == []
    await requests.insufficient(request)
    shown = await requests.shown(anna, request["id"])
    assert (shown["status"], shown["code"]) == ("rejected", "balance-insufficient")


async def test_the_timeline_tells_what_changed(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, WEDNESDAY)
    await add(requests, WEDNESDAY)
    await work(requests)
    steps = (await requests.get(f"leave-requests/{request['id']}/timeline", anna)).json()["items"]
    assert [(one["what"], one["code"], one["by"]) for one in steps[-1:]] == [("recharged", "holidays", None)]


async def test_leave_that_is_being_asked_for_when_a_holiday_comes_is_charged_without_it_in_the_end(
    requests: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = await requests.hire()
    has_read, goes_on = asyncio.Event(), asyncio.Event()
    enter = commands._enter

    async def slowly(*args: Any, **more: Any) -> Any:
        if not goes_on.is_set():
            has_read.set()
            await goes_on.wait()
        return await enter(*args, **more)

    monkeypatch.setattr(commands, "_enter", slowly)
    asking = asyncio.create_task(requests.ask(anna, MONDAY, FRIDAY))
    await has_read.wait()
    telling = asyncio.create_task(add(requests, WEDNESDAY))
    await asyncio.sleep(0.5)
    assert not telling.done(), "the projector waits for whoever has read the calendar to decide by it"
    goes_on.set()
    request = await asking
    await telling
    await work(requests)
    assert [day for day, _ in await days_of(requests, request)] == [MONDAY, "2026-04-07", "2026-04-09", FRIDAY]
