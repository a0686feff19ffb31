"""Leave types and policies: what may be defined, changed and published."""

from datetime import date
from typing import Any

import pytest

from lms.balances.decider import LEAVE_TYPE, POLICY
from lms.balances.decider.catalogue import (
    ChangeLeaveType,
    DefineLeaveType,
    LeaveTypeExists,
    LeaveTypeFixed,
    LeaveTypeUnknown,
    PolicyExists,
    PolicyRefused,
    PolicyUnknown,
    PublishPolicy,
)
from lms.balances.decider.rulebook import Employment, Location, Rulebook
from lms.balances.events import LeaveTypeChanged, LeaveTypeDefined, LeaveTypeTerms, PolicyPublished, PolicyTerms
from lms.kernel.testing import given

TODAY = date(2026, 3, 2)
TERMS = LeaveTypeTerms(
    name="Annual", unit="day", paid=True, pay_code="A", colour="#2e7d32", needs_approval=True, limited=True
)
DEFINED = LeaveTypeDefined(leave_type="annual", **TERMS.model_dump())
POLICY_TERMS = PolicyTerms(
    leave_type="annual", effective_from=date(2026, 1, 1), entitlement_minutes=12000, accrual="up-front"
)
PUBLISHED = PolicyPublished(policy_id="annual", version=1, **POLICY_TERMS.model_dump())


def publish(*, first: bool = True, covered: bool = False, leave_type: Any = TERMS, **terms: Any) -> PublishPolicy:
    return PublishPolicy(
        policy_id="annual", first=first, terms=POLICY_TERMS.model_copy(update=terms), today=TODAY,
        leave_type=leave_type, covered=covered,
    )  # fmt: skip


def test_a_leave_type_is_defined_once() -> None:
    assert given(LEAVE_TYPE).when(DefineLeaveType("annual", TERMS)) == [DEFINED]
    given(LEAVE_TYPE, DEFINED).refuses(DefineLeaveType("annual", TERMS), LeaveTypeExists)


def test_a_leave_type_changes_except_for_what_balances_rest_on() -> None:
    other = TERMS.model_copy(update={"name": "Holiday"})
    changed = LeaveTypeChanged(leave_type="annual", **other.model_dump())
    assert given(LEAVE_TYPE, DEFINED).when(ChangeLeaveType("annual", other)) == [changed]
    assert given(LEAVE_TYPE, DEFINED).when(ChangeLeaveType("annual", TERMS)) == []
    given(LEAVE_TYPE).refuses(ChangeLeaveType("annual", TERMS), LeaveTypeUnknown)
    unlimited = TERMS.model_copy(update={"limited": False, "unit": "hour"})
    refusal = given(LEAVE_TYPE, DEFINED).refuses(ChangeLeaveType("annual", unlimited), LeaveTypeFixed)
    assert [one.pointer for one in refusal.errors] == ["/unit", "/limited"]


def test_the_first_version_may_reach_back_where_no_policy_was_in_force() -> None:
    assert given(POLICY).when(publish()) == [PUBLISHED]
    given(POLICY).refuses(publish(covered=True), PolicyRefused)


def test_the_next_version_begins_after_the_last_and_not_in_the_past() -> None:
    later = date(2026, 7, 1)
    assert given(POLICY, PUBLISHED).when(publish(first=False, effective_from=later))[0].version == 2
    for past in (date(2026, 2, 1), date(2025, 1, 1)):
        refusal = given(POLICY, PUBLISHED).refuses(publish(first=False, effective_from=past), PolicyRefused)
        assert refusal.errors[0].pointer == "/effective_from"


def test_a_policy_is_published_once_and_versioned_afterwards() -> None:
    given(POLICY, PUBLISHED).refuses(publish(), PolicyExists)
    given(POLICY).refuses(publish(first=False), PolicyUnknown)


