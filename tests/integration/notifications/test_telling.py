"""Telling people: inbox, mails, preferences, erasure, and a mail server that is away."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import SecretStr
from tests.integration.notifications.conftest import address, around, leave_confirmed

from lms.kernel.execution import UnitOfWork
from lms.kernel.ids import new_id
from lms.notifications.commands.telling import tell
from lms.notifications.decider import Notice
from lms.notifications.streams import due
from lms.notifications.upstream import CaseClosed, LeaveRefused

pytestmark = pytest.mark.servers


async def test_the_approver_and_then_the_employee_are_told_in_the_inbox_and_by_mail(notifications: Any) -> None:
    anna, ben = await notifications.hire(), await notifications.hire("Ben Berg")
    request = await notifications.asked(anna, ben)
    (entry,) = (await notifications.get(ben))["items"]
    assert (entry["kind"], entry["title"]) == ("approval-asked", "Anna Arnold asks for leave")
    assert "annual leave from 2026-04-01 to 2026-04-02" in entry["text"]
    assert (entry["request_id"], entry["read"]) == (request, False)
    await notifications.confirmed(anna, request)
    assert await notifications.kinds(anna) == ["leave-confirmed"]
    await notifications.send()
    assert notifications.subjects(ben) == ["Anna Arnold asks for leave"]
    (mail,) = notifications.sink.mails(address(anna))
    assert (mail.subject, "Hello Anna Arnold" in mail.text) == ("Your leave is confirmed", True)
    assert await notifications.mails(anna) == [("sent", None)]


async def test_a_fact_that_comes_twice_is_told_once(notifications: Any) -> None:
    anna = await notifications.hire()
    request = await notifications.asked(anna)
    fact = leave_confirmed(request, anna)
    envelope = around("leave-book", 9, fact)
    await notifications.deliver(envelope, fact)
    await notifications.deliver(envelope, fact)
    await notifications.send()
    await notifications.send()
    assert await notifications.kinds(anna) == ["leave-confirmed"]
    assert notifications.subjects(anna) == ["Your leave is confirmed"]


async def test_everybody_in_hr_is_told_of_what_hr_is_asked_but_not_of_their_own_leave(notifications: Any) -> None:
    hanna, hugo = await notifications.hire("Hanna", "employee", "hr"), await notifications.hire("Hugo", "hr")
    await notifications.asked(hugo, group="hr")
    assert await notifications.kinds(hanna) == ["approval-asked"]
    assert await notifications.kinds(hugo) == []


async def test_the_reason_of_a_refusal_is_shown_and_is_stored_only_sealed(notifications: Any) -> None:
    anna = await notifications.hire()
    request = await notifications.asked(anna)
    reason = await notifications.runtime.keyring.seal(anna, "Quarter end")
    refused = LeaveRefused(
        request_id=request, revision=1, employee_id=anna, leave_type="annual", code="rejected",
        standing_revision=None, reason=reason,
    )  # fmt: skip
    await notifications.tell(f"leave-book-{anna}", refused)
    (entry,) = (await notifications.get(anna))["items"]
    assert "Your approver has rejected it." in entry["text"]
    assert "The reason given: Quarter end" in entry["text"]
    async with notifications.runtime.database.read() as connection:
        for table in ("inbox", "mails", "people"):
            rows = await connection.exec_driver_sql(f"SELECT * FROM {table}")  # noqa: S608  # our own tables
            assert "Quarter" not in str(rows.all())
            assert "Arnold" not in str(rows.all())


async def test_the_unread_count_follows_reading_also_without_redis(notifications: Any) -> None:
    anna = await notifications.hire()
    for _ in range(3):
        await notifications.confirmed(anna, await notifications.asked(anna))
    shown = await notifications.get(anna, limit=2)
    assert (shown["unread"], len(shown["items"])) == (3, 2)
    rest = await notifications.get(anna, limit=2, cursor=shown["next_cursor"])
    assert (len(rest["items"]), rest["next_cursor"]) == (1, None)
    first = shown["items"][0]["id"]
    read = await notifications.client.post(f"/api/v1/notifications/{first}/read", headers=notifications.headers(anna))
    assert read.status_code == 204
    assert (await notifications.get(anna, unread=True))["unread"] == 2
    await notifications.runtime.redis.flushdb()
    assert (await notifications.get(anna))["unread"] == 2
    await notifications.client.post("/api/v1/notifications/read-all", headers=notifications.headers(anna))
    shown = await notifications.get(anna, unread=True)
    assert (shown["unread"], shown["items"]) == (0, [])


async def test_nobody_reads_for_somebody_else(notifications: Any) -> None:
    anna, ben = await notifications.hire(), await notifications.hire("Ben Berg")
    await notifications.confirmed(anna, await notifications.asked(anna))
    entry = (await notifications.get(anna))["items"][0]["id"]
    answer = await notifications.client.post(f"/api/v1/notifications/{entry}/read", headers=notifications.headers(ben))
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-notification")
    assert (await notifications.get(ben))["items"] == []


async def test_who_wants_no_mail_of_a_kind_still_finds_it_in_the_inbox(notifications: Any) -> None:
    anna = await notifications.hire()
    headers = notifications.headers(anna)
    shown = await notifications.client.get("/api/v1/notifications/preferences", headers=headers)
    assert shown.json()["channels"]["leave-confirmed"] == {"in_app": True, "email": True}
    assert shown.headers["ETag"] == '"0"'
    body = {"channels": {"leave-confirmed": {"email": False}}}
    url = "/api/v1/notifications/preferences"
    chosen = await notifications.client.put(url, json=body, headers={**headers, "If-Match": '"0"'})
    assert (chosen.status_code, chosen.headers["ETag"]) == (200, '"1"')
    stale = await notifications.client.put(url, json=body, headers={**headers, "If-Match": '"0"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "stale-preferences")
    await notifications.confirmed(anna, await notifications.asked(anna))
    assert await notifications.kinds(anna) == ["leave-confirmed"]
    assert await notifications.mails(anna) == []
    again = {"channels": {"leave-confirmed": {"email": True}}}
    chosen = await notifications.client.put(url, json=again, headers=headers)
    assert chosen.json()["channels"]["leave-confirmed"]["email"]


async def test_an_erased_person_is_forgotten_and_told_nothing_more(notifications: Any) -> None:
    anna, ben = await notifications.hire(), await notifications.hire("Ben Berg")
    request = await notifications.asked(anna, ben)
    await notifications.confirmed(anna, request)
    await notifications.erase(anna)
    assert await notifications.mails(anna) == [("dropped", "erased")]
    await notifications.confirmed(anna, request)
    await notifications.send()
    assert await notifications.kinds(anna) == []
    assert notifications.subjects(anna) == []
    (entry,) = (await notifications.get(ben))["items"]
    assert entry["title"] == "A former colleague asks for leave"


async def test_a_mail_to_somebody_whose_key_is_gone_is_dropped(notifications: Any) -> None:
    anna = await notifications.hire()
    await notifications.confirmed(anna, await notifications.asked(anna))
    async with notifications.runtime.database.transaction() as connection:
        await notifications.runtime.keyring.destroy(connection, anna)
    await notifications.send()
    assert await notifications.mails(anna) == [("dropped", "erased")]
    assert notifications.subjects(anna) == []


async def test_mail_waits_for_a_mail_server_that_is_away_and_facts_do_not(notifications: Any) -> None:
    anna = await notifications.hire()
    port = notifications.runtime.settings.smtp_port
    await notifications.sink.stop()
    await notifications.confirmed(anna, await notifications.asked(anna))
    await notifications.send()
    assert await notifications.mails(anna) == [("pending", "SMTPConnectError")]
    assert await notifications.kinds(anna) == ["leave-confirmed"]
    await notifications.send()  # its pause is not over
    await notifications.sink.start(port)
    await notifications.send_again()
    assert await notifications.mails(anna) == [("sent", None)]
    assert notifications.subjects(anna) == ["Your leave is confirmed"]


async def test_a_mail_is_given_up_after_its_attempts_and_an_administrator_has_it_tried_again(
    notifications: Any,
) -> None:
    anna = await notifications.hire()
    port = notifications.runtime.settings.smtp_port
    notifications.runtime.settings = notifications.runtime.settings.model_copy(update={"mail_attempts": 2})
    await notifications.sink.stop()
    await notifications.confirmed(anna, await notifications.asked(anna))
    await notifications.send()
    await notifications.send_again()
    assert await notifications.mails(anna) == [("failed", "SMTPConnectError")]
    (failed,) = (await notifications.get("root", "/mails/failed", "admin"))["items"]
    assert (failed["reason"], failed["attempts"]) == ("SMTPConnectError", 2)
    await notifications.sink.start(port)
    url, headers = "/api/v1/notifications/mails/retry", notifications.headers("root", "admin")
    assert (await notifications.client.post(url, headers=notifications.headers(anna))).status_code == 403
    assert (await notifications.client.post(url, headers=headers)).json() == {"retried": 1}
    await notifications.send()
    assert notifications.subjects(anna) == ["Your leave is confirmed"]


async def test_a_mail_waits_until_it_is_known_how_its_person_is_reached(notifications: Any) -> None:
    stranger = new_id()
    await notifications.confirmed(stranger, await notifications.asked(stranger))
    await notifications.send()
    assert await notifications.mails(stranger) == [("pending", "no address is known")]


async def test_a_mail_server_that_wants_no_encryption_gets_no_mail_where_it_is_required(notifications: Any) -> None:
    anna = await notifications.hire()
    required = {"smtp_starttls": "required", "smtp_pass": SecretStr("")}
    notifications.runtime.settings = notifications.runtime.settings.model_copy(update=required)
    await notifications.confirmed(anna, await notifications.asked(anna))
    await notifications.send()
    ((status, _),) = await notifications.mails(anna)
    assert (status, notifications.subjects(anna)) == ("pending", [])


async def test_an_approver_is_told_that_a_request_was_withdrawn(notifications: Any) -> None:
    anna, ben = await notifications.hire(), await notifications.hire("Ben Berg")
    request = await notifications.asked(anna, ben)
    closed = CaseClosed(request_id=request, revision=1, employee_id=anna, cause="cancelled")
    await notifications.tell(f"approval-case-{request}.1", closed)
    assert await notifications.kinds(ben) == ["case-withdrawn", "approval-asked"]


async def test_who_lets_a_case_wait_is_reminded_once_a_period_and_has_a_digest_a_day(notifications: Any) -> None:
    anna, ben = await notifications.hire(), await notifications.hire("Ben Berg")
    request = await notifications.asked(anna, ben)
    settings = notifications.runtime.settings

    async def found(uow: UnitOfWork) -> list[Notice]:
        return await due(uow, settings)

    assert [one.kind for one in await notifications.runtime.executor.run(found)] == ["approval-digest"]
    notifications.clock.advance(timedelta(hours=50))
    notices = await notifications.runtime.executor.run(found)
    assert sorted(one.kind for one in notices) == ["approval-digest", "approval-reminder"]
    for _ in range(2):
        await notifications.runtime.executor.run(partial(tell, found=notices))
    assert await notifications.runtime.executor.run(found) == []
    assert await notifications.kinds(ben) == ["approval-reminder", "approval-asked"]
    await notifications.send()
    assert sorted(notifications.subjects(ben)) == [
        "1 request waits for your decision",
        "Anna Arnold asks for leave",
        "Anna Arnold still waits for your decision",
    ]
    closed = CaseClosed(request_id=request, revision=1, employee_id=anna, cause="cancelled")
    await notifications.tell(f"approval-case-{request}.1", closed)
    notifications.clock.advance(timedelta(days=10))
    assert await notifications.runtime.executor.run(found) == []


async def test_who_wants_no_digest_is_not_due_for_one(notifications: Any) -> None:
    anna, ben = await notifications.hire(), await notifications.hire("Ben Berg")
    await notifications.asked(anna, ben)
    off = {"channels": {"approval-digest": {"email": False}}}
    url = "/api/v1/notifications/preferences"
    assert (await notifications.client.put(url, json=off, headers=notifications.headers(ben))).is_success

    async def found(uow: UnitOfWork) -> list[Notice]:
        return await due(uow, notifications.runtime.settings)

    assert await notifications.runtime.executor.run(found) == []


async def test_a_notice_is_told_once_whatever_its_text_says_later(notifications: Any) -> None:
    anna = await notifications.hire()
    notice = Notice(anna, "digest.2026-03-02", "approval-digest", facts={"count": "1", "oldest": "2026-03-01"})
    other = replace(notice, facts={"count": "2", "oldest": "2026-03-01"})
    for one in (notice, other):
        await notifications.runtime.executor.run(partial(tell, found=[one]))
    assert await notifications.mails(anna) == [("pending", None)]
