"""A service that opens and seals what it is asked to: for the rotation of its keys. `python opening.py NAME`."""

import sys
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from lms.kernel.http import get_runtime
from lms.kernel.ids import new_id
from lms.kernel.keyring import DataKey
from lms.kernel.sealed import Sealed
from lms.kernel.service import Service, run
from lms.kernel.settings import KernelSettings

router = APIRouter()
Runtime = Annotated[Any, Depends(get_runtime)]


@router.post("/open")
async def open_all(values: list[Sealed], runtime: Runtime) -> list[str]:
    """Open values with data keys as they are wrapped now, and not as they were."""
    for value in values:
        runtime.keyring.forget(value.subject)
    return [str(one) for one in await runtime.keyring.unseal_all(values)]


@router.post("/seal")
async def seal(runtime: Runtime) -> Sealed:
    """Seal a text about a person who joins just now: that person's id."""
    subject = new_id()
    async with runtime.database.transaction() as connection:
        key: DataKey = await runtime.keyring.create_key(connection, subject)
    return key.seal(subject)


if __name__ == "__main__":
    run(Service(name=sys.argv[1], settings=KernelSettings, routers=(router,)), ["--role", "api"])
