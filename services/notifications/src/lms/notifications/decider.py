"""Who is told what, and through which channels. Pure: facts and what the views know about them in, notices out.

A notice is for one person and comes from one cause: an event, or a day on which something still waits. Whoever is
told twice of the same cause through the same channel is told once, which the tables see to; so every rule here may be
applied again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal, get_args

from lms.kernel.sealed import Sealed
from lms.notifications.upstream import (
    CaseClosed,
    CaseOpened,
    CaseReassigned,
    LeaveAmended,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveRecharged,
    LeaveRefused,
    StepApproved,
)

Kind = Literal[
    "approval-asked",
    "approval-reminder",
    "approval-digest",
    "case-withdrawn",
    "decision-lapsed",
    "leave-amended",
    "leave-cancelled",
    "leave-confirmed",
    "leave-recharged",
    "leave-refused",
]
"""What one can be told; each has a template of its name."""

KINDS: tuple[Kind, ...] = get_args(Kind)

Channel = Literal["in-app", "email"]

HR = "hr"
"""The group whose every member is asked where no superior can be."""

Telling = (
    CaseOpened
    | CaseReassigned
    | StepApproved
    | CaseClosed
    | LeaveAmended
    | LeaveConfirmed
    | LeaveRecharged
    | LeaveRefused
    | LeaveCancelled
)
"""The facts that somebody is told of."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a revision asks for; for a cancellation, what is to be cancelled. The last day is included."""

    leave_type: str
    first_day: date
    last_day: date
    kind: Literal["leave", "cancellation"] = "leave"


