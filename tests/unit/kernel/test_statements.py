"""What is sent for a statement, as each kind of database wants it."""

from types import SimpleNamespace

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, bindparam
from sqlalchemy.dialects.mysql import insert as upsert

from lms.kernel.schema import name
from lms.kernel.statements import Statement

things = Table("things", MetaData(), Column("thing", name(40), primary_key=True), Column("count", Integer))
_put = upsert(things).values(thing=bindparam("v_thing"), count=bindparam("v_count"))
PUT = Statement(_put.on_duplicate_key_update(count=_put.inserted.count))
CONNECTION = SimpleNamespace(server_status=0)


@pytest.mark.parametrize(
    ("mariadb", "behind"),
    [
        (True, "ON DUPLICATE KEY UPDATE count = VALUES(count)"),
        (False, "AS new ON DUPLICATE KEY UPDATE count = new.count"),
    ],
)
def test_an_upsert_names_the_new_row_in_the_way_that_its_database_does_not_warn_of(mariadb: bool, behind: str) -> None:
    rows = [{"v_thing": "a", "v_count": 1}, {"v_thing": "b", "v_count": 2}]
    (text,) = PUT.texts(CONNECTION, rows, mariadb=mariadb)
    assert text.partition(" VALUES ")[2] == f"('a', 1), ('b', 2) {behind}"
