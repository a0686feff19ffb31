"""Leave types, policies and accrual runs over HTTP."""

from datetime import date, timedelta
from typing import Any

import pytest

from lms.balances import commands
from lms.balances.commands import run_accruals

pytestmark = pytest.mark.servers

ANNUAL = {
    "name": "Annual leave", "unit": "half-day", "paid": True, "pay_code": "ANNUAL", "colour": "#2e7d32",
}  # fmt: skip
POLICY = {
    "leave_type": "annual", "effective_from": "2026-07-01", "entitlement_minutes": 14400, "accrual": "up-front",
}  # fmt: skip


async def test_everybody_reads_leave_types_and_hr_changes_them(balances: Any) -> None:
    employee = balances.headers("ada")
    listed = (await balances.client.get("/api/v1/leave-types", headers=employee)).json()["items"]
    assert [one["leave_type"] for one in listed] == ["annual", "sick"]
    url = "/api/v1/leave-types/annual"
    found = await balances.client.get(url, headers=employee)
    changed = {**ANNUAL, "min_notice_days": 3}
    refused = await balances.client.put(url, json=changed, headers=employee)
    assert refused.status_code == 403
    etag = {"If-Match": found.headers["etag"]}
    done = await balances.client.put(url, json=changed, headers={**balances.hr, **etag})
    assert (done.status_code, done.json()["min_notice_days"], done.headers["etag"]) == (200, 3, '"2"')
    stale = await balances.client.put(url, json=ANNUAL, headers={**balances.hr, **etag})
    assert stale.status_code == 412
    fixed = await balances.client.put(url, json={**ANNUAL, "unit": "hour"}, headers=balances.hr)
    assert (fixed.status_code, fixed.json()["errors"][0]["pointer"]) == (422, "/unit")
    again = await balances.client.post(
        "/api/v1/leave-types", json={**ANNUAL, "leave_type": "annual"}, headers=balances.hr
    )
    assert (again.status_code, again.json()["code"]) == (409, "leave-type-exists")
    assert (await balances.client.get("/api/v1/leave-types/moon", headers=employee)).status_code == 404


async def test_the_next_version_of_a_policy_begins_in_the_future(balances: Any) -> None:
    past = await balances.client.put(
        "/api/v1/policies/annual", json={**POLICY, "effective_from": "2026-02-01"}, headers=balances.hr
    )
    assert past.status_code == 422
    assert past.json()["errors"][0]["pointer"] == "/effective_from"
    published = await balances.client.put("/api/v1/policies/annual", json=POLICY, headers=balances.hr)
    assert (published.status_code, published.json()["version"]) == (200, 2)
    found = (await balances.client.get("/api/v1/policies/annual", headers=balances.headers("ada"))).json()
    assert [(one["version"], one["entitlement_minutes"]) for one in found["versions"]] == [(1, 12000), (2, 14400)]
    ada = await balances.hire()
    annual = (await balances.balances(ada, as_of="2027-01-01"))["annual"]
    assert annual["granted"]["days"] == "30.00"


async def test_a_version_that_counts_from_today_corrects_what_was_granted_today(balances: Any) -> None:
    ada = await balances.hire(employed_from=date(2026, 3, 2))
    published = await balances.client.put(
        "/api/v1/policies/annual", json={**POLICY, "effective_from": "2026-03-02", "pro_rata": "none"},
        headers=balances.hr,
    )  # fmt: skip
    assert published.status_code == 200, published.text
    await run_accruals(balances.runtime)
    assert (await balances.types_recorded(ada))[-1] == "balance.grant-corrected"
    assert (await balances.balances(ada))["annual"]["granted"]["days"] == "30.00"
    entries = (await balances.client.get("/api/v1/balances/annual/entries", headers=balances.headers(ada))).json()
    assert [(one["kind"], one["policy_version"]) for one in entries["items"]] == [("grant", 1), ("adjustment", 2)]
    assert sum(one["amount"]["minutes"] for one in entries["items"]) == 14400


async def test_a_policy_names_only_steps_that_somebody_routes(balances: Any) -> None:
    body = {**POLICY, "approval_steps": ["manager", "department-head"]}
    refused = await balances.client.put("/api/v1/policies/annual", json=body, headers=balances.hr)
    assert (refused.status_code, refused.json()["code"]) == (422, "policy-refused")
    assert refused.json()["errors"] == [
        {"pointer": "/approval_steps/1", "detail": "no such approval step; known are manager and hr"}
    ]


