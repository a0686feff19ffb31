"""The kernel against the bare drivers: append, projection and rebuild, each beside the same work done by hand.

Bare means the driver that the kernel itself stands on (aiomysql, aiokafka), the same SQL, and nothing else: no
SQLAlchemy, no models, no checks. Its rows are made beforehand, so that its side pays for the database alone.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any, ClassVar

import aiomysql
import orjson
from aiokafka import AIOKafkaConsumer
from pydantic import BaseModel, SecretStr
from sqlalchemy import Column, Date, Integer, MetaData, SmallInteger, Table, create_engine, delete, insert
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.engine import make_url
from tests.load.measure import Contender, Figure, Section, floor, in_turns, median, rate, ratio

from lms.kernel import consumer as consuming
from lms.kernel.auth import public_key_of
from lms.kernel.cloudevents import encode_headers
from lms.kernel.consumer import ConsumerRunner, Projector
from lms.kernel.event import Codec, Envelope, Event
from lms.kernel.eventstore import Append, Causality, EventStore
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, Topic, declare, ends_of
from lms.kernel.projection import Projection, Upsert, Write
from lms.kernel.rebuild import rebuild
from lms.kernel.schema import consumer_offsets, events, instant, log, metadata, name, outbox
from lms.kernel.service import Runtime, Service
from lms.kernel.settings import KernelSettings, load

WRITERS = 16
PAGE = 5_000
"""Rows that the bare side reads and writes at a time: as many as the kernel's rebuild."""

_FED = "feeds"
_Row = tuple[Any, ...]

