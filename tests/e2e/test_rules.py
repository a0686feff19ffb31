"""The rules that real systems got wrong, with their exact figures, through the public API while the years pass.

The tests run in the order of their dates: the business clock is one for all.
"""

import subprocess
import sys

import pytest
from tests.e2e.company import DAY, FIVE_DAYS, FULL, MORNING_ONLY, OFF, Company, Employee
from tests.waiting import eventually

from lms.cli.system import System
from lms.requests.decider.payroll import next_month


@pytest.fixture(scope="module")
def manager(company: Company) -> Employee:
    return company.hire(roles=("employee", "manager"))


def left(company: Company, who: Employee, leave_type: str, on: str, days: str) -> None:
    """Assert a balance on a date."""
    company.becomes(who, leave_type, days, as_of=on)


def test_rule_1_leave_over_new_year_is_charged_to_each_year(company: Company, manager: Employee) -> None:
    company.set_clock("2017-06-01")
    slug = company.leave_type()
    company.policy(slug, 20, "2017-01-01")
    anna = company.hire(manager=manager)
    company.becomes(anna, slug, "20.00")
    body = {"leave_type": slug, "start_date": "2017-12-25", "end_date": "2018-01-03"}
    preview = company.do("POST", "/leave-requests/preview", anna, body)
    charged = {int(one["year"]): one["amount"]["days"] for one in preview["entitlement_years"]}
    assert charged == {2017: "5.00", 2018: "3.00"}


