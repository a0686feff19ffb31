"""Departments, locations, schedules, holiday calendars and delegations over HTTP."""

from typing import Any

import pytest

pytestmark = pytest.mark.servers

Headers = dict[str, str]
PASSWORD = "long-enough-password"
WORK = {"morning_minutes": 240, "afternoon_minutes": 240}
OFF = {"morning_minutes": 0, "afternoon_minutes": 0}


async def post(directory: Any, who: Headers, path: str, **body: Any) -> Any:
    return await directory.client.post(f"/api/v1/{path}", json=body, headers=who)


async def test_a_department_is_made_renamed_and_given_a_head(directory: Any, admin: Headers) -> None:
    made = (await post(directory, admin, "departments", name="Sales")).json()
    anna = await directory.employed(admin, "anna@example.com")
    path = f"/api/v1/departments/{made['id']}"
    changed = await directory.client.patch(path, json={"name": "Service", "head_id": anna}, headers=admin)
    assert changed.json() == {"id": made["id"], "name": "Service", "head_id": anna, "version": 3}
    stale = await directory.client.patch(path, json={"name": "Sales"}, headers={**admin, "If-Match": '"1"'})
    assert stale.status_code == 412
    nobody = await directory.client.patch(path, json={"head_id": "nobody"}, headers=admin)
    assert nobody.json()["errors"][0]["pointer"] == "/head_id"
    assert (await directory.client.get(path, headers=admin)).headers["ETag"] == '"3"'


async def test_a_calendar_is_filled_with_public_holidays_and_edited(directory: Any, admin: Headers) -> None:
    made = await post(
        directory, admin, "holiday-calendars", name="Berlin", country="DE", subdivision="BE", years=[2026]
    )
    calendar = made.json()
    assert {"date": "2026-10-03", "name": "German Unity Day", "part": "full"} in calendar["holidays"]
    path = f"holiday-calendars/{calendar['id']}/holidays"
    eve = {"date": "2026-12-31", "name": "New Year's Eve", "part": "afternoon"}
    added = await post(directory, admin, path, holidays=[eve], years=[2026, 2027])
    assert eve in added.json()["holidays"]
    assert sum(one["date"].startswith("2026-10-03") for one in added.json()["holidays"]) == 1
    assert any(one["date"].startswith("2027") for one in added.json()["holidays"])
    taken = await post(directory, admin, path, holidays=[{**eve, "part": "full"}])
    assert (taken.status_code, taken.json()["code"]) == (409, "holiday-exists")
    removed = await directory.client.delete(f"/api/v1/{path}/2026-12-31", headers=admin)
    assert eve not in removed.json()["holidays"]
    assert (await directory.client.delete(f"/api/v1/{path}/2026-12-31", headers=admin)).status_code == 404
    year = await directory.client.get(f"/api/v1/holiday-calendars/{calendar['id']}?year=2027", headers=admin)
    assert {one["date"][:4] for one in year.json()["holidays"]} == {"2027"}


async def test_a_country_without_known_holidays_is_refused(directory: Any, admin: Headers) -> None:
    answer = await post(directory, admin, "holiday-calendars", name="Nowhere", country="XX", years=[2026])
    assert (answer.json()["code"], answer.json()["errors"][0]["pointer"]) == ("country-unknown", "/country")
    assert (await post(directory, admin, "holiday-calendars", name="Nowhere", country="XX")).status_code == 201


async def test_a_location_keeps_a_calendar(directory: Any, admin: Headers) -> None:
    calendar = (await post(directory, admin, "holiday-calendars", name="France", country="FR")).json()["id"]
    body = {"name": "Paris", "country": "FR", "time_zone": "Europe/Paris", "calendar_id": calendar}
    made = await post(directory, admin, "locations", **body)
    assert made.status_code == 201
    assert made.json()["calendar_id"] == calendar
    other = (await post(directory, admin, "holiday-calendars", name="Alsace", country="FR")).json()["id"]
    path = f"/api/v1/locations/{made.json()['id']}"
    changed = await directory.client.patch(path, json={"calendar_id": other}, headers=admin)
    assert changed.json()["calendar_id"] == other
    assert (await post(directory, admin, "locations", **{**body, "calendar_id": "none"})).status_code == 422
    assert (await post(directory, admin, "locations", **{**body, "time_zone": "Mars"})).status_code == 400


async def test_a_schedule_with_rotating_weeks_is_defined(directory: Any, admin: Headers) -> None:
    weeks = [[WORK] * 5 + [OFF] * 2, [WORK] * 4 + [OFF] * 3]
    made = await post(directory, admin, "schedules", name="Nine days", weeks=weeks)
    assert made.status_code == 201
    shown = await directory.client.get(f"/api/v1/schedules/{made.json()['id']}", headers=admin)
    assert shown.json()["weeks"] == weeks
    assert (await post(directory, admin, "schedules", name="Odd", weeks=[[WORK] * 5])).status_code == 422


async def test_everybody_reads_and_only_hr_changes_the_organisation(directory: Any, admin: Headers) -> None:
    await directory.employed(admin, "ben@example.com", password=PASSWORD)
    ben = await directory.sign_in("ben@example.com", PASSWORD)
    for path in ("departments", "locations", "schedules", "holiday-calendars"):
        listed = (await directory.client.get(f"/api/v1/{path}", headers=ben)).json()
        assert len(listed["items"]) == 1
    assert (await post(directory, ben, "departments", name="Mine")).status_code == 403


async def test_a_manager_names_a_stand_in_and_takes_it_back(directory: Any, admin: Headers) -> None:
    boss = await directory.employed(admin, "boss@example.com", password=PASSWORD)
    anna = await directory.employed(admin, "anna@example.com", manager_id=boss, password=PASSWORD)
    who = await directory.sign_in("boss@example.com", PASSWORD)
    period = {"first_day": "2099-07-01", "last_day": "2099-07-14"}
    made = await post(directory, who, "delegations", delegate_id=anna, **period)
    assert made.json() == {"id": made.json()["id"], "delegator_id": boss, "delegate_id": anna, **period}
    as_anna = await directory.sign_in("anna@example.com", PASSWORD)
    assert (await directory.client.get("/api/v1/me", headers=as_anna)).json()["delegations"] == [made.json()]
    path = f"/api/v1/delegations/{made.json()['id']}"
    assert (await directory.client.delete(path, headers=as_anna)).status_code == 404
    assert (await directory.client.delete(path, headers=who)).status_code == 204
    assert (await directory.client.get("/api/v1/delegations", headers=who)).json()["items"] == []


async def test_delegations_that_make_no_sense_are_refused(directory: Any, admin: Headers) -> None:
    boss = await directory.employed(admin, "boss@example.com", password=PASSWORD)
    anna = await directory.employed(admin, "anna@example.com", manager_id=boss, password=PASSWORD)
    who = await directory.sign_in("boss@example.com", PASSWORD)
    period = {"first_day": "2099-07-01", "last_day": "2099-07-14"}
    assert (await post(directory, who, "delegations", delegate_id=boss, **period)).status_code == 422
    assert (await post(directory, who, "delegations", delegate_id="nobody", **period)).status_code == 422
    as_anna = await directory.sign_in("anna@example.com", PASSWORD)
    assert (await post(directory, as_anna, "delegations", delegate_id=boss, **period)).status_code == 403
    for_other = await post(directory, who, "delegations", delegate_id=boss, delegator_id=anna, **period)
    assert for_other.status_code == 403
    by_hr = await post(directory, admin, "delegations", delegate_id=boss, delegator_id=anna, **period)
    assert by_hr.status_code == 201
