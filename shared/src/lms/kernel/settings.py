"""Settings: typed, frozen, read once from the environment in `main`.

    class Settings(KernelSettings):
        model_config = SettingsConfigDict(env_prefix="LMS_REQUESTS_")
        attachment_folder: Path = Path("attachments")          # LMS_REQUESTS_ATTACHMENT_FOLDER

    settings = load(Settings)                                   # raises BadSettings with one line per variable

`ProcessSettings` is what every process has; `KernelSettings` adds what a service with a database has. The kernel's
variables keep their names whatever prefix a service chooses. A field marked with `Strength(n)` must have at least n
characters, and in production must look random.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

SettingsType = TypeVar("SettingsType", bound=BaseSettings)

_TELLTALES = ("your-", "change", "example", "default", "development", "password", "secret", "dev-", "test", "12345")
_WEAK_PASSWORDS = frozenset({"", "root", "password", "lms", "secret", "mysql", "admin", "changeme"})
_BROKERS = re.compile(r"(?:sasl\+ssl://[^:@/]+:[^:@/]+@)?[^:@/,?]+:\d+(?:,[^:@/,?]+:\d+)*(?:\?ca=.+)?")
SHORTEST_ENCRYPTION_KEY = 32
"""Characters."""

_DISTINCT = 12
"""Fewer distinct characters than this in a secret mean that nobody drew it at random."""


def none_if_empty(value: Any) -> Any:
    """Read a variable that is there and empty, as `docker compose` leaves it, like one that is not there."""
    return value or None


class BadSettings(Exception):
    """The process cannot start with this environment; the text has one line per variable."""


@dataclass(frozen=True, slots=True)
class Strength:
    """Marks a secret: at least `minimum` characters, and drawn at random where the environment is production."""

    minimum: int


_OtherKey = Annotated[SecretStr | None, BeforeValidator(none_if_empty), Strength(SHORTEST_ENCRYPTION_KEY)]


class ProcessSettings(BaseSettings):
    """What every process of LMS reads: where it listens, what it logs, who vouches for its callers.

    `instance` names this copy of the service, differently from its twins and the same after a restart: the consumer
    groups then know a restarted copy again and need no rebalance. Empty is always right, and slower after a crash.
    `listen_fd` is a listening socket that the process manager holds for several copies. For `drain_seconds` after it
    was asked to stop the process still answers, while it says that it is not ready. With more than `memory_limit_mb`
    of resident memory it stops, to be started anew; 0 means no limit.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_prefix="LMS_", populate_by_name=True, hide_input_in_errors=True
    )

    environment: Literal["development", "test", "production"] = Field("development", validation_alias="LMS_ENVIRONMENT")
    host: str = Field("127.0.0.1", validation_alias="LMS_HOST")
    port: int = Field(8000, validation_alias="LMS_PORT", ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", validation_alias="LMS_LOG_LEVEL")
    redis_url: SecretStr = Field(validation_alias="REDIS_URL")
    jwt_public_key: str = Field(validation_alias="JWT_PUBLIC_KEY", min_length=40)
    failpoints: str = Field("", validation_alias="LMS_FAILPOINTS")
    instance: str = Field("", validation_alias="LMS_INSTANCE", max_length=40)
    max_body_bytes: int = Field(1024 * 1024, validation_alias="LMS_MAX_BODY_BYTES", ge=1024)
    listen_fd: int | None = Field(None, validation_alias="LMS_LISTEN_FD", ge=0, le=1023)
    drain_seconds: float = Field(1.0, validation_alias="LMS_DRAIN_SECONDS", ge=0, le=60)
    memory_limit_mb: int = Field(1024, validation_alias="LMS_MEMORY_LIMIT_MB", ge=0)

    @property
    def production(self) -> bool:
        """Whether real people depend on this process."""
        return self.environment == "production"

    @model_validator(mode="after")
    def _secrets_are_strong(self) -> Self:
        for name, field in type(self).model_fields.items():
            strength = next((mark for mark in field.metadata if isinstance(mark, Strength)), None)
            value = getattr(self, name)
            if strength is None or value is None:
                continue
            complaint = weakness(value.get_secret_value(), strength.minimum, production=self.production)
            if complaint:
                raise ValueError(f"{variable(name, field, type(self))}: {complaint}")
        if self.production and self.failpoints:
            raise ValueError("LMS_FAILPOINTS: failpoints kill processes on purpose; unset the variable in production.")
        return self


class KernelSettings(ProcessSettings):
    """What a service with its own schema reads besides.

    URLs have the form `mysql://user:password@host:port/schema`; with `?ssl_ca=FILE` they demand TLS.
    `migration_database_url` belongs to a user who may change tables, and is needed only by `--migrate`.
    `encryption_key` seals; `encryption_key_next` and `encryption_key_previous` open as well, while the key is rotated
    (docs/hardening.md). `verify_hours` is how often the service verifies itself; 0: never, somebody else runs
    `--verify`. The schema's replica, where there is one, answers reads that may be `replica_lag_seconds` old
    (`replica.py`).
    """

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    migration_database_url: SecretStr | None = Field(None, validation_alias="MIGRATION_DATABASE_URL")
    replica_database_url: Annotated[SecretStr | None, BeforeValidator(none_if_empty)] = Field(
        None, validation_alias="REPLICA_DATABASE_URL"
    )
    replica_lag_seconds: float = Field(5.0, validation_alias="LMS_REPLICA_LAG_SECONDS", ge=3, le=30)
    database_pool: int = Field(10, validation_alias="LMS_DATABASE_POOL", ge=1, le=200)
    kafka_bootstrap_servers: str = Field(validation_alias="KAFKA_BOOTSTRAP_SERVERS", min_length=3, repr=False)
    encryption_key: Annotated[SecretStr, Strength(SHORTEST_ENCRYPTION_KEY)] = Field(validation_alias="ENCRYPTION_KEY")
    encryption_key_next: _OtherKey = Field(None, validation_alias="ENCRYPTION_KEY_NEXT")
    encryption_key_previous: _OtherKey = Field(None, validation_alias="ENCRYPTION_KEY_PREVIOUS")
    keyring_database_url: SecretStr | None = Field(None, validation_alias="KEYRING_DATABASE_URL")
    verify_hours: int = Field(24, validation_alias="LMS_VERIFY_HOURS", ge=0)

    def migration_url(self) -> str:
        """Return the URL to migrate with: MIGRATION_DATABASE_URL, else DATABASE_URL."""
        return (self.migration_database_url or self.database_url).get_secret_value()

    def encryption_keys(self) -> tuple[str, ...]:
        """Return ENCRYPTION_KEY, which seals, and then those that open as well, each once."""
        held = (self.encryption_key, self.encryption_key_previous, self.encryption_key_next)
        return tuple(dict.fromkeys(one.get_secret_value() for one in held if one is not None))

    @model_validator(mode="after")
    def _brokers_are_named(self) -> Self:
        if not _BROKERS.fullmatch(self.kafka_bootstrap_servers):
            raise ValueError(
                "KAFKA_BOOTSTRAP_SERVERS: write host:port,host:port or"
                " sasl+ssl://user:password@host:port,host:port?ca=/path/to/ca.crt."
            )
        return self

    @model_validator(mode="after")
    def _urls_are_usable(self) -> Self:
        for name in ("database_url", "migration_database_url", "keyring_database_url", "replica_database_url"):
            secret: SecretStr | None = getattr(self, name)
            if secret is not None:
                complaint = _url_fault(secret.get_secret_value(), production=self.production)
                if complaint:
                    raise ValueError(f"{name.upper()}: {complaint}")
        return self

    @model_validator(mode="after")
    def _the_replica_has_the_same_schema(self) -> Self:
        if self.replica_database_url is not None:
            primary, replica = (
                make_url(one.get_secret_value()).database for one in (self.database_url, self.replica_database_url)
            )
            if primary != replica:
                raise ValueError(
                    f"REPLICA_DATABASE_URL: names the schema {replica}, and DATABASE_URL {primary}; name the same one."
                )
        return self


def load(settings_type: type[SettingsType], **given: Any) -> SettingsType:
    """Read the settings from the environment; `given` values win over it.

    Raises BadSettings, which names each variable, what is wrong with it, and what to do.
    """
    try:
        return settings_type(**given)
    except ValidationError as error:
        lines = [_line(dict(one), settings_type) for one in error.errors(include_url=False, include_input=False)]
        raise BadSettings("\n".join(lines)) from None


def variable(name: str, field: FieldInfo, settings_type: type[BaseSettings]) -> str:
    """Return the environment variable that a field is read from."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return str(alias) if alias is not None else f"{settings_type.model_config['env_prefix']}{name}".upper()


def weakness(value: str, minimum: int, *, production: bool) -> str | None:
    """Return what is wrong with a secret and how to mend it; None when it is strong enough."""
    remedy = "generate one with `openssl rand -base64 64`."
    if len(value) < minimum:
        return f"has {len(value)} characters and needs at least {minimum}; {remedy}"
    if not production:
        return None
    if any(mark in value.lower() for mark in _TELLTALES):
        return f"looks like a placeholder, not a secret; {remedy}"
    if len(set(value)) < _DISTINCT:
        return f"has fewer than {_DISTINCT} different characters; {remedy}"
    return None


def _line(error: dict[str, Any], settings_type: type[BaseSettings]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    first = str(error["loc"][0])
    fields = settings_type.model_fields
    name = variable(first, fields[first], settings_type) if first in fields else first
    if error["type"] == "missing":
        return f"{name}: not set; set it in the environment."
    return f"{name}: {message}; correct the variable and start again."


def _url_fault(url: str, *, production: bool) -> str | None:
    form = "write mysql://user:password@host:port/schema."
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return f"is not a URL; {form}"
    if not parsed.drivername.startswith(("mysql", "mariadb")):
        return f"names {parsed.drivername}, and LMS runs on MySQL or MariaDB; {form}"
    if not parsed.host or not parsed.database:
        return f"lacks the host or the schema; {form}"
    authority = parsed.query.get("ssl_ca")
    if authority is not None and not Path(str(authority)).is_file():
        return "asks for TLS, and the file of the authority (ssl_ca) is not there; mount it, or correct the path."
    return _account_fault(parsed) if production else None


def _account_fault(url: URL) -> str | None:
    if (url.password or "") in _WEAK_PASSWORDS:
        return "has an empty or well-known password; give the user a generated one."
    if url.username == "root":
        return "connects as root; create a user limited to the service's schema."
    return None
