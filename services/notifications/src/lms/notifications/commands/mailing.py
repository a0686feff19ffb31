"""Sending the mails, at least once: a mail is marked as sent after the mail server has taken it.

A process that dies in between leaves the mail to be sent again, with the same Message-ID, by which mail systems drop
the second copy. What passes by itself (the server is away, or says 4xx) is tried again with growing pauses, a bounded
number of times; then, or when the server refuses for good, the mail is `failed` with its reason, until an
administrator has it tried again. Reasons name no person: never what the server said, only the kind of failure.
"""

import time
from dataclasses import dataclass

import structlog
from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
)
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.failpoints import failpoint
from lms.kernel.keyring import Tampered
from lms.kernel.sealed import Erased
from lms.kernel.service import Runtime
from lms.kernel.tracing import span
from lms.notifications import store
from lms.notifications.commands.rendering import Opened, letter, opened
from lms.notifications.decider import pause_after
from lms.notifications.settings import Settings
from lms.notifications.store import Mail

MAILS = Counter("notification_mails_total", "Attempts to send a mail, by what came of it", ("outcome",))
for _outcome in ("sent", "postponed", "failed", "dropped"):
    MAILS.labels(_outcome)

BATCH = 20
_TLS_PORT = 465
_PERMANENT = 500

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a mail was not taken; `for_good`: trying again is of no use."""

    reason: str
    for_good: bool = False


async def send_due(runtime: Runtime) -> None:
    """Send the mails that are due; several processes may do so side by side."""
    while await _send_batch(runtime):
        pass


async def mail_server_answers(runtime: Runtime) -> None:
    """Return once the mail server has greeted, signed in and answered; raises what stands against it."""
    client = _client(runtime.settings)
    try:
        await client.connect()
        await client.noop()
    finally:
        client.close()


async def _send_batch(runtime: Runtime) -> bool:
    """Send some of the mails that are due; say whether to go on at once."""
    settings: Settings = runtime.settings
    until = time.monotonic() + settings.mail_lease_seconds - 2 * settings.mail_timeout_seconds
    async with runtime.database.transaction() as connection:
        mails = await store.lease(connection, BATCH, settings.mail_lease_seconds)
    if not mails:
        return False
    async with runtime.database.read() as connection:
        ready = await _ready(runtime, connection, mails)
    if not ready:
        return True
    client = _client(settings)
    try:
        await client.connect()
    except (SMTPException, OSError) as error:
        for mail, _ in ready:
            await _troubled(runtime, mail, Trouble(_reason(error)))
        _log.warning("the mail server cannot be reached; mail waits", reason=_reason(error), mails=len(ready))
        return False
    try:
        for number, (mail, found) in enumerate(ready):
            if number and time.monotonic() > until:
                return True  # the rest falls due again when its lease ends
            trouble = await _send(client, settings, mail, found)
            if trouble is not None:
                await _troubled(runtime, mail, trouble)
                continue
            failpoint("outside.after-effect")
            async with runtime.database.transaction() as connection:
                await store.mark_sent(connection, mail.id)
            MAILS.labels("sent").inc()
    finally:
        client.close()
    return True


async def _ready(runtime: Runtime, connection: AsyncConnection, mails: list[Mail]) -> list[tuple[Mail, Opened]]:
    """Open the mails; drop those to people who were erased, and let those to people not known yet wait."""
    ready: list[tuple[Mail, Opened]] = []
    for mail, found in zip(mails, await _opened(runtime, connection, mails), strict=True):
        if found is None:
            await _troubled(runtime, mail, Trouble("Tampered", for_good=True))
        elif isinstance(found.email, Erased):
            async with runtime.database.transaction() as own:
                await store.give_up(own, mail.id, "dropped", "erased")
            MAILS.labels("dropped").inc()
        elif found.email is None:
            await _troubled(runtime, mail, Trouble("no address is known"))
        else:
            ready.append((mail, found))
    return ready


async def _opened(runtime: Runtime, connection: AsyncConnection, mails: list[Mail]) -> list[Opened | None]:
    """Open mails, all at once where nothing is wrong with any of them; None for one that was tampered with."""
    try:
        return [*await opened(connection, runtime.keyring, [mail.notice for mail in mails])]
    except Tampered:
        if len(mails) == 1:
            return [None]
        return [found for mail in mails for found in await _opened(runtime, connection, [mail])]


def _client(settings: Settings) -> SMTP:
    return SMTP(
        hostname=settings.smtp_host,
        port=settings.smtp_port,
        username=settings.smtp_user or None,
        password=settings.smtp_pass.get_secret_value() or None,
        timeout=settings.mail_timeout_seconds,
        use_tls=settings.smtp_port == _TLS_PORT,
        start_tls=False
        if settings.smtp_port == _TLS_PORT
        else {"required": True, "offered": None, "off": False}[settings.smtp_starttls],
    )


async def _send(client: SMTP, settings: Settings, mail: Mail, found: Opened) -> Trouble | None:
    server: dict[str, str | int] = {"server.address": settings.smtp_host, "server.port": settings.smtp_port}
    try:
        with span("send mail", traceparent=mail.traceparent, kind="client", attributes=server):
            message = letter(mail.notice, found, sender=settings.smtp_from, web_url=settings.web_url)
            await client.send_message(message, sender=settings.smtp_from)
    except (SMTPException, OSError) as error:
        return Trouble(_reason(error), for_good=_code(error) >= _PERMANENT)
    except ValueError as error:  # an address that cannot stand in a header
        return Trouble(type(error).__name__, for_good=True)
    return None


async def _troubled(runtime: Runtime, mail: Mail, trouble: Trouble) -> None:
    settings: Settings = runtime.settings
    over = trouble.for_good or mail.attempts >= settings.mail_attempts
    async with runtime.database.transaction() as connection:
        if over:
            await store.give_up(connection, mail.id, "failed", trouble.reason)
        else:
            await store.postpone(connection, mail.id, pause_after(mail.attempts, settings.mail_retry), trouble.reason)
    MAILS.labels("failed" if over else "postponed").inc()
    if over:
        _log.error("a mail is given up", mail=mail.id, reason=trouble.reason, attempts=mail.attempts)


def _code(error: BaseException) -> int:
    """Return the reply code behind a failure; 0 without one."""
    if isinstance(error, SMTPRecipientsRefused):
        return max((one.code for one in error.recipients), default=0)
    return int(error.code) if isinstance(error, SMTPResponseException) else 0


def _reason(error: BaseException) -> str:
    """Return the kind of failure, without what the server said: that may name the person."""
    return f"{type(error).__name__} {_code(error) or ''}".strip()
