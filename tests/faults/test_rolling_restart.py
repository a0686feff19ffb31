"""Services restarted copy by copy under load: no request fails, over old connections or new ones.

Everything is restarted in `test_upgrade.py`, on the way from the version before.
"""

import asyncio

from tests.e2e.company import Company
from tests.faults import invariants
from tests.faults.traffic import Traffic, processes

from lms.cli.system import System


async def test_no_request_fails_while_a_service_and_the_gateway_are_restarted(system: System, company: Company) -> None:
    traffic = await asyncio.to_thread(Traffic, system, company)
    services = ("requests", "gateway")
    before = processes(system, services)
    with traffic.flowing():
        await asyncio.to_thread(traffic.since, 50)
        await system.restart(services)
        await asyncio.to_thread(traffic.since, 50)
    assert not before & processes(system, services)
    assert traffic.failures == []
    await invariants.at_rest(system)
