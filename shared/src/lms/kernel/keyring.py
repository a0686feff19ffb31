"""The keyring: one data key per person, so that destroying it erases what people wrote, in the log and everywhere.

Personal text is sealed with AES-256-GCM under its subject's data key; events and tables hold only the `Sealed` value.
Data keys stand in `keyring.data_keys`, wrapped by a key that is derived from ENCRYPTION_KEY. Rotation re-wraps data
keys and touches no sealed value; meanwhile processes hold two keys, of which one wraps and both open. Copies of data
keys live at most CACHE_SECONDS in a process's memory, so that an erasure holds everywhere after that time.

`directory` alone creates and destroys keys, in the transaction of the fact that causes it.
"""

import time
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import urandom
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Column, MetaData, Row, Select, Table, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.database import Database
from lms.kernel.errors import Conflict
from lms.kernel.ids import new_id
from lms.kernel.schema import instant, name, text_name
from lms.kernel.sealed import ERASED, Erased, Sealed
from lms.kernel.settings import KernelSettings

CACHE_SECONDS = 30.0
CACHE_KEYS = 10_000
REWRAP_BATCH = 500
POOL = 2

_NONCE = 12

_keyring = MetaData(schema="keyring")

data_keys = Table(
    "data_keys",
    _keyring,
    Column("subject", text_name(80), primary_key=True),
    Column("key_id", name(36), nullable=False),
    Column("wrapped_key", name(120), nullable=True),
    Column("created_at", instant(), nullable=False),
    Column("destroyed_at", instant(), nullable=True),
    mysql_engine="InnoDB",
    mariadb_engine="InnoDB",
)
"""One row per person: base64 of nonce and wrapped key, NULL once destroyed. The row stays, so that a restore of an
older back-up can be told from a person who never had a key."""

DDL = """
CREATE TABLE IF NOT EXISTS keyring.data_keys (
  subject VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  key_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  wrapped_key VARCHAR(120) CHARACTER SET ascii COLLATE ascii_bin NULL,
  created_at DATETIME(6) NOT NULL,
  destroyed_at DATETIME(6) NULL
) ENGINE=InnoDB
"""
"""What directory's first migration executes; the schema `keyring` itself is created with the database users."""


class NoKey(Conflict):
    """The person has no data key: unknown to the directory, or erased."""

    code = "no-data-key"


class Tampered(ValueError):
    """A sealed value or a wrapped key does not open under its own key: it was changed, or the wrong ENCRYPTION_KEY."""


def derive_key(secret: str, purpose: str) -> bytes:
    """Return 32 bytes for one purpose, by HKDF-SHA-256; the same secret and purpose give the same bytes."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"lms {purpose}".encode()).derive(secret.encode())


class Cipher:
    """Seals short texts under a key derived from the first of several secrets for one purpose; each of them opens."""

    def __init__(self, purpose: str, secret: str, *others: str) -> None:
        self._aeads = [AESGCM(derive_key(one, purpose)) for one in (secret, *others)]

    def seal(self, plain: bytes, about: str) -> str:
        """Return base64 of nonce and ciphertext, bound to `about`."""
        nonce = urandom(_NONCE)
        return b64encode(nonce + self._aeads[0].encrypt(nonce, plain, about.encode())).decode()

    def open(self, sealed: str, about: str) -> bytes:
        """Return the plain bytes of what `seal` returned for the same `about`. Raises Tampered if no secret does."""
        return self.opened(sealed, about)[1]

    def opened(self, sealed: str, about: str) -> tuple[int, bytes]:
        """Return which of the secrets opens it, counted from 0, and the plain bytes. Raises Tampered."""
        raw = b64decode(sealed)
        for number, aead in enumerate(self._aeads):
            try:
                return number, aead.decrypt(raw[:_NONCE], raw[_NONCE:], about.encode())
            except InvalidTag:
                continue
        raise Tampered("A sealed value does not open; was ENCRYPTION_KEY changed without `lms keyring rotate`?")


@dataclass(frozen=True)
class Survey:
    """How many data keys each ENCRYPTION_KEY of a keyring opens, in their order, and whose data keys none opens."""

    opened: tuple[int, ...]
    unopened: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many data keys there are."""
        return sum(self.opened) + len(self.unopened)


class _Held(NamedTuple):
    until: float
    key_id: str
    aead: AESGCM | None


