"""Rotating ENCRYPTION_KEY while everybody works: people's data keys are wrapped anew, sealed texts stay as they are.

A process seals with one key and opens with up to three. So there is an order in which nobody ever meets what it cannot
open, and every step may be repeated:

1. everybody holds the new key as ENCRYPTION_KEY_NEXT, and seals with the old one;
2. everybody seals with the new key, and holds the old one as ENCRYPTION_KEY_PREVIOUS;
3. the data keys are wrapped anew;
4. when the answers to idempotency keys that the old one sealed are over, and the back-ups of the keyring from before,
   nobody needs the old key.

`rotate` is step 3 and refuses while somebody is not there yet. `rotate_home` does the first three for an embedded
system.
"""

import asyncio
import fcntl
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from lms.cli.home import Home, read, write
from lms.cli.servers import SCHEMAS, MySQLServer, RedisServer
from lms.kernel.cache import connect
from lms.kernel.database import Database
from lms.kernel.idempotency import KEPT
from lms.kernel.key_holders import FORGOTTEN_SECONDS, Holder, fingerprint, holders
from lms.kernel.keyring import Keyring, Survey
from lms.kernel.settings import SHORTEST_ENCRYPTION_KEY, load, none_if_empty, weakness

CURRENT, NEXT, PREVIOUS = "ENCRYPTION_KEY", "ENCRYPTION_KEY_NEXT", "ENCRYPTION_KEY_PREVIOUS"
WRITER = "lms_directory"
"""The database user who may change the keyring."""

HEARD_SECONDS = 3.0 * FORGOTTEN_SECONDS
"""How long it may take until every process that was started anew is heard of, and no other."""

_KEY_BYTES = 48
_POLL_SECONDS = 0.2

Tell = Callable[[str], None]
Restart = Callable[[], Awaitable[None]]


class Refused(Exception):
    """The key is not rotated, or not now; the text says why and what to do."""


class KeyringSettings(BaseSettings):
    """What `lms keyring` reads where it is not given an embedded system: the environment of the directory."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    database_url: SecretStr = Field(validation_alias=AliasChoices("KEYRING_DATABASE_URL", "DATABASE_URL"))
    redis_url: SecretStr = Field(validation_alias="REDIS_URL")
    encryption_key: SecretStr = Field(validation_alias=CURRENT)
    encryption_key_next: Annotated[SecretStr | None, BeforeValidator(none_if_empty)] = Field(
        None, validation_alias=NEXT
    )
    encryption_key_previous: Annotated[SecretStr | None, BeforeValidator(none_if_empty)] = Field(
        None, validation_alias=PREVIOUS
    )


@dataclass(frozen=True)
class Access:
    """Where the keyring is, where processes tell what they hold, and the encryption keys by their variables."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    keys: Mapping[str, str] = field(repr=False)

    @classmethod
    def of_environment(cls) -> "Access":
        """Return what the environment says. Raises BadSettings."""
        settings = load(KeyringSettings)
        given = {
            CURRENT: settings.encryption_key,
            PREVIOUS: settings.encryption_key_previous,
            NEXT: settings.encryption_key_next,
        }
        return cls(
            settings.database_url.get_secret_value(),
            settings.redis_url.get_secret_value(),
            {variable: key.get_secret_value() for variable, key in given.items() if key is not None},
        )

    @classmethod
    def of_home(cls, home: Home) -> "Access":
        """Return what holds in an embedded system; `home` is attached to it."""
        return cls(MySQLServer(home).url(WRITER, "keyring"), RedisServer(home).url, home.encryption_keys())

    @property
    def variables(self) -> list[str]:
        """The variables that there are, the one whose key wraps first."""
        return sorted(self.keys)  # ENCRYPTION_KEY comes before the longer names

    def name_of(self, told: str) -> str:
        """Return the variable of a key, by its fingerprint, and that."""
        known = {fingerprint(key): variable for variable, key in self.keys.items()}
        return f"{known.get(told, 'another key')} ({told})"

    @asynccontextmanager
    async def keyring(self) -> AsyncIterator[Keyring]:
        """Open the keyring with the keys. Raises Refused for a database that cannot be used."""
        database = Database(self.database_url, pool_size=1)
        try:
            yield Keyring(database, *(self.keys[variable] for variable in self.variables))
        except (DBAPIError, OSError) as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise Refused(f"The keyring's database cannot be used: {reason}. It is safe to run this again.") from error
        finally:
            await database.close()

    async def holders(self) -> list[Holder]:
        """Return every process that is heard of. Raises Refused when Redis is away."""
        client = connect(self.redis_url)
        try:
            return await holders(client)
        except (RedisError, OSError) as error:
            raise Refused(
                f"Redis cannot be asked which keys the services hold: {error}. Set REDIS_URL to theirs; with --force"
                " nobody is asked, which is right while every service is stopped."
            ) from error
        finally:
            await client.aclose()


