"""The logs of a running system: nobody's data, one form, and what the on-call person asks of them finds it.

The long forms ship them with a real Filebeat to a real Elasticsearch.
"""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import elk
from tests.e2e.company import Company, Employee
from tests.elk import Elasticsearch
from tests.faults import invariants
from tests.waiting import eventually

from lms.cli.servers import SCHEMAS
from lms.cli.system import System
from lms.kernel.cloudevents import encode_headers
from lms.kernel.event import Envelope
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer

ROOT = Path(__file__).parents[2]
MONDAY = date(2026, 5, 4)
MARK = "zqmark"
"""Stands in everything that people write or are called in these tests."""
ADDRESS = "203.0.113.77"
FIELDS = {"@timestamp", "message", "log.level", "service.name", "event.dataset", "process.pid"}
"""What every line has."""

GUIDE = {
    "query": {"bool": {"must": [{"match": {"level": "error"}}, {"range": {"@timestamp": {"gte": "now-1h"}}}]}},
    "aggs": {"error_types": {"terms": {"field": "message.keyword"}}},
}
"""The error query of the production guide, as it stands there."""


@dataclass
class Life:
    """What was lived: the id of the request for leave's HTTP request, tokens, and the key of a broken fact."""

    request_id: str
    secrets: tuple[str, ...]
    broken_key: str


def _person(company: Company, name: str, **more: Any) -> Employee:
    """Employ somebody whose every personal field carries the mark."""
    office = company.office
    roles = more.pop("roles", ["employee"])
    body = {
        "email": f"{name}-{new_id()[-8:]}@{MARK}.example", "given_name": f"{MARK} {name}", "family_name": f"Von {MARK}",
        "department_id": office["department"], "location_id": office["location"], "schedule_id": office["schedule"],
        "employed_from": "2020-01-01", "roles": roles, **more,
    }  # fmt: skip
    return Employee(company.do("POST", "/employees", body=body)["id"], tuple(roles))


def _live(system: System, company: Company) -> tuple[str, tuple[str, ...]]:
    """Live a request, and try what goes wrong, with the mark wherever text may stand."""
    manager = _person(company, "manager", roles=["employee", "manager"])
    anna = _person(company, "anna", manager_id=manager.id)
    slug = company.leave_type()
    company.policy(slug, 20, "2025-01-01")
    company.becomes(anna, slug, "20.00")

    def body(week: int) -> dict[str, Any]:
        day = MONDAY + timedelta(days=7 * week)
        return {"leave_type": slug, "start_date": f"{day}", "end_date": f"{day}", "reason": f"Because of {MARK}"}

    plain = {key: value for key, value in body(0).items() if key != "reason"}
    eventually(lambda: company.call("POST", "/leave-requests/preview", anna, plain).is_success, "she is not known")
    traces: dict[str, Any] = {"User-Agent": MARK, "X-Forwarded-For": ADDRESS, "Referer": f"http://{MARK}"}
    request_id = f"life-{new_id()}"
    asked = company.call("POST", "/leave-requests", anna, body(0), **{**traces, "X-Request-ID": request_id})
    assert asked.status_code == 201, asked.text
    first = company.request(asked.json()["id"])
    assert company.decide(manager, first, comment=f"Enjoy, {MARK}").is_success
    second = company.ask(anna, slug, start=body(1)["start_date"], end=body(1)["end_date"], reason=f"{MARK}")
    assert company.decide(manager, second, "reject", reason=f"No, {MARK}").is_success
    company.until_status(first["id"], "approved")
    company.do("POST", f"/leave-requests/{first['id']}/cancel", anna, {"reason": f"Not with {MARK}"})

    url = system.url
    for path, sent in (
        ("/api/v1/auth/login", {"email": f"anna@{MARK}.example", "password": f"{MARK}-password"}),
        ("/api/v1/auth/login", {"email": [MARK], MARK: MARK}),
        ("/api/v1/auth/token", {"client_id": MARK, "client_secret": MARK}),
        (f"/api/v1/{MARK}/{MARK}?q={MARK}", {MARK: MARK}),
    ):
        assert httpx.post(f"{url}{path}", json=sent, headers=traces, timeout=30).status_code < 500
    refused = httpx.get(
        f"{url}/api/v1/me", headers={**traces, "Authorization": f"Bearer {MARK}.{MARK}.{MARK}"}, timeout=30
    )
    assert refused.status_code == 401
    company.call("GET", f"/employees/{MARK}@{MARK}.example", **traces)
    company.call("POST", "/leave-requests", anna, {"leave_type": MARK, "start_date": MARK, MARK: MARK}, **traces)
    company.call("POST", "/employees", None, {"email": f"{MARK}", "given_name": MARK}, **traces)
    eventually(lambda: company.do("GET", "/notifications", manager)["items"], "the manager was not told")
    return request_id, (company.token, f"{MARK}-password", f"{ADDRESS}")