@pytest.mark.parametrize(
    ("terms", "pointer"),
    [
        ({"accrual_at": "end"}, "/accrual_at"),
        ({"locations": ()}, "/locations"),
        ({"carry_over_expires": "02-29"}, "/carry_over_expires"),
        ({"approval_steps": ()}, "/approval_steps"),
        ({"approval_steps": ("manager", "department-head")}, "/approval_steps/1"),
        ({"approval_steps": ("2 of board", "hr")}, "/approval_steps/0"),
        ({"leave_type": None}, "/leave_type"),
    ],
)
def test_terms_that_contradict_themselves_are_refused(terms: dict[str, Any], pointer: str) -> None:
    known = None if "leave_type" in terms else TERMS
    fields = {name: value for name, value in terms.items() if value is not None}
    refusal = given(POLICY).refuses(publish(leave_type=known, **fields), PolicyRefused)
    assert [one.pointer for one in refusal.errors] == [pointer]


def test_a_step_that_nobody_would_route_is_refused_and_told_which_are_known() -> None:
    assert given(POLICY).when(publish(approval_steps=("manager", "hr")))[0].approval_steps == ("manager", "hr")
    refusal = given(POLICY).refuses(publish(approval_steps=("escalation",)), PolicyRefused)
    assert refusal.errors[0].detail == "no such approval step; known are manager and hr"


def test_a_version_with_a_step_that_is_refused_today_is_read_and_followed_by_another() -> None:
    published = PUBLISHED.model_copy(update={"approval_steps": ("manager", "department-head")})
    old = PolicyPublished.model_validate_json(published.model_dump_json())
    july = date(2026, 7, 1)
    assert given(POLICY, old).when(publish(first=False, effective_from=july))[0].version == 2
    same = publish(first=False, effective_from=july, approval_steps=old.approval_steps)
    given(POLICY, old).refuses(same, PolicyRefused)


def test_the_next_version_may_begin_today() -> None:
    assert given(POLICY, PUBLISHED).when(publish(first=False, effective_from=TODAY))[0].effective_from == TODAY


def test_an_unlimited_type_has_no_entitlement() -> None:
    unlimited = TERMS.model_copy(update={"limited": False})
    given(POLICY).refuses(publish(leave_type=unlimited), PolicyRefused)
    assert given(POLICY).when(publish(leave_type=unlimited, entitlement_minutes=0))


def test_a_policy_is_about_one_leave_type() -> None:
    other = publish(first=False, effective_from=date(2026, 7, 1), leave_type=TERMS)
    moved = PublishPolicy(
        policy_id="annual", first=False, terms=other.terms.model_copy(update={"leave_type": "extra"}), today=TODAY,
        leave_type=TERMS, covered=False,
    )  # fmt: skip
    given(POLICY, PUBLISHED).refuses(moved, PolicyRefused)


def test_terms_tell_the_next_policy_the_last_one_and_whether_they_ever_changed() -> None:
    paris = PUBLISHED.model_copy(update={"locations": ("paris",)})
    rulebook = Rulebook({"annual": TERMS}, (paris,))
    stays = Employment(date(2025, 1, 1)).moved(date(2025, 1, 1), "paris")
    here = rulebook.terms("annual", stays)
    assert here.next_from(date(2025, 5, 1)) == (date(2026, 1, 1), paris)
    assert here.next_from(date(2026, 5, 1)) == (date(2026, 5, 1), paris)
    assert (here.last_by(date(2025, 12, 31)), here.last_by(date(2026, 1, 1)), here.changed) == (None, paris, False)
    gone = rulebook.terms("annual", stays.moved(date(2026, 3, 1), "rome"))
    assert (gone.on(date(2026, 3, 1)), gone.last_by(date(2026, 3, 1)), gone.changed) == (None, paris, True)
    assert gone.next_from(date(2026, 3, 1)) is None
    assert not Rulebook({}).terms("annual", None).changed


def test_the_first_location_also_counts_for_the_time_before_it() -> None:
    employment = Employment(TODAY).moved(date(2026, 3, 2), "paris").moved(date(2026, 6, 1), "rome")
    assert employment.locations == (Location(date(2026, 3, 2), "paris"), Location(date(2026, 6, 1), "rome"))
    assert employment.location_on(date(2025, 1, 1)) == "paris"
    assert employment.location_on(date(2026, 5, 31)) == "paris"
    assert employment.location_on(date(2026, 6, 1)) == "rome"
    assert employment.moved(date(2026, 6, 1), "oslo").location_on(date(2026, 6, 1)) == "oslo"
