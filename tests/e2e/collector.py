"""A collector of traces: takes what OpenTelemetry exports by OTLP over HTTP, and keeps it to be looked at."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan


@dataclass(frozen=True)
class Span:
    """A span as it was exported; ids are hexadecimal, `parent` is empty for a root."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    begin_ns: int
    end_ns: int
    failed: bool
    attributes: dict[str, str | int] = field(hash=False)


class Collector:
    """An OTLP endpoint at `url`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector._take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _take(self, request: ExportTraceServiceRequest) -> None:
        with self._lock:
            for resource in request.resource_spans:
                service = str(_attributes(resource.resource.attributes)["service.name"])
                self._spans += [_span(service, one) for scope in resource.scope_spans for one in scope.spans]

    def spans(self, trace: str | None = None) -> list[Span]:
        """Return the spans of a trace, or of all."""
        with self._lock:
            return [one for one in self._spans if trace is None or one.trace == trace]

    @contextmanager
    def listening(self) -> Iterator["Collector"]:
        """Listen for the length of the block."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _span(service: str, one: ProtoSpan) -> Span:
    return Span(
        service=service,
        name=one.name,
        kind=ProtoSpan.SpanKind.Name(one.kind).removeprefix("SPAN_KIND_").lower(),
        trace=one.trace_id.hex(),
        id=one.span_id.hex(),
        parent=one.parent_span_id.hex(),
        begin_ns=one.start_time_unix_nano,
        end_ns=one.end_time_unix_nano,
        failed=one.status.code == 2,
        attributes=_attributes(one.attributes),
    )


def _attributes(pairs: Any) -> dict[str, str | int]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in pairs}
