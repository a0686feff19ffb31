"""Connections to a real database server."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from lms.kernel.database import Database, is_unavailable
from lms.kernel.leases import lock


async def test_who_falls_silent_in_a_transaction_is_waited_for_no_longer_than_is_said_and_who_only_reads_may_be_silent(
    emptied: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process does that was stopped, or whose host has vanished."""
    monkeypatch.setattr("lms.kernel.database.SILENT_TRANSACTION_SECONDS", 1)
    database = Database(emptied("silent"))

    async def falls_silent(locked: asyncio.Event, others: asyncio.Event) -> None:
        async with database.transaction() as connection:
            await lock(connection, "work")
            locked.set()
            await others.wait()
            await connection.execute(text("SELECT 1"))

    locked, others = asyncio.Event(), asyncio.Event()
    silent = asyncio.create_task(falls_silent(locked, others))
    await locked.wait()
    async with database.snapshot() as reader:
        await reader.execute(text("SELECT COUNT(*) FROM job_leases"))
        async with asyncio.timeout(20), database.transaction() as connection:
            await lock(connection, "work")
            await connection.execute(text("SELECT SLEEP(0.5)"))
        await reader.execute(text("SELECT 1"))
    others.set()
    with pytest.raises(DBAPIError) as lost:
        await silent
    assert is_unavailable(lost.value)
    await database.close()
