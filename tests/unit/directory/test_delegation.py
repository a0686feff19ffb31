"""The rules of one delegation."""

from dataclasses import replace
from datetime import date

import pytest

from lms.directory.decider.delegation import (
    DELEGATION,
    DelegationExists,
    DelegationInvalid,
    DelegationUnknown,
    GrantDelegation,
    RevokeDelegation,
)
from lms.directory.events import DelegationGranted, DelegationRevoked
from lms.kernel.testing import given

GRANT = GrantDelegation(
    delegation_id="summer",
    delegator_id="ben",
    delegate_id="anna",
    first_day=date(2026, 7, 1),
    last_day=date(2026, 7, 14),
    today=date(2026, 6, 1),
    delegate_employed_from=date(2025, 1, 1),
    delegate_last_day=None,
)
GRANTED = DelegationGranted(
    delegation_id="summer",
    delegator_id="ben",
    delegate_id="anna",
    first_day=date(2026, 7, 1),
    last_day=date(2026, 7, 14),
)
REVOKED = DelegationRevoked(delegation_id="summer", delegator_id="ben", delegate_id="anna")


def test_a_delegation_is_granted_once() -> None:
    assert given(DELEGATION).when(GRANT) == [GRANTED]
    given(DELEGATION, GRANTED).refuses(GRANT, DelegationExists)


def test_a_delegation_of_one_day_is_possible_on_that_day() -> None:
    one_day = replace(GRANT, last_day=GRANT.first_day, today=GRANT.first_day)
    assert len(given(DELEGATION).when(one_day)) == 1


@pytest.mark.parametrize(
    ("grant", "pointer"),
    [
        (replace(GRANT, delegate_id="ben"), "/delegate_id"),
        (replace(GRANT, last_day=date(2026, 6, 30)), "/last_day"),
        (replace(GRANT, today=date(2026, 7, 15)), "/last_day"),
        (replace(GRANT, delegate_employed_from=date(2026, 7, 2)), "/first_day"),
        (replace(GRANT, delegate_last_day=date(2026, 7, 13)), "/last_day"),
    ],
    ids=["to oneself", "ends before it begins", "is over", "before the delegate comes", "after they left"],
)
def test_an_impossible_delegation_is_refused(grant: GrantDelegation, pointer: str) -> None:
    refusal = given(DELEGATION).refuses(grant, DelegationInvalid)
    assert [error.pointer for error in refusal.errors] == [pointer]


def test_a_delegation_is_revoked_once() -> None:
    assert given(DELEGATION, GRANTED).when(RevokeDelegation()) == [REVOKED]
    assert given(DELEGATION, GRANTED, REVOKED).when(RevokeDelegation()) == []


def test_an_unknown_delegation_cannot_be_revoked() -> None:
    given(DELEGATION).refuses(RevokeDelegation(), DelegationUnknown)
