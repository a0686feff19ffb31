"""The case under random commands."""

import contextlib
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from lms.approvals.decider import (
    CASE,
    Approve,
    Authority,
    Close,
    Closed,
    Command,
    Decided,
    Open,
    OpenCase,
    Reassign,
    Reject,
    Superior,
)
from lms.approvals.events import CaseClosed, CaseEvent, CaseOpened, LeaveApproved, LeaveRejected, StepApproved
from lms.kernel.errors import DomainError
from lms.kernel.sealed import Sealed

people = st.sampled_from(["anna", "ben", "clara", "dora"])
lines = st.lists(st.builds(Superior, people, st.booleans()), max_size=3).map(tuple)
authorities = st.builds(Authority, people, st.booleans(), st.frozensets(people, max_size=2))
revisions = st.sampled_from([1, 1, 1, 2])
sealed = st.just(Sealed(sealed="c2VhbGVk", subject="anna", key="k"))
opening = st.builds(
    OpenCase,
    request_id=st.just("r1"),
    revision=st.just(1),
    employee_id=st.just("anna"),
    leave_type=st.just("annual"),
    kind=st.sampled_from(["leave", "cancellation"]),
    start_date=st.just(date(2026, 7, 6)),
    end_date=st.just(date(2026, 7, 6)),
    days_minutes=st.just(480),
    needs_approval=st.sampled_from([True, True, True, False]),
    steps=st.lists(st.sampled_from(["manager", "hr", "else"]), min_size=1, max_size=3).map(tuple),
    line=lines,
)
commands = st.one_of(
    opening,
    st.builds(Approve, revisions, authorities, st.none() | sealed, lines),
    st.builds(Reject, revisions, authorities, sealed),
    st.builds(Reassign, lines),
    st.builds(Close, st.sampled_from(["superseded", "cancelled", "lapsed"])),
)


@settings(max_examples=300)
@given(opening, st.lists(commands, max_size=12))
def test_nobody_decides_on_their_own_leave_and_a_case_is_decided_at_most_once(
    first: OpenCase, later: list[Command]
) -> None:
    log: list[CaseEvent] = []
    state = CASE.initial
    for command in (first, *later):
        with contextlib.suppress(DomainError):
            log += CASE.decide(command, state)
        state = CASE.fold(log)
        if isinstance(state, Open):
            asked = state.route
            assert "anna" not in asked.assignees
            assert bool(asked.assignees) != (asked.group is not None), "somebody is asked, in person or as a group"
            assert state.steps
    decisions = [one for one in log if isinstance(one, LeaveApproved | LeaveRejected)]
    assert len(decisions) <= 1
    assert "anna" not in {one.decided_by for one in decisions}
    assert "anna" not in {one.decided_by for one in log if isinstance(one, StepApproved)}
    assert sum(isinstance(one, CaseOpened) for one in log) == 1
    closings = [place for place, one in enumerate(log) if isinstance(one, CaseClosed)]
    assert closings in ([], [len(log) - 1]), "nothing happens to a case after it is closed"
    approvals = [one for one in log if isinstance(one, LeaveApproved)]
    if approvals and not approvals[0].automatic:
        assert sum(isinstance(one, StepApproved) for one in log) == len(first.steps) - 1
    if isinstance(state, Decided):
        assert decisions
    if isinstance(state, Closed) and state.cause != "lapsed":
        assert not decisions
