"""The dashboards are what the script says, and what Grafana and a person on call need."""

import re
from typing import Any

import pytest
from scripts import dashboards as script
from scripts import services
from tests.monitoring import dashboards
from tests.monitoring.registry import DEPLOY, FOREIGN, ROOT, all_series

DOCUMENTS = dashboards.documents()
UIDS = {"lms-overview", "lms-kafka", "lms-stores", *(f"lms-{name}" for name in services.NAMES)}

page = pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)


def test_the_files_are_what_the_script_writes() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in script.FOLDER.glob("*.json")}
    assert written == script.pages(), "deploy/grafana/dashboards differs from scripts/dashboards.py; run `make docs`."


def test_there_is_one_for_each_service_an_overview_one_for_kafka_and_one_for_the_stores() -> None:
    assert {document["uid"] for document in DOCUMENTS.values()} == UIDS


def test_the_script_knows_which_services_publish_and_consume() -> None:
    wired = services.load()
    assert script.SERVICES == services.NAMES
    assert set(script.CONSUMING) == {one.name for one in wired if one.consumers}
    assert set(script.PUBLISHING) == {one.name for one in wired if one.migrations}


@page
def test_a_page_lets_one_choose_the_source_and_the_service(document: dict[str, Any]) -> None:
    variables = {one["name"]: one for one in document["templating"]["list"]}
    assert {"datasource", "service"} <= set(variables)
    assert variables["datasource"]["query"] == "prometheus"
    chosen = document["uid"].removeprefix("lms-")
    if chosen in services.NAMES:
        assert variables["service"]["query"] == chosen
    else:
        assert variables["service"]["query"].split(", ") == list(services.NAMES)


@page
def test_every_panel_has_a_description_a_unit_and_the_chosen_source(document: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in document["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in dashboards.panels(document):
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "$datasource", panel["title"]
        assert panel["targets"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"$datasource"}, panel["title"]


@page
def test_a_panel_links_to_runbooks_that_exist(document: dict[str, Any]) -> None:
    for panel in dashboards.panels(document):
        for link in panel.get("links", ()):
            assert (ROOT / link["url"].removeprefix("$runbooks/")).exists(), (panel["title"], link["url"])


def test_no_query_makes_up_an_answer() -> None:
    for query in dashboards.queries():
        assert not re.search(r"\b(?:vector|absent|scalar)\s*\(", query.text), f"{query}: a constant"
        assert dashboards.metrics_of(query.text), f"{query}: nothing is read"
        for window in re.findall(r"(?<!increase\()\brate\([^[]*\[([^]]+)\]", query.text):
            assert window == "$__rate_interval", f"{query}: a rate over {window}"


def test_queries_read_only_metrics_that_are_in_the_registry_or_come_from_exporters() -> None:
    known = all_series()
    rules = "".join(path.read_text(encoding="utf-8") for path in (DEPLOY / "prometheus" / "rules").glob("*.yml"))
    recorded = set(re.findall(r"record: (\S+)", rules))
    for query in dashboards.queries():
        for name in dashboards.metrics_of(query.text):
            assert name in known | recorded or name.startswith(FOREIGN), f"{query}: {name} is unknown"
