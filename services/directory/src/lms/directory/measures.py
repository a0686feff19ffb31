"""What the directory measures: how many people it knows."""

from prometheus_client import Gauge

from lms.directory.projections.employees import count
from lms.kernel.service import Runtime

EMPLOYEES = Gauge("directory_employees", "People who are or were employed")


async def count_employees(runtime: Runtime) -> None:
    """Count the people."""
    async with runtime.database.read() as connection:
        EMPLOYEES.set(await count(connection))
