"""The book under random commands and late, repeated or unordered answers."""

import contextlib
from collections import Counter
from dataclasses import replace
from datetime import date, time, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lms.kernel.errors import DomainError
from lms.requests.decider import BOOK
from lms.requests.decider.book import (
    AmendLeave,
    CancelDays,
    CancelLeave,
    Changes,
    Command,
    RechargeLeave,
    RecordApproval,
    RecordInsufficient,
    RecordRejection,
    RecordReservation,
    RequestLeave,
)
from lms.requests.decider.chargeable import Interval, Schedule, Work, minutes_of
from lms.requests.decider.recharging import Changed
from lms.requests.decider.rules import Employment, Facts, LeaveTerms
from lms.requests.decider.states import Book
from lms.requests.events import (
    BookEvent,
    LeaveAmended,
    LeaveApprovalRequested,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveRefused,
)

FIRST = date(2026, 6, 1)
EMPLOYMENT = Employment(date(2020, 1, 1), None, ((date(2020, 1, 1), "berlin"),))

days = st.integers(0, 13).map(lambda number: FIRST + timedelta(days=number))
parts = st.sampled_from(["full", "full", "morning", "afternoon"])
requests = st.integers(1, 6).map(lambda number: f"r{number}")
revisions = st.integers(1, 5)
today = st.sampled_from([FIRST - timedelta(days=9), FIRST + timedelta(days=3)])
terms = st.booleans()
hours = st.none() | st.tuples(st.integers(7, 20), st.integers(1, 6)).map(lambda one: (one[0], min(one[0] + one[1], 21)))


def schedule(morning: int, afternoon: int) -> Schedule:
    return Schedule(date(2024, 1, 1), (((morning, afternoon),) * 5 + ((0, 0),) * 2,))


SCHEDULES = (schedule(240, 240), schedule(240, 0), schedule(120, 180))


