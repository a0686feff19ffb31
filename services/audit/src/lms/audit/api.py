"""The audit log over HTTP, for auditors: search it, and have it proven."""

from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from lms.audit import commands, store
from lms.audit.decider.verification import Record
from lms.kernel.auth import Caller, requires
from lms.kernel.http import Answer, StaleViewsDep, answer, get_runtime
from lms.kernel.pages import Page, PageDep
from lms.kernel.service import Runtime

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])

Auditor = Annotated[Caller, Depends(requires("auditor"))]
RuntimeDep = Annotated[Runtime, Depends(get_runtime)]
Text = Annotated[str | None, Query(max_length=160)]

NAMED = 50
"""Faults that an answer names; it counts the others."""


class RecordAnswer(Answer):
    """One fact as it was recorded. What is sealed stays sealed; `leaf` and `root` are its hash and the tree head.

    `actor` is who really acted; `on_behalf_of` is the person for whom a service account did.
    """

    position: int
    at: str
    actor: str | None
    on_behalf_of: str | None
    type: str
    source: str
    stream: str
    version: int
    resource: str
    correlation_id: str
    data: Any
    leaf: str
    root: str


class VerificationAnswer(Answer):
    """Whether the log is whole: how many records, their tree head, what is wrong, and each restore that it knows."""

    valid: bool
    size: int
    root: str
    public_key: str
    fault_count: int
    faults: list[str]
    restores: list[str]


@router.get("", response_model=Page[RecordAnswer])
async def search(
    caller: Auditor,
    views: StaleViewsDep,
    page: PageDep,
    actor: Text = None,
    resource: Annotated[
        str | None, Query(max_length=160, description="A stream, or a key such as an employee's id")
    ] = None,
    type: Text = None,  # noqa: A002  # the name of the contract
    since: Annotated[datetime | None, Query(alias="from")] = None,
    until: Annotated[datetime | None, Query(alias="to")] = None,
) -> Response:
    """Search the log, in the order of recording, or in that of time where a time is given."""
    del caller
    after = page.after(str, int)
    criteria = store.Criteria(actor=actor, resource=resource, type=type, since=since, until=until)
    rows = await store.find(
        views.connection, criteria, after=(after[0], after[1]) if after else None, limit=page.limit + 1
    )
    return answer(
        Page[RecordAnswer].of(
            rows, page, key=lambda row: (str(row.searched_by["occurred_at"]), row.position), item=_shown
        )
    )


@router.post("/verify", response_model=VerificationAnswer)
async def verify(caller: Auditor, runtime: RuntimeDep) -> Response:
    """Prove the whole log against the checkpoints kept outside the database. It changes nothing."""
    del caller
    async with runtime.database.snapshot() as connection:
        proof = await commands.verify(connection, runtime.settings)
        tree = await store.tree_of(connection)
    return answer(
        VerificationAnswer(
            valid=not proof.faults,
            size=tree.size,
            root=tree.root(),
            public_key=commands.Signer(runtime.settings.signing_key.get_secret_value()).public_key,
            fault_count=len(proof.faults),
            faults=list(proof.faults[:NAMED]),
            restores=list(proof.restores),
        )
    )


def _shown(record: Record) -> RecordAnswer:
    at = record.searched_by
    return RecordAnswer(
        position=record.position,
        at=str(at["occurred_at"]),
        actor=None if at["actor"] is None else str(at["actor"]),
        on_behalf_of=dict(record.headers).get("ce_onbehalfof"),
        type=str(at["type"]),
        source=str(at["source"]),
        stream=str(at["stream"]),
        version=int(at["version"] or 0),
        resource=record.key,
        correlation_id=str(at["correlation_id"]),
        data=None if record.payload is None else orjson.loads(record.payload),
        leaf=record.leaf,
        root=record.root,
    )
