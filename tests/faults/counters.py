"""Two counters of the same messages, as processes: `python counters.py kernel|faust SUFFIX`.

The kernel's runner counts in MySQL; Faust counts in a Table, whose truth is its changelog.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import faust
from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.dialects.mysql import insert as upsert

from lms.kernel.consumer import Reactor
from lms.kernel.event import Envelope, ForeignEvent
from lms.kernel.execution import UnitOfWork
from lms.kernel.schema import name
from lms.kernel.service import Service, run

PARTITIONS = 6

tables = MetaData()
counts = Table(
    "counts", tables, Column("account", name(80), primary_key=True), Column("messages", Integer, nullable=False)
)


class Ticked(ForeignEvent):
    """Something to count."""

    TYPE: ClassVar[str] = "clock.ticked"
    account: str


async def count(uow: UnitOfWork, fact: Ticked, _: Envelope) -> None:
    """Count a message."""
    insert = upsert(counts).values(account=fact.account, messages=1)
    await uow.connection.execute(insert.on_duplicate_key_update(messages=counts.c.messages + 1))


def source(suffix: str) -> str:
    """Return the topic that is counted."""
    return f"ticks.{suffix}"


def changelog(suffix: str) -> str:
    """Return the topic in which Faust keeps its counts."""
    return f"faust-{suffix}-counts-changelog"


def service(suffix: str) -> Service:
    """Return the counter that the kernel runs."""
    return Service(name=f"counter-{suffix}", consumers=(Reactor("count", (source(suffix),), {Ticked: count}),))


def build(suffix: str) -> faust.App:
    """Return the counter that Faust runs."""
    folder = Path(os.environ["FAUST_FOLDER"]) / str(os.getpid())
    folder.mkdir(parents=True)
    app = faust.App(
        f"faust-{suffix}",
        broker=f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}",
        store="memory://",
        datadir=str(folder),
        processing_guarantee="at_least_once",
        topic_partitions=PARTITIONS,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=10.0,
        web_enabled=False,
    )
    table = app.Table("counts", default=int, partitions=PARTITIONS)

    async def tick(stream: Any) -> None:
        pairs: AsyncIterator[tuple[bytes, bytes]] = stream.items()
        async for key, _value in pairs:
            table[key.decode()] += 1

    app.agent(app.topic(source(suffix), key_type=bytes, value_type=bytes, value_serializer="raw"), name="tick")(tick)
    return app


async def _faust(suffix: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app: Any = build(suffix)
    app.finalize()
    await app.start()
    await stop.wait()
    await asyncio.wait_for(app.stop(), 5)


if __name__ == "__main__":
    part, chosen = sys.argv[1:]
    if part == "kernel":
        run(service(chosen), ["--role", "worker"])
    else:
        asyncio.run(_faust(chosen))
