import pytest

from lms.kernel.consistency import BadConsistencyToken, Written, read_token, token_of
from lms.kernel.event import StreamVersion


def test_a_token_names_what_was_written() -> None:
    token = token_of("requests", [StreamVersion("leave.requests.v1", "leave-book-1", 3)])
    assert token is not None
    assert read_token(token) == [Written("requests", "leave.requests.v1", "leave-book-1", 3)]
    assert read_token(f"{token}, {token}") == read_token(token) * 2


def test_a_command_that_wrote_nothing_has_no_token() -> None:
    assert token_of("requests", []) is None


@pytest.mark.parametrize("header", ["!", "abc", "WzFd", "W1sxXV0", "é", "W1siYSIsImIiLCJjIiwieCJdXQ"])
def test_a_token_that_nobody_gave_out_is_refused(header: str) -> None:
    with pytest.raises(BadConsistencyToken):
        read_token(header)
