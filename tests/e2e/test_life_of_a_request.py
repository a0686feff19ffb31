"""The life of a request, through the gateway, with two copies of every service running."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from tests.e2e.company import Company, Employee
from tests.waiting import eventually

MONDAY = date(2026, 3, 23)
YEAR = MONDAY.year


def day(number: int) -> str:
    """Return a day counted from the Monday of these tests."""
    return (MONDAY + timedelta(days=number)).isoformat()


@pytest.fixture(scope="module")
def annual(company: Company) -> str:
    """A leave type of 20 days a year."""
    slug = company.leave_type()
    company.policy(slug, 20, f"{YEAR - 1}-01-01")
    return slug


@pytest.fixture
def manager(company: Company) -> Employee:
    return company.hire(roles=("employee", "manager"))


@pytest.fixture
def anna(company: Company, manager: Employee, annual: str) -> Employee:
    person = company.hire(manager=manager)
    company.becomes(person, annual, "20.00")
    return person


def test_leave_is_requested_reserved_approved_and_debited(
    company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    asked = company.ask(anna, annual, day(0), day(4), reason="The sea")
    assert (asked["status"], asked["amount"]["days"]) == ("pending", "5.00")
    assert company.days_left(anna, annual, figure="pending") == "5.00"
    assert company.days_left(anna, annual, figure="available") == "15.00"
    answer = company.decide(manager, asked, comment="Enjoy")
    assert answer.is_success, answer.text
    company.until_status(asked["id"], "approved")
    eventually(lambda: company.days_left(anna, annual, figure="pending") == "0.00", "the reservation stays")
    company.becomes(anna, annual, "15.00", as_of=day(4))


def test_rejected_leave_gives_its_reservation_back(
    company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    asked = company.ask(anna, annual, day(0), day(4))
    company.decide(manager, asked, "reject", reason="Quarter end")
    assert company.until_status(asked["id"], "rejected")["code"] == "rejected"
    eventually(lambda: company.days_left(anna, annual, figure="available") == "20.00", "nothing was released")


def test_more_than_there_is_is_rejected_by_itself(company: Company, anna: Employee, annual: str) -> None:
    asked = company.ask(anna, annual, day(0), day(32))
    assert (asked["status"], asked["code"]) == ("rejected", "balance-insufficient")
    assert company.days_left(anna, annual, figure="available") == "20.00"


def test_leave_is_cancelled_before_and_after_its_approval(
    company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    pending = company.ask(anna, annual, day(0), day(1))
    company.do("POST", f"/leave-requests/{pending['id']}/cancel", anna, {"reason": "Changed my mind"})
    company.until_status(pending["id"], "cancelled")
    approved = company.take(anna, manager, annual, day(0), day(1))
    company.do("POST", f"/leave-requests/{approved['id']}/cancel", anna, {})
    company.until_status(approved["id"], "cancelled")
    eventually(lambda: company.days_left(anna, annual, figure="available") == "20.00", "the days did not come back")
    eventually(lambda: company.case(manager, pending["id"]) is None, "the case of cancelled leave stays open")


def test_an_amendment_reserves_only_what_it_adds_and_the_old_leave_stands_until_it_is_decided(
    company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    taken = company.take(anna, manager, annual, day(0), day(4))
    amended = company.do("POST", f"/leave-requests/{taken['id']}/amend", anna, {"end_date": day(7)}, Prefer="wait=10")
    assert (amended["status"], amended["revision"]) == ("approved", 2)
    eventually(lambda: company.days_left(anna, annual, figure="available") == "14.00", "not reserved net")
    stale = company.decide(manager, amended, revision=1)
    assert stale.status_code == 412, stale.text
    assert company.decide(manager, amended).is_success
    eventually(lambda: company.request(taken["id"])["amount"]["days"] == "6.00", "the amendment is not confirmed")
    company.becomes(anna, annual, "14.00", as_of=day(10))


def test_a_rejected_amendment_leaves_the_old_leave_standing(
    company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    taken = company.take(anna, manager, annual, day(0), day(4))
    amended = company.do("POST", f"/leave-requests/{taken['id']}/amend", anna, {"end_date": day(7)}, Prefer="wait=10")
    assert company.decide(manager, amended, "reject").is_success
    found = eventually(
        lambda: (now := company.request(taken["id"])) and now["open"] is None and now, "the amendment stays open"
    )
    assert (found["status"], found["amount"]["days"]) == ("approved", "5.00")
    company.becomes(anna, annual, "15.00", as_of=day(10))


def test_a_stand_in_decides_and_nobody_decides_for_themselves(
    company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    stand_in = company.hire()
    company.do(
        "POST",
        "/delegations",
        manager,
        {"delegate_id": stand_in.id, "first_day": "2020-01-01", "last_day": "2099-12-31"},
    )
    asked = company.ask(anna, annual, day(0), day(0))
    decided = company.decide(stand_in, asked)
    assert decided.is_success, decided.text
    company.until_status(asked["id"], "approved")
    own = company.ask(anna, annual, day(7), day(7))
    eventually(lambda: company.case(manager, own["id"]), "no case")
    refused = company.call("POST", f"/approvals/{own['id']}/approve", anna, {"revision": 1})
    assert refused.status_code in {403, 404, 409, 422}, refused.text
    assert company.request(own["id"])["status"] == "pending"


def test_without_a_manager_anybody_in_hr_decides(company: Company, annual: str) -> None:
    top, hr = company.hire(), company.hire(roles=("employee", "hr"))
    company.becomes(top, annual, "20.00")
    asked = company.ask(top, annual, day(0), day(0))
    assert company.decide(hr, asked).is_success
    company.until_status(asked["id"], "approved")


def test_a_change_of_manager_takes_the_open_case_along(
    company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    asked = company.ask(anna, annual, day(0), day(0))
    eventually(lambda: company.case(manager, asked["id"]), "no case")
    other = company.hire(roles=("employee", "manager"))
    company.do("PATCH", f"/employees/{anna.id}", body={"manager_id": other.id, "effective_from": "2020-01-01"})
    assert company.decide(other, asked).is_success
    company.until_status(asked["id"], "approved")


def test_leave_without_approval_is_approved_at_once(company: Company) -> None:
    sick = company.leave_type(needs_approval=False, limited=False)
    bert = company.hire()
    asked = company.ask(bert, sick, day(0), day(1))
    assert (asked["status"], asked["amount"]["days"]) == ("approved", "2.00")


def test_of_two_requests_for_the_last_days_exactly_one_stands(company: Company, manager: Employee) -> None:
    slug = company.leave_type()
    company.policy(slug, 5, f"{YEAR - 1}-01-01")
    people = [company.hire(manager=manager) for _ in range(10)]
    for person in people:
        company.becomes(person, slug, "5.00")
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(company.ask, person, slug, day(start), day(start + 4)) for person in people for start in (0, 7)
        ]
        statuses = [one.result()["status"] for one in asked]
    pairs = list(zip(statuses[::2], statuses[1::2], strict=True))
    assert all(sorted(pair) == ["pending", "rejected"] for pair in pairs), pairs


def test_of_two_overlapping_requests_exactly_one_stands(company: Company, manager: Employee, annual: str) -> None:
    people = [company.hire(manager=manager) for _ in range(10)]
    for person in people:
        company.becomes(person, annual, "20.00")
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(company.try_to_ask, person, annual, day(start), day(start + 2))
            for person in people
            for start in (0, 2)
        ]
        codes = [one.result().status_code for one in asked]
    pairs = list(zip(codes[::2], codes[1::2], strict=True))
    assert all(sorted(pair) == [201, 409] for pair in pairs), pairs


def test_a_repeated_key_gives_the_same_answer_and_another_body_is_refused(
    company: Company, anna: Employee, annual: str
) -> None:
    key = {"Idempotency-Key": f"once-{anna.id}"}
    body = {"leave_type": annual, "start_date": day(0), "end_date": day(0)}
    company.becomes(anna, annual, "20.00")
    eventually(lambda: company.call("POST", "/leave-requests/preview", anna, body).is_success, "facts are missing")
    first = company.call("POST", "/leave-requests", anna, body, **key)
    again = company.call("POST", "/leave-requests", anna, body, **key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    other = company.call("POST", "/leave-requests", anna, {**body, "end_date": day(1)}, **key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


def test_a_read_with_the_token_of_a_command_sees_what_the_command_led_to(
    company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    asked = company.ask(anna, annual, day(0), day(1))
    decided = company.decide(manager, asked)
    token = decided.headers["Consistency-Token"]
    found = company.do("GET", f"/leave-requests/{asked['id']}", anna, **{"Consistency-Token": token})
    assert found["status"] == "approved"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"leave_type": "annual"}, 400, "malformed"),
        ({"leave_type": "no-such-type", "start_date": day(0), "end_date": day(0)}, 422, "unknown-leave-type"),
        ({"start_date": day(1), "end_date": day(0)}, 422, None),
        ({"start_date": "31 May", "end_date": day(0)}, 400, "malformed"),
        ({"start_date": day(5), "end_date": day(6)}, 422, "nothing-to-charge"),
        ({"start_date": day(0), "end_date": day(0), "surprise": 1}, 400, "malformed"),
    ],
)
def test_bad_input_is_told_as_a_problem_and_changes_nothing(
    company: Company, anna: Employee, annual: str, body: dict[str, object], status: int, code: str | None
) -> None:
    ready = {"leave_type": annual, "start_date": day(0), "end_date": day(0)}
    eventually(lambda: company.call("POST", "/leave-requests/preview", anna, ready).is_success, "facts are missing")
    answer = company.call("POST", "/leave-requests", anna, {"leave_type": annual, **body})
    problem = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    assert {"type", "title", "status", "detail", "code", "request_id"} <= problem.keys()
    assert code is None or problem["code"] == code
    assert company.do("GET", f"/leave-requests?employee_id={anna.id}")["items"] == []


def test_what_somebody_may_not_see_does_not_exist(
    company: Company, anna: Employee, manager: Employee, annual: str
) -> None:
    asked = company.ask(anna, annual, day(0), day(0), reason="Private")
    stranger = company.hire()
    assert company.call("GET", f"/leave-requests/{asked['id']}", stranger).status_code == 404
    assert company.call("GET", f"/balances?employee_id={anna.id}", stranger).status_code == 404
    assert company.call("POST", f"/approvals/{asked['id']}/approve", stranger, {"revision": 1}).status_code == 404
    assert company.call("GET", f"/leave-requests/{asked['id']}", manager).is_success
    assert company.client.get(f"/api/v1/leave-requests/{asked['id']}").status_code == 401
