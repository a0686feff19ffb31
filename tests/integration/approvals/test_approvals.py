"""Cases through the reactors, the API and the inbox."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from lms.approvals.commands import reroute_daily
from lms.approvals.projections.employees import employees, line_of
from lms.approvals.upstream import (
    DelegationRevoked,
    EmployeeLeft,
    EmployeeManagerChanged,
    LeaveAmended,
    LeaveCancelled,
    LeaveDecisionLapsed,
    LeaveRefused,
)
from lms.kernel.ids import new_id

pytestmark = pytest.mark.servers


async def test_the_manager_is_asked_and_approves(approvals: Any) -> None:
    boss = await approvals.hire()
    anna = await approvals.hire(manager_id=boss)
    request = await approvals.asked(anna)
    (shown,) = await approvals.inbox(boss, status="pending")
    assert (shown["request_id"], shown["revision"], shown["employee_id"]) == (request, 1, anna)
    assert (shown["start_date"], shown["end_date"]) == ("2026-04-01", "2026-04-02")
    assert shown["amount"] == {"minutes": 720, "days": "1.50"}
    assert (shown["status"], shown["on_behalf_of"], shown["kind"]) == ("pending", None, "leave")
    done = await approvals.post(f"{request}/approve", boss, revision=1, comment="enjoy Rome")
    assert done.status_code == 200, done.text
    assert done.headers["Consistency-Token"]
    assert done.headers["ETag"] == '"2"'
    assert (done.json()["status"], done.json()["decided_by"]) == ("approved", boss)
    assert await approvals.pending(boss) == []
    assert [one["status"] for one in await approvals.inbox(boss, status="decided")] == ["approved"]
    opened, approved = await approvals.log_of(request)
    assert (approved.envelope.type, approved.envelope.key) == ("leave.approved", anna)
    assert approved.envelope.actor == boss
    assert opened.envelope.type == "approval.case-opened"
    assert "Rome" not in str(approved.envelope.data)
    assert await approvals.runtime.keyring.unseal(approved.event.comment) == "enjoy Rome"


async def test_a_rejection_has_a_sealed_reason(approvals: Any) -> None:
    boss = await approvals.hire()
    request = await approvals.asked(await approvals.hire(manager_id=boss))
    assert (await approvals.post(f"{request}/reject", boss, revision=1)).status_code in {400, 422}
    assert (await approvals.post(f"{request}/reject", boss, revision=1, reason="  ")).status_code in {400, 422}
    done = await approvals.post(f"{request}/reject", boss, revision=1, reason="the fair")
    assert (done.status_code, done.json()["status"]) == (200, "rejected")
    rejected = (await approvals.log_of(request))[-1]
    assert "fair" not in str(rejected.envelope.data)
    assert await approvals.runtime.keyring.unseal(rejected.event.reason) == "the fair"


async def test_leave_that_needs_no_approval_is_approved_at_once_and_bothers_nobody(approvals: Any) -> None:
    boss = await approvals.hire()
    request = await approvals.asked(await approvals.hire(manager_id=boss), needs_approval=False)
    assert [one.envelope.type for one in await approvals.log_of(request)] == ["approval.case-opened", "leave.approved"]
    assert await approvals.inbox(boss) == []
    assert await approvals.inbox("hanna", "hr") == []


async def test_where_nobody_is_above_hr_decides_but_not_on_their_own_leave(approvals: Any) -> None:
    head = await approvals.hire()
    request = await approvals.asked(head)
    assert await approvals.pending("hanna", "hr") == [request]
    assert await approvals.pending("peter") == []
    assert await approvals.pending(head, "hr") == []
    own = await approvals.post(f"{request}/approve", head, "hr", revision=1)
    assert (own.status_code, own.json()["code"]) == (403, "four-eyes")
    assert (await approvals.post(f"{request}/approve", "hanna", "hr", revision=1)).status_code == 200


async def test_a_case_is_hidden_from_those_whom_it_does_not_concern(approvals: Any) -> None:
    boss = await approvals.hire()
    request = await approvals.asked(await approvals.hire(manager_id=boss))
    for who, roles in (("peter", ()), ("peter", ("manager",)), ("hanna", ("hr",))):
        assert (await approvals.post(f"{request}/approve", who, *roles, revision=1)).status_code == 404
        assert (await approvals.post(f"{request}/reject", who, *roles, revision=1, reason="no")).status_code == 404
    assert (await approvals.post(f"{new_id()}/approve", boss, revision=1)).status_code == 404
    for bad in ("a b", "x" * 37, "caf%C3%A9"):
        assert (await approvals.post(f"{bad}/approve", boss, revision=1)).status_code == 400


async def test_a_stand_in_decides_in_the_period_and_both_are_named(approvals: Any) -> None:
    boss, friend = await approvals.hire(), await approvals.hire()
    anna = await approvals.hire(manager_id=boss)
    request, later = await approvals.asked(anna), await approvals.asked(anna)
    await approvals.stands_in(friend, boss)
    assert [one["on_behalf_of"] for one in await approvals.inbox(friend, status="pending")] == [boss, boss]
    done = await approvals.post(f"{request}/approve", friend, revision=1)
    assert (done.status_code, done.json()["decided_by"], done.json()["on_behalf_of"]) == (200, friend, boss)
    approvals.clock.advance(timedelta(days=1))
    assert await approvals.pending(friend) == []
    assert (await approvals.post(f"{later}/approve", friend, revision=1)).status_code == 404
    assert [one["status"] for one in await approvals.inbox(friend)] == ["approved"]


async def test_a_stand_in_sees_what_is_open_and_what_they_decided_and_not_the_decisions_of_before(
    approvals: Any,
) -> None:
    boss, friend = await approvals.hire(), await approvals.hire()
    anna = await approvals.hire(manager_id=boss)
    before, open_, theirs, meanwhile = [await approvals.asked(anna) for _ in range(4)]
    assert (await approvals.post(f"{before}/reject", boss, revision=1, reason="the fair")).status_code == 200
    await approvals.stands_in(friend, boss)
    assert (await approvals.post(f"{theirs}/approve", friend, revision=1)).status_code == 200
    assert (await approvals.post(f"{meanwhile}/approve", boss, revision=1)).status_code == 200
    assert {one["request_id"] for one in await approvals.inbox(friend)} == {open_, theirs}
    assert [one["request_id"] for one in await approvals.inbox(friend, status="decided")] == [theirs]
    assert await approvals.pending(friend) == [open_]
    late = [await approvals.post(f"{one}/approve", friend, revision=1) for one in (before, meanwhile, theirs)]
    assert [one.status_code for one in late] == [404, 404, 409]
    assert {one["request_id"] for one in await approvals.inbox(boss)} == {before, open_, theirs, meanwhile}


async def test_a_revoked_stand_in_decides_no_more_and_nobody_stands_in_on_their_own_leave(approvals: Any) -> None:
    boss = await approvals.hire()
    anna = await approvals.hire(manager_id=boss)
    request = await approvals.asked(anna)
    delegation = await approvals.stands_in(anna, boss)
    assert await approvals.pending(anna) == []
    refused = await approvals.post(f"{request}/approve", anna, revision=1)
    assert (refused.status_code, refused.json()["code"]) == (403, "four-eyes")
    other = await approvals.asked(await approvals.hire(manager_id=boss))
    assert await approvals.pending(anna) == [other]
    await approvals.tell(f"delegation-{delegation}", DelegationRevoked(delegation_id=delegation))
    assert await approvals.pending(anna) == []


async def test_a_decision_names_the_newest_revision(approvals: Any) -> None:
    boss = await approvals.hire()
    anna = await approvals.hire(manager_id=boss)
    request = await approvals.asked(anna)
    await approvals.tell(
        f"leave-book-{anna}", LeaveAmended(request_id=request, employee_id=anna, supersedes_revision=1)
    )
    over = await approvals.post(f"{request}/approve", boss, revision=1)
    assert (over.status_code, over.json()["code"]) == (409, "case-closed")
    await approvals.asked(anna, request_id=request, revision=2)
    stale = await approvals.post(f"{request}/approve", boss, revision=1)
    assert (stale.status_code, stale.json()["code"]) == (412, "stale-revision")
    assert {one["revision"]: one["status"] for one in await approvals.inbox(boss)} == {1: "superseded", 2: "pending"}
    assert (await approvals.post(f"{request}/approve", boss, revision=2)).status_code == 200


async def test_a_cancelled_or_refused_request_takes_its_open_case_along(approvals: Any) -> None:
    boss = await approvals.hire()
    anna = await approvals.hire(manager_id=boss)
    cancelled, refused = await approvals.asked(anna), await approvals.asked(anna)
    book = f"leave-book-{anna}"
    await approvals.tell(book, LeaveCancelled(request_id=cancelled, employee_id=anna, open_revision=1))
    await approvals.tell(book, LeaveRefused(request_id=refused, employee_id=anna, revision=1))
    assert await approvals.pending(boss) == []
    assert {one["request_id"]: one["status"] for one in await approvals.inbox(boss)} == {
        cancelled: "cancelled",
        refused: "superseded",
    }


async def test_a_decision_that_raced_a_cancel_shows_as_lapsed(approvals: Any) -> None:
    boss = await approvals.hire()
    anna = await approvals.hire(manager_id=boss)
    request = await approvals.asked(anna)
    assert (await approvals.post(f"{request}/approve", boss, revision=1)).status_code == 200
    book = f"leave-book-{anna}"
    await approvals.tell(book, LeaveCancelled(request_id=request, employee_id=anna, open_revision=1))
    assert [one["status"] for one in await approvals.inbox(boss)] == ["approved"]
    await approvals.tell(book, LeaveDecisionLapsed(request_id=request, employee_id=anna, revision=1))
    assert [one["status"] for one in await approvals.inbox(boss, status="decided")] == ["lapsed"]


async def test_of_two_who_decide_at_once_exactly_one_does(approvals: Any) -> None:
    boss = await approvals.hire()
    request = await approvals.asked(await approvals.hire(manager_id=boss))
    answers = await asyncio.gather(
        *(approvals.post(f"{request}/approve", boss, revision=1) for _ in range(4)),
        *(approvals.post(f"{request}/reject", boss, revision=1, reason="no") for _ in range(4)),
    )
    assert sorted(one.status_code for one in answers) == [200] + [409] * 7
    assert len(await approvals.log_of(request)) == 2


async def test_a_repeated_idempotency_key_gives_the_same_answer(approvals: Any) -> None:
    boss = await approvals.hire()
    request = await approvals.asked(await approvals.hire(manager_id=boss))
    key = {"Idempotency-Key": new_id()}
    first = await approvals.post(f"{request}/approve", boss, headers=key, revision=1)
    again = await approvals.post(f"{request}/approve", boss, headers=key, revision=1)
    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (200, first.json())


async def test_many_decisions_are_taken_each_for_itself_and_once(approvals: Any) -> None:
    boss = await approvals.hire()
    anna = await approvals.hire(manager_id=boss)
    one, two = await approvals.asked(anna), await approvals.asked(anna)
    foreign = await approvals.asked(await approvals.hire())
    decisions = [
        {"request_id": one, "revision": 1, "decision": "approve"},
        {"request_id": foreign, "revision": 1, "decision": "approve"},
        {"request_id": two, "revision": 2, "decision": "reject", "reason": "no"},
        {"request_id": two, "revision": 1, "decision": "reject", "reason": "no"},
        {"request_id": one, "revision": 1, "decision": "approve"},
    ]
    key = {"Idempotency-Key": new_id()}
    done = await approvals.post("bulk", boss, headers=key, decisions=decisions)
    assert done.status_code == 200, done.text
    assert done.headers["Consistency-Token"]
    assert [(item["http_status"], item["status"], item["code"]) for item in done.json()["items"]] == [
        (200, "approved", None),
        (404, None, "not-found"),
        (412, None, "stale-revision"),
        (200, "rejected", None),
        (409, None, "case-closed"),
    ]
    again = await approvals.post("bulk", boss, headers=key, decisions=decisions)
    assert again.json() == done.json()
    other = await approvals.post("bulk", boss, headers=key, decisions=decisions[:1])
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    bad = [{"request_id": two, "revision": 1, "decision": "reject"}]
    assert (await approvals.post("bulk", boss, decisions=bad)).status_code in {400, 422}


async def test_a_new_manager_takes_the_open_cases_over(approvals: Any) -> None:
    old, new = await approvals.hire(), await approvals.hire()
    anna = await approvals.hire(manager_id=old)
    request = await approvals.asked(anna)
    await approvals.tell(
        f"employee-{anna}",
        EmployeeManagerChanged(employee_id=anna, manager_id=new, effective_from=date(2026, 3, 1)),
    )
    assert (await approvals.pending(old), await approvals.pending(new)) == ([], [request])
    assert (await approvals.post(f"{request}/approve", old, revision=1)).status_code == 404


async def test_when_a_manager_leaves_the_cases_go_up_the_line_and_at_its_end_to_hr(approvals: Any) -> None:
    head = await approvals.hire()
    boss = await approvals.hire(manager_id=head)
    request = await approvals.asked(await approvals.hire(manager_id=boss))
    await approvals.tell(f"employee-{boss}", EmployeeLeft(employee_id=boss, last_day=date(2026, 3, 1)))
    assert (await approvals.pending(boss), await approvals.pending(head)) == ([], [request])
    await approvals.tell(f"employee-{head}", EmployeeLeft(employee_id=head, last_day=date(2026, 3, 1)))
    assert (await approvals.pending(head), await approvals.pending("hanna", "hr")) == ([], [request])


async def test_what_changes_at_a_date_is_followed_when_that_day_begins(approvals: Any) -> None:
    head = await approvals.hire()
    boss = await approvals.hire(manager_id=head)
    request = await approvals.asked(await approvals.hire(manager_id=boss))
    await approvals.tell(f"employee-{boss}", EmployeeLeft(employee_id=boss, last_day=date(2026, 3, 2)))
    await reroute_daily(approvals.runtime)
    assert await approvals.pending(boss) == [request]
    approvals.clock.advance(timedelta(days=1))
    await reroute_daily(approvals.runtime)
    await reroute_daily(approvals.runtime)
    assert (await approvals.pending(boss), await approvals.pending(head)) == ([], [request])
    assert len(await approvals.log_of(request)) == 2


async def test_the_policy_of_the_location_names_the_steps(approvals: Any) -> None:
    await approvals.policy("manager")
    await approvals.policy("manager", "hr", locations=("rome",))
    boss = await approvals.hire()
    in_paris = await approvals.asked(await approvals.hire(manager_id=boss))
    in_rome = await approvals.asked(await approvals.hire(manager_id=boss, location_id="rome"))
    assert (await approvals.post(f"{in_paris}/approve", boss, revision=1)).json()["status"] == "approved"
    assert (await approvals.post(f"{in_rome}/approve", boss, revision=1)).json()["status"] == "pending"
    assert (await approvals.post(f"{in_rome}/approve", boss, revision=1)).status_code == 404
    assert await approvals.pending("hanna", "hr") == [in_rome]
    assert (await approvals.post(f"{in_rome}/approve", "hanna", "hr", revision=1)).json()["status"] == "approved"


async def test_a_line_does_not_change_under_a_case_that_is_being_opened(approvals: Any) -> None:
    boss = await approvals.hire()
    anna = await approvals.hire(manager_id=boss)
    database = approvals.runtime.database

    async def facts_change() -> None:
        async with database.transaction() as connection:
            await connection.execute(update(employees).where(employees.c.employee_id == anna).values(version=9))

    async with database.transaction() as opening:
        assert [one.employee_id for one in await line_of(opening, anna, date(2026, 3, 2))] == [boss]
        change = asyncio.create_task(facts_change())
        await asyncio.sleep(0.3)
        assert not change.done()
    await asyncio.wait_for(change, 5.0)


async def test_the_inbox_comes_in_pages(approvals: Any) -> None:
    boss = await approvals.hire()
    anna = await approvals.hire(manager_id=boss)
    asked = [await approvals.asked(anna) for _ in range(3)]
    collected: list[str] = []
    cursor: str | None = None
    while True:
        page = (
            await approvals.client.get(
                "/api/v1/approvals",
                params={"limit": 2} | ({"cursor": cursor} if cursor else {}),
                headers=approvals.headers(boss),
            )
        ).json()
        collected += [one["request_id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert collected == asked
