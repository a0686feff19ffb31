"""The real blackbox exporter, with the project's own modules, asks a real edge what Prometheus has it ask."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.edge.conftest import ROOT, Edge, Upstream, running

from lms.cli.home import any_free_port
from lms.cli.servers import program

NAME = "localhost"
"""The one name that leads to this machine without any DNS."""


class Exporter:
    """The blackbox exporter, which believes one certificate."""

    def __init__(self, edge: Edge) -> None:
        self.url = f"http://127.0.0.1:{any_free_port()}"
        found = program("prometheus-blackbox-exporter", "blackbox_exporter", package="prometheus-blackbox-exporter")
        configuration = ROOT / "deploy/prometheus/blackbox.yml"
        self._process = subprocess.Popen(
            [found, f"--config.file={configuration}", f"--web.listen-address={self.url.removeprefix('http://')}"],
            env={**os.environ, "SSL_CERT_FILE": str(edge.certificate)}, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    async def probe(self, module: str, target: str) -> dict[str, float]:
        """Return what it tells Prometheus of a target."""
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=5), timeout=20) as client:
            answer = await client.get(f"{self.url}/probe", params={"module": module, "target": target})
        families = text_string_to_metric_families(answer.text)
        return {sample.name: sample.value for family in families for sample in family.samples}

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture
async def asked() -> AsyncIterator[tuple[Exporter, Edge, list[Upstream]]]:
    async with running(LMS_DOMAIN=NAME) as (edge, upstreams):
        exporter = Exporter(edge)
        try:
            yield exporter, edge, upstreams
        finally:
            await asyncio.to_thread(exporter.stop)


async def test_a_certificate_is_measured_by_the_domains_name_and_by_no_other(
    asked: tuple[Exporter, Edge, list[Upstream]],
) -> None:
    exporter, edge, _ = asked
    measured = await exporter.probe("certificate", f"{NAME}:{edge.https}")
    assert measured["probe_success"] == 1
    assert 29 < (measured["probe_ssl_earliest_cert_expiry"] - time.time()) / 86400 < 31
    refused = await exporter.probe("certificate", f"127.0.0.1:{edge.https}")
    assert refused["probe_success"] == 0
    assert "probe_ssl_earliest_cert_expiry" not in refused, "there is nothing that the alerts on expiry could read"


async def test_the_probe_goes_the_way_of_people_and_tells_whether_requests_are_taken(
    asked: tuple[Exporter, Edge, list[Upstream]],
) -> None:
    exporter, edge, upstreams = asked
    readiness = f"https://{NAME}:{edge.https}/readyz"
    assert (await exporter.probe("http", readiness))["probe_success"] == 1
    for one in upstreams:
        one.ready = False
    found = await exporter.probe("http", readiness)
    assert (found["probe_success"], found["probe_http_status_code"]) == (0, 503)
