"""A list reads what it shows, and not the whole company: counted in rows, for a clock would tell of the machine."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.schemas import migrated

from lms.approvals.main import SERVICE as APPROVALS
from lms.approvals.projections import approver_inbox
from lms.audit import store as audit_log
from lms.audit.main import SERVICE as AUDIT
from lms.directory import store as people_store
from lms.directory.main import SERVICE as DIRECTORY
from lms.directory.projections import employees
from lms.kernel.database import Database
from lms.kernel.service import Service
from lms.requests.main import SERVICE as REQUESTS
from lms.requests.projections import employees as asking_people
from lms.requests.projections import leave_requests, payroll_lines

Rows = Mapping[Table, Sequence[Mapping[str, Any]]]

PEOPLE = [f"e{number:05}" for number in range(3_000)]
EACH = 4
"""Requests, cases and lines of each person."""

LIMIT = 20
FEW = 300
"""Rows: some for each one shown. Whoever reads more has read those of others."""

TODAY, NOW = date(2026, 6, 1), datetime(2026, 6, 1, 12, tzinfo=UTC).replace(tzinfo=None)


@pytest.fixture
def filled(database_url: Callable[[str], str]) -> Callable[..., Any]:
    """Return what gives a connection to a service's schema with rows in its tables."""

    @asynccontextmanager
    async def fill(service: Service, rows: Rows) -> AsyncIterator[AsyncConnection]:
        url = database_url(f"lists_{service.name}")
        database = Database(url)
        async with database.transaction() as connection:
            for schema in {table.schema for table in rows if table.schema}:
                await connection.execute(text(f"CREATE DATABASE IF NOT EXISTS {schema}"))
        migrated(service, url)
        async with database.transaction() as connection:
            for table, values in rows.items():
                await connection.execute(text(f"DELETE FROM {table.fullname}"))  # noqa: S608  # our own names
                await connection.execute(insert(table), values)
        async with database.read() as connection:
            for table in rows:
                await connection.execute(text(f"ANALYZE TABLE {table.fullname}"))
            yield connection
        await database.close()

    return fill


async def rows_read(connection: AsyncConnection, look: Callable[[], Awaitable[Sequence[Any]]]) -> int:
    """Return how many rows the database reads for a list; it is looked at twice, for what is only done once."""

    async def so_far() -> int:
        found = await connection.execute(text("SHOW SESSION STATUS LIKE 'Handler_read%'"))
        return sum(int(row[1]) for row in found)

    await look()
    before = await so_far()
    assert await look()
    return await so_far() - before


def request_rows() -> list[dict[str, Any]]:
    """Return everybody's requests, in the order of their ids one of each person after the other."""
    return [
        {
            "generation": 1, "request_id": f"r{turn:02}{person}", "revision": 1, "employee_id": person,
            "start_date": TODAY + timedelta(days=turn), "end_date": TODAY + timedelta(days=turn),
            "leave_type": "annual", "start_part": "full", "end_part": "full", "from_time": None, "to_time": None,
            "days": "[]", "entitlement_minutes": 480, "scheduled_minutes": 480, "reason": None, "requested_by": person,
            "recorded_at": NOW, "status": "approved" if turn else "pending", "code": None, "shown": True,
            "settled": True, "open_revision": None, "updated_at": NOW, "version": 1,
        }
        for turn in range(EACH)
        for person in PEOPLE
    ]  # fmt: skip


@pytest.mark.parametrize("sort", ["-id", "id", "start_date", "-start_date"])
@pytest.mark.parametrize("narrowed", [{}, {"statuses": ["pending"]}, {"since": TODAY, "until": TODAY}])
@pytest.mark.parametrize("people", [PEOPLE[7:8], PEOPLE[100:110]])
async def test_the_requests_of_a_few_people_are_read_by_their_index(
    filled: Callable[..., Any], people: list[str], narrowed: dict[str, Any], sort: leave_requests.Sort
) -> None:
    criteria = leave_requests.Criteria(employee_ids=people, **narrowed)
    async with filled(REQUESTS, {leave_requests.leave_requests: request_rows()}) as connection:
        read = await rows_read(connection, lambda: leave_requests.find(connection, criteria, sort=sort, limit=LIMIT))
    assert read < FEW


async def test_a_page_far_behind_is_read_from_where_it_begins(filled: Callable[..., Any]) -> None:
    columns = payroll_lines.payroll_lines.columns
    rows = [
        {
            **{one.name: _anything(one.type.python_type) for one in columns},
            "generation": 1, "employee_id": person, "version": turn + 1, "line": 1, "period": "2026-05",
        }
        for person in PEOPLE
        for turn in range(EACH)
    ]  # fmt: skip
    async with filled(REQUESTS, {payroll_lines.payroll_lines: rows}) as connection:
        read = await rows_read(
            connection,
            lambda: payroll_lines.of_period(
                connection, "2026-05", employee_id=None, after=(PEOPLE[-100], 1, 1), limit=LIMIT
            ),
        )
    assert read < FEW


def _anything(kind: type) -> Any:
    return {str: "x", int: 1, bool: True, date: TODAY, datetime: NOW}.get(kind)