_tables = MetaData()
_charges = Table(
    "charges",
    _tables,
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("account", name(80), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("category", name(60), nullable=False),
    Column("first_day", Date, nullable=False),
    Column("minutes", Integer, nullable=False),
    Column("days", LONGTEXT, nullable=False),
    Column("recorded_at", instant(), nullable=False),
)
"""A view with a row for each fact, as a ledger has: neither side can save writes by overwriting rows."""


class Day(BaseModel):
    """A day of a charge."""

    date: date
    entitlement_minutes: int
    scheduled_minutes: int


class Charged(Event):
    """A fact of the size and shape of a leave request over a week."""

    TYPE: ClassVar[str] = "account.charged"

    account: str
    category: str
    days: tuple[Day, ...]
    requested_by: str


def _charged(event: Charged, envelope: Envelope) -> Iterable[Write]:
    yield Upsert(
        _charges,
        {
            "account": event.account,
            "version": envelope.version,
            "category": event.category,
            "first_day": event.days[0].date,
            "minutes": sum(day.entitlement_minutes for day in event.days),
            "days": "[" + ",".join(day.model_dump_json() for day in event.days) + "]",
            "recorded_at": envelope.time,
        },
    )


class Charges(Projection):
    """All charges."""

    name: ClassVar[str] = "charges"
    tables: ClassVar[tuple[Table, ...]] = (_charges,)
    handlers: ClassVar[Mapping[type, Callable[[Any, Envelope], Iterable[Write]]]] = {Charged: _charged}


def a_charge(account: str) -> Charged:
    """Return a week's charge of an account."""
    monday = date(2026, 11, 2)
    days = tuple(
        Day(date=monday + timedelta(days=number), entitlement_minutes=480, scheduled_minutes=480) for number in range(5)
    )
    return Charged(account=account, category="annual", days=days, requested_by=account)


@dataclass
class Bench:
    """A schema and topics of the bench's own on real servers."""

    database_url: str
    kafka: str
    redis_url: str
    topic: str = field(default_factory=lambda: f"bench.{new_id()[-12:]}")

    def create(self) -> None:
        """Make the tables anew."""
        engine = create_engine(make_url(self.database_url).set(drivername="mysql+pymysql"))
        for tables in (_tables, metadata):
            tables.drop_all(engine)
            tables.create_all(engine)
        with engine.begin() as connection:
            connection.execute(log.insert().values(id=1, log_epoch=1))
        engine.dispose()

    def runtime(self, *consumers: Projector, inline: tuple[type[Projection], ...] = ()) -> Runtime:
        """Return the parts of a service that only the bench runs."""
        given: dict[str, Any] = {
            "environment": "test",
            "redis_url": SecretStr(self.redis_url),
            "jwt_public_key": public_key_of("bench " * 16),
            "database_url": SecretStr(self.database_url),
            "database_pool": WRITERS,
            "kafka_bootstrap_servers": self.kafka,
            "encryption_key": SecretStr("bench " * 8),
        }
        service = Service(name="bench", publishes={self.topic: (Charged,)}, consumers=consumers, inline=inline)
        return Runtime(service, load(KernelSettings, **given))

    @asynccontextmanager
    async def driver(self, connections: int) -> AsyncIterator[aiomysql.Pool]:
        """Open that many bare connections, at the isolation level of the kernel's."""
        url = make_url(self.database_url)
        pool = await aiomysql.create_pool(
            minsize=connections, maxsize=connections, host=url.host, port=url.port, user=url.username,
            password=url.password, db=url.database, charset="utf8mb4",
            init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        )  # fmt: skip
        try:
            yield pool
        finally:
            pool.close()
            await pool.wait_closed()

    def sql(self, statement: Any, columns: Sequence[str]) -> str:
        """Return the text that the kernel's own connection would send, with a `%s` for each of the columns."""
        dialect = make_url(self.database_url).set(drivername="mysql+aiomysql").get_dialect()()
        return str(statement.compile(dialect=dialect, column_keys=list(columns)))


# Appending ------------------------------------------------------------------------------------------------------------


async def append(bench: Bench, *, seconds: float, rounds: int) -> Section:
    """Measure `EventStore.append` in a transaction, and the same SQL by the bare driver; one writer and many."""
    runtime = bench.runtime()
    store = EventStore("bench", Codec((Charged,)))

    async def by_kernel(writer: str, versions: Iterator[int]) -> None:
        fact = Append(bench.topic, f"account-{writer}", writer, next(versions), [a_charge(writer)])
        async with runtime.database.transaction() as connection:
            await store.append(connection, [fact], Causality(writer, writer, writer))

    async with bench.driver(WRITERS) as pool:
        rows = _BareRows(bench)

        async def by_driver(writer: str, versions: Iterator[int]) -> None:
            event, message = rows.of(writer, next(versions))
            async with pool.acquire() as connection, connection.cursor() as cursor:
                await cursor.execute(rows.insert_event, event)
                await cursor.execute(rows.insert_message, message)
                await connection.commit()

        contenders = {
            "kernel, 1": _writing(by_kernel, 1, seconds),
            "driver, 1": _writing(by_driver, 1, seconds),
            "kernel, many": _writing(by_kernel, WRITERS, seconds),
            "driver, many": _writing(by_driver, WRITERS, seconds),
        }
        await in_turns({one: _writing(work, WRITERS, 0.2) for one, work in {"k": by_kernel, "d": by_driver}.items()}, 1)
        rates = await in_turns(contenders, rounds)
    await runtime.database.close()
    await runtime.keyring.close()
    kernel = [many / one for many, one in zip(rates["kernel, many"], rates["kernel, 1"], strict=True)]
    driver = [many / one for many, one in zip(rates["driver, many"], rates["driver, 1"], strict=True)]
    return Section(
        "Append",
        f"One fact and its outbox row in a transaction, {WRITERS} writers on streams of their own in one process. Bare:"
        " aiomysql, the same two inserts and the commit, with rows made beforehand.",
        (
            Figure("append ÷ bare driver, 1 writer", ratio(rates, "kernel, 1", "driver, 1"), "", floor(0.5),
                   _parts(rates, "kernel, 1", "driver, 1")),
            Figure(f"append ÷ bare driver, {WRITERS} writers", ratio(rates, "kernel, many", "driver, many"), "", None,
                   _parts(rates, "kernel, many", "driver, many")),
            Figure(f"{WRITERS} writers ÷ 1, over the bare driver's own", median(kernel) / median(driver), "",
                   floor(0.8), f"{median(kernel):.2f} and {median(driver):.2f} times"),
        ),
    )  # fmt: skip


@dataclass
class _BareRows:
    """The rows that `EventStore.append` would write, made at no cost worth naming."""

    bench: Bench
    insert_event: str = field(init=False)
    insert_message: str = field(init=False)

    def __post_init__(self) -> None:
        columns = (
            ("stream", "version", "event_id", "type", "schema_version", "log_epoch", "data", "metadata", "recorded_at"),
            ("id", "aggregatetype", "aggregateid", "type", "payload", "headers", "recorded_at"),
        )
        self.insert_event = self.bench.sql(insert(events), columns[0])
        self.insert_message = self.bench.sql(insert(outbox), columns[1])
        writer = new_id()
        self._data = a_charge(writer).model_dump_json()
        envelope = an_envelope(writer, 1, datetime.now(UTC))
        self._headers = orjson.dumps(encode_headers(envelope)).decode()
        self._metadata = orjson.dumps(
            {
                "topic": self.bench.topic,
                "key": writer,
                "correlation_id": writer,
                "causation_id": writer,
                "actor": writer,
            }
        ).decode()

    def of(self, writer: str, version: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the event row and the outbox row of a writer's next fact."""
        event_id, now = new_id(), datetime.now(UTC)
        return (
            (f"bare-{writer}", version, event_id, Charged.TYPE, 1, 1, self._data, self._metadata, now),
            (event_id, self.bench.topic, writer, Charged.TYPE, self._data, self._headers, now),
        )


def _writing(work: Callable[[str, Iterator[int]], Awaitable[None]], writers: int, seconds: float) -> Contender:
    """Return a contender whose writers do the work, again and again, for so long."""

    async def measure() -> float:
        until = time.perf_counter() + seconds
        done = count()

        async def write() -> None:
            writer, versions = new_id(), count()
            while time.perf_counter() < until:
                await work(writer, versions)
                next(done)

        began = time.perf_counter()
        await asyncio.gather(*(write() for _ in range(writers)))
        return next(done) / (time.perf_counter() - began)

    return measure


# Projecting and rebuilding --------------------------------------------------------------------------------------------


def an_envelope(account: str, version: int, at: datetime) -> Envelope:
    """Return the envelope of an account's fact."""
    return Envelope(
        event_id=new_id(), source="bench", type=Charged.TYPE, schema_version=1, stream=f"account-{account}",
        version=version, log_epoch=1, key=account, time=at, data={}, correlation_id=new_id(), causation_id=new_id(),
        actor=account,
    )  # fmt: skip


async def fill_topic(bench: Bench, facts: int, accounts: int = 500) -> None:
    """Declare the bench's topic and send that many facts of so many accounts, evenly."""
    await declare(bench.kafka, [Topic(bench.topic)])
    producer = Producer(bench.kafka, client_id="bench")
    ids = [new_id() for _ in range(accounts)]
    now = datetime.now(UTC)
    payloads = [a_charge(one).model_dump_json() for one in ids]
    messages: list[Message] = []
    for number in range(facts):
        account = number % accounts
        envelope = an_envelope(ids[account], number // accounts + 1, now)
        messages.append(Message(bench.topic, ids[account], payloads[account], encode_headers(envelope)))
        if len(messages) == PAGE or number == facts - 1:
            await producer.send_all(messages)
            messages = []
    await producer.stop()


async def project(bench: Bench, *, singles: int, many: int, rounds: int) -> Section:
    """Measure a projector on the bench's topic, which `fill_topic` has filled, by single events and by the thousand."""
    rates = await in_turns(
        {"1": _projecting(bench, 1, singles), "1,000": _projecting(bench, 1_000, many)},
        rounds,
    )
    return Section(
        "Projection",
        "A projector follows a topic into a view; effect, stream versions and offsets commit together. Batches are what"
        " one transaction holds.",
        (
            Figure("batch of 1,000 ÷ batch of 1", ratio(rates, "1,000", "1"), "", floor(20),
                   _parts(rates, "1,000", "1", "events")),
        ),
    )  # fmt: skip


def _projecting(bench: Bench, batch: int, wanted: int) -> Contender:
    """Return a contender that lets a new consumer apply so many events in batches of that size."""

    async def measure() -> float:
        runtime = bench.runtime()
        runner = ConsumerRunner(runtime, Projector(f"batches-{new_id()[-12:]}", (bench.topic,), (Charges,)))
        before, consuming.BATCH = consuming.BATCH, batch
        work = asyncio.create_task(runner.run())
        try:
            async with asyncio.timeout(60):
                while not _applied(runner):  # noqa: ASYNC110  # the runner tells nobody of its progress
                    await asyncio.sleep(0.002)
                began, first = time.perf_counter(), _applied(runner)
                while (applied := _applied(runner)) < wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
                return (applied - first) / (time.perf_counter() - began)
        finally:
            consuming.BATCH = before
            await runner.stop()
            await work
            await runtime.database.close()
            await runtime.keyring.close()

    return measure


def _applied(runner: ConsumerRunner) -> int:
    return sum(runner._positions.values())


async def rebuilding(bench: Bench, facts: int, *, rounds: int) -> Section:
    """Measure rebuilds of a view from the topic and from the log, which hold so many facts each, and by hand."""
    from_topic, from_log = bench.runtime(Projector(_FED, (bench.topic,), (Charges,))), bench.runtime(inline=(Charges,))
    await _stand_at_the_end(bench, from_topic)
    async with bench.driver(2) as pool:
        rates = await in_turns(
            {
                "topic": _rebuilding(from_topic, facts),
                "topic, bare": _bare_rebuilding(bench, pool, _topic_pages(bench)),
                "log": _rebuilding(from_log, facts),
                "log, bare": _bare_rebuilding(bench, pool, _log_pages(pool)),
            },
            rounds,
        )
    for runtime in (from_topic, from_log):
        await runtime.database.close()
        await runtime.keyring.close()
    return Section(
        "Rebuild",
        f"A view with a row a fact, {facts:,} facts. Bare: read (aiokafka, or aiomysql in pages), decode by orjson,"
        f" `executemany` of {PAGE:,} rows a transaction into an empty table of the same shape; no models, no order of"
        " versions, no generations.",
        (
            Figure("rebuild from the topic ÷ bare", ratio(rates, "topic", "topic, bare"), "", floor(0.5),
                   _parts(rates, "topic", "topic, bare", "facts")),
            Figure("rebuild from the log ÷ bare", ratio(rates, "log", "log, bare"), "", floor(0.5),
                   _parts(rates, "log", "log, bare", "facts")),
        ),
    )  # fmt: skip


async def fill_log(bench: Bench, facts: int, accounts: int = 500) -> None:
    """Append that many facts to the bench's own log, without their outbox rows."""
    runtime = bench.runtime()
    ids = [new_id() for _ in range(accounts)]
    for first in range(0, facts, PAGE):
        async with runtime.database.transaction() as connection:
            await runtime.store.append(
                connection,
                [
                    Append(bench.topic, f"account-{ids[one % accounts]}", ids[one % accounts], one // accounts,
                           [a_charge(ids[one % accounts])])
                    for one in range(first, min(first + PAGE, facts))
                ],
                Causality("bench", "bench"),
            )  # fmt: skip
            await connection.execute(delete(outbox))
    await runtime.database.close()
    await runtime.keyring.close()


async def _stand_at_the_end(bench: Bench, runtime: Runtime) -> None:
    """Let the projector have applied its whole topic, as far as a rebuild asks: its offsets say so."""
    async with runtime.database.transaction() as connection:
        await connection.execute(
            insert(consumer_offsets),
            [
                {"consumer": _FED, "topic": one.topic, "partition_no": one.partition, "next_offset": end}
                for one, end in (await ends_of(bench.kafka, [bench.topic])).items()
            ],
        )


def _rebuilding(runtime: Runtime, facts: int) -> Contender:
    """Return a contender that rebuilds the view; the time is that until the new generation is live."""

    async def measure() -> float:
        (done,) = await rebuild(runtime, [Charges.name], lambda _: None)
        if done.facts != facts:
            raise AssertionError(f"a rebuild read {done.facts} facts of {facts}")
        return done.facts / done.seconds

    return measure


def _bare_rebuilding(bench: Bench, pool: aiomysql.Pool, pages: Callable[[], AsyncIterator[list[_Row]]]) -> Contender:
    """Return a contender that fills an empty table of the view's shape."""
    columns = [column.name for column in _charges.columns]
    statement = bench.sql(upsert(_charges), columns)

    async def measure() -> float:
        async with pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute("DROP TABLE IF EXISTS charges_bare")
            await cursor.execute("CREATE TABLE charges_bare LIKE charges")
            began, written = time.perf_counter(), 0
            async for rows in pages():
                await cursor.executemany(statement.replace("charges", "charges_bare", 1), rows)
                await connection.commit()
                written += len(rows)
            return written / (time.perf_counter() - began)

    return measure


def _topic_pages(bench: Bench) -> Callable[[], AsyncIterator[list[_Row]]]:
    """Return what reads the whole topic by the bare client."""

    async def pages() -> AsyncIterator[list[_Row]]:
        ends = {one: end for one, end in (await ends_of(bench.kafka, [bench.topic])).items() if end}
        client = AIOKafkaConsumer(bootstrap_servers=bench.kafka, enable_auto_commit=False, auto_offset_reset="earliest")
        await client.start()
        try:
            client.assign(list(ends))
            left, rows = sum(ends.values()), []
            while left:
                for records in (await client.getmany(timeout_ms=500)).values():
                    left -= len(records)
                    for record in records:
                        headers = dict(record.headers)
                        at = datetime.fromisoformat(headers["ce_time"].decode())
                        rows.append(_row(int(headers["ce_streamversion"]), at, record.value))
                if len(rows) >= PAGE or not left:
                    yield rows
                    rows = []
        finally:
            await client.stop()

    return pages


def _log_pages(pool: aiomysql.Pool) -> Callable[[], AsyncIterator[list[_Row]]]:
    """Return what reads the whole log by the bare driver, in the order of its positions."""
    columns = ", ".join(column.name for column in events.columns)

    async def pages() -> AsyncIterator[list[_Row]]:
        last = 0
        async with pool.acquire() as connection, connection.cursor() as cursor:
            while True:
                await cursor.execute(
                    f"SELECT {columns} FROM events WHERE global_position > %s ORDER BY global_position LIMIT {PAGE}",  # noqa: S608  # our own names
                    (last,),
                )
                found = await cursor.fetchall()
                await connection.commit()
                if not found:
                    return
                last = found[-1][0]
                yield [_row(row[2], row[9], row[7]) for row in found]

    return pages


def _row(version: int, at: datetime, payload: bytes | str) -> _Row:
    data = orjson.loads(payload)
    days = data["days"]
    minutes = sum(day["entitlement_minutes"] for day in days)
    return (1, data["account"], version, data["category"], days[0]["date"], minutes, orjson.dumps(days).decode(), at)


def _parts(rates: Mapping[str, Sequence[float]], one: str, other: str, what: str = "") -> str:
    of = f" {what}" if what else ""
    return f"{rate(median(rates[one]))} and {rate(median(rates[other]))}{of}"