class LeaveBook(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.book: Book = BOOK.initial
        self.log: list[BookEvent] = []
        self.asked = 0
        self.work = Work(((FIRST, SCHEDULES[0]),))

    def facts(self, unit: Any, *, needs_approval: bool) -> Facts:
        return Facts(EMPLOYMENT, self.work, LeaveTerms("annual", unit, needs_approval))

    def decide(self, command: Command) -> None:
        decided = list(BOOK.decide(command, self.book))
        self.log += decided
        self.book = BOOK.fold(decided, self.book)

    def people_ask(self, command: Command) -> None:
        with contextlib.suppress(DomainError):
            self.decide(command)

    @rule(first=days, length=st.integers(0, 4), part=parts, at=hours, today=today, terms=terms)
    def ask(self, *, first: date, length: int, part: Any, at: tuple[int, int] | None, today: date, terms: bool) -> None:
        self.asked += 1
        interval = Interval(first, first + timedelta(days=length), "afternoon" if part == "afternoon" else "full", part)
        if at is not None:
            interval = Interval(first, first, from_time=time(at[0]), to_time=time(at[1]))
        known = self.facts("half-day" if at is None else "hour", needs_approval=terms)
        self.people_ask(RequestLeave(f"r{self.asked}", "anna", interval, None, "anna", known, today))

    @rule(name=requests, first=days, last=days, today=today)
    def amend(self, name: str, first: date, last: date, today: date) -> None:
        changes = Changes(start_date=first, end_date=last, start_part="full", end_part="full")
        self.people_ask(AmendLeave(name, "anna", changes, "anna", self.facts("hour", needs_approval=True), today))

    @rule(name=requests, at=hours.filter(bool), today=today)
    def amend_hours(self, name: str, at: tuple[int, int], today: date) -> None:
        changes = Changes(from_time=time(at[0]), to_time=time(at[1]))
        self.people_ask(AmendLeave(name, "anna", changes, "anna", self.facts("hour", needs_approval=True), today))

    @rule(name=requests, today=today)
    def cancel(self, name: str, today: date) -> None:
        self.people_ask(CancelLeave(name, "anna", None, today))

    @rule(name=requests, dates=st.frozensets(days, min_size=1, max_size=3), today=today)
    def cancel_days(self, name: str, dates: frozenset[date], today: date) -> None:
        self.people_ask(CancelDays(name, "anna", dates, None, "anna", today))

    @rule(name=requests, revision=revisions)
    def reserved(self, name: str, revision: int) -> None:
        self.decide(RecordReservation(name, "anna", revision))

    @rule(name=requests, revision=revisions)
    def insufficient(self, name: str, revision: int) -> None:
        self.decide(RecordInsufficient(name, "anna", revision, "balance-insufficient"))

    @rule(name=requests, revision=revisions)
    def approved(self, name: str, revision: int) -> None:
        self.decide(RecordApproval(name, "anna", revision, "ben"))

    @rule(name=requests, revision=revisions)
    def rejected(self, name: str, revision: int) -> None:
        self.decide(RecordRejection(name, "anna", revision, "ben", None))

    @rule(day=days, part=st.sampled_from([None, "full", "morning", "afternoon"]))
    def holiday(self, day: date, part: Any) -> None:
        kept = {one: of for one, of in self.work.holidays[0][1].items() if one != day} if self.work.holidays else {}
        holidays = kept if part is None else {**kept, day: part}
        self.changes(replace(self.work, holidays=((FIRST, holidays),)), Changed(dates=frozenset({day})))

    @rule(since=days, to=st.sampled_from(SCHEDULES))
    def works(self, since: date, to: Schedule) -> None:
        schedules = (*(one for one in self.work.schedules if one[0] < since), (since, to))
        self.changes(replace(self.work, schedules=schedules), Changed(since=since))

    def changes(self, work: Work, changed: Changed) -> None:
        self.work = work
        recharge = RechargeLeave("anna", "schedule", changed, work, {"annual": "hour"}, ())
        self.decide(recharge)
        assert BOOK.decide(recharge, self.book) == []

    @invariant()
    def no_time_is_booked_by_two_requests(self) -> None:
        booked: dict[tuple[date, int], str] = {}
        for request in self.book.requests.values():
            for revision in request.booking:
                for day in revision.days:
                    begin, end = minutes_of(day.part, revision.interval.from_time, revision.interval.to_time)
                    for slot in range(begin // 60, end // 60):
                        assert booked.setdefault((day.date, slot), request.request_id) == request.request_id

    @invariant()
    def no_day_costs_more_than_is_worked(self) -> None:
        cost: Counter[date] = Counter()
        for request in self.book.requests.values():
            dearest: Counter[date] = Counter()
            for revision in request.booking:
                dearest |= Counter({day.date: day.scheduled_minutes for day in revision.days})
            cost += dearest
        assert all(minutes <= sum(self.work.scheduled_on(day)) for day, minutes in cost.items())

    @invariant()
    def cancelled_days_are_gaps_within_what_is_left(self) -> None:
        for request in self.book.requests.values():
            for revision in request.booking:
                assert not revision.cancelled & {day.date for day in revision.days}
                assert all(
                    revision.interval.start_date < day < revision.interval.end_date for day in revision.cancelled
                )

    @invariant()
    def every_revision_has_at_most_one_outcome(self) -> None:
        outcomes: list[tuple[str, int]] = []
        for event in self.log:
            match event:
                case LeaveConfirmed() | LeaveRefused():
                    outcomes.append((event.request_id, event.revision))
                case LeaveCancelled(open_revision=int(revision)):
                    outcomes.append((event.request_id, revision))
                case LeaveAmended(supersedes_revision=int(revision)):
                    outcomes.append((event.request_id, revision))
                case _:
                    pass
        assert len(outcomes) == len(set(outcomes))

    @invariant()
    def a_request_ends_once(self) -> None:
        over: set[str] = set()
        for event in self.log:
            if event.TYPE != "leave.decision-lapsed":
                assert event.request_id not in over
            if isinstance(event, LeaveCancelled) or (
                isinstance(event, LeaveRefused) and event.standing_revision is None
            ):
                over.add(event.request_id)
        ended = {name for name, one in self.book.requests.items() if one.status in {"rejected", "cancelled"}}
        assert over == ended

    @invariant()
    def nothing_is_confirmed_that_was_not_reserved_and_put_to_decision(self) -> None:
        put = {(one.request_id, one.revision) for one in self.log if isinstance(one, LeaveApprovalRequested)}
        for event in self.log:
            if isinstance(event, LeaveConfirmed):
                assert (event.request_id, event.revision) in put

    @invariant()
    def the_state_is_the_fold_of_the_facts(self) -> None:
        assert BOOK.fold(self.log) == self.book
        assert self.book.version == len(self.log)


TestLeaveBook = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")(LeaveBook.TestCase)
TestLeaveBook.settings = settings(max_examples=60, stateful_step_count=40, suppress_health_check=list(HealthCheck))
