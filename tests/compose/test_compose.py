"""`docker compose up --build` starts the core from nothing, and a request lives its whole life in it."""

import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pymysql
import pytest
import yaml
from tests.compose.conftest import Compose
from tests.e2e import smoke
from tests.integration.deploy.test_databases import differing_mysql
from tests.waiting import eventually

TARGETS = Path(__file__).parents[2] / "deploy/prometheus/targets/compose"

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]


def test_the_core_comes_up_healthy_and_a_request_lives_its_life_and_is_told_by_mail(core: Compose) -> None:
    with core.company() as company:
        smoke.live_through(company)
        eventually(
            lambda: {one["subject"] for one in httpx.get(core.mails).json()["items"]} >= {"Your leave is confirmed"},
            "no mail in the sink",
        )


def test_no_service_runs_as_root_may_write_outside_its_data_or_restarted(core: Compose) -> None:
    others = {"lms-kafka"}  # Kafka's own image, and a jar
    services = [
        one
        for one in core.containers()
        if one["Image"].startswith("lms-") and one["Image"] not in others and one["State"] == "running"
    ]
    assert services
    for one in services:
        told = subprocess.run(
            [
                "docker", "inspect", "--format",
                "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.RestartCount}}", one["ID"],
            ],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert told.stdout.split() == ["10001:10001", "true", "0"], one["Name"]


def test_the_same_data_is_there_when_it_starts_again(core: Compose) -> None:
    with core.company() as company:
        anna = company.hire()
    core("down", "--timeout", "6")
    core("up", "--detach", "--wait")
    with core.company() as company:
        assert company.do("GET", f"/employees/{anna.id}")["id"] == anna.id


def test_the_broker_tells_prometheus_of_itself_and_its_tools_run_beside_it(core: Compose) -> None:
    told = core("exec", "-T", "gateway", "python", "-c", _FETCH)
    assert "kafka_controller_offlinepartitionscount 0.0" in told
    topics = core("exec", "-T", "kafka", "/opt/kafka/bin/kafka-topics.sh", "--bootstrap-server=kafka:9092", "--list")
    assert "leave.requests.v1" in topics.split()


_FETCH = "import urllib.request; print(urllib.request.urlopen('http://kafka:9404/metrics').read().decode())"


def test_mysql_runs_with_every_line_of_my_cnf(core: Compose) -> None:
    address = core("port", "mysql", "3306").strip()
    with pymysql.connect(
        host="127.0.0.1", port=int(address.rpartition(":")[2]), user="root", password=core.home.secret("mysql:root")
    ) as connection:
        assert differing_mysql(connection) == {}


@pytest.mark.parametrize("profile", [None, "edge", "certbot", "replica", "backup", "monitoring", "logging", "*"])
def test_every_profile_is_a_whole(core: Compose, profile: str | None) -> None:
    chosen = ["--profile", profile] if profile else []
    services = set(core(*chosen, "config", "--services").split())
    assert {"kafka", "mysql", "redis", "mail", "gateway", "directory", "notifications-streams"} <= services
    assert ("nginx" in services) is (profile in {"edge", "certbot", "*"})
    assert ("backup" in services) is (profile in {"backup", "*"})


def test_the_edge_takes_requests_by_tls_to_the_gateway(core: Compose) -> None:
    core("--profile", "edge", "up", "--build", "--detach", "--wait", "nginx")
    address = f"https://127.0.0.1:{core.edge_https}"
    named = {"Host": "localhost"}
    with httpx.Client(verify=False, base_url=address, headers=named) as client:  # noqa: S501  # a placeholder
        refused = client.get("/api/v1/me", extensions={"sni_hostname": "localhost"})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert refused.headers.get_list("strict-transport-security") == ["max-age=63072000"]
    redirected = httpx.get(f"http://127.0.0.1:{core.edge_http}/requests")
    assert (redirected.status_code, redirected.headers["location"]) == (301, "https://localhost/requests")


def test_prometheus_scrapes_every_process_and_alertmanager_hears_of_its_watchdog(core: Compose) -> None:
    core("--profile", "monitoring", "up", "--detach", "--wait", "--no-deps", "prometheus", "alertmanager")
    expected = {
        target
        for job in ("lms", "kafka")
        for group in yaml.safe_load((TARGETS / f"{job}.yml").read_text("utf-8"))
        for target in group["targets"]
    }

    def answering() -> bool:
        asked = {"query": 'up{job=~"lms|kafka"} == 1'}
        told = httpx.get(f"http://127.0.0.1:{core.prometheus_port}/api/v1/query", params=asked).raise_for_status()
        return {one["metric"]["instance"] for one in told.json()["data"]["result"]} == expected

    def told() -> bool:
        told = httpx.get(f"http://127.0.0.1:{core.alertmanager_port}/api/v2/alerts").raise_for_status()
        return "Watchdog" in {one["labels"]["alertname"] for one in told.json()}

    eventually(patiently(answering), "Prometheus does not reach every process", seconds=60)
    eventually(patiently(told), "Alertmanager has not heard of it", seconds=90)


def patiently(look: Callable[[], bool]) -> Callable[[], bool]:
    """Take for false what cannot be asked yet."""

    def found() -> bool:
        with suppress(httpx.HTTPError):
            return look()
        return False

    return found


def test_the_replica_has_what_was_there_before_it_and_what_comes(core: Compose) -> None:
    with core.company() as company:
        before = company.hire()
        core("--profile", "replica", "up", "--detach", "--wait", "mysql-replica")
        after = company.hire()
    query = f"SELECT COUNT(*) FROM lms_directory.people WHERE employee_id IN ('{before.id}', '{after.id}')"  # noqa: S608
    mysql = ("mysql", "-uroot", f"-p{core.home.secret('mysql:root')}", "-Ne", query)

    def there() -> bool:
        return core("--profile", "replica", "exec", "-T", "mysql-replica", *mysql).strip() == "2"

    eventually(there, "the replica does not follow")
