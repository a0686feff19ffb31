"""Logs: one ECS JSON object per line on stdout, with the request, correlation and trace that the line belongs to.

    _log = structlog.get_logger(__name__)
    _log.warning("the mail server cannot be reached; mail waits", mails=3, reason=error)

Logs never hold personal data. Three rules see to that, and `tests/architecture/test_logs.py` to the first two:
- What happened is a constant sentence, so that lines of one kind count together.
- Only the fields named in `FIELDS` and `ECS_FIELDS` are written: ids, figures, names from the code. A new one is
  entered there by whoever has made sure that nobody's data can stand in it; the value of any other is replaced.
- An exception is given as it is (`reason=error`, `exc_info=True`), never as its text: that is written only where we
  know what stands in it (our own, the operating system's, the drivers' connection errors), since libraries quote their
  input. Of what other libraries log, the constant part is written.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import orjson
import pymysql.err
import structlog
from pydantic import ValidationError
from structlog.contextvars import bound_contextvars, merge_contextvars

from lms.kernel.tracing import parse

FIELDS = frozenset(
    {
        "attempts", "consumer", "correlation_id", "count", "enabled", "epoch", "fault", "faults", "holder", "job",
        "keys", "limit_megabytes", "mail", "mails", "offset", "offset_seconds", "part", "partition", "port", "reason",
        "resident_megabytes", "revision", "role", "seconds", "service", "topic", "upstream", "worker",
    }
)  # fmt: skip
"""What a line may hold under `labels.`; a mail, a job and a holder are ids or names from the code."""

ECS_FIELDS = frozenset(
    {
        "error.message", "error.stack_trace", "error.type", "event.duration", "http.request.id", "http.request.method",
        "http.response.status_code", "http.route", "span.id", "trace.id",
    }
)  # fmt: skip
"""What a line may hold under its name in the Elastic Common Schema (and `http.route`, which is OpenTelemetry's)."""

_REMOVED = "[removed]"
_LONGEST = 500
_ECS = {"event": "message", "level": "log.level", "logger": "log.logger"}
_TRUSTED = ("lms.", "redis.", "aiokafka.")
_TELLING = ("lms", "uvicorn", "aiokafka", "alembic", "opentelemetry")
"""Loggers whose whole messages are written: they name addresses of servers, topics, revisions, and no data."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

# What the server says of itself or of the schema. Of other errors it may quote a value (1062, 1292, 1366, …).
_TELLING_MYSQL_ERRORS = frozenset(
    {
        1021, 1040, 1044, 1045, 1049, 1053, 1054, 1077, 1114, 1129, 1130, 1142, 1143, 1146, 1152, 1158, 1159, 1160,
        1161, 1205, 1213, 1227, 1290, 1317, 1836, 1927, 4031,
    }
)  # fmt: skip
_CLIENT_ERRORS = range(2000, 3000)

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure(
    service: str,
    level: str = "info",
    *,
    instance: str = "",
    environment: str = "",
    stream: TextIO | None = None,
) -> None:
    """Send every log line of this process, those of libraries too, to stdout (or `stream`) as ECS JSON."""
    to = stream or sys.stdout
    fixed: dict[str, Any] = {"ecs.version": "8.11.0", "service.name": service, "event.dataset": f"lms.{service}"}
    fixed["process.pid"] = os.getpid()
    fixed |= {"service.node.name": instance} if instance else {}
    fixed |= {"service.environment": environment} if environment else {}
    structlog.configure(
        processors=[
            merge_contextvars,
            structlog.processors.add_log_level,
            _with_error,
            _Renderer(fixed),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(to),
        cache_logger_on_first_use=stream is None,
    )
    root = logging.getLogger()
    root.handlers = [_LibraryHandler(to, fixed)]
    root.setLevel(max(_LEVELS[level], logging.INFO))
    for chatty in ("aiokafka", "kafka", "sqlalchemy", "alembic", "uvicorn", "httpx", "faust", "mode"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for own in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(own).handlers = []
        logging.getLogger(own).propagate = True
    logging.captureWarnings(capture=True)
    sys.excepthook = _last_words
    threading.excepthook = _threads_last_words


def _last_words(kind: type[BaseException], error: BaseException, stack: TracebackType | None) -> None:
    """Log what ends the process: its text could quote anything, and would stand on stderr in clear."""
    structlog.get_logger(__name__).critical("the process ends by an error", exc_info=(kind, error, stack))


def _threads_last_words(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        info = (args.exc_type, args.exc_value, args.exc_traceback)
        structlog.get_logger(__name__).error("a thread ends by an error", exc_info=info)


@contextmanager
def trail(**fields: str | None) -> Iterator[None]:
    """Add fields to every line inside the block: request_id, correlation_id, traceparent, consumer, job."""
    with bound_contextvars(**_named(fields)):
        yield


def _named(fields: MutableMapping[str, str | None] | dict[str, str | None]) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, value in fields.items():
        if value is None:
            continue
        if name == "request_id":
            named["http.request.id"] = value
        elif name == "traceparent":
            context = parse(value)
            if context is not None:
                named["trace.id"] = f"{context.trace_id:032x}"
                named["span.id"] = f"{context.span_id:016x}"
        else:
            named[f"labels.{name}"] = value
    return named


def told(error: BaseException) -> str:
    """Return an exception as one line: its type, and its text where that is known to be harmless."""
    text = harmless_text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _with_error(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = event.pop("exc_info", None)
    if isinstance(given, BaseException):
        info: Any = (type(given), given, given.__traceback__)
    elif isinstance(given, tuple):
        info = given
    else:
        info = sys.exc_info() if given else None
    if info and info[1] is not None:
        event.update(error_fields(info))
    return event


def error_fields(info: _ExcInfo) -> dict[str, str]:
    """Return an exception as ECS fields: its type, its stack, and its text where that is known to be harmless."""
    kind, error, stack = info
    fields = {
        "error.type": f"{kind.__module__}.{kind.__qualname__}",
        "error.stack_trace": "".join(_stack(error, stack)),
    }
    text = harmless_text(error)
    if text:
        fields["error.message"] = text
    return fields


def harmless_text(error: BaseException) -> str | None:
    """Return the text of an exception if it cannot quote what people wrote; None otherwise."""
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'/'.join(map(str, one['loc']))}: {one['type']}" for one in error.errors(include_input=False)
        )
    if isinstance(error, pymysql.err.MySQLError):
        number = error.args[0] if error.args else None
        telling = number in _TELLING_MYSQL_ERRORS or number in _CLIENT_ERRORS
        return str(error) if telling else f"MySQL error {number}"
    origin = getattr(error, "orig", None)
    if isinstance(origin, BaseException):
        return harmless_text(origin)
    if isinstance(error, OSError | TimeoutError) or type(error).__module__.startswith(_TRUSTED):
        return str(error)
    return None


def _stack(error: BaseException, stack: TracebackType | None) -> Iterator[str]:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _stack(cause, cause.__traceback__)
        yield "\nand then\n"
    yield from traceback.format_tb(stack)
    yield f"{type(error).__module__}.{type(error).__qualname__}"


class _Renderer:
    """Turns an event dict into one line of ECS JSON."""

    def __init__(self, fixed: dict[str, Any]) -> None:
        self._fixed = fixed

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> str:
        line: dict[str, Any] = {"@timestamp": datetime.now(UTC), "message": "", **self._fixed}
        for name, value in event.items():
            if name in _ECS:
                line[_ECS[name]] = value
            elif name in ECS_FIELDS:
                line[name] = value
            else:
                label = name.removeprefix("labels.")
                line[f"labels.{label}"] = _value(value) if label in FIELDS else _REMOVED
        return orjson.dumps(line, option=orjson.OPT_UTC_Z).decode()


def _value(value: Any) -> str | int | float | None:
    """Return a field's value as it is written: what is neither text nor a figure nor an exception is not."""
    if isinstance(value, BaseException):
        value = told(value)
    if isinstance(value, str):
        return value[:_LONGEST]
    return value if value is None or isinstance(value, int | float) else _REMOVED


class _LibraryHandler(logging.Handler):
    """Writes what libraries log through the standard library in the same form."""

    def __init__(self, to: TextIO, fixed: dict[str, Any]) -> None:
        super().__init__()
        self._to = to
        self._render = _Renderer(fixed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            event: MutableMapping[str, Any] = {
                "event": _said(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "exc_info": record.exc_info,
            }
            event = merge_contextvars(None, "", event)
            self._to.write(self._render(None, "", _with_error(None, "", event)) + "\n")
            self._to.flush()
        except Exception:  # noqa: BLE001  # a log line must never take the process down
            self.handleError(record)


def _said(record: logging.LogRecord) -> str:
    """Return what a library said: the whole if it is known to be harmless, else the first line of its constant part."""
    if record.name.split(".", 1)[0] in _TELLING:
        return record.getMessage()
    lines = str(record.msg).splitlines()
    return lines[0] if lines else ""
