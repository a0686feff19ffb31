"""Condensed writes leave the same rows as the writes that they stand for."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, SmallInteger, String, Table

from lms.kernel.projection import Delete, Update, Upsert, Write
from lms.kernel.rebuild import Condenser
from lms.kernel.schema import name

seats = Table(
    "seats",
    MetaData(),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False),
    Column("room", name(10), primary_key=True),
    Column("seat", Integer, primary_key=True, autoincrement=False),
    Column("guest", String(10)),
    Column("meal", String(10)),
)

rooms, numbers = st.sampled_from(["red", "blue"]), st.integers(1, 2)
values = st.dictionaries(st.sampled_from(["guest", "meal"]), st.sampled_from(["a", "b", None]), min_size=1)
wheres = st.one_of(
    st.fixed_dictionaries({"room": rooms, "seat": numbers}),
    st.fixed_dictionaries({"room": rooms}),
    st.fixed_dictionaries({"seat": numbers}),
    st.fixed_dictionaries({"room": rooms, "guest": st.sampled_from(["a", "b", None])}),
    st.fixed_dictionaries({"room": st.none()}),
)
upserts = st.builds(lambda room, seat, row: Upsert(seats, {"room": room, "seat": seat, **row}), rooms, numbers, values)
writes = st.one_of(
    upserts,
    st.builds(lambda where, row: Update(seats, where, row), wheres, values),
    st.builds(lambda where: Delete(seats, where), wheres),
)


def executed(batches: list[list[Write]]) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the rows that a database would have after the writes."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for write in (one for batch in batches for one in batch):
        if isinstance(write, Upsert):
            key = (write.row["room"], write.row["seat"])
            rows[key] = {**rows.get(key, {"guest": None, "meal": None}), **write.row}
            continue
        for key, row in list(rows.items()):
            if all(value is not None and row[column] == value for column, value in write.where.items()):
                if isinstance(write, Delete):
                    del rows[key]
                else:
                    row.update(write.values)
    return rows


def condensed(batches: list[list[Write]]) -> list[list[Write]]:
    condenser = Condenser(seats)
    found: list[list[Write]] = []
    for batch in batches:
        for write in batch:
            condenser.add(write)
        found.append(condenser.done())
    return found


@given(st.lists(st.lists(writes, max_size=12), max_size=4))
def test_condensed_writes_leave_the_same_rows(batches: list[list[Write]]) -> None:
    assert executed(condensed(batches)) == executed(batches)


def test_a_row_that_is_changed_in_the_batch_that_makes_it_is_inserted_once() -> None:
    made: list[Write] = [
        Upsert(seats, {"room": "red", "seat": 1, "guest": "a", "meal": None}),
        Update(seats, {"room": "red"}, {"meal": "b"}),
        Update(seats, {"room": "red", "seat": 1}, {"guest": "b"}),
        Upsert(seats, {"room": "blue", "seat": 1, "guest": "a", "meal": None}),
        Delete(seats, {"room": "blue"}),
    ]
    (batch,) = condensed([made])
    assert batch == [Upsert(seats, {"room": "red", "seat": 1, "guest": "b", "meal": "b"})]
