"""Requests: its wiring, and the process that runs it."""

from datetime import timedelta
from pathlib import Path

from lms.kernel.service import Job, Service, run
from lms.requests.api import ROUTERS
from lms.requests.commands import run_recharges
from lms.requests.consumers import CORRECTIONS, FACTS, PROCESS
from lms.requests.decider import ABSENCES, BOOK, CALENDAR
from lms.requests.events import BOOK_EVENTS, EXAMPLES, PAYROLL_EVENTS, PAYROLL_TOPIC, TOPIC
from lms.requests.invariants import INVARIANTS
from lms.requests.measures import announce_leave_types, measure_recharges, tally
from lms.requests.projections.leave_requests import LeaveRequests
from lms.requests.projections.payroll_lines import PayrollLines
from lms.requests.projections.payroll_periods import PayrollPeriods

SERVICE = Service(
    name="requests",
    examples=EXAMPLES,
    deciders=(BOOK, ABSENCES, CALENDAR),
    publishes={TOPIC: BOOK_EVENTS, PAYROLL_TOPIC: PAYROLL_EVENTS},
    inline=(LeaveRequests, PayrollLines, PayrollPeriods),
    consumers=(FACTS, PROCESS, CORRECTIONS),
    routers=ROUTERS,
    jobs=(Job("recharges", every=timedelta(seconds=1), run=run_recharges),),
    invariants=INVARIANTS,
    measures=(announce_leave_types, measure_recharges),
    tally=tally,
    migrations=Path(__file__).parents[3] / "migrations",
)


def main() -> None:
    """Run the service."""
    run(SERVICE)


if __name__ == "__main__":
    main()
