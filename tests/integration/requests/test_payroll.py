"""What payroll is told, on a real database: every path of the leave book, the months, and who may look and close."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.auth import TokenSigner
from lms.kernel.consistency import polled
from lms.kernel.consumer import NotYetKnown
from lms.kernel.eventstore import Causality
from lms.kernel.execution import UnitOfWork
from lms.kernel.schema import events, outbox
from lms.kernel.verify import Evidence
from lms.requests import commands, store
from lms.requests.decider.book import RecordApproval
from lms.requests.events import PAYROLL_TOPIC
from lms.requests.invariants import INVARIANTS
from lms.requests.projections.employees import cost_centres
from lms.requests.projections.leave_types import leave_types
from lms.requests.upstream import EmployeeCostCentreChanged, LeaveTypeChanged

pytestmark = pytest.mark.servers

PAT = "pat"
Day = tuple[str, int, str, str | None]


async def lines(requests: Any, employee_id: str) -> list[list[Day]]:
    """Return each of an employee's payroll facts: day, entitlement minutes, period, original period of its lines."""
    return [
        [(str(one.date), one.entitlement_minutes, one.period, one.original_period) for one in recorded.event.lines]
        for recorded in await requests.log_of(employee_id, "absences")
    ]


async def kinds(requests: Any, employee_id: str) -> list[str]:
    return [recorded.event.TYPE for recorded in await requests.log_of(employee_id, "absences")]


async def close(requests: Any, period: str, **headers: str) -> Any:
    return await requests.post(f"payroll/periods/{period}/close", PAT, roles=("payroll",), headers=headers)


async def breaches(requests: Any) -> list[str]:
    """Return what the service's invariants find, those of payroll and all others that need no Kafka."""
    found: list[str] = []
    async with requests.runtime.database.snapshot() as connection:
        for invariant in INVARIANTS:
            if invariant.__name__ != "every_answer_has_moved_its_request_on":
                evidence = Evidence(connection, requests.runtime.store, "127.0.0.1:9", None)
                found += [breach async for breach in invariant(evidence)]
    return found


def at(requests: Any, day: str) -> None:
    requests.clock.advance(date.fromisoformat(day) - requests.clock.today())


# Every path of the leave book -----------------------------------------------------------------------------------------


