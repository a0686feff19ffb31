"""What the approval case decides: routing, four eyes, revisions, late decisions."""

from dataclasses import replace
from datetime import date

import pytest

from lms.approvals.decider import (
    CASE,
    Approve,
    Authority,
    CaseOver,
    Close,
    Line,
    NoSuchCase,
    OpenCase,
    Reassign,
    Recharge,
    Reject,
    Route,
    StaleRevision,
    Superior,
    route,
)
from lms.approvals.events import (
    CaseClosed,
    CaseOpened,
    CaseReassigned,
    CaseRecharged,
    Cause,
    LeaveApproved,
    StepApproved,
)
from lms.kernel.errors import DomainError, FourEyes
from lms.kernel.sealed import Sealed
from lms.kernel.testing import given

REASON = Sealed(sealed="c2VhbGVk", subject="anna", key="k")
BEN = Superior("ben", employed=True)
ASK = OpenCase(
    request_id="r1",
    revision=2,
    employee_id="anna",
    leave_type="annual",
    kind="leave",
    start_date=date(2026, 7, 6),
    end_date=date(2026, 7, 7),
    days_minutes=960,
    needs_approval=True,
    steps=("manager",),
    line=(BEN,),
)
OPEN = given(CASE).after(ASK)
BY_BEN = Authority("ben")


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ((BEN,), Route(assignees=("ben",))),
        ((), Route(group="hr")),
        ((Superior("ben", employed=False),), Route(group="hr")),
        ((Superior("ben", employed=False), Superior("clara", employed=True)), Route(assignees=("clara",))),
        ((Superior("anna", employed=True),), Route(group="hr")),
        ((Superior("anna", employed=True), Superior("clara", employed=True)), Route(assignees=("clara",))),
    ],
    ids=["the manager", "nobody above", "left", "left, with a manager", "themselves", "themselves, with a manager"],
)
def test_the_nearest_superior_who_can_decide_is_asked_and_hr_where_there_is_none(line: Line, asked: Route) -> None:
    assert route("manager", "anna", line) == asked


@pytest.mark.parametrize("step", ["hr", "n-of-group"])
def test_every_other_step_is_for_hr(step: str) -> None:
    assert route(step, "anna", (BEN,)) == Route(group="hr")


def test_leave_that_needs_no_approval_is_approved_as_its_case_opens() -> None:
    opened, approved = given(CASE).when(replace(ASK, needs_approval=False))
    assert isinstance(opened, CaseOpened)
    assert (opened.steps, opened.assignees, opened.group) == ((), (), None)
    assert isinstance(approved, LeaveApproved)
    assert (approved.automatic, approved.decided_by) == (True, None)


def test_an_open_case_shows_what_its_days_cost_now_and_asks_nobody_anew() -> None:
    recharged = CaseRecharged(request_id="r1", revision=2, employee_id="anna", days_minutes=480)
    assert OPEN.when(Recharge(480)) == [recharged]
    assert OPEN.after(Recharge(480)).when(Recharge(480)) == []
    assert OPEN.when(Recharge(960)) == []
    assert OPEN.after(Approve(2, BY_BEN, REASON)).when(Recharge(480)) == []


def test_a_case_opens_once() -> None:
    assert OPEN.when(ASK) == []


def test_the_assignee_approves_in_their_own_right() -> None:
    (approved,) = OPEN.when(Approve(2, BY_BEN, REASON))
    assert isinstance(approved, LeaveApproved)
    assert (approved.decided_by, approved.on_behalf_of, approved.comment) == ("ben", None, REASON)
    assert (approved.request_id, approved.revision, approved.automatic) == ("r1", 2, False)


def test_whoever_stands_in_decides_and_both_are_named() -> None:
    (rejected,) = OPEN.when(Reject(2, Authority("clara", stands_in_for=frozenset({"ben", "dora"})), REASON))
    assert rejected.model_dump(include={"decided_by", "on_behalf_of"}) == {
        "decided_by": "clara",
        "on_behalf_of": "ben",
    }


