"""The smoke test of a running system, embedded or in containers: one request lives its whole life."""

from datetime import UTC, datetime, timedelta

from tests.e2e.company import Company
from tests.waiting import eventually


def live_through(company: Company) -> None:
    """Employ two people, let one ask and the other decide, and see the balance and the story follow.

    The dates lie eight weeks ahead of the real day, so that the business clock may stand anywhere near it.
    """
    monday = datetime.now(UTC).date() + timedelta(weeks=8)
    monday -= timedelta(days=monday.weekday())
    friday = monday + timedelta(days=4)
    manager = company.hire(roles=("employee", "manager"))
    anna = company.hire(manager=manager)
    annual = company.leave_type()
    company.policy(annual, 20, f"{monday.year - 1}-01-01")
    company.becomes(anna, annual, "20.00", as_of=friday.isoformat())
    asked = company.ask(anna, annual, monday.isoformat(), friday.isoformat(), reason="The sea")
    assert (asked["status"], asked["amount"]["days"]) == ("pending", "5.00"), asked
    assert company.decide(manager, asked).is_success
    company.until_status(asked["id"], "approved")
    eventually(
        lambda: company.days_left(anna, annual, as_of=friday.isoformat()) == "15.00", "the balance is not debited"
    )
    story = [one["what"] for one in company.do("GET", f"/leave-requests/{asked['id']}/timeline")["items"]]
    assert story[0] == "requested", story
    assert story[-1] == "confirmed", story
