"""What a checklist sees of real things: a TLS server, Prometheus with our rules, Alertmanager, stored back-ups."""

import json
import shutil
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from tests.certificates import write_certificate
from tests.waiting import eventually
from typer.testing import CliRunner

from lms.cli.catalogue import KINDS, Catalogue, Manifest, Stored, stamp_of
from lms.cli.checklists import lists
from lms.cli.checklists.judgement import Outcome
from lms.cli.checklists.looks import Away, Looks
from lms.cli.home import Home, any_free_port
from lms.cli.main import app
from lms.cli.monitoring import DEPLOY, with_the_secrets_at_hand, with_the_sink
from lms.cli.packing import checksum
from lms.cli.servers import program
from lms.cli.storage import Folder

STARTING = 60.0


# TLS ------------------------------------------------------------------------------------------------------------------


@contextmanager
def tls_server(folder: Path, days: int) -> Iterator[str]:
    """Listen with a certificate for 127.0.0.1 that is valid for so many days yet; it lies in `certificate.pem`."""
    file = write_certificate(folder / "certificate.pem", days + 1 / 24)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                with context.wrap_socket(self.request, server_side=True) as connection:
                    connection.recv(1)
            except OSError:
                return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(("days", "outcome"), [(90, Outcome.DONE), (5, Outcome.FAILED)])
def test_a_certificate_that_expires_soon_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, outcome: Outcome
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with tls_server(tmp_path, days) as address:
        looks = Looks(url=f"https://{address}")
        (seen,) = looks.shown_certificates
        assert (seen.address, seen.fault) == (address, None)
        assert timedelta(days=days) < seen.expires - datetime.now(UTC) < timedelta(days=days + 1)
        assert lists.certificates(looks).outcome is outcome


def test_a_certificate_that_nobody_vouches_for_fails(tmp_path: Path) -> None:
    with tls_server(tmp_path, 90) as address:
        verdict = lists.certificates(Looks(certificates=(address,)))
    assert verdict.outcome is Outcome.FAILED
    assert "self-signed certificate" in verdict.text


def test_where_nothing_listens_no_certificate_can_be_looked_at() -> None:
    with pytest.raises(Away, match="shows no certificate"):
        assert Looks(certificates=(f"127.0.0.1:{any_free_port()}",)).shown_certificates


# Monitoring -----------------------------------------------------------------------------------------------------------


@contextmanager
def running(command: list[str], probe: str, log: Path) -> Iterator[None]:
    """Run a program from the moment at which its probe answers."""
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            until = time.monotonic() + STARTING
            while not _answers(probe):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def _answers(probe: str) -> bool:
    try:
        return httpx.get(probe, timeout=2).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looks]:
    """Prometheus that scrapes itself and Alertmanager, with the rules of `deploy/`; one further target is away."""
    folder = tmp_path_factory.mktemp("monitoring")
    ports = [any_free_port() for _ in range(3)]
    prometheus, alertmanager, away = (f"127.0.0.1:{port}" for port in ports)
    shutil.copytree(DEPLOY / "prometheus" / "rules", folder / "rules")
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": "prometheus", "static_configs": [{"targets": [prometheus]}]},
            {"job_name": "alertmanager", "static_configs": [{"targets": [alertmanager]}]},
            {"job_name": "lms", "static_configs": [{"targets": [away], "labels": {"service": "requests"}}]},
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    shutil.copytree(DEPLOY / "alertmanager" / "templates", folder / "templates")
    told = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    told = with_the_secrets_at_hand(with_the_sink(told, "127.0.0.1:9"), folder)
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(told))
    commands = (
        ([program("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager"),
          f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'alerts'}",
          f"--web.listen-address={alertmanager}", "--cluster.listen-address="], alertmanager),
        ([program("prometheus", package="prometheus"), f"--config.file={folder / 'prometheus.yml'}",
          f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={prometheus}",
          "--rules.alert.resend-delay=1s"], prometheus),
    )  # fmt: skip
    with ExitStack() as stack:
        for command, address in commands:
            stack.enter_context(running(command, f"http://{address}/-/ready", folder / f"{address}.log"))
        looks = Looks(prometheus=f"http://{prometheus}", alertmanager=f"http://{alertmanager}")
        eventually(lambda: bool(replace(looks).firing), "the watchdog does not come to Alertmanager", STARTING)
        eventually(lambda: len(replace(looks).states) == 1, "the target of the job lms was not looked at", STARTING)
        yield looks


def test_a_target_that_is_away_and_rules_that_are_there_are_seen(watched: Looks) -> None:
    seen = watched.monitoring
    assert seen.targets == 3
    assert len(seen.down) == 1
    assert set(seen.rules) == watched.needed_rules()
    assert not seen.failing_rules
    assert lists.monitoring(watched).outcome is Outcome.FAILED
    assert lists.processes(watched).outcome is Outcome.FAILED
    assert set(watched.states.values()) == {"down"}


def test_the_watchdog_at_alertmanager_shows_that_alerts_come_to_receivers(watched: Looks) -> None:
    assert {"critical-alerts", "warning-alerts", "tickets"} == set(watched.receivers)
    assert "Watchdog" in {one.name for one in watched.firing}
    assert lists.notifications(watched).outcome is Outcome.DONE, lists.notifications(watched)


