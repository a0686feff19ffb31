import asyncio
import time

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text

from lms.kernel import keyring as keyrings
from lms.kernel.database import Database
from lms.kernel.ids import new_id
from lms.kernel.keyring import Keyring, NoKey, Survey, Tampered, data_keys
from lms.kernel.sealed import ERASED, Sealed
from lms.kernel.settings import KernelSettings

OLD = "old-encryption-key-0123456789abcdef"
NEW = "new-encryption-key-0123456789abcdef"
WAITING = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
"""How many transactions wait for another one's row. The server looks anew for whoever has not asked for 0.1 s."""


@pytest.fixture
def keyring(database: Database) -> Keyring:
    return Keyring(database, OLD)


async def person(database: Database, keyring: Keyring) -> str:
    subject = new_id()
    async with database.transaction() as connection:
        await keyring.create_key(connection, subject)
    return subject


async def test_a_sealed_text_is_unsealed_by_any_process_with_the_key(database: Database, keyring: Keyring) -> None:
    subject = await person(database, keyring)
    sealed = await keyring.seal(subject, "Grippe, 39 °C")
    assert "Grippe" not in sealed.model_dump_json()
    assert await Keyring(database, OLD).unseal(sealed) == "Grippe, 39 °C"
    assert sealed != await keyring.seal(subject, "Grippe, 39 °C")


async def test_destroying_the_key_erases_every_sealed_text(database: Database, keyring: Keyring) -> None:
    subject, other = await person(database, keyring), await person(database, keyring)
    gone, kept = await keyring.seal(subject, "gone"), await keyring.seal(other, "kept")
    async with database.transaction() as connection:
        assert await keyring.destroy(connection, subject)
        assert not await keyring.destroy(connection, subject)
    assert await keyring.unseal_all([gone, kept, gone]) == [ERASED, "kept", ERASED]
    assert await Keyring(database, OLD).unseal(gone) == ERASED
    with pytest.raises(NoKey):
        await keyring.seal(subject, "more")
    with pytest.raises(NoKey):
        async with database.transaction() as connection:
            await keyring.create_key(connection, subject)