async def _break(system: System, company: Company) -> str:
    """Send a fact that no consumer can apply, wait until its key is parked, and give it up; return the key."""
    assert company
    key = new_id()
    envelope = Envelope(
        event_id=new_id(), source="test", type="leave.requested", schema_version=1, stream=f"leave-book-{key}",
        version=1, log_epoch=1, key=key, time=datetime.now(UTC), data={}, correlation_id=key, causation_id=key,
    )  # fmt: skip
    producer = Producer(system.kafka.bootstrap_servers, client_id="test")
    headers = encode_headers(envelope)
    await producer.send_all(
        [Message("leave.requests.v1", key, f'{{"employee_id": "{MARK}", "reason": "{MARK}"}}', headers)]
    )
    await producer.stop()

    def parked() -> list[tuple[str, str]]:
        return invariants.parked(system, key)

    await asyncio.to_thread(eventually, lambda: ("balances", "life-of-request") in parked(), "the key was not parked")
    await invariants.at_rest(system)
    for service, consumer in parked():
        invariants.lms(system, "dlq", "skip", service, consumer, key)
    await asyncio.to_thread(eventually, lambda: not parked(), "the key did not heal")
    return key


@pytest.fixture(scope="module")
async def life(system: System, company: Company) -> Life:
    """A life that was lived before the tests look at the logs."""
    request_id, secrets = await asyncio.to_thread(_live, system, company)
    return Life(request_id, secrets, await _break(system, company))


def files(system: System) -> list[Path]:
    """The logs of every part, the servers' too."""
    return sorted(system.supervisor.logs.iterdir())


