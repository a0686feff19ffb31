"""The facts that balances records, all on `leave.balances.v1`.

Amounts are integer minutes of entitlement: nominal ones (480 a full day) for types in days and half-days, scheduled
ones for types in hours. Dates are dates, without a time zone. A `LedgerEntry` is signed: what is added to the balance
is positive, what is taken is negative, and the sum of all entries up to a date is the balance on that date.
"""

from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from lms.kernel.event import Event
from lms.kernel.sealed import Sealed

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=60)]
"""A short literal name: lower case, digits, single hyphens."""


Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,36}$")]
"""An id that another service gave."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChargedDay(_Part):
    """What one day of a leave costs, as known when its revision was made."""

    date: date
    entitlement_minutes: int = Field(ge=0)
    scheduled_minutes: int = Field(ge=0)


class CountedDay(_Part):
    """What one day of a leave takes of the balance."""

    date: date
    entitlement_minutes: int = Field(ge=0)


class LedgerEntry(_Part):
    """One signed, dated line; `lot_id` is null where the line draws on no lot: an overdraft, or an unlimited type."""

    lot_id: str | None
    date: date
    minutes: int


class RestsOn(_Part):
    """A version of a foreign stream (schedule, holiday calendar, employee) that a figure was computed from."""

    stream: str
    version: int


class Blackout(_Part):
    """Days, both inclusive, on which leave of the type cannot be taken."""

    first_day: date
    last_day: date


class LeaveTypeTerms(_Part):
    """What a leave type is, apart from its slug."""

    name: str = Field(min_length=1, max_length=80)
    unit: Literal["day", "half-day", "hour"]
    paid: bool
    pay_code: str = Field(min_length=1, max_length=20)
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")
    needs_approval: bool
    limited: bool
    attachment_after_days: int | None = Field(default=None, ge=0)
    min_notice_days: int = Field(default=0, ge=0)
    max_length_days: int | None = Field(default=None, ge=1)
    reason_visible_to: tuple[str, ...] = ("manager", "hr")


class LeaveTypeDefined(Event, LeaveTypeTerms):
    """A company may now take this type of leave. `limited`: leave of it needs a balance."""

    TYPE: ClassVar[str] = "leave-type.defined"
    leave_type: Slug


class LeaveTypeChanged(Event, LeaveTypeTerms):
    """A type's terms are these from now on; its unit and whether it is limited never change."""

    TYPE: ClassVar[str] = "leave-type.changed"
    leave_type: Slug


class PolicyTerms(_Part):
    """What a policy version grants, and how.

    `pro_rata` for joiners, leavers and a policy that begins within a year: `days` by calendar days; `months` by
    calendar months, one counting whole when at least half of its days do; `none` grants in full. Up-front
    entitlement is granted at the start of the year; `accrual_at` places the monthly one within its month.
    `carry_over_expires` ("MM-DD") is the last valid day of what was carried over, in the year after; null lets it
    stand until that year's end. `carry_over_limit_minutes`: 0 carries nothing, null everything.
    """

    leave_type: Slug
    locations: tuple[Identifier, ...] | None = None
    effective_from: date
    entitlement_minutes: int = Field(ge=0)
    accrual: Literal["up-front", "monthly"]
    accrual_at: Literal["start", "end"] = "start"
    pro_rata: Literal["days", "months", "none"] = "days"
    cap_minutes: int | None = Field(default=None, ge=0)
    carry_over_limit_minutes: int | None = Field(default=0, ge=0)
    carry_over_expires: str | None = Field(default=None, pattern=r"^\d{2}-\d{2}$")
    negative_limit_minutes: int = Field(default=0, ge=0)
    waiting_period_days: int = Field(default=0, ge=0)
    blackouts: tuple[Blackout, ...] = ()
    approval_steps: tuple[str, ...] = ("manager",)


class PolicyPublished(Event, PolicyTerms):
    """A version of a policy applies from `effective_from` on, until the next version of the same policy does."""

    TYPE: ClassVar[str] = "policy.published"
    policy_id: Slug
    version: int


class LocationFrom(_Part):
    """The location that an employee belongs to from a day on."""

    effective_from: date
    location_id: str


