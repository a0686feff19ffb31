"""What balances keeps beside events and views: the work list of accrual runs, which policy owns what, cached answers.

Answers of GET /balances are cached in Redis under a key that names the versions of the account and the catalogue, read
from MySQL: a change makes another key, whoever commits when, so that an old answer is never
served and is left to its time to live. Without Redis every answer is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Column, Date, Integer, MetaData, Table, func, select, update
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.balances.events import (
    BalanceCredited,
    BalanceDebited,
    BalanceInsufficient,
    BalanceRecharged,
    BalanceReleased,
    BalanceReserved,
)
from lms.kernel.metrics import CACHE_LOOKUPS, announce_cache
from lms.kernel.schema import events, instant, name

EVERYWHERE = "*"
"""The claim of a policy for all locations."""

BOOKINGS = tuple(
    one.TYPE
    for one in (
        BalanceReserved,
        BalanceInsufficient,
        BalanceReleased,
        BalanceDebited,
        BalanceCredited,
        BalanceRecharged,
    )
)

CACHE = "balances"
announce_cache(CACHE)

_log = structlog.get_logger(__name__)
_metadata = MetaData()

accrual_runs = Table(
    "accrual_runs",
    _metadata,
    Column("through", Date, primary_key=True),
    Column("last_employee_id", name(36), nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("started_at", instant(), nullable=False),
    Column("finished_at", instant(), nullable=True),
)
policy_claims = Table(
    "policy_claims",
    _metadata,
    Column("leave_type", name(60), primary_key=True),
    Column("location_id", name(36), primary_key=True),
    Column("policy_id", name(60), nullable=False),
)


@dataclass(frozen=True)
class AccrualRun:
    """A run over all people: everything due `through` a date is recorded for the first `done` of `total`."""

    through: date
    last_employee_id: str
    done: int
    total: int
    started_at: datetime
    finished_at: datetime | None


async def newest_unbooked(connection: AsyncConnection, streams: Sequence[str]) -> dict[str, int]:
    """Return the version of each account's newest fact that is no booking of leave."""
    at = events.c
    rows = await connection.execute(
        select(at.stream, func.max(at.version))
        .where(at.stream.in_(streams), at.type.not_in(BOOKINGS))
        .group_by(at.stream)
    )
    return {stream: int(version) for stream, version in rows}


async def start_run(
    connection: AsyncConnection, through: date, total: int, now: datetime, *, anew: bool = False
) -> None:
    """Enter a run in the work list; one that has finished starts again, one under way goes on unless `anew`."""
    statement = insert(accrual_runs).values(
        through=through, last_employee_id="", done=0, total=total, started_at=now.replace(tzinfo=None), finished_at=None
    )
    await connection.execute(statement.on_duplicate_key_update(through=statement.inserted.through))
    again = update(accrual_runs).where(accrual_runs.c.through == through)
    if not anew:
        again = again.where(accrual_runs.c.finished_at.is_not(None))
    await connection.execute(
        again.values(last_employee_id="", done=0, total=total, started_at=now.replace(tzinfo=None), finished_at=None)
    )


async def run_of(connection: AsyncConnection, through: date) -> AccrualRun | None:
    """Return the run through a date."""
    row = (await connection.execute(select(accrual_runs).where(accrual_runs.c.through == through))).first()
    return AccrualRun(*row) if row is not None else None


async def newest_runs(connection: AsyncConnection, limit: int = 20) -> list[AccrualRun]:
    """Return the newest runs, newest first."""
    rows = await connection.execute(select(accrual_runs).order_by(accrual_runs.c.through.desc()).limit(limit))
    return [AccrualRun(*row) for row in rows]


async def open_run(connection: AsyncConnection) -> AccrualRun | None:
    """Return the earliest run that has not finished."""
    row = (
        await connection.execute(
            select(accrual_runs).where(accrual_runs.c.finished_at.is_(None)).order_by(accrual_runs.c.through).limit(1)
        )
    ).first()
    return AccrualRun(*row) if row is not None else None


async def advance_run(connection: AsyncConnection, run: AccrualRun, employee_id: str, count: int) -> None:
    """Note that the run is done for `count` more people up to `employee_id`, unless it was restarted meanwhile."""
    await connection.execute(
        update(accrual_runs)
        .where(
            accrual_runs.c.through == run.through,
            accrual_runs.c.started_at == run.started_at,
            accrual_runs.c.last_employee_id < employee_id,
        )
        .values(last_employee_id=employee_id, done=accrual_runs.c.done + count)
    )


async def finish_run(connection: AsyncConnection, run: AccrualRun, now: datetime) -> None:
    """Note that nobody is left to do, unless the run was started again meanwhile."""
    await connection.execute(
        update(accrual_runs)
        .where(accrual_runs.c.through == run.through, accrual_runs.c.started_at == run.started_at)
        .values(finished_at=now.replace(tzinfo=None))
    )


async def claim(connection: AsyncConnection, leave_type: str, location_id: str, policy_id: str) -> str:
    """Claim a leave type at a location (or EVERYWHERE) for a policy; return the policy that has it.

    A policy that is published at the same time waits here for the other's transaction.
    """
    statement = insert(policy_claims).values(leave_type=leave_type, location_id=location_id, policy_id=policy_id)
    await connection.execute(statement.on_duplicate_key_update(policy_id=policy_claims.c.policy_id))
    return str(
        await connection.scalar(
            select(policy_claims.c.policy_id)
            .where(policy_claims.c.leave_type == leave_type, policy_claims.c.location_id == location_id)
            .with_for_update()
        )
    )


def cache_key(employee_id: str, stamp: tuple[int, ...], as_of: date, today: date) -> str:
    """Return the key of an answer that rests on the versions in `stamp`."""
    return f"lms:balances:{employee_id}:{'.'.join(map(str, stamp))}:{as_of}:{today}"


async def cached(redis: Redis, key: str) -> bytes | None:
    """Return an answer that was kept, None without one or without Redis."""
    try:
        found = await redis.get(key)
    except (RedisError, OSError, TimeoutError) as error:
        CACHE_LOOKUPS.labels(CACHE, "away").inc()
        _log.debug("no cached balance: Redis is away", reason=error)
        return None
    CACHE_LOOKUPS.labels(CACHE, "miss" if found is None else "hit").inc()
    return found.encode() if isinstance(found, str) else found


async def cache(redis: Redis, key: str, answer: bytes, seconds: int) -> None:
    """Keep an answer; without Redis it is simply not kept."""
    try:
        await redis.set(key, answer, ex=seconds)
    except (RedisError, OSError, TimeoutError) as error:
        _log.debug("a balance was not cached: Redis is away", reason=error)