@dataclass(frozen=True, slots=True)
class Known:
    """What the views know of the revision that a fact is about.

    `approvers` are those who are asked, or were asked last; `in_hr` everybody in HR; `decided_by` who decided.
    """

    asked: Asked | None = None
    approvers: tuple[str, ...] = ()
    group: str | None = None
    in_hr: tuple[str, ...] = ()
    decided_by: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What one person is told.

    `cause` is the id of the event, or of the occasion, that is told of. `about` is whose leave it is. `sealed` holds
    texts that stay closed until somebody looks; `facts` what is not personal: a code, a state, a number.
    """

    person: str
    cause: str
    kind: Kind
    request_id: str | None = None
    revision: int | None = None
    about: str | None = None
    asked: Asked | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    sealed: Mapping[str, Sealed] = field(default_factory=dict)


def notices(cause: str, fact: Telling, known: Known) -> list[Notice]:
    """Return who is told of a fact, each person once, in a stable order. Nobody is told of what they did themselves."""
    match fact:
        case CaseOpened():
            asked = Asked(fact.leave_type, fact.start_date, fact.end_date, fact.kind)
            return _to_approvers(cause, fact, asked, fact.assignees, fact.group, known.in_hr)
        case CaseReassigned() | StepApproved():
            return _to_approvers(cause, fact, known.asked, fact.assignees, fact.group, known.in_hr)
        case CaseClosed():
            return _closed(cause, fact, known)
        case LeaveAmended() | LeaveConfirmed() | LeaveRecharged() | LeaveRefused() | LeaveCancelled():
            return _to_employee(cause, fact, known.asked)


def _closed(cause: str, fact: CaseClosed, known: Known) -> list[Notice]:
    kind: Kind = "case-withdrawn"
    people: tuple[str, ...] = ()
    match fact.cause:
        case "cancelled":
            people = asked_people(known.approvers, known.group, known.in_hr)
        case "lapsed":
            kind = "decision-lapsed"
            people = () if known.decided_by is None else (known.decided_by,)
        case "superseded":
            pass  # whoever is asked about the newer revision is told of that
    return [
        Notice(person, cause, kind, fact.request_id, fact.revision, fact.employee_id, known.asked)
        for person in people
        if person != fact.employee_id
    ]


def asked_people(assignees: Iterable[str], group: str | None, in_hr: Iterable[str]) -> tuple[str, ...]:
    """Return who is asked about a case: the assignees, and everybody in HR where the group is asked."""
    return tuple(sorted({*assignees, *(in_hr if group == HR else ())}))


def channels(kind: Kind, mail_off: frozenset[str]) -> tuple[Channel, ...]:
    """Return the channels of a kind for somebody who does not want mail of some kinds.

    The inbox always has it, but for the digest, which repeats what is in the inbox already.
    """
    mail: tuple[Channel, ...] = () if kind in mail_off else ("email",)
    return mail if kind == "approval-digest" else ("in-app", *mail)


def _to_approvers(
    cause: str,
    fact: CaseOpened | CaseReassigned | StepApproved,
    asked: Asked | None,
    assignees: Iterable[str],
    group: str | None,
    in_hr: Iterable[str],
) -> list[Notice]:
    return [
        Notice(person, cause, "approval-asked", fact.request_id, fact.revision, fact.employee_id, asked)
        for person in asked_people(assignees, group, in_hr)
        if person != fact.employee_id
    ]


def _to_employee(
    cause: str,
    fact: LeaveAmended | LeaveConfirmed | LeaveRecharged | LeaveRefused | LeaveCancelled,
    asked: Asked | None,
) -> list[Notice]:
    kind: Kind
    facts: dict[str, str] = {}
    sealed: dict[str, Sealed] = {}
    match fact:
        case LeaveAmended():
            if fact.requested_by == fact.employee_id:
                return []
            kind, asked = "leave-amended", Asked(fact.leave_type, fact.start_date, fact.end_date)
        case LeaveConfirmed():
            kind = "leave-confirmed"
        case LeaveRecharged():
            before, now = (sum(day.entitlement_minutes for day in days) for days in (fact.days_before, fact.days))
            if now == before:
                return []  # only payroll counts it otherwise
            kind = "leave-recharged"
            facts = {
                "because": fact.cause,
                "costs": "less" if now < before else "more",
                "stands": "yes" if fact.confirmed else "no",
            }
        case LeaveRefused():
            kind = "leave-refused"
            facts = {"code": fact.code, "stands": "yes" if fact.standing_revision is not None else "no"}
            sealed = {} if fact.reason is None else {"reason": fact.reason}
        case LeaveCancelled():
            kind = "leave-cancelled"
            facts = {"stood": "yes" if fact.confirmed_revision is not None else "no"}
    person = fact.employee_id
    return [Notice(person, cause, kind, fact.request_id, fact.revision, person, asked, facts, sealed)]


# --- what still waits -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """A case that waits for one approver, who was told of it at `since` (business time)."""

    approver: str
    request_id: str
    revision: int
    about: str
    asked: Asked
    since: datetime


def reminders(waiting: Iterable[Waiting], now: datetime, after: timedelta) -> list[Notice]:
    """Return whom to remind: once for each full `after` that a case has waited, and of the latest only."""
    due = []
    for one in waiting:
        count = (now - one.since) // after
        if count >= 1:
            cause = f"reminder.{one.request_id}.{one.revision}.{count}"
            facts = {"days": str((now - one.since).days)}
            due.append(
                Notice(
                    one.approver, cause, "approval-reminder", one.request_id, one.revision, one.about, one.asked, facts
                )
            )
    return due


def digests(waiting: Iterable[Waiting], now: datetime, hour: int) -> list[Notice]:
    """Return each approver's digest of the day, from `hour` (UTC, business time) on: how many cases wait for them."""
    if now.hour < hour:
        return []
    found: dict[str, list[Waiting]] = {}
    for one in waiting:
        found.setdefault(one.approver, []).append(one)
    return [
        Notice(
            approver,
            f"digest.{now.date().isoformat()}",
            "approval-digest",
            facts={
                "count": str(len(theirs)),
                "oldest": min(one.since for one in theirs).date().isoformat(),
            },
        )
        for approver, theirs in sorted(found.items())
    ]


# --- mail -------------------------------------------------------------------------------------------------------------

LONGEST_PAUSE = timedelta(hours=1)


def pause_after(attempts: int, first: timedelta) -> timedelta:
    """Return how long to wait after so many failed attempts: twice as long each time, an hour at most."""
    return min(first * (1 << min(attempts - 1, 20)), LONGEST_PAUSE)
