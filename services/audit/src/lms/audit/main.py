"""Audit: its wiring, and the process that runs it."""

from datetime import timedelta
from pathlib import Path

import structlog

from lms.audit import commands
from lms.audit.api import router
from lms.audit.consumers import RECORD
from lms.audit.decider import DECIDERS
from lms.audit.events import EVENTS, EXAMPLES, TOPIC
from lms.audit.invariants import INVARIANTS
from lms.audit.measures import keep_proof, measure_log
from lms.audit.settings import Settings
from lms.kernel.service import Job, Runtime, Service, run

_log = structlog.get_logger(__name__)


async def sign(runtime: Runtime) -> None:
    """Sign a checkpoint if the log has grown."""
    async with runtime.database.read() as connection:
        await commands.sign_checkpoint(runtime.executor, connection, runtime.settings)


async def prove(runtime: Runtime) -> None:
    """Verify the whole log, and write down what was found."""
    async with runtime.database.snapshot() as connection:
        faults = (await commands.verify(connection, runtime.settings)).faults
    await keep_proof(runtime, len(faults))
    for fault in faults[:10]:
        _log.error("the audit log does not verify", fault=fault, faults=len(faults))


SERVICE = Service(
    name="audit",
    settings=Settings,
    examples=EXAMPLES,
    deciders=DECIDERS,
    publishes={TOPIC: EVENTS},
    consumers=(RECORD,),
    routers=(router,),
    jobs=(
        Job("checkpoints", every=timedelta(seconds=10), run=sign),
        Job("proof", every=timedelta(minutes=15), run=prove),
    ),
    on_restored=commands.sign_restored,
    invariants=INVARIANTS,
    measures=(measure_log,),
    migrations=Path(__file__).parents[3] / "migrations",
)


def main() -> None:
    """Run the service."""
    run(SERVICE)


if __name__ == "__main__":
    main()
