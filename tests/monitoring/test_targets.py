"""What Prometheus scrapes in compose is there, and what it asks from outside is what people ask."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.compose.reading import mounts, services
from tests.monitoring.registry import DEPLOY, ROOT

PROMETHEUS = DEPLOY / "prometheus"
JOBS = {one["job_name"] for one in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))["scrape_configs"]}
DOMAIN = "leave.test"


class Started:
    """Where `start-in-compose.sh` lays the targets, beside a program that stands in for Prometheus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source, self.targets = folder / "source", folder / "targets"
        shutil.copytree(PROMETHEUS / "targets" / "compose", self.source)
        self.targets.mkdir()
        program = folder / "bin" / "prometheus"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)

    def start(self, domain: str) -> "subprocess.CompletedProcess[str]":
        """Run the script as the container does."""
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "LMS_DOMAIN": domain,
            "LMS_TARGETS_FROM": str(self.source), "LMS_TARGETS_TO": str(self.targets),
        }  # fmt: skip
        command = ["sh", str(PROMETHEUS / "start-in-compose.sh"), "--config.file=x"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def read(self, domain: str = DOMAIN) -> dict[str, list[str]]:
        """Return the targets of each job."""
        done = self.start(domain)
        assert (done.returncode, done.stdout, done.stderr) == (0, "--config.file=x\n", "")
        return {
            path.stem: [target for group in yaml.safe_load(path.read_text("utf-8")) for target in group["targets"]]
            for path in self.targets.glob("*.yml")
        }


@pytest.fixture
def started(tmp_path: Path) -> Started:
    return Started(tmp_path)


def test_every_job_has_its_targets(started: Started) -> None:
    assert set(started.read()) == JOBS


def test_prometheus_takes_them(started: Started) -> None:
    started.read()
    shutil.copytree(PROMETHEUS / "rules", started.folder / "rules")
    shutil.copy(PROMETHEUS / "prometheus.yml", started.folder)
    done = subprocess.run(
        ["promtool", "check", "config", str(started.folder / "prometheus.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_scraped_runs_wherever_prometheus_does(started: Started) -> None:
    found = services(LMS_DOMAIN=DOMAIN)
    asked_from_outside = {"probe", "certificate"}
    for job, targets in started.read().items():
        for target in targets:
            host = target.partition(":")[0]
            if job not in asked_from_outside:
                assert set(found[host].get("profiles", ["monitoring"])) >= {"monitoring"}, target


def test_the_broker_has_the_agent_that_is_asked(started: Started) -> None:
    (target,) = started.read()["kafka"]
    host, _, port = target.partition(":")
    kafka = services()[host]
    text = (ROOT / kafka["build"]["dockerfile"]).read_text("utf-8")
    (agent,) = re.findall(r"-javaagent:([^=]+)=(\d+):(\S+)", text)
    jar, listens, configuration = agent
    assert listens == port
    assert {str(one.target): one.source for one in mounts(kafka)}[configuration] == "./deploy/prometheus/jmx-kafka.yml"
    (copied,) = re.findall(r"^COPY --from=agent /agent/(\S+) (\S+)$", text, re.MULTILINE)
    assert "".join(reversed(copied)) == jar
    (pom,) = re.findall(r"^COPY (\S+) /agent/pom.xml$", text, re.MULTILINE)
    assert "jmx_prometheus_javaagent" in (ROOT / pom).read_text("utf-8")


def test_where_there_is_a_domain_it_is_asked_through_nginx_by_the_one_name_that_nginx_answers_to(
    started: Started,
) -> None:
    found = started.read()
    assert found["probe"] == [f"https://{DOMAIN}/readyz"]
    assert found["certificate"] == [f"{DOMAIN}:443"]
    nginx = services(LMS_DOMAIN=DOMAIN)["nginx"]
    assert nginx["networks"]["default"]["aliases"] == [DOMAIN]
    assert nginx["environment"]["LMS_DOMAIN"] == DOMAIN
    assert str(nginx["environment"]["LMS_EDGE_HTTPS_LISTEN"]) == "443"


@pytest.mark.parametrize("domain", ["", "localhost"])
def test_where_there_is_none_the_gateway_is_asked_and_no_certificate_is_looked_at(
    started: Started, domain: str
) -> None:
    found = started.read(domain)
    assert found["probe"] == ["http://gateway:8000/readyz"]
    assert set(found) == JOBS - {"certificate"}
    assert services()["nginx"]["networks"]["default"]["aliases"] != ["localhost"], "which is each container itself"


def test_another_domain_takes_the_place_of_the_first_and_a_file_of_ones_own_that_of_ours(started: Started) -> None:
    started.read()
    assert "certificate" not in started.read("")
    (started.source / "probe.yml").write_text("- targets: [https://mine.test/readyz]\n")
    assert started.read()["probe"] == ["https://mine.test/readyz"]
    assert (started.source / "probe.yml").read_text() == "- targets: [https://mine.test/readyz]\n"


def test_a_domain_that_is_none_stops_the_start_with_the_variables_name(started: Started) -> None:
    done = started.start('x"] }\n- targets: ["y')
    assert done.returncode == 1
    assert "LMS_DOMAIN is" in done.stderr


def test_the_container_starts_by_the_script_which_finds_everything_where_it_looks() -> None:
    prometheus = services(LMS_DOMAIN=DOMAIN)["prometheus"]
    there = {str(one.target): one.source for one in mounts(prometheus)}
    shell, script = prometheus["entrypoint"]
    assert (shell, there[script]) == ("sh", "./deploy/prometheus/start-in-compose.sh")
    text = (PROMETHEUS / "start-in-compose.sh").read_text("utf-8")
    defaults: dict[str, Any] = dict(re.findall(r"^(from|to)=\$\{\w+:-([^}]+)\}$", text, re.MULTILINE))
    assert there[defaults["from"]] == "./deploy/prometheus/targets/compose"
    assert there[defaults["to"]] is None, "a folder in memory, which may be written"
    (configuration,) = [one for one in prometheus["command"] if one.startswith("--config.file=")]
    file = configuration.partition("=")[2]
    assert there[file] == "./deploy/prometheus/prometheus.yml"
    assert defaults["to"] == str(Path(file).parent / "targets")
    assert there[str(Path(file).parent / "rules")] == "./deploy/prometheus/rules"
    assert prometheus["environment"] == {"LMS_DOMAIN": DOMAIN}
