"""A real Elasticsearch and a real Filebeat for the tests of the logs: processes of a test session's own."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lms.cli.home import any_free_port

ROOT = Path(__file__).parents[1]
VERSION = "7.17.9"
_ARTIFACT = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
_SECONDS = 180.0


@dataclass(frozen=True)
class Elasticsearch:
    """Where it is, and what tests ask it."""

    url: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request that must succeed."""
        answer = httpx.request(method, f"{self.url}{path}", json=body, timeout=60)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def search(self, query: Any, index: str = "lms-logs-*") -> Any:
        """Search in what has arrived so far."""
        self.call("POST", f"/{index}/_refresh")
        return self.call("POST", f"/{index}/_search", query)

    def run(self, script: str, **variables: str) -> str:
        """Run a script of deploy/ against it, and return what it says."""
        environment = {**os.environ, "ELASTICSEARCH_URL": self.url, **variables}
        done = subprocess.run([str(ROOT / script)], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def elasticsearch() -> Iterator[Elasticsearch]:
    """Start one node, from Maven Central, with half a gigabyte; it runs as nobody, for it refuses to run as root."""
    with tempfile.TemporaryDirectory(prefix="lms-elasticsearch-") as folder:
        Path(folder).chmod(0o711)
        with zipfile.ZipFile(_fetched()) as archive:
            archive.extractall(folder)
        home = Path(folder) / f"elasticsearch-{VERSION}"
        found = Elasticsearch(f"http://127.0.0.1:{any_free_port()}")
        settings = {
            "discovery.type": "single-node",
            "http.port": found.url.rpartition(":")[2],
            "transport.port": str(any_free_port()),
            "xpack.security.enabled": "false",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }
        command = [
            "bash",
            str(home / "bin" / "elasticsearch"),
            *(f"-E{key}={value}" for key, value in settings.items()),
        ]
        if os.geteuid() == 0:
            for path in (home, *home.rglob("*")):
                shutil.chown(path, "nobody", "nogroup")
            command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        for program in home.rglob("bin/*"):
            program.chmod(0o755)
        java = Path(shutil.which("java") or "/usr/bin/java").resolve().parents[1]
        environment = {
            "PATH": os.environ["PATH"], "HOME": folder, "ES_JAVA_HOME": str(java), "ES_JAVA_OPTS": "-Xms512m -Xmx512m",
        }  # fmt: skip
        with (Path(folder) / "log").open("w") as log:
            bound = ["setpriv", "--pdeathsig", "KILL", *command]
            process = subprocess.Popen(bound, env=environment, stdout=log, stderr=log)
        try:
            _ready(found, process, Path(folder) / "log")
            yield found
        finally:
            process.terminate()
            process.wait(60)


def _ready(found: Elasticsearch, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + _SECONDS
    while True:
        try:
            if httpx.get(f"{found.url}/_cluster/health?wait_for_status=yellow&timeout=5s", timeout=10).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.3)
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < until, log.read_text()[-3000:]


def _fetched() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lms"
    file = cache / f"elasticsearch-{VERSION}.zip"
    if not file.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix="elasticsearch.") as folder:
            command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            next(Path(folder).glob("*.zip")).replace(file)
    return file


@contextmanager
def filebeat(elasticsearch: Elasticsearch, **variables: str) -> Iterator[None]:
    """Run Filebeat with the configuration of deploy/ for the length of the block."""
    program = subprocess.run(
        [str(ROOT / "scripts/filebeat")], capture_output=True, text=True, check=True
    ).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="lms-filebeat-") as folder:
        configuration = Path(folder) / "filebeat.yml"
        shutil.copy(ROOT / "deploy/filebeat/filebeat.yml", configuration)
        configuration.chmod(0o600)
        log = Path(folder) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", program, "-c", str(configuration), "--path.home", folder],
                env={**os.environ, "ELASTICSEARCH_URL": elasticsearch.url, **variables},
                stdout=output, stderr=output,
            )  # fmt: skip
        try:
            yield
            assert process.poll() is None, log.read_text()[-3000:]
        finally:
            process.terminate()
            process.wait(30)


def as_docker_writes(lines: list[str]) -> str:
    """Return lines as Docker's json-file driver keeps them."""
    kept = [{"log": f"{line}\n", "stream": "stdout", "time": "2026-01-01T00:00:00.000000000Z"} for line in lines]
    return "".join(json.dumps(one) + "\n" for one in kept)


def as_kubernetes_writes(lines: list[str]) -> str:
    """Return lines as a container runtime of Kubernetes keeps them."""
    return "".join(f"2026-01-01T00:00:00.000000000Z stdout F {line}\n" for line in lines)
