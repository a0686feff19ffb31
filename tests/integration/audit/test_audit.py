"""The audit log on a real database: it takes in, signs, answers, and finds whatever is done to it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from lms.audit import commands, store
from lms.audit.decider.checkpoints import LogShrunk
from lms.audit.decider.merkle import Tree
from lms.kernel.append_only import AppendOnlyFile
from lms.kernel.recovery import Restoration


@pytest.fixture
async def ten(audit: Any) -> Any:
    """Ten records, with checkpoints of six and of ten."""
    facts = [audit.fact(f"book-{number % 2}", number // 2 + 1, actor=f"actor-{number % 3}") for number in range(10)]
    await audit.record(facts[:6])
    await audit.sign()
    await audit.record(facts[6:])
    await audit.sign()
    assert await audit.faults() == []
    return audit


async def test_a_log_without_records_verifies_and_is_not_signed(audit: Any) -> None:
    await audit.sign()
    assert await audit.faults() == []
    assert AppendOnlyFile(audit.runtime.settings.checkpoint_file).all() == []


async def test_a_checkpoint_is_signed_once_for_what_the_log_has_come_to(ten: Any) -> None:
    await ten.sign()
    kept = AppendOnlyFile(ten.runtime.settings.checkpoint_file).all()
    assert [one["size"] for one in kept] == [6, 10]


async def test_a_changed_record_is_named(ten: Any) -> None:
    await ten.sql("UPDATE lms_audit_log.records SET payload = REPLACE(payload, 'Grüße', 'Gruesse') WHERE position = 4")
    assert (await ten.faults())[0].startswith("record 4 was changed")


async def test_a_changed_column_is_named(ten: Any) -> None:
    await ten.sql("UPDATE lms_audit_log.records SET actor = 'somebody' WHERE position = 4")
    assert await ten.faults() == ["record 4 shows another actor than its headers have"]


async def test_a_removed_record_is_named(ten: Any) -> None:
    await ten.sql("DELETE FROM lms_audit_log.records WHERE position = 4")
    assert (await ten.faults())[0].startswith("position 4 is missing: the next record is 5")


async def test_two_records_that_changed_places_are_found(ten: Any) -> None:
    for before, after in ((3, 100), (4, 3), (100, 4)):
        await ten.sql(
            "UPDATE lms_audit_log.records SET position = :after WHERE position = :before", before=before, after=after
        )
    assert (await ten.faults())[0].startswith("record 3 is not the one that followed 2")


async def test_a_record_added_behind_the_head_is_found(ten: Any) -> None:
    async with ten.runtime.database.transaction() as connection:
        for statement in (
            "CREATE TEMPORARY TABLE one AS SELECT * FROM lms_audit_log.records WHERE position = 10",
            "UPDATE one SET position = 11, version = 99",
            "INSERT INTO lms_audit_log.records SELECT * FROM one",
            "DROP TEMPORARY TABLE one",
        ):
            await connection.execute(text(statement))
    assert (await ten.faults())[0].startswith("record 11 stands behind the head of 10 records")


async def test_a_tail_cut_together_with_its_head_is_found_by_what_stands_outside(ten: Any) -> None:
    await ten.sql("DELETE FROM lms_audit_log.records WHERE position > 8")
    found = await ten.faults()
    assert any(one.startswith("the tail is cut: the checkpoint file has a signed checkpoint of 10") for one in found)
    ten.runtime.settings = ten.runtime.settings.model_copy(update={"checkpoint_file": None})
    found = await ten.faults()
    assert any(one.startswith("the tail is cut: leave.audit.v1 has a signed checkpoint of 10") for one in found)


async def test_a_forged_checkpoint_is_a_fault(ten: Any) -> None:
    file = AppendOnlyFile(ten.runtime.settings.checkpoint_file)
    file.add(file.all()[0] | {"size": 5})
    assert await ten.faults() == ["the checkpoint file has a checkpoint of 5 records whose signature is wrong"]


async def test_a_log_that_shrank_is_not_signed_again(ten: Any) -> None:
    await ten.sql("UPDATE head SET size = 0, subtrees = '[]'")
    await ten.sql("DELETE FROM lms_audit_log.records")
    await ten.record([ten.fact("book-new", 1)])
    with pytest.raises(LogShrunk):
        await ten.sign()


async def cut_back_to(audit: Any, size: int) -> None:
    """Bring the log's tables back to so many records, as a restore does."""
    tree = Tree()
    async with audit.runtime.database.read() as connection:
        async for one in store.all_records(connection):
            if one.position <= size:
                tree.add(one.leaf)
    await audit.sql("DELETE FROM lms_audit_log.records WHERE position > :size", size=size)
    await audit.sql("UPDATE head SET size = :size, subtrees = :parts", size=size, parts=json.dumps(tree.stored()))


