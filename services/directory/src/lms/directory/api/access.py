"""What the routes share: who may do what, and the parts of the process that commands need."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends
from pydantic import Field

from lms.directory import store
from lms.directory.commands.people import Registry
from lms.directory.settings import Settings
from lms.kernel.auth import Caller, TokenSigner, requires
from lms.kernel.clock import BusinessClock
from lms.kernel.execution import Executor
from lms.kernel.http import get_runtime

Editor = Annotated[Caller, Depends(requires("hr", "admin"))]
"""Who may change the directory."""

Name = Annotated[str, Field(min_length=1, max_length=120)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,36}$")]
Email = Annotated[str, Field(max_length=254, pattern=r"^\s*[^@\s]+@[^@\s]+\s*$")]


@dataclass(frozen=True)
class Parts:
    """The parts of the process that the directory's routes and jobs use."""

    settings: Settings
    executor: Executor
    clock: BusinessClock
    registry: Registry
    signer: TokenSigner


def parts_of(runtime: Any) -> Parts:
    """Return the parts of a Runtime."""
    settings: Settings = runtime.settings
    return Parts(
        settings=settings,
        executor=runtime.executor,
        clock=runtime.clock,
        registry=Registry(
            keyring=runtime.keyring,
            emails=store.EmailIndex(*settings.encryption_keys()),
            invitation_lifetime=timedelta(days=settings.invitation_days),
        ),
        signer=TokenSigner(settings.jwt_secret.get_secret_value()),
    )


async def _parts(runtime: Annotated[Any, Depends(get_runtime)]) -> Parts:
    return parts_of(runtime)


PartsDep = Annotated[Parts, Depends(_parts)]


def is_editor(caller: Caller) -> bool:
    """Say whether the caller may see and change everybody."""
    return caller.has("hr", "admin")
