"""Requests, balances and approvals in one process, with a directory to tell them of people, and topics between them.

Every key is a partition of its own: within it order holds, as in Kafka; between keys, and between topics, any order may
happen. What a consumer may see next is decided by whoever plays: nothing arrives by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from itertools import count
from typing import Any, NamedTuple, TypeVar
from unittest import mock

import orjson
from aiokafka import TopicPartition
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.simulation.memory import MemoryClock, MemoryProcess, finish

from lms.approvals import commands as deciding
from lms.approvals import store as approvals_store
from lms.approvals.main import SERVICE as APPROVALS
from lms.balances import commands as counting
from lms.balances import store as balances_store
from lms.balances.events import LeaveTypeTerms, PolicyTerms
from lms.balances.main import SERVICE as BALANCES
from lms.directory import events as told
from lms.directory.decider import CALENDAR, DELEGATION, EMPLOYEE, LOCATION, SCHEDULE
from lms.kernel.cloudevents import PARTITION_HEADER
from lms.kernel.consumer import LINGER_SECONDS, ConsumerRunner
from lms.kernel.errors import DomainError
from lms.kernel.execution import UnitOfWork
from lms.kernel.sealed import Sealed
from lms.kernel.service import Service
from lms.requests import commands as asking
from lms.requests import store as requests_store
from lms.requests.decider import BOOK
from lms.requests.decider.book import Changes
from lms.requests.decider.chargeable import Interval
from lms.requests.decider.payroll import MONTHLY, month_of, next_month
from lms.requests.decider.states import Request
from lms.requests.events import DayPart
from lms.requests.main import SERVICE as REQUESTS
from lms.requests.projections import payroll_lines

T = TypeVar("T")

_NO_CLIENT: Any = None
"""A consumer needs its client only where another member has its partition."""

DIRECTORY = Service(name="directory", publishes={told.TOPIC: told.EVENTS})
BOSS, LEAD, PEER, ANN, BOB = "boss", "lead", "peer", "ann", "bob"
NEWCOMERS = ("cem", "dan")
HR = "hr"
FULL_TIME, PART_TIME, OFFICE, BRANCH = "full-time", "part-time", "office", "branch"
HOLIDAYS, OTHER_HOLIDAYS = "holidays", "other-holidays"
ANNUAL, SICK = "annual", "sick"
DAY = 480
SINCE = date(2026, 1, 1)


class Record(NamedTuple):
    """A message as a client of Kafka gives it."""

    topic: str
    partition: int
    offset: int
    key: bytes
    headers: Sequence[tuple[str, bytes]]
    value: bytes


class Channel(NamedTuple):
    """One consumer reading one topic: what can be slow by itself."""

    service: str
    consumer: str
    topic: str


@dataclass
class Topics:
    """All messages, by topic and key; a key's number is its partition."""

    messages: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def publish(self, topic: str, key: str, headers: Sequence[tuple[str, bytes]], value: bytes) -> None:
        """Append a message to its partition."""
        number = self.numbers.setdefault(key, len(self.numbers))
        partition = self.messages.setdefault((topic, key), [])
        partition.append(Record(topic, number, len(partition), key.encode(), headers, value))

    def repeat(self, topic: str, key: str, until: int) -> None:
        """Deliver a prefix of a partition again, as a producer does that forgot that it had sent it."""
        for one in self.messages[topic, key][:until]:
            self.publish(topic, key, one.headers, one.value)

    def copied(self) -> "Topics":
        """Return a copy."""
        return Topics({name: list(found) for name, found in self.messages.items()}, dict(self.numbers))


