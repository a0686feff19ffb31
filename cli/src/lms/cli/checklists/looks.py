"""Looks at a system: the one in a home, or one elsewhere of which addresses are known.

Each look returns what was seen, for `judgement` to judge, or raises Away with the reason why it could not look. Nothing
is changed by looking.
"""

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import yaml
from cryptography import x509
from rich.console import Console

from lms.cli import rebuild
from lms.cli.backup_settings import settings_of
from lms.cli.catalogue import KINDS, Catalogue, Kind, Manifest
from lms.cli.checklists.judgement import (
    Alert,
    Backup,
    Certificate,
    Health,
    Monitoring,
    Parked,
    Traffic,
)
from lms.cli.home import Home
from lms.cli.monitoring import DEPLOY
from lms.cli.packing import Damaged
from lms.cli.servers import SCHEMAS, Missing, MySQLServer
from lms.cli.storage import StorageFailed, storage_at
from lms.cli.supervision import NotRunning, Supervisor
from lms.cli.system import SERVICES
from lms.kernel import dead_letters
from lms.kernel.database import Database, is_unavailable
from lms.kernel.settings import BadSettings

ERROR_HOURS = 24.0
LOG_BYTES = 45_000_000
"""What a part's log may take: supervisord keeps 10 MB and three older files, and one may be rotated just now."""

_SECONDS = 10.0
_SCAN_SECONDS = 300.0
_REQUESTS = 20
_FIRST = (
    ("/", 200, "text/html"),
    ("/openapi.json", 200, "application/json"),
    ("/api/v1/me", 401, "application/problem+json"),
)
"""What everybody meets first, with the status and the kind of its answer."""

_API = 'job="lms",service="gateway",route=~"/api/.*"'


class Away(Exception):
    """It could not be looked at; the text says why."""


