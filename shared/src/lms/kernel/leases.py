"""Leases of `job_leases`: of all copies of a service, one holder at a time does a piece of work.

The database's clock decides. Whoever dies with a lease loses it when it expires.
"""

from sqlalchemy import func, text
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.schema import job_leases


async def lock(connection: AsyncConnection, job: str) -> None:
    """Let one transaction at a time go on from here: whoever comes later waits until the caller's has ended."""
    # Not IGNORE: its shared lock, made exclusive later, would deadlock with a holder who renews it or gives it back.
    await connection.execute(
        upsert(job_leases).values(job=job, holder="", expires_at=func.now(6)).on_duplicate_key_update(job=job)
    )


async def take(connection: AsyncConnection, job: str, holder: str, seconds: float) -> bool:
    """Take a lease that nobody holds, or renew one's own, for so many seconds; say whether it is the holder's now."""
    await lock(connection, job)
    taken = await connection.execute(
        text(
            "UPDATE job_leases SET holder = :holder, expires_at = NOW(6) + INTERVAL :seconds SECOND"
            " WHERE job = :job AND (expires_at <= NOW(6) OR holder = :holder)"
        ),
        {"job": job, "holder": holder, "seconds": seconds},
    )
    return bool(taken.rowcount)


async def renew(connection: AsyncConnection, job: str, holder: str, seconds: float) -> bool:
    """Renew a lease that nobody has taken over meanwhile, for so many seconds; say whether it is still the holder's."""
    renewed = await connection.execute(
        text(
            "UPDATE job_leases SET expires_at = NOW(6) + INTERVAL :seconds SECOND WHERE job = :job AND holder = :holder"
        ),
        {"job": job, "holder": holder, "seconds": seconds},
    )
    return bool(renewed.rowcount)


async def give_back(connection: AsyncConnection, job: str, holder: str) -> None:
    """Let a lease expire now, if it is still the holder's."""
    await connection.execute(
        text("UPDATE job_leases SET expires_at = NOW(6) WHERE job = :job AND holder = :holder"),
        {"job": job, "holder": holder},
    )
