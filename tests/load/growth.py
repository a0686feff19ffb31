"""What a request costs once there have been very many: in the tables, and in one employee's history.

The past is written straight into the tables of `requests` (facts, snapshot, view, idempotency keys), as it would stand
there; living it would take hours.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count
from typing import Any

import aiohttp
import orjson
import pymysql
from pymysql.cursors import Cursor, DictCursor
from sqlalchemy.engine import make_url
from tests.load.door import Door
from tests.load.measure import Contender, Figure, Section, floor, in_turns, median, rate, ratio
from tests.load.wrk import Unanswered

from lms.kernel.event import Codec
from lms.kernel.eventstore import SNAPSHOT_EVERY
from lms.kernel.ids import new_id
from lms.requests.decider import BOOK
from lms.requests.events import BOOK_EVENTS, LeaveConfirmed

EACH = 20
"""Requests of each of the many who asked before."""

A_YEAR = 25
"""Requests a year of the employee with the longest history: each is asked for, put before the approver, confirmed."""

SINGLES = 40

_ROWS = 2_000


async def grown(door: Door, *, seconds: float, rounds: int, requests: int, years: int) -> Section:
    """Measure POST beside the bare route before and after the tables are filled, then for a long and a new history."""
    url = door.system.url_of("requests")
    few = await _beside_bare(door, url, seconds, rounds)
    with _tables(door) as cursor:
        template = _template(cursor)
        _fill(cursor, template, requests)
    many = await _beside_bare(door, url, seconds, rounds)
    (*_, old, new) = door.people.people
    with _tables(door) as cursor:
        facts = _history(cursor, old.id, template, years)
    singles = await in_turns({"old": _alone(door, url, old.id), "new": _alone(door, url, new.id)}, rounds)
    return Section(
        "What grows",
        f"`POST /api/v1/leave-requests` at the service beside the bare route, with few requests in the tables and with"
        f" {requests:,} more (facts, view, idempotency keys). Then one request after another for somebody with {years}"
        f" years of leave ({facts:,} facts) and for somebody with next to none.",
        (
            Figure(f"POST ÷ bare with {requests:,} requests, over the same with few", many / few, "", floor(0.8),
                   f"{many:.2f} and {few:.2f}"),
            Figure(f"POST for {years} years of history ÷ for none", ratio(singles, "old", "new"), "", floor(0.7),
                   f"{rate(median(singles['old']))} and {rate(median(singles['new']))}"),
        ),
    )  # fmt: skip


async def _beside_bare(door: Door, url: str, seconds: float, rounds: int) -> float:
    contenders = {"service": door.post(url, seconds, drained=False), "bare": door.bare_post(seconds)}
    return ratio(await in_turns(contenders, rounds), "service", "bare")


def _alone(door: Door, url: str, who: str) -> Contender:
    """Return a contender that asks for one person, one request after the other."""
    days = count(600)

    async def measure() -> float:
        headers = {"Authorization": f"Bearer {door.people.tokens[who]}", "Content-Type": "application/json"}
        async with aiohttp.ClientSession(url, headers=headers) as session:
            began = time.perf_counter()
            for number in (next(days) for _ in range(SINGLES)):
                async with session.post(
                    "/api/v1/leave-requests", data=door.people.body(number), headers={"Idempotency-Key": new_id()}
                ) as answer:
                    content = await answer.read()
                    if answer.status != 201:  # created
                        raise Unanswered(f"{answer.status}: {content!r}")
            return SINGLES / (time.perf_counter() - began)

    return measure


# The past -------------------------------------------------------------------------------------------------------------


@contextmanager
def _tables(door: Door) -> Iterator[Cursor]:
    url = make_url(door.database_url)
    connection = pymysql.connect(
        host=url.host or "", port=url.port or 0, user=url.username, password=str(url.password or ""),
        database="lms_requests", cursorclass=DictCursor,
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        yield cursor
        connection.commit()


def _template(cursor: Cursor) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of one request that was asked for and put before its approver."""
    cursor.execute(
        "SELECT v.request_id, v.employee_id FROM leave_requests v WHERE v.settled AND v.status = 'pending' LIMIT 1"
    )
    found: Any = cursor.fetchone()
    cursor.execute("SELECT * FROM leave_requests WHERE request_id = %s", (found["request_id"],))
    view = list(cursor.fetchall())
    cursor.execute("SELECT * FROM events WHERE stream = %s ORDER BY version", (f"leave-book-{found['employee_id']}",))
    events = [one for one in cursor.fetchall() if orjson.loads(one["data"])["request_id"] == found["request_id"]]
    cursor.execute("SELECT * FROM idempotency WHERE status = 201 LIMIT 1")
    return {"leave_requests": view, "events": events, "idempotency": list(cursor.fetchall())}