@dataclass
class Looks:
    """What can be looked at: a `home` here, or what is reached by addresses; each may be lacking.

    `url` is the gateway's, as people reach it; `certificates` are host:port of further TLS servers; `storage` holds the
    back-ups. Prometheus, Alertmanager and Grafana are base addresses.
    """

    home: Path | None = None
    url: str | None = None
    prometheus: str | None = None
    alertmanager: str | None = None
    grafana: str | None = None
    storage: str | None = None
    certificates: tuple[str, ...] = ()
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    @classmethod
    def at_home(cls, home: Path, chosen: "Looks") -> "Looks":
        """Return the looks at the system of a home, also one that is down; what is `chosen` counts first.

        Raises NotRunning when there never was one.
        """
        if not (home / "state.json").exists():
            raise NotRunning(f"There is no system in {home}; start it by `make up`, or name one by --url.")
        there = replace(chosen, home=home)
        ports = Home.at(home, attached=True).state.get("ports", {})
        watching = {
            name: f"http://127.0.0.1:{ports[name]}" for name in ("prometheus", "alertmanager") if name in there.states
        }
        return replace(
            there,
            url=f"http://127.0.0.1:{ports['public']}" if "public" in ports else None,
            prometheus=chosen.prometheus or watching.get("prometheus"),
            alertmanager=chosen.alertmanager or watching.get("alertmanager"),
            storage=chosen.storage or _storage_of(home),
        )

    # The system -----------------------------------------------------------------------------------------------------

    @cached_property
    def health(self) -> Health:
        """What /health of the gateway says."""
        try:
            answer = httpx.get(f"{self._need_url()}/health", timeout=_SECONDS)
            said = answer.json()
            return Health(said["status"] == "healthy", said.get("checks", {}))
        except (httpx.TransportError, ValueError, KeyError) as error:
            return Health(False, {}, str(error) or type(error).__name__)

    @cached_property
    def states(self) -> Mapping[str, str]:
        """The state of each process that supervisord, or Prometheus, knows: `running`, or what else it is."""
        if self.home is not None:
            try:
                return {name: str(one["statename"]).lower() for name, one in self._supervisor().states().items()}
            except NotRunning:
                return {}
        rows = self._query('up{job="lms"}')
        return {
            f"{labels['service']} at {labels['instance']}": "running" if value else "down" for labels, value in rows
        }

    @cached_property
    def readiness(self) -> Mapping[str, str | None]:
        """Why each process of a service takes no requests; None where it does."""
        if self.home is None:
            raise Away("only within: each process answers /readyz, which a cluster and compose ask all the time")
        ports = Home.at(self.home, attached=True).state["ports"]
        programs = [name for name in self.states if name in ports and name.startswith(SERVICES)]
        return {name: _complaint(f"http://127.0.0.1:{ports[name]}/readyz") for name in programs}

    @cached_property
    def parked(self) -> list[Parked]:
        """The keys that wait, by service, consumer and kind."""
        if self.home is None:
            rows = self._query('max by (service, consumer, kind) (consumer_parked_keys{job="lms"})')
            return [Parked(one["service"], one["consumer"], one["kind"], int(count)) for one, count in rows]
        return asyncio.run(_parked(Home.at(self.home, attached=True)))

    @cached_property
    def verification(self) -> rebuild.Checks:
        """What `lms verify` finds now, of every service."""
        if self.home is None:
            raise Away("only where the services' processes can be started: `--verify` of each")
        try:
            return rebuild.checks_of(self.home, SCHEMAS, self.console)
        except rebuild.DidNotWork as error:
            raise Away(str(error)) from error

    @cached_property
    def last_verification(self) -> tuple[Mapping[str, float], float | None]:
        """The faults that the services found last, by service and check, and how many seconds ago at most."""
        rows = self._query('max by (service, check) (drift_faults{job="lms",check!="rest"})')
        ages = self._query('time() - min(max by (service) (drift_checked_timestamp_seconds{job="lms"}))')
        return {f"{one['service']}, {one['check']}": faults for one, faults in rows}, _only(ages)

    @cached_property
    def audit_proof(self) -> float | None:
        """Whether the audit log's last proof held: 1 or 0."""
        return _only(self._query('min(audit_chain_valid{job="lms"})'))

    @cached_property
    def errors(self) -> Mapping[str, int]:
        """The errors that the processes have logged lately, counted by message."""
        if self.home is None:
            raise Away("only in a home: elsewhere the logs are in Elasticsearch")
        since = datetime.now(UTC) - timedelta(hours=ERROR_HOURS)
        return Counter(message for file in self._logs() for message in _errors_in(file, since))

    @cached_property
    def log_sizes(self) -> Mapping[str, int]:
        """How large each part's log is with its rotated ones, in bytes."""
        if self.home is None:
            raise Away("only in a home: elsewhere Elasticsearch and the container engine keep them")
        sizes: Counter[str] = Counter()
        for file in self._logs():
            sizes[file.name.partition(".log")[0]] += file.stat().st_size
        return sizes

    # Monitoring -----------------------------------------------------------------------------------------------------

    @cached_property
    def firing(self) -> list[Alert]:
        """The alerts that fire and that nobody has silenced."""
        query = {"active": "true", "silenced": "false", "inhibited": "false"}
        found = self._asked(self._need(self.alertmanager, "Alertmanager"), "/api/v2/alerts", query)
        return [Alert(one["labels"]["alertname"], one["annotations"].get("summary", "")) for one in found]

    @cached_property
    def receivers(self) -> list[str]:
        """The receivers of Alertmanager that lead somewhere."""
        found = self._asked(self._need(self.alertmanager, "Alertmanager"), "/api/v2/status")
        configuration = yaml.safe_load(found["config"]["original"])
        return [str(one["name"]) for one in configuration["receivers"] if len(one) > 1]

    @cached_property
    def failed_notifications(self) -> float | None:
        """How many notifications Alertmanager could not deliver within an hour; None where nobody counts."""
        try:
            return _only(self._query("sum(increase(alertmanager_notifications_failed_total[1h]))"))
        except Away:
            return None

    @cached_property
    def monitoring(self) -> Monitoring:
        """What Prometheus watches."""
        url = self._need(self.prometheus, "Prometheus")
        targets = self._asked(url, "/api/v1/targets", {"state": "active"})["data"]["activeTargets"]
        groups = self._asked(url, "/api/v1/rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return Monitoring(
            down=[f"{one['labels']['job']} {one['scrapeUrl']}" for one in targets if one["health"] == "down"],
            targets=len(targets),
            rules={str(one["name"]) for one in rules},
            failing_rules=[str(one["name"]) for one in rules if one["health"] == "err"],
        )

    @cached_property
    def dashboards(self) -> Mapping[str, str | None]:
        """Why Prometheus and Grafana do not answer; None where they do."""
        found = {"Prometheus": _complaint(f"{self._need(self.prometheus, 'Prometheus')}/-/ready")}
        return found | {"Grafana": _complaint(f"{self._need(self.grafana, 'Grafana')}/api/health")}

    def fired(self, hours: float) -> tuple[set[str], float]:
        """Return the alerts that have fired within so many hours, and how many of them Prometheus has watched."""
        span = f"{hours * 3600:.0f}s"
        rows = self._query(f'count by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}[{span}]))')
        longer = f"{hours * 3600 + 3600:.0f}s"  # the steps of a subquery do not begin where it does
        ages = self._query(f'time() - min(min_over_time(timestamp(up{{job="lms"}})[{longer}:5m]))')
        return {labels["alertname"] for labels, _ in rows}, (_only(ages) or 0.0) / 3600

    @cached_property
    def traffic(self) -> Traffic:
        """What the gateway has answered within the hour."""
        return Traffic(
            requests=_only(self._query(f"sum(rate(http_requests_total{{{_API}}}[1h]))")) or 0.0,
            failures=_only(self._query(f'sum(rate(http_requests_total{{{_API},status_code=~"5.."}}[1h]))')) or 0.0,
            p95=_only(
                self._query(
                    f"histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{{{_API}}}[1h])))"
                )
            ),
        )

    # Back-ups -------------------------------------------------------------------------------------------------------

    @cached_property
    def backups(self) -> list[Backup]:
        """The newest back-up of each kind that there is."""
        if self.storage is None:
            raise Away("no storage is named: set LMS_BACKUP_URL")
        try:
            catalogue = Catalogue(storage_at(self.storage))
            newest = [_newest(catalogue, kind) for kind in KINDS]
        except (StorageFailed, Damaged) as error:
            raise Away(str(error)) from error
        return [Backup(one.kind, one.taken_at, one.tried_at) for one in newest if one is not None]

    # Edge and host --------------------------------------------------------------------------------------------------

    @cached_property
    def shown_certificates(self) -> list[Certificate]:
        """The certificates of the gateway's address and of the further ones."""
        own = urlsplit(self.url or "")
        addresses = [*([f"{own.hostname}:{own.port or 443}"] if own.scheme == "https" else []), *self.certificates]
        if not addresses:
            raise Away("nothing here speaks TLS: name what does by --certificate host:port, or an https --url")
        return [_certificate_of(address) for address in addresses]

    @cached_property
    def name(self) -> tuple[str, set[str]]:
        """The gateway's name and the addresses that it stands for."""
        host = urlsplit(self._need_url()).hostname or ""
        if _is_address(host):
            raise Away(f"{host} is no name: give the name that people open by --url")
        try:
            return host, {str(one[4][0]) for one in socket.getaddrinfo(host, None)}
        except OSError:
            return host, set()

    @cached_property
    def door(self) -> tuple[int, list[str], bool | None]:
        """How many requests were sent to /livez, what went wrong with them, and whether plain HTTP is upgraded."""
        url = self._need_url()
        complaints = [_complaint(f"{url}/livez") for _ in range(_REQUESTS)]
        parts = urlsplit(url)
        upgraded: bool | None = None
        if parts.scheme == "https" and parts.port in {None, 443}:
            try:
                there = httpx.get(f"http://{parts.hostname}/", timeout=_SECONDS, follow_redirects=False)
                upgraded = there.headers.get("location", "").startswith("https://")
            except httpx.TransportError:
                upgraded = True  # nobody listens there: nothing is told in clear
        return _REQUESTS, [one for one in complaints if one is not None], upgraded

    @cached_property
    def entrance(self) -> list[str]:
        """What is wrong with what everybody meets first: the app, the API's description, a route for people."""
        url, wrong = self._need_url(), []
        for path, status, kind in _FIRST:
            try:
                answer = httpx.get(url + path, timeout=_SECONDS)
            except httpx.TransportError as error:
                wrong.append(f"{path} cannot be reached: {error}")
                continue
            if answer.status_code != status or not answer.headers.get("content-type", "").startswith(kind):
                wrong.append(f"{path} answers {answer.status_code} {answer.headers.get('content-type')}")
        return wrong

    @cached_property
    def room(self) -> tuple[Mapping[str, float], float]:
        """The free shares of disks, by path, and of memory."""
        if self.home is not None:
            disk, memory = shutil.disk_usage(self.home), psutil.virtual_memory()
            return {str(self.home.resolve()): disk.free / disk.total}, memory.available / memory.total
        where = '{job="node",fstype!~"tmpfs|ramfs|overlay|squashfs"}'
        rows = self._query(f"node_filesystem_avail_bytes{where} / node_filesystem_size_bytes{where}")
        memory_free = _only(self._query('min(node_memory_MemAvailable_bytes{job="node"} / node_memory_MemTotal_bytes)'))
        if not rows or memory_free is None:
            raise Away("Prometheus has no figures of a host")
        return {f"{one['instance']} {one['mountpoint']}": free for one, free in rows}, memory_free

    @cached_property
    def scan(self) -> Mapping[str, Any]:
        """What pip-audit says of the packages that this command runs with."""
        program = shutil.which("pip-audit")
        if program is None:
            raise Away("pip-audit is not installed (`uv tool install pip-audit`)")
        packages = sysconfig.get_paths()["purelib"]
        command = [program, "--format", "json", "--progress-spinner", "off", "--path", packages]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SCAN_SECONDS)  # noqa: S603  # found on the path
            found: dict[str, Any] = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, ValueError) as error:
            raise Away(f"pip-audit did not finish: {error}") from error
        return found

    # Asking ---------------------------------------------------------------------------------------------------------

    def needed_rules(self) -> set[str]:
        """Return the names of all rules in `deploy/`. Raises Away where that is not at hand."""
        files = (DEPLOY / "prometheus" / "rules").glob("*.yml")
        groups = [group for file in files for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
        if not groups:
            raise Away("the rules to compare with are in deploy/ of a checkout: run it from one")
        return {str(rule.get("alert") or rule["record"]) for group in groups for rule in group["rules"]}

    def _need_url(self) -> str:
        return self._need(self.url, "gateway")

    def _need(self, address: str | None, what: str) -> str:
        if address is None:
            raise Away(f"no {what} is named" if what != "gateway" else "no gateway is named: --url")
        return address.rstrip("/")

    def _query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """Return the series that an expression gives now, those without a number left out."""
        found = self._asked(self._need(self.prometheus, "Prometheus"), "/api/v1/query", {"query": expression})
        rows = [(one["metric"], float(one["value"][1])) for one in found["data"]["result"]]
        return [(labels, value) for labels, value in rows if value == value]  # noqa: PLR0124  # NaN is not itself

    def _asked(self, url: str, path: str, query: Mapping[str, str] | None = None) -> Any:
        try:
            return httpx.get(url + path, params=query, timeout=_SECONDS).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise Away(f"{url} does not say: {error}") from error

    def _supervisor(self) -> Supervisor:
        return Supervisor(Home.at(self.home or Path()))

    def _logs(self) -> list[Path]:
        return sorted(self._supervisor().logs.glob("*.log*"))


def _storage_of(home: Path) -> str | None:
    try:
        return settings_of(home).url
    except (BadSettings, Missing):
        return None


def _newest(catalogue: Catalogue, kind: Kind) -> Manifest | None:
    """Return the newest back-up of a kind, of the log in its newest epoch."""
    keys = catalogue.storage.keys("logs/") if kind == "log" else ()
    epochs = {int(key.split("/")[1]) for key in keys}
    epoch = max(epochs, default=None) if kind == "log" else None
    ids = catalogue.ids(kind, epoch) if kind != "log" or epoch is not None else []
    return catalogue.manifest(kind, ids[-1], epoch) if ids else None


async def _parked(home: Home) -> list[Parked]:
    server = MySQLServer(home)
    found: Counter[tuple[str, str, str]] = Counter()
    for service in SCHEMAS:
        database = Database(server.url(f"lms_{service}", f"lms_{service}"), pool_size=1)
        try:
            async with database.transaction() as connection:
                found.update((service, one.consumer, one.kind) for one in await dead_letters.parked(connection))
        except Exception as error:
            if is_unavailable(error):
                raise Away(f"the database does not answer for {service}") from error
            raise
        finally:
            await database.close()
    return [Parked(*names, keys) for names, keys in found.items()]


def _errors_in(file: Path, since: datetime) -> Iterator[str]:
    """Yield the message of each error that a process of ours has logged since then."""
    if datetime.fromtimestamp(file.stat().st_mtime, UTC) < since:
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if '"log.level":"error"' in line or '"log.level":"critical"' in line:
                try:
                    entry = json.loads(line)
                    if datetime.fromisoformat(entry["@timestamp"]) >= since:
                        yield str(entry["message"])
                except (ValueError, KeyError):
                    continue


def _complaint(url: str) -> str | None:
    """Return why an address does not answer with success."""
    try:
        answer = httpx.get(url, timeout=_SECONDS)
    except httpx.TransportError as error:
        return str(error) or type(error).__name__
    return None if answer.is_success else f"{answer.status_code} {answer.text[:200].strip()}"


def _certificate_of(address: str) -> Certificate:
    """Return the certificate that a server shows, and why it would not be trusted. Raises Away."""
    host, _, port = address.rpartition(":")
    where = (host.strip("[]"), int(port))
    look = ssl.create_default_context()
    look.check_hostname, look.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(where, timeout=_SECONDS) as plain,
            look.wrap_socket(plain, server_hostname=where[0]) as connection,
        ):
            shown = connection.getpeercert(binary_form=True)
    except OSError as error:
        raise Away(f"{address} shows no certificate: {error}") from error
    if shown is None:
        raise Away(f"{address} shows no certificate")
    fault = None
    try:
        with (
            socket.create_connection(where, timeout=_SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=where[0]),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        fault = error.verify_message
    except OSError as error:
        fault = str(error)
    return Certificate(address, x509.load_der_x509_certificate(shown).not_valid_after_utc, fault)


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


def _only(rows: list[tuple[Mapping[str, str], float]]) -> float | None:
    return rows[0][1] if rows else None
