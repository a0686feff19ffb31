"""Sealed text: what stands in events and tables instead of what a person wrote. Pure; the keyring opens it."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class Sealed(BaseModel):
    """A text that only its subject's data key opens. `sealed` is base64 of nonce and ciphertext."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sealed: str
    subject: str
    key: str


@dataclass(frozen=True, slots=True)
class Erased:
    """What unsealing gives when the subject's key was destroyed; all instances are equal."""

    def __str__(self) -> str:
        return "[erased]"


ERASED = Erased()
