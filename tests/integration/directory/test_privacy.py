"""Erasure: four eyes, no trace in plain rows, sealed texts closed for ever, and again after a restore."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from lms.directory.api.access import parts_of
from lms.directory.commands.privacy import reapply_erasures
from lms.directory.main import prepare
from lms.directory.settings import Settings
from lms.directory.store import ErasureList
from lms.kernel.sealed import ERASED, Sealed
from lms.kernel.settings import BadSettings, load

PASSWORD = "correct-horse-battery"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"erasure_list": tmp_path / "list" / "erasures.jsonl"})


async def _rows(directory: Any, query: str, **values: str) -> list[Any]:
    async with directory.runtime.database.read() as connection:
        return list(await connection.execute(text(query), values))


async def _contact(directory: Any, employee_id: str) -> dict[str, Sealed]:
    rows = await _rows(
        directory,
        "SELECT data FROM events WHERE stream = :stream AND type = 'employee.contact-changed' ORDER BY version DESC",
        stream=f"employee-{employee_id}",
    )
    data = json.loads(rows[0].data)
    return {field: Sealed(**data[field]) for field in ("name", "email")}


async def _office(directory: Any, admin: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the headers of somebody of HR and of another administrator."""
    for email, roles in (("hr@example.com", ["hr"]), ("second@example.com", ["admin", "hr"])):
        made = await directory.employ(admin, email, roles=roles, password=PASSWORD)
        assert made.status_code == 201, made.text
    return await directory.sign_in("hr@example.com", PASSWORD), await directory.sign_in("second@example.com", PASSWORD)


async def _one_who_left(directory: Any, admin: dict[str, str]) -> str:
    anna: str = await directory.employed(admin, "anna@example.com", password=PASSWORD)
    left = await directory.client.post(
        f"/api/v1/employees/{anna}/leave", json={"last_day": "2026-02-28"}, headers=admin
    )
    assert left.status_code == 200, left.text
    return anna


async def test_a_contact_stands_in_the_log_sealed_and_follows_changes(directory: Any, admin: dict[str, str]) -> None:
    anna = await directory.employed(admin, "anna@example.com")
    sealed = await _contact(directory, anna)
    assert await directory.runtime.keyring.unseal(sealed["email"]) == "anna@example.com"
    changed = await directory.client.patch(
        f"/api/v1/employees/{anna}", json={"email": "anna.meyer@example.com", "family_name": "Meyer"}, headers=admin
    )
    assert changed.status_code == 200, changed.text
    again = await _contact(directory, anna)
    assert await directory.runtime.keyring.unseal(again["email"]) == "anna.meyer@example.com"
    assert await directory.runtime.keyring.unseal(again["name"]) == "Anna Meyer"
    log = await _rows(directory, "SELECT data FROM events")
    assert not [row for row in log if "anna.meyer" in row.data.lower() or "meyer" in row.data.lower()]


async def test_hr_asks_an_administrator_agrees_and_nothing_can_be_read_any_more(
    directory: Any, admin: dict[str, str]
) -> None:
    hr, second = await _office(directory, admin)
    anna = await _one_who_left(directory, admin)
    sealed = await _contact(directory, anna)
    asked = await directory.client.post("/api/v1/privacy/erasure", json={"employee_id": anna}, headers=hr)
    assert (asked.status_code, asked.json()["status"]) == (201, "requested")
    done = await directory.client.post(f"/api/v1/privacy/erasure/{anna}/confirm", headers=second)
    assert (done.status_code, done.json()["status"]) == (200, "erased")
    directory.runtime.keyring.forget(anna)
    assert await directory.runtime.keyring.unseal(sealed["name"]) == ERASED
    assert (await directory.client.get(f"/api/v1/employees/{anna}", headers=admin)).status_code == 404
    for table in ("people", "sessions", "invitations"):
        left = await _rows(directory, f"SELECT * FROM {table} WHERE employee_id = :anna", anna=anna)  # noqa: S608  # our own
        assert left == [], table
    refused = await directory.client.post(
        "/api/v1/auth/login", json={"email": "anna@example.com", "password": PASSWORD}
    )
    assert refused.status_code == 401
    free = await directory.employ(admin, "anna@example.com")
    assert free.status_code == 201, "the address may be used by somebody else"


async def test_nobody_erases_alone(directory: Any, admin: dict[str, str]) -> None:
    anna = await _one_who_left(directory, admin)
    asked = await directory.client.post("/api/v1/privacy/erasure", json={"employee_id": anna}, headers=admin)
    assert asked.status_code == 201, asked.text
    alone = await directory.client.post(f"/api/v1/privacy/erasure/{anna}/confirm", headers=admin)
    assert (alone.status_code, alone.json()["code"]) == (403, "four-eyes")
    assert (await directory.client.get(f"/api/v1/employees/{anna}", headers=admin)).status_code == 200


