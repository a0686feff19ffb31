import io
import json
import logging
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
    logs.configure("requests", "info", stream=stream)
    yield stream
    root.handlers, root.level = before
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_ecs_json_with_the_trail_of_its_request(out: io.StringIO) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with logs.trail(request_id="req-12345", correlation_id="cor-1", traceparent=trace):
        structlog.get_logger("test").info("the case was opened", case="c1")
    structlog.get_logger("test").info("afterwards")
    first, second = lines(out)
    assert first["@timestamp"].endswith("Z")
    assert {key: value for key, value in first.items() if key != "@timestamp"} == {
        "message": "the case was opened",
        "ecs.version": "8.11.0",
        "service.name": "requests",
        "log.level": "info",
        "labels.case": "c1",
        "http.request.id": "req-12345",
        "labels.correlation_id": "cor-1",
        "trace.id": "0af7651916cd43dd8448eb211c80319c",
        "span.id": "b7ad6b7169203331",
    }
    assert "http.request.id" not in second


def test_personal_fields_never_reach_the_log(out: io.StringIO) -> None:
    structlog.get_logger("test").info("signed in", email="jane@example.org", token="abc")
    assert "jane" not in out.getvalue()
    assert lines(out)[0]["labels.email"] == "[removed]"


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
