import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from lms.kernel import tracing
from lms.kernel.tracing import BadTracing, current_traceparent, describe, parse, record, span

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_span_continues_the_callers_trace() -> None:
    with span("work", traceparent=CALLER):
        current = current_traceparent()
    assert current is not None
    assert current[:36] == CALLER[:36]
    assert current != CALLER
    assert current.endswith("-01")


def test_a_span_inside_a_span_belongs_to_the_same_trace() -> None:
    with span("outer"):
        outer = current_traceparent()
        with span("inner"):
            inner = current_traceparent()
    assert outer is not None
    assert inner is not None
    assert outer[:36] == inner[:36]
    assert outer != inner


@pytest.mark.parametrize(
    "broken", [None, "", "nonsense", "ff" + CALLER[2:], f"00-{'0' * 32}-b7ad6b7169203331-01", CALLER.upper() + "!"]
)
def test_a_broken_traceparent_is_ignored(broken: str | None) -> None:
    assert parse(broken) is None
    with span("work", traceparent=broken):
        assert current_traceparent() is not None
    assert current_traceparent() is None


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What a collector would get."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing._Exporting, "provider", provider)
    yield exporter
    provider.shutdown()


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (found,) = exporter.get_finished_spans()
    return found


def test_an_exported_span_is_a_child_of_the_callers(exported: InMemorySpanExporter) -> None:
    with span("GET", traceparent=CALLER, kind="server") as current:
        describe(current, {"http.route": "/x/{id}"}, name="GET /x/{id}")
    found = only(exported)
    assert found.parent is not None
    assert tracing.traceparent_of(found.parent) == CALLER
    assert (found.name, dict(found.attributes or {})) == ("GET /x/{id}", {"http.route": "/x/{id}"})


def test_a_failure_marks_its_span_and_says_nothing_of_what_it_quotes(exported: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="Jane"), span("work"):
        raise ValueError("Jane Doe")
    found = only(exported)
    assert not found.status.is_ok
    assert dict(found.attributes or {}) == {"error.type": "builtins.ValueError"}
    assert "Jane" not in found.to_json()


def test_a_trace_that_its_caller_does_not_sample_is_not_exported(exported: InMemorySpanExporter) -> None:
    with span("work", traceparent=CALLER[:-2] + "00"), span("inner"):
        record("send", traceparent=current_traceparent(), kind="producer", begin_ns=1, end_ns=2)
    assert exported.get_finished_spans() == ()


def test_a_quiet_span_has_ids_and_is_not_exported(exported: InMemorySpanExporter) -> None:
    with span("GET", quiet=True):
        assert current_traceparent() is not None
    assert exported.get_finished_spans() == ()


def test_what_was_done_with_others_is_shown_in_the_trace_of_each(exported: InMemorySpanExporter) -> None:
    record("send", traceparent=CALLER, kind="producer", begin_ns=1_000, end_ns=2_000, attributes={"a": 1})
    record("send", traceparent=None, kind="producer", begin_ns=1_000, end_ns=2_000)
    found = only(exported)
    assert found.parent is not None
    assert tracing.traceparent_of(found.parent) == CALLER
    assert (found.start_time, found.end_time) == (1_000, 2_000)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_exported_unless_the_environment_names_a_collector(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracing.configure("requests")
    assert not tracing.exporting()


def test_a_protocol_that_is_not_spoken_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(BadTracing, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        tracing.configure("requests")


def test_a_collector_that_is_away_does_not_hold_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    others = set(threading.enumerate())
    tracing.configure("requests", "requests-2")
    assert tracing.exporting()
    with span("work"):
        pass
    tracing.shut_down(0.2)
    assert not tracing.exporting()
    # What it left draws the pauses of its retries at random, and Hypothesis looks whether somebody does in other tests.
    for thread in set(threading.enumerate()) - others:
        thread.join(30)
        assert not thread.is_alive()
