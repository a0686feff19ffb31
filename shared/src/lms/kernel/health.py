"""What probes and dashboards ask: `/livez`, `/readyz`, `/health`, `/metrics`.

`/livez` says only that the event loop turns. `/readyz` says whether to send requests here: not while shutting down, nor
with the database away or its migrations behind; a lost broker does not unready a service, for commands still succeed.
`/health` says how each part does, cheaply.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from lms.kernel.logs import harmless_text
from lms.kernel.metrics import exposition

Check = Callable[[], Awaitable[Any]]
"""Returns when the part answers; raises otherwise."""

CHECK_SECONDS = 1.5


class NotReady(Exception):
    """Requests should go elsewhere; the text says why."""


def health_router(
    checks: Mapping[str, Check], ready: Check, *, before_scrape: Callable[[], None] = lambda: None
) -> APIRouter:
    """Return the four routes; `ready` raises whatever stands against sending requests here."""
    router = APIRouter(include_in_schema=False)

    @router.get("/livez")
    async def livez() -> Response:
        return PlainTextResponse("alive\n")

    @router.get("/readyz")
    async def readyz() -> Response:
        try:
            await asyncio.wait_for(ready(), CHECK_SECONDS)
        except NotReady as error:
            return PlainTextResponse(f"not ready: {error}\n", status_code=503)
        except Exception as error:  # noqa: BLE001  # whatever stands against it, the answer is 503
            return PlainTextResponse(f"not ready: {type(error).__name__}\n", status_code=503)
        return PlainTextResponse("ready\n")

    @router.get("/health")
    async def health() -> Response:
        results = await asyncio.gather(*(_checked(check) for check in checks.values()))
        healthy = all(result["status"] == "up" for result in results)
        document = {
            "status": "healthy" if healthy else "unhealthy",
            "timestamp": datetime.now(UTC),
            "checks": dict(zip(checks, results, strict=True)),
        }
        return Response(
            orjson.dumps(document, option=orjson.OPT_UTC_Z),
            status_code=200 if healthy else 503,
            media_type="application/json",
        )

    @router.get("/metrics")
    async def metrics() -> Response:
        before_scrape()
        content, kind = exposition()
        return Response(content, headers={"Content-Type": kind})

    return router


async def reachable(addresses: str) -> None:
    """Open and close a TCP connection to the first of `host:port,host:port`; raises OSError if nobody listens."""
    host, _, port = addresses.split(",", maxsplit=1)[0].strip().rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()


async def _checked(check: Check) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        await asyncio.wait_for(check(), CHECK_SECONDS)
    except Exception as error:  # noqa: BLE001  # whatever it is, the part is down
        return {"status": "down", "error": type(error).__name__, "detail": harmless_text(error) or ""}
    return {"status": "up", "latency_ms": round((time.perf_counter() - started) * 1000, 2)}
