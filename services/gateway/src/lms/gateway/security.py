"""Who calls and from where, and the headers that keep browsers safe. Pure, but for the token's signature."""

import hmac
import ipaddress
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple

from lms.kernel.auth import Caller, TokenVerifier
from lms.kernel.errors import Forbidden, Unauthenticated

ACCESS_COOKIE = "lms_access"
CSRF_COOKIE = "lms_csrf"

Headers = Iterable[tuple[bytes, bytes]]

_BEARER = "bearer "
_INSIDE = tuple(
    ipaddress.ip_network(one)
    for one in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
"""Loopback and private addresses."""
API_POLICY = b"default-src 'none'; frame-ancestors 'none'"
DOCS_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"connect-src 'self'; frame-ancestors 'none'"
)
WEB_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; "
    b"img-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    b"frame-ancestors 'none'"
)
"""For the web app. The hash is that of nothing: MUI makes empty style elements and fills them through the CSSOM."""
_EXPOSED = (
    b"Consistency-Token, ETag, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
)
PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        (
            b"Authorization, Cache-Control, Content-Type, Consistency-Token, Idempotency-Key, If-Match, Prefer, "
            b"X-CSRF-Token, X-Request-ID, traceparent"
        ),
    ),
    (b"access-control-max-age", b"600"),
]


class CsrfMissing(Forbidden):
    """A cookie came without the token that only our own pages can read."""

    code = "csrf-token-missing"


class Credentials(NamedTuple):
    """An access token; `in_cookie` says that the browser sent it by itself."""

    token: str
    in_cookie: bool


def first(headers: Headers, name: bytes) -> str | None:
    """Return the first header of a (lower-case) name."""
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def cookies(headers: Headers) -> dict[str, str]:
    """Return the cookies of a request, without those that cannot be read."""
    found: dict[str, str] = {}
    for key, value in headers:
        if key == b"cookie":
            try:
                found |= {name: one.value for name, one in SimpleCookie(value.decode("latin-1")).items()}
            except CookieError:
                continue
    return found


def credentials(headers: Headers) -> Credentials:
    """Return the access token of a request: the bearer's, else the cookie's. Raises Unauthenticated without one."""
    headers = list(headers)
    header = first(headers, b"authorization")
    if header is not None and header[: len(_BEARER)].lower() == _BEARER:
        return Credentials(header[len(_BEARER) :].strip(), in_cookie=False)
    token = cookies(headers).get(ACCESS_COOKIE) if header is None else None
    if not token:
        raise Unauthenticated("Send `Authorization: Bearer <access token>`.")
    return Credentials(token, in_cookie=True)


def require_csrf(headers: Headers) -> None:
    """Raise CsrfMissing unless X-CSRF-Token repeats the cookie that only our own pages can read."""
    headers = list(headers)
    cookie, header = cookies(headers).get(CSRF_COOKIE), first(headers, b"x-csrf-token")
    if not cookie or not header or not hmac.compare_digest(cookie.encode(), header.encode()):
        raise CsrfMissing("Send the value of the cookie lms_csrf as X-CSRF-Token.")


def caller_of(verifier: TokenVerifier, found: Credentials) -> Caller:
    """Return whom a token names. Raises Unauthenticated."""
    return verifier.verify(found.token)


def client_address(peer: str, forwarded: str | None, trusted: int) -> str:
    """Return the client's address: the peer's, or behind `trusted` proxies of ours the one that the first of them saw.

    What stands further left in X-Forwarded-For was written by the client, and is not believed.
    """
    if not trusted or not forwarded:
        return peer
    chain = [one.strip() for one in forwarded.split(",")]
    return chain[max(0, len(chain) - trusted)] or peer


def subscriber_of(address: str) -> str:
    """Return what one client is counted by: an IPv4 address, or the /64 of an IPv6 one, which is the least anybody has.

    What is no address is counted as it is.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), 64), strict=False))


def is_inside(peer: str, forwarded: str | None) -> bool:
    """Say whether a request comes straight from a loopback or private address, through no proxy."""
    if forwarded is not None:
        return False
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in _INSIDE)


def protective(*, tls: bool, policy: bytes = API_POLICY) -> list[tuple[bytes, bytes]]:
    """Return the headers that go on every answer; `policy` says what a page may load."""
    fixed = [
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"SAMEORIGIN"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", policy),
    ]
    return [*fixed, (b"strict-transport-security", b"max-age=63072000")] if tls else fixed


def sharing(origin: str | None, allowed: frozenset[str]) -> list[tuple[bytes, bytes]]:
    """Return the CORS headers for an answer to a page of `origin`; only Vary for one that is not allowed."""
    if not allowed:
        return []
    if origin is None or origin not in allowed:
        return [(b"vary", b"Origin")]
    return [
        (b"vary", b"Origin"),
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED),
    ]