def lines_of_services(system: System) -> list[str]:
    """What the services wrote."""
    return [
        line
        for path in files(system)
        if path.name.removesuffix(".log").partition("-")[0] in {*SCHEMAS, "gateway"}
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def test_nobodys_data_is_in_any_log(system: System, life: Life) -> None:
    forbidden = (MARK, *life.secrets, *(value for value in system.home.secrets.values() if len(value) > 8))
    for path in files(system):
        text = path.read_text(encoding="utf-8", errors="replace").lower()
        for one in forbidden:
            at = text.find(one.lower())
            assert at < 0, f"{path.name}: …{text[max(0, at - 200) : at + 100]}…"


def test_every_line_has_the_form_and_one_request_is_found_in_every_service(system: System, life: Life) -> None:
    found = [json.loads(line) for line in lines_of_services(system)]
    assert found
    for line in found:
        assert line.keys() >= FIELDS, line
        datetime.fromisoformat(line["@timestamp"])
    ours = [line for line in found if line.get("labels.correlation_id") == life.request_id]
    assert {line["service.name"] for line in ours} >= {"gateway", "requests"}
    assert {line.get("http.request.id") for line in ours} == {life.request_id}
    traces = {line["trace.id"] for line in ours}
    assert len(traces) == 1
    broken = [
        line for line in found if line["log.level"] == "error" and line["message"].startswith("an event is poison")
    ]
    assert "life-of-request" in {line["labels.consumer"] for line in broken}


# In Elasticsearch -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped(system: System, life: Life, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elasticsearch]:
    """An Elasticsearch to which Filebeat has shipped what the services wrote, as Docker and Kubernetes keep it."""
    assert life
    folder = tmp_path_factory.mktemp("containers")
    lines = lines_of_services(system)
    strangers = [f"{MARK}: Aborted connection to db", '{"message": "a program that is not ours"}', "Traceback"]
    (folder / "docker").mkdir()
    (folder / "docker" / "one-json.log").write_text(elk.as_docker_writes(lines[::2] + strangers))
    (folder / "docker" / "two-json.log").write_text(elk.as_kubernetes_writes(lines[1::2] + strangers))
    with elk.elasticsearch() as found:
        found.run("deploy/elasticsearch/setup.sh")
        with elk.filebeat(found, LMS_CONTAINER_LOGS=f"{folder}/docker/*.log"):
            eventually(lambda: _count(found) == len(lines), f"not all of {len(lines)} lines came", 120)
        yield found


def _count(found: Elasticsearch) -> int:
    indices = found.call("GET", "/_cat/indices/lms-logs-*?format=json")
    return int(found.search({"size": 0, "track_total_hits": True})["hits"]["total"]["value"]) if indices else 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_guides_error_query_returns_the_errors_of_the_running_system(shipped: Elasticsearch) -> None:
    found = shipped.search(GUIDE)
    errors = {one["key"]: one["doc_count"] for one in found["aggregations"]["error_types"]["buckets"]}
    assert errors["an event is poison; its key is parked"] >= 1
    hit = next(one["_source"] for one in found["hits"]["hits"] if one["_source"]["message"] in errors)
    assert hit["log"]["level"] == "error"
    assert hit["service"]["name"] in {*SCHEMAS, "gateway"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_request_is_found_by_its_id_and_nobody_by_their_name(shipped: Elasticsearch, life: Life) -> None:
    found = shipped.search({"query": {"term": {"labels.correlation_id": life.request_id}}, "size": 100})
    assert {one["_source"]["service"]["name"] for one in found["hits"]["hits"]} >= {"gateway", "requests"}
    anybody = {"query": {"query_string": {"query": f"*{MARK}*"}}}
    assert shipped.search(anybody)["hits"]["total"]["value"] == 0
    types = shipped.call(
        "GET", "/lms-logs-*/_mapping/field/event.duration,http.response.status_code,labels.consumer,level"
    )
    (index,) = types.values()
    assert {name: next(iter(one["mapping"].values()))["type"] for name, one in index["mappings"].items()} == {
        "event.duration": "long",
        "http.response.status_code": "short",
        "labels.consumer": "keyword",
        "level": "alias",
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_queries_of_the_runbook_answer(shipped: Elasticsearch, life: Life) -> None:
    page = (ROOT / "docs/runbooks/log-analysis.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(curl .*?)```", page, re.DOTALL)
    environment = {**os.environ, "ELASTICSEARCH_URL": shipped.url}
    said = []
    for block in blocks:
        command = ["bash", "-e", "-o", "pipefail", "-c", block.replace('"ID"', f'"{life.request_id}"')]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    errors, others = said
    assert "an event is poison; its key is parked" in {one["key"] for one in json.loads(errors)}
    assert '"gateway"' in others
    assert "/api/v1/" in others


def _saved() -> list[dict[str, Any]]:
    text = (ROOT / "deploy/kibana/saved-objects.ndjson").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "saved", [one for one in _saved() if one["type"] != "index-pattern"], ids=lambda one: str(one["id"])
)
def test_every_saved_search_can_be_asked_and_names_fields_that_there_are(
    shipped: Elasticsearch, saved: dict[str, Any]
) -> None:
    source = json.loads(saved["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    query = {"query": {"query_string": {"query": source["query"]["query"]}}, "size": 1}
    found = shipped.search(query)["hits"]["total"]["value"]
    if saved["id"] in {"lms-errors", "lms-error-types", "lms-event-flow", "lms-refused-sign-ins", "lms-one-request"}:
        assert found, "the life that was lived has some of it"
    for column in saved["attributes"].get("columns", []):
        capable = shipped.call("GET", f"/lms-logs-*/_field_caps?fields={column}")["fields"]
        assert column in capable or column == "labels.reason", column


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_indices_older_than_the_retention_are_deleted_and_no_others(shipped: Elasticsearch) -> None:
    today = datetime.now(UTC).date()
    days = {age: f"lms-logs-{today - timedelta(days=age):%Y.%m.%d}" for age in (29, 30, 31, 400)}
    others = ["lms-logs-of-somebody-else", "other-2020.01.01"]
    for index in (*days.values(), *others):
        shipped.call("PUT", f"/{index}")
    said = shipped.run("deploy/elasticsearch/retention.sh")
    left = {one["index"] for one in shipped.call("GET", "/_cat/indices?format=json")}
    assert left >= {days[29], days[30], *others}
    assert not left & {days[31], days[400]}
    assert said.splitlines() == [f"{days[400]} is deleted.", f"{days[31]} is deleted."]
    assert shipped.run("deploy/elasticsearch/retention.sh", LMS_LOG_RETENTION_DAYS="30") == ""
    refused = subprocess.run(
        [str(ROOT / "deploy/elasticsearch/retention.sh")],
        env={**os.environ, "LMS_LOG_RETENTION_DAYS": "a month"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "must be a number of days" in refused.stderr