@dataclass(frozen=True)
class Rotated:
    """How many data keys were wrapped anew and how many had been before, and whose no key opens."""

    rewrapped: int
    before: int
    unopened: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """What each process holds, and how many data keys each encryption key opens, by variable."""

    holders: list[Holder]
    unheard: tuple[str, ...]
    opened: Mapping[str, int]
    unopened: tuple[str, ...]


# Anywhere -------------------------------------------------------------------------------------------------------------


async def status(access: Access) -> Status:
    """Look how far a rotation is; change nothing. Raises Refused."""
    found = await access.holders()
    async with access.keyring() as keyring:
        survey = await keyring.survey()
    heard = {one.service for one in found}
    unheard = tuple(one for one in SCHEMAS if one not in heard)
    return Status(found, unheard, _by_variable(access, survey), survey.unopened)


async def rotate(access: Access, *, force: bool = False) -> Rotated:
    """Wrap every data key with ENCRYPTION_KEY; those that ENCRYPTION_KEY_PREVIOUS wrapped are there to be wrapped anew.

    Raises Refused, before anything is changed, for keys that will not do, and while a process would meet what it
    cannot open or still wraps with another key; with `force` processes are not asked.
    """
    check_keys(access.keys)
    async with access.keyring() as keyring:
        survey = await keyring.survey()
        _refuse_a_wrong_key(survey)
    if not force:
        _refuse_while_others_seal(access, await access.holders())
    return await _rewrapped(access)


async def _rewrapped(access: Access) -> Rotated:
    async with access.keyring() as keyring:
        count = await keyring.rewrap()
        after = await keyring.survey()
    return Rotated(count, after.total - count - len(after.unopened), after.unopened)


def check_keys(keys: Mapping[str, str]) -> None:
    """Raise Refused unless there are a new key, fit for production, and an old one that differs."""
    complaint = weakness(keys[CURRENT], SHORTEST_ENCRYPTION_KEY, production=True)
    if complaint is not None:
        raise Refused(f"{CURRENT}, the new key, {complaint}")
    if PREVIOUS not in keys:
        raise Refused(f"{PREVIOUS}: not set; set it to the key of before, and {CURRENT} to the new one.")
    if keys[PREVIOUS] == keys[CURRENT]:
        raise Refused(f"{CURRENT} and {PREVIOUS} are the same key; draw a new one with `openssl rand -base64 64`.")


def _refuse_a_wrong_key(survey: Survey) -> None:
    if survey.unopened and not any(survey.opened[1:]):
        raise Refused(
            f"{PREVIOUS} opens none of the {survey.total:,} data keys, and {CURRENT} {survey.opened[0]:,} of them. Is"
            " it the key that the services had before? Nothing was changed."
        )


def _refuse_while_others_seal(access: Access, found: Collection[Holder]) -> None:
    new, complaints = fingerprint(access.keys[CURRENT]), []
    for one in found:
        if new not in one.fingerprints:
            complaints.append(f"{one.service} ({one.process}) does not hold it: it could open nothing afterwards")
        elif one.fingerprints[0] != new:
            complaints.append(f"{one.service} ({one.process}) still seals with {access.name_of(one.fingerprints[0])}")
    heard = {one.service for one in found}
    complaints += [f"{one} is not heard of" for one in SCHEMAS if one not in heard]
    if complaints:
        listed = "\n".join(f"- {one}" for one in complaints)
        raise Refused(
            f"Not every service seals with the new key ({new}) yet:\n{listed}\nFirst let all of them hold it as"
            f" {NEXT}, then as {CURRENT} with the old one as {PREVIOUS} (docs/hardening.md). A process that was"
            f" killed is forgotten after {FORGOTTEN_SECONDS} s; --force does not ask, which is right while every"
            " service is stopped. Nothing was changed."
        )


def _by_variable(access: Access, survey: Survey) -> dict[str, int]:
    return dict(zip(access.variables, survey.opened, strict=True))


# An embedded system ---------------------------------------------------------------------------------------------------


