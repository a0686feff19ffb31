"""A fact that can never be applied stops its own key and nothing else, and a person can heal it by the command line."""

import asyncio
import json
import os
import subprocess
from datetime import UTC, datetime

from tests.e2e.company import Company
from tests.faults import invariants
from tests.waiting import eventually

from lms.cli.system import System
from lms.kernel.cloudevents import encode_headers
from lms.kernel.event import Envelope
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer


def lms(system: System, *arguments: str) -> str:
    """Run the lms command against the system, and return what it prints."""
    environment = {**os.environ, "LMS_HOME": str(system.home.folder), "COLUMNS": "250"}
    done = subprocess.run(["lms", *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_a_broken_fact_parks_its_key_the_rest_flows_and_skip_heals(system: System, company: Company) -> None:
    key = new_id()
    envelope = Envelope(
        event_id=new_id(), source="test", type="leave.requested", schema_version=1, stream=f"leave-book-{key}",
        version=1, log_epoch=1, key=key, time=datetime.now(UTC), data={}, correlation_id=key, causation_id=key,
    )  # fmt: skip
    producer = Producer(system.kafka.bootstrap_servers, client_id="test")
    await producer.send_all(
        [Message("leave.requests.v1", key, '{"employee_id": "somebody"}', encode_headers(envelope))]
    )
    await producer.stop()

    def parked() -> str:
        listed = lms(system, "dlq", "list")
        return listed if key in listed else ""

    listed = await asyncio.to_thread(eventually, parked, "the key was not parked")
    assert "life-of-request" in listed
    assert "poison" in listed
    shown = json.loads(lms(system, "dlq", "show", "balances", "life-of-request", key))
    assert (shown["topic"], shown["payload"]) == ("leave.requests.v1", '{"employee_id": "somebody"}')

    def life_goes_on() -> None:
        slug = company.leave_type()
        company.policy(slug, 5, "2026-01-01")
        manager = company.hire(roles=("employee", "manager"))
        person = company.hire(manager=manager)
        company.becomes(person, slug, "5.00")
        company.take(person, manager, slug, "2026-11-02", "2026-11-03")

    await asyncio.to_thread(life_goes_on)
    letters = [
        one for one in await invariants.messages(system, "dlq.balances.life-of-request") if one.key == key.encode()
    ]
    assert "does not have the fields" in dict(letters[0].headers)["lms-reason"].decode()
    await invariants.at_rest(system)
    for service, consumer in invariants.parked(system, key):
        lms(system, "dlq", "skip", service, consumer, key)
    await asyncio.to_thread(eventually, lambda: not invariants.parked(system, key), "the key did not heal")
