"""Which service a path belongs to, and who may go there at all. Pure."""

from typing import NamedTuple

from lms.kernel.auth import Caller

API = "/api/v1/"

SERVICES = {
    "auth": "directory",
    "me": "directory",
    "employees": "directory",
    "departments": "directory",
    "locations": "directory",
    "schedules": "directory",
    "holiday-calendars": "directory",
    "delegations": "directory",
    "imports": "directory",
    "privacy": "directory",
    "leave-requests": "requests",
    "calendar": "requests",
    "payroll": "requests",
    "balances": "balances",
    "leave-types": "balances",
    "policies": "balances",
    "accruals": "balances",
    "approvals": "approvals",
    "audit": "audit",
    "notifications": "notifications",
}
"""The service behind each first segment of a path."""

PUBLIC = frozenset(f"{API}auth/{name}" for name in ("login", "refresh", "token", "logout", "accept-invitation"))
"""Paths of the API that need no token."""

EVENTS = f"{API}events"
"""The live updates, which the gateway answers itself."""

PREVIEW = f"{API}leave-requests/preview"
"""What requests answers here, the gateway completes with what balances says to it."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OFFICE = frozenset({"hr", "admin"})

GATES: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    ("employees", _WRITES, _OFFICE),
    ("departments", _WRITES, _OFFICE),
    ("locations", _WRITES, _OFFICE),
    ("schedules", _WRITES, _OFFICE),
    ("holiday-calendars", _WRITES, _OFFICE),
    ("imports", _WRITES | SAFE, _OFFICE),
    ("privacy/erasure", _WRITES | SAFE, _OFFICE),
    ("leave-types", _WRITES, _OFFICE),
    ("policies", _WRITES, _OFFICE),
    ("accruals", _WRITES, _OFFICE),
    ("balances/adjustments", _WRITES, frozenset({"hr"})),
    ("payroll", _WRITES | SAFE, frozenset({"payroll"})),
    ("audit", _WRITES | SAFE, frozenset({"auditor"})),
)
"""Under a prefix, with a method, one of the roles is needed. The services check again, and whose data it is."""


class Target(NamedTuple):
    """Where a path leads: `resource` is its first segment, `rest` what follows `/api/v1/`."""

    service: str
    resource: str
    rest: str


def target(path: str) -> Target | None:
    """Return where a decoded path leads; None if nowhere.

    A path with empty or dot segments, or a backslash, leads nowhere, so that no two readers can differ about it.
    """
    if not path.startswith(API) or "//" in path or "\\" in path:
        return None
    rest = path[len(API) :]
    if "." in rest and not {".", ".."}.isdisjoint(rest.split("/")):
        return None
    resource = rest.split("/", 1)[0]
    service = SERVICES.get(resource)
    return None if service is None else Target(service, resource, rest)


def admits(where: Target, method: str, caller: Caller) -> bool:
    """Say whether the caller may go there at all.

    Callers with scopes pass: which scope suffices is for the service to say.
    """
    for prefix, methods, roles in GATES:
        if method in methods and (where.rest == prefix or where.rest.startswith(prefix + "/")):
            return caller.has(*roles) or bool(caller.scopes)
    return True


def repeatable(method: str, *, keyed: bool) -> bool:
    """Say whether a request may be sent again after a broken connection, not knowing whether it arrived.

    `keyed` says that it carries an Idempotency-Key: a repeated command then has no second effect.
    """
    return method in {"GET", "HEAD"} or (method == "POST" and keyed)
