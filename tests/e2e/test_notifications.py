"""Who is told what in the life of a request: inboxes through the gateway, and mails in the sink."""

from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from tests.e2e.company import Company, Employee
from tests.waiting import eventually

from lms.cli.system import System

MONDAY = date(2026, 3, 23)


@pytest.fixture(scope="module")
def annual(company: Company) -> str:
    slug = company.leave_type()
    company.policy(slug, 20, f"{MONDAY.year - 1}-01-01")
    return slug


@pytest.fixture
def manager(company: Company) -> Employee:
    return company.hire(roles=("employee", "manager"))


@pytest.fixture
def anna(company: Company, manager: Employee, annual: str) -> Employee:
    person = company.hire(manager=manager)
    company.becomes(person, annual, "20.00")
    return person


def inbox(company: Company, who: Employee) -> Any:
    return company.do("GET", "/notifications", who)


def kinds(company: Company, who: Employee) -> list[str]:
    return [one["kind"] for one in inbox(company, who)["items"]]


def mails(system: System, company: Company, who: Employee) -> list[Any]:
    """The mails that somebody got, the newest first."""
    address = company.do("GET", f"/employees/{who.id}")["email"]
    found = httpx.get(f"{system.mail.url}/mails", params={"to": address})
    return list(found.raise_for_status().json()["items"])


def subjects(system: System, company: Company, who: Employee) -> list[str]:
    return [one["subject"] for one in mails(system, company, who)]


def test_the_life_of_a_request_is_told_to_the_approver_and_to_the_employee(
    system: System, company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    company.take(anna, manager, annual, MONDAY.isoformat(), (MONDAY + timedelta(days=1)).isoformat())
    eventually(lambda: kinds(company, manager) == ["approval-asked"], "the manager was not told")
    eventually(lambda: kinds(company, anna) == ["leave-confirmed"], "the employee was not told")
    (entry,) = inbox(company, manager)["items"]
    assert entry["title"] == "Test Person asks for leave"
    assert f"from {MONDAY}" in entry["text"]
    eventually(lambda: subjects(system, company, manager) == ["Test Person asks for leave"], "no mail to the manager")
    eventually(lambda: subjects(system, company, anna) == ["Your leave is confirmed"], "no mail to the employee")
    assert inbox(company, anna)["unread"] == 1
    company.do("POST", f"/notifications/{inbox(company, anna)['items'][0]['id']}/read", anna)
    assert inbox(company, anna)["unread"] == 0


def test_a_rejection_is_told_with_its_reason_and_what_lacks_balance_with_that(
    system: System, company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    asked = company.ask(anna, annual, MONDAY.isoformat(), MONDAY.isoformat())
    assert company.decide(manager, asked, "reject", reason="Quarter end").is_success
    eventually(lambda: kinds(company, anna) == ["leave-refused"], "the employee was not told")
    company.ask(anna, annual, MONDAY.isoformat(), (MONDAY + timedelta(days=60)).isoformat())
    eventually(lambda: kinds(company, anna) == ["leave-refused"] * 2, "the employee was not told of the balance")
    newest, first = inbox(company, anna)["items"]
    assert "The reason given: Quarter end" in first["text"]
    assert "Your balance is not sufficient" in newest["text"]
    eventually(lambda: len(mails(system, company, anna)) == 2, "the mails did not come")
    assert any("The reason given: Quarter end" in one["text"] for one in mails(system, company, anna))


def test_a_withdrawn_request_is_told_to_both_and_mail_can_be_switched_off(
    system: System, company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    off = {"channels": {"leave-cancelled": {"email": False}}}
    company.do("PUT", "/notifications/preferences", anna, off)
    asked = company.ask(anna, annual, MONDAY.isoformat(), MONDAY.isoformat())
    company.do("POST", f"/leave-requests/{asked['id']}/cancel", anna, {})
    eventually(lambda: kinds(company, anna) == ["leave-cancelled"], "the employee was not told")
    eventually(lambda: kinds(company, manager) == ["case-withdrawn", "approval-asked"], "the manager was not told")
    eventually(
        lambda: subjects(system, company, manager)[:1] == ["Test Person has withdrawn a request"], "no mail to them"
    )
    assert subjects(system, company, anna) == []


def test_the_mails_can_be_read_at_the_url_that_the_status_shows(system: System, company: Company) -> None:
    assert company
    status = system.status()
    assert status["mail"] == status["services"]["mail"]["url"] == system.mail.url
    assert status["services"]["notifications-streams"]["state"] == "running"
    assert "Mails of LMS" in httpx.get(status["mail"]).text
