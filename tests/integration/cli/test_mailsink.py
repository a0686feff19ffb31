"""The mail sink: what is sent to it can be read, by people and by scripts, and goes nowhere."""

import asyncio
import signal
import smtplib
import sys
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from lms.cli.home import any_free_port
from lms.cli.mailsink import MailSink


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[tuple[MailSink, int, str]]:
    found, smtp, http = MailSink(tmp_path / "mails"), any_free_port(), any_free_port()
    await found.start(smtp, http)
    yield found, smtp, f"http://127.0.0.1:{http}"
    await found.stop()


def mail(to: str, subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "LMS <lms@test.example>", to, subject
    message["Message-ID"] = f"<{len(subject)}@test.example>"
    message.set_content("<b>Grüße</b>")
    message.add_alternative("<p>Grüße</p>", subtype="html")
    return message


async def send(port: int, *messages: EmailMessage) -> None:
    def now() -> None:
        with smtplib.SMTP("127.0.0.1", port) as server:
            for message in messages:
                server.send_message(message)

    await asyncio.to_thread(now)


async def test_mails_are_listed_the_newest_first_and_by_address(sink: tuple[MailSink, int, str]) -> None:
    _, port, url = sink
    await send(port, mail("Anna@test.example", "one"), mail("ben@test.example", "two"))
    async with httpx.AsyncClient(base_url=url) as client:
        items = (await client.get("/mails")).json()["items"]
        assert [one["subject"] for one in items] == ["two", "one"]
        (mine,) = (await client.get("/mails", params={"to": "anna@TEST.example"})).json()["items"]
    assert mine["to"] == ["anna@test.example"]
    assert mine["message_id"] == "<3@test.example>"
    assert mine["text"].strip() == "<b>Grüße</b>"


async def test_the_page_shows_mails_and_runs_nothing_that_stands_in_them(sink: tuple[MailSink, int, str]) -> None:
    _, port, url = sink
    await send(port, mail("anna@test.example", "<script>alert(1)</script>"))
    async with httpx.AsyncClient(base_url=url) as client:
        page = await client.get("/")
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_mails_outlive_the_process_that_took_them(tmp_path: Path) -> None:
    smtp, http = any_free_port(), any_free_port()
    command = [sys.executable, "-m", "lms.cli.mailsink", str(tmp_path / "mails"), str(smtp), str(http)]
    for number in (1, 2):
        process = await asyncio.create_subprocess_exec(*command)
        try:
            await _listening(http)
            await send(smtp, mail("anna@test.example", str(number)))
            async with httpx.AsyncClient() as client:
                assert len((await client.get(f"http://127.0.0.1:{http}/mails")).json()["items"]) == number
        finally:
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 5) == 0


async def _listening(port: int) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
