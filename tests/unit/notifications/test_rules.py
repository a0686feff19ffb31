"""Who is told what: the rules alone."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from lms.kernel.sealed import Sealed
from lms.notifications.decider import (
    KINDS,
    Asked,
    Known,
    Notice,
    Waiting,
    channels,
    digests,
    notices,
    pause_after,
    reminders,
)
from lms.notifications.upstream import (
    CaseClosed,
    CaseOpened,
    CaseReassigned,
    LeaveAmended,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveRecharged,
    LeaveRefused,
    StepApproved,
)

ASKED = Asked("annual", date(2026, 4, 1), date(2026, 4, 2))
OF = {"request_id": "r", "revision": 1, "employee_id": "anna"}
BOOK = {**OF, "leave_type": "annual"}
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WAITING = Waiting("ben", "r", 1, "anna", ASKED, MONDAY)


def opened(*assignees: str, group: str | None = None) -> CaseOpened:
    days = {"start_date": ASKED.first_day, "end_date": ASKED.last_day}
    return CaseOpened(**BOOK, **days, kind="leave", assignees=assignees, group=group)


def told(fact: Any, known: Known | None = None) -> list[tuple[str, str]]:
    """Return who is told what."""
    return [(one.person, one.kind) for one in notices("e1", fact, known or Known(ASKED))]


def test_every_assignee_is_asked_once() -> None:
    assert told(opened("ben", "clara", "ben")) == [("ben", "approval-asked"), ("clara", "approval-asked")]


def test_an_automatic_case_asks_nobody() -> None:
    assert told(opened()) == []


def test_everybody_in_hr_is_asked_where_the_group_is_but_never_of_their_own_leave() -> None:
    known = Known(in_hr=("anna", "hanna"))
    assert told(opened(group="hr"), known) == [("hanna", "approval-asked")]
    assert told(opened("ben"), known) == [("ben", "approval-asked")]


def test_whoever_a_case_is_passed_on_to_is_asked() -> None:
    assert told(CaseReassigned(**OF, assignees=("clara",), group=None)) == [("clara", "approval-asked")]
    step = StepApproved(**OF, assignees=(), group="hr")
    assert told(step, Known(ASKED, approvers=("ben",), in_hr=("hanna",))) == [("hanna", "approval-asked")]


def test_those_who_are_asked_hear_of_a_withdrawal() -> None:
    closed = CaseClosed(**OF, cause="cancelled")
    assert told(closed, Known(ASKED, approvers=("ben",))) == [("ben", "case-withdrawn")]
    assert told(closed, Known(ASKED, group="hr", in_hr=("hanna",))) == [("hanna", "case-withdrawn")]


def test_a_superseded_case_is_not_told_of() -> None:
    assert told(CaseClosed(**OF, cause="superseded"), Known(ASKED, approvers=("ben",))) == []


def test_only_whoever_decided_hears_that_the_decision_came_too_late() -> None:
    lapsed = CaseClosed(**OF, cause="lapsed")
    assert told(lapsed, Known(ASKED, approvers=("ben", "clara"), decided_by="clara")) == [("clara", "decision-lapsed")]
    assert told(lapsed, Known(ASKED, approvers=("ben",))) == []


def test_an_employee_hears_of_a_change_that_somebody_else_made() -> None:
    amended = LeaveAmended(**BOOK, start_date=date(2026, 5, 1), end_date=date(2026, 5, 2), requested_by="hanna")
    (notice,) = notices("e1", amended, Known(ASKED))
    assert (notice.person, notice.kind) == ("anna", "leave-amended")
    assert notice.asked == Asked("annual", date(2026, 5, 1), date(2026, 5, 2))
    assert told(amended.model_copy(update={"requested_by": "anna"})) == []


def test_an_employee_hears_what_was_decided() -> None:
    assert told(LeaveConfirmed(**BOOK)) == [("anna", "leave-confirmed")]
    assert told(LeaveCancelled(**BOOK, open_revision=None, confirmed_revision=1)) == [("anna", "leave-cancelled")]


def test_an_employee_hears_what_made_leave_cost_something_else_and_whether_it_stands() -> None:
    week, less = [{"entitlement_minutes": 480}] * 5, [{"entitlement_minutes": 480}] * 4
    fact = LeaveRecharged(**BOOK, confirmed=True, cause="holidays", days=less, days_before=week)
    (notice,) = notices("e1", fact, Known(ASKED))
    assert (notice.person, notice.kind, notice.asked) == ("anna", "leave-recharged", ASKED)
    assert notice.facts == {"because": "holidays", "costs": "less", "stands": "yes"}
    dearer = LeaveRecharged(**BOOK, confirmed=False, cause="schedule", days=week, days_before=less)
    (notice,) = notices("e1", dearer, Known(ASKED))
    assert notice.facts == {"because": "schedule", "costs": "more", "stands": "no"}


def test_nobody_is_told_of_days_that_only_payroll_counts_otherwise() -> None:
    week = [{"entitlement_minutes": 480}] * 5
    assert told(LeaveRecharged(**BOOK, confirmed=True, cause="schedule", days=week, days_before=week)) == []


def test_a_refusal_tells_its_code_and_keeps_its_reason_sealed() -> None:
    reason = Sealed(sealed="c2VhbGVk", subject="anna", key="k")
    fact = LeaveRefused(**BOOK, code="rejected", standing_revision=None, reason=reason)
    (notice,) = notices("e1", fact, Known(ASKED))
    assert notice.facts == {"code": "rejected", "stands": "no"}
    assert notice.sealed == {"reason": reason}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "approval-digest"])
def test_the_inbox_has_everything_and_mail_what_is_not_switched_off(kind: Any) -> None:
    assert channels(kind, frozenset()) == ("in-app", "email")
    assert channels(kind, frozenset({kind})) == ("in-app",)
    assert channels(kind, frozenset({"another"})) == ("in-app", "email")


def test_the_digest_is_mail_alone() -> None:
    assert channels("approval-digest", frozenset()) == ("email",)
    assert channels("approval-digest", frozenset({"approval-digest"})) == ()


def test_a_case_is_reminded_of_once_for_each_period_that_it_has_waited() -> None:
    day = timedelta(days=1)

    def causes(later: timedelta) -> list[str]:
        return [one.cause for one in reminders([WAITING], MONDAY + later, 2 * day)]

    assert causes(2 * day - timedelta(seconds=1)) == []
    assert causes(2 * day) == causes(3 * day) == ["reminder.r.1.1"]
    assert causes(9 * day) == ["reminder.r.1.4"], "of the latest alone"


def test_a_digest_is_one_a_day_for_each_approver_from_its_hour_on() -> None:
    waiting = [WAITING, replace(WAITING, request_id="q", since=MONDAY - timedelta(days=3))]
    waiting.append(replace(WAITING, approver="clara"))
    assert digests(waiting, MONDAY.replace(hour=6), hour=7) == []
    ben, clara = digests(waiting, MONDAY, hour=7)
    assert ben == Notice("ben", "digest.2026-03-02", "approval-digest", facts={"count": "2", "oldest": "2026-02-27"})
    assert (clara.person, clara.facts["count"]) == ("clara", "1")
    assert {one.cause for one in digests(waiting, MONDAY + timedelta(days=1), hour=7)} == {"digest.2026-03-03"}


def test_pauses_between_attempts_double_up_to_an_hour() -> None:
    first = timedelta(seconds=15)
    assert [pause_after(attempts, first).total_seconds() for attempts in (1, 2, 3, 8, 9, 1000)] == [
        15, 30, 60, 1920, 3600, 3600,
    ]  # fmt: skip
