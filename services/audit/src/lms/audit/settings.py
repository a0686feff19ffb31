"""What the audit service reads from the environment, besides the kernel's settings."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from lms.kernel.settings import KernelSettings, Strength


class Settings(KernelSettings):
    """The audit service's settings: `LMS_AUDIT_…`.

    `signing_key` is the secret that the checkpoint key is derived from; no other service has it. `checkpoint_file` is
    an append-only file on storage of its own: whoever can rewrite the database must not be able to rewrite it.
    """

    model_config = SettingsConfigDict(env_prefix="LMS_AUDIT_")

    signing_key: Annotated[SecretStr, Strength(64)]
    checkpoint_file: Path | None = None
    log_id: str = Field("lms", pattern=r"^[a-z0-9-]{1,40}$")

    @model_validator(mode="after")
    def _production_keeps_checkpoints(self) -> Self:
        if self.production and self.checkpoint_file is None:
            raise ValueError(
                "LMS_AUDIT_CHECKPOINT_FILE is missing: name a file on storage of its own, so that a cut tail of the "
                "log is found whatever happens to the database."
            )
        return self
