"""Sign in, stay signed in, and be kept out."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from lms.directory import main, store
from lms.directory.commands import sessions
from lms.directory.events import EmployeeInvited, EmployeePasswordChosen
from lms.directory.main import SERVICE
from lms.directory.settings import Settings
from lms.directory.store import login_attempts, people
from lms.kernel.auth import TokenVerifier
from lms.kernel.keyring import data_keys
from lms.kernel.service import Runtime

pytestmark = pytest.mark.servers

LOGIN = "/api/v1/auth/login"
REFRESH = "/api/v1/auth/refresh"
TOKEN = "/api/v1/auth/token"
ACCEPT = "/api/v1/auth/accept-invitation"
EMPLOYEES = "/api/v1/employees"
PASSWORD, ANOTHER = "long-enough-password", "another-long-password"
ADMIN = ("admin@example.com", "correct-horse-battery")


async def login(client: httpx.AsyncClient, email: str, password: str, **fields: bool) -> httpx.Response:
    return await client.post(LOGIN, json={"email": email, "password": password, **fields})


async def test_the_first_administrator_signs_in_and_is_known(directory: Any, admin: dict[str, str]) -> None:
    me = (await directory.client.get("/api/v1/me", headers=admin)).json()
    assert me["person"]["email"] == "admin@example.com"
    assert me["roles"] == ["admin", "employee", "hr"]
    assert "roles:write" in me["permissions"]


async def test_two_copies_that_start_at_once_make_one_administrator(settings: Settings) -> None:
    copies = [Runtime(SERVICE, settings) for _ in range(3)]
    await asyncio.gather(*(main.prepare(copy) for copy in copies))
    async with copies[0].database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(people)) == 1
        admin_id = await connection.scalar(select(people.c.employee_id))
        keys = select(func.count()).select_from(data_keys).where(data_keys.c.subject == admin_id)
        assert await connection.scalar(keys) == 1
    for copy in copies:
        await copy.database.close()
        await copy.redis.aclose()


async def test_an_unknown_address_and_a_wrong_password_get_the_same_answer(directory: Any) -> None:
    unknown = await login(directory.client, "nobody@example.com", "correct-horse-battery")
    wrong = await login(directory.client, "admin@example.com", "wrong-horse-battery")
    assert unknown.status_code == wrong.status_code == 401
    answers = [{**one.json(), "request_id": None} for one in (unknown, wrong)]
    assert answers[0] == answers[1]
    assert answers[0]["code"] == "wrong-credentials"


@pytest.mark.parametrize("email", ["admin@example.com", "nobody@example.com"])
async def test_an_account_is_locked_after_five_failures_whether_or_not_it_exists(directory: Any, email: str) -> None:
    failures = [await login(directory.client, email, "wrong") for _ in range(5)]
    assert [one.status_code for one in failures] == [401] * 5
    locked = await login(directory.client, email, "correct-horse-battery")
    assert locked.status_code == 429
    assert locked.json()["code"] == "too-many-attempts"
    assert locked.headers["Retry-After"] == "1"


async def test_each_further_failure_doubles_the_lock_and_a_success_forgets_them(directory: Any) -> None:
    for _ in range(5):
        await login(directory.client, "admin@example.com", "wrong")
    await unlock(directory)
    assert (await login(directory.client, "admin@example.com", "wrong")).status_code == 401
    assert (await login(directory.client, "admin@example.com", "wrong")).headers["Retry-After"] == "2"
    await unlock(directory)
    assert (await login(directory.client, "admin@example.com", "correct-horse-battery")).status_code == 200
    async with directory.runtime.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(login_attempts)) == 0


async def unlock(directory: Any) -> None:
    async with directory.runtime.database.transaction() as connection:
        await connection.execute(update(login_attempts).values(locked_until=None))


async def test_parallel_guesses_are_all_counted(directory: Any) -> None:
    answers = await asyncio.gather(
        *(login(directory.client, "admin@example.com", f"guess {number}") for number in range(12))
    )
    assert sorted({one.status_code for one in answers}) == [401, 429]
    assert sum(one.status_code == 401 for one in answers) in {5, 6}, "a sixth only where the first lock ran out"


async def test_a_refresh_token_is_exchanged_and_a_used_one_ends_the_session(directory: Any) -> None:
    first = (await login(directory.client, *ADMIN, return_refresh_token=True)).json()["refresh_token"]
    second = await directory.client.post(REFRESH, json={"refresh_token": first})
    assert second.status_code == 200
    again = await directory.client.post(REFRESH, json={"refresh_token": first})
    assert again.status_code == 401
    assert again.json()["code"] == "session-over"
    successor = await directory.client.post(REFRESH, json={"refresh_token": second.json()["refresh_token"]})
    assert successor.status_code == 401


async def test_of_two_that_exchange_one_token_at_once_the_session_survives_for_neither(directory: Any) -> None:
    token = (await login(directory.client, *ADMIN, return_refresh_token=True)).json()["refresh_token"]
    answers = await asyncio.gather(*(directory.client.post(REFRESH, json={"refresh_token": token}) for _ in range(2)))
    assert sorted(one.status_code for one in answers) == [200, 401]
    winner = next(one for one in answers if one.status_code == 200)
    after = await directory.client.post(REFRESH, json={"refresh_token": winner.json()["refresh_token"]})
    assert after.status_code == 401


async def test_browsers_get_cookies_that_scripts_cannot_read_and_must_prove_the_page(directory: Any) -> None:
    answer = await login(directory.client, *ADMIN)
    assert answer.json()["refresh_token"] is None
    cookies = answer.headers.get_list("set-cookie")
    assert [cookie.split("=")[0] for cookie in cookies] == ["lms_access", "lms_refresh", "lms_csrf"]
    assert ["HttpOnly" in cookie for cookie in cookies] == [True, True, False]
    assert all("SameSite=strict" in cookie and "Secure" in cookie for cookie in cookies)
    jar = {cookie.split("=")[0]: cookie.split("=", 1)[1].split(";")[0] for cookie in cookies}
    header = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
    forged = await directory.client.post(REFRESH, headers=header)
    assert forged.status_code == 403
    assert forged.json()["code"] == "csrf-token-missing"
    refreshed = await directory.client.post(REFRESH, headers={**header, "X-CSRF-Token": jar["lms_csrf"]})
    assert refreshed.status_code == 200


async def test_signing_out_ends_the_session(directory: Any) -> None:
    tokens = (await login(directory.client, *ADMIN, return_refresh_token=True)).json()
    out = await directory.client.post(
        "/api/v1/auth/logout", headers={"Authorization": f"Bearer {tokens['access_token']}"}
    )
    assert out.status_code == 204
    refreshed = await directory.client.post(REFRESH, json={"refresh_token": tokens["refresh_token"]})
    assert refreshed.status_code == 401


async def test_somebody_who_left_cannot_sign_in_or_stay_signed_in(directory: Any, admin: dict[str, str]) -> None:
    employee = await directory.employed(admin, "anna@example.com", password="long-enough-password")
    tokens = (
        await login(directory.client, "anna@example.com", "long-enough-password", return_refresh_token=True)
    ).json()
    await directory.client.post(f"/api/v1/employees/{employee}/leave", json={"last_day": "2026-01-31"}, headers=admin)
    assert (await login(directory.client, "anna@example.com", "long-enough-password")).status_code == 401
    refreshed = await directory.client.post(REFRESH, json={"refresh_token": tokens["refresh_token"]})
    assert refreshed.status_code == 401


async def test_an_invited_person_chooses_a_password_once(directory: Any, admin: dict[str, str]) -> None:
    invitation = (await directory.employ(admin, "anna@example.com")).json()["invitation"]
    assert (await login(directory.client, "anna@example.com", "long-enough-password")).status_code == 401
    body = {"token": invitation["token"], "password": "long-enough-password"}
    accept = "/api/v1/auth/accept-invitation"
    short = await directory.client.post(accept, json={**body, "password": "short"})
    assert short.json()["code"] == "password-too-weak"
    assert (await directory.client.post(accept, json=body)).status_code == 200
    assert (await login(directory.client, "anna@example.com", "long-enough-password")).status_code == 200
    assert (await directory.client.post(accept, json=body)).json()["code"] == "invitation-invalid"


async def test_a_new_invitation_replaces_the_old_one_and_a_forgotten_password(
    directory: Any, admin: dict[str, str]
) -> None:
    made = (await directory.employ(admin, "anna@example.com")).json()
    accept = "/api/v1/auth/accept-invitation"
    again = await directory.client.post(f"/api/v1/employees/{made['id']}/invitation", headers=admin)
    old = {"token": made["invitation"]["token"], "password": "long-enough-password"}
    assert (await directory.client.post(accept, json=old)).status_code == 422
    new = {"token": again.json()["token"], "password": "long-enough-password"}
    assert (await directory.client.post(accept, json=new)).status_code == 200


async def test_only_an_administrator_invites_a_privileged_person_again(directory: Any, admin: dict[str, str]) -> None:
    await directory.employed(admin, "hr@example.com", roles=["hr"], password="long-enough-password")
    auditor = await directory.employed(admin, "auditor@example.com", roles=["auditor"])
    hr = await directory.sign_in("hr@example.com", "long-enough-password")
    refused = await directory.client.post(f"/api/v1/employees/{auditor}/invitation", headers=hr)
    assert refused.status_code == 403
    assert (await directory.client.post(f"/api/v1/employees/{auditor}/invitation", headers=admin)).status_code == 201


async def test_a_program_gets_a_token_with_its_scopes(directory: Any) -> None:
    right = {"client_id": "payroll", "client_secret": "s3cret"}
    answer = await directory.client.post("/api/v1/auth/token", json=right)
    caller = TokenVerifier(directory.runtime.settings.jwt_public_key).verify(answer.json()["access_token"])
    assert (caller.id, sorted(caller.roles), sorted(caller.scopes)) == ("service:payroll", [], ["payroll.read"])
    wrong = await directory.client.post("/api/v1/auth/token", json={**right, "client_secret": "guess"})
    assert wrong.status_code == 401
    unknown = await directory.client.post("/api/v1/auth/token", json={**right, "client_id": "nobody"})
    assert unknown.status_code == 401


async def test_nobody_shuts_a_program_out_by_guessing_at_its_secret(directory: Any) -> None:
    right = {"client_id": "payroll", "client_secret": "s3cret"}
    wrong = [await directory.client.post(TOKEN, json={**right, "client_secret": f"guess {one}"}) for one in range(8)]
    assert [one.status_code for one in wrong[:5]] == [401] * 5
    assert 429 in {one.status_code for one in wrong[5:]}, "who guesses waits"
    for _ in range(6):
        await login(directory.client, "service:payroll", "guess")
    assert (await directory.client.post(TOKEN, json=right)).status_code == 200


async def test_a_program_and_an_address_are_counted_apart(directory: Any) -> None:
    for _ in range(6):
        await login(directory.client, "service:payroll", "guess")
    wrong = await directory.client.post(TOKEN, json={"client_id": "payroll", "client_secret": "guess"})
    assert wrong.status_code == 401


async def hr_of(directory: Any, admin: dict[str, str]) -> dict[str, str]:
    """Return the headers of somebody of HR who is no administrator."""
    await directory.employed(admin, "hr@example.com", roles=["hr"], password=PASSWORD)
    headers: dict[str, str] = await directory.sign_in("hr@example.com", PASSWORD)
    return headers


async def accept(directory: Any, token: str, password: str = PASSWORD) -> httpx.Response:
    answer: httpx.Response = await directory.client.post(ACCEPT, json={"token": token, "password": password})
    return answer


async def invite(directory: Any, who: dict[str, str], employee: str, **body: bool) -> str:
    """Invite somebody again; return the token."""
    answer = await directory.client.post(f"{EMPLOYEES}/{employee}/invitation", json=body, headers=who)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


async def refresh_token_of(directory: Any, email: str, password: str = PASSWORD) -> str:
    answer = await login(directory.client, email, password, return_refresh_token=True)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["refresh_token"])


async def goes_on(directory: Any, token: str) -> bool:
    """Say whether a session goes on."""
    answer = await directory.client.post(REFRESH, json={"refresh_token": token})
    return bool(answer.status_code == 200)


@pytest.mark.parametrize("role", ["hr", "payroll", "auditor", "admin"])
async def test_an_invitation_that_hr_holds_ends_when_the_person_becomes_privileged(
    directory: Any, admin: dict[str, str], role: str
) -> None:
    hr = await hr_of(directory, admin)
    anna = (await directory.employ(hr, "anna@example.com")).json()
    risen = await directory.client.patch(f"{EMPLOYEES}/{anna['id']}", json={"roles": [role]}, headers=admin)
    assert risen.status_code == 200, risen.text
    refused = await accept(directory, anna["invitation"]["token"])
    assert (refused.status_code, refused.json()["code"]) == (422, "invitation-invalid")
    assert (await directory.client.post(f"{EMPLOYEES}/{anna['id']}/invitation", headers=hr)).status_code == 403
    assert (await accept(directory, await invite(directory, admin, anna["id"]))).status_code == 200
    assert (await login(directory.client, "anna@example.com", PASSWORD)).status_code == 200


async def test_a_password_that_hr_may_have_chosen_signs_nobody_privileged_in(
    directory: Any, admin: dict[str, str]
) -> None:
    hr = await hr_of(directory, admin)
    anna = (await directory.employ(hr, "anna@example.com")).json()
    assert (await accept(directory, anna["invitation"]["token"])).status_code == 200
    session = await refresh_token_of(directory, "anna@example.com")
    path = f"{EMPLOYEES}/{anna['id']}"
    manager = await directory.client.patch(path, json={"roles": ["manager"]}, headers=admin)
    assert manager.json()["status"] == "active", "what HR gives as well changes nothing"
    risen = await directory.client.patch(path, json={"roles": ["auditor"]}, headers=admin)
    assert (risen.json()["status"], risen.json()["roles"]) == ("invited", ["employee", "auditor"])
    assert not await goes_on(directory, session)
    assert (await login(directory.client, "anna@example.com", PASSWORD)).status_code == 401
    assert (await accept(directory, await invite(directory, admin, anna["id"]), ANOTHER)).status_code == 200
    more = await directory.client.patch(path, json={"roles": ["auditor", "payroll"]}, headers=admin)
    assert more.json()["status"] == "active", "an administrator vouches for this password"


async def test_a_password_chosen_by_an_administrators_invitation_stays_and_sessions_begin_anew(
    directory: Any, admin: dict[str, str]
) -> None:
    anna = (await directory.employ(admin, "anna@example.com")).json()
    assert (await accept(directory, anna["invitation"]["token"])).status_code == 200
    session = await refresh_token_of(directory, "anna@example.com")
    risen = await directory.client.patch(f"{EMPLOYEES}/{anna['id']}", json={"roles": ["auditor"]}, headers=admin)
    assert risen.json()["status"] == "active"
    assert not await goes_on(directory, session)
    assert (await login(directory.client, "anna@example.com", PASSWORD)).status_code == 200


async def test_an_administrator_who_gets_more_roles_keeps_the_password(directory: Any, admin: dict[str, str]) -> None:
    own = (await directory.client.get("/api/v1/me", headers=admin)).json()["id"]
    roles = {"roles": ["hr", "admin", "payroll"]}
    assert (await directory.client.patch(f"{EMPLOYEES}/{own}", json=roles, headers=admin)).status_code == 200
    assert (await login(directory.client, *ADMIN)).status_code == 200


async def test_an_invitation_of_before_that_no_administrator_gave_out_makes_nobody_privileged(
    directory: Any, admin: dict[str, str]
) -> None:
    """As one that was open, for somebody risen, when the release that withdraws such invitations was installed."""
    auditor = await directory.employed(admin, "auditor@example.com", roles=["auditor"], password=PASSWORD)
    async with directory.runtime.database.transaction() as connection:
        await store.invite(connection, "a token of before", auditor, datetime.now(UTC) + timedelta(days=1))
    refused = await accept(directory, "a token of before")
    assert (refused.status_code, refused.json()["code"]) == (422, "invitation-invalid")


@pytest.mark.parametrize("attempt", range(5))
async def test_of_an_acceptance_and_a_rise_at_once_neither_makes_hr_privileged(
    directory: Any, admin: dict[str, str], attempt: int
) -> None:
    hr = await hr_of(directory, admin)
    anna = (await directory.employ(hr, f"anna{attempt}@example.com")).json()
    risen, accepted = await asyncio.gather(
        directory.client.patch(f"{EMPLOYEES}/{anna['id']}", json={"roles": ["admin"]}, headers=admin),
        accept(directory, anna["invitation"]["token"]),
    )
    assert (risen.status_code, accepted.status_code in {200, 422}) == (200, True)
    assert (await login(directory.client, f"anna{attempt}@example.com", PASSWORD)).status_code == 401


async def test_who_invited_and_that_a_password_was_chosen_are_facts(directory: Any, admin: dict[str, str]) -> None:
    hr = await hr_of(directory, admin)
    inviting = (await directory.client.get("/api/v1/me", headers=hr)).json()["id"]
    anna = (await directory.employ(hr, "anna@example.com")).json()
    await accept(directory, anna["invitation"]["token"])
    await accept(directory, await invite(directory, admin, anna["id"], lock=True))
    async with directory.runtime.database.read() as connection:
        *_, first, chosen, second, again = await directory.runtime.store.read(connection, f"employee-{anna['id']}")
    assert first.event == EmployeeInvited(employee_id=anna["id"], by_administrator=False, locked=False)
    assert second.event == EmployeeInvited(employee_id=anna["id"], by_administrator=True, locked=True)
    assert chosen.event == again.event == EmployeePasswordChosen(employee_id=anna["id"])
    assert (first.envelope.actor, chosen.envelope.actor, again.envelope.actor) == (inviting, None, None)
    shown = await directory.client.get(f"{EMPLOYEES}/{anna['id']}", headers=admin)
    assert (shown.json()["version"], shown.headers["ETag"]) == (6, '"6"')
    changed = await directory.client.patch(
        f"{EMPLOYEES}/{anna['id']}", json={"cost_centre": "1"}, headers={**admin, "If-Match": '"6"'}
    )
    assert changed.status_code == 200, changed.text


async def test_who_is_invited_again_is_signed_out_and_with_lock_signs_in_only_by_the_invitation(
    directory: Any, admin: dict[str, str]
) -> None:
    anna = await directory.employed(admin, "anna@example.com", password=PASSWORD)
    stolen = await refresh_token_of(directory, "anna@example.com")
    await invite(directory, admin, anna)
    assert not await goes_on(directory, stolen)
    stolen = await refresh_token_of(directory, "anna@example.com")
    token = await invite(directory, admin, anna, lock=True)
    assert not await goes_on(directory, stolen)
    assert (await login(directory.client, "anna@example.com", PASSWORD)).status_code == 401
    assert (await accept(directory, token, ANOTHER)).status_code == 200
    assert (await login(directory.client, "anna@example.com", ANOTHER)).status_code == 200


async def test_a_password_that_is_taken_away_while_it_is_checked_starts_no_session(
    directory: Any, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = await directory.employed(admin, "anna@example.com", password=PASSWORD)
    loop = asyncio.get_running_loop()
    verify = sessions._verify

    def slowly(password_hash: str, password: str) -> bool:
        asyncio.run_coroutine_threadsafe(invite(directory, admin, anna, lock=True), loop).result(30)
        return verify(password_hash, password)

    monkeypatch.setattr(sessions, "_verify", slowly)
    assert (await login(directory.client, "anna@example.com", PASSWORD)).status_code == 401


async def test_what_is_over_is_removed(directory: Any) -> None:
    await login(directory.client, "nobody@example.com", "wrong")
    async with directory.runtime.database.transaction() as connection:
        long_ago = datetime.now(UTC) - sessions.FORGET_ATTEMPTS_AFTER * 2
        await connection.execute(update(login_attempts).values(last_at=long_ago))
    await main.prune(directory.runtime)
    async with directory.runtime.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(login_attempts)) == 0
