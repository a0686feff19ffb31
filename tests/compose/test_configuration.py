"""What docker-compose.yml says holds together; no Docker engine is asked."""

import re
import subprocess
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml
from tests.compose.reading import ROOT, Mount, mounts, services, tracked

OURS = ("directory", "requests", "balances", "approvals", "audit", "notifications", "notifications-streams", "gateway")


@pytest.fixture(scope="module")
def in_git() -> frozenset[str]:
    """Every file of the checkout that git has, or will have: what is ignored is nobody else's."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return frozenset(done.stdout.splitlines())


# Mounts ---------------------------------------------------------------------------------------------------------------


def impossible(found: list[Mount], files: frozenset[str]) -> list[str]:
    """Return where a mount stands inside another that may only be read, and has no place there.

    The engine makes a mount point that is missing, and cannot in what is read-only: the container does not start.
    """
    return [
        str(inner.target)
        for outer in found
        if outer.read_only and outer.of_the_host
        for inner in found
        if outer.target in inner.target.parents
        and not tracked(PurePosixPath(str(outer.source)) / inner.target.relative_to(outer.target), files)
    ]


@pytest.mark.parametrize("name", services())
def test_nothing_is_mounted_where_the_engine_would_have_to_make_a_place_in_what_may_only_be_read(
    name: str, in_git: frozenset[str]
) -> None:
    assert impossible(mounts(services()[name]), in_git) == []


def test_a_place_that_is_in_git_need_not_be_made_and_one_that_is_not_must_be(in_git: frozenset[str]) -> None:
    def stood(target: str) -> list[str]:
        volumes = ["./deploy/prometheus:/etc/prometheus:ro", f"targets:/etc/prometheus/{target}"]
        return impossible(mounts({"volumes": volumes}), in_git)

    assert stood("targets") == []
    assert stood("secrets") == ["/etc/prometheus/secrets"]


@pytest.mark.parametrize("name", services())
def test_files_of_the_checkout_that_are_mounted_are_there(name: str, in_git: frozenset[str]) -> None:
    sources = {PurePosixPath(str(one.source)) for one in mounts(services()[name]) if one.of_the_host}
    missing = {str(one) for one in sources if not one.is_absolute() and not tracked(one, in_git)}
    assert {one for one in missing if not one.startswith(".compose/")} == set()


# Order ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", services())
def test_what_a_service_waits_for_runs_in_each_of_its_profiles(name: str) -> None:
    found = services()
    mine = set(found[name].get("profiles", []))
    for other in found[name].get("depends_on", []):
        theirs = set(found[other].get("profiles", []))
        assert not theirs or (mine and mine <= theirs), f"{name} waits for {other}"


def test_whatever_runs_once_is_waited_for() -> None:
    """What nobody waits to see end, `docker compose up --wait` takes for a service that has died."""
    found = services()
    once = {name for name, one in found.items() if str(one.get("restart", "")).startswith("on-failure")}
    awaited = {
        name
        for one in found.values()
        if isinstance(one.get("depends_on"), dict)
        for name, how in one["depends_on"].items()
        if how["condition"] == "service_completed_successfully"
    }
    assert {"directory-migrate", "elasticsearch-setup", "kibana-import"} <= once
    assert once == awaited


# Traces ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_a_collector_of_traces_is_told_to_every_process_and_only_where_there_is_one(name: str) -> None:
    environment = services()[name]["environment"]
    for variable in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_TRACES_SAMPLER"):
        assert variable in environment
        assert environment[variable] is None, "an empty value is one, and no collector"


# Logs -----------------------------------------------------------------------------------------------------------------


def test_no_line_is_shipped_before_the_index_template_is_there() -> None:
    found = services()
    assert found["filebeat"]["depends_on"] == {"elasticsearch-setup": {"condition": "service_completed_successfully"}}
    assert runs(found["elasticsearch-setup"]) == {"deploy/elasticsearch/setup.sh"}


def test_the_saved_searches_are_brought_and_old_indices_deleted() -> None:
    found = services(LMS_LOG_RETENTION_DAYS="7")
    assert runs(found["kibana-import"]) == {"deploy/kibana/import.sh"}
    assert found["kibana-import"]["depends_on"] == {"kibana": {"condition": "service_healthy"}}
    keeper = found["elasticsearch-retention"]
    assert runs(keeper) == {"deploy/elasticsearch/retention.sh"}
    assert keeper["restart"] == "unless-stopped"
    assert keeper["environment"] == {"LMS_LOG_RETENTION_DAYS": "7"}


def runs(service: dict[str, Any]) -> set[str]:
    """Return the scripts of the checkout that a service's command names, each of which may be run."""
    there = {one.target: PurePosixPath(str(one.source)) for one in mounts(service)}
    named = re.findall(r"/[\w./-]+\.sh\b", " ".join(service["command"]))
    found = {str(there[PurePosixPath(one).parent] / PurePosixPath(one).name) for one in named}
    for one in found:
        assert (ROOT / one).stat().st_mode & 0o111, f"{one} cannot be run"
    return found


def test_the_loop_of_the_retention_goes_on_after_a_failure_and_tries_again_sooner() -> None:
    (loop,) = services()["elasticsearch-retention"]["command"]
    words = loop.replace("/lms/elasticsearch/retention.sh", "retain")
    script = f"""
    sleep() {{ printf '%s ' "$1"; turns=$((${{turns:-0}} + 1)); [ $turns -lt 3 ] || exit 0; }}
    retain() {{ [ "${{turns:-0}}" -ne 1 ]; }}
    {words}
    """
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["86400", "600", "86400"], "")


@pytest.mark.parametrize(
    ("dataset", "shipped"),
    [("lms.requests", True), ("edge.access", True), ("mysql.error", False), ("knowledge.base", False), (None, False)],
)
def test_lines_of_ours_are_shipped_and_those_of_others_are_not(dataset: str | None, *, shipped: bool) -> None:
    filebeat = yaml.safe_load((ROOT / "deploy/filebeat/filebeat.yml").read_text(encoding="utf-8"))
    (dropped,) = [one["drop_event"] for one in filebeat["processors"] if "drop_event" in one]
    pattern = dropped["when.not.regexp.event.dataset"]
    assert bool(dataset is not None and re.search(pattern, dataset)) is shipped


def test_the_edge_writes_the_dataset_that_is_shipped_and_its_figures_have_types() -> None:
    nginx = (ROOT / "deploy/nginx/nginx.conf").read_text(encoding="utf-8")
    assert '"event.dataset":"edge.access"' in nginx
    fields = set(re.findall(r'"([\w.@]+)":(?!")\$', nginx))
    template = yaml.safe_load((ROOT / "deploy/elasticsearch/index-template.json").read_text(encoding="utf-8"))
    for field in fields:
        mapped: Any = {"properties": template["template"]["mappings"]["properties"]}
        for part in field.split("."):
            mapped = mapped["properties"][part]
        assert mapped["type"] in {"short", "long", "float"}, f"where a day begins with 0, {field} would be whole"
    assert "edge.seconds" in fields


def test_the_comment_of_filebeats_configuration_names_the_tests_that_there_are() -> None:
    text = (ROOT / "deploy/filebeat/filebeat.yml").read_text(encoding="utf-8")
    named = re.findall(r"tests/[\w./]*\w", text)
    assert named
    for one in named:
        assert (ROOT / one).exists(), one
