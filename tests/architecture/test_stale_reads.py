"""Which reads a replica may answer is written down, with the reason why the others are not among them."""

import re
from pathlib import Path

from scripts import services

from lms.kernel.http import document

ADR = Path(__file__).parents[2] / "docs/adr/0030-a-replica-answers-what-may-be-stale.md"


def stale_routes() -> set[tuple[str, str]]:
    """Return (service, method and path) of every route that a replica may answer: one takes a Cache-Control there."""
    return {
        (service.name, f"{method.upper()} {path}")
        for service in services.load()
        for path, methods in document(service.name, service.routers)["paths"].items()
        for method, operation in methods.items()
        if "cache-control" in {one["name"] for one in operation.get("parameters", ())}
    }


def test_the_record_names_the_routes_that_a_replica_may_answer_and_no_other() -> None:
    rows = re.findall(r"^\| (\w+) \| (`.*) \|$", ADR.read_text(encoding="utf-8"), re.MULTILINE)
    written = {(service, route) for service, routes in rows for route in re.findall(r"`([^`]+)`", routes)}
    assert stale_routes() == written


def test_only_reads_may_be_asked_of_a_replica_since_their_requests_may_be_run_twice() -> None:
    assert {route.split()[0] for _, route in stale_routes()} == {"GET"}
