"""One's own inbox and preferences over HTTP; and, for administrators, the mails that could not be sent."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from starlette.responses import Response

from lms.kernel.auth import Caller, CallerDep, requires
from lms.kernel.execution import UnitOfWork
from lms.kernel.http import Answer, Body, CommandsDep, IfMatchDep, ViewsDep, answer, get_runtime
from lms.kernel.pages import Page, PageDep
from lms.kernel.service import Runtime
from lms.notifications import store
from lms.notifications.commands import rendering, telling
from lms.notifications.decider import KINDS, Kind
from lms.notifications.store import Preferences

router = APIRouter(prefix="/api/v1/notifications", tags=["notifications"])

Admin = Annotated[Caller, Depends(requires("admin"))]
RuntimeDep = Annotated[Runtime, Depends(get_runtime)]


class NotificationAnswer(Answer):
    """One thing that the caller was told; `created_at` is business time."""

    id: str
    kind: Kind
    title: str
    text: str
    request_id: str | None
    revision: int | None
    created_at: datetime
    read: bool


class InboxAnswer(Page[NotificationAnswer]):
    """A page of the inbox, the newest first, and how many entries in all are unread."""

    unread: int = 0


class Channels(Body):
    """The channels of a kind of notification; the inbox cannot be switched off."""

    in_app: Literal[True] = True
    email: bool


class NewPreferences(Body):
    """The channels of some kinds; those that are not named stay as they are."""

    channels: dict[Kind, Channels] = Field(min_length=1)


class PreferencesAnswer(Answer):
    """The channels of every kind; `version` is the ETag."""

    channels: dict[Kind, Channels]
    version: int


class FailedMail(Answer):
    """A mail that was given up, and why; to whom is not said."""

    id: str
    kind: Kind
    reason: str
    attempts: int
    created_at: datetime


class Retried(Answer):
    """How many mails are tried again."""

    retried: int


@router.get("", response_model=InboxAnswer)
async def inbox(
    caller: CallerDep,
    views: ViewsDep,
    runtime: RuntimeDep,
    page: PageDep,
    unread: Annotated[bool, Query(description="Only what was not read")] = False,  # noqa: FBT002  # a query parameter
) -> Response:
    """List what the caller was told, the newest first."""
    after = page.after(str)
    rows = await store.entries(
        views.connection, caller.id, unread=unread, before=after[0] if after else None, limit=page.limit + 1
    )
    count = await store.count_unread(views.connection, runtime.redis, caller.id)
    opened = await rendering.opened(views.connection, runtime.keyring, [row.notice for row in rows])
    shown = [
        NotificationAnswer(
            id=row.id,
            kind=row.notice.kind,
            title=found.text.title,
            text="\n".join(found.text.paragraphs),
            request_id=row.notice.request_id,
            revision=row.notice.revision,
            created_at=row.created_at,
            read=row.read_at is not None,
        )
        for row, found in zip(rows, opened, strict=True)
    ]
    found = InboxAnswer.of(shown, page, key=lambda row: (row.id,), item=lambda row: row)
    return answer(found.model_copy(update={"unread": count}))


@router.post("/read-all", status_code=204, response_class=Response)
async def read_all(caller: CallerDep, commands: CommandsDep) -> Response:
    """Mark everything as read."""
    return await commands.run(lambda uow: telling.read_all(uow, caller.id), status=204)


@router.get("/preferences", response_model=PreferencesAnswer)
async def preferences(caller: CallerDep, views: ViewsDep) -> Response:
    """Show through which channels the caller is told what."""
    found = await store.preferences_of(views.connection, [caller.id])
    return answer(_shown(found.get(caller.id, Preferences())))


@router.put("/preferences", response_model=PreferencesAnswer)
async def choose(body: NewPreferences, caller: CallerDep, commands: CommandsDep, if_match: IfMatchDep) -> Response:
    """Choose the channels of some kinds; with If-Match only if nothing has changed since."""
    mail = {str(kind): channels.email for kind, channels in body.channels.items()}

    async def chosen(uow: UnitOfWork) -> PreferencesAnswer:
        return _shown(await telling.choose(uow, caller.id, mail, if_match))

    return await commands.run(chosen)


@router.get("/mails/failed", response_model=Page[FailedMail])
async def failed_mails(caller: Admin, views: ViewsDep, page: PageDep) -> Response:
    """List the mails that were given up."""
    del caller
    after = page.after(str)
    rows = await store.failed(views.connection, after=after[0] if after else None, limit=page.limit + 1)
    return answer(Page[FailedMail].of(rows, page, key=lambda row: (row.id,), item=_failed))


@router.post("/mails/retry", response_model=Retried)
async def retry_mails(caller: Admin, commands: CommandsDep) -> Response:
    """Have every mail that was given up tried again."""
    del caller

    async def retried(uow: UnitOfWork) -> Retried:
        return Retried(retried=await store.retry_failed(uow.connection))

    return await commands.run(retried)


@router.post("/{notification_id}/read", status_code=204, response_class=Response)
async def read(notification_id: str, caller: CallerDep, commands: CommandsDep) -> Response:
    """Mark one entry as read."""
    return await commands.run(lambda uow: telling.read(uow, caller.id, notification_id), status=204)


def _shown(found: Preferences) -> PreferencesAnswer:
    return PreferencesAnswer(
        channels={kind: Channels(email=kind not in found.mail_off) for kind in KINDS}, version=found.version
    )


def _failed(mail: store.Failed) -> FailedMail:
    return FailedMail(
        id=mail.id, kind=mail.kind, reason=mail.reason, attempts=mail.attempts, created_at=mail.created_at
    )