async def test_an_erasure_can_be_taken_back_until_it_is_done(directory: Any, admin: dict[str, str]) -> None:
    hr, second = await _office(directory, admin)
    anna = await _one_who_left(directory, admin)
    await directory.client.post("/api/v1/privacy/erasure", json={"employee_id": anna}, headers=hr)
    assert (await directory.client.delete(f"/api/v1/privacy/erasure/{anna}", headers=hr)).status_code == 204
    late = await directory.client.post(f"/api/v1/privacy/erasure/{anna}/confirm", headers=second)
    assert (late.status_code, late.json()["code"]) == (404, "erasure-not-found")


async def test_who_still_works_here_is_not_erased(directory: Any, admin: dict[str, str]) -> None:
    hr, _ = await _office(directory, admin)
    ben = await directory.employed(admin, "ben@example.com")
    refused = await directory.client.post("/api/v1/privacy/erasure", json={"employee_id": ben}, headers=hr)
    assert (refused.status_code, refused.json()["code"]) == (409, "still-employed")


async def test_employees_may_neither_ask_nor_look(directory: Any, admin: dict[str, str]) -> None:
    await directory.employed(admin, "ben@example.com", password=PASSWORD)
    ben = await directory.sign_in("ben@example.com", PASSWORD)
    for answer in (
        await directory.client.get("/api/v1/privacy/erasure", headers=ben),
        await directory.client.post("/api/v1/privacy/erasure", json={"employee_id": "x"}, headers=ben),
    ):
        assert answer.status_code == 403


async def test_a_restored_back_up_forgets_again_at_the_next_start(directory: Any, admin: dict[str, str]) -> None:
    """The keys and rows come back as a restore of an older back-up brings them; the list stands apart."""
    hr, second = await _office(directory, admin)
    anna = await _one_who_left(directory, admin)
    sealed = await _contact(directory, anna)
    async with directory.runtime.database.read() as connection:
        key = (
            await connection.execute(text("SELECT * FROM keyring.data_keys WHERE subject = :anna"), {"anna": anna})
        ).one()
    await directory.client.post("/api/v1/privacy/erasure", json={"employee_id": anna}, headers=hr)
    done = await directory.client.post(f"/api/v1/privacy/erasure/{anna}/confirm", headers=second)
    assert done.status_code == 200, done.text
    async with directory.runtime.database.transaction() as connection:
        await connection.execute(
            text("UPDATE keyring.data_keys SET wrapped_key = :key, destroyed_at = NULL WHERE subject = :anna"),
            {"key": key.wrapped_key, "anna": anna},
        )
        await connection.execute(
            text("DELETE FROM events WHERE stream = :stream AND type = 'employee.erased'"),
            {"stream": f"employee-{anna}"},
        )
        await connection.execute(
            text(
                "INSERT INTO people (employee_id, given_name, family_name, email, email_hmac, status, created_at)"
                " VALUES (:anna, 'Anna', 'Example', 'anna@example.com', 'x', 'active', NOW())"
            ),
            {"anna": anna},
        )
    directory.runtime.keyring.forget(anna)
    assert await directory.runtime.keyring.unseal(sealed["name"]) == "Anna Example"
    await prepare(directory.runtime)
    assert await directory.runtime.keyring.unseal(sealed["name"]) == ERASED
    assert await _rows(directory, "SELECT * FROM people WHERE employee_id = :anna", anna=anna) == []
    listed = ErasureList(directory.runtime.settings.erasure_list)
    assert listed.all() == [anna]
    parts = parts_of(directory.runtime)
    assert await reapply_erasures(parts.executor, parts.registry, listed) == [], "once is enough"


def test_a_torn_last_line_of_the_list_is_no_reason_to_fail(tmp_path: Path) -> None:
    path = tmp_path / "erasures.jsonl"
    path.write_text('{"employee_id": "anna", "erased_at": "2026-01-01"}\n{"employee_id": "be')
    assert ErasureList(path).all() == ["anna"]


def test_production_does_not_start_without_an_erasure_list(monkeypatch: pytest.MonkeyPatch) -> None:
    strong = "Zx8-Qv3_Lm5!Tn7Rk2Wp9Yb4Hd6Jf1GsXc0Ue" * 3
    environment = {
        "LMS_ENVIRONMENT": "production",
        "DATABASE_URL": f"mysql://lms:{strong}@db:3306/lms_directory",
        "REDIS_URL": "redis://redis:6379/0",
        "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
        "ENCRYPTION_KEY": strong,
        "JWT_SECRET": strong,
        "JWT_PUBLIC_KEY": "cHVibGljIGtleSBvZiB0aGlydHktdHdvIGJ5dGVzLi4=",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings, match="LMS_DIRECTORY_ERASURE_LIST"):
        load(Settings)
