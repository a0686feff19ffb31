"""The life of a request through the API, the leave book and the view."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from lms.kernel.consistency import polled
from lms.kernel.ids import new_id
from lms.kernel.projection import Update, Upsert, writes_of
from lms.requests.projections.leave_requests import LeaveRequests, leave_requests

pytestmark = pytest.mark.servers


async def test_a_request_is_pending_at_once_and_reads_back_as_it_was_answered(requests: Any) -> None:
    anna = await requests.hire()
    answered = await requests.post(
        "leave-requests", anna, leave_type="annual", start_date="2026-04-30", end_date="2026-05-04", reason="a wedding"
    )
    body = answered.json()
    assert answered.status_code == 201
    assert answered.headers["Location"] == f"/api/v1/leave-requests/{body['id']}"
    assert answered.headers["ETag"] == '"1"'
    assert answered.headers["Consistency-Token"]
    assert (body["status"], body["settled"], body["revision"]) == ("pending", False, 1)
    assert body["amount"] == {"minutes": 960, "days": "2.00"}
    assert [day["date"] for day in body["days"]] == ["2026-04-30", "2026-05-04"]
    assert body["reason"] == "a wedding"
    assert await requests.shown(anna, body["id"]) == body


async def test_an_event_names_the_foreign_facts_that_it_rests_on_and_holds_no_readable_reason(requests: Any) -> None:
    anna = await requests.hire()
    await requests.ask(anna, "2026-04-30", reason="a wedding")
    (recorded,) = await requests.log_of(anna)
    assert {(one.topic, one.stream, one.version) for one in recorded.envelope.prerequisites} == {
        ("leave.directory.v1", f"employee-{anna}", 1),
        ("leave.directory.v1", "schedule-full", 1),
        ("leave.directory.v1", "location-paris", 1),
        ("leave.directory.v1", "calendar-france", 2),
        ("leave.balances.v1", "leave-type-annual", 1),
        ("leave.balances.v1", "policy-annual", 1),
    }
    assert "wedding" not in str(recorded.envelope.data)


async def test_a_repeated_idempotency_key_makes_one_request(requests: Any) -> None:
    anna = await requests.hire()
    body = {"leave_type": "annual", "start_date": "2026-04-30", "end_date": "2026-04-30"}
    key = {"Idempotency-Key": new_id()}
    first = await requests.post("leave-requests", anna, headers=key, **body)
    again = await requests.post("leave-requests", anna, headers=key, **body)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert len(await requests.log_of(anna)) == 1


async def test_of_ten_concurrent_requests_for_the_same_day_one_stands(requests: Any) -> None:
    anna = await requests.hire()
    body = {"leave_type": "annual", "start_date": "2026-04-30", "end_date": "2026-04-30"}
    answers = await asyncio.gather(*(requests.post("leave-requests", anna, **body) for _ in range(10)))
    assert sorted(one.status_code for one in answers) == [201] + [409] * 9
    assert {one.json()["code"] for one in answers if one.status_code == 409} == {"overlap"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"leave_type": "gardening"}, 422, "unknown-leave-type"),
        ({"end_date": "2026-04-29"}, 422, "end-before-start"),
        ({"start_date": "2026-05-01", "end_date": "2026-05-03"}, 422, "nothing-to-charge"),
        ({"start_date": "2023-12-29"}, 422, "outside-employment"),
        ({"end_date": "2027-06-01"}, 422, "interval-too-long"),
        ({"leave_type": "sick", "start_part": "morning"}, 422, "part-not-allowed"),
        ({"from_time": "09:00", "to_time": "10:00"}, 422, "hours-not-allowed"),
        ({"attachment_ids": []}, 400, "malformed"),
        ({"leave_type": "congé"}, 400, "malformed"),
        ({"start_date": "9999-12-31", "end_date": "9999-12-31"}, 400, "malformed"),
    ],
)
async def test_what_breaks_a_rule_is_refused_at_once_with_its_code(
    requests: Any, body: dict[str, Any], status: int, code: str
) -> None:
    anna = await requests.hire()
    asked = {"leave_type": "annual", "start_date": "2026-04-30", "end_date": "2026-04-30", **body}
    if body == {"start_date": "2023-12-29"}:
        asked["end_date"] = "2024-01-02"
    answered = await requests.post("leave-requests", anna, **asked)
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    assert await requests.log_of(anna) == []


async def test_who_is_not_known_yet_is_told_so(requests: Any) -> None:
    answered = await requests.post(
        "leave-requests", "stranger", leave_type="annual", start_date="2026-04-30", end_date="2026-04-30", reason="why"
    )
    assert (answered.status_code, answered.json()["code"]) == (404, "employee-unknown")


async def test_a_request_settles_with_its_reservation_and_is_approved(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-04-30")
    await requests.reserved(request)
    waiting = await requests.shown(anna, request["id"])
    assert (waiting["status"], waiting["settled"]) == ("pending", True)
    await requests.approved(request)
    done = await requests.shown(anna, request["id"])
    assert (done["status"], done["settled"], done["open"]) == ("approved", True, None)
    asked_for = (await requests.log_of(anna))[1]
    assert asked_for.envelope.prerequisites == (("leave.directory.v1", "schedule-full", 1),)


async def test_prefer_wait_answers_with_the_settled_request(requests: Any) -> None:
    anna = await requests.hire()

    async def settle() -> None:
        log: Any = await polled(lambda: requests.asked_by(anna), 2)
        await requests.reserved({"employee_id": anna, "id": log[0].event.request_id})

    body = {"leave_type": "annual", "start_date": "2026-04-30", "end_date": "2026-04-30"}
    answered, _ = await asyncio.gather(
        requests.post("leave-requests", anna, headers={"Prefer": "wait=2"}, **body), settle()
    )
    assert answered.headers["Preference-Applied"] == "wait=2"
    assert answered.json()["settled"]
    assert answered.headers["ETag"] == '"2"'


async def test_an_uncovered_request_is_rejected_with_that_code(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-04-30")
    await requests.insufficient(request)
    done = await requests.shown(anna, request["id"])
    assert (done["status"], done["settled"], done["code"]) == ("rejected", True, "balance-insufficient")


async def test_hours_read_back_as_hours(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-04-30", leave_type="errand", from_time="09:00", to_time="10:30")
    assert (request["from_time"], request["to_time"]) == ("09:00:00", "10:30:00")
    assert request["amount"]["minutes"] == 90


async def test_approved_leave_stands_beside_its_open_amendment(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-12-30", "2026-12-31")
    answered = await requests.post(
        f"leave-requests/{request['id']}/amend", anna, start_date="2027-01-04", end_date="2027-01-04"
    )
    assert answered.status_code == 200, answered.text
    amended = answered.json()
    assert (amended["status"], amended["settled"], amended["revision"]) == ("approved", False, 2)
    assert amended["start_date"] == "2026-12-30"
    assert (amended["open"]["revision"], amended["open"]["start_date"]) == (2, "2027-01-04")
    await requests.reserved(request, 2)
    await requests.approved(request, 2)
    done = await requests.shown(anna, request["id"])
    assert (done["start_date"], done["open"], done["revision"]) == ("2027-01-04", None, 2)
    listed = (await requests.get("leave-requests", anna)).json()["items"]
    assert listed == [done]


async def test_single_days_are_cancelled_while_the_rest_stands(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-06-01", "2026-06-05")
    path = f"leave-requests/{request['id']}/cancel"
    answered = (await requests.post(path, anna, dates=["2026-06-03"])).json()
    assert (answered["status"], answered["open"]["amount"]["days"]) == ("approved", "4.00")
    await requests.reserved(request, 2)
    assert not (await requests.shown(anna, request["id"]))["settled"]
    await requests.approved(request, 2, by=None)
    assert (await requests.shown(anna, request["id"]))["amount"]["days"] == "4.00"
    assert (await requests.post(path, anna, dates=["2026-06-03"])).json()["code"] == "dates-not-in-request"


async def test_an_approval_that_races_a_cancellation_lapses(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-06-01")
    await requests.reserved(request)
    cancelled = await requests.post(f"leave-requests/{request['id']}/cancel", anna, reason="plans changed")
    assert cancelled.json()["status"] == "cancelled"
    await requests.approved(request)
    assert (await requests.shown(anna, request["id"]))["status"] == "cancelled"
    assert (await requests.log_of(anna))[-1].event.TYPE == "leave.decision-lapsed"


async def test_begun_leave_is_cancelled_once_an_approver_agrees(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-03-02", "2026-03-06")
    asked = (await requests.post(f"leave-requests/{request['id']}/cancel", anna)).json()
    assert (asked["status"], asked["revision"], asked["settled"]) == ("cancellation-requested", 2, True)
    assert asked["open"]["change"] == "cancellation"
    await requests.rejected(request, "you were there", 2)
    assert (await requests.shown(anna, request["id"]))["status"] == "approved"
    await requests.post(f"leave-requests/{request['id']}/cancel", anna)
    await requests.approved(request, 3)
    assert (await requests.shown(anna, request["id"]))["status"] == "cancelled"


async def test_a_change_of_what_has_changed_meanwhile_is_refused(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-06-01")
    await requests.reserved(request)
    path = f"leave-requests/{request['id']}"
    stale = await requests.post(f"{path}/cancel", anna, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    stale = await requests.post(f"{path}/amend", anna, headers={"If-Match": '"1"'}, end_date="2026-06-02")
    assert stale.status_code == 412
    etag = (await requests.get(path, anna)).headers["ETag"]
    assert (await requests.post(f"{path}/cancel", anna, headers={"If-Match": etag})).status_code == 200


async def test_the_timeline_tells_who_did_what(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-06-01", reason="a wedding")
    await requests.reserved(request)
    await requests.rejected(request, "too busy")
    items = (await requests.get(f"leave-requests/{request['id']}/timeline", anna)).json()["items"]
    assert [(one["what"], one["by"], one["reason"]) for one in items] == [
        ("requested", anna, "a wedding"),
        ("approval-requested", None, None),
        ("refused", "ben", "too busy"),
    ]


async def test_the_view_is_what_its_events_make_it(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-12-30", "2026-12-31", reason="a wedding")
    await requests.post(f"leave-requests/{request['id']}/amend", anna, end_date="2027-01-06")
    await requests.post(f"leave-requests/{request['id']}/cancel", anna, dates=["2026-12-30"])
    log = await requests.log_of(anna)
    rows: dict[int, dict[str, Any]] = {}
    for write in writes_of(LeaveRequests, [(one.event, one.envelope) for one in log]):
        if isinstance(write, Upsert):
            rows[write.row["revision"]] = dict(write.row)
        elif isinstance(write, Update):
            for row in rows.values():
                if all(row[name] == value for name, value in write.where.items()):
                    row.update(write.values)
    async with requests.runtime.database.read() as connection:
        found = {row.revision: dict(row._mapping) for row in await connection.execute(leave_requests.select())}
    for row in found.values():
        del row["generation"]
        for name in ("recorded_at", "updated_at"):
            row[name] = row[name].replace(tzinfo=UTC)
    assert found == rows


async def test_a_long_book_loads_from_its_snapshot(requests: Any) -> None:
    requests.clock._instant = datetime(2026, 1, 1, tzinfo=UTC)
    anna = await requests.hire()
    for _ in range(105):
        request = await requests.ask(anna, "2026-06-01")
        await requests.post(f"leave-requests/{request['id']}/cancel", anna)
    request = await requests.ask(anna, "2026-06-01")
    assert request["version"] == 211
    refused = await requests.post(
        "leave-requests", anna, leave_type="annual", start_date="2026-06-01", end_date="2026-06-01"
    )
    assert refused.json()["code"] == "overlap"


async def test_requests_lie_in_a_partition_for_each_year(requests: Any) -> None:
    anna = await requests.hire()
    for year in (2026, 2027):
        await requests.ask(anna, f"{year}-06-01")
    query = "SELECT COUNT(*) FROM leave_requests PARTITION (y{}) WHERE employee_id = :employee"
    async with requests.runtime.database.read() as connection:
        for year, there in ((2025, 0), (2026, 1), (2027, 1)):
            assert await connection.scalar(text(query.format(year)), {"employee": anna}) == there


@pytest.mark.parametrize(
    "path",
    [
        "leave-requests/%C3%BC",
        "leave-requests/%C3%BC/timeline",
        "leave-requests?employee_id=%C3%BC",
        "leave-requests?department=%C3%BC",
        "leave-requests?manager=%C3%BC",
        "leave-requests?leave_type=%C3%BC",
        "leave-requests?from=9999-12-31",
        "calendar?department=%C3%BC",
        "calendar?from=9999-12-31",
    ],
)
async def test_what_names_nothing_is_malformed(requests: Any, path: str) -> None:
    found = await requests.client.get(f"/api/v1/{path}", headers=requests.headers("hanna", "hr"))
    assert (found.status_code, found.json()["code"]) == (400, "malformed")


async def test_a_request_is_cancelled_without_a_body(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-06-01")
    path = f"/api/v1/leave-requests/{request['id']}/cancel"
    assert (await requests.client.post(path, headers=requests.headers(anna))).json()["status"] == "cancelled"
