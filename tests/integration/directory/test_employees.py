"""Employing, changing and showing people."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from lms.directory.store import people
from lms.kernel.idempotency import stored_replies
from lms.kernel.keyring import data_keys
from lms.kernel.schema import events, outbox

pytestmark = pytest.mark.servers

EMPLOYEES = "/api/v1/employees"
PASSWORD = "long-enough-password"

Headers = dict[str, str]


async def count(directory: Any, table: Any, *conditions: Any) -> int:
    async with directory.runtime.database.read() as connection:
        found = await connection.scalar(select(func.count()).select_from(table).where(*conditions))
    return int(found)


async def patch(directory: Any, who: Headers, employee: str, **changes: Any) -> Any:
    return await directory.client.patch(f"{EMPLOYEES}/{employee}", json=changes, headers=who)


async def test_a_person_is_employed_with_a_fact_a_message_and_a_data_key(directory: Any, admin: Headers) -> None:
    answer = await directory.employ(admin, "Anna@Example.com", cost_centre="4100")
    made = answer.json()
    assert (made["email"], made["status"], made["version"]) == ("anna@example.com", "invited", 3)
    assert answer.headers["ETag"] == '"3"'
    assert answer.headers["Location"] == f"{EMPLOYEES}/{made['id']}"
    stream = f"employee-{made['id']}"
    assert await count(directory, events, events.c.stream == stream) == 3
    assert await count(directory, outbox, outbox.c.aggregateid == made["id"]) == 3
    assert await count(directory, data_keys, data_keys.c.subject == made["id"]) == 1


async def test_no_fact_carries_a_name_or_an_address_in_clear(directory: Any, admin: Headers) -> None:
    made = (await directory.employ(admin, "anna.arendt@example.com", family_name="Arendt")).json()
    await patch(directory, admin, made["id"], email="anna.bond@example.com", family_name="Bond")
    async with directory.runtime.database.read() as connection:
        texts = (await connection.execute(select(events.c.data, events.c.metadata))).all()
    assert texts
    for words in ("arendt", "bond", "example.com"):
        assert not any(words in (row.data + row.metadata).lower() for row in texts)


async def test_one_key_employs_one_person(directory: Any, admin: Headers) -> None:
    key = {**admin, "Idempotency-Key": "employ-anna"}
    first = await directory.employ(key, "anna@example.com")
    second = await directory.employ(key, "anna@example.com")
    assert first.json()["invitation"]["token"]
    assert (second.status_code, second.json()) == (201, {**first.json(), "invitation": None})
    for header in ("ETag", "Location", "Consistency-Token"):
        assert second.headers[header] == first.headers[header]
    assert (await directory.employ(key, "ben@example.com")).status_code == 422


async def test_an_invitation_is_told_and_kept_nowhere(directory: Any, admin: Headers) -> None:
    anna = (await directory.employ({**admin, "Idempotency-Key": "employ-anna"}, "anna@example.com")).json()
    again = {**admin, "Idempotency-Key": "invite-anna"}
    told = [anna["invitation"]["token"]]
    for _ in range(2):
        answer = await directory.client.post(f"{EMPLOYEES}/{anna['id']}/invitation", headers=again)
        assert answer.status_code == 201, answer.text
        told.append(answer.json()["token"])
    assert len(set(told)) == 3, "a repeated request invites once more"
    async with directory.runtime.database.read() as connection:
        replies = [
            reply async for _, reply in stored_replies(connection, *directory.runtime.settings.encryption_keys())
        ]
    assert len(replies) == 1
    assert not [token for token in told for reply in replies if reply is None or token in reply.body.decode()]


async def test_an_address_belongs_to_one_person_also_when_two_come_at_once(directory: Any, admin: Headers) -> None:
    answers = await asyncio.gather(*(directory.employ(admin, "Anna@example.com") for _ in range(5)))
    assert sorted(one.status_code for one in answers) == [201, 409, 409, 409, 409]
    refused = next(one.json() for one in answers if one.status_code == 409)
    assert (refused["code"], refused["errors"][0]["pointer"]) == ("email-taken", "/email")
    assert await count(directory, people) == 2


async def test_what_does_not_exist_is_named_field_by_field(directory: Any, admin: Headers) -> None:
    answer = await directory.employ(admin, "anna@example.com", department_id="d", schedule_id="s", manager_id="m")
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/department_id", "/schedule_id", "/manager_id"]


async def test_a_dated_change_holds_from_its_day_on(directory: Any, admin: Headers) -> None:
    anna = await directory.employed(admin, "anna@example.com")
    made = await directory.client.post("/api/v1/departments", json={"name": "Sales"}, headers=admin)
    sales = made.json()["id"]
    later = await patch(directory, admin, anna, department_id=sales, effective_from="2099-01-01")
    assert later.json()["department_id"] == directory.organisation["department_id"]
    shown = (await directory.client.get(f"{EMPLOYEES}/{anna}", headers=admin)).json()
    assert [(one["effective_from"], one["value"]) for one in shown["history"] if one["kind"] == "department"] == [
        ("2026-01-01", directory.organisation["department_id"]),
        ("2099-01-01", sales),
    ]
    now = await patch(directory, admin, anna, department_id=sales)
    assert (now.json()["department_id"], now.json()["version"]) == (sales, 5)


async def test_a_change_of_what_somebody_else_changed_meanwhile_is_stale(directory: Any, admin: Headers) -> None:
    anna = await directory.employed(admin, "anna@example.com")
    stale = {**admin, "If-Match": '"3"'}
    assert (await patch(directory, stale, anna, cost_centre="1")).status_code == 200
    refused = await patch(directory, stale, anna, cost_centre="2")
    assert (refused.status_code, refused.json()["code"]) == (412, "stale")


async def test_nobody_reports_to_themselves_over_others(directory: Any, admin: Headers) -> None:
    anna = await directory.employed(admin, "anna@example.com")
    ben = await directory.employed(admin, "ben@example.com", manager_id=anna)
    cleo = await directory.employed(admin, "cleo@example.com", manager_id=ben)
    circle = await patch(directory, admin, anna, manager_id=cleo)
    assert (circle.status_code, circle.json()["code"]) == (409, "reporting-cycle")
    own = await patch(directory, admin, anna, manager_id=anna)
    assert (own.status_code, own.json()["code"]) == (422, "own-manager")


async def test_a_circle_that_would_close_only_in_the_future_is_refused(directory: Any, admin: Headers) -> None:
    anna = await directory.employed(admin, "anna@example.com")
    ben = await directory.employed(admin, "ben@example.com")
    assert (await patch(directory, admin, ben, manager_id=anna, effective_from="2098-01-01")).status_code == 200
    assert (await patch(directory, admin, anna, manager_id=ben)).status_code == 409
    assert (await patch(directory, admin, ben, manager_id=None, effective_from="2097-01-01")).status_code == 200


@pytest.mark.parametrize("attempt", range(5))
async def test_of_two_changes_that_together_close_a_circle_one_stands(
    directory: Any, admin: Headers, attempt: int
) -> None:
    anna = await directory.employed(admin, f"anna{attempt}@example.com")
    ben = await directory.employed(admin, f"ben{attempt}@example.com")
    answers = await asyncio.gather(
        patch(directory, admin, anna, manager_id=ben), patch(directory, admin, ben, manager_id=anna)
    )
    assert sorted(one.status_code for one in answers) == [200, 409]


async def test_colleagues_see_names_and_places_managers_and_hr_see_the_rest(directory: Any, admin: Headers) -> None:
    boss = await directory.employed(admin, "boss@example.com", password=PASSWORD)
    lead = await directory.employed(admin, "lead@example.com", manager_id=boss)
    anna = await directory.employed(admin, "anna@example.com", manager_id=lead, password=PASSWORD, cost_centre="1")
    await directory.employed(admin, "ben@example.com", password=PASSWORD)
    told = {}
    for name in ("anna", "ben", "boss"):
        who = await directory.sign_in(f"{name}@example.com", PASSWORD)
        told[name] = (await directory.client.get(f"{EMPLOYEES}/{anna}", headers=who)).json()
        listed = (await directory.client.get(EMPLOYEES, headers=who)).json()["items"]
        assert ("cost_centre" in next(one for one in listed if one["id"] == anna)) is (name != "ben")
    assert told["anna"]["cost_centre"] == told["boss"]["cost_centre"] == "1"
    assert set(told["ben"]) == {"id", "given_name", "family_name", "department_id", "location_id", "manager_id"}


async def test_who_has_left_or_has_yet_to_come_does_not_exist_for_colleagues(directory: Any, admin: Headers) -> None:
    gone = await directory.employed(admin, "gone@example.com")
    await directory.client.post(f"{EMPLOYEES}/{gone}/leave", json={"last_day": "2026-01-31"}, headers=admin)
    coming = await directory.employed(admin, "coming@example.com", employed_from="2099-01-01")
    await directory.employed(admin, "ben@example.com", password=PASSWORD)
    ben = await directory.sign_in("ben@example.com", PASSWORD)
    for employee in (gone, coming):
        assert (await directory.client.get(f"{EMPLOYEES}/{employee}", headers=ben)).status_code == 404
        assert (await directory.client.get(f"{EMPLOYEES}/{employee}", headers=admin)).status_code == 200
    listed = (await directory.client.get(EMPLOYEES, headers=ben)).json()["items"]
    assert not {gone, coming} & {one["id"] for one in listed}


async def test_only_hr_and_administrators_write(directory: Any, admin: Headers) -> None:
    ben = await directory.employed(admin, "ben@example.com", password=PASSWORD)
    who = await directory.sign_in("ben@example.com", PASSWORD)
    assert (await directory.employ(who, "anna@example.com")).status_code == 403
    assert (await patch(directory, who, ben, roles=["admin"])).status_code == 403
    assert (await directory.client.get(EMPLOYEES, params={"status": "left"}, headers=who)).status_code == 403
    assert (await directory.client.get(EMPLOYEES)).status_code == 401


async def test_hr_gives_nobody_more_rights_than_an_employees_or_managers(directory: Any, admin: Headers) -> None:
    hr_id = await directory.employed(admin, "hr@example.com", roles=["hr"], password=PASSWORD)
    hr = await directory.sign_in("hr@example.com", PASSWORD)
    refused = await patch(directory, hr, hr_id, roles=["hr", "admin"])
    assert (refused.status_code, refused.json()["code"]) == (403, "role-not-yours")
    assert (await directory.employ(hr, "x@example.com", roles=["payroll"])).status_code == 403
    anna = await directory.employed(hr, "anna@example.com")
    assert (await patch(directory, hr, anna, roles=["manager"])).status_code == 200


async def test_nobody_of_hr_changes_their_own_roles_or_manager_while_somebody_else_could(
    directory: Any, admin: Headers
) -> None:
    boss = await directory.employed(admin, "boss@example.com")
    own = (await directory.client.get("/api/v1/me", headers=admin)).json()["id"]
    alone = await patch(directory, admin, own, manager_id=boss, roles=["hr", "admin", "payroll"])
    assert alone.status_code == 200, "the only administrator sets the company up"
    hr_id = await directory.employed(admin, "hr@example.com", roles=["hr"], password=PASSWORD)
    hr = await directory.sign_in("hr@example.com", PASSWORD)
    for who, employee, change in (
        (hr, hr_id, {"manager_id": boss}),
        (hr, hr_id, {"roles": ["hr", "manager"]}),
        (admin, own, {"manager_id": None}),
    ):
        refused = await patch(directory, who, employee, **change)
        assert (refused.status_code, refused.json()["code"]) == (403, "four-eyes")
        assert [one["pointer"] for one in refused.json()["errors"]] == [f"/{field}" for field in change]
    assert (await patch(directory, hr, hr_id, manager_id=None, roles=["hr"], cost_centre="1")).status_code == 200
    assert (await patch(directory, admin, hr_id, manager_id=boss)).status_code == 200
    assert (await patch(directory, hr, own, manager_id=None)).status_code == 200
    assert (await patch(directory, admin, own, roles=["admin"])).status_code == 200, "no other administrator could"


async def test_hr_neither_lets_a_privileged_person_go_nor_changes_their_address(directory: Any, admin: Headers) -> None:
    await directory.employed(admin, "hr@example.com", roles=["hr"], password=PASSWORD)
    hr = await directory.sign_in("hr@example.com", PASSWORD)
    auditor = await directory.employed(admin, "auditor@example.com", roles=["auditor"])
    first = (await directory.client.get("/api/v1/me", headers=admin)).json()["id"]
    last_day = {"last_day": "2099-12-31"}
    for employee in (auditor, first):
        left = await directory.client.post(f"{EMPLOYEES}/{employee}/leave", json=last_day, headers=hr)
        assert (left.status_code, left.json()["code"]) == (403, "role-not-yours")
        moved = await patch(directory, hr, employee, email="elsewhere@example.com")
        assert (moved.status_code, moved.json()["code"]) == (403, "role-not-yours")
    assert (await patch(directory, hr, auditor, family_name="Auditor")).status_code == 200
    assert (await patch(directory, admin, auditor, email="elsewhere@example.com")).status_code == 200
    left = await directory.client.post(f"{EMPLOYEES}/{auditor}/leave", json=last_day, headers=admin)
    assert left.status_code == 200


async def test_whoever_has_reports_is_a_manager(directory: Any, admin: Headers) -> None:
    boss = await directory.employed(admin, "boss@example.com", password=PASSWORD)
    await directory.employed(admin, "anna@example.com", manager_id=boss)
    who = await directory.sign_in("boss@example.com", PASSWORD)
    assert (await directory.client.get("/api/v1/me", headers=who)).json()["roles"] == ["employee", "manager"]


async def test_employees_are_found_by_address_name_and_place_page_by_page(directory: Any, admin: Headers) -> None:
    boss = await directory.employed(admin, "boss@example.com", family_name="Zimmer")
    made = await directory.client.post("/api/v1/departments", json={"name": "Sales"}, headers=admin)
    sales = made.json()["id"]
    for name in ("anna", "ben", "cleo"):
        await directory.employed(
            admin, f"{name}@example.com", family_name="Arendt", manager_id=boss, department_id=sales
        )

    async def found(**filters: Any) -> list[str]:
        answer = await directory.client.get(EMPLOYEES, params=filters, headers=admin)
        assert answer.status_code == 200, answer.text
        return [one["given_name"] for one in answer.json()["items"]]

    assert await found(q="BEN@example.com") == ["Ben"]
    assert await found(q="aren") == ["Anna", "Ben", "Cleo"]
    assert await found(q="100%") == []
    everybody = (await directory.client.get(EMPLOYEES, params={"q": "aren"}, headers=admin)).json()["items"]
    assert await found(id=[one["id"] for one in everybody[:2]] + ["nobody"]) == ["Anna", "Ben"]
    assert await found(department=sales) == await found(manager=boss) == ["Anna", "Ben", "Cleo"]
    assert await found(status="active") == ["First"]
    first = (await directory.client.get(EMPLOYEES, params={"limit": 3}, headers=admin)).json()
    rest = {"limit": 3, "cursor": first["next_cursor"]}
    second = (await directory.client.get(EMPLOYEES, params=rest, headers=admin)).json()
    names = [one["family_name"] for page in (first, second) for one in page["items"]]
    assert names == ["Administrator", "Arendt", "Arendt", "Arendt", "Zimmer"]
    assert second["next_cursor"] is None


async def test_a_person_who_moved_is_listed_where_they_are_now(directory: Any, admin: Headers) -> None:
    anna = await directory.employed(admin, "anna@example.com")
    made = await directory.client.post("/api/v1/departments", json={"name": "Sales"}, headers=admin)
    await patch(directory, admin, anna, department_id=made.json()["id"])
    before = {"department": directory.organisation["department_id"]}
    listed = (await directory.client.get(EMPLOYEES, params=before, headers=admin)).json()["items"]
    assert anna not in {one["id"] for one in listed}


async def test_odd_ids_are_malformed_and_unknown_ones_are_not_found(directory: Any, admin: Headers) -> None:
    assert (await directory.client.get(f"{EMPLOYEES}/é", headers=admin)).status_code == 400
    assert (await directory.client.get(f"{EMPLOYEES}/nobody", headers=admin)).status_code == 404
    assert (await patch(directory, admin, "nobody", cost_centre="1")).status_code == 404


async def test_null_clears_a_manager_and_nothing_else(directory: Any, admin: Headers) -> None:
    boss = await directory.employed(admin, "boss@example.com")
    anna = await directory.employed(admin, "anna@example.com", manager_id=boss)
    assert (await patch(directory, admin, anna, manager_id=None)).json()["manager_id"] is None
    assert (await patch(directory, admin, anna, department_id=None)).status_code == 400
