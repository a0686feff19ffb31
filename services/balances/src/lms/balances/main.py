"""Balances: its wiring, and the process that runs it."""

from datetime import timedelta
from pathlib import Path

from lms.balances.api import ROUTERS
from lms.balances.commands import run_accruals
from lms.balances.consumers import ACCOUNTS, FACTS, LIFE_OF_REQUEST
from lms.balances.decider import LEAVE_ACCOUNT, LEAVE_TYPE, POLICY
from lms.balances.events import EVENTS, EXAMPLES
from lms.balances.invariants import INVARIANTS
from lms.balances.measures import measure_accruals
from lms.balances.projections import INLINE
from lms.balances.settings import Settings
from lms.kernel.service import Job, Service, run

SERVICE = Service(
    name="balances",
    settings=Settings,
    examples=EXAMPLES,
    deciders=(LEAVE_ACCOUNT, LEAVE_TYPE, POLICY),
    publishes={"leave.balances.v1": EVENTS},
    inline=INLINE,
    consumers=(FACTS, ACCOUNTS, LIFE_OF_REQUEST),
    routers=ROUTERS,
    jobs=(Job("accruals", every=timedelta(seconds=1), run=run_accruals),),
    invariants=INVARIANTS,
    measures=(measure_accruals,),
    migrations=Path(__file__).parents[3] / "migrations",
)


def main() -> None:
    """Run the service."""
    run(SERVICE)


if __name__ == "__main__":
    main()
