"""The gateway: its wiring, and the process that runs it."""

from functools import partial

from lms.gateway.admin import router
from lms.gateway.api import check, watch, wrap
from lms.gateway.settings import Settings
from lms.kernel.service import Service, run

SERVICE = Service(
    name="gateway",
    settings=Settings,
    checks={
        "directory": partial(check, service="directory"),
        "requests": partial(check, service="requests"),
        "balances": partial(check, service="balances"),
        "approvals": partial(check, service="approvals"),
        "audit": partial(check, service="audit"),
        "notifications": partial(check, service="notifications"),
    },
    routers=(router,),
    on_start=watch,
    wrap=wrap,
)


def main() -> None:
    """Run the gateway."""
    run(SERVICE)


if __name__ == "__main__":
    main()
