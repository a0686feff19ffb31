"""What requests counts: the requests that came to each status, by leave type."""

from prometheus_client import Counter

from lms.kernel.event import Event
from lms.kernel.metrics import Few
from lms.kernel.service import Runtime
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
