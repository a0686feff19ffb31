"""Notifications: its wiring, and the process that runs it. Reminders and digests run in another: `streams.py`."""

from datetime import timedelta
from pathlib import Path

from lms.kernel.service import Job, Service, run
from lms.notifications.api import router
from lms.notifications.commands.mailing import mail_server_answers, send_due
from lms.notifications.consumers import FACTS, TELLING
from lms.notifications.invariants import INVARIANTS
from lms.notifications.measures import count_unsent_mails
from lms.notifications.settings import Settings

SERVICE = Service(
    name="notifications",
    settings=Settings,
    consumers=(FACTS, TELLING),
    routers=(router,),
    checks={"email": mail_server_answers},
    jobs=(Job("mail", every=timedelta(seconds=1), run=send_due),),
    invariants=INVARIANTS,
    measures=(count_unsent_mails,),
    migrations=Path(__file__).parents[3] / "migrations",
)


def main() -> None:
    """Run the service."""
    run(SERVICE)


if __name__ == "__main__":
    main()