class EmploymentNoted(Event):
    """The account rests on this employment: it is opened by the first such fact and follows every change."""

    TYPE: ClassVar[str] = "leave-account.employment-noted"
    employee_id: str
    employed_from: date
    last_day: date | None
    locations: tuple[LocationFrom, ...]


class BalanceGranted(Event):
    """A lot was granted: `minutes` from `effective_date` on.

    `expires_on` is the last valid day; null: the lot stands until its year's end, when the carry-over rule decides.
    `period` is the year ("2026") of an up-front grant and the month ("2026-03") of an accrual; one period of one kind
    is granted once.
    """

    TYPE: ClassVar[str] = "balance.granted"
    employee_id: str
    leave_type: str
    lot_id: str
    kind: Literal["grant", "accrual"]
    minutes: int
    effective_date: date
    expires_on: date | None
    period: str
    policy_id: str
    policy_version: int


class BalanceGrantCorrected(Event):
    """A policy that was published after a lot was granted made it `minutes` larger, or smaller where below 0.

    So whoever was granted something on the day from which a version counts, before it was published, has what somebody
    new gets. `policy_id` and `policy_version` are what the lot is of now; null where no policy applies any more.
    """

    TYPE: ClassVar[str] = "balance.grant-corrected"
    employee_id: str
    leave_type: str
    lot_id: str
    minutes: int
    effective_date: date
    policy_id: str | None
    policy_version: int | None


class BalanceCarriedOver(Event):
    """At the end of year `from_period` this much went over into the lot `lot_id` of the next year.

    `entries` hold the lines out of the old lots and into the new one; they sum to 0. `correction`: a change in the
    closed year made this difference (then `minutes` may be negative).
    """

    TYPE: ClassVar[str] = "balance.carried-over"
    employee_id: str
    leave_type: str
    lot_id: str
    minutes: int
    from_period: str
    effective_date: date
    expires_on: date | None
    policy_id: str
    policy_version: int
    entries: tuple[LedgerEntry, ...]
    correction: bool


class BalanceExpired(Event):
    """What remained of a lot lapsed: `minutes` are gone from `date` on, the first day on which they no longer count.

    `cause`: the lot's own end of validity, the end of its year without carry-over, or the cap. `correction`: a change
    in the past made this difference (then `minutes` may be negative: so much did not expire after all).
    """

    TYPE: ClassVar[str] = "balance.expired"
    employee_id: str
    leave_type: str
    lot_id: str
    minutes: int
    date: date
    cause: Literal["validity", "year-end", "cap"]
    correction: bool


class BalanceReserved(Event):
    """A revision's leave is set aside until it is decided.

    `days` are the leave in full. `entries` hold what is set aside: all of it, or, where a confirmed predecessor
    (`replaces_revision`) stands, only what the revision needs beyond it.
    """

    TYPE: ClassVar[str] = "balance.reserved"
    employee_id: str
    request_id: str
    revision: int
    leave_type: str
    replaces_revision: int | None
    days: tuple[ChargedDay, ...]
    entries: tuple[LedgerEntry, ...]
    rests_on: tuple[RestsOn, ...]


class BalanceInsufficient(Event):
    """A revision's leave cannot be covered; `available_minutes` of the requested could have been.

    `cause`: the balance, the policy's waiting period, or a type that this company does not define.
    """

    TYPE: ClassVar[str] = "balance.insufficient"
    employee_id: str
    request_id: str
    revision: int
    leave_type: str
    requested_minutes: int
    available_minutes: int
    cause: Literal["balance", "waiting-period", "unknown-leave-type"]


class BalanceReleased(Event):
    """A reservation ended without leave: `entries` give back what was set aside.

    `refused` is also the cause where a later change of holidays or schedule made the leave cost more than there is.
    """

    TYPE: ClassVar[str] = "balance.released"
    employee_id: str
    request_id: str
    revision: int
    leave_type: str
    cause: Literal["refused", "cancelled", "superseded"]
    entries: tuple[LedgerEntry, ...]


