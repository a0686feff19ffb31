"""Who sees whose leave, and what of it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.integration.requests.conftest import leave_type

pytestmark = pytest.mark.servers


async def test_the_reporting_line_hr_and_auditors_see_a_request_and_nobody_else(requests: Any) -> None:
    director = await requests.hire()
    boss = await requests.hire(manager_id=director)
    anna = await requests.hire(manager_id=boss)
    colleague = await requests.hire(manager_id=boss)
    request = await requests.ask(anna, "2026-06-01", reason="a wedding")
    path = f"leave-requests/{request['id']}"
    for who, roles, status in (
        (anna, (), 200),
        (boss, (), 200),
        (director, (), 200),
        ("hanna", ("hr",), 200),
        ("otto", ("auditor",), 200),
        (colleague, (), 404),
        ("hanna", ("admin",), 404),
    ):
        assert (await requests.get(path, who, *roles)).status_code == status, (who, roles)
        assert (await requests.get(f"{path}/timeline", who, *roles)).status_code == status
    assert (await requests.get("leave-requests/nothing", anna)).status_code == 404


async def test_only_the_owner_and_hr_change_a_request(requests: Any) -> None:
    boss = await requests.hire()
    anna = await requests.hire(manager_id=boss)
    colleague = await requests.hire(manager_id=boss)
    request = await requests.ask(anna, "2026-06-01")
    path = f"leave-requests/{request['id']}/cancel"
    assert (await requests.post(path, colleague)).status_code == 404
    assert (await requests.post(path, boss)).status_code == 403
    assert (await requests.post(path, "hanna", roles=("hr",))).status_code == 200


async def test_hr_asks_for_somebody_and_nobody_else_does(requests: Any) -> None:
    anna = await requests.hire()
    body = {"leave_type": "annual", "start_date": "2026-06-01", "end_date": "2026-06-01", "employee_id": anna}
    assert (await requests.post("leave-requests", "ben", **body)).status_code == 403
    made = await requests.post("leave-requests", "hanna", roles=("hr",), **body)
    assert made.status_code == 201, made.text
    assert (made.json()["employee_id"], made.json()["requested_by"]) == (anna, "hanna")


@pytest.mark.parametrize(
    ("leave_type", "shown_to_manager"), [("annual", "because"), ("sick", None), ("errand", "because")]
)
async def test_a_reason_is_shown_to_managers_where_the_type_says_so(
    requests: Any, leave_type: str, shown_to_manager: str | None
) -> None:
    boss = await requests.hire()
    anna = await requests.hire(manager_id=boss)
    request = await requests.ask(anna, "2026-06-01", leave_type=leave_type, reason="because")
    assert (await requests.shown(boss, request["id"]))["reason"] == shown_to_manager
    assert (await requests.shown("hanna", request["id"], "hr"))["reason"] == "because"
    assert (await requests.shown("otto", request["id"], "auditor"))["reason"] is None
    listed = (await requests.get("leave-requests", boss)).json()["items"]
    assert [one["reason"] for one in listed] == [shown_to_manager]


async def test_the_reason_of_an_erased_person_is_erased(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-06-01", reason="because")
    async with requests.runtime.database.transaction() as connection:
        await requests.runtime.keyring.destroy(connection, anna)
    requests.runtime.keyring.forget(anna)
    assert (await requests.shown("hanna", request["id"], "hr"))["reason"] == "[erased]"


async def test_lists_hold_what_the_caller_may_see_by_filter_and_page(requests: Any) -> None:
    boss = await requests.hire(department_id="heads")
    anna = await requests.hire(manager_id=boss)
    ben = await requests.hire(manager_id=boss, department_id="service")
    await requests.hire()
    asked = [await requests.ask(anna, f"2026-06-0{day}") for day in (3, 1, 2)]
    await requests.confirmed(ben, "2026-07-01")

    async def ids(who: str, *roles: str, **query: Any) -> list[str]:
        found = await requests.get("leave-requests", who, *roles, **query)
        assert found.status_code == 200, found.text
        return [one["id"] for one in found.json()["items"]]

    newest_first = [one["id"] for one in reversed(asked)]
    assert await ids(anna) == newest_first
    assert await ids(anna, employee_id=ben) == []
    assert len(await ids(boss)) == 4
    assert len(await ids("hanna", "hr", manager=boss)) == 4
    assert await ids(boss, status=["approved", "rejected"]) == await ids(ben)
    assert await ids(boss, department="sales") == newest_first
    assert await ids(boss, leave_type="sick") == []
    assert await ids(boss, **{"from": "2026-06-02", "to": "2026-06-02"}) == [asked[2]["id"]]
    assert await ids(boss, **{"from": "2026-06-04", "to": "2026-06-30"}) == []
    by_date = [asked[1]["id"], asked[2]["id"], asked[0]["id"]]
    assert await ids(anna, sort="start_date") == by_date
    assert await ids(anna, sort="-start_date") == by_date[::-1]
    for sort in ("id", "-id", "start_date", "-start_date"):
        collected: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": 1, "sort": sort} | ({"cursor": cursor} if cursor else {})
            page = (await requests.get("leave-requests", boss, **query)).json()
            collected += [one["id"] for one in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert collected == await ids(boss, sort=sort)


async def test_colleagues_see_absence_and_no_more(requests: Any) -> None:
    boss = await requests.hire()
    anna = await requests.hire(manager_id=boss)
    colleague = await requests.hire(manager_id=boss)
    stranger = await requests.hire(department_id="service")
    request = await requests.ask(anna, "2026-06-01", leave_type="sick", reason="private")
    period = {"department": "sales", "from": "2026-06-01", "to": "2026-06-30"}
    (seen,) = (await requests.get("calendar", colleague, **period)).json()["items"]
    assert (seen["employee_id"], seen["leave_type"], seen["request_id"]) == (anna, "absent", None)
    assert "private" not in str(seen)
    (seen,) = (await requests.get("calendar", boss, **period)).json()["items"]
    assert (seen["leave_type"], seen["request_id"]) == ("sick", request["id"])
    assert (await requests.get("calendar", stranger, **period)).json()["items"] == []
    assert len((await requests.get("calendar", "hanna", "hr", **period)).json()["items"]) == 1
    await requests.post(f"leave-requests/{request['id']}/cancel", anna)
    assert (await requests.get("calendar", boss, **period)).json()["items"] == []


async def test_the_calendar_and_previews_of_colleagues_leave_out_who_is_at_work(requests: Any) -> None:
    anna, ben = await requests.hire(), await requests.hire()
    request = await requests.confirmed(anna, "2026-06-01", "2026-06-05")
    await requests.post(f"leave-requests/{request['id']}/cancel", anna, dates=["2026-06-03"])
    await requests.reserved(request, 2)
    await requests.approved(request, 2, by=None)

    async def seen(first: str, last: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        calendar = await requests.get("calendar", ben, **{"from": first, "to": last})
        preview = await requests.post(
            "leave-requests/preview", ben, leave_type="annual", start_date=first, end_date=last
        )
        return calendar.json()["items"], preview.json()["team_overlap"]

    assert await seen("2026-06-03", "2026-06-03") == ([], [])
    for (one,) in await seen("2026-06-02", "2026-06-30"):
        assert (one["employee_id"], one["start_date"], one["end_date"]) == (anna, "2026-06-01", "2026-06-05")
        assert one["days"] == ["2026-06-01", "2026-06-02", "2026-06-04", "2026-06-05"]


async def test_an_absence_of_an_hour_is_seen_as_an_hour(requests: Any) -> None:
    anna, ben = await requests.hire(), await requests.hire()
    await requests.ask(anna, "2026-06-01", leave_type="errand", from_time="09:00", to_time="10:00")
    (seen,) = (await requests.get("calendar", ben, **{"from": "2026-06-01", "to": "2026-06-01"})).json()["items"]
    assert (seen["from_time"], seen["to_time"], seen["leave_type"]) == ("09:00:00", "10:00:00", "absent")


async def test_a_preview_of_an_amendment_costs_what_the_amendment_will(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-06-01", "2026-06-05")
    path = f"leave-requests/{request['id']}"
    await requests.post(f"{path}/cancel", anna, dates=["2026-06-03"])
    await requests.reserved(request, 2)
    await requests.approved(request, 2, by=None)
    await requests.ask(anna, "2026-06-03")
    body = {"leave_type": "annual", "start_date": "2026-06-01", "end_date": "2026-06-04", "request_id": request["id"]}
    preview = (await requests.post("leave-requests/preview", anna, **body)).json()
    assert (preview["violations"], preview["amount"]["days"]) == ([], "3.00")
    amended = await requests.post(f"{path}/amend", anna, end_date="2026-06-04")
    assert amended.status_code == 200, amended.text
    assert [one["date"] for one in amended.json()["open"]["days"]] == ["2026-06-01", "2026-06-02", "2026-06-04"]


async def test_a_preview_of_hours_costs_what_other_hours_leave_of_the_half(requests: Any) -> None:
    anna = await requests.hire()
    await requests.ask(anna, "2026-06-01", leave_type="errand", from_time="13:00", to_time="16:00")

    async def previewed(begin: str, end: str) -> tuple[int, list[str]]:
        body = {"leave_type": "errand", "start_date": "2026-06-01", "end_date": "2026-06-01"}
        found = await requests.post("leave-requests/preview", anna, **body, from_time=begin, to_time=end)
        return found.json()["amount"]["minutes"], [one["code"] for one in found.json()["violations"]]

    assert await previewed("16:00", "20:00") == (60, [])
    await requests.ask(anna, "2026-06-01", leave_type="errand", from_time="16:00", to_time="17:00")
    assert await previewed("17:00", "20:00") == (0, ["nothing-to-charge"])


async def test_a_preview_of_more_of_a_booked_day_names_the_notice_that_it_lacks(requests: Any) -> None:
    noticed = leave_type("planned", "half-day", ("hr",), needs_approval=True).model_copy(update={"min_notice_days": 14})
    await requests.tell("leave-type-planned", noticed)
    anna = await requests.hire()
    half = {"leave_type": "planned", "start_part": "morning", "end_part": "morning"}
    request = await requests.confirmed(anna, "2026-06-01", **half)
    requests.clock._instant = datetime(2026, 5, 31, 9, 0, tzinfo=UTC)
    body = {"leave_type": "planned", "start_date": "2026-06-01", "end_date": "2026-06-01", "request_id": request["id"]}
    preview = (await requests.post("leave-requests/preview", anna, **body)).json()
    assert [one["code"] for one in preview["violations"]] == ["notice"]
    refused = await requests.post(f"leave-requests/{request['id']}/amend", anna, start_part="full", end_part="full")
    assert (refused.status_code, refused.json()["code"]) == (422, "notice")


async def test_a_preview_shows_days_years_violations_and_the_team_and_changes_nothing(requests: Any) -> None:
    anna, ben = await requests.hire(), await requests.hire()
    await requests.ask(ben, "2026-12-31")
    await requests.ask(anna, "2027-01-04")
    answered = await requests.post(
        "leave-requests/preview", anna, leave_type="annual", start_date="2026-12-30", end_date="2027-01-04"
    )
    preview = answered.json()
    assert answered.status_code == 200, preview
    assert [(one["date"], one["amount"]["minutes"]) for one in preview["days"]] == [
        ("2026-12-30", 480),
        ("2026-12-31", 480),
        ("2027-01-01", 480),
        ("2027-01-02", 0),
        ("2027-01-03", 0),
        ("2027-01-04", 480),
    ]
    assert [(one["year"], one["amount"]["days"]) for one in preview["entitlement_years"]] == [
        (2026, "2.00"),
        (2027, "2.00"),
    ]
    assert [one["code"] for one in preview["violations"]] == ["overlap"]
    assert not preview["permitted"]
    assert [(one["employee_id"], one["leave_type"]) for one in preview["team_overlap"]] == [(ben, "absent")]
    assert len(await requests.log_of(anna)) == 1


async def test_leave_of_the_longest_length_is_found_by_its_last_day(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-06-01", "2027-06-01")
    found = (await requests.get("leave-requests", anna, **{"from": "2027-06-01"})).json()["items"]
    assert [one["id"] for one in found] == [request["id"]]
    assert (await requests.get("leave-requests", anna, **{"from": "2027-06-02"})).json()["items"] == []


async def test_a_preview_of_a_changed_request_leaves_out_what_it_has_booked_itself(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-06-01", "2026-06-02")
    asked = {"leave_type": "annual", "start_date": "2026-06-02", "end_date": "2026-06-03"}
    clashing = (await requests.post("leave-requests/preview", anna, **asked)).json()
    changed = (await requests.post("leave-requests/preview", anna, **asked, request_id=request["id"])).json()
    assert [one["code"] for one in clashing["violations"]] == ["overlap"]
    assert changed["violations"] == []
    assert changed["amount"]["days"] == "2.00"
