"""Balances over HTTP: figures, visibility, ledger, explanation, changes by hand."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from lms.balances import consumers
from lms.balances.upstream import Day, EmployeeLeft, LeaveAmended, LeaveCancelled, LeaveRefused, Rest

pytestmark = pytest.mark.servers

WEEK = ("2026-06-01", "2026-06-02", "2026-06-03", "2026-06-04", "2026-06-05")


def days(figure: Any) -> str:
    return str(figure["days"])


async def test_a_new_person_has_the_years_entitlement(balances: Any) -> None:
    ada = await balances.hire()
    annual = (await balances.balances(ada))["annual"]
    assert days(annual["granted"]) == days(annual["available"]) == "25.00"
    assert annual["entitlement_year"] == 2026
    assert (await balances.balances(ada))["sick"]["available"] is None


async def test_a_request_is_pending_then_taken_and_given_back_when_cancelled(balances: Any) -> None:
    ada = await balances.hire()
    leave = await balances.request(ada, *WEEK)
    annual = (await balances.balances(ada))["annual"]
    assert (days(annual["pending"]), days(annual["available"])) == ("5.00", "20.00")
    await balances.confirm(ada, leave, *WEEK)
    annual = (await balances.balances(ada))["annual"]
    assert (days(annual["pending"]), days(annual["upcoming"]), days(annual["available"])) == ("0.00", "5.00", "20.00")
    annual = (await balances.balances(ada, as_of="2026-07-01"))["annual"]
    assert (days(annual["taken"]), days(annual["balance"])) == ("5.00", "20.00")
    await balances.tell(consumers.on_cancelled, LeaveCancelled(request_id=leave, employee_id=ada))
    assert days((await balances.balances(ada))["annual"]["available"]) == "25.00"


async def test_an_amendment_reserves_net_and_a_refusal_leaves_the_confirmed_leave(balances: Any) -> None:
    ada = await balances.hire()
    leave = await balances.request(ada, *WEEK)
    await balances.confirm(ada, leave, *WEEK)
    amended = LeaveAmended(
        request_id=leave, revision=2, employee_id=ada, leave_type="annual", replaces_revision=1,
        days=full_days(*WEEK, "2026-06-08"), rests_on=(Rest(stream="calendar-france", version=3),),
    )  # fmt: skip
    await balances.tell(consumers.on_amended, amended)
    assert days((await balances.balances(ada))["annual"]["pending"]) == "1.00"
    await balances.tell(consumers.on_refused, LeaveRefused(request_id=leave, revision=2, employee_id=ada))
    annual = (await balances.balances(ada))["annual"]
    assert (days(annual["pending"]), days(annual["upcoming"])) == ("0.00", "5.00")


def full_days(*dates: str) -> tuple[Day, ...]:

    return tuple(Day(date=date.fromisoformat(one), entitlement_minutes=480, scheduled_minutes=480) for one in dates)


async def test_of_two_concurrent_requests_for_the_last_days_exactly_one_is_reserved(balances: Any) -> None:
    for _ in range(5):
        ada = await balances.hire()
        body = {"employee_id": ada, "leave_type": "annual", "minutes": -20 * 480, "reason": "Fewer for the race"}
        answer = await balances.client.post("/api/v1/balances/adjustments", json=body, headers=balances.hr)
        assert answer.status_code == 201, answer.text
        other = ("2026-07-06", "2026-07-07", "2026-07-08", "2026-07-09", "2026-07-10")
        await asyncio.gather(balances.request(ada, *WEEK), balances.request(ada, *other))
        recorded = await balances.types_recorded(ada)
        assert (recorded.count("balance.reserved"), recorded.count("balance.insufficient")) == (1, 1)


async def test_only_the_person_the_managers_upwards_and_hr_see_a_balance(balances: Any) -> None:
    boss = await balances.hire()
    lead = await balances.hire(manager_id=boss)
    ada = await balances.hire(manager_id=lead)
    for who, roles, status in (
        (ada, (), 200), (lead, ("manager",), 200), (boss, ("manager",), 200), ("hanna", ("hr",), 200),
        (await balances.hire(), (), 404), ("payroll", ("payroll",), 404),
    ):  # fmt: skip
        for path in ("", "/annual/entries", "/annual/explain"):
            answer = await balances.client.get(
                f"/api/v1/balances{path}", params={"employee_id": ada}, headers=balances.headers(who, *roles)
            )
            assert answer.status_code == status, (who, path, answer.text)
    nobody = await balances.client.get("/api/v1/balances", params={"employee_id": "x"}, headers=balances.hr)
    assert nobody.status_code == 404
    assert nobody.json()["code"] == "employee-not-found"


async def test_the_ledger_sums_to_the_balance_and_comes_in_pages(balances: Any) -> None:
    ada = await balances.hire()
    leave = await balances.request(ada, *WEEK)
    await balances.confirm(ada, leave, *WEEK)
    headers = balances.headers(ada)
    url = "/api/v1/balances/annual/entries"
    first = (await balances.client.get(url, params={"limit": 4}, headers=headers)).json()
    rest = (await balances.client.get(url, params={"cursor": first["next_cursor"]}, headers=headers)).json()
    entries = first["items"] + rest["items"]
    assert rest["next_cursor"] is None
    assert [one["kind"] for one in entries] == ["grant"] + 5 * ["reservation"] + 5 * ["release"] + 5 * ["debit"]
    assert sum(one["amount"]["minutes"] for one in entries) == 20 * 480
    assert entries[1]["rests_on"] == [{"stream": "calendar-france", "version": 3}]
    assert (entries[0]["policy_id"], entries[0]["policy_version"]) == ("annual", 1)


async def test_every_figure_is_explained_by_lots_policies_holidays_and_decisions(balances: Any) -> None:
    ada = await balances.hire()
    leave = await balances.request(ada, *WEEK)
    await balances.confirm(ada, leave, *WEEK)
    answer = await balances.client.get(
        "/api/v1/balances/annual/explain", params={"as_of": "2026-12-31"}, headers=balances.headers(ada)
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [(one["lot_id"], one["policy_id"], one["policy_version"], one["recorded"]) for one in found["granted"]] == [
        ("annual.2026", "annual", 1, True)
    ]
    booking = found["bookings"][0]
    assert (booking["request_id"], booking["revision"], booking["state"]) == (leave, 1, "approved")
    assert booking["rests_on"] == [{"stream": "calendar-france", "version": 3}]
    assert booking["decided_by"]
    assert {one["lot_id"] for one in booking["uses"]} == {"annual.2026"}
    assert found["lots"][0]["remaining"]["days"] == "20.00"


async def test_a_future_date_is_a_forecast_with_carry_over_and_grants_to_come(balances: Any) -> None:
    ada = await balances.hire()
    annual = (await balances.balances(ada, as_of="2027-01-01"))["annual"]
    assert (days(annual["carried"]), days(annual["granted"]), days(annual["balance"])) == ("5.00", "25.00", "30.00")
    annual = (await balances.balances(ada, as_of="2027-04-01"))["annual"]
    assert (days(annual["expired"]), days(annual["balance"])) == ("5.00", "25.00")


async def test_a_balance_is_shown_as_it_was_known(balances: Any) -> None:
    ada = await balances.hire()
    before = datetime.now(UTC).isoformat()
    await balances.request(ada, *WEEK)
    assert days((await balances.balances(ada))["annual"]["available"]) == "20.00"
    assert days((await balances.balances(ada, known_at=before))["annual"]["available"]) == "25.00"
    assert days((await balances.balances(ada, known_at="2020-01-01T00:00:00Z"))["annual"]["available"]) == "0.00"


async def test_hr_adjusts_with_a_sealed_reason(balances: Any) -> None:
    ada = await balances.hire()
    body = {"employee_id": ada, "leave_type": "annual", "minutes": 960, "reason": "Moved house"}
    refused = await balances.client.post("/api/v1/balances/adjustments", json=body, headers=balances.headers(ada))
    assert refused.status_code == 403
    headers = {**balances.hr, "Idempotency-Key": "adjust-1"}
    answers = [await balances.client.post("/api/v1/balances/adjustments", json=body, headers=headers) for _ in "ab"]
    assert [one.status_code for one in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert days((await balances.balances(ada))["annual"]["available"]) == "27.00"
    entries = await balances.client.get("/api/v1/balances/annual/entries", headers=balances.headers(ada))
    line = next(one for one in entries.json()["items"] if one["kind"] == "adjustment")
    assert (line["reason"], line["actor"]) == ("Moved house", "hanna")
    async with balances.runtime.database.read() as connection:
        recorded = await balances.runtime.store.read(connection, f"leave-account-{ada}")
    assert "Moved house" not in str([one.envelope.data for one in recorded])
    too_much = {**body, "minutes": -100 * 480}
    overdrawn = await balances.client.post("/api/v1/balances/adjustments", json=too_much, headers=balances.hr)
    assert (overdrawn.status_code, overdrawn.json()["code"]) == (422, "balance-insufficient")
    unknown = {**body, "employee_id": "nobody"}
    missing = await balances.client.post("/api/v1/balances/adjustments", json=unknown, headers=balances.hr)
    assert missing.status_code == 404


async def test_nobody_of_hr_adjusts_their_own_balance(balances: Any) -> None:
    ada = await balances.hire()
    body = {"employee_id": ada, "leave_type": "annual", "minutes": 480, "reason": "Overtime"}
    own = balances.headers(ada, "hr", "admin")
    refused = await balances.client.post("/api/v1/balances/adjustments", json=body, headers=own)
    assert (refused.status_code, refused.json()["code"]) == (403, "four-eyes")
    other = await balances.client.post("/api/v1/balances/adjustments", json=body, headers=balances.hr)
    assert other.status_code == 201, other.text


async def test_a_cached_answer_never_outlives_a_change(balances: Any, redis: Redis) -> None:
    ada = await balances.hire()
    for number in range(3):
        assert days((await balances.balances(ada))["annual"]["available"]) == f"{25 - number}.00"
        assert await redis.keys(f"lms:balances:{ada}:*")
        assert days((await balances.balances(ada))["annual"]["available"]) == f"{25 - number}.00"
        await balances.request(ada, f"2026-06-0{number + 1}")


async def test_the_gateway_may_give_people_their_own_newest_balances_again_and_nothing_else(balances: Any) -> None:
    ada = await balances.hire()
    own = {"headers": balances.headers(ada)}
    asked = [
        await balances.client.get("/api/v1/balances", **own),
        await balances.client.get("/api/v1/balances", params={"as_of": "2026-09-01"}, **own),
        await balances.client.get("/api/v1/balances", params={"known_at": "2026-01-01T00:00:00Z"}, **own),
        await balances.client.get("/api/v1/balances", params={"employee_id": ada}, headers=balances.headers("h", "hr")),
    ]
    assert [one.status_code for one in asked] == [200] * 4
    assert [one.headers.get("surrogate-control") for one in asked] == ["max-age=30", "max-age=30", None, None]


async def test_without_redis_a_balance_is_slower_but_right(balances: Any) -> None:
    ada = await balances.hire()
    balances.runtime.redis = Redis.from_url("redis://127.0.0.1:9/0", socket_connect_timeout=0.2)
    assert days((await balances.balances(ada))["annual"]["available"]) == "25.00"
    await balances.runtime.redis.aclose()


async def test_who_leaves_loses_the_share_of_the_year_not_worked(balances: Any) -> None:
    ada = await balances.hire()
    await balances.tell(consumers.on_left, EmployeeLeft(employee_id=ada, last_day=date(2026, 6, 30)))
    assert (await balances.balances(ada))["annual"]["balance"]["minutes"] == round(12000 * 181 / 365)


async def test_a_broken_date_is_told_not_failed(balances: Any) -> None:
    ada = await balances.hire()
    for query in ({"as_of": "0001-01-01"}, {"as_of": "9999-12-31"}, {"as_of": "soon"}):
        answer = await balances.client.get("/api/v1/balances", params=query, headers=balances.headers(ada))
        assert answer.status_code in {400, 422}, answer.text