async def test_a_copy_in_memory_is_forgotten_in_time(
    database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = await person(database, keyring)
    elsewhere = Keyring(database, OLD)
    sealed = await elsewhere.seal(subject, "soon gone")
    async with database.transaction() as connection:
        await keyring.destroy(connection, subject)
    assert await elsewhere.unseal(sealed) == "soon gone"
    later = time.monotonic() + keyrings.CACHE_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert await elsewhere.unseal(sealed) == ERASED


async def test_commands_that_hold_every_connection_can_still_seal(database: Database, keyring: Keyring) -> None:
    subjects = [await person(database, keyring) for _ in range(4)]
    url = SecretStr(database.url.render_as_string(hide_password=False))
    own = Keyring.of(
        KernelSettings(
            database_url=url,
            redis_url=SecretStr("redis://127.0.0.1:1"),
            kafka_bootstrap_servers="127.0.0.1:1",
            encryption_key=SecretStr(OLD),
            jwt_public_key="x" * 44,
        )
    )
    small = Database(url.get_secret_value(), pool_size=2, pool_timeout=1)

    async def command(subject: str) -> Sealed:
        async with small.transaction():
            return await own.seal(subject, "text")

    assert len(await asyncio.gather(*(command(subject) for subject in subjects))) == 4
    await own.close()
    await small.close()


async def test_a_rolled_back_key_leaves_nothing(database: Database, keyring: Keyring) -> None:
    subject = new_id()
    async with database.transaction() as connection:
        await keyring.create_key(connection, subject)
        await connection.rollback()
    with pytest.raises(NoKey):
        await keyring.seal(subject, "nobody")
    assert await keyring.unseal(Sealed(sealed="AAAA", subject=subject, key="none")) == ERASED


async def test_a_person_keeps_the_first_key(database: Database, keyring: Keyring) -> None:
    subject = new_id()
    async with database.transaction() as connection:
        first = await keyring.create_key(connection, subject)
        assert await keyring.create_key(connection, subject) == first


async def test_rotation_rewraps_keys_and_touches_no_sealed_text(
    database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyrings, "REWRAP_BATCH", 2)
    subjects = [await person(database, keyring) for _ in range(5)]
    sealed = [await keyring.seal(subject, subject) for subject in subjects]
    async with database.transaction() as connection:
        await keyring.destroy(connection, subjects[0])
    assert await Keyring(database, NEW, OLD).survey() == Survey((0, 4), ())
    assert await Keyring.rotating(database, OLD, NEW).rewrap() == 4
    assert await Keyring.rotating(database, OLD, NEW).rewrap() == 0
    assert await Keyring(database, NEW, OLD).survey() == Survey((4, 0), ())
    assert await Keyring(database, NEW).unseal_all(sealed) == [ERASED, *subjects[1:]]
    with pytest.raises(Tampered):
        await Keyring(database, OLD).unseal(sealed[1])


async def test_an_interrupted_rotation_leaves_every_key_whole_and_goes_on(
    database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyrings, "REWRAP_BATCH", 2)
    sealed = {one: await keyring.seal(one, one) for one in [await person(database, keyring) for _ in range(6)]}
    rotating = Keyring.rotating(database, OLD, NEW)
    calls, wrap = 0, rotating._wrapping.seal

    def cut_off(plain: bytes, about: str) -> str:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise ConnectionError
        return wrap(plain, about)

    monkeypatch.setattr(rotating._wrapping, "seal", cut_off)
    with pytest.raises(ConnectionError):
        await rotating.rewrap()
    assert await Keyring(database, NEW, OLD).survey() == Survey((2, 4), ()), "the batch under way is undone"
    assert await Keyring(database, OLD, NEW).unseal_all(list(sealed.values())) == list(sealed)
    assert await Keyring.rotating(database, OLD, NEW).rewrap() == 4
    assert await Keyring(database, NEW).unseal_all(list(sealed.values())) == list(sealed)


async def test_a_key_that_no_secret_opens_is_named_and_left(database: Database, keyring: Keyring) -> None:
    subject, stranger = await person(database, keyring), await person(database, Keyring(database, "x" * 40))
    rotating = Keyring.rotating(database, OLD, NEW)
    assert await rotating.rewrap() == 1
    assert await rotating.survey() == Survey((1, 0), (stranger,))
    assert await Keyring(database, "x" * 40).survey() == Survey((1,), (subject,))


async def test_a_person_erased_during_a_rotation_stays_erased(database: Database, keyring: Keyring) -> None:
    subject = await person(database, keyring)
    sealed = await keyring.seal(subject, "gone")
    rotating = Keyring.rotating(database, OLD, NEW)
    async with database.transaction() as connection:
        await keyring.destroy(connection, subject)
        waiting = asyncio.create_task(rotating.rewrap())
        while not await connection.scalar(text(WAITING)):  # noqa: ASYNC110  # looked for from outside
            await asyncio.sleep(0.15)
    assert await waiting == 0
    assert await Keyring(database, NEW, OLD).unseal(sealed) == ERASED


async def test_a_changed_text_or_one_of_another_person_does_not_open(database: Database, keyring: Keyring) -> None:
    subject, other = await person(database, keyring), await person(database, keyring)
    sealed, others = await keyring.seal(subject, "mine"), await keyring.seal(other, "theirs")
    with pytest.raises(Tampered):
        await keyring.unseal(sealed.model_copy(update={"sealed": others.sealed}))
    async with database.read() as connection:
        wrapped = await connection.scalar(select(data_keys.c.wrapped_key).where(data_keys.c.subject == other))
    async with database.transaction() as connection:
        await connection.execute(data_keys.update().where(data_keys.c.subject == subject).values(wrapped_key=wrapped))
    with pytest.raises(Tampered):
        await Keyring(database, OLD).unseal(sealed)
    async with database.transaction() as connection:
        await connection.execute(data_keys.delete().where(data_keys.c.subject == subject))
