"""The saved objects on their way into Kibana, of which no package is at hand: a stand-in looks at what it is sent."""

import base64
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SAVED = ROOT / "deploy/kibana/saved-objects.ndjson"


class Kibana(ThreadingHTTPServer):
    """Takes an import as Kibana's saved-objects API does, and answers `answer`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: dict[str, Any] = {"success": True, "successCount": 8}
        self.got: list[tuple[str, dict[str, str], str]] = []

    def imports(self, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run the script against it."""
        environment = {**os.environ, "KIBANA_URL": f"http://127.0.0.1:{self.server_port}", **variables}
        script = str(ROOT / "deploy/kibana/import.sh")
        return subprocess.run([script], env=environment, capture_output=True, text=True, check=False)


class _Handler(BaseHTTPRequestHandler):
    server: Kibana

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.got.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        answer = json.dumps(self.server.answer, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def kibana() -> Iterator[Kibana]:
    found = Kibana()
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def test_the_saved_objects_are_sent_whole_and_replace_their_former_selves(kibana: Kibana) -> None:
    done = kibana.imports()
    assert (done.returncode, done.stdout) == (0, "The saved searches are in Kibana.\n")
    ((path, headers, body),) = kibana.got
    assert path == "/api/saved_objects/_import?overwrite=true"
    assert headers["kbn-xsrf"] == "true"
    assert "multipart/form-data" in headers["content-type"]
    assert 'name="file"; filename="saved-objects.ndjson"' in body
    assert SAVED.read_text(encoding="utf-8").strip() in body.replace("\r\n", "\n")
    assert "authorization" not in headers


def test_a_user_and_password_are_sent_where_they_are_set(kibana: Kibana) -> None:
    assert kibana.imports(ELASTICSEARCH_USERNAME="elastic", ELASTICSEARCH_PASSWORD="a b$'\"\\").returncode == 0
    given = kibana.got[0][1]["authorization"].removeprefix("Basic ")
    assert base64.b64decode(given) == b"elastic:a b$'\"\\"


def test_what_kibana_does_not_take_is_told(kibana: Kibana) -> None:
    kibana.answer = {"success": False, "errors": [{"id": "lms-errors"}]}
    done = kibana.imports()
    assert done.returncode == 1
    assert "lms-errors" in done.stderr


def test_each_saved_object_refers_only_to_what_is_imported_with_it() -> None:
    saved = [json.loads(line) for line in SAVED.read_text(encoding="utf-8").splitlines()]
    known = {(one["type"], one["id"]) for one in saved}
    assert len(known) == len(saved)
    for one in saved:
        assert {(other["type"], other["id"]) for other in one["references"]} <= known
        names = {other["name"] for other in one["references"]}
        source = one["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}")
        assert {json.loads(source).get("indexRefName")} <= {*names, None}
