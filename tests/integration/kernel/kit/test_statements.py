"""Statements that the driver sends itself do what Core would do with them."""

import asyncio
from datetime import date, datetime, time
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Integer,
    MetaData,
    Table,
    bindparam,
    create_engine,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT, TIME
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel import statements
from lms.kernel.database import Database, error_number, is_unavailable
from lms.kernel.schema import name
from lms.kernel.statements import Call, Statement, later, together
from lms.kernel.wire import Connection

_metadata = MetaData()
things = Table(
    "things",
    _metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=True),
    Column("thing", name(40), unique=True, nullable=False),
    Column("count", Integer, nullable=False),
    Column("said", LONGTEXT, nullable=True),
    Column("open", Boolean, nullable=False),
    Column("day", Date, nullable=True),
    Column("at", DATETIME(fsp=6), nullable=True),
    Column("clock", TIME, nullable=True),
)
ENTER = Statement(insert(things))
ALL = Statement(select(things).order_by(things.c.position))
COUNT = Statement(select(func.count().label("found")).select_from(things))


def a_thing(thing: str, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"thing": thing, "count": 1, "said": None, "open": False, "day": None, "at": None}
    return row | {"clock": None} | values


EVERYTHING = a_thing(
    "all",
    count=-7,
    said='it\'s 100 % \\ "quoted"; %(thing)s VALUES (1) ON DUPLICATE KEY UPDATE 🙂 \0\n\r\t\x1a\\',
    open=True,
    day=date(2026, 2, 28),
    at=datetime(2026, 2, 28, 23, 59, 59, 999999),  # noqa: DTZ001  # as a column without a zone holds it
    clock=time(13, 45),
)


@pytest.fixture
async def things_database(database: Database) -> Database:
    engine = create_engine(database.url.set(drivername="mysql+pymysql"))
    _metadata.drop_all(engine)
    _metadata.create_all(engine)
    engine.dispose()
    return database


async def test_values_of_every_type_are_written_and_read_as_core_does(things_database: Database) -> None:
    rows = [EVERYTHING, a_thing("nothing")]
    async with things_database.transaction() as connection:
        (entered,) = await together(connection, ENTER.of(rows))
        ours = [tuple(row) for row in await ALL.rows(connection)]
        core = [tuple(row) for row in await connection.execute(select(things).order_by(things.c.position))]
    assert entered.rowcount == 2
    assert ours == core
    assert [row[1:] for row in ours] == [tuple(row.values()) for row in rows]
    assert [type(value) for value in ours[0]] == [type(value) for value in core[0]]


async def test_rows_have_their_columns_as_attributes(things_database: Database) -> None:
    async with things_database.transaction() as connection:
        await together(connection, ENTER.of([EVERYTHING]))
        (row,) = await ALL.rows(connection)
        (total,) = await COUNT.rows(connection)
    assert (row.thing, row.open, row.clock, total.found) == ("all", True, time(13, 45), 1)