@dataclass(frozen=True)
class DataKey:
    """One person's key, in the hands of the transaction that creates it; `secret` has 32 bytes and is never shown."""

    subject: str
    key_id: str
    secret: bytes = field(repr=False)

    @property
    def about(self) -> str:
        """What everything under this key is bound to."""
        return _about(self.subject, self.key_id)

    def seal(self, text: str) -> Sealed:
        """Seal a text about the person."""
        return _sealed(AESGCM(self.secret), self.subject, self.key_id, text)


class Keyring:
    """Seals and unseals with the data keys of people.

    `database` reaches the schema `keyring` (KEYRING_DATABASE_URL, or the service's own user where it was granted
    SELECT on it). What `encryption_key` or one of the `others` wrapped is opened; `encryption_key` wraps.
    """

    def __init__(self, database: Database, encryption_key: str, *others: str) -> None:
        self._database = database
        self._secrets = 1 + len(others)
        self._wrapping = Cipher("keyring", encryption_key, *others)
        self._held: OrderedDict[str, _Held] = OrderedDict()

    @classmethod
    def of(cls, settings: KernelSettings) -> Self:
        """Return the keyring of a process, on a small pool of its own; `close` it at the end.

        A command that seals holds a connection already: on the service's pool, commands could wait for each other's
        second connection for ever.
        """
        url = settings.keyring_database_url or settings.database_url
        return cls(Database(url.get_secret_value(), pool_size=POOL), *settings.encryption_keys())

    async def close(self) -> None:
        """Close the pool; needed only for a keyring made by `of`."""
        await self._database.close()

    @classmethod
    def rotating(cls, database: Database, old: str, new: str) -> Self:
        """Return a keyring that opens what `old` wrapped and wraps with `new`, for `rewrap`."""
        return cls(database, new, old)

    async def seal(self, subject: str, text: str) -> Sealed:
        """Seal a text about a person. Raises NoKey for a person without a key, or erased."""
        held = (await self._keys([subject])).get(subject)
        if held is None or held.aead is None:
            raise NoKey("Nothing can be written about this person: no data key exists.")
        return _sealed(held.aead, subject, held.key_id, text)

    async def unseal(self, sealed: Sealed) -> str | Erased:
        """Return the text, or ERASED once the subject's key is gone. Raises Tampered if the value was changed."""
        return (await self.unseal_all([sealed]))[0]

    async def unseal_all(self, sealed: Sequence[Sealed]) -> list[str | Erased]:
        """Return the texts of many values in their order, with at most one query."""
        keys = await self._keys({one.subject for one in sealed})
        return [_opened(one, keys.get(one.subject)) for one in sealed]

    async def create_key(self, connection: AsyncConnection, subject: str) -> DataKey:
        """Create a person's key in the caller's transaction and return it. A person who has one keeps it.

        What the same transaction writes about the person is sealed with the key returned: `seal` sees it only after
        the commit. Raises NoKey for a person whose key was destroyed: an erasure is for ever.
        """
        key = DataKey(subject, new_id(), urandom(32))
        try:
            async with connection.begin_nested():
                await connection.execute(
                    insert(data_keys).values(
                        subject=subject,
                        key_id=key.key_id,
                        wrapped_key=self._wrapping.seal(key.secret, key.about),
                        created_at=datetime.now(UTC),
                    )
                )
        except IntegrityError:
            row = (
                await connection.execute(
                    select(data_keys.c.key_id, data_keys.c.wrapped_key).where(data_keys.c.subject == subject)
                )
            ).one()
            if row.wrapped_key is None:
                raise NoKey("This person was erased, and cannot be given a data key again.") from None
            return DataKey(subject, row.key_id, self._wrapping.open(row.wrapped_key, _about(subject, row.key_id)))
        return key

    async def destroy(self, connection: AsyncConnection, subject: str) -> bool:
        """Destroy a person's key in the caller's transaction; say whether there was one to destroy.

        Other processes forget their copy within CACHE_SECONDS; call `forget` after the commit to do so here at once.
        """
        done = await connection.execute(
            update(data_keys)
            .where(data_keys.c.subject == subject, data_keys.c.wrapped_key.is_not(None))
            .values(wrapped_key=None, destroyed_at=datetime.now(UTC))
        )
        self.forget(subject)
        return done.rowcount > 0

    def forget(self, subject: str) -> None:
        """Drop this process's copy of a person's key."""
        self._held.pop(subject, None)

    async def survey(self) -> Survey:
        """Look which ENCRYPTION_KEY opens each data key; change nothing."""
        opened, unopened = [0] * self._secrets, list[str]()
        last = ""
        async with self._database.read() as connection:
            while rows := await _page(connection, _wrapped(), last):
                for row in rows:
                    number, _ = self._unwrapped(row)
                    if number is None:
                        unopened.append(row.subject)
                    else:
                        opened[number] += 1
                last = rows[-1].subject
        return Survey(tuple(opened), tuple(unopened))

    async def rewrap(self) -> int:
        """Wrap anew, with the first ENCRYPTION_KEY, every data key that another one wrapped; return how many.

        Sealed values stay as they are, and so does a data key that none of the keys opens. Safe to repeat after an
        interruption, for each batch is a transaction: what is wrapped anew stays so. A key that is destroyed meanwhile
        stays destroyed.
        """
        last, count = "", 0
        while True:
            async with self._database.transaction() as connection:
                rows = await _page(connection, _wrapped().with_for_update(), last)
                for row in rows:
                    number, secret = self._unwrapped(row)
                    if number:
                        wrapped = self._wrapping.seal(secret, _about(row.subject, row.key_id))
                        await connection.execute(
                            update(data_keys).where(data_keys.c.subject == row.subject).values(wrapped_key=wrapped)
                        )
                        count += 1
            if not rows:
                return count
            last = rows[-1].subject

    def _unwrapped(self, row: Row[tuple[str, str, str]]) -> tuple[int | None, bytes]:
        """Return which ENCRYPTION_KEY opens a data key, and that; None where no key does."""
        try:
            return self._wrapping.opened(row.wrapped_key, _about(row.subject, row.key_id))
        except Tampered:
            return None, b""

    async def _keys(self, subjects: Iterable[str]) -> dict[str, _Held]:
        now = time.monotonic()
        found: dict[str, _Held] = {}
        missing: list[str] = []
        for subject in subjects:
            held = self._held.get(subject)
            if held is not None and held.until > now:
                found[subject] = held
            else:
                missing.append(subject)
        if missing:
            async with self._database.read() as connection:
                rows = await connection.execute(
                    select(data_keys.c.subject, data_keys.c.key_id, data_keys.c.wrapped_key).where(
                        data_keys.c.subject.in_(missing)
                    )
                )
                for row in rows:
                    found[row.subject] = self._hold(row.subject, row.key_id, row.wrapped_key, now)
        return found

    def _hold(self, subject: str, key_id: str, wrapped: str | None, now: float) -> _Held:
        aead = None if wrapped is None else AESGCM(self._wrapping.open(wrapped, _about(subject, key_id)))
        held = _Held(now + CACHE_SECONDS, key_id, aead)
        self._held[subject] = held
        self._held.move_to_end(subject)
        if len(self._held) > CACHE_KEYS:
            self._held.popitem(last=False)
        return held


