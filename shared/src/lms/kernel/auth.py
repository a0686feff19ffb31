"""Who calls: access tokens (JWT, EdDSA) and the dependencies that routes ask for their caller.

    @router.get("/employees")
    async def employees(caller: CallerDep) -> …                                 # anybody with a valid token
    Hr = Annotated[Caller, Depends(requires("hr", "admin"))]                     # one of the roles, else 403
    Payroll = Annotated[Caller, Depends(requires(scopes=("payroll.read",)))]     # service accounts carry scopes

A token is valid where its signature is; nobody is asked. Expiry follows real time, never the business clock. A token
that a service account got to act for a person names both (RFC 8693): `sub` is the person, `act.sub` the account. The
caller then is the person, and every fact records who really acted. `directory` alone gives out such tokens.
"""

import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from lms.kernel.errors import Forbidden, Unauthenticated
from lms.kernel.keyring import derive_key

ISSUER = "lms"
LIFETIME = timedelta(minutes=15)
CACHE_TOKENS = 10_000

_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a person, or a service account.

    `session` is the sign-in that the token belongs to; `acting` is the service account that really sends the requests
    when it acts for this person.
    """

    id: str
    roles: frozenset[str]
    scopes: frozenset[str] = frozenset()
    session: str | None = None
    acting: str | None = None

    @property
    def actor(self) -> str:
        """Who really acts: what facts record as their actor."""
        return self.acting or self.id

    @property
    def on_behalf_of(self) -> str | None:
        """The person for whom a service account acts; None for whoever acts in their own name."""
        return self.id if self.acting is not None else None

    def has(self, *roles: str) -> bool:
        """Say whether the caller has one of the roles."""
        return not self.roles.isdisjoint(roles)

    def may(self, *scopes: str) -> bool:
        """Say whether the caller's token carries one of the scopes."""
        return not self.scopes.isdisjoint(scopes)


class TokenSigner:
    """Signs access tokens with the Ed25519 key that follows from JWT_SECRET. Only `directory` has one."""

    def __init__(self, jwt_secret: str) -> None:
        self._key = _private_key(jwt_secret)

    def sign(
        self,
        subject: str,
        *,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        session: str | None = None,
        acting: str | None = None,
        lifetime: timedelta = LIFETIME,
    ) -> str:
        """Return an access token that is valid from now on, for `lifetime` of real time.

        `acting` is the service account that will act with it for the subject.
        """
        now = datetime.now(UTC)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": subject,
            "roles": sorted(roles),
            "scopes": sorted(scopes),
            "iat": now,
            "exp": now + lifetime,
        }
        if session is not None:
            claims["sid"] = session
        if acting is not None:
            claims["act"] = {"sub": acting}
        return jwt.encode(claims, self._key, algorithm="EdDSA")


class TokenVerifier:
    """Verifies access tokens, and remembers those that it has verified until they expire.

    `public_key` is JWT_PUBLIC_KEY: a PEM, or base64 of the 32 raw bytes. Several, separated by commas, are all
    accepted, so that JWT_SECRET can be changed without signing anybody out.
    """

    def __init__(self, public_key: str) -> None:
        self._keys = [_public_key(one.strip()) for one in public_key.split(",") if one.strip()]
        self._known: OrderedDict[str, tuple[float, Caller]] = OrderedDict()

    def verify(self, token: str) -> Caller:
        """Return whom the token names. Raises Unauthenticated for one that is expired, changed or not ours."""
        known = self._known.get(token)
        if known is not None:
            if known[0] > time.time():
                return known[1]
            del self._known[token]
        claims = self._claims(token)
        try:
            caller = Caller(
                id=str(claims["sub"]),
                roles=frozenset(map(str, claims.get("roles", ()))),
                scopes=frozenset(map(str, claims.get("scopes", ()))),
                session=claims.get("sid"),
                acting=str(claims["act"]["sub"]) if "act" in claims else None,
            )
        except (TypeError, KeyError):
            raise Unauthenticated("The access token is not valid; sign in again.") from None
        self._known[token] = (float(claims["exp"]), caller)
        if len(self._known) > CACHE_TOKENS:
            self._known.popitem(last=False)
        return caller

    def _claims(self, token: str) -> dict[str, Any]:
        for key in self._keys:
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=["EdDSA"],
                    issuer=ISSUER,
                    # Not `iat`: a service whose clock is a second behind the directory's would refuse every new token.
                    options={"require": ["exp", "sub", "iss"], "verify_aud": False, "verify_iat": False},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError:
                raise Unauthenticated("The access token has expired; refresh it or sign in again.") from None
            except jwt.InvalidTokenError:
                break
        raise Unauthenticated("The access token is not valid; sign in again.")


def public_key_of(jwt_secret: str) -> str:
    """Return the JWT_PUBLIC_KEY (PEM) that belongs to a JWT_SECRET."""
    public = _private_key(jwt_secret).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class _Authenticated(SecurityBase):
    """The dependency behind CallerDep; OpenAPI lists it as the scheme `bearer`."""

    def __init__(self) -> None:
        self.model = HTTPBearerModel(bearerFormat="JWT")
        self.scheme_name = "bearer"

    async def __call__(self, request: Request) -> Caller:
        """Return the caller. Raises Unauthenticated without a valid token."""
        header = request.headers.get("authorization", "")
        if header[: len(_BEARER)].lower() != _BEARER:
            raise Unauthenticated("Send `Authorization: Bearer <access token>`.")
        verifier: TokenVerifier = request.app.state.verifier
        caller = verifier.verify(header[len(_BEARER) :].strip())
        request.scope["lms.caller"] = caller
        return caller


authenticated = _Authenticated()
CallerDep = Annotated[Caller, Depends(authenticated)]


def requires(*roles: str, scopes: tuple[str, ...] = ()) -> Callable[[Caller], Awaitable[Caller]]:
    """Return a dependency that gives the caller if it has one of the roles or one of the scopes; else 403."""

    async def permitted(caller: CallerDep) -> Caller:
        if caller.has(*roles) or caller.may(*scopes):
            return caller
        raise Forbidden("Your roles do not allow this.")

    return permitted


def _private_key(jwt_secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(derive_key(jwt_secret, "access tokens"))


def _public_key(text: str) -> Ed25519PublicKey:
    if "BEGIN" not in text:
        return Ed25519PublicKey.from_public_bytes(b64decode(text))
    key = load_pem_public_key(text.replace("\\n", "\n").encode())
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError("JWT_PUBLIC_KEY is not an Ed25519 key; derive it from JWT_SECRET.")
    return key
