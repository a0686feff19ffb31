"""Logs: one ECS JSON object per line on stdout, with the request, correlation and trace that the line belongs to.

    _log = structlog.get_logger(__name__)
    _log.info("the case was opened", case=case_id)

Logs never hold personal data. Pass ids and figures, never names, addresses or texts that people wrote: fields of such
names are replaced. Texts of exceptions are logged only where we know what stands in them (our own, the operating
system's, the drivers' connection errors); of others the type and the stack are, since libraries quote their input.
"""

import logging
import sys
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
from structlog.contextvars import bind_contextvars, bound_contextvars, merge_contextvars

from lms.kernel.tracing import parse

PERSONAL = frozenset(
    {
        "authorization", "body", "comment", "cookie", "email", "first_name", "full_name", "ip", "last_name", "name_of",
        "password", "phone", "reason_text", "refresh_token", "secret", "token", "user_agent", "username",
    }
)  # fmt: skip
"""Fields that never reach the log, whatever a caller passes."""

_REMOVED = "[removed]"
_ECS = {"event": "message", "level": "log.level", "logger": "log.logger"}
_TRUSTED = ("lms.", "redis.", "aiokafka.")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure(service: str, level: str = "info", *, stream: TextIO | None = None) -> None:
    """Send every log line of this process, those of libraries too, to stdout (or `stream`) as ECS JSON."""
    to = stream or sys.stdout
    fixed = {"ecs.version": "8.11.0", "service.name": service}
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
    for chatty in ("aiokafka", "kafka", "sqlalchemy", "alembic", "uvicorn.access", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for own in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(own).handlers = []
        logging.getLogger(own).propagate = True


def bind(**fields: str | None) -> None:
    """Add fields to every further line of the current task: see `trail` for the names."""
    bind_contextvars(**_named(fields))


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
    if isinstance(error, pymysql.err.OperationalError | pymysql.err.InternalError):
        return str(error)
    if isinstance(error, pymysql.err.MySQLError):
        return f"MySQL error {error.args[0] if error.args else 'unknown'}"
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

    def __init__(self, fixed: dict[str, str]) -> None:
        self._fixed = fixed

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> str:
        line: dict[str, Any] = {"@timestamp": datetime.now(UTC), "message": "", **self._fixed}
        for name, value in event.items():
            if name in PERSONAL:
                line[f"labels.{name}"] = _REMOVED
            elif name in _ECS:
                line[_ECS[name]] = value
            elif "." in name:
                line[name] = value
            else:
                line[f"labels.{name}"] = value
        return orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()


class _LibraryHandler(logging.Handler):
    """Writes what libraries log through the standard library in the same form."""

    def __init__(self, to: TextIO, fixed: dict[str, str]) -> None:
        super().__init__()
        self._to = to
        self._render = _Renderer(fixed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            event: MutableMapping[str, Any] = {
                "event": record.getMessage(),
                "level": record.levelname.lower(),
                "logger": record.name,
                "exc_info": record.exc_info,
            }
            event = merge_contextvars(None, "", event)
            self._to.write(self._render(None, "", _with_error(None, "", event)) + "\n")
            self._to.flush()
        except Exception:  # noqa: BLE001  # a log line must never take the process down
            self.handleError(record)