class World:
    """The system, and the people who use it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.clock = MemoryClock()
        self.directory = MemoryProcess(DIRECTORY, self.clock)
        self.requests = MemoryProcess(REQUESTS, self.clock, requests_store.metadata.sorted_tables)
        self.balances = MemoryProcess(BALANCES, self.clock, balances_store._metadata.sorted_tables)
        self.approvals = MemoryProcess(APPROVALS, self.clock, [approvals_store.routing_day])
        self.processes = (self.directory, self.requests, self.balances, self.approvals)
        self.topics = Topics()
        self.asked: list[tuple[str, str]] = []
        self.delegations: list[str] = []
        self.employed: list[str] = []
        self.policy_version = 0
        self.channels = [
            Channel(process.service.name, runner.consumer.name, topic)
            for process in self.processes
            for runner in process.runners
            for topic in runner.consumer.topics
        ]
        self._start()
        self._copies = [one.database.copied() for one in self.processes]
        self._at, self._topics, self._people = self.clock.at, self.topics.copied(), tuple(self.employed)

    def close(self) -> None:
        """Let go of what is held open."""
        self._loop.close()
        for process in self.processes:
            process.database.memory.dispose()

    def begin_again(self) -> None:
        """Be as it was when it was made."""
        for process, copy in zip(self.processes, self._copies, strict=True):
            process.database.become(copy)
            process.connect()
        self.clock.at, self.topics, self.employed = self._at, self._topics.copied(), list(self._people)
        self.asked, self.delegations, self.policy_version = [], [], 1

    def _start(self) -> None:
        with self.requests.database.memory.begin() as connection:  # what the migration does
            connection.execute(requests_store.payroll_calendars.insert().values(calendar=MONTHLY))
        for calendar, day in ((HOLIDAYS, 10), (OTHER_HOLIDAYS, 11)):
            holidays = [
                told.Holiday(date=date(2026, month, day), name="Holiday", part="full") for month in range(1, 13)
            ]
            self.tell(
                CALENDAR,
                calendar,
                told.CalendarCreated(calendar_id=calendar, name="Holidays", country="FR", subdivision=None),
                told.CalendarHolidaysAdded(calendar_id=calendar, holidays=tuple(holidays)),
            )
        for location, calendar in ((OFFICE, HOLIDAYS), (BRANCH, OTHER_HOLIDAYS)):
            created = told.LocationCreated(
                location_id=location, name=location, country="FR", subdivision=None, time_zone="Europe/Paris",
                calendar_id=calendar,
            )  # fmt: skip
            self.tell(LOCATION, location, created)
        for schedule, afternoon in ((FULL_TIME, 240), (PART_TIME, 0)):
            work = told.WorkDay(morning_minutes=240, afternoon_minutes=afternoon)
            off = told.WorkDay(morning_minutes=0, afternoon_minutes=0)
            defined = told.ScheduleDefined(
                schedule_id=schedule, name=schedule, anchor=date(2026, 1, 5), weeks=((work,) * 5 + (off,) * 2,)
            )
            self.tell(SCHEDULE, schedule, defined)
        terms = {"name": "Leave", "unit": "half-day", "paid": True, "pay_code": "L", "colour": "#123456"}
        for slug, counted in ((ANNUAL, True), (SICK, False)):
            found = LeaveTypeTerms.model_validate({**terms, "needs_approval": counted, "limited": counted})
            self.do(self.balances, partial(counting.define_leave_type, leave_type=slug, terms=found))
        self.publish_policy(days=5, steps=("manager",), negative=DAY)
        for person, manager in ((BOSS, None), (LEAD, BOSS), (PEER, BOSS), (ANN, LEAD), (BOB, LEAD)):
            self.join(person, manager)
        self.settle()

    # The machinery --------------------------------------------------------------------------------------------------

    def do(self, process: MemoryProcess, use_case: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run a use case; a DomainError passes through."""
        return finish(process.executor.run(use_case))

    def ask(self, process: MemoryProcess, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run a query."""

        async def asked() -> T:
            async with process.database.read() as connection:
                return await query(connection)

        return finish(asked())

    def relay(self, process: MemoryProcess, times: int = 1) -> None:
        """Publish what waits in the outbox; more than once, as a relay does that is killed before it notes it."""
        found = process.take_outbox()
        for _ in range(times):
            for row in found:
                headers = orjson.loads(row.headers)
                key = headers.pop(PARTITION_HEADER, row.aggregateid)  # a copy for a partition is a partition of its own
                sent = [(name, text.encode()) for name, text in headers.items()]
                self.topics.publish(row.aggregatetype, key, sent, row.payload.encode())

    def runner_of(self, channel: Channel) -> ConsumerRunner:
        """Return the consumer of a channel."""
        (process,) = [one for one in self.processes if one.service.name == channel.service]
        (runner,) = [one for one in process.runners if one.consumer.name == channel.consumer]
        return runner

    def waiting(self, channel: Channel) -> Iterator[tuple[str, int]]:
        """Yield the keys of which a consumer has not seen all, and how much it has seen."""
        runner = self.runner_of(channel)
        for (topic, key), found in self.topics.messages.items():
            if topic == channel.topic:
                position = self._position(runner, TopicPartition(topic, self.topics.numbers[key]))
                if position < len(found):
                    yield key, position

    def _position(self, runner: ConsumerRunner, partition: TopicPartition) -> int:
        if partition not in runner._positions:
            runner._positions |= finish(runner._stored_offsets([partition]))
        return runner._positions[partition]

    def deliver(self, channel: Channel, key: str, at_most: int = 1000) -> None:
        """Let a consumer see the next messages of a key."""
        runner = self.runner_of(channel)
        found = self.topics.messages[channel.topic, key]
        partition = TopicPartition(channel.topic, self.topics.numbers[key])
        position = self._position(runner, partition)
        fetched: Any = {partition: found[position : position + at_most]}  # what the runner reads of Kafka's records
        self._loop.run_until_complete(runner._work(_NO_CLIENT, fetched))
        if runner._gathered:
            runner._gathered_since -= LINGER_SECONDS  # so much later
            self._loop.run_until_complete(runner._work(_NO_CLIENT, {}))
        (process,) = [one for one in self.processes if one.service.name == channel.service]
        for one in process.runners:
            if one._waiting:
                one._waiting = finish(one._drain())

    def flow(self, slow: frozenset[Channel] = frozenset()) -> None:
        """Let everything flow until nothing moves, but for the channels that are slow now."""
        moved = True
        while moved:
            moved = False
            for process in self.processes:
                self.relay(process)
            for channel in self.channels:
                if channel not in slow:
                    for key, _ in list(self.waiting(channel)):
                        self.deliver(channel, key)
                        moved = True

    def jobs(self) -> None:
        """Do what the services do by the clock."""
        finish(asking.run_recharges(self.requests))  # type: ignore[arg-type]  # it stands for the runtime
        finish(counting.run_accruals(self.balances))  # type: ignore[arg-type]
        finish(deciding.reroute_daily(self.approvals))  # type: ignore[arg-type]

    def settle(self) -> None:
        """Let everything flow, and the services do all that is due, until there is nothing left to do."""
        self.flow()
        self.jobs()
        self.flow()

    def _request(self, number: int) -> Request:
        person, request_id = self.asked[number]
        loaded = self.ask(self.requests, lambda connection: self.requests.store.load(connection, BOOK, person))
        return loaded.state.requests[request_id]

    def days_of(self, number: int) -> list[date]:
        """Return the days that a request takes now."""
        request = self._request(number)
        newest = request.open or request.standing
        return [one.date for one in newest.days] if newest else []

    def revisions_of(self, number: int) -> int:
        """Return how many revisions a request has."""
        return self._request(number).revisions

    # What people do -------------------------------------------------------------------------------------------------

    def tell(self, decider: Any, aggregate_id: str, *events: Any) -> None:
        """Record facts of the directory."""

        async def recorded(uow: UnitOfWork) -> None:
            head = await uow.store.head(uow.connection, decider.stream(aggregate_id))
            key = getattr(events[0], "delegator_id", aggregate_id)
            await uow.append(decider, aggregate_id, head, events, key=key)

        self.do(self.directory, recorded)

    def join(self, person: str, manager: str | None, schedule: str = FULL_TIME) -> None:
        """Employ somebody."""
        joined = told.EmployeeJoined(
            employee_id=person, employed_from=SINCE, department_id="department", location_id=OFFICE,
            manager_id=manager, schedule_id=schedule, roles=("employee",), cost_centre="",
        )  # fmt: skip
        self.tell(EMPLOYEE, person, joined)
        self.employed.append(person)

    def reports_to(self, person: str, manager: str | None, since: date) -> None:
        """Give somebody another manager."""
        changed = told.EmployeeManagerChanged(employee_id=person, manager_id=manager, effective_from=since)
        self.tell(EMPLOYEE, person, changed)

    def leaves(self, person: str, last_day: date) -> None:
        """Let somebody's employment end."""
        self.tell(EMPLOYEE, person, told.EmployeeLeft(employee_id=person, last_day=last_day))

    def works(self, person: str, schedule: str, since: date) -> None:
        """Give somebody another schedule."""
        changed = told.EmployeeScheduleAssigned(employee_id=person, schedule_id=schedule, effective_from=since)
        self.tell(EMPLOYEE, person, changed)

    def moves(self, person: str, location: str, since: date) -> None:
        """Let somebody move to another location."""
        changed = told.EmployeeLocationChanged(employee_id=person, location_id=location, effective_from=since)
        self.tell(EMPLOYEE, person, changed)

    def keeps(self, location: str, calendar: str) -> None:
        """Let a location keep another calendar."""
        self.tell(LOCATION, location, told.LocationCalendarChanged(location_id=location, calendar_id=calendar))

    def add_holiday(self, calendar: str, day: date, part: DayPart) -> None:
        """Make a date a holiday, or another part of it than was one."""
        holiday = told.Holiday(date=day, name="Holiday", part=part)
        self.tell(CALENDAR, calendar, told.CalendarHolidaysAdded(calendar_id=calendar, holidays=(holiday,)))

    def remove_holiday(self, calendar: str, day: date) -> None:
        """Make a date a working day, if it was none."""
        self.tell(CALENDAR, calendar, told.CalendarHolidaysRemoved(calendar_id=calendar, dates=(day,)))

    def delegate(self, delegator: str, delegate: str, days: int) -> None:
        """Let somebody decide for somebody else from today on."""
        number = f"delegation-{len(self.delegations)}"
        self.delegations.append(delegator)
        granted = told.DelegationGranted(
            delegation_id=number, delegator_id=delegator, delegate_id=delegate, first_day=self.clock.today(),
            last_day=self.clock.today() + timedelta(days=days),
        )  # fmt: skip
        self.tell(DELEGATION, number, granted)

    def revoke(self, number: int) -> None:
        """Take a delegation back."""
        revoked = told.DelegationRevoked(
            delegation_id=f"delegation-{number}", delegator_id=self.delegations[number], delegate_id=PEER
        )
        self.tell(DELEGATION, revoked.delegation_id, revoked)

    def publish_policy(self, *, days: int, steps: tuple[str, ...], negative: int = 0) -> None:
        """Publish the next version of the policy of annual leave, from the first day of its time or from today."""
        first = self.policy_version == 0
        terms = PolicyTerms(
            leave_type=ANNUAL, effective_from=SINCE if first else self.clock.today(), entitlement_minutes=days * DAY,
            accrual="up-front", carry_over_limit_minutes=2 * DAY, carry_over_expires="03-31",
            negative_limit_minutes=negative, approval_steps=steps,
        )  # fmt: skip
        self.do(self.balances, lambda uow: counting.publish_policy(uow, ANNUAL, terms, first=first))
        self.policy_version += 1

    def adjust(self, person: str, minutes: int) -> None:
        """Change a balance by hand."""
        reason = Sealed(sealed="", subject=person, key="key")
        self.do(
            self.balances,
            lambda uow: counting.adjust(
                uow, employee_id=person, leave_type=ANNUAL, minutes=minutes, effective_date=None, expires_on=None,
                reason=reason,
            ),
        )  # fmt: skip

    def request(self, person: str, leave_type: str, start: date, days: int, part: DayPart = "full") -> None:
        """Ask for leave."""
        interval = Interval(start, start + timedelta(days=days - 1), part, "full" if days > 1 else part)
        asked = self.do(
            self.requests,
            lambda uow: asking.request_leave(
                uow, employee_id=person, requested_by=person, leave_type=leave_type, interval=interval, reason=None
            ),
        )
        self.asked.append((person, asked.request_id))

    def amend(self, number: int, start: date, days: int) -> None:
        """Ask for other days instead."""
        person, request_id = self.asked[number]
        changes = Changes(start_date=start, end_date=start + timedelta(days=days - 1))
        self.do(
            self.requests,
            lambda uow: asking.amend_leave(
                uow, request_id=request_id, employee_id=person, requested_by=person, changes=changes,
                expected_version=None,
            ),
        )  # fmt: skip

    def cancel(self, number: int, dates: Sequence[date] = ()) -> None:
        """Cancel a request, or days of it."""
        person, request_id = self.asked[number]
        self.do(
            self.requests,
            lambda uow: asking.cancel_leave(
                uow, request_id=request_id, employee_id=person, requested_by=person, dates=dates, reason=None,
                expected_version=None,
            ),
        )  # fmt: skip

    def close_months(self, months: int) -> None:
        """Let payroll close the next months that are due, from the first one in which anything is booked."""
        for _ in range(months):
            last = self.ask(self.requests, requests_store.last_closed)
            first = self.ask(self.requests, payroll_lines.first_booked)
            due = next_month(last) if last else first or month_of(self.clock.today())
            self.do(self.requests, lambda uow, due=due: asking.close_period(uow, due, "payroll"))  # type: ignore[misc]

    def decide(self, number: int, revision: int, caller: str, *, approve: bool) -> None:
        """Approve or reject a revision."""
        person, request_id = self.asked[number]
        text = None if approve else Sealed(sealed="", subject=person, key="key")
        decision = deciding.Decision(request_id, revision, approve, text)
        self.do(self.approvals, lambda uow: deciding.decide_case(uow, decision, caller, in_hr=caller == HR))


@contextmanager
def counted_ids() -> Iterator[None]:
    """Let the ids that decide orders be numbers, so that a script always plays alike."""
    numbers = (f"id-{number:03}" for number in count(1))
    with (
        mock.patch("lms.requests.commands.new_id", numbers.__next__),
        mock.patch("lms.balances.commands.new_id", numbers.__next__),
    ):
        yield


def attempt(command: Callable[[], None]) -> None:
    """Let somebody try something that the rules may refuse."""
    with suppress(DomainError):
        command()
