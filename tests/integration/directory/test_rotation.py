"""Two copies of the directory go through a rotation of ENCRYPTION_KEY, and after each step each does everything."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text

from lms.directory import store
from lms.directory.events import EmployeeContactChanged
from lms.directory.main import SERVICE, prepare
from lms.directory.settings import Settings
from lms.kernel.http import create_app
from lms.kernel.keyring import Keyring, Survey, data_keys
from lms.kernel.service import Runtime

OLD = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
NEW = "9a8b7c6d5e4f30211203f4e5d6c7b8a9"
ADMIN = ("admin@example.com", "correct-horse-battery")

ONE = {"encryption_key": OLD}
HOLDS_BOTH = {"encryption_key": OLD, "encryption_key_next": NEW}
SEALS_WITH_NEW = {"encryption_key": NEW, "encryption_key_previous": OLD}
OVER = {"encryption_key": NEW}


class Company:
    """Two copies of one directory, each with keys of its own, and the people and answers of all of them."""

    def __init__(self, settings: Settings, organisation: dict[str, str], headers: dict[str, str]) -> None:
        self._settings = settings
        self._organisation = organisation
        self._headers = headers
        self._open = AsyncExitStack()
        self.copies: dict[str, tuple[Runtime, httpx.AsyncClient]] = {}
        self.people: dict[str, str] = {}
        self.answers: list[tuple[str, dict[str, Any], str]] = []

    async def start(self, name: str, keys: dict[str, str]) -> None:
        """Start a copy, or start it anew with other keys."""
        runtime = Runtime(SERVICE, self._settings.model_copy(update={k: SecretStr(v) for k, v in keys.items()}))
        self._open.push_async_callback(runtime.database.close)
        self._open.push_async_callback(runtime.keyring.close)
        self._open.push_async_callback(runtime.redis.aclose)
        await prepare(runtime)
        runtime.ready = True
        transport = httpx.ASGITransport(app=create_app(runtime, SERVICE.routers, title="directory"))
        client = httpx.AsyncClient(transport=transport, base_url="http://directory", headers=self._headers)
        self.copies[name] = (runtime, await self._open.enter_async_context(client))

    async def stop(self) -> None:
        """Close what the copies hold."""
        await self._open.aclose()

    async def work(self) -> None:
        """Have each copy employ somebody; then have each do everything about everybody."""
        for name, (_, client) in self.copies.items():
            email, key = f"{name}.{len(self.people)}@example.com", f"key-{name}-{len(self.people)}"
            body = self.joining(email)
            joined = await client.post("/api/v1/employees", json=body, headers={"Idempotency-Key": key})
            assert joined.status_code == 201, joined.text
            self.people[email] = joined.json()["id"]
            self.answers.append((key, body, joined.text))
        for runtime, client in self.copies.values():
            signed_in = await client.post("/api/v1/auth/login", json={"email": ADMIN[0], "password": ADMIN[1]})
            assert signed_in.status_code == 200, signed_in.text
            await self._opens_every_text(runtime)
            for email in self.people:
                await self._knows(client, email)
            for key, body, text_ in self.answers:
                again = await client.post("/api/v1/employees", json=body, headers={"Idempotency-Key": key})
                told = {**json.loads(text_), "invitation": None}
                assert (again.status_code, again.json()) == (201, told), "an answer is not given again"

    def joining(self, email: str) -> dict[str, Any]:
        """Return the request that employs somebody with an address."""
        return {
            "email": email, "given_name": "Some", "family_name": "Body", "employed_from": "2026-01-01",
            **self._organisation,
        }  # fmt: skip

    async def _opens_every_text(self, runtime: Runtime) -> None:
        async with runtime.database.read() as connection:
            for email, employee in self.people.items():
                contact = (await runtime.store.read(connection, f"employee-{employee}"))[1].event
                assert isinstance(contact, EmployeeContactChanged)
                runtime.keyring.forget(employee)
                assert await runtime.keyring.unseal(contact.email) == email

    async def _knows(self, client: httpx.AsyncClient, email: str) -> None:
        found = await client.get("/api/v1/employees", params={"q": email.upper()})
        assert [one["id"] for one in found.json()["items"]] == [self.people[email]], "an address is not found"
        twin = await client.post("/api/v1/employees", json=self.joining(email))
        assert (twin.status_code, twin.json()["code"]) == (409, "email-taken"), "an address is given twice"


async def waits(runtime: Runtime) -> bool:
    """Say whether a transaction waits for another one's row; the server looks anew after 0.1 s without a question."""
    async with runtime.database.read() as connection:
        found = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        return bool(await connection.scalar(text(found)))


@pytest.fixture
async def company(settings: Settings, directory: Any, admin: dict[str, str]) -> AsyncIterator[Company]:
    async with directory.runtime.database.transaction() as connection:
        own = select(store.people.c.employee_id)
        await connection.execute(data_keys.delete().where(data_keys.c.subject.not_in(own)))  # those of other tests
    made = Company(settings, directory.organisation, admin)
    for name in ("a", "b"):
        await made.start(name, ONE)
    yield made
    await made.stop()


async def test_nobody_meets_what_they_cannot_open_at_any_step(company: Company) -> None:
    await company.work()
    for keys in (HOLDS_BOTH, SEALS_WITH_NEW):
        for name in company.copies:
            await company.start(name, keys)
            await company.work()
    runtime, _ = company.copies["a"]
    wrapped = len(company.people) + 1
    rotating = Keyring.rotating(runtime.database, OLD, NEW)
    assert sum((await rotating.survey()).opened) == wrapped
    await rotating.rewrap()
    await company.work()
    company.answers.clear()  # those that the old key sealed are over before it goes
    for name in company.copies:
        await company.start(name, OVER)
        await company.work()
    assert await Keyring(runtime.database, NEW).survey() == Survey((len(company.people) + 1,), ())


async def test_a_step_left_out_breaks_the_copies_of_before(company: Company) -> None:
    await company.start("a", SEALS_WITH_NEW)
    with pytest.raises(AssertionError):
        await company.work()


async def test_two_copies_with_different_keys_give_an_address_to_one_person(company: Company) -> None:
    await company.start("a", SEALS_WITH_NEW)
    await company.start("b", HOLDS_BOTH)
    for number in range(5):
        body = company.joining(f"race{number}@example.com")
        answers = await asyncio.gather(
            *(client.post("/api/v1/employees", json=body) for _, client in company.copies.values() for _ in range(3))
        )
        assert sorted(one.status_code for one in answers) == [201, *[409] * 5]


async def test_an_address_that_changes_while_look_up_values_are_rewritten_is_found(company: Company) -> None:
    await company.work()
    email, employee = next(iter(company.people.items()))
    runtime, _ = company.copies["a"]
    old, new = store.EmailIndex(OLD), store.EmailIndex(NEW, OLD)
    async with runtime.database.transaction() as connection, runtime.database.transaction() as rewriting:
        await store.change_person(
            connection, employee, {"email": "married@example.com", "email_hmac": old.hmac_of("married@example.com")}
        )
        under_way = asyncio.create_task(store.reindex_emails(rewriting, new))
        while not under_way.done() and not await waits(runtime):  # noqa: ASYNC110  # looked for from outside
            await asyncio.sleep(0.15)
        await connection.commit()
        await under_way
    async with runtime.database.read() as connection:
        assert await store.ids_by_email(connection, new.hmacs_of(email)) == {}
        found = await store.ids_by_email(connection, new.hmacs_of("married@example.com"))
    assert list(found.values()) == [employee]
