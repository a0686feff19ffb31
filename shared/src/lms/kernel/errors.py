"""Errors that a caller is told about: each carries a stable code and the HTTP status that it maps to.

    DomainError                 422  rule-broken
    ├── Malformed               400  malformed
    ├── Unauthenticated         401  unauthenticated
    ├── Forbidden               403  forbidden
    ├── NotFound                404  not-found
    ├── Conflict                409  conflict
    ├── Stale                   412  stale
    ├── TooLarge                413  too-large
    ├── UnsupportedMedia        415  unsupported-media-type
    ├── RuleBroken              422  rule-broken
    │   └── IdempotencyKeyReused     idempotency-key-reused
    ├── Unavailable             503  unavailable
    │   └── ClockUnavailable         clock-unavailable
    └── NotCaughtUp             504  not-caught-up

A service subclasses these in its decider and names its own code:

    class Overdrawn(RuleBroken):
        code = "overdrawn"

Whatever is not a DomainError is a defect or an outage, and the caller learns nothing of its text.
"""

from typing import ClassVar, NamedTuple


class FieldError(NamedTuple):
    """What is wrong with one field: `pointer` is a JSON pointer into the request's body (`/days/0/date`)."""

    pointer: str
    detail: str


class DomainError(Exception):
    """The command or query was understood and refused; nothing was changed.

    `code` is kebab-case and never changes; `status` is the HTTP status; `str(error)` is one sentence for the caller,
    without personal data; `errors` names the fields at fault.
    """

    code: ClassVar[str] = "rule-broken"
    status: ClassVar[int] = 422

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class Malformed(DomainError):
    """The request cannot be read."""

    code = "malformed"
    status = 400


class Unauthenticated(DomainError):
    """Nobody vouches for the caller."""

    code = "unauthenticated"
    status = 401


class Forbidden(DomainError):
    """The caller may not do this."""

    code = "forbidden"
    status = 403


class FourEyes(Forbidden):
    """Nobody decides this about themselves, or twice in the place of two."""

    code = "four-eyes"


class NotFound(DomainError):
    """There is no such thing, or the caller may not know that there is."""

    code = "not-found"
    status = 404


class Conflict(DomainError):
    """The thing's present state stands against it."""

    code = "conflict"
    status = 409


class Stale(DomainError):
    """The caller decided on a version that is no longer the newest (If-Match)."""

    code = "stale"
    status = 412


class TooLarge(DomainError):
    """The request is bigger than this service reads."""

    code = "too-large"
    status = 413


class UnsupportedMedia(DomainError):
    """The content is of a kind that this service does not take."""

    code = "unsupported-media-type"
    status = 415


class RuleBroken(DomainError):
    """The request is well-formed and breaks a rule."""

    code = "rule-broken"
    status = 422


class IdempotencyKeyReused(RuleBroken):
    """The idempotency key was used for another request."""

    code = "idempotency-key-reused"


class Unavailable(DomainError):
    """A part that the request needs is away; the same request may succeed after `retry_after` seconds."""

    code = "unavailable"
    status = 503
    retry_after: int = 1


class ClockUnavailable(Unavailable):
    """The business clock cannot be read or set."""

    code = "clock-unavailable"


class NotCaughtUp(DomainError):
    """The read model has not seen the caller's write within the time that a request waits."""

    code = "not-caught-up"
    status = 504
