import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pymysql.err
import pytest
import structlog
from pydantic import BaseModel, ValidationError

from lms.kernel import logs


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers, root.level
    hooks = sys.excepthook, threading.excepthook
    logs.configure("requests", "info", stream=stream)
    yield stream
    root.handlers, root.level = before
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_ecs_json_with_the_trail_of_its_request(out: io.StringIO) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with logs.trail(request_id="req-12345", correlation_id="cor-1", traceparent=trace):
        structlog.get_logger("test").info("the case was opened", topic="leave.approvals.v1")
    structlog.get_logger("test").info("afterwards")
    first, second = lines(out)
    assert first["@timestamp"].endswith("Z")
    assert {key: value for key, value in first.items() if key not in {"@timestamp", "process.pid"}} == {
        "message": "the case was opened",
        "ecs.version": "8.11.0",
        "service.name": "requests",
        "event.dataset": "lms.requests",
        "log.level": "info",
        "labels.topic": "leave.approvals.v1",
        "http.request.id": "req-12345",
        "labels.correlation_id": "cor-1",
        "trace.id": "0af7651916cd43dd8448eb211c80319c",
        "span.id": "b7ad6b7169203331",
    }
    assert "http.request.id" not in second


@pytest.mark.parametrize("value", ["jane@example.org", {"name": "jane"}, ["jane"], object()])
def test_only_fields_that_are_known_to_be_harmless_are_written(out: io.StringIO, value: Any) -> None:
    structlog.get_logger("test").info("signed in", email=value, reason={"name": "jane"})
    (line,) = lines(out)
    assert "jane" not in out.getvalue()
    assert line["labels.email"] == line["labels.reason"] == "[removed]"


def test_of_what_a_library_says_the_constant_part_is_written(out: io.StringIO) -> None:
    logging.getLogger("somebody.else").warning("crashed: %r\nmore", NAME)
    logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: <Task {NAME}>")  # noqa: G004  # as asyncio does
    assert NAME not in out.getvalue()
    assert [line["message"] for line in lines(out)] == ["crashed: %r", "Task exception was never retrieved"]


def test_what_ends_the_process_is_a_line_like_any_other(out: io.StringIO) -> None:
    error = ValueError(NAME)
    sys.excepthook(ValueError, error, None)
    (line,) = lines(out)
    assert NAME not in out.getvalue()
    assert (line["log.level"], line["error.type"]) == ("critical", "builtins.ValueError")


def test_a_reason_may_be_an_exception_and_is_told_as_one(out: io.StringIO) -> None:
    structlog.get_logger("test").warning("away", reason=ConnectionRefusedError(111, "Connect call failed"))
    structlog.get_logger("test").warning("broken", reason=ValueError(NAME))
    assert [line["labels.reason"] for line in lines(out)] == [
        "ConnectionRefusedError: [Errno 111] Connect call failed",
        "ValueError",
    ]


@pytest.mark.parametrize("number", [1062, 1292, 1366, 1406])
def test_a_database_error_that_may_quote_a_value_is_told_by_its_number(number: int) -> None:
    quoting = pymysql.err.OperationalError(number, f"Incorrect value: '{NAME}'")
    assert logs.told(quoting) == f"OperationalError: MySQL error {number}"
    lost = pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")
    assert "Lost connection" in logs.told(lost)


def test_lines_of_libraries_have_the_same_form(out: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("port %s is busy", 80)
    assert lines(out)[0]["message"] == "port 80 is busy"
    assert lines(out)[0]["log.logger"] == "uvicorn.error"


NAME = "Jane Doe"


class Person(BaseModel):
    age: int


def _raise_validation_error() -> None:
    Person.model_validate({"age": NAME})


def _raise_duplicate() -> None:
    raise pymysql.err.IntegrityError(1062, f"Duplicate entry '{NAME}' for key 'email'")


def _raise_value_error() -> None:
    raise ValueError(f"invalid literal: '{NAME}'")


@pytest.mark.parametrize("raises", [_raise_validation_error, _raise_duplicate, _raise_value_error])
def test_an_exception_is_logged_without_what_people_wrote(out: io.StringIO, raises: Any) -> None:
    try:
        raises()
    except (ValidationError, pymysql.err.IntegrityError, ValueError):
        structlog.get_logger("test").exception("it failed")
    (line,) = lines(out)
    assert NAME not in out.getvalue()
    assert raises.__name__ in line["error.stack_trace"]
    assert line["error.type"]


def _raise_outage() -> None:
    raise ConnectionRefusedError(111, "Connect call failed")


def test_the_text_of_an_outage_is_kept(out: io.StringIO) -> None:
    try:
        _raise_outage()
    except ConnectionRefusedError:
        structlog.get_logger("test").warning("away", exc_info=True)
    assert "Connect call failed" in lines(out)[0]["error.message"]
