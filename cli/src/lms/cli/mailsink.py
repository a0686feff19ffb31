"""The mail sink of an embedded system: takes every mail by SMTP, delivers none, and shows them on a page.

    python -m lms.cli.mailsink [--host 0.0.0.0] MAILDIR SMTP_PORT HTTP_PORT

It listens on the loopback address unless it is told another, and keeps what it took in a Maildir. `GET /` is a page for
people, `GET /mails?to=…` the same as JSON, the newest first.
"""

import argparse
import asyncio
import contextlib
import html
import mailbox
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email import message_from_bytes, policy
from email.utils import getaddresses
from pathlib import Path

from aiohttp import web
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP

SHOWN = 200
"""Mails that a page or answer shows at most."""

LARGEST = 1024 * 1024

LOOPBACK = "127.0.0.1"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Mails of LMS</title>
<meta name="viewport" content="width=device-width">
<style>body {{ font-family: sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
summary {{ padding: .4rem 0; cursor: pointer }} pre {{ white-space: pre-wrap; background: #f4f4f4; padding: 1rem }}
</style></head>
<body><h1>Mails of LMS</h1><p>{count} mails were taken, and none delivered; the newest {shown} are here.</p>
{mails}</body></html>
"""
_MAIL = "<details><summary><b>{subject}</b> to {to}, {date}</summary><pre>{text}</pre></details>\n"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it came; `text` is its plain part."""

    message_id: str
    sender: str
    to: list[str]
    subject: str
    date: str
    text: str


class MailSink:
    """An SMTP server and a small web server over one Maildir."""

    def __init__(self, folder: Path, host: str = LOOPBACK) -> None:
        self._folder = folder
        self._host = host
        mailbox.Maildir(folder, create=True)
        self._smtp: asyncio.Server | None = None
        self._http: web.AppRunner | None = None

    async def start(self, smtp_port: int, http_port: int | None = None) -> None:
        """Listen for mails, and for those who want to see them if there is a port for it."""
        loop = asyncio.get_running_loop()
        handler = Mailbox(self._folder)
        self._smtp = await loop.create_server(
            lambda: SMTP(handler, hostname="localhost", data_size_limit=LARGEST, loop=loop), self._host, smtp_port
        )
        if http_port is not None:
            app = web.Application()
            app.add_routes([web.get("/", self._page), web.get("/mails", self._list)])
            self._http = web.AppRunner(app, access_log=None)
            await self._http.setup()
            await web.TCPSite(self._http, self._host, http_port).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None
        if self._http is not None:
            await self._http.cleanup()
            self._http = None

    def mails(self, to: str | None = None, limit: int = SHOWN) -> list[Mail]:
        """Return the newest mails, or those to one address, the newest first."""
        found = []
        for path in self._paths():
            raw = path.read_bytes()
            if to is not None and to.lower().encode() not in raw.lower():  # to parse thousands would take seconds
                continue
            mail = _read(raw)
            if to is None or to.lower() in mail.to:
                found.append(mail)
                if len(found) == limit:
                    break
        return found

    def _paths(self) -> Iterator[Path]:
        files = [(one.stat().st_mtime_ns, one) for one in (self._folder / "new").iterdir()]
        return (path for _, path in sorted(files, reverse=True))

    async def _list(self, request: web.Request) -> web.Response:
        found = await asyncio.to_thread(self.mails, request.query.get("to"))
        return web.json_response({"items": [asdict(one) for one in found]})

    async def _page(self, _: web.Request) -> web.Response:
        found = await asyncio.to_thread(self.mails)
        count = len(list((self._folder / "new").iterdir()))
        shown = "".join(
            _MAIL.format(
                subject=html.escape(one.subject),
                to=html.escape(", ".join(one.to)),
                date=html.escape(one.date),
                text=html.escape(one.text),
            )
            for one in found
        )
        page = _PAGE.format(count=count, shown=len(found), mails=shown)
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return web.Response(text=page, content_type="text/html", headers=headers)


def _read(raw: bytes) -> Mail:
    message = message_from_bytes(raw, policy=policy.default)
    body = message.get_body(("plain",))
    return Mail(
        message_id=str(message.get("Message-ID", "")),
        sender=str(message.get("From", "")),
        to=[address.lower() for _, address in getaddresses([str(message.get("To", ""))])],
        subject=str(message.get("Subject", "")),
        date=str(message.get("Date", "")),
        text=str(body.get_content()) if body is not None else "",
    )


async def _serve(folder: Path, host: str, smtp_port: int, http_port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sink = MailSink(folder, host)
    await sink.start(smtp_port, http_port)
    await stop.wait()
    await sink.stop()


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="lms-mailsink", description="Takes every mail and delivers none.")
    parser.add_argument("--host", default=LOOPBACK, help="the address to listen on")
    parser.add_argument("maildir", type=Path)
    parser.add_argument("smtp_port", type=int)
    parser.add_argument("http_port", type=int)
    chosen = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(chosen.maildir, chosen.host, chosen.smtp_port, chosen.http_port))


if __name__ == "__main__":
    main()