async def test_texts_of_every_length_are_read(things_database: Database) -> None:
    lengths = (0, 1, 250, 251, 252, 65_535, 65_536, 400_000)
    rows = [a_thing(str(length), said="ä" * (length // 2) + "x" * (length % 2)) for length in lengths]
    async with things_database.transaction() as connection:
        await together(connection, ENTER.of(rows))
        assert [row.said for row in await ALL.rows(connection)] == [row["said"] for row in rows]


async def test_an_answer_that_was_not_waited_for_is_nobody_elses(things_database: Database) -> None:
    slow = Statement(select(func.sleep(1).label("slept")))

    async def give_up() -> None:
        async with things_database.transaction() as connection, asyncio.timeout(0.1):
            await slow.rows(connection)

    with pytest.raises(TimeoutError):
        await give_up()
    async with things_database.transaction() as connection:
        assert await ALL.rows(connection) == []


async def test_an_expanding_argument_takes_many_one_or_no_values(things_database: Database) -> None:
    among = Statement(select(things.c.thing).where(things.c.thing.in_(bindparam("wanted", expanding=True))))
    async with things_database.transaction() as connection:
        await together(connection, ENTER.of([a_thing(one) for one in "abc"]))
        found = {
            wanted: {row.thing for row in await among.rows(connection, wanted=list(wanted))}
            for wanted in ("ac", "b", "")
        }
    assert found == {"ac": {"a", "c"}, "b": {"b"}, "": set()}


async def test_updates_and_deletes_count_the_rows_that_they_concern(things_database: Database) -> None:
    change = Statement(update(things).where(things.c.thing == bindparam("which")).values(count=bindparam("to")))
    remove = Statement(delete(things).where(things.c.count == 5))
    async with things_database.transaction() as connection:
        await together(connection, ENTER.of([a_thing("a"), a_thing("b")]))
        assert await change.execute(connection, which="a", to=5) == 1
        assert await change.execute(connection, which="a", to=5) == 1, "a row that stays the same was found too"
        assert await change.execute(connection, which="z", to=5) == 0
        assert await remove.execute(connection) == 1


async def test_an_upsert_replaces_rows(things_database: Database) -> None:
    statement = upsert(things).values(
        thing=bindparam("v_thing"), count=bindparam("v_count"), open=bindparam("v_open"), said="fixed"
    )
    put = Statement(statement.on_duplicate_key_update(count=statement.inserted.count))
    async with things_database.transaction() as connection:
        await together(connection, put.of([{"v_thing": "a", "v_count": 1, "v_open": True}]))
        rows = [{"v_thing": "a", "v_count": 2, "v_open": False}, {"v_thing": "b", "v_count": 3, "v_open": False}]
        await together(connection, put.of(rows))
        found = {row.thing: (row.count, row.open, row.said) for row in await ALL.rows(connection)}
    assert found == {"a": (2, True, "fixed"), "b": (3, False, "fixed")}


async def test_a_row_that_is_there_already_is_ignored_without_a_question_to_the_database(
    things_database: Database,
) -> None:
    enter = Statement(upsert(things).prefix_with("IGNORE"))
    async with things_database.transaction() as connection:
        assert await enter.execute(connection, **a_thing("a")) == 1
        before = await asked(connection)
        assert await enter.execute(connection, **a_thing("a", count=7)) == 0
        assert await asked(connection) == before + 2, "the statement, and this question"


async def asked(connection: AsyncConnection) -> int:
    """Return how many statements the session has sent."""
    row = (await connection.execute(text("SHOW SESSION STATUS LIKE 'Questions'"))).one()
    return int(row[1])


async def test_statements_of_one_round_trip_answer_in_their_order(things_database: Database) -> None:
    async with things_database.transaction() as connection:
        before, entered, nothing, after = await together(
            connection, COUNT.having(), ENTER.of([a_thing("a")]), ENTER.of([]), COUNT.having()
        )
    assert (before.rows[0].found, entered.rowcount, nothing.rowcount, after.rows[0].found) == (0, 1, 0, 1)


async def test_the_first_that_fails_is_the_last_that_is_executed(things_database: Database) -> None:
    with pytest.raises(IntegrityError, match="Duplicate entry 'a'"):
        async with things_database.transaction() as connection:
            await together(connection, ENTER.of([a_thing("a")]), ENTER.of([a_thing("a")]), ENTER.of([a_thing("b")]))
    async with things_database.transaction() as connection:
        assert await ALL.rows(connection) == [], "the transaction was rolled back"
        with pytest.raises(IntegrityError):
            await together(connection, ENTER.of([a_thing("a")]), ENTER.of([a_thing("a")]), ENTER.of([a_thing("b")]))
        assert [row.thing for row in await ALL.rows(connection)] == ["a"], "what came behind it was not executed"


async def test_an_error_never_quotes_the_values(things_database: Database) -> None:
    long = "x" * 50
    with pytest.raises(DBAPIError) as caught:
        async with things_database.transaction() as connection:
            await together(connection, ENTER.of([a_thing(long, said="a secret")]))
    assert "INSERT INTO things" in str(caught.value)
    assert "a secret" not in str(caught.value)


async def test_more_than_fits_goes_in_several_round_trips(
    things_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "LONGEST", 500)
    rows = [a_thing(f"t{number}", said="x" * 90) for number in range(20)]
    async with things_database.transaction() as connection:
        entered, after = await together(connection, ENTER.of(rows), COUNT.having())
    assert (entered.rowcount, after.rows[0].found) == (20, 20)


async def test_they_belong_to_the_transaction_of_core(things_database: Database) -> None:
    async def both(last: int) -> float:
        async with things_database.transaction() as connection:
            await together(connection, ENTER.of([a_thing("a")]))
            await connection.execute(insert(things).values(a_thing("b")))
            return 1 / last

    with pytest.raises(ZeroDivisionError):
        await both(0)
    async with things_database.transaction() as connection:
        await together(connection, ENTER.of([a_thing("c")]))
        await connection.execute(insert(things).values(a_thing("d")))
    async with things_database.transaction() as connection:
        assert [row.thing for row in await ALL.rows(connection)] == ["c", "d"]


async def test_a_connection_lost_on_the_way_is_a_database_that_is_away(things_database: Database) -> None:
    async def kill_and_ask() -> None:
        async with things_database.transaction() as connection:
            await _kill(things_database, connection)
            await together(connection, COUNT.having())

    with pytest.raises(DBAPIError) as caught:
        await kill_and_ask()
    assert is_unavailable(caught.value), error_number(caught.value)
    async with things_database.transaction() as connection:
        assert (await COUNT.rows(connection))[0].found == 0


async def test_what_waits_is_executed_before_what_comes_next(things_database: Database) -> None:
    async with things_database.transaction() as connection:
        await later(connection, ENTER.of([a_thing("a")]))
        (found,) = await together(connection, COUNT.having())
        await later(connection, ENTER.of([a_thing("b")]), ENTER.of([a_thing("c")]))
        core = await connection.scalar(select(func.count()).select_from(things))
        await later(connection, ENTER.of([a_thing("d")]))
    assert (found.rows[0].found, core) == (1, 3)
    async with things_database.transaction() as connection:
        assert [row.thing for row in await ALL.rows(connection)] == ["a", "b", "c", "d"], (
            "the last came with the commit"
        )


async def test_what_waits_goes_in_one_round_trip_with_the_commit(
    things_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    send = Connection._execute_command

    async def noted(raw: Connection, command: int, sql: bytes) -> None:
        sent.append(sql.decode())
        await send(raw, command, sql)

    async with things_database.transaction() as connection:
        await together(connection, COUNT.having())
        monkeypatch.setattr(Connection, "_execute_command", noted)
        await later(connection, ENTER.of([a_thing("a")]))
        await later(connection, ENTER.of([a_thing("b")]))
    (together_with_it,) = sent
    assert together_with_it.count("INSERT INTO things") == 2
    assert together_with_it.endswith(";COMMIT")


async def test_what_waits_and_fails_with_the_commit_undoes_everything(things_database: Database) -> None:
    async def fail() -> None:
        async with things_database.transaction() as connection:
            await together(connection, ENTER.of([a_thing("a")]))
            await later(connection, ENTER.of([a_thing("b")]), ENTER.of([a_thing("a")]))

    with pytest.raises(IntegrityError, match="Duplicate entry 'a'"):
        await fail()
    for _ in range(things_database.engine.pool.size()):  # type: ignore[attr-defined]  # the pool in use has one
        async with things_database.transaction() as connection:
            assert await ALL.rows(connection) == []


async def test_what_waits_may_fail_in_words_of_its_own(things_database: Database) -> None:
    async def fail(*behind: Call) -> None:
        async with things_database.transaction() as connection:
            await together(connection, ENTER.of([a_thing("a")]))
            await later(connection, ENTER.of([a_thing("a")]), refused=lambda _: FileExistsError("it is there"))
            if behind:
                await together(connection, *behind)

    with pytest.raises(FileExistsError):
        await fail()
    with pytest.raises(FileExistsError):
        await fail(COUNT.having())


async def test_what_waits_is_forgotten_with_a_rollback(things_database: Database) -> None:
    async def fail() -> None:
        async with things_database.transaction() as connection:
            await later(connection, ENTER.of([a_thing("a")]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    for _ in range(things_database.engine.pool.size()):  # type: ignore[attr-defined]  # the pool in use has one
        async with things_database.transaction() as connection:
            assert await ALL.rows(connection) == []


def test_a_statement_that_would_mean_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="NOT IN"):
        Statement(select(things.c.thing).where(things.c.thing.not_in(bindparam("unwanted", expanding=True))))


async def test_a_query_asked_many_times_over_returns_what_each_found(things_database: Database) -> None:
    one = Statement(select(things.c.thing).where(things.c.thing == bindparam("wanted")))
    async with things_database.transaction() as connection:
        (_, found) = await together(
            connection, ENTER.of([a_thing("a"), a_thing("b")]), one.of([{"wanted": "b"}, {"wanted": "a"}])
        )
    assert [row.thing for row in found.rows] == ["b", "a"]


async def _kill(database: Database, connection: Any) -> None:
    number = await connection.scalar(select(func.connection_id()))
    async with database.transaction() as other:
        await other.exec_driver_sql(f"KILL {number}")
