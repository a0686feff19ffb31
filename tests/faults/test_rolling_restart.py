"""Services restarted copy by copy under load: no request fails, over old connections or new ones."""

import asyncio

import pytest
from tests.e2e.company import Company
from tests.faults import invariants
from tests.faults.traffic import Traffic

from lms.cli.system import SERVICES, System


async def rolled(system: System, company: Company, services: tuple[str, ...]) -> None:
    """Restart services under load, and assert that it went unnoticed and that every process is another one."""
    traffic = await asyncio.to_thread(Traffic, system, company)
    programs = [program for service in services for program in system.programs_of(service)]
    before = {program: system.supervisor.states()[program]["pid"] for program in programs}
    with traffic.flowing():
        await asyncio.to_thread(traffic.since, 50)
        await system.restart(services)
        await asyncio.to_thread(traffic.since, 50)
    after = {program: system.supervisor.states()[program]["pid"] for program in programs}
    assert not {program for program in programs if before[program] == after[program]}
    assert traffic.failures == []
    await invariants.at_rest(system)


async def test_no_request_fails_while_a_service_and_the_gateway_are_restarted(system: System, company: Company) -> None:
    await rolled(system, company, ("requests", "gateway"))


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_no_request_fails_while_everything_is_restarted(system: System, company: Company) -> None:
    await rolled(system, company, SERVICES)
    await invariants.check(system)
