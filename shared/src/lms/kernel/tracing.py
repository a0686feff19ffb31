"""Traces: one from the click to the mail, in the W3C form; spans are exported only where somebody collects them.

    with span("GET", traceparent=header, kind="server") as current:       # continues the caller's trace
        describe(current, {"http.route": route}, name=f"GET {route}")

The trace travels in HTTP headers, in each event's `traceparent` (outbox row, then Kafka header), and in rows that
another process picks up later. Without a collector no span is made, and the ids still travel: into the answer's
`traceparent`, the events and the logs.

OpenTelemetry's own variables configure it (docs/configuration.md): with OTEL_EXPORTER_OTLP_ENDPOINT set, spans go there
by OTLP over HTTP, sampled as OTEL_TRACES_SAMPLER says, by default as the caller did and else all. A span never holds
what an exception says, nor a URL: both may quote what people wrote.
"""

import os
import random
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

Attributes = Mapping[str, str | int]
Kind = Literal["internal", "server", "client", "producer", "consumer"]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class BadTracing(Exception):
    """The OTEL_ variables ask for what LMS does not do; the text names the variable."""


class _Exporting:
    """The provider, once `configure` found somewhere to send spans to."""

    provider: TracerProvider | None = None


def configure(service: str, instance: str = "") -> None:
    """Export this process's spans if the environment names a collector. Called once, in `main`. Raises BadTracing."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    protocol = next((name for name in _PROTOCOLS if os.environ.get(name, "http/protobuf") != "http/protobuf"), None)
    if protocol is not None:
        raise BadTracing(f"{protocol}: spans are sent as `http/protobuf` alone; name the collector's HTTP port (4318).")
    own = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or f"lms-{service}", "service.namespace": "lms"}
    provider = TracerProvider(resource=Resource.create(own | ({"service.instance.id": instance} if instance else {})))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _Exporting.provider = provider


def shut_down(seconds: float = 0.5) -> None:
    """Send the spans that wait and stop; give up after so long, for a collector that is away must not hold the exit."""
    provider, _Exporting.provider = _Exporting.provider, None
    if provider is not None:
        closing = threading.Thread(target=provider.shutdown, name="flush the spans", daemon=True)
        closing.start()
        closing.join(seconds)


def exporting() -> bool:
    """Say whether spans go anywhere."""
    return _Exporting.provider is not None


@contextmanager
def span(
    name: str,
    *,
    traceparent: str | None = None,
    kind: Kind = "internal",
    attributes: Attributes | None = None,
    quiet: bool = False,
) -> Iterator[Span]:
    """Open a span and make it the current one.

    `traceparent` continues the trace of a caller, or of an event; without it, or when it does not parse, the span
    belongs to the current trace, else to a new one. A `quiet` span has ids and is never exported. An exception that
    leaves the block marks the span as failed, by its type alone.
    """
    remote = parse(traceparent)
    if _Exporting.provider is None or quiet:
        with _unrecorded(remote) as unrecorded:
            yield unrecorded
        return
    with _Exporting.provider.get_tracer("lms").start_as_current_span(
        name,
        context=trace.set_span_in_context(NonRecordingSpan(remote)) if remote else None,
        kind=_KINDS[kind],
        attributes=dict(attributes or {}),
        record_exception=False,
        set_status_on_exception=False,
    ) as recorded:
        try:
            yield recorded
        except BaseException as error:
            failed(recorded, f"{type(error).__module__}.{type(error).__qualname__}")
            raise


@contextmanager
def _unrecorded(remote: SpanContext | None) -> Iterator[Span]:
    current = trace.get_current_span().get_span_context()
    around = remote or (current if current.is_valid else None)
    unrecorded = NonRecordingSpan(
        SpanContext(
            trace_id=around.trace_id if around else random.getrandbits(128) | 1,
            span_id=random.getrandbits(64) | 1,
            is_remote=False,
            trace_flags=around.trace_flags if around else TraceFlags(0),
        )
    )
    token = attach(trace.set_span_in_context(unrecorded))
    try:
        yield unrecorded
    finally:
        detach(token)


def record(
    name: str, *, traceparent: str | None, kind: Kind, begin_ns: int, end_ns: int, attributes: Attributes | None = None
) -> None:
    """Add to a trace what was done in its favour together with other things; instants are Unix nanoseconds.

    Nothing is recorded for what belongs to no trace.
    """
    remote = parse(traceparent)
    if _Exporting.provider is None or remote is None:
        return
    _Exporting.provider.get_tracer("lms").start_span(
        name,
        context=trace.set_span_in_context(NonRecordingSpan(remote)),
        kind=_KINDS[kind],
        attributes=dict(attributes or {}),
        start_time=begin_ns,
    ).end(end_ns)


def describe(current: Span, attributes: Attributes, *, name: str | None = None) -> None:
    """Say more of a span than was known when it began; costs nothing where it is not recorded."""
    if current.is_recording():
        if name is not None:
            current.update_name(name)
        current.set_attributes(dict(attributes))


def failed(current: Span, kind: str) -> None:
    """Mark a span as failed; `kind` is an exception's type or an HTTP status."""
    if current.is_recording():
        current.set_attribute("error.type", kind)
        current.set_status(StatusCode.ERROR)


def parse(traceparent: str | None) -> SpanContext | None:
    """Return the span that a traceparent names; None if it names none."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None or traceparent is None or traceparent.startswith("ff"):
        return None
    context = SpanContext(
        trace_id=int(found[1], 16),
        span_id=int(found[2], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(found[3], 16) & 1),
    )
    return context if context.is_valid else None


def traceparent_of(context: SpanContext) -> str:
    """Return the W3C header that names a span."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def current_traceparent() -> str | None:
    """Return the W3C header that names the current span; None outside any."""
    context = trace.get_current_span().get_span_context()
    return traceparent_of(context) if context.is_valid else None
