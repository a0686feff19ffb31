"""What administrators tell the gateway itself: `/admin/maintenance`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from lms.gateway import security
from lms.gateway.maintenance import Maintenance, is_drained
from lms.kernel.auth import Caller
from lms.kernel.errors import Forbidden
from lms.kernel.http import Answer, Body, wait_seconds
from lms.kernel.service import Process

SCOPE = "maintenance"
"""With this scope a service account may do it too: a deployment's, say."""

router = APIRouter(prefix="/admin/maintenance", tags=["maintenance"])


def maintenance_of(process: Process) -> Maintenance:
    """Return what this copy knows of maintenance; the first call begins to follow it."""
    found: Maintenance | None = process.parts.get("maintenance")
    if found is None:
        found = process.parts["maintenance"] = Maintenance.of(process.redis, process.settings.instance)
        process.spawn(found.follow(), "follow maintenance")
    return found


async def administrator(request: Request) -> Caller:
    """Return the caller, an administrator. Raises Unauthenticated, Forbidden, or CsrfMissing."""
    found = security.credentials(request.headers.raw)
    caller = security.caller_of(request.app.state.verifier, found)
    if found.in_cookie and request.method != "GET":
        security.require_csrf(request.headers.raw)
    if not (caller.has("admin") or caller.may(SCOPE)):
        raise Forbidden("Maintenance is for administrators.")
    return caller


async def _known(request: Request) -> Maintenance:
    return maintenance_of(request.app.state.runtime)


Administrator = Annotated[Caller, Depends(administrator)]
MaintenanceDep = Annotated[Maintenance, Depends(_known)]


class Enabling(Body):
    """What callers are told meanwhile, and after how many seconds they should try again."""

    message: str = Field("", max_length=200)
    retry_after_seconds: int = Field(120, ge=1, le=86_400)


class CopyAnswer(Answer):
    """A copy of the gateway: whether it knows already, and how many requests it has in hand from before."""

    instance: str
    informed: bool
    requests_in_hand: int


class MaintenanceAnswer(Answer):
    """Whether LMS is in maintenance; `drained`: and no copy has a request in hand any more."""

    enabled: bool
    drained: bool
    message: str
    retry_after_seconds: int
    since: str | None
    by: str | None
    gateways: list[CopyAnswer]


_BEARER: dict[str, Any] = {"security": [{"bearer": []}]}


@router.get("", openapi_extra=_BEARER)
async def get_maintenance(_: Administrator, maintenance: MaintenanceDep) -> MaintenanceAnswer:
    """Say whether LMS is in maintenance, and what is still in hand."""
    return await _answer(maintenance, 0)


@router.post("/enable", openapi_extra=_BEARER)
async def enable_maintenance(
    request: Request, caller: Administrator, maintenance: MaintenanceDep, body: Enabling | None = None
) -> MaintenanceAnswer:
    """Refuse new work from now on; `Prefer: wait=N` answers when what is in hand is finished, or after N seconds."""
    wanted = body or Enabling()
    await maintenance.change(enabled=True, by=caller.id, message=wanted.message, retry_after=wanted.retry_after_seconds)
    return await _answer(maintenance, wait_seconds(request))


@router.post("/disable", openapi_extra=_BEARER)
async def disable_maintenance(caller: Administrator, maintenance: MaintenanceDep) -> MaintenanceAnswer:
    """Take work again."""
    await maintenance.change(enabled=False, by=caller.id)
    return await _answer(maintenance, 0)


async def _answer(maintenance: Maintenance, seconds: float) -> MaintenanceAnswer:
    told = await maintenance.drained(seconds)
    state = maintenance.state
    return MaintenanceAnswer(
        enabled=state.enabled,
        drained=state.enabled and is_drained(told, state),
        message=state.message,
        retry_after_seconds=state.retry_after,
        since=state.since,
        by=state.by,
        gateways=[
            CopyAnswer(instance=one.instance, informed=one.revision >= state.revision, requests_in_hand=one.in_hand)
            for one in told
        ],
    )
