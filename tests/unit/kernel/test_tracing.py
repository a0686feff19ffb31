import pytest

from lms.kernel.tracing import current_traceparent, parse, span

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


def test_a_batch_links_to_a_trace_without_joining_it() -> None:
    with span("batch", traceparent=CALLER, linked=True):
        current = current_traceparent()
    assert current is not None
    assert current[:36] != CALLER[:36]


@pytest.mark.parametrize(
    "broken", [None, "", "nonsense", "ff" + CALLER[2:], f"00-{'0' * 32}-b7ad6b7169203331-01", CALLER.upper() + "!"]
)
def test_a_broken_traceparent_is_ignored(broken: str | None) -> None:
    assert parse(broken) is None
    with span("work", traceparent=broken):
        assert current_traceparent() is not None
    assert current_traceparent() is None
