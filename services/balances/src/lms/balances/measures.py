"""What balances measures: whether what fell due is recorded in time."""

from datetime import UTC, datetime, time

from prometheus_client import Gauge

from lms.balances import store
from lms.balances.projections import people
from lms.kernel.service import Runtime

LATENESS = Gauge(
    "accrual_lateness_seconds",
    "Since the beginning of the earliest day whose accruals are not all recorded; 0 when nothing is due. Business time",
)
REMAINING = Gauge("accrual_remaining_people", "People for whom a run has yet to record what is due")


async def measure_accruals(runtime: Runtime) -> None:
    """Measure how late the accruals are."""
    now = runtime.clock.now()
    async with runtime.database.read() as connection:
        run = await store.open_run(connection)
        entered = await store.run_of(connection, now.date()) is not None
        known = await people.count(connection) if run is None and not entered else 0
    since = run.through if run is not None else None if entered else now.date()
    LATENESS.set(0 if since is None else max(0.0, (now - datetime.combine(since, time(), UTC)).total_seconds()))
    REMAINING.set(known if run is None else max(0, run.total - run.done))
