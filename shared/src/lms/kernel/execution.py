"""Command execution: one transaction per command or reaction, decided anew when somebody else was faster.

A use case is `async def …(uow: UnitOfWork, …) -> Result`. Everything that it reads to decide and everything that it
writes goes through the unit of work, so that events, outbox rows, inline views and whatever row the use case claims
commit together or not at all.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Generic, Protocol, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.database import Database, is_contention
from lms.kernel.decider import C, Decider, E, S
from lms.kernel.errors import DomainError
from lms.kernel.event import Envelope, Event, Prerequisite, StreamVersion
from lms.kernel.eventstore import (
    Append,
    Causality,
    ConcurrencyConflict,
    EventStore,
    Loaded,
    Recorded,
    stream_versions,
)
from lms.kernel.failpoints import failpoint
from lms.kernel.ids import new_id
from lms.kernel.metrics import COMMAND_CONFLICTS, COMMANDS, EVENTS_APPENDED
from lms.kernel.projection import Projection, generations_of, hold_generations, sharing, write_views
from lms.kernel.statements import Call, Result

T = TypeVar("T")

ATTEMPTS = 12
"""How often a command is decided before its conflict is told to the caller (409)."""

_SERVER_ERROR = 500

_log = structlog.get_logger(__name__)


class NothingToDo(Exception):
    """Raised by a use case that finds that it was done before: it is rolled back, and is no failure."""


class Clock(Protocol):
    """What a unit of work needs of the business clock."""

    def now(self) -> datetime:
        """Return the business instant, in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class CommandContext:
    """Who asks, and the trail that the facts will carry. `on_behalf_of` is the person for whom the actor acts."""

    actor: str | None = None
    correlation_id: str = field(default_factory=new_id)
    causation_id: str | None = None
    traceparent: str | None = None
    on_behalf_of: str | None = None

    def causality(self) -> Causality:
        """Return the trail; a command that nothing caused is its own cause."""
        causation_id = self.causation_id or self.correlation_id
        return Causality(self.correlation_id, causation_id, self.actor, self.traceparent, self.on_behalf_of)


@dataclass(frozen=True, slots=True)
class Handled(Generic[S, E]):
    """What a command led to: its facts, and the state and stream version after them.

    `envelopes` are those of the facts, in their order.
    """

    events: Sequence[E]
    state: S
    version: int
    stream: str
    envelopes: Sequence[Envelope] = ()


class UnitOfWork:
    """One MySQL transaction of one command or one reaction.

    `now` and `today` are the business clock's, fixed for the whole unit; `actor` is the id of the person or service
    account who asks, None for the system itself. `written` names where each stream stands after what was appended.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        store: EventStore,
        inline: Sequence[type[Projection]],
        now: datetime,
        causality: Causality,
        tally: Callable[[Event], None] = lambda _: None,
        on_change: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        self.connection = connection
        self.store = store
        self.now = now
        self.causality = causality
        self.written: list[StreamVersion] = []
        self._inline = inline
        self._tally = tally
        self._appended: list[Event] = []
        self._views = [view.name for view in inline]
        self._loaded: dict[str, Loaded[Any]] = {}
        self._after_commit: list[Callable[[], Awaitable[None]]] = []
        self._concerned: set[str] = set()
        self._on_change = on_change

    @property
    def today(self) -> date:
        """The business date, in UTC."""
        return self.now.date()

    @property
    def actor(self) -> str | None:
        """Who asks."""
        return self.causality.actor

    async def load(self, decider: Decider[C, S, E], aggregate_id: str) -> Loaded[S]:
        """Return an aggregate's state and version (0: it has no events yet); loaded once, it is known to this unit."""
        known = self._loaded.get(decider.stream(aggregate_id))
        if known is None:
            await self.load_beside(decider, aggregate_id)
        return self._loaded[decider.stream(aggregate_id)]

    async def load_beside(self, decider: Decider[C, S, E], aggregate_id: str, *calls: Call) -> Sequence[Result]:
        """Load an aggregate, for whoever asks for it next, in one round trip with other statements.

        Returns what came of these.
        """
        loaded, results = await self.store.load_beside(self.connection, decider, aggregate_id, *calls)
        self._loaded[decider.stream(aggregate_id)] = loaded
        return results

    async def handle(
        self,
        decider: Decider[C, S, E],
        aggregate_id: str,
        command: C,
        *,
        key: str,
        prerequisites: tuple[Prerequisite, ...] = (),
    ) -> Handled[S, E]:
        """Load the aggregate, decide the command and append what follows.

        `key` is the Kafka key of the facts: the employee whom they concern, else the aggregate's own id. A DomainError
        of the decider passes through; nothing is then written.
        """
        loaded = await self.load(decider, aggregate_id)
        decided = list(decider.decide(command, loaded.state))
        stream = decider.stream(aggregate_id)
        if not decided:
            return Handled(decided, loaded.state, loaded.version, stream)
        recorded = await self._append(decider, stream, loaded.version, decided, key, prerequisites)
        version = loaded.version + len(decided)
        state = decider.fold(decided, loaded.state)
        now = self._loaded[stream] = Loaded(state, version, loaded.snapshot_version)
        await self.store.snapshot(self.connection, decider, aggregate_id, now)
        return Handled(decided, state, version, stream, [one.envelope for one in recorded])

    async def append(
        self,
        decider: Decider[C, S, E],
        aggregate_id: str,
        expected: int,
        events: Sequence[E],
        *,
        key: str,
        prerequisites: tuple[Prerequisite, ...] = (),
    ) -> int:
        """Append facts to a stream that stands at `expected`, with outbox rows and inline views; return its version.

        Raises ConcurrencyConflict when the stream has moved on; the executor then decides the whole command anew.
        """
        await self._append(decider, decider.stream(aggregate_id), expected, events, key, prerequisites)
        return expected + len(events)

    async def _append(
        self,
        decider: Decider[C, S, E],
        stream: str,
        expected: int,
        events: Sequence[E],
        key: str,
        prerequisites: tuple[Prerequisite, ...],
    ) -> list[Recorded]:
        append = Append(decider.topic, stream, key, expected, events, prerequisites, decider.every_partition)
        return await self.append_all([append])

    async def append_all(self, appends: Sequence[Append]) -> list[Recorded]:
        """Append facts to several streams at once, in the order of their names.

        The inline views are held before the facts are inserted: whoever holds a view alone (`rebuild.py`) then knows
        that every fact of the log up to its newest is committed, and is in the view. What was loaded of the streams
        is loaded anew when it is asked for again.
        """
        if not self.store.views_exist:
            await self.hold_views()
        holding = [sharing(self._views)] if self._inline else []
        recorded, held = await self.store.append_behind(self.connection, holding, appends, self.causality)
        for append in appends:
            self._loaded.pop(append.stream, None)
        self.concerns(*(append.key for append in appends))
        topics = {append.stream: append.topic for append in appends}
        self.written.extend(stream_versions(recorded, topics))
        self._appended.extend(one.event for one in recorded)
        if self._inline:
            generations = generations_of(held[0])
            if len(generations) < len(self._inline):  # they were emptied behind a running service
                self.store.views_exist = False
                raise ConcurrencyConflict(appends[0].stream, appends[0].expected)
            facts = [(one.event, one.envelope) for one in recorded]
            await write_views(self.connection, self._inline, facts, generations)
        return recorded

    async def hold_views(self) -> None:
        """Hold the inline views until the commit, as every append does first.

        A use case that locks rows of its own before it appends calls this before, where others append before they lock
        those rows: taken in one order, locks cannot wait for each other.
        """
        if self._inline:
            await hold_generations(self.connection, self._views)

    def concerns(self, *people: str) -> None:
        """Say who will see something else once this has committed; whom the facts are keyed by is known already.

        Each is given a hint (`hints.py`), which may be lost.
        """
        self._concerned.update(people)

    def after_commit(self, action: Callable[[], Awaitable[None]]) -> None:
        """Run `action` once the transaction has committed: for caches and wake-ups, which may be lost."""
        self._after_commit.append(action)

    async def committed(self) -> None:
        """Count the facts and run the actions that waited for the commit.

        A failing action is logged, for the facts already stand.
        """
        self.store.views_exist = self.store.views_exist or bool(self.written)
        for event in self._appended:
            EVENTS_APPENDED.labels(event.TYPE).inc()
            self._tally(event)
        if self._concerned:
            self._on_change(self._concerned)
        for action in self._after_commit:
            try:
                await action()
            except Exception:  # noqa: BLE001  # the facts stand, whatever a cache does
                _log.warning("an action after the commit failed", exc_info=True)


