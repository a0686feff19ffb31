"""Real Prometheus, Alertmanager and exporters beside an embedded system, with the configuration of `deploy/`.

`lms up --monitoring` starts them as supervised children. The same files serve compose and Kubernetes; what differs
here is generated into the home: what there is to scrape (`targets/`), where Alertmanager's mails go (the sink), and
which receivers it has (those whose secret is in `alertmanager/secrets`). There is no Grafana: the dashboards in
`deploy/grafana` are for the other forms.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from lms.cli.home import Home
from lms.cli.servers import EXPORTER, KafkaServer, MailServer, MySQLServer, RedisServer, private_file, program

DEPLOY = Path(__file__).parents[4] / "deploy"
"""The configuration of the repository."""

PROMETHEUS_PORT, ALERTMANAGER_PORT = 9090, 9093
"""What they like to listen on; another port is taken where that is not free."""

RETENTION = "15d"


@dataclass(frozen=True)
class Part:
    """A monitoring program; it is ready when `probe` answers 200."""

    name: str
    command: list[str]
    probe: str

    async def ready(self) -> bool:
        """Say whether it answers."""
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self.probe) as answer:
            return answer.ok


@dataclass
class Monitoring:
    """The monitoring of one home; `services` and `streams` are the URLs of our processes, with and without an API.

    `deploy` is the folder of the configuration; `certificates` are host:port of TLS servers to watch.
    """

    home: Home
    kafka: KafkaServer
    mysql: MySQLServer
    redis: RedisServer
    mail: MailServer
    services: Mapping[str, Sequence[str]]
    streams: Mapping[str, str]
    gateway_url: str
    deploy: Path = DEPLOY
    certificates: Sequence[str] = ()
    _ports: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """Where Prometheus answers."""
        return f"http://127.0.0.1:{self._port('prometheus')}"

    @property
    def alertmanager_url(self) -> str:
        """Where Alertmanager answers."""
        return f"http://127.0.0.1:{self._port('alertmanager')}"

    def prepare(self) -> list[Part]:
        """Write every configuration; return the programs. Raises Missing when one is not installed."""
        folder = self.home.folder / "prometheus"
        shutil.rmtree(folder / "rules", ignore_errors=True)
        (folder / "targets").mkdir(parents=True, exist_ok=True)
        (self.home.folder / "metrics").mkdir(exist_ok=True)
        shutil.copytree(self.deploy / "prometheus" / "rules", folder / "rules")
        for name in ("prometheus.yml", "blackbox.yml"):
            shutil.copyfile(self.deploy / "prometheus" / name, folder / name)
        for job, targets in self._targets().items():
            file = folder / "targets" / f"{job}.json"
            file.write_text(json.dumps(targets, indent=2), encoding="utf-8")
        self._write_alertmanager()
        return [
            self._mysql_exporter(),
            self._redis_exporter(),
            self._node_exporter(),
            self._blackbox_exporter(folder),
            self._alertmanager(),
            self._prometheus(folder),
        ]

    def _port(self, name: str) -> int:
        preferred = {"prometheus": PROMETHEUS_PORT, "alertmanager": ALERTMANAGER_PORT}.get(name)
        if name not in self._ports:
            self._ports[name] = self.home.port(name, preferred)
        return self._ports[name]

    def _address(self, name: str) -> str:
        return f"127.0.0.1:{self._port(name)}"

    def _targets(self) -> dict[str, list[dict[str, Any]]]:
        """Return what each job scrapes, as Prometheus reads it."""
        blackbox = {"__blackbox__": self._address("blackbox-exporter")}
        return {
            "lms": [
                {"targets": [url.removeprefix("http://") for url in urls], "labels": {"service": service}}
                for service, urls in self.services.items()
            ]
            + [
                {"targets": [url.removeprefix("http://")], "labels": {"service": service, "component": "streams"}}
                for service, url in self.streams.items()
            ],
            "mysql": [{"targets": [self._address("mysql-exporter")]}],
            "redis": [{"targets": [self._address("redis-exporter")]}],
            "kafka": [{"targets": [f"127.0.0.1:{self.kafka.metrics_port}"]}],
            "node": [{"targets": [self._address("node-exporter")]}],
            "probe": [{"targets": [f"{self.gateway_url}/livez"], "labels": blackbox}],
            "certificate": [{"targets": list(self.certificates), "labels": blackbox}],
            "prometheus": [{"targets": [self._address("prometheus")]}],
            "alertmanager": [{"targets": [self._address("alertmanager")]}],
        }

    def _prometheus(self, folder: Path) -> Part:
        command = [
            program("prometheus", package="prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address={self._address('prometheus')}",
            f"--web.external-url={self.url}",
            "--web.enable-lifecycle",
        ]
        return Part("prometheus", command, f"{self.url}/-/ready")

    def _alertmanager(self) -> Part:
        folder = self.home.folder / "alertmanager"
        command = [
            program("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager"),
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={self._address('alertmanager')}",
            f"--web.external-url={self.alertmanager_url}",
            "--cluster.listen-address=",
        ]
        return Part("alertmanager", command, f"{self.alertmanager_url}/-/ready")

    def _write_alertmanager(self) -> None:
        folder = self.home.folder / "alertmanager"
        (folder / "secrets").mkdir(parents=True, exist_ok=True)
        (folder / "secrets").chmod(0o700)
        shutil.copytree(self.deploy / "alertmanager" / "templates", folder / "templates", dirs_exist_ok=True)
        text = (self.deploy / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
        configuration = with_the_sink(yaml.safe_load(text), f"127.0.0.1:{self.mail.smtp_port}")
        configuration = with_the_secrets_at_hand(configuration, folder / "secrets")
        private_file(folder / "alertmanager.yml", yaml.safe_dump(configuration, sort_keys=False))

    def _mysql_exporter(self) -> Part:
        credentials = self.home.folder / "mysql-exporter.cnf"
        password = self.home.secret(f"mysql:{EXPORTER}")
        private_file(
            credentials,
            f"[client]\nhost=127.0.0.1\nport={self.mysql.port}\nuser={EXPORTER}\npassword={password}\n",
        )
        command = [
            program("prometheus-mysqld-exporter", "mysqld_exporter", package="prometheus-mysqld-exporter"),
            f"--config.my-cnf={credentials}",
            f"--web.listen-address={self._address('mysql-exporter')}",
            "--no-collect.slave_status",
        ]
        return Part("mysql-exporter", command, f"http://{self._address('mysql-exporter')}/")

    def _redis_exporter(self) -> Part:
        passwords = self.home.folder / "redis-exporter.json"
        address = f"redis://127.0.0.1:{self.redis.port}"
        private_file(passwords, json.dumps({address: self.home.secret("redis")}))
        command = [
            program("prometheus-redis-exporter", "redis_exporter", package="prometheus-redis-exporter"),
            f"-redis.addr={address}",
            f"-redis.password-file={passwords}",
            f"-web.listen-address={self._address('redis-exporter')}",
        ]
        return Part("redis-exporter", command, f"http://{self._address('redis-exporter')}/")

    def _node_exporter(self) -> Part:
        """Return the exporter of the host, which also tells what commands leave in `<home>/metrics/*.prom`."""
        command = [
            program("prometheus-node-exporter", "node_exporter", package="prometheus-node-exporter"),
            f"--web.listen-address={self._address('node-exporter')}",
            f"--collector.textfile.directory={self.home.folder / 'metrics'}",
            "--collector.disable-defaults",
            *(f"--collector.{one}" for one in ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "stat",
                                               "textfile", "time", "uname")),
        ]  # fmt: skip
        return Part("node-exporter", command, f"http://{self._address('node-exporter')}/")

    def _blackbox_exporter(self, folder: Path) -> Part:
        command = [
            program("prometheus-blackbox-exporter", "blackbox_exporter", package="prometheus-blackbox-exporter"),
            f"--config.file={folder / 'blackbox.yml'}",
            f"--web.listen-address={self._address('blackbox-exporter')}",
        ]
        return Part("blackbox-exporter", command, f"http://{self._address('blackbox-exporter')}/-/healthy")


def with_the_sink(configuration: dict[str, Any], smarthost: str) -> dict[str, Any]:
    """Return Alertmanager's configuration with its mails going to the embedded system's sink."""
    settings = {key: value for key, value in configuration["global"].items() if not key.startswith("smtp_auth_")}
    settings |= {"smtp_smarthost": smarthost, "smtp_require_tls": False}
    return {**configuration, "global": settings}


def with_the_secrets_at_hand(configuration: dict[str, Any], secrets: Path) -> dict[str, Any]:
    """Return Alertmanager's configuration with its secrets in a folder; what has no secret there is left out."""
    receivers = []
    for receiver in configuration["receivers"]:
        kept: dict[str, Any] = {"name": receiver["name"]}
        for kind, entries in receiver.items():
            if kind != "name":
                found = [_with_secrets_in(entry, secrets) for entry in entries]
                usable = [entry for entry in found if entry is not None]
                if usable:
                    kept[kind] = usable
        receivers.append(kept)
    return {**configuration, "receivers": receivers}


def _with_secrets_in(entry: dict[str, Any], secrets: Path) -> dict[str, Any] | None:
    moved = dict(entry)
    for key, value in entry.items():
        if key.endswith("_file"):
            file = secrets / Path(value).name
            if not os.access(file, os.R_OK):
                return None
            moved[key] = str(file)
    return moved
