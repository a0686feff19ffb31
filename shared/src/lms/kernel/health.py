"""What probes and dashboards ask: `/livez`, `/readyz`, `/health`, `/metrics`.

`/livez` says only that the event loop turns. `/readyz` says whether to send requests here: not while shutting down, nor
with the database away or its migrations behind; a lost broker does not unready a service, for commands still succeed.
`/health` says how each part does, cheaply; where a part has parts of its own, theirs too, and what all of them share
(the database, say) once more in sum.
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
"""Returns when the part answers, if it has parts of its own with their entries; raises otherwise."""

CHECK_SECONDS = 1.0
"""How long a part may take to answer; whoever asks services for their health allows `OF_SERVICES_SECONDS`."""
OF_SERVICES_SECONDS = 1.5
FRESH_SECONDS = 1.0
"""How long what /health found is told again: whoever asks often costs the parts nothing."""


class NotReady(Exception):
    """Requests should go elsewhere; the text says why."""


class PartsDown(Exception):
    """The part answers, and some of its own parts do not; `parts` are their entries."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        super().__init__(", ".join(sorted(name for name, part in parts.items() if part.get("status") != "up")))
        self.parts = parts


def health_router(
    checks: Mapping[str, Check],
    ready: Check,
    *,
    before_scrape: Callable[[], None] = lambda: None,
    seconds: float = CHECK_SECONDS,
) -> APIRouter:
    """Return the four routes.

    `ready` raises whatever stands against sending requests here; `seconds` is how long each check may take.
    """
    router = APIRouter(include_in_schema=False)
    health_of_all = _Health(checks, seconds)

    @router.get("/livez")
    async def livez() -> Response:
        return PlainTextResponse("alive\n")

    @router.get("/readyz")
    async def readyz() -> Response:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await ready()
        except NotReady as error:
            return PlainTextResponse(f"not ready: {error}\n", status_code=503)
        except Exception as error:  # noqa: BLE001  # whatever stands against it, the answer is 503
            return PlainTextResponse(f"not ready: {type(error).__name__}\n", status_code=503)
        return PlainTextResponse("ready\n")

    @router.get("/health")
    async def health() -> Response:
        document = await health_of_all()
        return Response(
            orjson.dumps(document, option=orjson.OPT_UTC_Z),
            status_code=200 if document["status"] == "healthy" else 503,
            media_type="application/json",
        )

    @router.get("/metrics")
    async def metrics() -> Response:
        before_scrape()
        content, kind = exposition()
        return Response(content, headers={"Content-Type": kind})

    return router


class _Health:
    """What /health says; asked by several at once, or again within a second, it looks only once."""

    def __init__(self, checks: Mapping[str, Check], seconds: float) -> None:
        self._checks = checks
        self._seconds = seconds
        self._looking = asyncio.Lock()
        self._found: dict[str, Any] = {}
        self._until = 0.0

    async def __call__(self) -> dict[str, Any]:
        async with self._looking:
            if time.monotonic() >= self._until:
                self._found = await self._look()
                self._until = time.monotonic() + FRESH_SECONDS
            return self._found

    async def _look(self) -> dict[str, Any]:
        results = await asyncio.gather(*(_checked(check, self._seconds) for check in self._checks.values()))
        own = dict(zip(self._checks, results, strict=True))
        healthy = all(result["status"] == "up" for result in results)
        return {
            "status": "healthy" if healthy else "unhealthy",
            "timestamp": datetime.now(UTC),
            "checks": {**_together(own), **own},
        }


def _together(checks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return one entry for each part that parts have: down if anybody finds it down, as slow as anybody finds it."""
    found: dict[str, dict[str, Any]] = {}
    for owner, check in checks.items():
        for name, part in check.get("checks", {}).items():
            one = found.setdefault(name, {"status": "up", "latency_ms": 0.0, "down_for": []})
            one["latency_ms"] = max(one["latency_ms"], part.get("latency_ms", 0.0))
            if part.get("status") != "up":
                one["status"] = "down"
                one["down_for"].append(owner)
    return {name: {key: value for key, value in one.items() if value != []} for name, one in found.items()}


async def _checked(check: Check, seconds: float) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            parts = await check()
    except PartsDown as error:
        return {"status": "down", "error": "PartsDown", "detail": str(error), "checks": error.parts}
    except Exception as error:  # noqa: BLE001  # whatever it is, the part is down
        return {"status": "down", "error": type(error).__name__, "detail": harmless_text(error) or ""}
    found = {"status": "up", "latency_ms": round((time.perf_counter() - started) * 1000, 2)}
    return {**found, "checks": parts} if isinstance(parts, Mapping) else found
