"""Requests: its wiring, and the process that runs it."""

from pathlib import Path

from lms.kernel.service import Service, run
from lms.requests.api import ROUTERS
from lms.requests.consumers import FACTS, PROCESS
from lms.requests.decider import BOOK
from lms.requests.events import EVENTS, EXAMPLES, TOPIC
from lms.requests.invariants import INVARIANTS
from lms.requests.measures import announce_leave_types, tally
from lms.requests.projections.leave_requests import LeaveRequests

SERVICE = Service(
    name="requests",
    examples=EXAMPLES,
    deciders=(BOOK,),
    publishes={TOPIC: EVENTS},
    inline=(LeaveRequests,),
    consumers=(FACTS, PROCESS),
    routers=ROUTERS,
    invariants=INVARIANTS,
    measures=(announce_leave_types,),
    tally=tally,
    migrations=Path(__file__).parents[3] / "migrations",
)


def main() -> None:
    """Run the service."""
    run(SERVICE)


if __name__ == "__main__":
    main()
