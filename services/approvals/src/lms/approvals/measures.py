"""What approvals measures: the cases that wait for somebody."""

from datetime import UTC, datetime

from prometheus_client import Gauge

from lms.approvals.projections.approver_inbox import waiting
from lms.kernel.service import Runtime

OPEN = Gauge("approval_cases_open", "Cases that wait for a decision")
OLDEST = Gauge("approval_case_oldest_age_seconds", "How long the case waits that was opened first")


async def count_open_cases(runtime: Runtime) -> None:
    """Count the cases that wait."""
    async with runtime.database.read() as connection:
        count, since = await waiting(connection)
    OPEN.set(count)
    OLDEST.set(0 if since is None else max(0.0, (datetime.now(UTC) - since).total_seconds()))