async def rotate_home(home: Home, programs: Iterable[str], restart: Restart, tell: Tell) -> Rotated:
    """Draw a new key and take a running embedded system through all steps; `restart` restarts its services in turns.

    `programs` are its processes. An interrupted rotation goes on where it was. Raises Refused, also while services
    need the key of before the last rotation.
    """
    with _alone(home):
        if "rotating" not in home.state:
            await _begin(home, tell)
        environments = _environments_with_keys(home, programs)
        if "encryption-next" in home.secrets:
            tell("every service gets the new key beside the old one")
            await _processes_hold_what_is_kept(home, environments, restart)
            home.change_secrets(
                {
                    "encryption": home.secrets["encryption-next"],
                    "encryption-previous": home.secrets["encryption"],
                    "encryption-next": None,
                }
            )
        tell("every service seals with the new key")
        await _processes_hold_what_is_kept(home, environments, restart)
        rotated = await _rewrapped(Access.of_home(home))
        del home.state["rotating"]
        home.state["encryption_since"] = datetime.now(UTC).isoformat(timespec="seconds")
        home.save()
        return rotated


async def _begin(home: Home, tell: Tell) -> None:
    """Draw the next key, unless a restore brought back data keys of before the last rotation: then that is repeated."""
    access = Access.of_home(home)
    async with access.keyring() as keyring:
        survey = await keyring.survey()
    previous_is_used = _by_variable(access, survey).get(PREVIOUS, 0) > 0
    if survey.unopened and not any(survey.opened):
        raise Refused(f"The key in {home.folder} opens none of the {survey.total:,} data keys. Nothing was changed.")
    if not previous_is_used and "encryption-next" not in home.secrets:
        if "encryption_since" in home.state:
            over = datetime.fromisoformat(home.state["encryption_since"]) + KEPT
            if datetime.now(UTC) < over:
                raise Refused(
                    f"The key was rotated not long ago, and services need the one of before until {over:%Y-%m-%d %H:%M}"
                    " UTC: it sealed answers to idempotency keys. Rotate again after that."
                )
        home.change_secrets({"encryption-previous": None, "encryption-next": _drawn()})
        tell("a new key is drawn; no back-up of the files holds it yet")
    home.state["rotating"] = datetime.now(UTC).isoformat(timespec="seconds")
    home.save()


def _drawn() -> str:
    """Return a new key; not one of the few that look like a placeholder by chance, for no service would take it."""
    while weakness(key := secrets.token_urlsafe(_KEY_BYTES), SHORTEST_ENCRYPTION_KEY, production=True) is not None:
        pass
    return key


def _environments_with_keys(home: Home, programs: Iterable[str]) -> dict[str, Path]:
    """Return the files of the environments of those programs that have an encryption key."""
    paths = {program: home.folder / "env" / f"{program}.json" for program in programs}
    return {program: path for program, path in paths.items() if CURRENT in read(path)}


async def _processes_hold_what_is_kept(home: Home, environments: Mapping[str, Path], restart: Restart) -> None:
    """Restart the services unless each process holds the keys that the home has now; wait until all are heard of."""
    for path in environments.values():
        kept = {name: value for name, value in read(path).items() if name not in (CURRENT, NEXT, PREVIOUS)}
        write(path, {**kept, **home.encryption_keys()})
    access = Access.of_home(home)
    if _unlike(access, await access.holders(), environments):
        await restart()
    until = time.monotonic() + HEARD_SECONDS
    while unlike := _unlike(access, await access.holders(), environments):
        if time.monotonic() > until:
            raise Refused(
                f"{', '.join(unlike)} did not tell in {HEARD_SECONDS:.0f} s that the keys of {home.folder} are held;"
                " see `lms keyring status` and `lms logs`, and run this again: it goes on where it was."
            )
        await asyncio.sleep(_POLL_SECONDS)


def _unlike(access: Access, found: Collection[Holder], programs: Iterable[str]) -> list[str]:
    """Return the programs that are not heard of, and whoever holds other keys than these."""
    current, everything = fingerprint(access.keys[CURRENT]), {fingerprint(one) for one in access.keys.values()}
    differ = {one.instance for one in found if one.fingerprints[0] != current or set(one.fingerprints) != everything}
    return sorted(differ | (set(programs) - {one.instance for one in found}))


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Let one rotation at a time go on. Raises Refused."""
    with (home.folder / "rotation.lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"Another rotation of {home.folder} is under way.") from None
        yield
