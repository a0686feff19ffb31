"""A person with a leave account, driven by commands alone: what the rules' tests are written with."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import pytest

from lms.balances.decider.account import (
    LEAVE_ACCOUNT,
    AccountCommand,
    Adjust,
    Cancel,
    Debit,
    NoteEmployment,
    Recharge,
    RecordDue,
    Release,
    Reserve,
)
from lms.balances.decider.rulebook import Employment, Location, Rulebook
from lms.balances.decider.standing import Standing, standing
from lms.balances.decider.state import Account
from lms.balances.events import (
    AccountEvent,
    BalanceGranted,
    BalanceReserved,
    ChargedDay,
    LeaveTypeTerms,
    PolicyPublished,
)

DAY = 480


def workdays(first: date, last: date, minutes: int = DAY, holidays: Iterable[date] = ()) -> tuple[ChargedDay, ...]:
    """Monday to Friday between two dates, without holidays."""
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return tuple(
        ChargedDay(date=day, entitlement_minutes=minutes, scheduled_minutes=minutes)
        for day in days
        if day.weekday() < 5 and day not in holidays
    )


def leave_type(*, limited: bool = True) -> LeaveTypeTerms:
    return LeaveTypeTerms(
        name="A type", unit="half-day", paid=True, pay_code="X", colour="#000000", needs_approval=True, limited=limited
    )


@dataclass
class Person:
    """The account of Ada; amounts in days where a name says days."""

    rulebook: Rulebook
    today: date
    events: list[AccountEvent] = field(default_factory=list)

    @property
    def state(self) -> Account:
        return LEAVE_ACCOUNT.fold(self.events)

    def do(self, command: AccountCommand) -> list[AccountEvent]:
        decided = list(LEAVE_ACCOUNT.decide(command, self.state))
        self.events += decided
        return decided

    def _common(self) -> dict[str, Any]:
        return {"employee_id": "ada", "today": self.today, "rulebook": self.rulebook}

    def employ(self, employment: Employment) -> list[AccountEvent]:
        return self.do(NoteEmployment(**self._common(), employment=employment))

    def run(self, through: date) -> list[AccountEvent]:
        self.today = max(self.today, through)
        return self.do(RecordDue(employee_id="ada", today=through, rulebook=self.rulebook))

    def publish(self, *versions: PolicyPublished) -> None:
        self.rulebook = replace(self.rulebook, policies=(*self.rulebook.policies, *versions))

    def move(self, location: str, on: date) -> list[AccountEvent]:
        assert self.state.employment is not None
        return self.employ(self.state.employment.moved(on, location))

    def reserve(self, request: str, days: tuple[ChargedDay, ...], **more: Any) -> list[AccountEvent]:
        fields = {"revision": 1, "leave_type": "annual", **more}
        return self.do(Reserve(**self._common(), request_id=request, days=days, **fields))

    def reserves(self, request: str, days: tuple[ChargedDay, ...], **more: Any) -> bool:
        return any(isinstance(one, BalanceReserved) for one in self.reserve(request, days, **more))

    def confirm(self, request: str, days: tuple[ChargedDay, ...], **more: Any) -> list[AccountEvent]:
        fields = {"revision": 1, "leave_type": "annual", **more}
        return self.do(Debit(**self._common(), request_id=request, days=days, **fields))

    def take(self, request: str, days: tuple[ChargedDay, ...]) -> None:
        assert self.reserves(request, days)
        self.confirm(request, days)

    def recharge(self, request: str, days: tuple[ChargedDay, ...], revision: int = 1) -> list[AccountEvent]:
        fields: dict[str, Any] = {"request_id": request, "revision": revision, "cause": "holidays", "days": days}
        return self.do(Recharge(**self._common(), **fields))

    def refuse(self, request: str, revision: int = 1) -> list[AccountEvent]:
        return self.do(Release(**self._common(), request_id=request, revision=revision))

    def cancel(self, request: str) -> list[AccountEvent]:
        return self.do(Cancel(**self._common(), request_id=request))

    def adjust(self, number: str, minutes: int, on: date, expires_on: date | None = None) -> list[AccountEvent]:
        return self.do(
            Adjust(
                **self._common(), adjustment_id=number, leave_type="annual", minutes=minutes, effective_date=on,
                expires_on=expires_on, reason=None,
            )
        )  # fmt: skip

    def standing(self, on: date) -> Standing:
        return standing(self.state, "annual", self.rulebook, on)

    def days(self, on: date) -> float:
        """The balance in days; halves are exact in binary."""
        return self.standing(on).balance / DAY

    def available_days(self, on: date) -> float:
        return self.standing(on).available / DAY

    def granted(self) -> list[tuple[str, int, date]]:
        return [(one.period, one.minutes, one.effective_date) for one in self.events if isinstance(one, BalanceGranted)]


def _policy(**terms: Any) -> PolicyPublished:
    given = {
        "policy_id": "annual", "version": 1, "leave_type": "annual", "effective_from": date(2010, 1, 1),
        "entitlement_minutes": 0, "accrual": "up-front", **terms,
    }  # fmt: skip
    return PolicyPublished.model_validate(given)


Hire = Callable[..., Person]


@pytest.fixture
def policy() -> Callable[..., PolicyPublished]:
    """Return a builder of policy versions of the annual type."""
    return _policy


@pytest.fixture
def hire() -> Hire:
    """Employ Ada under a policy: `days` a year and further terms of the policy."""

    def build(
        *,
        days: float = 0,
        joined: date = date(2010, 1, 1),
        today: date | None = None,
        policies: tuple[PolicyPublished, ...] | None = None,
        last_day: date | None = None,
        **terms: Any,
    ) -> Person:
        chosen = policies if policies is not None else (_policy(entitlement_minutes=round(days * DAY), **terms),)
        rulebook = Rulebook({"annual": leave_type(), "sick": leave_type(limited=False)}, chosen)
        person = Person(rulebook, today or joined)
        person.employ(Employment(joined, last_day, (Location(joined, "paris"),)))
        return person

    return build
