"""Importing people from a CSV file: a dry run that reports every mistake, and a job with progress."""

from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from typing import Literal

from fastapi import APIRouter, UploadFile
from starlette.responses import Response

from lms.directory import store
from lms.directory.api.access import Editor, Id, PartsDep
from lms.directory.commands import imports
from lms.directory.commands.imports import ImportUnknown
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, CommandsDep, ViewsDep, answer

router = APIRouter(prefix="/api/v1/imports", tags=["imports"])

LARGEST_FILE = 8 * 1024 * 1024
"""Bytes; more than the 20,000 rows that one import takes."""


class RowErrorAnswer(Answer):
    """What is wrong where; lines count from 1, the header's."""

    line: int
    column: str
    detail: str


class DryRunAnswer(Answer):
    """What an import of this file would do."""

    dry_run: Literal[True] = True
    rows: int
    valid: int
    errors: list[RowErrorAnswer]


class ImportAnswer(Answer):
    """An import and how far it is: `total` people, of whom `done` are employed, `failed` refused, the rest to come."""

    id: str
    status: Literal["running", "done"]
    total: int
    done: int
    failed: int
    skipped: int
    errors: list[RowErrorAnswer]
    created_at: datetime
    finished_at: datetime | None


class StagedAnswer(Answer):
    """An import that has been accepted; `errors` name the rows that were left out."""

    id: str
    status: Literal["running"] = "running"
    total: int
    skipped: int
    errors: list[RowErrorAnswer]


@router.post(
    "/employees",
    status_code=202,
    response_model=StagedAnswer,
    responses={200: {"model": DryRunAnswer, "description": "Dry run"}},
    max_body_size=LARGEST_FILE,
)
async def post_import(  # each is a dependency or a flag
    file: UploadFile,
    caller: Editor,
    parts: PartsDep,
    commands: CommandsDep,
    dry_run: bool = False,  # noqa: FBT001, FBT002  # a query parameter
    only_valid: bool = False,  # noqa: FBT001, FBT002  # a query parameter
) -> Response:
    """Import people from CSV (UTF-8, commas or semicolons); nothing unless every row is right, or `only_valid`.

    Columns: email, given_name, family_name, department, location, schedule (names or ids), employed_from (YYYY-MM-DD);
    and manager_email (somebody known, or of this file), roles, cost_centre. The people are invited.
    """
    content = await file.read()
    rows = imports.read_rows(content, parts.settings.import_rows)
    emails = parts.registry.emails
    if dry_run:
        checked = await parts.executor.run(lambda uow: imports.report(uow, emails, rows, caller.roles))
        return answer(DryRunAnswer(rows=checked.rows, valid=len(checked.valid), errors=_errors(checked.errors)))

    async def stage(uow: UnitOfWork) -> StagedAnswer:
        staged = await imports.stage(uow, emails, rows, caller.roles, started_by=caller.id, only_valid=only_valid)
        return StagedAnswer(id=staged.id, total=staged.total, skipped=staged.skipped, errors=_errors(staged.errors))

    return await commands.run(
        stage,
        status=202,
        location=lambda staged: f"/api/v1/imports/{staged.id}",
        fingerprint=sha256(content).digest(),
    )


@router.get("/{import_id}", response_model=ImportAnswer)
async def get_import(import_id: Id, caller: Editor, views: ViewsDep) -> Response:
    """Show how far an import is."""
    del caller
    row = await store.import_of(views.connection, import_id)
    if row is None:
        raise ImportUnknown("There is no such import.")
    counts = await store.import_counts(views.connection, import_id)
    failures = await store.import_failures(views.connection, import_id)
    return answer(
        ImportAnswer(
            id=row.import_id,
            status=row.status,
            total=row.total,
            done=counts.get("done", 0),
            failed=counts.get("failed", 0),
            skipped=row.skipped,
            errors=[RowErrorAnswer(line=one.line, column=one.error_column or "", detail=one.error) for one in failures],
            created_at=store.utc(row.created_at),
            finished_at=store.utc(row.finished_at),
        )
    )


def _errors(found: tuple[imports.RowError, ...]) -> list[RowErrorAnswer]:
    return [RowErrorAnswer(**asdict(one)) for one in found]
