"""What notifications measures: the mails that were not sent."""

from prometheus_client import Gauge

from lms.kernel.service import Runtime
from lms.notifications import store

UNSENT = Gauge("notification_mails_unsent", "Mails that were not sent, by state", ("status",))
OLDEST = Gauge("notification_mail_oldest_age_seconds", "How long the mail waits that was made first, business time")


async def count_unsent_mails(runtime: Runtime) -> None:
    """Count the mails that wait and those that were given up."""
    async with runtime.database.read() as connection:
        counted = await store.counted(connection, ("pending", "failed"))
        since = await store.waits_since(connection)
    for status, count in counted.items():
        UNSENT.labels(status).set(count)
    OLDEST.set(0 if since is None else max(0.0, (runtime.clock.now() - since).total_seconds()))
