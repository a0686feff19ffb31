"""One trace from the click to the mail, through every service, the outboxes and Kafka."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest
from tests.e2e.collector import Collector, Span
from tests.e2e.company import Company
from tests.waiting import eventually

from lms.cli.system import System

TRACED = ("gateway", "requests", "balances", "approvals", "notifications")
MONDAY = date(2026, 4, 6)
TRACE, CLICK = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
async def collector(system: System, company: Company) -> AsyncIterator[Collector]:
    """A collector to which one copy of each service sends its spans; afterwards all run as before."""
    assert company
    firsts = [(service, system.programs_of(service)[0]) for service in TRACED]
    others = [program for service in TRACED for program in system.programs_of(service)[1:]]
    with Collector().listening() as found:
        await asyncio.to_thread(system.supervisor.stop_programs, [*others, *(program for _, program in firsts)])
        extra = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        await asyncio.gather(*(system.restart_with(program, extra) for _, program in firsts))
        yield found
        await asyncio.to_thread(system.supervisor.stop_programs, [program for _, program in firsts])
        for _, program in firsts:
            system.forget_extra(program)
        await system.start_services(TRACED)


def path_to(root: str, span: Span, spans: list[Span]) -> list[Span]:
    """The span, what caused it, what caused that, … up to the child of `root`."""
    by_id = {one.id: one for one in spans}
    found = [span]
    while found[-1].parent != root:
        assert found[-1].parent in by_id, f"{found[-1]} hangs in the air"
        found.append(by_id[found[-1].parent])
    return found


async def test_one_trace_leads_from_the_click_to_the_mail(collector: Collector, company: Company) -> None:
    def click() -> None:
        slug = company.leave_type()
        company.policy(slug, 20, "2025-01-01")
        manager = company.hire(roles=("employee", "manager"))
        anna = company.hire(manager=manager)
        company.becomes(anna, slug, "20.00")
        body = {"leave_type": slug, "start_date": f"{MONDAY}", "end_date": f"{MONDAY + timedelta(days=1)}"}
        eventually(
            lambda: company.call("POST", "/leave-requests/preview", anna, body).is_success, "requests does not know her"
        )
        asked = {**body, "reason": "The sea at Zqmark"}
        answer = company.call("POST", "/leave-requests", anna, asked, traceparent=f"00-{TRACE}-{CLICK}-01")
        assert answer.status_code == 201, answer.text
        assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")

    await asyncio.to_thread(click)

    def mailed() -> Span | None:
        return next((one for one in collector.spans(TRACE) if one.name == "send mail"), None)

    mail: Span = await asyncio.to_thread(eventually, mailed, "no mail in the trace")
    await asyncio.to_thread(
        eventually,
        lambda: {"lms-balances", "lms-approvals"} <= {one.service for one in collector.spans(TRACE)},
        "a service lacks in the trace",
    )
    spans = collector.spans(TRACE)
    assert [(one.service, one.kind, one.name) for one in reversed(path_to(CLICK, mail, spans))] == [
        ("lms-gateway", "server", "POST /api/v1/leave-requests"),
        ("lms-gateway", "client", "POST requests"),
        ("lms-requests", "server", "POST /api/v1/leave-requests"),
        ("lms-balances", "consumer", "process leave.requests.v1"),
        ("lms-requests", "consumer", "process leave.balances.v1"),
        ("lms-approvals", "consumer", "process leave.requests.v1"),
        ("lms-notifications", "consumer", "process leave.approvals.v1"),
        ("lms-notifications", "client", "send mail"),
    ]

    sent = {(one.service, one.name) for one in spans if one.kind == "producer"}
    assert {
        ("lms-requests", "send leave.requests.v1"),
        ("lms-balances", "send leave.balances.v1"),
        ("lms-approvals", "send leave.approvals.v1"),
    } <= sent
    groups = {one.attributes.get("messaging.consumer.group.name") for one in spans if one.kind == "consumer"}
    assert {"lms.notifications.facts", "lms.notifications.telling", "lms.balances.life-of-request"} <= groups
    for one in spans:
        path_to(CLICK, one, spans)
        assert one.begin_ns <= one.end_ns
        assert not one.failed, one
        assert "zqmark" not in repr(one).lower()


async def test_probes_are_not_traced_and_a_request_that_its_client_does_not_sample_is_not_either(
    collector: Collector, company: Company
) -> None:
    other = "1af7651916cd43dd8448eb211c80319c"
    unsampled = await asyncio.to_thread(company.call, "GET", "/balances", traceparent=f"00-{other}-{CLICK}-00")
    sampled = await asyncio.to_thread(company.call, "GET", "/leave-types")
    trace = sampled.headers["traceparent"].split("-")[1]
    await asyncio.to_thread(eventually, lambda: collector.spans(trace), "an unasked request is traced by default")
    assert unsampled.headers["traceparent"].startswith(f"00-{other}-")
    assert collector.spans(other) == []
    assert not [one for one in collector.spans() if "readyz" in one.name or "health" in one.name]