@pytest.mark.parametrize("criteria", [{}, {"current_only": True}, {"manager_id": PEOPLE[0]}])
@pytest.mark.parametrize("after", [None, ("Family 01500", "Ada", "")])
async def test_people_are_read_in_the_order_of_their_names(
    filled: Callable[..., Any], criteria: dict[str, Any], after: tuple[str, str, str] | None
) -> None:
    held: dict[str, str | None] = {
        "department": "d", "location": "l", "manager": None, "schedule": "s", "cost_centre": "c",
    }  # fmt: skip
    rows = {
        people_store.people: [
            {
                "employee_id": person, "given_name": "Ada", "family_name": f"Family {person[1:]}", "email": "sealed",
                "email_hmac": person, "password_hash": None, "status": "active", "created_at": NOW,
            }
            for person in PEOPLE
        ],
        employees.employees: [
            {
                "generation": 1, "employee_id": person, "employed_from": date(2020, 1, 1), "last_day": None,
                "roles": "employee", "version": 1,
            }
            for person in PEOPLE
        ],
        employees.assignments: [
            {
                "generation": 1, "employee_id": person, "kind": kind, "effective_from": date(2020, 1, 1),
                "value": PEOPLE[0] if kind == "manager" and person in PEOPLE[-9:] else value,
            }
            for person in PEOPLE
            for kind, value in held.items()
        ],
    }  # fmt: skip
    async with filled(DIRECTORY, rows) as connection:
        wanted = employees.Criteria(**criteria)
        read = await rows_read(connection, lambda: employees.find(connection, wanted, TODAY, limit=LIMIT, after=after))
    assert read < FEW


def case_rows(status_of: Callable[[int], approver_inbox.Status]) -> Rows:
    """Return everybody's cases, of which a hundred people's each are put before one manager."""
    return {
        approver_inbox.cases: [
            {
                "generation": 1, "request_id": f"r{turn:02}{person}", "revision": 1, "employee_id": person,
                "leave_type": "annual", "kind": "request", "start_date": TODAY, "end_date": TODAY, "days_minutes": 480,
                "group_name": None, "status": status_of(turn), "decided_by": None, "on_behalf_of": None,
                "opened_at": NOW, "updated_at": NOW,
            }
            for turn in range(EACH)
            for person in PEOPLE
        ],
        approver_inbox.assignees: [
            {"generation": 1, "request_id": f"r{turn:02}{person}", "revision": 1, "assignee_id": f"m{person[1:4]}"}
            for turn in range(EACH)
            for person in PEOPLE
        ],
    }  # fmt: skip


async def test_the_open_cases_of_somebody_are_read_by_their_indexes(filled: Callable[..., Any]) -> None:
    async with filled(APPROVALS, case_rows(lambda _: "pending")) as connection:
        read = await rows_read(connection, lambda: approver_inbox.open_cases(connection, {PEOPLE[7], "m012"}))
    assert read < 8 * 100 * EACH, "the manager's own, and not those of all thirty"


@pytest.mark.parametrize("statuses", [None, {"pending"}, {"pending", "approved"}])
async def test_the_inbox_of_a_stand_in_is_read_by_the_indexes(filled: Callable[..., Any], statuses: Any) -> None:
    viewer = approver_inbox.Viewer("m007", in_hr=False, stands_in_for=frozenset({"m012"}))
    theirs = 2 * 100 * EACH  # each manager has a hundred people; all thirty have fifteen times as many
    async with filled(APPROVALS, case_rows(lambda turn: "approved" if turn else "pending")) as connection:
        read = await rows_read(
            connection, lambda: approver_inbox.inbox(connection, viewer, statuses=statuses, limit=LIMIT)
        )
    assert read < 6 * theirs


@pytest.mark.parametrize("after", [None, ("2026-01-02T00:40:00.000000Z", 9_600)])
@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"since": datetime(2026, 1, 2, tzinfo=UTC)},
        {"since": datetime(2026, 1, 2, tzinfo=UTC), "until": datetime(2026, 1, 3, tzinfo=UTC)},
        {"resource": "stream-9700"},
    ],
)
async def test_the_audit_log_is_read_from_the_time_that_is_asked_for(
    filled: Callable[..., Any], criteria: dict[str, Any], after: tuple[str, int] | None
) -> None:
    began = datetime(2025, 12, 26, tzinfo=UTC)
    rows = [
        {
            **{one.name: _anything(one.type.python_type) for one in audit_log.records.columns},
            "position": number, "headers": "[]", "payload": None, "event_id": f"event-{number}",
            "stream": f"stream-{number}", "occurred_at": audit_log.instant_text(began + timedelta(minutes=number)),
        }
        for number in range(1, len(PEOPLE) * EACH)
    ]  # fmt: skip
    async with filled(AUDIT, {audit_log.records: rows}) as connection:
        wanted = audit_log.Criteria(**criteria)
        read = await rows_read(connection, lambda: audit_log.find(connection, wanted, after=after, limit=LIMIT))
    assert read < FEW


@pytest.mark.parametrize(("location", "after"), [("branch", ""), ("branch", PEOPLE[2_000]), ("office", PEOPLE[1_500])])
@pytest.mark.parametrize("day", [None, TODAY])
async def test_whose_leave_is_charged_anew_is_read_batch_by_batch(
    filled: Callable[..., Any], location: str, after: str, day: date | None
) -> None:
    rows = {
        leave_requests.leave_requests: request_rows(),
        asking_people.assignments: [
            {
                "generation": 1, "employee_id": person, "kind": "location", "effective_from": date(2020, 1, 1),
                "value": "branch" if person.endswith("00") else "office",
            }
            for person in PEOPLE
        ],
    }  # fmt: skip

    async with filled(REQUESTS, rows) as connection:

        async def batch() -> list[str]:
            people = await asking_people.ever_at_after(connection, [location], after, LIMIT)
            return await leave_requests.absent_among(connection, people, day, day)

        read = await rows_read(connection, batch)
    assert read < 100 * LIMIT, "each person of the batch, in each status and partition, and nobody else"