def test_rules_3_4_and_13_carried_over_days_expire_unless_used_first(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    company.policy(slug, 20, "2017-01-01", carry_over_limit_minutes=10 * DAY, carry_over_expires="03-31")
    used = {"0": (), "8": ("2018-01-08", "2018-01-17"), "10": ("2018-01-08", "2018-01-19")}
    people = {name: company.hire(manager=manager) for name in (*used, "12")}
    for person in people.values():
        company.becomes(person, slug, "20.00")
        company.take(person, manager, slug, "2017-06-12", "2017-06-23")
    for name, days in {**used, "12": ("2018-01-08", "2018-01-23")}.items():
        if days:
            company.take(people[name], manager, slug, *days)
    for name, remaining in {"0": "20.00", "8": "20.00", "10": "20.00", "12": "18.00"}.items():
        left(company, people[name], slug, "2018-04-02", remaining)
    left(company, people["0"], slug, "2018-03-30", "30.00")


def test_rule_5_half_days_carry_over_as_they_are(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    company.policy(slug, 1.5, "2017-01-01", carry_over_limit_minutes=5 * DAY)
    anna = company.hire(manager=manager)
    company.becomes(anna, slug, "1.50")
    left(company, anna, slug, "2018-01-02", "3.00")


def test_rule_6_the_cap_and_the_carry_over_limit(company: Company, manager: Employee) -> None:
    capped, plain = company.leave_type(), company.leave_type()
    company.policy(capped, 21, "2017-01-01", cap_minutes=28 * DAY, carry_over_limit_minutes=7 * DAY)
    company.policy(plain, 20, "2017-01-01")
    anna = company.hire(manager=manager)
    company.becomes(anna, capped, "21.00")
    company.take(anna, manager, capped, "2017-07-03", "2017-07-21")
    company.take(anna, manager, plain, "2017-08-07", "2017-08-18")
    left(company, anna, capped, "2018-01-02", "27.00")
    left(company, anna, plain, "2018-01-02", "20.00")


def test_rule_7_a_half_working_day_costs_half_a_day(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    location, _ = company.location(("2018-12-31", "afternoon"))
    company.policy(slug, 20, "2017-01-01", location=location)
    full, parts = company.hire(manager=manager, location=location), company.hire(manager=manager, location=location)
    for person in (full, parts):
        company.becomes(person, slug, "20.00")
    assert company.ask(full, slug, "2018-12-31", "2018-12-31")["amount"]["days"] == "0.50"
    morning = {"start_part": "morning", "end_part": "morning"}
    assert company.ask(parts, slug, "2018-12-31", "2018-12-31", **morning)["amount"]["days"] == "0.50"
    afternoon = {"start_part": "afternoon", "end_part": "afternoon"}
    refused = company.try_to_ask(parts, slug, "2018-12-31", "2018-12-31", **afternoon)
    assert (refused.status_code, refused.json()["code"]) == (422, "nothing-to-charge")


def test_rule_8_a_schedule_that_drops_a_day_midway_costs_a_day_less(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    company.policy(slug, 20, "2017-01-01")
    anna = company.hire(manager=manager)
    company.becomes(anna, slug, "20.00")
    four_days = company.schedule([FULL] * 4 + [OFF] * 3)
    company.do("PATCH", f"/employees/{anna.id}", body={"schedule_id": four_days, "effective_from": "2017-09-11"})
    body = {"leave_type": slug, "start_date": "2017-09-04", "end_date": "2017-09-17"}
    eventually(
        lambda: company.do("POST", "/leave-requests/preview", anna, body)["amount"]["days"] == "9.00",
        "the two weeks do not cost 9 days",
    )


def test_rule_9_overlaps_are_refused_and_two_halves_make_a_day(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    company.policy(slug, 20, "2017-01-01")
    anna = company.hire(manager=manager)
    company.becomes(anna, slug, "20.00")
    company.take(anna, manager, slug, "2018-02-08", "2018-02-12")
    assert company.try_to_ask(anna, slug, "2018-02-09", "2018-02-11").status_code == 409
    morning = {"start_part": "morning", "end_part": "morning"}
    afternoon = {"start_part": "afternoon", "end_part": "afternoon"}
    assert company.try_to_ask(anna, slug, "2018-02-08", "2018-02-08", **morning).status_code == 409
    halves = [company.ask(anna, slug, "2018-03-01", "2018-03-01", **part) for part in (morning, afternoon)]
    assert [one["amount"]["days"] for one in halves] == ["0.50", "0.50"]


def test_rule_14_pending_leave_counts_as_used(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    company.policy(slug, 2, "2017-01-01")
    anna = company.hire(manager=manager)
    company.becomes(anna, slug, "2.00")
    assert company.ask(anna, slug, "2017-10-02", "2017-10-03")["status"] == "pending"
    more = company.ask(anna, slug, "2017-10-09", "2017-10-10")
    assert (more["status"], more["code"]) == ("rejected", "balance-insufficient")


def test_rule_15_leave_is_cancelled_even_when_nothing_is_left(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    company.policy(slug, 5, "2017-01-01")
    anna = company.hire(manager=manager)
    company.becomes(anna, slug, "5.00")
    taken = company.take(anna, manager, slug, "2017-10-02", "2017-10-06")
    left(company, anna, slug, "2017-10-08", "0.00")
    company.do("POST", f"/leave-requests/{taken['id']}/cancel", anna, {})
    company.until_status(taken["id"], "cancelled")
    left(company, anna, slug, "2017-10-08", "5.00")


def test_rule_18_the_negative_limit_is_a_limit(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    company.policy(slug, 0, "2017-01-01", negative_limit_minutes=5 * DAY)
    anna = company.hire(manager=manager)
    company.becomes(anna, slug, "0.00")
    assert company.ask(anna, slug, "2017-10-02", "2017-10-04")["status"] == "pending"
    assert company.ask(anna, slug, "2017-10-09", "2017-10-10")["status"] == "pending"
    more = company.ask(anna, slug, "2017-10-16", "2017-10-16")
    assert (more["status"], more["code"]) == ("rejected", "balance-insufficient")


def test_rule_2_leave_over_new_year_decided_late_counts_in_each_year(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    location, _ = company.location(("2018-01-01", "full"))
    company.policy(slug, 7, "2017-01-01", location=location, carry_over_limit_minutes=None)
    anna = company.hire(manager=manager, location=location)
    company.becomes(anna, slug, "7.00")
    company.set_clock("2017-12-20")
    nothing = {
        "leave_type": slug, "locations": [location], "effective_from": "2018-01-01", "entitlement_minutes": 0,
        "accrual": "up-front",
    }  # fmt: skip
    company.do("PUT", f"/policies/{slug}", body=nothing)
    asked = company.ask(anna, slug, "2017-12-27", "2018-01-02")
    company.set_clock("2018-01-03")
    assert company.decide(manager, asked).is_success
    company.until_status(asked["id"], "approved")
    left(company, anna, slug, "2018-01-01", "4.00")
    left(company, anna, slug, "2018-01-02", "3.00")


def test_rules_11_and_12_accruals_missed_and_run_twice_are_one_grant(company: Company) -> None:
    slug = company.leave_type()
    company.policy(slug, 12, "2018-01-01", accrual="monthly", accrual_at="start", pro_rata="months")
    anna = company.hire(since="2018-01-01")
    company.becomes(anna, slug, "1.00")
    company.set_clock("2018-02-03")
    company.do("POST", "/accruals/run", body={}, Prefer="wait=10")
    company.do("POST", "/accruals/run", body={}, Prefer="wait=10")
    company.becomes(anna, slug, "2.00")
    entries = company.do("GET", f"/balances/{slug}/entries?employee_id={anna.id}")["items"]
    assert sorted(one["date"] for one in entries) == ["2018-01-01", "2018-02-01"]


def close_months_through(company: Company, payroll: Employee, last: str) -> None:
    """Close every month up to the last, in turn; those that are closed already stay so."""
    months = company.every("/payroll/periods", payroll)
    closed = max((one["period"] for one in months if one["state"] == "closed"), default="")
    due = next_month(closed) if closed else min(one["period"] for one in months)
    while due <= last:
        assert company.do("POST", f"/payroll/periods/{due}/close", payroll)["state"] == "closed"
        due = next_month(due)


def booked(company: Company, payroll: Employee, who: Employee) -> list[tuple[str, str, int, str | None]]:
    """Return what payroll was told of somebody: kind, date, entitlement minutes, and the month that was closed."""
    told = [
        line
        for month in company.every("/payroll/periods", payroll)
        for line in company.every(f"/payroll/absences?period={month['period']}&employee_id={who.id}", payroll)
    ]
    told.sort(key=lambda line: (line["sequence"], line["line"]))
    return [(one["kind"], one["date"], one["entitlement_minutes"], one["original_period"]) for one in told]


def test_rule_20_a_holiday_added_later_inside_approved_leave_credits_its_day(
    company: Company, manager: Employee
) -> None:
    company.set_clock("2018-02-05")
    slug = company.leave_type()
    location, calendar = company.location()
    company.policy(slug, 20, "2018-01-01", location=location)
    anna = company.hire(manager=manager, location=location)
    pat = company.hire(roles=("employee", "payroll"))
    company.becomes(anna, slug, "20.00")
    taken = company.take(anna, manager, slug, "2018-01-15", "2018-01-19")
    pending = company.ask(anna, slug, "2018-02-26", "2018-03-02")
    left(company, anna, slug, "2018-03-02", "10.00")
    close_months_through(company, pat, "2018-01")
    days = [{"date": day, "name": "Proclaimed later", "part": "full"} for day in ("2018-01-17", "2018-03-01")]
    company.do("POST", f"/holiday-calendars/{calendar}/holidays", body={"holidays": days})

    left(company, anna, slug, "2018-01-31", "16.00")
    left(company, anna, slug, "2018-03-02", "12.00")
    assert company.request(taken["id"])["amount"]["days"] == "4.00"
    assert company.request(pending["id"])["amount"]["days"] == "4.00"
    eventually(
        lambda: company.case(manager, pending["id"])["amount"]["days"] == "4.00", "the approver does not see 4 days"
    )
    told = booked(company, pat, anna)
    assert told[-1] == ("corrected", "2018-01-17", -DAY, "2018-01")
    assert sum(minutes for _, _, minutes, _ in told) == 4 * DAY
    entries = company.every(f"/balances/{slug}/entries?employee_id={anna.id}")
    (credit,) = [one for one in entries if one["kind"] == "credit"]
    assert (credit["date"], credit["amount"]["minutes"], credit["lot_id"]) == ("2018-01-17", DAY, f"{slug}.2018")
    assert credit["correction"]
    assert f"calendar-{calendar}" in {one["stream"] for one in credit["rests_on"]}
    steps = company.do("GET", f"/leave-requests/{taken['id']}/timeline", anna)["items"]
    assert (steps[-1]["what"], steps[-1]["code"]) == ("recharged", "holidays")
    eventually(
        lambda: "leave-recharged" in {one["kind"] for one in company.every("/notifications", anna)},
        "nobody tells Anna",
    )


def test_a_schedule_or_a_holiday_that_makes_leave_cost_more_is_debited_and_refuses_what_is_pending(
    company: Company, manager: Employee
) -> None:
    company.set_clock("2018-02-05")
    slug = company.leave_type()
    location, calendar = company.location(("2018-02-14", "full"))
    company.policy(slug, 4, "2018-01-01", location=location)
    four_days = company.schedule([FULL] * 4 + [OFF] * 3)
    approved = company.hire(manager=manager, location=location, schedule=four_days)
    asked = company.hire(manager=manager, location=location)
    for person in (approved, asked):
        company.becomes(person, slug, "4.00")
    taken = company.take(approved, manager, slug, "2018-02-19", "2018-02-23")
    pending = company.ask(asked, slug, "2018-02-12", "2018-02-16")
    full_time = {"schedule_id": company.schedule(FIVE_DAYS), "effective_from": "2018-02-19"}
    company.do("PATCH", f"/employees/{approved.id}", body=full_time)
    company.do("DELETE", f"/holiday-calendars/{calendar}/holidays/2018-02-14")

    left(company, approved, slug, "2018-02-28", "-1.00")
    assert company.request(taken["id"])["amount"]["days"] == "5.00"
    refused = company.until_status(pending["id"], "rejected")
    assert refused["code"] == "balance-insufficient"
    left(company, asked, slug, "2018-02-28", "4.00")


def test_rule_10_a_clock_change_costs_nothing_extra(company: Company, manager: Employee) -> None:
    company.set_clock("2026-10-01")
    slug = company.leave_type()
    company.policy(slug, 20, "2026-01-01")
    anna = company.hire(manager=manager)
    company.becomes(anna, slug, "20.00")
    assert company.ask(anna, slug, "2026-10-24", "2026-10-26")["amount"]["days"] == "1.00"


def test_a_schedule_of_mornings_costs_half_days(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    company.policy(slug, 20, "2026-01-01")
    mornings = company.schedule([MORNING_ONLY] * 5 + [OFF] * 2, FIVE_DAYS)
    anna = company.hire(manager=manager, schedule=mornings)
    company.becomes(anna, slug, "20.00")
    asked = company.ask(anna, slug, "2026-10-05", "2026-10-18")
    assert asked["amount"]["days"] == "7.50"


def test_after_all_of_it_every_view_balance_and_line_of_payroll_is_what_the_facts_say(system: System) -> None:
    command = [sys.executable, "-m", "lms.cli.main", "verify", "--home", str(system.home.folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "drift 0" in told.stdout
