"""A real Prometheus and Alertmanager that look at the session's system, in seconds instead of minutes.

The configuration is that of `deploy/`; what differs (`hurried`) are its times: it scrapes every four seconds and
evaluates every two, an alert's `for` is two seconds, Alertmanager waits for nobody, and each receiver is a webhook of
the test's own, at a path of the receiver's name. Expressions, thresholds, labels, routes and inhibitions are as
delivered.
"""

import json
import shutil
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.certificates import write_certificate
from tests.monitoring.registry import DEPLOY

EVERY = "2s"
SCRAPED = "4s"


@dataclass
class Watched:
    """What Prometheus knows, and what Alertmanager told whom."""

    prometheus: str
    alertmanager: str
    told: "list[tuple[str, dict[str, Any]]]" = field(default_factory=list)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression gives now; fail where Prometheus does not understand it."""
        answer = httpx.post(f"{self.prometheus}/api/v1/query", data={"query": expression}, timeout=30).json()
        assert answer["status"] == "success", (expression, answer)
        result = answer["data"]["result"]
        return result if answer["data"]["resultType"] == "vector" else [{"metric": {}, "value": result}]

    def number(self, expression: str) -> float:
        """Return the largest value that an expression gives now; 0 without one."""
        return max((float(one["value"][1]) for one in self.query(expression)), default=0.0)

    def told_of(
        self, receiver: str, alert: str, status: str = "firing", *, since: int = 0, **labels: str
    ) -> dict[str, Any] | None:
        """Return the alert of that name which a receiver was told of, if it was, after the first `since` messages."""
        wanted = {"alertname": alert, **labels}
        return next(
            (
                dict(one)
                for name, message in self.told[since:]
                if name == receiver
                for one in message["alerts"]
                if one["status"] == status and wanted.items() <= one["labels"].items()
            ),
            None,
        )


def hurried(folder: Path, webhook: str) -> Path:
    """Write the configuration of `deploy/` with shorter times and the test's own receivers; return the folder."""
    for name in ("prometheus", "alertmanager"):
        shutil.copytree(DEPLOY / name, folder / name)
    file = folder / "prometheus" / "prometheus.yml"
    prometheus = yaml.safe_load(file.read_text(encoding="utf-8"))
    prometheus["global"] |= {"scrape_interval": SCRAPED, "scrape_timeout": SCRAPED, "evaluation_interval": EVERY}
    for job in prometheus["scrape_configs"]:
        job.pop("scrape_interval", None)
    file.write_text(yaml.safe_dump(prometheus))
    for rules in (folder / "prometheus" / "rules").glob("*.yml"):
        document = yaml.safe_load(rules.read_text(encoding="utf-8"))
        for group in document["groups"]:
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = EVERY
        rules.write_text(yaml.safe_dump(document))
    file = folder / "alertmanager" / "alertmanager.yml"
    alertmanager = yaml.safe_load(file.read_text(encoding="utf-8"))
    for route in (alertmanager["route"], *alertmanager["route"]["routes"]):
        route |= {"group_wait": "1s", "group_interval": EVERY}
    for receiver in alertmanager["receivers"]:
        name = receiver["name"]
        receiver.clear()
        receiver |= {"name": name, "webhook_configs": [{"url": f"{webhook}/{name}", "send_resolved": True}]}
    file.write_text(yaml.safe_dump(alertmanager))
    return folder


class Webhook:
    """Takes what Alertmanager posts, by the receiver's name."""

    def __init__(self, told: "list[tuple[str, dict[str, Any]]]") -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.append((self.path.strip("/"), json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class TlsServer:
    """A TLS server whose certificate is valid for some days yet."""

    def __init__(self, folder: Path, days: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(write_certificate(folder / "certificate.pem", days))

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    with context.wrap_socket(self.request, server_side=True) as connection:
                        connection.recv(1)
                except OSError:
                    return

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
