"""The preview of a request: requests says what it would cost and break, balances what it would leave.

No service asks another. The gateway asks both and puts the second answer into the first, as `balance`; null while
balances has none.
"""

from http import HTTPStatus

import aiohttp
import orjson
import structlog

from lms.gateway.proxy import Request, Upstreams
from lms.gateway.routes import API
from lms.kernel.errors import DomainError

_TARGET = f"{API}balances/preview"

_log = structlog.get_logger(__name__)


async def preview(upstreams: Upstreams, request: Request, answer: aiohttp.ClientResponse) -> bytes:
    """Return the answer of requests to a preview, with what balances says to the same leave."""
    found = orjson.loads(await answer.read())
    asked = orjson.loads(request.body)
    days = [
        {
            "date": day["date"],
            "entitlement_minutes": day["amount"]["minutes"],
            "scheduled_minutes": day["scheduled_minutes"],
        }
        for day in found["days"]
        if day["amount"]["minutes"] or day["scheduled_minutes"]
    ]
    body = {
        "employee_id": asked.get("employee_id"),
        "leave_type": found["leave_type"],
        "request_id": asked.get("request_id"),
        "days": days,
    }
    found["balance"] = None
    try:
        said = await upstreams.open(
            request._replace(service="balances", target=_TARGET, body=orjson.dumps(body), repeatable=True)
        )
        try:
            content = await said.read()
        finally:
            said.release()
        if said.status == HTTPStatus.OK:
            found["balance"] = orjson.loads(content)
    except (DomainError, aiohttp.ClientError) as error:
        _log.warning("a preview without its balance", reason=type(error).__name__)
    return orjson.dumps(found)
