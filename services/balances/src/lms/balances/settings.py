"""The settings of balances: the kernel's, and its own with the prefix LMS_BALANCES_."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from lms.kernel.settings import KernelSettings


class Settings(KernelSettings):
    """Read from the environment in `main`."""

    model_config = SettingsConfigDict(env_prefix="LMS_BALANCES_")

    cache_seconds: int = Field(1800, ge=0)
    """How long an answer of GET /balances may serve again; 0 switches the cache off. It never outlives a change."""