async def test_a_signed_restore_explains_the_tail_that_is_gone_and_nothing_else(ten: Any) -> None:
    await cut_back_to(ten, 7)
    assert any("the tail is cut" in one for one in await ten.faults())
    restoration = Restoration(2, datetime(2026, 3, 2, 9, tzinfo=UTC))
    for _ in range(2):  # an interrupted restore is run again
        await commands.sign_restored(ten.runtime, restoration)
    assert await ten.faults() == []
    kept = AppendOnlyFile(ten.runtime.settings.checkpoint_file).all()
    assert [(one["type"], one["size"]) for one in kept] == [
        ("audit.checkpoint-signed", 6), ("audit.checkpoint-signed", 10), ("audit.log-restored", 7),
    ]  # fmt: skip
    assert (kept[-1]["abandoned_size"], kept[-1]["log_epoch"]) == (10, 2)
    await ten.record([ten.fact("book-new", 1)])
    await ten.sign()
    assert await ten.faults() == []
    auditor = ten.headers("auditor")
    proven = (await ten.client.post("/api/v1/audit/verify", headers=auditor)).json()
    assert (proven["valid"], proven["size"]) == (True, 8)
    (told,) = proven["restores"]
    assert "the records behind 7 were abandoned; 10 records had been signed for" in told
    await cut_back_to(ten, 7)
    assert any("the tail is cut" in one for one in await ten.faults())


async def test_a_forged_restore_explains_nothing(ten: Any) -> None:
    await commands.sign_restored(ten.runtime, Restoration(2, datetime(2026, 3, 2, 9, tzinfo=UTC)))
    await cut_back_to(ten, 7)
    file = AppendOnlyFile(ten.runtime.settings.checkpoint_file)
    file.add(file.all()[-1] | {"size": 7, "log_epoch": 3})
    found = await ten.faults()
    assert any("signature is wrong" in one for one in found)
    assert any("the tail is cut" in one for one in found)


async def test_when_kafka_alone_was_lost_no_restore_of_the_log_is_signed(ten: Any) -> None:
    await commands.sign_restored(ten.runtime, Restoration(2, None))
    assert len(AppendOnlyFile(ten.runtime.settings.checkpoint_file).all()) == 2


async def test_the_log_is_searched_by_actor_resource_type_and_time(ten: Any) -> None:
    auditor = ten.headers("auditor")
    found = (await ten.client.get("/api/v1/audit?limit=200", headers=auditor)).json()["items"]
    assert [one["position"] for one in found] == list(range(1, 11))
    assert found[0]["data"] == {"text": "Grüße, 🌴"}
    for query, positions in (
        ("actor=actor-1", [2, 5, 8]),
        ("resource=book-1", [2, 4, 6, 8, 10]),
        ("resource=1", [2, 4, 6, 8, 10]),
        ("type=leave.approved", []),
        ("from=2030-01-01T00:00:00Z", []),
        ("to=2030-01-01T00:00:00Z&resource=book-0", [1, 3, 5, 7, 9]),
    ):
        answer = await ten.client.get(f"/api/v1/audit?{query}", headers=auditor)
        assert [one["position"] for one in answer.json()["items"]] == positions, query
    for query in ("", "from=2020-01-01T00:00:00Z", "to=2030-01-01T00:00:00Z&from=2020-01-01T00:00:00Z"):
        first = (await ten.client.get(f"/api/v1/audit?limit=4&{query}", headers=auditor)).json()
        rest = await ten.client.get(f"/api/v1/audit?cursor={first['next_cursor']}&{query}", headers=auditor)
        assert [one["position"] for one in (*first["items"], *rest.json()["items"])] == list(range(1, 11)), query


async def test_an_auditor_has_the_log_proven(ten: Any) -> None:
    auditor = ten.headers("auditor")
    proven = (await ten.client.post("/api/v1/audit/verify", headers=auditor)).json()
    assert (proven["valid"], proven["size"], proven["faults"]) == (True, 10, [])
    await ten.sql("UPDATE lms_audit_log.records SET payload = 'x' WHERE position = 4")
    broken = (await ten.client.post("/api/v1/audit/verify", headers=auditor)).json()
    assert (broken["valid"], broken["faults"][0][:20]) == (False, "record 4 was changed")


@pytest.mark.parametrize("roles", [("employee",), ("hr", "manager", "admin", "payroll")])
async def test_nobody_but_an_auditor_looks(audit: Any, roles: tuple[str, ...]) -> None:
    assert (await audit.client.get("/api/v1/audit", headers=audit.headers(*roles))).status_code == 403
    assert (await audit.client.post("/api/v1/audit/verify", headers=audit.headers(*roles))).status_code == 403
