"""Settings: typed, frozen, read once from the environment in `main`. A field's name is its variable's, in lower case.

`KernelSettings` is what every service reads; a service declares what it needs besides, under its own prefix:

    class Settings(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="LMS_REQUESTS_", frozen=True)
        attachment_folder: Path = Path("attachments")                    # LMS_REQUESTS_ATTACHMENT_FOLDER

    class Settings(BaseSettings):
        model_config = SettingsConfigDict(frozen=True)
        jwt_secret: Annotated[SecretStr, Strength(64)]                   # JWT_SECRET

    settings = load_settings(Settings)                                   # BadSettings: one line per variable

A field marked with `Strength(n)` has at least n characters, and in production must look random.
"""

import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

SettingsType = TypeVar("SettingsType", bound=BaseSettings)

PRODUCTION = "production"

_TELLTALES = ("your-", "change", "example", "default", "development", "password", "secret", "dev-", "test", "12345")
_WEAK_PASSWORDS = frozenset({"", "root", "password", "lms", "secret", "mysql", "admin", "changeme"})
_DISTINCT = 12
"""Fewer distinct characters than this in a secret mean that nobody drew it at random."""


class BadSettings(Exception):
    """The process cannot start with this environment; the text has one line per variable."""


@dataclass(frozen=True, slots=True)
class Strength:
    """Marks a secret: at least `minimum` characters, and drawn at random where the environment is production."""

    minimum: int


class ProcessSettings(BaseSettings):
    """What every process of LMS reads: where it listens, what it logs, who vouches for its callers."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    lms_environment: Literal["development", "test", "production"] = "development"
    lms_host: str = "127.0.0.1"
    lms_port: int = Field(8000, ge=0, le=65535)
    lms_log_level: Literal["debug", "info", "warning", "error"] = "info"
    lms_failpoints: str = ""
    lms_max_body_bytes: int = Field(1024 * 1024, ge=1024)
    redis_url: SecretStr
    jwt_public_key: str = Field(min_length=40)

    @property
    def production(self) -> bool:
        """Whether real people depend on this process."""
        return self.lms_environment == PRODUCTION

    @model_validator(mode="after")
    def _no_failpoints_in_production(self) -> Self:
        if self.production and self.lms_failpoints:
            raise ValueError("LMS_FAILPOINTS: failpoints kill processes on purpose; unset the variable in production.")
        return self


class KernelSettings(ProcessSettings):
    """What a service with its own schema reads.

    URLs have the form `mysql://user:password@host:port/schema`. `migration_database_url` belongs to a user who may
    change tables, and is needed only by `--migrate`; `keyring_database_url` to one who may read `keyring.data_keys`,
    unless the service's own user may. `encryption_key_previous` is set while keys are re-wrapped.
    """

    database_url: SecretStr
    migration_database_url: SecretStr | None = None
    keyring_database_url: SecretStr | None = None
    lms_database_pool: int = Field(10, ge=1, le=200)
    kafka_bootstrap_servers: str = Field(min_length=3)
    encryption_key: Annotated[SecretStr, Strength(32)]
    encryption_key_previous: Annotated[SecretStr | None, Strength(32)] = None

    def migration_url(self) -> str:
        """Return the URL to migrate with: MIGRATION_DATABASE_URL, else DATABASE_URL."""
        return (self.migration_database_url or self.database_url).get_secret_value()

    def previous_encryption_key(self) -> str | None:
        """Return ENCRYPTION_KEY_PREVIOUS, while there is one."""
        return self.encryption_key_previous.get_secret_value() if self.encryption_key_previous else None

    @model_validator(mode="after")
    def _urls_are_usable(self) -> Self:
        for name in ("database_url", "migration_database_url", "keyring_database_url"):
            secret: SecretStr | None = getattr(self, name)
            if secret is not None:
                complaint = _url_fault(secret.get_secret_value(), production=self.production)
                if complaint:
                    raise ValueError(f"{name.upper()}: {complaint}")
        return self


def load_settings(settings_type: type[SettingsType], **given: Any) -> SettingsType:
    """Read settings from the environment; `given` values win over it.

    Raises BadSettings, which names each variable, what is wrong with it, and what to do.
    """
    try:
        settings = settings_type(**given)
    except ValidationError as error:
        lines = [_line(dict(one), settings_type) for one in error.errors(include_url=False, include_input=False)]
        raise BadSettings("\n".join(lines)) from None
    environment = getattr(settings, "lms_environment", os.environ.get("LMS_ENVIRONMENT"))
    lines = []
    for name, field in settings_type.model_fields.items():
        strength = next((mark for mark in field.metadata if isinstance(mark, Strength)), None)
        secret = getattr(settings, name)
        if strength is not None and isinstance(secret, SecretStr):
            complaint = _weakness(secret.get_secret_value(), strength.minimum, production=environment == PRODUCTION)
            if complaint:
                lines.append(f"{_variable(name, settings_type)}: {complaint}")
    if lines:
        raise BadSettings("\n".join(lines))
    return settings


def _variable(name: str, settings_type: type[BaseSettings]) -> str:
    return f"{settings_type.model_config.get('env_prefix') or ''}{name}".upper()


def _line(error: dict[str, Any], settings_type: type[BaseSettings]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = _variable(str(error["loc"][0]), settings_type)
    if error["type"] == "missing":
        return f"{name}: not set; set it in the environment."
    return f"{name}: {message}; correct the variable and start again."


def _weakness(value: str, minimum: int, *, production: bool) -> str | None:
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
    if production and str(parsed.password or "") in _WEAK_PASSWORDS:
        return "has an empty or well-known password; give the user a generated one."
    if production and parsed.username == "root":
        return "connects as root; create a user limited to the service's schema."
    return None