async def test_payroll_hears_of_leave_when_it_is_confirmed_and_not_before(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-04-30", "2026-05-04")
    await requests.reserved(request)
    assert await lines(requests, anna) == []
    await requests.approved(request)
    (recorded,) = await requests.log_of(anna, "absences")
    assert recorded.event.TYPE == "absence.confirmed"
    assert recorded.event.absence_id == request["id"]
    assert await lines(requests, anna) == [[("2026-04-30", 480, "2026-04", None), ("2026-05-04", 480, "2026-05", None)]]
    assert {(one.pay_code, one.paid, one.cost_centre) for one in recorded.event.lines} == {("ANN", True, "4100")}
    assert set(recorded.envelope.prerequisites) == {
        ("leave.directory.v1", f"employee-{anna}", 1),
        ("leave.balances.v1", "leave-type-annual", 1),
    }
    assert await breaches(requests) == []


async def test_leave_that_is_refused_or_cancelled_before_its_confirmation_is_never_told(requests: Any) -> None:
    anna = await requests.hire()
    refused, insufficient, cancelled = [await requests.ask(anna, f"2026-05-0{day}") for day in (4, 5, 6)]
    await requests.reserved(refused)
    await requests.rejected(refused, "no")
    await requests.insufficient(insufficient)
    await requests.post(f"leave-requests/{cancelled['id']}/cancel", anna)
    await requests.reserved(cancelled)
    assert await lines(requests, anna) == []


async def test_a_confirmed_amendment_is_a_correction_and_a_refused_one_is_nothing(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-05-04", "2026-05-05")
    await requests.post(f"leave-requests/{request['id']}/amend", anna, end_date="2026-05-06")
    await requests.reserved(request, 2)
    await requests.rejected(request, "no", 2)
    assert await kinds(requests, anna) == ["absence.confirmed"]
    await requests.post(f"leave-requests/{request['id']}/amend", anna, start_date="2026-05-05", end_date="2026-05-06")
    await requests.reserved(request, 3)
    await requests.approved(request, 3)
    assert await kinds(requests, anna) == ["absence.confirmed", "absence.corrected"]
    assert (await lines(requests, anna))[1] == [
        ("2026-05-04", -480, "2026-05", None), ("2026-05-06", 480, "2026-05", None),
    ]  # fmt: skip
    assert await breaches(requests) == []


async def test_cancelled_days_and_cancelled_leave_are_taken_back(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-05-04", "2026-05-06")
    await requests.post(f"leave-requests/{request['id']}/cancel", anna, dates=["2026-05-05"])
    await requests.reserved(request, 2)
    await requests.approved(request, 2, by=None)
    await requests.post(f"leave-requests/{request['id']}/cancel", anna)
    assert await kinds(requests, anna) == ["absence.confirmed", "absence.corrected", "absence.revoked"]
    assert (await lines(requests, anna))[1:] == [
        [("2026-05-05", -480, "2026-05", None)],
        [("2026-05-04", -480, "2026-05", None), ("2026-05-06", -480, "2026-05", None)],
    ]
    assert await breaches(requests) == []


async def test_begun_leave_is_taken_back_when_its_cancellation_is_approved(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-03-02", "2026-03-03")
    await requests.post(f"leave-requests/{request['id']}/cancel", anna)
    assert await kinds(requests, anna) == ["absence.confirmed"]
    await requests.approved(request, 2)
    assert await kinds(requests, anna) == ["absence.confirmed", "absence.revoked"]
    assert await breaches(requests) == []


async def test_an_amendment_that_was_open_when_leave_is_cancelled_takes_back_what_stood(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-05-04")
    await requests.post(f"leave-requests/{request['id']}/amend", anna, end_date="2026-05-06")
    await requests.reserved(request, 2)
    await requests.post(f"leave-requests/{request['id']}/cancel", anna)
    await requests.approved(request, 2)
    assert await lines(requests, anna) == [
        [("2026-05-04", 480, "2026-05", None)], [("2026-05-04", -480, "2026-05", None)],
    ]  # fmt: skip


async def test_a_cost_centre_counts_from_its_day_on_and_a_pay_code_from_now_on(requests: Any) -> None:
    anna = await requests.hire()
    moved = EmployeeCostCentreChanged(employee_id=anna, cost_centre="4200 Süd", effective_from=date(2026, 5, 5))
    await requests.tell(f"employee-{anna}", moved)
    before = await requests.confirmed(anna, "2026-05-04", "2026-05-05")
    changed = LeaveTypeChanged(
        leave_type="annual", name="annual", unit="half-day", paid=False, pay_code="A2", needs_approval=True,
        attachment_after_days=None, min_notice_days=0, max_length_days=None, reason_visible_to=(),
    )  # fmt: skip
    await requests.tell("leave-type-annual", changed)
    await requests.confirmed(anna, "2026-05-06")
    await requests.post(f"leave-requests/{before['id']}/cancel", anna)
    told = [
        [(str(one.date), one.pay_code, one.paid, one.cost_centre) for one in recorded.event.lines]
        for recorded in await requests.log_of(anna, "absences")
    ]
    first = [("2026-05-04", "ANN", True, "4100"), ("2026-05-05", "ANN", True, "4200 Süd")]
    assert told == [first, [("2026-05-06", "A2", False, "4200 Süd")], first]


@pytest.mark.parametrize("lost", ["pay code", "cost centre"])
async def test_a_confirmation_is_held_while_it_is_not_known_how_the_absence_is_paid(requests: Any, lost: str) -> None:
    """So it is after an upgrade, until the views are rebuilt that an older release wrote."""
    anna = await requests.hire()
    request = await requests.ask(anna, "2026-05-04")
    await requests.reserved(request)
    async with requests.runtime.database.transaction() as connection:
        if lost == "pay code":
            await connection.execute(update(leave_types).values(pay_code=None, paid=None))
        else:
            await connection.execute(cost_centres.delete())
    with pytest.raises(NotYetKnown, match="how annual of"):
        await requests.approved(request)
    assert await kinds(requests, anna) == []
    assert (await requests.shown(anna, request["id"]))["status"] == "pending"


async def test_verify_names_the_day_that_payroll_was_told_wrongly(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-05-04", "2026-05-05")
    async with requests.runtime.database.transaction() as connection:
        (recorded,) = await requests.runtime.store.read(connection, f"absences-{anna}")
        first, second = recorded.event.lines
        wrong = recorded.event.model_copy(
            update={"lines": (first.model_copy(update={"scheduled_minutes": 60}), second)}
        )
        altered = update(events).where(events.c.stream == f"absences-{anna}")
        await connection.execute(altered.values(data=wrong.model_dump_json()))
    assert await breaches(requests) == [
        f"{anna}, 2026-05-04 of {request['id']}: confirmed ('full', 480, 480), told ('full', 480, 60)"
    ]


# The months -----------------------------------------------------------------------------------------------------------


async def test_after_the_close_corrections_go_to_the_next_month_and_name_the_closed_one(requests: Any) -> None:
    anna = await requests.hire()
    request = await requests.confirmed(anna, "2026-03-30", "2026-04-01")
    late = await requests.ask(anna, "2026-03-26")
    await requests.reserved(late)
    at(requests, "2026-03-27")
    answered = await close(requests, "2026-03")
    assert answered.status_code == 200, answered.text
    shown = answered.json()
    assert (shown["state"], shown["closed_by"], shown["line_count"]) == ("closed", PAT, 2)
    assert (shown["entitlement_minutes"], shown["scheduled_minutes"]) == (960, 960)
    await requests.approved(late)
    await requests.post(f"leave-requests/{request['id']}/cancel", anna)
    assert (await lines(requests, anna))[1:] == [
        [("2026-03-26", 480, "2026-04", "2026-03")],
        [
            ("2026-03-30", -480, "2026-04", "2026-03"), ("2026-03-31", -480, "2026-04", "2026-03"),
            ("2026-04-01", -480, "2026-04", None),
        ],
    ]  # fmt: skip
    assert await breaches(requests) == []


async def test_a_close_stands_in_every_partition_and_is_repeated_without_effect(requests: Any) -> None:
    anna = await requests.hire()
    await requests.confirmed(anna, "2026-03-05")
    first = await close(requests, "2026-03", **{"Idempotency-Key": "close-march"})
    again = await close(requests, "2026-03", **{"Idempotency-Key": "close-march"})
    anew = await close(requests, "2026-03")
    assert first.json() == again.json() == anew.json()
    assert (await close(requests, "2026-02")).json()["state"] == "closed"
    (recorded,) = await requests.log_of("monthly", "payroll-calendar")
    assert (recorded.event.period, recorded.event.closed_by, recorded.envelope.actor) == ("2026-03", PAT, PAT)
    async with requests.runtime.database.read() as connection:
        rows = await connection.execute(select(outbox).where(outbox.c.aggregatetype == PAYROLL_TOPIC))
        told, *copies = [(row.type, orjson.loads(row.headers)) for row in rows]
    assert told[0] == "absence.confirmed"
    assert [(kind, int(headers["lms-partition"])) for kind, headers in copies] == [
        ("period.closed", number) for number in range(24)
    ]


@pytest.mark.parametrize(
    ("period", "status", "code"),
    [
        ("2026-04", 422, "period-not-begun"),
        ("2026-13", 400, "malformed"),
        ("march", 400, "malformed"),
        ("2026-03", 409, "period-out-of-order"),
    ],
)
async def test_a_month_that_cannot_be_closed_is_refused(requests: Any, period: str, status: int, code: str) -> None:
    anna = await requests.hire()
    await requests.confirmed(anna, "2026-02-02")
    answered = await close(requests, period)
    assert (answered.status_code, answered.json()["code"]) == (status, code), answered.text
    assert await requests.log_of("monthly", "payroll-calendar") == []


async def test_only_payroll_reads_and_closes(requests: Any) -> None:
    for roles in (("employee",), ("hr", "manager"), ("admin",)):
        for path in ("payroll/absences?period=2026-03", "payroll/periods"):
            assert (await requests.get(path, "ben", *roles)).status_code == 403
        assert (await requests.post("payroll/periods/2026-03/close", "ben", roles=roles)).status_code == 403
    signer = TokenSigner("a3d9f1c2" * 10)
    for scope, reads, closes in (("payroll.read", 200, 403), ("payroll.close", 403, 200), ("accruals.run", 403, 403)):
        headers = {"Authorization": f"Bearer {signer.sign('robot', scopes=[scope])}"}
        found = await requests.client.get("/api/v1/payroll/periods", headers=headers)
        done = await requests.client.post("/api/v1/payroll/periods/2026-03/close", headers=headers)
        assert (found.status_code, done.status_code) == (reads, closes), scope


async def test_a_month_is_read_in_pages_and_by_employee(requests: Any) -> None:
    anna, ben = sorted([await requests.hire(), await requests.hire()])
    await requests.confirmed(ben, "2026-05-04", "2026-05-06")
    await requests.confirmed(anna, "2026-05-06", "2026-05-07", leave_type="sick")
    await requests.confirmed(anna, "2026-06-01")
    shown: list[Any] = []
    query: dict[str, Any] = {"period": "2026-05", "limit": 2}
    while True:
        page = (await requests.get("payroll/absences", PAT, "payroll", **query)).json()
        shown += page["items"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert [(one["employee_id"], one["sequence"], one["line"], one["date"]) for one in shown] == [
        (anna, 1, 1, "2026-05-06"), (anna, 1, 2, "2026-05-07"),
        (ben, 1, 1, "2026-05-04"), (ben, 1, 2, "2026-05-05"), (ben, 1, 3, "2026-05-06"),
    ]  # fmt: skip
    assert (shown[0]["kind"], shown[0]["leave_type"], shown[0]["pay_code"]) == ("confirmed", "sick", "SIC")
    own = (await requests.get("payroll/absences", PAT, "payroll", period="2026-05", employee_id=anna)).json()
    assert own["items"] == shown[:2]
    bad = await requests.get("payroll/absences", PAT, "payroll", period="2026-05", cursor="x")
    assert (bad.status_code, bad.json()["code"]) == (400, "bad-cursor")


async def test_the_months_are_listed_the_closed_ones_first(requests: Any) -> None:
    anna = await requests.hire()
    await requests.confirmed(anna, "2026-02-27", "2026-03-02")
    await requests.confirmed(anna, "2026-05-06")
    await close(requests, "2026-02")
    shown: list[Any] = []
    query: dict[str, Any] = {"limit": 1}
    while True:
        page = (await requests.get("payroll/periods", PAT, "payroll", **query)).json()
        shown += page["items"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert [(one["period"], one["state"], one["line_count"]) for one in shown] == [
        ("2026-02", "closed", 1), ("2026-03", "open", 1), ("2026-05", "open", 1),
    ]  # fmt: skip
    assert shown[0]["closed_at"].endswith("Z")


# Bookings and closes at the same moment -------------------------------------------------------------------------------


@asynccontextmanager
async def unit(requests: Any) -> AsyncIterator[UnitOfWork]:
    """Open a unit of work that commits at the end of the block."""
    async with requests.runtime.database.transaction() as connection:
        yield requests.runtime.executor.unit_of_work(connection, Causality("c", "c"))


async def until_somebody_waits(requests: Any) -> None:
    """Wait until a transaction waits for the lock of another."""

    async def waiting() -> bool | None:
        async with requests.runtime.database.read() as connection:
            row = (await connection.execute(text("SHOW ENGINE INNODB STATUS"))).one()
            return "LOCK WAIT" in row[2] or None

    assert await polled(waiting, 10), "nobody waits"


async def reserved(requests: Any, who: str, first: str) -> dict[str, Any]:
    request: dict[str, Any] = await requests.ask(who, first)
    await requests.reserved(request)
    return request


async def _only_look(connection: AsyncConnection, *, alone: bool = False) -> str | None:
    del alone
    return await store.last_closed(connection)


@pytest.mark.parametrize("held", [True, False])
async def test_a_close_waits_for_those_who_book(requests: Any, monkeypatch: pytest.MonkeyPatch, held: bool) -> None:
    """Without the hold the month is closed over a booking that is under way: the test would notice."""
    if not held:
        monkeypatch.setattr(store, "hold_calendar", _only_look)
    anna = await requests.hire()
    request = await reserved(requests, anna, "2026-03-04")
    async with unit(requests) as uow:
        await commands.record(uow, RecordApproval(request["id"], anna, 1, "ben"))
        closing = asyncio.create_task(close(requests, "2026-03"))
        if held:
            await until_somebody_waits(requests)
            assert not closing.done()
        else:
            await closing
    answered = await closing
    assert answered.json()["line_count"] == (1 if held else 0)
    assert bool(await breaches(requests)) == (not held)


@pytest.mark.parametrize("held", [True, False])
async def test_who_books_waits_for_a_close_and_books_in_the_next_month(
    requests: Any, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    if not held:
        monkeypatch.setattr(store, "hold_calendar", _only_look)
    anna = await requests.hire()
    request = await reserved(requests, anna, "2026-03-04")
    async with unit(requests) as uow:
        await commands.close_period(uow, "2026-03", PAT)
        booking = asyncio.create_task(requests.approved(request))
        if held:
            await until_somebody_waits(requests)
            assert not booking.done()
        else:
            await booking
    await booking
    month = ("2026-04", "2026-03") if held else ("2026-03", None)
    assert await lines(requests, anna) == [[("2026-03-04", 480, *month)]]
    assert bool(await breaches(requests)) == (not held)


async def test_bookings_that_race_closes_are_neither_lost_nor_booked_in_a_closed_month(requests: Any) -> None:
    """Confirmations, corrections and cancellations of many people, while one month after the other is closed."""
    people = [await requests.hire() for _ in range(6)]
    mondays = ("2026-03-09", "2026-04-13", "2026-05-11", "2026-06-08")
    asked = [await reserved(requests, who, day) for who in people for day in mondays]
    standing = [await requests.confirmed(who, f"2026-0{month}-24", f"2026-0{month}-26") for who in people
                for month in (3, 6)]  # fmt: skip
    at(requests, "2026-06-20")
    slots = asyncio.Semaphore(6)

    async def do(work: Callable[[], Any]) -> None:
        async with slots:
            done = await work()
            assert done is None or done.status_code == 200, done.text

    async def cancelled(request: dict[str, Any]) -> None:
        body = {} if request["start_date"] > "2026-06-20" else {"dates": [request["end_date"]]}
        path = f"leave-requests/{request['id']}/cancel"
        answered = await requests.post(path, request["employee_id"], **body)
        assert answered.status_code == 200, answered.text
        if body:
            await requests.reserved(request, 2)
            await requests.approved(request, 2)

    async def closes() -> None:
        for period in ("2026-03", "2026-04", "2026-05", "2026-06"):
            await do(lambda period=period: close(requests, period))  # type: ignore[misc]

    await asyncio.gather(
        *(do(lambda one=one: requests.approved(one)) for one in asked[::2]),  # type: ignore[misc]
        closes(),
        *(do(lambda one=one: cancelled(one)) for one in standing),  # type: ignore[misc]
        *(do(lambda one=one: requests.approved(one)) for one in asked[1::2]),  # type: ignore[misc]
    )
    assert await breaches(requests) == []
    told = [event for who in people for event in await lines(requests, who)]
    assert len(told) == len(asked) + 2 * len(standing)
    assert sum(minutes for event in told for _, minutes, _, _ in event) == 480 * (len(asked) + 2 * len(people))
    await _closes_stand_behind_what_they_close(requests)


async def _closes_stand_behind_what_they_close(requests: Any) -> None:
    """In the outbox, which the relay publishes in its order."""
    closed = ""
    async with requests.runtime.database.read() as connection:
        rows = await connection.execute(
            select(outbox).where(outbox.c.aggregatetype == PAYROLL_TOPIC).order_by(outbox.c.position)
        )
        copies = 0
        for row in rows:
            payload = orjson.loads(row.payload)
            if row.type == "period.closed":
                closed, copies = payload["period"], copies + 1
            else:
                assert all(line["period"] > closed for line in payload["lines"]), payload
        assert copies == 4 * 24
        assert await connection.scalar(select(func.count()).select_from(outbox)) > copies
