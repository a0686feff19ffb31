"""What requests counts and measures: requests that came to each status, and leave that is yet to be charged anew."""

from datetime import UTC

from prometheus_client import Counter, Gauge

from lms.kernel.event import Event
from lms.kernel.metrics import Few
from lms.kernel.service import Runtime
from lms.requests import store
from lms.requests.events import (
    LeaveAmended,
    LeaveCancellationRequested,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveRefused,
    LeaveRequested,
)
from lms.requests.projections.leave_types import known_types

LEAVE_REQUESTS = Counter(
    "leave_requests_total", "Requests for leave that came to a status, by leave type", ("status", "type")
)

RECHARGE_LATENESS = Gauge(
    "recharge_lateness_seconds",
    "Since the oldest change of holidays that has not reached all leave was heard of; 0 when none waits. Business time",
)
RECHARGE_REMAINING = Gauge("recharge_remaining_people", "People whose leave is yet to be charged anew")

STATUSES = ("pending", "approved", "rejected", "cancelled", "cancellation-requested")

_type = Few(50)


def tally(event: Event) -> None:
    """Count a request that has come to another status."""
    match event:
        case LeaveRequested() | LeaveAmended():
            status = "pending"
        case LeaveConfirmed():
            status = "approved"
        case LeaveRefused():
            status = "rejected"
        case LeaveCancelled():
            status = "cancelled"
        case LeaveCancellationRequested():
            status = "cancellation-requested"
        case _:
            return
    LEAVE_REQUESTS.labels(status, _type(event.leave_type)).inc()


async def announce_leave_types(runtime: Runtime) -> None:
    """Let the requests of each leave type read 0 until there is one."""
    async with runtime.database.read() as connection:
        for leave_type in await known_types(connection):
            for status in STATUSES:
                LEAVE_REQUESTS.labels(status, _type(leave_type))


async def measure_recharges(runtime: Runtime) -> None:
    """Measure how late the corrections are."""
    async with runtime.database.read() as connection:
        runs = await store.open_runs(connection)
    since = min((run.started_at for run in runs), default=None)
    late = 0.0 if since is None else (runtime.clock.now() - since.replace(tzinfo=UTC)).total_seconds()
    RECHARGE_LATENESS.set(max(0.0, late))
    RECHARGE_REMAINING.set(sum(max(0, run.total - run.done) for run in runs))