def test_where_prometheus_has_no_figures_of_lms_nothing_is_claimed(watched: Looks) -> None:
    unknown = (lists.error_rate, lists.latency, lists.drift, lists.audit_chain)
    assert {one(watched).outcome for one in unknown} == {Outcome.UNREACHABLE}
    with pytest.raises(Away, match="no figures of a host"):
        assert watched.room
    fired, hours = watched.fired(24)
    assert "Watchdog" in fired
    assert hours < 1
    assert lists.quiet_day(watched).outcome in {Outcome.PERSON, Outcome.FAILED}, "it has watched for a moment only"


def test_prometheus_answers_and_a_grafana_that_nobody_named_cannot_be_looked_at(watched: Looks) -> None:
    with pytest.raises(Away, match="no Grafana is named"):
        assert watched.dashboards
    gone = Looks(prometheus=watched.prometheus, grafana=f"http://127.0.0.1:{any_free_port()}")
    assert gone.dashboards["Prometheus"] is None
    assert lists.dashboards(gone).outcome is Outcome.FAILED


def test_a_prometheus_that_is_away_is_told_of_with_its_address() -> None:
    with pytest.raises(Away, match=r"http://127\.0\.0\.1:9 does not say"):
        assert Looks(prometheus="http://127.0.0.1:9").traffic


# Back-ups, logs, the command ------------------------------------------------------------------------------------------


def keep(folder: Path, kind: str, age: timedelta, *, epoch: int = 2) -> None:
    """Store a back-up that was taken so long ago, as `lms backup` does."""
    catalogue, taken = Catalogue(Folder(folder)), datetime.now(UTC) - age
    file = folder.parent / "file.zst.age"
    file.write_bytes(b"packed")
    manifest = Manifest.model_validate(
        {
            "kind": kind, "id": stamp_of(taken) + (".binlog.000003" if kind == "log" else ""), "taken_at": taken,
            "system_id": "s", "log_epoch": epoch, "tried_at": taken,
            "files": [Stored(name=file.name, bytes=6, sha256=checksum(file), plain_bytes=6, plain_sha256="")],
        }
    )  # fmt: skip
    catalogue.finish(manifest, folder.parent)


def test_back_ups_are_seen_with_their_ages_the_log_in_its_newest_epoch(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    for kind in KINDS:
        keep(storage, kind, timedelta(minutes=20))
    keep(storage, "log", timedelta(minutes=5), epoch=1)
    looks = Looks(storage=str(storage))
    assert [one.kind for one in looks.backups] == list(KINDS)
    assert all(one.taken_at < datetime.now(UTC) - timedelta(minutes=10) for one in looks.backups)
    assert (lists.backups(looks).outcome, lists.trial_restore(looks).outcome) == (Outcome.DONE, Outcome.DONE)


def test_a_storage_without_a_kind_fails(tmp_path: Path) -> None:
    keep(tmp_path / "storage", "database", timedelta(hours=2))
    verdict = lists.backups(Looks(storage=str(tmp_path / "storage")))
    assert verdict.outcome is Outcome.FAILED
    assert "no back-up of keyring" in verdict.text


def test_logged_errors_are_counted_by_message_and_old_ones_are_not(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    now = datetime.now(UTC)
    lines = [
        {"@timestamp": (now - timedelta(hours=age)).isoformat(), "log.level": level, "message": message}
        for age, level, message in (
            (1, "error", "a job fails"), (2, "error", "a job fails"), (3, "warning", "slow"), (30, "error", "long ago"),
        )
    ]  # fmt: skip
    text = "\n".join(json.dumps(one, separators=(",", ":")) for one in lines)
    (home.folder / "logs" / "requests.log").write_text(text + "\nnot of ours\n")
    (home.folder / "logs" / "requests.log.1").write_text(text)
    looks = Looks(home=home.folder)
    assert looks.errors == {"a job fails": 4}
    assert looks.log_sizes == {"requests": 2 * len(text) + len("\nnot of ours\n")}
    assert lists.log_files(looks).outcome is Outcome.DONE


def test_the_command_fails_for_a_system_that_is_down_and_says_so(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    port = home.port("public")
    told = CliRunner().invoke(app, ["checklist", "daily", "--home", str(home.folder), "--json"])
    assert told.exit_code == 1, told.output
    first = json.loads(told.stdout)["lines"][0]
    assert first["outcome"] == "failed"
    assert first["checks"]["processes"] == {"outcome": "failed", "text": "no process of LMS runs"}
    assert first["checks"]["health"]["outcome"] == "failed"
    assert port == home.port("public")


def test_the_command_ends_well_when_all_is_left_to_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    told = CliRunner().invoke(app, ["checklist", "pre-deploy", "--url", "http://127.0.0.1:9"])
    assert told.exit_code == 0, told.output
    assert "All tests passing" in told.output
    assert "left to a person" in told.output
    nobody = CliRunner().invoke(app, ["checklist", "pre-deploy", "--home", str(tmp_path)])
    assert nobody.exit_code == 1
    assert "There is no system" in nobody.output