class Executor:
    """Runs use cases, each in a transaction of its own."""

    def __init__(
        self,
        database: Database,
        store: EventStore,
        clock: Clock,
        *,
        inline: Sequence[type[Projection]] = (),
        on_commit: Callable[[], None] = lambda: None,
        tally: Callable[[Event], None] = lambda _: None,
        on_change: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._inline = tuple(inline)
        self._on_commit = on_commit
        self._tally = tally
        self._on_change = on_change

    def unit_of_work(self, connection: AsyncConnection, causality: Causality) -> UnitOfWork:
        """Return a unit of work in a transaction that the caller commits (the consumer runner does)."""
        return UnitOfWork(
            connection, self._store, self._inline, self._clock.now(), causality, self._tally, self._on_change
        )

    def wake(self) -> None:
        """Say that something was committed which the relay should publish."""
        self._on_commit()

    async def run(self, use_case: Callable[[UnitOfWork], Awaitable[T]], *, context: CommandContext | None = None) -> T:
        """Run a use case and commit it; when it lost a race or a deadlock, run it again from the beginning.

        After ATTEMPTS lost races the last ConcurrencyConflict is raised (409). DomainErrors pass through with nothing
        written. When the connection breaks during the commit the outcome is unknown: the driver's error is raised
        (503), and the caller repeats the command with the same idempotency key.
        """
        causality = (context or CommandContext()).causality()
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._database.transaction() as connection:
                    unit = self.unit_of_work(connection, causality)
                    result = await use_case(unit)
                    failpoint("command.before-commit")
            except Exception as error:
                race = isinstance(error, ConcurrencyConflict)
                lost_race = race or is_contention(error)
                if not lost_race or attempt >= ATTEMPTS:
                    _count_failure(error, lost_race=lost_race)
                    raise
                COMMAND_CONFLICTS.labels("race" if race else "deadlock").inc()
                await asyncio.sleep(random.uniform(0, min(0.002 * 2**attempt, 0.1)))  # noqa: S311  # jitter, no secret
                continue
            failpoint("command.after-commit")
            COMMANDS.labels("done").inc()
            if unit.written:
                self._on_commit()
            await unit.committed()
            return result


def _count_failure(error: Exception, *, lost_race: bool) -> None:
    if isinstance(error, NothingToDo):
        return
    refused = isinstance(error, DomainError) and error.status < _SERVER_ERROR
    COMMANDS.labels("conflict" if lost_race else "refused" if refused else "failed").inc()
