"""given / when / then for deciders: `assert given(BOOK, requested).when(Cancel(...)) == [cancelled]`."""

from dataclasses import dataclass
from typing import Generic

import pytest

from lms.kernel.decider import C, Decider, E, S
from lms.kernel.errors import DomainError


@dataclass(frozen=True)
class Given(Generic[C, S, E]):
    """An aggregate with a past."""

    decider: Decider[C, S, E]
    past: tuple[E, ...]

    @property
    def state(self) -> S:
        """The state after the past."""
        return self.decider.fold(self.past)

    def when(self, command: C) -> list[E]:
        """Return the facts that the command leads to; a DomainError passes through."""
        return list(self.decider.decide(command, self.state))

    def after(self, *commands: C) -> "Given[C, S, E]":
        """Return the aggregate after the commands were decided and their facts recorded, one by one."""
        given_now = self
        for command in commands:
            given_now = Given(self.decider, (*given_now.past, *given_now.when(command)))
        return given_now

    def refuses(self, command: C, error: type[DomainError]) -> DomainError:
        """Assert that the command is refused with `error`, and return it for a look at its detail."""
        with pytest.raises(error) as refusal:
            self.decider.decide(command, self.state)
        return refusal.value


def given(decider: Decider[C, S, E], *past: E) -> Given[C, S, E]:
    """Start a test from the facts recorded so far."""
    return Given(decider, past)
