"""The decider: one aggregate's rules as two pure functions.

`decide` answers a command in a state with the facts that follow, or raises a DomainError; `evolve` folds a fact into
the state and never refuses one. Neither reads a clock, draws an id or does I/O: whatever they need travels in the
command.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from lms.kernel.event import Event

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Decider(Generic[C, S, E]):
    """An aggregate: where its streams live and how it decides.

    Streams are named `<category>-<id>` and go whole to `topic`. `state_type` tells pydantic how to write and read a
    snapshot of the state, which is immutable: it is kept, and shared. Raise `evolve_version` whenever `evolve` or the
    state's shape changes: snapshots of other versions are ignored and written anew. With `every_partition` each fact
    goes to every partition of the topic, behind all that was committed before it: whoever finds it in a partition has
    read everything of before there.
    """

    category: str
    topic: str
    initial: S
    decide: Callable[[C, S], Sequence[E]]
    evolve: Callable[[S, E], S]
    state_type: Any
    evolve_version: int = 1
    every_partition: bool = False

    def stream(self, aggregate_id: str) -> str:
        """Return the name of the stream of one aggregate."""
        return f"{self.category}-{aggregate_id}"

    def fold(self, events: Iterable[E], state: S | None = None) -> S:
        """Return the state after `events`, from `state` or from the beginning."""
        current = self.initial if state is None else state
        for event in events:
            current = self.evolve(current, event)
        return current

    @cached_property
    def snapshot_adapter(self) -> TypeAdapter[S]:
        """The (de)serialiser of this aggregate's snapshots."""
        return TypeAdapter(self.state_type)
