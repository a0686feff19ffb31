"""What the directory reads from the environment, besides the kernel's settings."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from lms.kernel.settings import KernelSettings, Strength


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
    administrator is created when nobody is employed yet. `cookie_secure` follows the environment unless it is set.
    """

    model_config = SettingsConfigDict(env_prefix="LMS_DIRECTORY_")

    jwt_secret: Annotated[SecretStr, Strength(64)] = Field(validation_alias="JWT_SECRET")
    service_accounts: dict[str, ServiceAccount] = Field(default_factory=dict)
    bootstrap_admin_email: str | None = None
    bootstrap_admin_password: SecretStr | None = None
    cookie_secure: bool | None = None
    session_days: int = Field(30, ge=1, le=365)
    invitation_days: int = Field(14, ge=1, le=90)
    import_rows: int = Field(20_000, ge=1, le=100_000)

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies travel over TLS only: everywhere but in development over plain http."""
        return self.environment != "development" if self.cookie_secure is None else self.cookie_secure
