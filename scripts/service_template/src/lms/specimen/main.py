"""Specimen: its wiring, and the process that runs it."""

from pathlib import Path

from lms.kernel.service import Service, run
from lms.specimen.api import router
from lms.specimen.decider import THING
from lms.specimen.events import EVENTS, EXAMPLES, TOPIC
from lms.specimen.projections.things import Things

SERVICE = Service(
    name="specimen",
    examples=EXAMPLES,
    deciders=(THING,),
    publishes={TOPIC: EVENTS},
    inline=(Things,),
    routers=(router,),
    migrations=Path(__file__).parents[3] / "migrations",
)


def main() -> None:
    """Run the service."""
    run(SERVICE)


if __name__ == "__main__":
    main()
