"""What the API of requests takes and gives."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Annotated, Literal, Self

from pydantic import Field

from lms.kernel.amounts import Amount
from lms.kernel.http import Answer, Body
from lms.requests.events import ChargedDay, DayPart
from lms.requests.projections.leave_requests import RevisionRow, Status, shown_of

Id = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,36}$")]
"""An id, as far as a column of ids can hold it; nothing else can name anything."""

Slug = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,60}$")]
Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2100, 12, 31))]
Reason = Annotated[str, Field(max_length=2000)]
HIDDEN_TYPE = "absent"
Texts = Mapping[int, str]
"""The reasons that the caller may read, by revision."""


class NewRequest(Body):
    """Leave to ask for: whole days with a part at either end, or hours of a single day.

    `employee_id` is given by HR, who ask for somebody else.
    """

    leave_type: Slug
    start_date: Day
    end_date: Day
    start_part: DayPart = "full"
    end_part: DayPart = "full"
    from_time: time | None = None
    to_time: time | None = None
    reason: Reason | None = None
    employee_id: Id | None = None


class PreviewBody(NewRequest):
    """Leave that might be asked for, or with `request_id` be made of a request that was."""

    request_id: Id | None = None


class Amendment(Body):
    """What is to change of a request; what is left out stays."""

    start_date: Day | None = None
    end_date: Day | None = None
    start_part: DayPart | None = None
    end_part: DayPart | None = None
    from_time: time | None = None
    to_time: time | None = None
    reason: Reason | None = None


class Cancellation(Body):
    """The days to cancel; without any, the whole request."""

    reason: Reason | None = None
    dates: Annotated[list[Day], Field(min_length=1, max_length=366)] | None = None


class DayAnswer(Answer):
    """One charged day."""

    date: date
    part: DayPart
    amount: Amount
    scheduled_minutes: int

    @classmethod
    def of(cls, day: ChargedDay) -> Self:
        """Return a charged day as the API shows it."""
        return cls(
            date=day.date,
            part=day.part,
            amount=Amount.of(day.entitlement_minutes),
            scheduled_minutes=day.scheduled_minutes,
        )


class OpenRevision(Answer):
    """What is asked for over confirmed leave and not decided on yet."""

    revision: int
    change: Literal["amendment", "cancellation"]
    start_date: date
    end_date: date
    start_part: DayPart
    end_part: DayPart
    from_time: time | None
    to_time: time | None
    amount: Amount
    days: list[DayAnswer]
    reason: str | None


class RequestAnswer(Answer):
    """A request. Dates, days and amount are those of the confirmed leave as long as it stands, also while `open` waits.

    `revision` is the newest that is not over: the one that a decision is about. `settled` says that the next step, if
    there is one, is a person's. `code` says why a request was rejected. `reason` is null for whoever may not read it.
    """

    id: str
    revision: int
    version: int
    employee_id: str
    leave_type: str
    status: Status
    settled: bool
    start_date: date
    end_date: date
    start_part: DayPart
    end_part: DayPart
    from_time: time | None
    to_time: time | None
    amount: Amount
    scheduled_minutes: int
    days: list[DayAnswer]
    reason: str | None
    code: str | None
    open: OpenRevision | None
    requested_by: str
    requested_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, revisions: Sequence[RevisionRow], texts: Texts) -> Self:
        """Return a request from all of its revisions."""
        row = shown_of(revisions)
        return cls(
            id=row.request_id,
            revision=row.open_revision or row.revision,
            version=row.version,
            employee_id=row.employee_id,
            leave_type=row.leave_type,
            status=row.status,
            settled=row.settled,
            start_date=row.start_date,
            end_date=row.end_date,
            start_part=row.start_part,
            end_part=row.end_part,
            from_time=row.from_time,
            to_time=row.to_time,
            amount=Amount.of(row.entitlement_minutes),
            scheduled_minutes=row.scheduled_minutes,
            days=[DayAnswer.of(day) for day in row.days],
            reason=texts.get(row.revision),
            code=row.code,
            open=_open_of(row, revisions, texts),
            requested_by=row.requested_by,
            requested_at=revisions[0].recorded_at,
            updated_at=row.updated_at,
        )


def _open_of(shown: RevisionRow, revisions: Sequence[RevisionRow], texts: Texts) -> OpenRevision | None:
    if shown.open_revision is None or shown.open_revision == shown.revision:
        return None
    amended = next((one for one in revisions if one.revision == shown.open_revision), None)
    row = shown if amended is None else amended
    return OpenRevision(
        revision=shown.open_revision,
        change="cancellation" if amended is None else "amendment",
        start_date=row.start_date,
        end_date=row.end_date,
        start_part=row.start_part,
        end_part=row.end_part,
        from_time=row.from_time,
        to_time=row.to_time,
        amount=Amount.of(row.entitlement_minutes),
        days=[DayAnswer.of(day) for day in row.days],
        reason=None if amended is None else texts.get(amended.revision),
    )


class PreviewDay(Answer):
    """One day of the interval and what it would cost; `holiday` is the part of it that is a holiday."""

    date: date
    part: DayPart
    amount: Amount
    scheduled_minutes: int
    holiday: DayPart | None


class YearAmount(Answer):
    """What an interval takes of one entitlement year."""

    year: int
    amount: Amount


class Violation(Answer):
    """A rule that the request would break; `code` is that of the refusal."""

    code: str
    detail: str


class Absence(Answer):
    """Somebody's absence as a colleague sees it: never the reason, and the type only for those entitled to know.

    `days` are all of its charged days; the others from `start_date` to `end_date` are no leave: they were cancelled, or
    are days off or holidays. `from_time` and `to_time` are set for hours of a single day.
    """

    employee_id: str
    leave_type: str
    status: Status
    start_date: date
    end_date: date
    start_part: DayPart
    end_part: DayPart
    from_time: time | None
    to_time: time | None
    days: list[date]
    request_id: str | None = None

    @classmethod
    def of(cls, row: RevisionRow, since: date, until: date, *, named: bool) -> Self | None:
        """Return the absence if it takes a day from `since` to `until`, else None; its type only if it is `named`."""
        days = [day.date for day in row.days]
        if not any(since <= day <= until for day in days):
            return None
        return cls(
            employee_id=row.employee_id,
            leave_type=row.leave_type if named else HIDDEN_TYPE,
            status=row.status,
            start_date=row.start_date,
            end_date=row.end_date,
            start_part=row.start_part,
            end_part=row.end_part,
            from_time=row.from_time,
            to_time=row.to_time,
            days=days,
            request_id=row.request_id if named else None,
        )


class PreviewAnswer(Answer):
    """What a request would lead to. `permitted` says that it breaks no rule known here; balances decides later.

    `attachment_after_days` is after how many days the leave type wants a certificate; null: never.
    """

    leave_type: str
    start_date: date
    end_date: date
    permitted: bool
    needs_approval: bool
    attachment_after_days: int | None
    amount: Amount
    scheduled_minutes: int
    days: list[PreviewDay]
    entitlement_years: list[YearAmount]
    violations: list[Violation]
    team_overlap: list[Absence]


class TimelineItem(Answer):
    """One step in the life of a request: who did what when. `by` is null where nobody in person did it."""

    at: datetime
    what: str
    revision: int
    by: str | None
    code: str | None
    reason: str | None


class Timeline(Answer):
    """Everything that happened to a request, oldest first."""

    items: list[TimelineItem]


class CalendarAnswer(Answer):
    """Who is, or may be, absent on the days from `from_date` to `to_date`."""

    department_id: str
    from_date: date = Field(serialization_alias="from")
    to_date: date = Field(serialization_alias="to")
    items: list[Absence]
