"""Approvals over HTTP: the inbox of whoever decides, and their decisions, one by one or many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, model_validator
from starlette.responses import Response

from lms.approvals import commands as use_cases
from lms.approvals.events import Kind
from lms.approvals.projections import approver_inbox
from lms.approvals.projections.approver_inbox import CaseRow, Status, Viewer
from lms.kernel.amounts import Amount
from lms.kernel.auth import Caller, CallerDep
from lms.kernel.consistency import HEADER as CONSISTENCY_TOKEN
from lms.kernel.errors import Conflict, DomainError, IdempotencyKeyReused
from lms.kernel.event import StreamVersion
from lms.kernel.eventstore import ConcurrencyConflict
from lms.kernel.execution import CommandContext, UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep, ViewsDep, answer, get_runtime, to_json
from lms.kernel.idempotency import BadIdempotencyKey, Claim, Reply, StoredAnswers, canonical_request
from lms.kernel.pages import Page, PageDep
from lms.kernel.sealed import Sealed
from lms.kernel.service import Runtime
from lms.kernel.tracing import current_traceparent

router = APIRouter(prefix="/api/v1/approvals", tags=["approvals"])

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,36}$")]
"""An id, as far as a column of ids can hold it; nothing else can name anything."""

Revision = Annotated[int, Field(ge=1, le=2**31 - 1)]
Text = Annotated[str, Field(max_length=2000, pattern=r"\S")]
RuntimeDep = Annotated[Runtime, Depends(get_runtime)]
Filter = Literal["pending", "decided", "approved", "rejected", "superseded", "cancelled", "lapsed"]

_DECIDED: tuple[Status, ...] = ("approved", "rejected", "lapsed")


class Approval(Body):
    """The revision that was seen is approved."""

    revision: Revision
    comment: Text | None = None


class Rejection(Body):
    """The revision that was seen is rejected; the requester reads the reason."""

    revision: Revision
    reason: Text


class BulkDecision(Body):
    """One of many decisions. A rejection has a reason; an approval may have a comment."""

    request_id: Id
    revision: Revision
    decision: Literal["approve", "reject"]
    comment: Text | None = None
    reason: Text | None = None

    @model_validator(mode="after")
    def _has_the_right_text(self) -> Self:
        if self.decision == "reject" and self.reason is None:
            raise ValueError("a rejection has a reason")
        if self.decision == "reject" and self.comment is not None:
            raise ValueError("a rejection has a reason and no comment")
        if self.decision == "approve" and self.reason is not None:
            raise ValueError("an approval has a comment and no reason")
        return self


class Bulk(Body):
    """Many decisions, each for itself."""

    decisions: Annotated[list[BulkDecision], Field(min_length=1, max_length=100)]


class CaseAnswer(Answer):
    """A case in the inbox. `amount` is in entitlement minutes.

    `on_behalf_of` is for whom the caller would decide, or for whom it was decided; null: in their own right. `lapsed`
    says that a decision was made and came too late.
    """

    request_id: str
    revision: int
    employee_id: str
    leave_type: str
    kind: Kind
    start_date: date
    end_date: date
    amount: Amount
    opened_at: datetime
    on_behalf_of: str | None
    status: Status
    decided_by: str | None
    updated_at: datetime

    @classmethod
    def of(cls, row: CaseRow, viewer: Viewer) -> Self:
        """Return a case as the viewer sees it."""
        return cls(
            request_id=row.request_id,
            revision=row.revision,
            employee_id=row.employee_id,
            leave_type=row.leave_type,
            kind=row.kind,
            start_date=row.start_date,
            end_date=row.end_date,
            amount=Amount.of(row.days_minutes),
            opened_at=row.opened_at,
            on_behalf_of=row.on_behalf_of if row.status != "pending" else _would_decide_for(row, viewer),
            status=row.status,
            decided_by=row.decided_by,
            updated_at=row.updated_at,
        )


class DecisionAnswer(Answer):
    """What a decision led to; the status stays `pending` while others are still to be asked."""

    request_id: str
    revision: int
    status: Status
    decided_by: str | None
    on_behalf_of: str | None
    version: int


class BulkOutcome(Answer):
    """What became of one decision: the case's `status`, or the `code` and `detail` of why it was refused.

    `http_status` is what the decision would have been answered with alone.
    """

    request_id: str
    revision: int
    http_status: int
    status: Status | None = None
    code: str | None = None
    detail: str | None = None


class BulkAnswer(Answer):
    """The outcomes, in the order of the decisions."""

    items: list[BulkOutcome]


@router.get("", response_model=Page[CaseAnswer])
async def list_cases(
    caller: CallerDep,
    runtime: RuntimeDep,
    views: ViewsDep,
    page: PageDep,
    status: Annotated[list[Filter] | None, Query(description="One or several states")] = None,
) -> Response:
    """List what the caller decides, or somebody for whom they stand in today, or HR; the oldest first."""
    viewer = await use_cases.viewer_of(views.connection, caller.id, runtime.clock.today(), in_hr=caller.has("hr"))
    after = page.after(datetime.fromisoformat, str, int)
    rows = await approver_inbox.inbox(
        views.connection,
        viewer,
        statuses=_statuses(status),
        after=(after[0], after[1], after[2]) if after else None,
        limit=page.limit + 1,
    )
    return answer(
        Page[CaseAnswer].of(
            rows,
            page,
            key=lambda row: (row.opened_at.replace(tzinfo=None), row.request_id, row.revision),
            item=lambda row: CaseAnswer.of(row, viewer),
        )
    )


@router.post("/bulk", response_model=BulkAnswer)
async def decide_many(body: Bulk, caller: CallerDep, runtime: RuntimeDep, request: Request) -> Response:
    """Decide on many cases, each in a transaction of its own: one refusal stops no other.

    With an Idempotency-Key each decision is taken once, also when the request is repeated half-way.
    """
    many = _Many(
        runtime,
        caller,
        request.app.state.answers,
        request.headers.get("idempotency-key"),
        canonical_request(request.url.path, request.url.query, await request.body()),
        request.scope["lms.request_id"],
    )
    written: list[StreamVersion] = []
    items = [await many.outcome(place, decision, written) for place, decision in enumerate(body.decisions)]
    token = request.app.state.tokens.of(runtime.service.name, written)
    return answer(BulkAnswer(items=items), headers={CONSISTENCY_TOKEN: token} if token else None)


@router.post("/{request_id}/approve", response_model=DecisionAnswer)
async def approve(
    request_id: Id, body: Approval, caller: CallerDep, runtime: RuntimeDep, commands: CommandsDep
) -> Response:
    """Approve the revision that was seen."""
    text = await _sealed(runtime, caller, request_id, body.comment)
    decision = use_cases.Decision(request_id, body.revision, approve=True, text=text)
    return await commands.run(lambda uow: _decided(uow, decision, caller))


@router.post("/{request_id}/reject", response_model=DecisionAnswer)
async def reject(
    request_id: Id, body: Rejection, caller: CallerDep, runtime: RuntimeDep, commands: CommandsDep
) -> Response:
    """Reject the revision that was seen, with a reason that the requester reads."""
    text = await _sealed(runtime, caller, request_id, body.reason)
    decision = use_cases.Decision(request_id, body.revision, approve=False, text=text)
    return await commands.run(lambda uow: _decided(uow, decision, caller))


@dataclass(frozen=True)
class _Many:
    """Takes the decisions of one request, each for itself."""

    runtime: Runtime
    caller: Caller
    answers: StoredAnswers
    key: str | None
    canonical: bytes
    request_id: str

    async def outcome(self, place: int, wanted: BulkDecision, written: list[StreamVersion]) -> BulkOutcome:
        """Take one decision; `written` gains what it wrote. Raises what is wrong with the idempotency key itself."""
        try:
            text = await _sealed(self.runtime, self.caller, wanted.request_id, wanted.reason or wanted.comment)
            decision = use_cases.Decision(wanted.request_id, wanted.revision, wanted.decision == "approve", text)
            return await self._once(place, wanted, decision, written)
        except (BadIdempotencyKey, IdempotencyKeyReused):
            raise
        except DomainError as error:
            return _refused(wanted, error)
        except ConcurrencyConflict:
            return _refused(wanted, Conflict("Others changed the same case at the same moment; read it again."))

    async def _once(
        self, place: int, wanted: BulkDecision, decision: use_cases.Decision, written: list[StreamVersion]
    ) -> BulkOutcome:
        async def work(uow: UnitOfWork) -> tuple[Reply, tuple[BulkOutcome, list[StreamVersion]]]:
            done = await _decided(uow, decision, self.caller)
            outcome = BulkOutcome(
                request_id=done.request_id, revision=done.revision, http_status=200, status=done.status
            )
            return Reply(200, {}, to_json(outcome)), (outcome, uow.written)

        def refusal(error: DomainError) -> Reply:
            return Reply(error.status, {}, to_json(_refused(wanted, error)))

        context = CommandContext(
            actor=self.caller.actor,
            correlation_id=self.request_id,
            traceparent=current_traceparent(),
            on_behalf_of=self.caller.on_behalf_of,
        )
        if self.key is None:
            _, (outcome, wrote) = await self.runtime.executor.run(work, context=context)
            written.extend(wrote)
            return outcome
        claim = Claim(self.caller.id, f"POST {router.prefix}/bulk#{place}", self.key, self.canonical)
        reply, now = await self.answers.once(claim, self.runtime.executor, context, work, refusal=refusal)
        if now is not None:
            written.extend(now[1])
        return BulkOutcome.model_validate_json(reply.body)


async def _sealed(runtime: Runtime, caller: Caller, request_id: str, text: str | None) -> Sealed | None:
    """Return a text that only the requester's data key opens; None for none.

    Raises NoSuchCase, also for a caller who may not know of the case, and NoKey for a requester who was erased.
    """
    if text is None:
        return None
    async with runtime.database.read() as connection:
        viewer = await use_cases.viewer_of(connection, caller.id, runtime.clock.today(), in_hr=caller.has("hr"))
        row = await use_cases.visible_case(connection, viewer, request_id)
    return await runtime.keyring.seal(row.employee_id, text)


async def _decided(uow: UnitOfWork, decision: use_cases.Decision, caller: Caller) -> DecisionAnswer:
    row, version = await use_cases.decide_case(uow, decision, caller.id, in_hr=caller.has("hr"))
    return DecisionAnswer(
        request_id=row.request_id,
        revision=row.revision,
        status=row.status,
        decided_by=row.decided_by,
        on_behalf_of=row.on_behalf_of,
        version=version,
    )


def _refused(wanted: BulkDecision, error: DomainError) -> BulkOutcome:
    return BulkOutcome(
        request_id=wanted.request_id,
        revision=wanted.revision,
        http_status=error.status,
        code=error.code,
        detail=str(error),
    )


def _statuses(wanted: Sequence[Filter] | None) -> frozenset[Status] | None:
    if wanted is None:
        return None
    found: set[Status] = set()
    for one in wanted:
        if one == "decided":
            found.update(_DECIDED)
        else:
            found.add(one)
    return frozenset(found)


def _would_decide_for(row: CaseRow, viewer: Viewer) -> str | None:
    if viewer.id in row.assignees:
        return None
    return next((one for one in row.assignees if one in viewer.stands_in_for), None)
