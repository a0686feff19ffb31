"""Approvals: its wiring, and the process that runs it."""

from datetime import timedelta
from pathlib import Path

from lms.approvals.api import router
from lms.approvals.commands import reroute_daily
from lms.approvals.consumers import CASES, FACTS, REROUTING
from lms.approvals.decider import CASE
from lms.approvals.events import EVENTS, EXAMPLES, TOPIC
from lms.approvals.invariants import INVARIANTS
from lms.approvals.measures import count_open_cases
from lms.approvals.projections.approver_inbox import ApproverInbox
from lms.kernel.service import Job, Service, run

SERVICE = Service(
    name="approvals",
    examples=EXAMPLES,
    deciders=(CASE,),
    publishes={TOPIC: EVENTS},
    inline=(ApproverInbox,),
    consumers=(FACTS, CASES, REROUTING),
    routers=(router,),
    jobs=(Job("rerouting", every=timedelta(seconds=5), run=reroute_daily),),
    invariants=INVARIANTS,
    measures=(count_open_cases,),
    migrations=Path(__file__).parents[3] / "migrations",
)


def main() -> None:
    """Run the service."""
    run(SERVICE)


if __name__ == "__main__":
    main()
