"""Facts are written under literal names and read in every version ever written."""

from typing import ClassVar

import pytest

from lms.kernel.event import Codec, Event, UnknownEventType


class Deposited(Event):
    """Minutes were put on an account (version 1 called them `amount`)."""

    TYPE: ClassVar[str] = "account.deposited"
    SCHEMA_VERSION: ClassVar[int] = 2
    minutes: int


class Closed(Event):
    """An account was closed."""

    TYPE: ClassVar[str] = "account.closed"


CODEC = Codec((Deposited, Closed), {("account.deposited", 1): lambda data: {"minutes": data["amount"]}})


def test_an_event_reads_back_as_it_was_written() -> None:
    event = Deposited(minutes=480)
    assert CODEC.decode("account.deposited", 2, CODEC.encode(event)) == event


def test_an_event_of_an_older_version_is_lifted() -> None:
    assert CODEC.decode("account.deposited", 1, '{"amount": 240}') == Deposited(minutes=240)


def test_an_older_version_without_an_upcaster_is_told_by_name() -> None:
    with pytest.raises(UnknownEventType, match=r"No upcaster lifts account\.deposited from version 1"):
        Codec((Deposited,)).decode("account.deposited", 1, "{}")


def test_a_version_from_the_future_is_refused() -> None:
    with pytest.raises(UnknownEventType, match="newer than this deployment"):
        CODEC.decode("account.deposited", 3, '{"minutes": 1}')


def test_a_type_that_nobody_listed_is_refused_both_ways() -> None:
    with pytest.raises(UnknownEventType, match="EVENTS"):
        Codec((Deposited,)).encode(Closed())
    with pytest.raises(UnknownEventType, match=r"account\.opened"):
        CODEC.decode("account.opened", 1, "{}")


def test_two_models_of_one_name_are_a_mistake_found_at_start_up() -> None:
    with pytest.raises(ValueError, match="share one TYPE"):
        Codec((Closed, Closed))