async def test_two_policies_for_the_same_people_are_refused(balances: Any) -> None:
    body = {**POLICY, "policy_id": "another"}
    overlapping = await balances.client.post("/api/v1/policies", json=body, headers=balances.hr)
    assert (overlapping.status_code, overlapping.json()["code"]) == (422, "policy-overlaps")
    local = {**body, "locations": ["paris"]}
    assert (await balances.client.post("/api/v1/policies", json=local, headers=balances.hr)).status_code == 201
    missing = {**POLICY, "policy_id": "x", "leave_type": "moon", "carry_over_expires": "02-30"}
    refused = await balances.client.post("/api/v1/policies", json=missing, headers=balances.hr)
    assert refused.status_code == 422
    assert {one["pointer"] for one in refused.json()["errors"]} == {"/leave_type", "/carry_over_expires"}


async def test_an_accrual_run_is_resumable_and_grants_once(balances: Any) -> None:
    people = [await balances.hire() for _ in range(3)]
    balances.clock.advance(timedelta(days=400))
    await run_accruals(balances.runtime)
    recorded = [await balances.types_recorded(one) for one in people]
    assert recorded[0] == recorded[1] == recorded[2]
    assert recorded[0].count("balance.granted") == 2
    assert recorded[0].count("balance.carried-over") == 1
    again = await balances.client.post("/api/v1/accruals/run", json={"through": "2027-01-15"}, headers=balances.hr)
    assert (again.status_code, again.json()["total"]) == (202, 3)
    await run_accruals(balances.runtime)
    assert [await balances.types_recorded(one) for one in people] == recorded
    runs = (await balances.client.get("/api/v1/accruals/runs", headers=balances.hr)).json()["items"]
    assert all(one["done"] == one["total"] == 3 and one["finished_at"] for one in runs if one["total"])
    ahead = await balances.client.post("/api/v1/accruals/run", json={"through": "2030-01-01"}, headers=balances.hr)
    assert (ahead.status_code, ahead.json()["code"]) == (422, "run-in-the-future")
    assert (
        await balances.client.post("/api/v1/accruals/run", json={}, headers=balances.headers("x"))
    ).status_code == 403


async def test_a_run_passes_over_those_for_whom_nothing_can_be_due(
    balances: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [await balances.hire() for _ in range(3)]
    looked_at: list[str] = []
    record = commands.record_due

    async def spying(uow: Any, **given: Any) -> Any:
        looked_at.append(given["employee_id"])
        return await record(uow, **given)

    async def looked_at_by_a_run() -> list[str]:
        looked_at.clear()
        await commands.run_accruals(balances.runtime)
        return sorted(looked_at)

    monkeypatch.setattr(commands, "record_due", spying)
    assert await looked_at_by_a_run() == sorted(people)
    balances.clock.advance(timedelta(days=1))
    assert await looked_at_by_a_run() == []
    adjusted = {"employee_id": people[0], "leave_type": "annual", "minutes": 480, "reason": "Thanks"}
    await balances.client.post("/api/v1/balances/adjustments", json=adjusted, headers=balances.hr)
    balances.clock.advance(timedelta(days=1))
    assert await looked_at_by_a_run() == people[:1], "who was changed by hand"
    balances.clock.advance(timedelta(days=400))
    assert await looked_at_by_a_run() == sorted(people), "at the turn of the year everybody"
    extra = {
        "leave_type": "extra", "name": "Extra", "unit": "day", "paid": True, "pay_code": "X", "colour": "#000000",
    }  # fmt: skip
    await balances.client.post("/api/v1/leave-types", json=extra, headers=balances.hr)
    balances.clock.advance(timedelta(days=1))
    assert await looked_at_by_a_run() == sorted(people), "everybody under new rules"
    runs = (await balances.client.get("/api/v1/accruals/runs", headers=balances.hr)).json()["items"]
    assert all(one["done"] == one["total"] == 3 for one in runs if one["total"])
    one = await balances.client.get(f"/api/v1/accruals/runs/{runs[0]['through']}", headers=balances.hr)
    assert one.json() == runs[0]
    assert (await balances.client.get("/api/v1/accruals/runs/1999-01-01", headers=balances.hr)).status_code == 404


async def test_a_policy_that_is_published_late_grants_what_it_reaches_back_to(balances: Any) -> None:
    ada = await balances.hire()
    extra = {
        "leave_type": "extra", "name": "Extra", "unit": "day", "paid": True, "pay_code": "X", "colour": "#000000",
    }  # fmt: skip
    assert (await balances.client.post("/api/v1/leave-types", json=extra, headers=balances.hr)).status_code == 201
    policy = {
        **POLICY,
        "policy_id": "extra",
        "leave_type": "extra",
        "effective_from": "2026-01-01",
        "accrual": "monthly",
    }
    assert (await balances.client.post("/api/v1/policies", json=policy, headers=balances.hr)).status_code == 201
    await run_accruals(balances.runtime)
    entries = await balances.client.get("/api/v1/balances/extra/entries", headers=balances.headers(ada))
    assert [one["date"] for one in entries.json()["items"]] == ["2026-01-01", "2026-02-01", "2026-03-01"]