class BalanceDebited(Event):
    """Confirmed leave was taken from the balance: `released` gives back its reservation, `entries` take the days."""

    TYPE: ClassVar[str] = "balance.debited"
    employee_id: str
    request_id: str
    revision: int
    leave_type: str
    replaces_revision: int | None
    days: tuple[ChargedDay, ...]
    released: tuple[LedgerEntry, ...]
    entries: tuple[LedgerEntry, ...]


class BalanceCredited(Event):
    """Confirmed leave no longer stands: `entries` give back what was debited."""

    TYPE: ClassVar[str] = "balance.credited"
    employee_id: str
    request_id: str
    revision: int
    leave_type: str
    cause: Literal["cancelled", "replaced"]
    replaced_by_revision: int | None
    entries: tuple[LedgerEntry, ...]


class BalanceRecharged(Event):
    """What a booked revision costs was changed by a later change of holidays, schedule or location.

    `booking` is what the account has of the revision: a `reservation` or a `debit`. `days` are the leave in full as it
    is counted from now on. `entries` are the difference to what was booked, lot by lot and day by day: what is given
    back is positive. An open revision of confirmed leave also has entries where only its predecessor came to cost
    something else. A debit is changed even where the balance does not cover it. `rests_on` names the facts that the
    days were computed from; none where the days are those of before.
    """

    TYPE: ClassVar[str] = "balance.recharged"
    employee_id: str
    request_id: str
    revision: int
    leave_type: str
    booking: Literal["reservation", "debit"]
    cause: Literal["holidays", "schedule", "location"]
    days: tuple[CountedDay, ...]
    entries: tuple[LedgerEntry, ...]
    rests_on: tuple[RestsOn, ...]


class BalanceAdjusted(Event):
    """The balance was changed by hand (`hr`), or a lot by a change of employment (`employment-changed`).

    A positive change by hand is a lot of its own; a negative one is taken on `effective_date`. A change of employment
    corrects the existing lot `lot_id`.
    """

    TYPE: ClassVar[str] = "balance.adjusted"
    employee_id: str
    leave_type: str
    adjustment_id: str
    cause: Literal["hr", "employment-changed"]
    lot_id: str | None
    minutes: int
    effective_date: date
    expires_on: date | None
    reason: Sealed | None
    entries: tuple[LedgerEntry, ...]


AccountEvent = (
    EmploymentNoted
    | BalanceGranted
    | BalanceGrantCorrected
    | BalanceCarriedOver
    | BalanceExpired
    | BalanceReserved
    | BalanceInsufficient
    | BalanceReleased
    | BalanceDebited
    | BalanceCredited
    | BalanceRecharged
    | BalanceAdjusted
)
"""Everything that happens to the account of one employee."""

EVENTS: tuple[type[Event], ...] = (
    LeaveTypeDefined,
    LeaveTypeChanged,
    PolicyPublished,
    EmploymentNoted,
    BalanceGranted,
    BalanceGrantCorrected,
    BalanceCarriedOver,
    BalanceExpired,
    BalanceReserved,
    BalanceInsufficient,
    BalanceReleased,
    BalanceDebited,
    BalanceCredited,
    BalanceRecharged,
    BalanceAdjusted,
)

_ADA = "019a0000-0000-7000-8000-000000000001"
_LEAVE = "019a0000-0000-7000-8000-00000000000a"
_PARIS = "019a0000-0000-7000-8000-0000000000aa"
_DAY = ChargedDay(date=date(2026, 7, 6), entitlement_minutes=480, scheduled_minutes=480)
_TAKEN = LedgerEntry(lot_id="annual.2026", date=date(2026, 7, 6), minutes=-480)
_GIVEN_BACK = LedgerEntry(lot_id="annual.2026", date=date(2026, 7, 6), minutes=480)