def _wrapped() -> Select[tuple[str, str, str]]:
    """Select the data keys that are not destroyed, in the order of their subjects."""
    return (
        select(data_keys.c.subject, data_keys.c.key_id, data_keys.c.wrapped_key)
        .where(data_keys.c.wrapped_key.is_not(None))
        .order_by(data_keys.c.subject)
    )


async def _page(
    connection: AsyncConnection, query: Select[tuple[str, str, str]], after: str
) -> Sequence[Row[tuple[str, str, str]]]:
    return (await connection.execute(query.where(data_keys.c.subject > after).limit(REWRAP_BATCH))).all()


def _opened(sealed: Sealed, held: _Held | None) -> str | Erased:
    if held is None or held.aead is None or held.key_id != sealed.key:
        return ERASED
    raw = b64decode(sealed.sealed)
    try:
        return held.aead.decrypt(raw[:_NONCE], raw[_NONCE:], _about(sealed.subject, sealed.key).encode()).decode()
    except InvalidTag:
        raise Tampered("A sealed text does not open under its own key: it was changed.") from None


def _sealed(aead: AESGCM, subject: str, key_id: str, text: str) -> Sealed:
    nonce = urandom(_NONCE)
    ciphertext = aead.encrypt(nonce, text.encode(), _about(subject, key_id).encode())
    return Sealed(sealed=b64encode(nonce + ciphertext).decode(), subject=subject, key=key_id)


def _about(subject: str, key_id: str) -> str:
    """Return what a ciphertext is bound to, so that it opens for no other person and under no other key."""
    return f"{subject}/{key_id}"
