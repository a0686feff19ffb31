"""A bank and those who count its deposits, as processes of a test's own: `python bank.py bank|count|record SUFFIX`.

The bank takes deposits over HTTP and publishes them. `count` adds them up in a reactor, and appends a fact of its own
for each; `record` writes them down in batches. Nothing there is harmless to repeat: what is applied twice shows.
"""

import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from fastapi import APIRouter
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from lms.kernel.auth import CallerDep
from lms.kernel.consumer import Reactor, Received, Recorder
from lms.kernel.decider import Decider
from lms.kernel.event import Envelope, Event, ForeignEvent
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep
from lms.kernel.schema import name
from lms.kernel.service import Service, run

tables = MetaData()
totals = Table(
    "totals",
    tables,
    Column("account", name(80), primary_key=True),
    Column("minutes", BigInteger, nullable=False),
    Column("events", Integer, nullable=False),
)


class Deposited(Event):
    """Minutes came in."""

    TYPE: ClassVar[str] = "account.deposited"
    account: str
    minutes: int
    text: str = ""


class ForeignDeposited(ForeignEvent):
    """Minutes came in, as others read it."""

    TYPE: ClassVar[str] = "account.deposited"
    account: str
    minutes: int


class Counted(Event):
    """A deposit was counted."""

    TYPE: ClassVar[str] = "count.counted"
    minutes: int


class Deposit(Body):
    """What comes in; `text` makes the fact as long as a test wants it."""

    minutes: int
    text: str = ""


class Balance(Answer):
    """Where an account stands after a deposit."""

    minutes: int


def topic_of(part: str, suffix: str) -> str:
    """Return the topic to which a part publishes."""
    return f"{part}.{suffix}"


def _bank(suffix: str) -> Service:
    topic = topic_of("bank", suffix)
    account: Decider[tuple[str, Deposit], int, Deposited] = Decider(
        category="account",
        topic=topic,
        initial=0,
        decide=lambda command, _: [Deposited(account=command[0], minutes=command[1].minutes, text=command[1].text)],
        evolve=lambda total, event: total + event.minutes,
        state_type=int,
    )
    router = APIRouter(prefix="/api/v1/accounts")

    @router.post("/{account_id}/deposits", status_code=201, response_model=Balance)
    async def post_deposit(account_id: str, body: Deposit, caller: CallerDep, commands: CommandsDep) -> Response:
        del caller

        async def deposit(uow: UnitOfWork) -> Balance:
            handled = await uow.handle(account, account_id, (account_id, body), key=account_id)
            return Balance(minutes=handled.state)

        return await commands.run(deposit, status=201)

    return Service(name=f"bank-{suffix}", publishes={topic: (Deposited,)}, deciders=(account,), routers=(router,))


async def add(connection: AsyncConnection, account: str, minutes: int) -> None:
    """Add to a total."""
    statement = upsert(totals).values(account=account, minutes=minutes, events=1)
    await connection.execute(
        statement.on_duplicate_key_update(minutes=totals.c.minutes + minutes, events=totals.c.events + 1)
    )


def _count(suffix: str) -> Service:
    topic = topic_of("count", suffix)
    count: Decider[int, int, Counted] = Decider(
        category="count",
        topic=topic,
        initial=0,
        decide=lambda minutes, _: [Counted(minutes=minutes)],
        evolve=lambda total, event: total + event.minutes,
        state_type=int,
    )

    async def on_deposited(uow: UnitOfWork, fact: ForeignDeposited, _: Envelope) -> None:
        await add(uow.connection, fact.account, fact.minutes)
        await uow.handle(count, fact.account, fact.minutes, key=fact.account)

    consumer = Reactor("count", (topic_of("bank", suffix),), {ForeignDeposited: on_deposited})
    return Service(name=f"count-{suffix}", publishes={topic: (Counted,)}, deciders=(count,), consumers=(consumer,))


def _record(suffix: str) -> Service:
    async def write_down(connection: AsyncConnection, received: Sequence[Received]) -> None:
        for one in received:
            envelope: Any = one.envelope
            await add(connection, envelope.key, int(envelope.data["minutes"]))

    return Service(
        name=f"record-{suffix}", consumers=(Recorder("record", (topic_of("bank", suffix),), write_down),)
    )  # fmt: skip


def service(part: str, suffix: str) -> Service:
    """Return the wiring of a part."""
    return {"bank": _bank, "count": _count, "record": _record}[part](suffix)


if __name__ == "__main__":
    run(service(*sys.argv[1:]), [])