EXAMPLES: tuple[Event, ...] = (
    LeaveTypeDefined(
        leave_type="annual", name="Annual leave", unit="half-day", paid=True, pay_code="ANNUAL", colour="#2e7d32",
        needs_approval=True, limited=True, min_notice_days=1, max_length_days=30,
    ),
    LeaveTypeChanged(
        leave_type="annual", name="Annual leave", unit="half-day", paid=True, pay_code="ANNUAL", colour="#1b5e20",
        needs_approval=True, limited=True, min_notice_days=2, max_length_days=30,
    ),
    PolicyPublished(
        policy_id="annual-france", version=1, leave_type="annual", locations=(_PARIS,),
        effective_from=date(2026, 1, 1), entitlement_minutes=25 * 480, accrual="up-front",
        carry_over_limit_minutes=5 * 480, carry_over_expires="03-31",
        blackouts=(Blackout(first_day=date(2026, 12, 28), last_day=date(2026, 12, 31)),),
    ),
    EmploymentNoted(
        employee_id=_ADA, employed_from=date(2024, 3, 1), last_day=None,
        locations=(LocationFrom(effective_from=date(2024, 3, 1), location_id=_PARIS),),
    ),
    BalanceGranted(
        employee_id=_ADA, leave_type="annual", lot_id="annual.2026", kind="grant", minutes=12_000,
        effective_date=date(2026, 1, 1), expires_on=None, period="2026", policy_id="annual-france", policy_version=1,
    ),
    BalanceGrantCorrected(
        employee_id=_ADA, leave_type="annual", lot_id="annual.2026", minutes=960, effective_date=date(2026, 1, 1),
        policy_id="annual-france", policy_version=2,
    ),
    BalanceCarriedOver(
        employee_id=_ADA, leave_type="annual", lot_id="annual.2027.carry-over", minutes=960, from_period="2026",
        effective_date=date(2027, 1, 1), expires_on=date(2027, 3, 31), policy_id="annual-france", policy_version=1,
        entries=(
            LedgerEntry(lot_id="annual.2026", date=date(2027, 1, 1), minutes=-960),
            LedgerEntry(lot_id="annual.2027.carry-over", date=date(2027, 1, 1), minutes=960),
        ),
        correction=False,
    ),
    BalanceExpired(
        employee_id=_ADA, leave_type="annual", lot_id="annual.2027.carry-over", minutes=480, date=date(2027, 4, 1),
        cause="validity", correction=False,
    ),
    BalanceReserved(
        employee_id=_ADA, request_id=_LEAVE, revision=1, leave_type="annual", replaces_revision=None, days=(_DAY,),
        entries=(_TAKEN,), rests_on=(RestsOn(stream="calendar-france", version=2),),
    ),
    BalanceInsufficient(
        employee_id=_ADA, request_id=_LEAVE, revision=2, leave_type="annual", requested_minutes=14_400,
        available_minutes=11_520, cause="balance",
    ),
    BalanceReleased(
        employee_id=_ADA, request_id=_LEAVE, revision=1, leave_type="annual", cause="refused", entries=(_GIVEN_BACK,),
    ),
    BalanceDebited(
        employee_id=_ADA, request_id=_LEAVE, revision=1, leave_type="annual", replaces_revision=None, days=(_DAY,),
        released=(_GIVEN_BACK,), entries=(_TAKEN,),
    ),
    BalanceCredited(
        employee_id=_ADA, request_id=_LEAVE, revision=1, leave_type="annual", cause="cancelled",
        replaced_by_revision=None, entries=(_GIVEN_BACK,),
    ),
    BalanceRecharged(
        employee_id=_ADA, request_id=_LEAVE, revision=1, leave_type="annual", booking="debit", cause="holidays",
        days=(), entries=(_GIVEN_BACK,), rests_on=(RestsOn(stream="calendar-france", version=3),),
    ),
    BalanceAdjusted(
        employee_id=_ADA, leave_type="annual", adjustment_id="019a0000-0000-7000-8000-00000000000b", cause="hr",
        lot_id="adjustment.019a0000-0000-7000-8000-00000000000b", minutes=480, effective_date=date(2026, 6, 1),
        expires_on=None, reason=Sealed(sealed="c2VhbGVk", subject=_ADA, key="1"),
        entries=(
            LedgerEntry(
                lot_id="adjustment.019a0000-0000-7000-8000-00000000000b", date=date(2026, 6, 1), minutes=480
            ),
        ),
    ),
)  # fmt: skip
