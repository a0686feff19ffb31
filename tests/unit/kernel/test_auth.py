from datetime import UTC, datetime, timedelta

import jwt
import pytest

from lms.kernel.auth import TokenSigner, TokenVerifier, public_key_of
from lms.kernel.errors import Unauthenticated

SECRET = "a" * 64
OTHER = "b" * 64


def test_a_signed_token_names_its_caller() -> None:
    token = TokenSigner(SECRET).sign("emp-1", roles=("employee", "hr"), scopes=("payroll.read",), session="s1")
    verifier = TokenVerifier(public_key_of(SECRET))
    caller = verifier.verify(token)
    assert verifier.verify(token) is caller
    assert (caller.id, caller.session) == ("emp-1", "s1")
    assert caller.has("hr", "admin")
    assert not caller.has("admin")
    assert caller.may("payroll.read")


def test_a_token_to_act_for_a_person_names_who_really_acts() -> None:
    signer, verifier = TokenSigner(SECRET), TokenVerifier(public_key_of(SECRET))
    acting = verifier.verify(signer.sign("emp-1", acting="service:loader"))
    assert (acting.id, acting.actor, acting.on_behalf_of) == ("emp-1", "service:loader", "emp-1")
    own = verifier.verify(signer.sign("emp-1"))
    assert (own.id, own.actor, own.on_behalf_of) == ("emp-1", "emp-1", None)


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        TokenVerifier(public_key_of(SECRET)).verify(TokenSigner(OTHER).sign("emp-1"))


def test_two_public_keys_are_accepted_while_the_secret_changes() -> None:
    verifier = TokenVerifier(f"{public_key_of(SECRET)},{public_key_of(OTHER)}")
    assert verifier.verify(TokenSigner(OTHER).sign("emp-1")).id == "emp-1"
    assert verifier.verify(TokenSigner(SECRET).sign("emp-2")).id == "emp-2"


def test_a_token_counts_at_once_also_where_the_clock_is_behind_that_of_who_signed_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lms.kernel.auth.datetime", _Later)
    token = TokenSigner(SECRET).sign("emp-1")
    assert TokenVerifier(public_key_of(SECRET)).verify(token).id == "emp-1"


def test_an_expired_token_is_refused_also_when_it_was_verified_before(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = TokenVerifier(public_key_of(SECRET))
    expired = TokenSigner(SECRET).sign("emp-1", lifetime=timedelta(seconds=-1))
    with pytest.raises(Unauthenticated, match="expired"):
        verifier.verify(expired)
    token = TokenSigner(SECRET).sign("emp-1")
    verifier.verify(token)
    later = datetime.now(UTC) + timedelta(minutes=16)
    monkeypatch.setattr("lms.kernel.auth.time.time", later.timestamp)
    monkeypatch.setattr("jwt.api_jwt.datetime", _Later)
    with pytest.raises(Unauthenticated, match="expired"):
        verifier.verify(token)


class _Later(datetime):
    @classmethod
    def now(cls, tz: object = None) -> "_Later":
        del tz
        return cls.fromtimestamp((datetime.now(UTC) + timedelta(minutes=16)).timestamp(), UTC)


def test_an_unsigned_token_is_refused() -> None:
    unsigned = jwt.encode({"sub": "emp-1", "iss": "lms", "exp": 4_000_000_000}, key="", algorithm="none")
    with pytest.raises(Unauthenticated):
        TokenVerifier(public_key_of(SECRET)).verify(unsigned)


def test_nonsense_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        TokenVerifier(public_key_of(SECRET)).verify("a.b.c")
