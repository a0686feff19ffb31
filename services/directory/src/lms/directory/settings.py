"""What the directory reads from the environment, besides the kernel's settings."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from lms.kernel.settings import KernelSettings, Strength

ACT_FOR = "act-for"
"""The scope of a service account that may act for any person, outside production only."""


class ServiceAccount(BaseModel):
    """A program that may ask for access tokens, such as payroll or a loader.

    `secret_sha256` is the SHA-256 (64 hexadecimal digits) of its secret, which must be drawn at random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


class Settings(KernelSettings):
    """The directory's settings: `LMS_DIRECTORY_…`, and `JWT_SECRET`, which no other service has.

    `service_accounts` is JSON: `{"payroll": {"secret_sha256": "…", "scopes": ["payroll.read"]}}`. The bootstrap
    administrator is created when nobody is employed yet. Whether cookies travel over TLS only follows the environment
    unless it is set: by `COOKIE_SECURE`, by `SESSION_SECURE`, for a session is a cookie here, or by the name that it
    had before, `cookie_secure`. `cookie_same_site` says whether cookies come along when another site leads here:
    `strict` never, `lax` with a link that somebody follows. `erasure_list` is the file that keeps who was erased, on
    storage that no restore of a database touches.
    """

    model_config = SettingsConfigDict(env_prefix="LMS_DIRECTORY_")

    jwt_secret: Annotated[SecretStr, Strength(64)] = Field(validation_alias="JWT_SECRET")
    service_accounts: dict[str, ServiceAccount] = Field(default_factory=dict)
    bootstrap_admin_email: str | None = None
    bootstrap_admin_password: SecretStr | None = None
    cookies_by_tls: bool | None = Field(None, validation_alias="COOKIE_SECURE")
    sessions_by_tls: bool | None = Field(None, validation_alias="SESSION_SECURE")
    cookie_secure: bool | None = None
    cookie_same_site: Literal["strict", "lax"] = Field("strict", validation_alias="COOKIE_SAME_SITE")
    session_days: int = Field(30, ge=1, le=365)
    invitation_days: int = Field(14, ge=1, le=90)
    import_rows: int = Field(20_000, ge=1, le=100_000)
    erasure_list: Path | None = None

    @model_validator(mode="after")
    def _production_keeps_erasures(self) -> Self:
        if self.production and self.erasure_list is None:
            raise ValueError(
                "LMS_DIRECTORY_ERASURE_LIST is missing: name a file on storage of its own, so that a restored back-up "
                "forgets again whoever was erased."
            )
        return self

    @model_validator(mode="after")
    def _nothing_contradicts_how_secure_cookies_are(self) -> Self:
        said = self._cookies_said_to_be_secure()
        if len(set(said.values())) > 1:
            told = ", ".join(f"{name} is {str(value).lower()}" for name, value in said.items())
            raise ValueError(f"{told}: they are names of one setting; set one of them, or all the same.")
        return self

    @model_validator(mode="after")
    def _nobody_acts_for_others_in_production(self) -> Self:
        acting = sorted(name for name, account in self.service_accounts.items() if ACT_FOR in account.scopes)
        if self.production and acting:
            raise ValueError(
                f"LMS_DIRECTORY_SERVICE_ACCOUNTS: {', '.join(acting)} could act for anybody; in production no account "
                f"has the scope `{ACT_FOR}`. Remove it."
            )
        return self

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies travel over TLS only: everywhere but in development over plain http."""
        said = self._cookies_said_to_be_secure().values()
        return self.environment != "development" if not said else all(said)

    def _cookies_said_to_be_secure(self) -> dict[str, bool]:
        """Return what the environment says of it, by variable."""
        said = {
            "COOKIE_SECURE": self.cookies_by_tls,
            "SESSION_SECURE": self.sessions_by_tls,
            "LMS_DIRECTORY_COOKIE_SECURE": self.cookie_secure,
        }
        return {name: value for name, value in said.items() if value is not None}
