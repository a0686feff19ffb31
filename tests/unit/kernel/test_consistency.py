from base64 import urlsafe_b64encode

import orjson
import pytest

from lms.kernel.consistency import BadConsistencyToken, Tokens, Written, named_in
from lms.kernel.event import StreamVersion

OLD, NEW = "o" * 40, "n" * 40
BOOK = StreamVersion("leave.requests.v1", "leave-book-1", 3)
WRITTEN = Written("requests", *BOOK)


def made_up(*entries: Written) -> str:
    """Return a token as services gave it out before they signed them."""
    return urlsafe_b64encode(orjson.dumps([list(one) for one in entries])).decode().rstrip("=")


def given_out(key: str = OLD) -> str:
    token = Tokens(key).of("requests", [BOOK])
    assert token is not None
    return token


def test_a_token_names_what_was_written() -> None:
    token = given_out()
    assert Tokens(OLD).read(token) == [WRITTEN]
    assert Tokens(OLD).read(f"{token}, {token}") == [WRITTEN] * 2


def test_a_command_that_wrote_nothing_has_no_token() -> None:
    assert Tokens(OLD).of("requests", []) is None


@pytest.mark.parametrize("header", ["!", "abc", "WzFd", "W1sxXV0", "é", "W1siYSIsImIiLCJjIiwieCJdXQ", "W10.", ".", ""])
def test_a_token_that_nobody_gave_out_is_refused(header: str) -> None:
    with pytest.raises(BadConsistencyToken):
        Tokens(OLD).read(header)


def test_nobody_makes_up_a_token_about_a_stream_of_somebody_else() -> None:
    forged = made_up(Written("requests", "leave.requests.v1", "leave-book-2", 3))
    signature = given_out().partition(".")[2]
    for header in (forged, f"{forged}.", f"{forged}.{signature}", f"{given_out()}, {forged}.{signature}"):
        with pytest.raises(BadConsistencyToken):
            Tokens(OLD).read(header)


def test_while_the_key_is_rotated_the_tokens_of_both_are_good() -> None:
    """A service that still signs with the old key holds the new one, and the other way round (docs/hardening.md)."""
    assert Tokens(OLD, NEW).read(given_out(NEW)) == Tokens(NEW, OLD).read(given_out(OLD)) == [WRITTEN]
    assert Tokens(NEW, OLD).of("requests", [BOOK]) == given_out(NEW)
    with pytest.raises(BadConsistencyToken):
        Tokens(NEW).read(given_out(OLD))


def test_what_an_answer_of_ours_named_is_read_whoever_signed_it() -> None:
    assert named_in(given_out(NEW)) == named_in(made_up(WRITTEN)) == [WRITTEN]
