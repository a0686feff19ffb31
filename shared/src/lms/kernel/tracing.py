"""Traces: W3C trace context in, through, and out; spans are exported only where somebody collects them.

Set OTEL_EXPORTER_OTLP_ENDPOINT and spans go there by OTLP over HTTP. Without it no span is recorded, and the trace and
span ids still travel: in the answer's `traceparent`, in events, and in the logs.
"""

import os
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class _Exporting:
    """The provider, once `configure` found somewhere to send spans to."""

    provider: TracerProvider | None = None


def configure(service: str) -> None:
    """Export spans if OTEL_EXPORTER_OTLP_ENDPOINT is set. Called once, in `main`."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    provider = TracerProvider(resource=Resource.create({"service.name": service, "service.namespace": "lms"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _Exporting.provider = provider


def shut_down() -> None:
    """Send the spans that wait, and stop."""
    if _Exporting.provider is not None:
        _Exporting.provider.shutdown()
        _Exporting.provider = None


@contextmanager
def span(
    name: str,
    *,
    traceparent: str | None = None,
    kind: Literal["internal", "server", "producer", "consumer"] = "internal",
    linked: bool = False,
    attributes: Mapping[str, str | int] | None = None,
) -> Iterator[Span]:
    """Open a span and make it the current one.

    `traceparent` continues the trace of a caller, or of an event; `linked` starts a trace of its own that only links
    to it, for batches. Without either the span belongs to the current trace, else to a new one. A traceparent that does
    not parse is ignored.
    """
    remote = parse(traceparent)
    if _Exporting.provider is not None:
        parent = trace.set_span_in_context(NonRecordingSpan(remote)) if remote and not linked else None
        tracer = _Exporting.provider.get_tracer("lms")
        with tracer.start_as_current_span(
            name,
            context=parent,
            kind=_KINDS[kind],
            links=[Link(remote)] if remote and linked else [],
            attributes=dict(attributes or {}),
        ) as recorded:
            yield recorded
        return
    current = trace.get_current_span().get_span_context()
    around = remote if remote and not linked else (current if current.is_valid else None)
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
