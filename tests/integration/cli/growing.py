"""A service that grows when it is asked to: for the tests of the memory limit."""

from fastapi import APIRouter

from lms.kernel.service import Service, run
from lms.kernel.settings import ProcessSettings

router = APIRouter()
_kept: list[bytes] = []


@router.post("/grow")
async def grow(megabytes: int) -> None:
    """Take memory and keep it."""
    _kept.append(b"\1" * (megabytes * 1024 * 1024))


if __name__ == "__main__":
    run(Service(name="growing", settings=ProcessSettings, routers=(router,)), [])
