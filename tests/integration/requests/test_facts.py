"""What the directory and balances tell decides what leave costs, whether it can be taken, and who sees it."""

from datetime import date, timedelta
from typing import Any

import pytest

from lms.requests.upstream import (
    Blackout,
    CalendarCreated,
    CalendarHolidaysAdded,
    CalendarHolidaysRemoved,
    EmployeeDepartmentChanged,
    EmployeeLeft,
    EmployeeLocationChanged,
    EmployeeManagerChanged,
    EmployeeScheduleAssigned,
    Holiday,
    LeaveTypeChanged,
    LocationCalendarChanged,
    LocationCreated,
    PolicyPublished,
    ScheduleDefined,
    WorkDay,
)

pytestmark = pytest.mark.servers

DAY = WorkDay(morning_minutes=240, afternoon_minutes=240)
OFF = WorkDay(morning_minutes=0, afternoon_minutes=0)


async def costs(requests: Any, who: str, first: str, last: str) -> str:
    """In days, as a preview tells."""
    found = await requests.post("leave-requests/preview", who, leave_type="annual", start_date=first, end_date=last)
    assert found.status_code == 200, found.text
    return str(found.json()["amount"]["days"])


async def violations(requests: Any, who: str, first: str, last: str) -> list[str]:
    found = await requests.post("leave-requests/preview", who, leave_type="annual", start_date=first, end_date=last)
    return [one["code"] for one in found.json()["violations"]]


async def test_a_new_schedule_counts_from_its_day_on(requests: Any) -> None:
    anna = await requests.hire()
    await requests.tell(
        "schedule-four", ScheduleDefined(schedule_id="four", anchor=date(2024, 1, 1), weeks=((DAY,) * 4 + (OFF,) * 3,))
    )
    await requests.tell(
        f"employee-{anna}",
        EmployeeScheduleAssigned(employee_id=anna, schedule_id="four", effective_from=date(2026, 6, 8)),
    )
    assert await costs(requests, anna, "2026-06-01", "2026-06-14") == "9.00"
    request = await requests.ask(anna, "2026-06-01", "2026-06-14")
    assert request["amount"]["days"] == "9.00"
    (recorded,) = await requests.log_of(anna)
    assert {"schedule-full", "schedule-four"} <= {one.stream for one in recorded.envelope.prerequisites}
    assert ("leave.directory.v1", f"employee-{anna}", 2) in recorded.envelope.prerequisites


async def test_holidays_come_go_and_change_with_the_location(requests: Any) -> None:
    anna = await requests.hire()
    assert await costs(requests, anna, "2026-04-30", "2026-05-04") == "2.00"
    await requests.tell("calendar-france", CalendarHolidaysRemoved(calendar_id="france", dates=(date(2026, 5, 1),)))
    assert await costs(requests, anna, "2026-04-30", "2026-05-04") == "3.00"
    await requests.tell(
        "calendar-spain",
        CalendarCreated(calendar_id="spain"),
        CalendarHolidaysAdded(calendar_id="spain", holidays=(Holiday(date=date(2026, 5, 4), part="morning"),)),
    )
    await requests.tell("location-madrid", LocationCreated(location_id="madrid", calendar_id="spain"))
    await requests.tell(
        f"employee-{anna}",
        EmployeeLocationChanged(employee_id=anna, location_id="madrid", effective_from=date(2026, 5, 4)),
    )
    assert await costs(requests, anna, "2026-04-30", "2026-05-04") == "2.50"
    await requests.tell("location-madrid", LocationCalendarChanged(location_id="madrid", calendar_id="france"))
    assert await costs(requests, anna, "2026-04-30", "2026-05-04") == "3.00"


async def test_nobody_takes_leave_after_their_last_day(requests: Any) -> None:
    anna = await requests.hire()
    await requests.tell(f"employee-{anna}", EmployeeLeft(employee_id=anna, last_day=date(2026, 6, 30)))
    assert await violations(requests, anna, "2026-06-30", "2026-06-30") == []
    assert await violations(requests, anna, "2026-06-30", "2026-07-01") == ["outside-employment"]


async def test_notice_and_blackouts_are_those_of_the_newest_terms(requests: Any) -> None:
    anna = await requests.hire()
    await requests.tell(
        "leave-type-annual",
        LeaveTypeChanged(
            leave_type="annual",
            name="annual",
            unit="half-day",
            paid=True,
            pay_code="ANN",
            needs_approval=True,
            attachment_after_days=None,
            min_notice_days=7,
            max_length_days=5,
            reason_visible_to=(),
        ),
    )
    await requests.tell(
        "policy-annual",
        PolicyPublished(
            policy_id="annual",
            version=2,
            leave_type="annual",
            locations=("paris",),
            effective_from=date(2026, 1, 1),
            waiting_period_days=0,
            blackouts=(Blackout(first_day=date(2026, 3, 4), last_day=date(2026, 3, 4)),),
        ),
    )
    assert await violations(requests, anna, "2026-03-03", "2026-03-13") == ["notice", "blackout", "max-length"]


async def test_who_manages_whom_and_who_belongs_where_follow_the_calendar(requests: Any) -> None:
    old, new = await requests.hire(), await requests.hire()
    anna = await requests.hire(manager_id=old)
    request = await requests.ask(anna, "2026-06-01")
    await requests.tell(
        f"employee-{anna}",
        EmployeeManagerChanged(employee_id=anna, manager_id=new, effective_from=date(2026, 4, 1)),
        EmployeeDepartmentChanged(employee_id=anna, department_id="service", effective_from=date(2026, 4, 1)),
    )
    path = f"leave-requests/{request['id']}"

    async def seen_by(who: str) -> tuple[int, int]:
        listed = (await requests.get("leave-requests", who)).json()["items"]
        return (await requests.get(path, who)).status_code, len(listed)

    assert (await seen_by(old), await seen_by(new)) == ((200, 1), (404, 0))
    requests.clock.advance(timedelta(days=30))
    assert (await seen_by(old), await seen_by(new)) == ((404, 0), (200, 1))
    june = {"department": "service", "from": "2026-06-01", "to": "2026-06-30"}
    assert len((await requests.get("calendar", "hanna", "hr", **june)).json()["items"]) == 1
    assert (await requests.get("calendar", "hanna", "hr", **(june | {"department": "sales"}))).json()["items"] == []
