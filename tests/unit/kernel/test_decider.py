"""given / when / then, on the smallest aggregate there is."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from lms.kernel.decider import Decider
from lms.kernel.errors import RuleBroken
from lms.kernel.event import Event
from lms.kernel.testing import given


class Deposited(Event):
    """Minutes came in."""

    TYPE: ClassVar[str] = "account.deposited"
    minutes: int


class Withdrawn(Event):
    """Minutes went out."""

    TYPE: ClassVar[str] = "account.withdrawn"
    minutes: int


class Overdrawn(RuleBroken):
    """More asked than there is."""

    code = "overdrawn"


@dataclass(frozen=True)
class Withdraw:
    """Take minutes out."""

    minutes: int


def _decide(command: Withdraw, balance: int) -> list[Event]:
    if command.minutes > balance:
        raise Overdrawn(f"{command.minutes} minutes asked, {balance} there.")
    return [Withdrawn(minutes=command.minutes)]


def _evolve(balance: int, event: Event) -> int:
    match event:
        case Deposited(minutes=minutes):
            return balance + minutes
        case Withdrawn(minutes=minutes):
            return balance - minutes
        case _:
            return balance


ACCOUNT: Decider[Withdraw, int, Event] = Decider(
    category="account", topic="test.v1", initial=0, decide=_decide, evolve=_evolve, state_type=int
)


def test_a_command_within_the_rules_leads_to_its_facts() -> None:
    assert given(ACCOUNT, Deposited(minutes=480)).when(Withdraw(240)) == [Withdrawn(minutes=240)]


def test_a_refused_command_tells_why() -> None:
    refusal = given(ACCOUNT, Deposited(minutes=60)).refuses(Withdraw(240), Overdrawn)
    assert "240 minutes asked, 60 there" in str(refusal)


def test_a_test_can_go_on_after_commands() -> None:
    account = given(ACCOUNT, Deposited(minutes=480)).after(Withdraw(240), Withdraw(200))
    assert account.state == 40
    account.refuses(Withdraw(41), Overdrawn)


def test_expecting_a_refusal_that_does_not_come_fails() -> None:
    with pytest.raises(pytest.fail.Exception):
        given(ACCOUNT, Deposited(minutes=480)).refuses(Withdraw(1), Overdrawn)


def test_a_stream_is_named_by_category_and_id() -> None:
    assert ACCOUNT.stream("42") == "account-42"
