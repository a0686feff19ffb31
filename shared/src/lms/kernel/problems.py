"""Problems: every refusal and failure as `application/problem+json` (RFC 9457), mapped in this one place.

    {"type": "urn:lms:problem:overdrawn", "title": "Overdrawn", "status": 422, "detail": "…", "instance": "/api/v1/…",
     "code": "overdrawn", "request_id": "…", "errors": [{"pointer": "/days/0/date", "detail": "…"}]}

`code` is what programs read. 400 is a request that cannot be read or does not fit its schema; 422 one that breaks a
rule. What is not ours to explain becomes 500 `internal` without any detail.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from lms.kernel.database import is_contention, is_foreign_text, is_unavailable
from lms.kernel.errors import DomainError, Malformed, Unauthenticated, Unavailable
from lms.kernel.eventstore import ConcurrencyConflict

PROBLEM_JSON = "application/problem+json"

_CODES = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type"}
_INTERNAL = 500
_RETRY_LATER = 503


class Problem(BaseModel):
    """What OpenAPI says of every answer that is not a success."""

    type: str = Field(examples=["urn:lms:problem:not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str
    instance: str = Field(description="The path that was asked for")
    code: str = Field(description="Stable, for programs", examples=["not-found"])
    request_id: str
    errors: list[dict[str, str]] = Field(
        default=[],
        description="Fields at fault: `pointer` is a JSON pointer into the body, `parameter` a query parameter, "
        "path parameter or header",
    )


class ProblemResponse(Response):
    """A problem as an answer; `fields` is its document."""

    media_type = PROBLEM_JSON

    def __init__(self, fields: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self.fields = fields
        super().__init__(orjson.dumps(fields), status_code=fields["status"], headers=dict(headers or {}))


def problem_response(error: BaseException, scope: Scope) -> ProblemResponse:
    """Return the answer to a request that ended in `error`."""
    if is_foreign_text(error):
        error = Malformed("An id, name or cursor has characters that none of ours has.")
    match error:
        case DomainError():
            found = [{"pointer": one.pointer, "detail": one.detail} for one in error.errors]
            return _response(scope, error.status, error.code, str(error), errors=found, headers=_headers(error))
        case RequestValidationError():
            return _invalid(scope, error)
        case HTTPException():
            code = _CODES.get(error.status_code, "malformed")
            return _response(scope, error.status_code, code, str(error.detail), headers=error.headers)
        case ConcurrencyConflict():
            detail = "Others changed the same data at the same moment; read it again and repeat."
            return _response(scope, 409, "concurrency-conflict", detail)
    if is_contention(error) or is_unavailable(error):
        detail = "The database is away; repeat with the same Idempotency-Key."
        return _response(scope, _RETRY_LATER, "database-unavailable", detail, headers={"Retry-After": "1"})
    return _response(scope, _INTERNAL, "internal", "Something went wrong on our side; it has been logged.")


async def answer_problem(request: Request, error: Exception) -> ProblemResponse:
    """Answer with the problem: the handler that FastAPI calls while nothing of an answer is on the wire."""
    request.scope["lms.answered"] = True
    return problem_response(error, request.scope)


def _headers(error: DomainError) -> dict[str, str]:
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="lms"'}
    return {"Retry-After": str(error.retry_after)} if isinstance(error, Unavailable) else {}


def _invalid(scope: Scope, error: RequestValidationError) -> ProblemResponse:
    found: list[dict[str, str]] = []
    for one in error.errors():
        place, *path = one["loc"]
        if one["type"] == "json_invalid":
            return _response(scope, 400, "malformed", "The body is not valid JSON.")
        if place == "body" and not path and one["type"] in {"model_attributes_type", "dict_type", "bytes_type"}:
            return _not_an_object(scope)
        if place == "body":
            found.append({"pointer": _pointer(path), "detail": str(one["msg"])})
        else:
            found.append({"parameter": str(path[0]) if path else str(place), "detail": str(one["msg"])})
    return _response(scope, 400, "malformed", "The request does not fit its schema; see `errors`.", errors=found)


def _not_an_object(scope: Scope) -> ProblemResponse:
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if b"json" in kind:
        return _response(scope, 400, "malformed", "The body must be a JSON object.")
    return _response(scope, 415, "unsupported-media-type", "Send the body as application/json.")


def _pointer(path: Sequence[Any]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _response(
    scope: Scope,
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    fields = {
        "type": f"urn:lms:problem:{code}",
        "title": code.replace("-", " ").capitalize() if code != "internal" else HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": scope["path"],
        "code": code,
        "request_id": scope.get("lms.request_id", ""),
        "errors": list(errors),
    }
    return ProblemResponse(fields, headers)
