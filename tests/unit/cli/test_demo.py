"""A demo company follows from its seed, and what its people ask for makes sense."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lms.cli.demo.command import FIRST
from lms.cli.demo.company import OFFICES, SIGN_IN, Company, Spec, holidays_of, made, who_signs_in
from lms.cli.demo.history import Adjust, Amend, Ask, Cancel, Hours, StandIn, TakeOver, Turn, lived
from lms.cli.main import app

SPEC = Spec(employees=200, years=2, through=date(2026, 3, 31))


@pytest.fixture(scope="module")
def company() -> Company:
    return made(SPEC)


@pytest.fixture(scope="module")
def turns(company: Company) -> list[Turn]:
    return lived(company)


def test_the_same_seed_gives_the_same_company_and_the_same_commands(company: Company, turns: list[Turn]) -> None:
    assert made(SPEC) == company
    assert lived(made(SPEC)) == turns
    other = made(replace(SPEC, seed=2))
    assert other.people != company.people
    assert lived(other) != turns


def test_everybody_but_the_chief_has_a_manager_of_the_three_levels_above(company: Company) -> None:
    assert {person.leads for person in company.people} == {0, 1, 2, 3}
    for person in company.people[1:]:
        assert person.manager is not None
        assert company.people[person.manager].leads == person.leads + 1
    assert company.people[0].manager is None


def test_the_company_has_offices_in_six_countries_and_more_part_timers_joiners_and_leavers(company: Company) -> None:
    assert len({person.office.country for person in company.people}) >= 6
    assert len({person.works[0][1].name for person in company.people}) >= 5
    assert any(len(person.works) > 1 for person in company.people), "somebody changes their hours"
    first = SPEC.mondays[0]
    assert any(person.joins > first for person in company.people)
    assert any(person.leaves for person in company.people)
    roles = {role for person in company.people for role in person.roles}
    assert roles == {"employee", "manager", "hr", "payroll", "auditor", "admin"}
    assert len({person.email for person in company.people}) == 200


def test_the_offices_keep_the_holidays_of_their_countries() -> None:
    closed = {office.city: holidays_of(office.country, office.subdivision, 2025) for office in OFFICES}
    assert date(2025, 7, 14) in closed["Paris"]
    assert date(2025, 8, 25) in closed["London"]
    assert date(2025, 3, 8) in closed["Berlin"]
    assert date(2025, 11, 27) in closed["New York"]


def test_a_company_that_is_too_small_for_its_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        made(replace(SPEC, employees=5))


def test_the_history_moves_on_mondays_and_ends_where_it_should(turns: list[Turn]) -> None:
    days = [turn.day for turn in turns]
    assert all(day.weekday() == 0 for day in days)
    assert all(later - day == timedelta(days=14) for day, later in pairwise(days))
    assert days[0] >= date(2024, 3, 31)
    assert days[-1] <= SPEC.through < days[-1] + timedelta(days=14)


def test_each_person_asks_some_six_to_ten_times_a_year(turns: list[Turn]) -> None:
    asked = Counter(
        one.person for turn in turns for actions in turn.actions.values() for one in actions if isinstance(one, Ask)
    )
    assert 6 <= sum(asked.values()) / 200 / 2 <= 10


def test_leave_begins_and_ends_on_days_that_the_person_works_and_no_two_requests_meet(
    company: Company, turns: list[Turn]
) -> None:
    taken: dict[int, set[date]] = {}
    for turn in turns:
        for number, actions in turn.actions.items():
            for one in actions:
                if isinstance(one, Ask):
                    person = company.people[number]
                    assert any(person.scheduled_on(one.start)), one
                    assert any(person.scheduled_on(one.end)), one
                    days = {one.start + timedelta(days=behind) for behind in range((one.end - one.start).days + 1)}
                    assert not days & taken.setdefault(number, set()), one
                    taken[number] |= days


def test_people_act_only_while_they_are_employed_and_known(company: Company, turns: list[Turn]) -> None:
    joined: set[int] = set()
    for turn in turns:
        for number, actions in turn.actions.items():
            assert number in joined or turn.number == 0 or not actions, "nobody asks on the Monday of their import"
            assert not actions or company.people[number].employed_on(turn.day)
        joined |= set(turn.joiners)
    assert joined == set(range(200))


def test_nobody_changes_their_hours_from_a_day_behind_their_last_one() -> None:
    company = made(Spec(employees=1000, years=2, through=date(2026, 11, 29)))
    turns = lived(company)
    changes = [one for turn in turns for one in turn.changes if isinstance(one, Hours)]

    leavers = {person.number for person in company.people if person.leaves and len(person.works) > 1}
    assert leavers
    assert changes
    assert all(company.people[one.person].employed_on(one.since) for one in changes)


def test_whatever_can_happen_to_a_request_happens(turns: list[Turn]) -> None:
    kinds = Counter(type(one).__name__ for turn in turns for actions in turn.actions.values() for one in actions)
    assert all(kinds[kind.__name__] for kind in (Ask, Amend, Cancel, Adjust))
    cancelled = [
        one for turn in turns for actions in turn.actions.values() for one in actions if isinstance(one, Cancel)
    ]
    assert {bool(one.dates) for one in cancelled} == {True, False}, "whole requests and single days"
    asked = {
        one.key: one for turn in turns for actions in turn.actions.values() for one in actions if isinstance(one, Ask)
    }
    when = {id(one): turn.day for turn in turns for actions in turn.actions.values() for one in actions}
    assert any(when[id(one)] >= asked[one.key].start for one in cancelled), "also after it has begun"
    assert {one.approve for turn in turns for one in turn.verdicts} == {True, False}
    assert {one.leave_type for one in asked.values()} == {"annual", "sick", "unpaid", "comp-off"}
    assert any(one.start.year < one.end.year for one in asked.values()), "some is taken over the turn of the year"


def test_the_manager_of_the_day_decides_or_a_stand_in_and_nobody_on_their_own_leave(
    company: Company, turns: list[Turn]
) -> None:
    asked = {
        one.key: one for turn in turns for actions in turn.actions.values() for one in actions if isinstance(one, Ask)
    }
    away = [one for turn in turns for one in turn.changes if isinstance(one, StandIn)]
    for turn in turns:
        for verdict in turn.verdicts:
            person = asked[verdict.key].person
            manager = company.manager_on(person, turn.day)
            approver = company.people_partner if manager is None else manager
            stand_ins = {
                one.delegate for one in away if one.manager == approver and one.first_day <= turn.day <= one.last_day
            }
            assert verdict.approver == approver or verdict.approver in stand_ins
            assert verdict.approver != person
            assert company.people[verdict.approver].employed_on(turn.day)


def test_a_team_whose_lead_leaves_is_taken_over_by_one_of_its_members() -> None:
    company = made(replace(SPEC, employees=900))
    handed_over = [one for turn in lived(company) for one in turn.changes if isinstance(one, TakeOver)]
    assert handed_over
    for one in handed_over:
        assert company.people[one.lead].leaves is not None
        member = next(number for number in one.reports if number != one.successor)
        before = one.since - timedelta(days=1)
        assert [company.manager_on(member, day) for day in (before, one.since)] == [one.lead, one.successor]
        assert company.manager_on(one.successor, one.since) == company.people[one.lead].manager


@pytest.mark.parametrize("employees", [20, 60, 200, 1500])
def test_those_who_are_shown_are_employed_and_their_managers_are_shown_as_well(employees: int) -> None:
    company = made(replace(SPEC, employees=employees))
    shown = who_signs_in(company)
    numbers = {person.number for person in shown}
    assert len(shown) <= SIGN_IN
    assert all(person.employed_on(SPEC.through) for person in shown)
    managers = {company.manager_on(person.number, SPEC.through) for person in shown} - {None}
    assert managers <= numbers
    assert {role for person in shown for role in person.roles} == {
        "employee",
        "manager",
        "hr",
        "payroll",
        "auditor",
        "admin",
    }


@pytest.mark.parametrize("day", [date(2026, 1, 1) + timedelta(days=17 * number) for number in range(22)])
def test_the_last_who_is_shown_can_take_leave_soon_and_their_manager_is_there_to_approve_it(day: date) -> None:
    company = made(replace(FIRST, through=day))
    last = who_signs_in(company)[-1].number
    turns = lived(company)
    booked = [one for turn in turns for actions in turn.actions.values() for one in actions if isinstance(one, Ask)]
    away = {one.person for one in booked if one.end > day and one.start <= day + timedelta(weeks=6)}
    assert away, "others are away"
    assert not away & {last, company.manager_on(last, day)}


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--through=2999-01-01", "A history ends today"),
        ("--name=../elsewhere", "small letters"),
        ("--employees=5", "employees"),
        ("--years=0", "years"),
    ],
)
def test_a_company_that_cannot_be_is_refused_before_anything_is_sent(
    option: str, complaint: str, tmp_path: Path
) -> None:
    answer = CliRunner().invoke(app, ["demo", "load", f"--home={tmp_path}", option])
    assert answer.exit_code == 2
    assert complaint in answer.output
    assert not (tmp_path / "demo").exists()
