"""What the notifications service reads from the environment, besides the kernel's settings."""

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from lms.kernel.settings import KernelSettings


class Settings(KernelSettings):
    """The notifications service's settings: `LMS_NOTIFICATIONS_…`, and the mail server under the operators' names.

    `smtp_starttls`: `required`, `offered` (encrypt if the server can), or `off`.
    `mail_retry_seconds` is the first pause after a failed attempt; each further one is twice as long, up to an hour.
    `mail_lease_seconds` is how long a mail stays with a sender that has died before another takes it.
    `web_url` is where people open LMS, for the link in a mail. `streams_folder` holds what Faust keeps between starts.
    """

    model_config = SettingsConfigDict(env_prefix="LMS_NOTIFICATIONS_")

    smtp_host: str = Field(validation_alias="SMTP_HOST", min_length=1)
    smtp_port: int = Field(587, validation_alias="SMTP_PORT", ge=1, le=65535)
    smtp_user: str = Field("", validation_alias="SMTP_USER")
    smtp_pass: SecretStr = Field(SecretStr(""), validation_alias="SMTP_PASS")
    smtp_from: str = Field(validation_alias="SMTP_FROM", pattern=r"^[^@\s]+@[^@\s]+$")
    smtp_starttls: Literal["required", "offered", "off"] = Field("offered", validation_alias="SMTP_STARTTLS")

    mail_attempts: int = Field(14, ge=1, le=50)
    mail_retry_seconds: float = Field(15.0, gt=0, le=3600)
    mail_timeout_seconds: float = Field(10.0, gt=0, le=60)
    mail_lease_seconds: float = Field(60.0, gt=0, le=3600)
    web_url: str = ""

    reminder_hours: int = Field(48, ge=1)
    digest_hour: int = Field(7, ge=0, le=23)
    scan_seconds: float = Field(60.0, gt=0)
    streams_folder: Path = Path("/tmp/lms-streams")  # noqa: S108  # nothing in it is needed after a restart

    @property
    def mail_retry(self) -> timedelta:
        """The pause after the first failed attempt."""
        return timedelta(seconds=self.mail_retry_seconds)

    @property
    def reminder_after(self) -> timedelta:
        """How long a case waits before its approver is reminded, and then again."""
        return timedelta(hours=self.reminder_hours)

    @model_validator(mode="after")
    def _production_encrypts(self) -> Self:
        if self.production and self.smtp_starttls == "off" and self.smtp_pass.get_secret_value():
            raise ValueError("SMTP_STARTTLS: `off` would send SMTP_PASS in clear; set `required`.")
        return self