@pytest.mark.parametrize(
    ("authority", "error"),
    [
        (Authority("anna", in_hr=True, stands_in_for=frozenset({"ben"})), FourEyes),
        (Authority("clara", in_hr=True), NoSuchCase),
        (Authority("clara", stands_in_for=frozenset({"dora"})), NoSuchCase),
    ],
    ids=["their own leave", "HR, not asked", "standing in for another"],
)
def test_nobody_else_decides(authority: Authority, error: type[DomainError]) -> None:
    OPEN.refuses(Approve(2, authority), error)
    OPEN.refuses(Reject(2, authority, REASON), error)


def test_anybody_in_hr_but_the_person_decides_where_hr_is_asked() -> None:
    asked = given(CASE).after(replace(ASK, line=()))
    (approved,) = asked.when(Approve(2, Authority("hanna", in_hr=True)))
    assert approved.model_dump(include={"decided_by", "on_behalf_of"}) == {"decided_by": "hanna", "on_behalf_of": None}
    asked.refuses(Approve(2, Authority("anna", in_hr=True)), FourEyes)
    asked.refuses(Approve(2, Authority("clara")), NoSuchCase)


def test_a_decision_on_another_revision_is_stale() -> None:
    OPEN.refuses(Approve(1, BY_BEN), StaleRevision)
    OPEN.after(Approve(2, BY_BEN)).refuses(Approve(1, BY_BEN), StaleRevision)


@pytest.mark.parametrize("end", [Approve(2, BY_BEN), Reject(2, BY_BEN, REASON), Close("cancelled")])
def test_a_case_that_is_over_takes_no_decision(end: Approve | Reject | Close) -> None:
    over = OPEN.after(end)
    over.refuses(Approve(2, BY_BEN), CaseOver)
    over.refuses(Reject(2, BY_BEN, REASON), CaseOver)
    assert over.when(Reassign(())) == []


def test_where_nothing_was_asked_there_is_nothing_to_decide_close_or_route() -> None:
    given(CASE).refuses(Approve(2, BY_BEN), NoSuchCase)
    assert given(CASE).when(Close("cancelled")) == []
    assert given(CASE).when(Reassign((BEN,))) == []


@pytest.mark.parametrize("cause", ["superseded", "cancelled"])
def test_an_open_case_closes_and_a_decided_one_keeps_its_decision(cause: Cause) -> None:
    assert OPEN.when(Close(cause)) == [CaseClosed(request_id="r1", revision=2, employee_id="anna", cause=cause)]
    assert OPEN.after(Approve(2, BY_BEN)).when(Close(cause)) == []


def test_a_decision_that_came_too_late_lapses_once() -> None:
    decided = OPEN.after(Approve(2, BY_BEN))
    assert [event.TYPE for event in decided.when(Close("lapsed"))] == ["approval.case-closed"]
    assert decided.after(Close("lapsed")).when(Close("lapsed")) == []


def test_a_new_line_asks_others_and_the_same_line_changes_nothing() -> None:
    assert OPEN.when(Reassign((BEN,))) == []
    (moved,) = OPEN.when(Reassign((Superior("clara", employed=True),)))
    assert isinstance(moved, CaseReassigned)
    assert moved.assignees == ("clara",)
    reassigned = OPEN.after(Reassign((Superior("clara", employed=True),)))
    reassigned.refuses(Approve(2, BY_BEN), NoSuchCase)
    assert reassigned.when(Approve(2, Authority("clara")))


def test_steps_are_approved_in_order_and_the_last_one_approves_the_leave() -> None:
    two = given(CASE).after(replace(ASK, steps=("hr", "manager")))
    (first,) = two.when(Approve(2, Authority("hanna", in_hr=True), line=(BEN,)))
    assert isinstance(first, StepApproved)
    assert (first.step, first.assignees, first.group) == ("hr", ("ben",), None)
    second = two.after(Approve(2, Authority("hanna", in_hr=True), line=(BEN,)))
    second.refuses(Approve(2, Authority("hanna", in_hr=True)), NoSuchCase)
    assert [event.TYPE for event in second.when(Approve(2, BY_BEN))] == ["leave.approved"]
    assert [event.TYPE for event in two.when(Reject(2, Authority("hanna", in_hr=True), REASON))] == ["leave.rejected"]
