"""A service account acts for people, outside production and in nobody's name but theirs."""

from hashlib import sha256
from typing import Any

import httpx
import pytest

from lms.directory.settings import Settings
from lms.kernel.auth import TokenVerifier
from lms.kernel.settings import BadSettings, load

pytestmark = pytest.mark.servers

ACT_FOR = "/api/v1/auth/act-for"


async def token_of(directory: Any, account: str, secret: str) -> dict[str, str]:
    body = {"client_id": account, "client_secret": secret}
    answer = await directory.client.post("/api/v1/auth/token", json=body)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def act_for(directory: Any, headers: dict[str, str], employee_id: str) -> httpx.Response:
    answer: httpx.Response = await directory.client.post(ACT_FOR, json={"employee_id": employee_id}, headers=headers)
    return answer


async def test_an_account_with_the_scope_acts_for_a_person_in_the_roles_of_that_person(
    directory: Any, admin: dict[str, str]
) -> None:
    anna = await directory.employed(admin, "anna@example.com")
    await directory.employed(admin, "ben@example.com", manager_id=anna)
    answer = await act_for(directory, await token_of(directory, "loader", "l0ader"), anna)
    assert answer.headers["cache-control"] == "no-store"
    caller = TokenVerifier(directory.runtime.settings.jwt_public_key).verify(answer.json()["access_token"])
    assert (caller.id, sorted(caller.roles), caller.scopes) == (anna, ["employee", "manager"], frozenset())
    assert (caller.actor, caller.on_behalf_of) == ("service:loader", anna)


async def test_nobody_else_acts_for_others_and_nobody_acts_for_two_at_once(
    directory: Any, admin: dict[str, str]
) -> None:
    anna = await directory.employed(admin, "anna@example.com")
    refused = [
        await act_for(directory, headers, anna) for headers in (admin, await token_of(directory, "payroll", "s3cret"))
    ]
    acting = await act_for(directory, await token_of(directory, "loader", "l0ader"), anna)
    token = {"Authorization": f"Bearer {acting.json()['access_token']}"}
    refused.append(await act_for(directory, token, anna))
    assert [(one.status_code, one.json()["code"]) for one in refused] == [(403, "act-for-refused")] * 3


async def test_nobody_acts_for_somebody_who_is_not_employed(directory: Any, admin: dict[str, str]) -> None:
    loader = await token_of(directory, "loader", "l0ader")
    assert (await act_for(directory, loader, "nobody")).status_code == 404
    anna = await directory.employed(admin, "anna@example.com")
    await directory.client.post(f"/api/v1/employees/{anna}/leave", json={"last_day": "2026-01-31"}, headers=admin)
    assert (await act_for(directory, loader, anna)).status_code == 404


async def test_in_production_nobody_acts_for_others_whatever_a_token_says(
    directory: Any, admin: dict[str, str]
) -> None:
    anna = await directory.employed(admin, "anna@example.com")
    loader = await token_of(directory, "loader", "l0ader")
    directory.runtime.settings = directory.runtime.settings.model_copy(update={"environment": "production"})
    refused = await act_for(directory, loader, anna)
    assert (refused.status_code, refused.json()["code"]) == (403, "act-for-refused")


async def test_what_is_done_for_a_person_names_the_account_in_the_facts(directory: Any, admin: dict[str, str]) -> None:
    chief = await directory.employed(admin, "chief@example.com", roles=["employee", "hr"])
    anna = await directory.employed(admin, "anna@example.com")
    answer = await act_for(directory, await token_of(directory, "loader", "l0ader"), chief)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    changed = await directory.client.patch(f"/api/v1/employees/{anna}", json={"cost_centre": "CC-1"}, headers=headers)
    assert changed.status_code == 200, changed.text
    runtime = directory.runtime
    async with runtime.database.read() as connection:
        *_, newest = await runtime.store.read(connection, f"employee-{anna}")
    assert (newest.envelope.actor, newest.envelope.on_behalf_of) == ("service:loader", chief)


def test_production_does_not_start_with_an_account_that_could_act_for_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = {"secret_sha256": sha256(b"x").hexdigest(), "scopes": ["act-for"]}
    for name, value in {
        "LMS_ENVIRONMENT": "production",
        "REDIS_URL": "redis://127.0.0.1:1",
        "JWT_PUBLIC_KEY": settings.jwt_public_key,
        "JWT_SECRET": "hN4kQ9vT2xZ7mB1cD8fG5jL3pR6sW0yA" * 2,
        "ENCRYPTION_KEY": "hN4kQ9vT2xZ7mB1cD8fG5jL3pR6sW0yA",
        "DATABASE_URL": "mysql://lms_directory:hN4kQ9vT2xZ7@db:3306/lms_directory",
        "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
        "LMS_DIRECTORY_ERASURE_LIST": "/erasures/list.jsonl",
    }.items():
        monkeypatch.setenv(name, value)
    load(Settings, service_accounts={"payroll": {**account, "scopes": ["payroll.read"]}})
    with pytest.raises(BadSettings, match="loader could act for anybody"):
        load(Settings, service_accounts={"loader": account})