def _fill(cursor: Cursor, template: dict[str, list[dict[str, Any]]], requests: int) -> None:
    """Let others have asked for so many days before."""
    events: list[dict[str, Any]] = []
    view: list[dict[str, Any]] = []
    keys: list[dict[str, Any]] = []
    for number in range(requests):
        if number % EACH == 0:
            who, version = new_id(), count(1)
        request_id, day = new_id(), date(2021, 1, 4) + timedelta(days=7 * (number % 500))
        (row,) = template["leave_requests"]
        view.append({**row, "request_id": request_id, "employee_id": who, "start_date": day, "end_date": day})
        events += [
            {**event, "stream": f"leave-book-{who}", "version": next(version), "event_id": new_id()}
            for event in template["events"]
        ]
        keys.append({**template["idempotency"][0], "caller": who, "key_": new_id()})
    for table, rows in (("leave_requests", view), ("events", events), ("idempotency", keys)):
        _insert(cursor, table, rows)


def _history(cursor: Cursor, who: str, template: dict[str, list[dict[str, Any]]], years: int) -> int:
    """Let an employee have taken leave for so many years; return how many facts that is."""
    codec = Codec(BOOK_EVENTS)
    kept = template["events"]
    cursor.execute("SELECT COALESCE(MAX(version), 0) AS head FROM events WHERE stream = %s", (f"leave-book-{who}",))
    head: Any = cursor.fetchone()
    facts: list[Any] = []
    for number in range(years * A_YEAR):
        request_id, day = new_id(), date(1985, 1, 7) + timedelta(days=14 * number)
        changes = {"request_id": request_id, "employee_id": who, "start_date": str(day), "end_date": str(day)}
        for event in kept:
            data = orjson.loads(event["data"]) | changes
            data["days"] = [one | {"date": str(day)} for one in data["days"]]
            facts.append(codec.decode(event["type"], event["schema_version"], data))
        facts.append(
            LeaveConfirmed(
                request_id=request_id, revision=1, employee_id=who, leave_type=facts[-1].leave_type,
                days=facts[-1].days, replaces_revision=None, decided_by=None,
            )
        )  # fmt: skip
    first = head["head"] + 1
    _insert(
        cursor,
        "events",
        [
            {**kept[0], "stream": f"leave-book-{who}", "version": version, "event_id": new_id(), "type": fact.TYPE,
             "data": codec.encode(fact)}
            for version, fact in enumerate(facts, start=first)
        ],
    )  # fmt: skip
    until = len(facts) - SNAPSHOT_EVERY // 2
    _insert(
        cursor,
        "snapshots",
        [
            {"stream": f"leave-book-{who}", "evolve_version": BOOK.evolve_version, "version": first + until - 1,
             "state": BOOK.snapshot_adapter.dump_json(BOOK.fold(facts[:until])).decode()}
        ],
    )  # fmt: skip
    return len(facts)


def _insert(cursor: Cursor, table: str, rows: Sequence[dict[str, Any]]) -> None:
    columns = [name for name in rows[0] if name != "global_position"]
    marks = ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(f'`{one}`' for one in columns)}) VALUES ({marks})"  # noqa: S608
    for part in _parts(rows):
        cursor.executemany(statement, [tuple(row[name] for name in columns) for row in part])


def _parts(rows: Sequence[dict[str, Any]]) -> Iterable[Sequence[dict[str, Any]]]:
    return (rows[first : first + _ROWS] for first in range(0, len(rows), _ROWS))
