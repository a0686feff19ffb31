"""What the gateway reads from the environment, besides what every process reads."""

from functools import cached_property
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from lms.kernel.settings import ProcessSettings


class Settings(ProcessSettings):
    """The gateway's settings: `LMS_GATEWAY_…`, and the rate limit and CORS under the operators' own names.

    Each `…_url` is one URL, or several separated by commas: copies of that service. A rate of 0 means no limit.
    `trusted_proxies` is the number of our own reverse proxies in front: so many addresses, from the right, of
    X-Forwarded-For are believed. Every copy is asked each `probe_seconds` whether it takes requests. `web_folder` is
    where the web app was built; without one it is not served here.
    """

    model_config = SettingsConfigDict(env_prefix="LMS_GATEWAY_")

    directory_url: str = Field(min_length=8)
    requests_url: str = Field(min_length=8)
    balances_url: str = Field(min_length=8)
    approvals_url: str = Field(min_length=8)
    audit_url: str = Field(min_length=8)
    notifications_url: str = Field(min_length=8)

    rate_limit_window_ms: int = Field(900_000, validation_alias="RATE_LIMIT_WINDOW_MS", ge=1000)
    rate_limit_max_requests: int = Field(100, validation_alias="RATE_LIMIT_MAX_REQUESTS", ge=0)
    rate_limit_signed_in: int = Field(6000, ge=0)
    rate_limit_service_accounts: int = Field(0, ge=0)
    cors_origin: str = Field("", validation_alias="CORS_ORIGIN")

    tls: bool = False
    trusted_proxies: int = Field(0, ge=0, le=10)
    timeout_seconds: float = Field(15.0, gt=0, le=300)
    connect_timeout_seconds: float = Field(1.0, gt=0, le=30)
    probe_seconds: float = Field(0.5, gt=0, le=60)
    web_folder: Path | None = None
    max_import_bytes: int = Field(8 * 1024 * 1024, ge=1024)

    @cached_property
    def upstreams(self) -> dict[str, tuple[str, ...]]:
        """The addresses of each service's copies."""
        urls = {
            "directory": self.directory_url,
            "requests": self.requests_url,
            "balances": self.balances_url,
            "approvals": self.approvals_url,
            "audit": self.audit_url,
            "notifications": self.notifications_url,
        }
        return {name: _listed(value, strip="/") for name, value in urls.items()}

    @cached_property
    def origins(self) -> frozenset[str]:
        """The origins whose pages may call the API."""
        return frozenset(_listed(self.cors_origin, strip="/"))


def _listed(text: str, *, strip: str) -> tuple[str, ...]:
    return tuple(one.strip().rstrip(strip) for one in text.split(",") if one.strip())
