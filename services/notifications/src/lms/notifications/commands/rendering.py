"""Notices in words. What is sealed is opened here, when somebody looks or a mail goes out, and is kept nowhere.

`templates/notices/<kind>.txt` holds a title in its first line and paragraphs after it; `templates/mail.txt` and
`mail.html` put a mail around them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import localtime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.kernel.keyring import Keyring
from lms.kernel.sealed import Erased, Sealed
from lms.notifications.decider import Notice
from lms.notifications.projections.people import contacts

TEMPLATES = Path(__file__).parents[4] / "templates"

SOMEBODY = "A former colleague"
"""The name of whoever was erased, and of whoever is not known yet."""

_environment = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=select_autoescape(("html",)),
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Text:
    """A notice in words."""

    title: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A notice in words, and how its person is called and reached: ERASED for ever, or None as yet unknown."""

    text: Text
    name: str | Erased | None
    email: str | Erased | None


async def opened(connection: AsyncConnection, keyring: Keyring, notices: Sequence[Notice]) -> list[Opened]:
    """Return notices in words, in their order, with one query for all people and one for all keys."""
    people = {one.person for one in notices} | {one.about for one in notices if one.about}
    known = await contacts(connection, people)
    sealed: list[Sealed] = []
    for contact in known.values():
        sealed += [contact.name, contact.email]
    for notice in notices:
        sealed += notice.sealed.values()
    texts = dict(zip(sealed, await keyring.unseal_all(sealed), strict=True)) if sealed else {}
    names = {person: texts[contact.name] for person, contact in known.items()}
    emails = {person: texts[contact.email] for person, contact in known.items()}
    return [
        Opened(
            in_words(
                notice,
                _shown(names.get(notice.about)) if notice.about else "",
                {name: text for name, one in notice.sealed.items() if isinstance(text := texts[one], str)},
            ),
            names.get(notice.person),
            emails.get(notice.person),
        )
        for notice in notices
    ]


def in_words(notice: Notice, who: str, texts: dict[str, str]) -> Text:
    """Return a notice in words; `who` is whose leave it is, `texts` what was sealed and could be opened."""
    values: dict[str, Any] = {"who": who, "asked": notice.asked, **notice.facts}
    written = _environment.get_template(f"notices/{notice.kind}.txt").render(values, reason=texts.get("reason"))
    title, *rest = (" ".join(one.split()) for one in written.strip().split("\n\n"))
    return Text(title, tuple(one for one in rest if one))


def letter(notice: Notice, opened_: Opened, *, sender: str, web_url: str) -> EmailMessage:
    """Return the mail of a notice whose person can be reached. Its Message-ID is always the same."""
    if not isinstance(opened_.email, str):
        raise TypeError("a mail needs an address")
    message = EmailMessage()
    message["From"] = f"LMS <{sender}>"
    message["To"] = opened_.email
    message["Subject"] = opened_.text.title
    message["Date"] = localtime()
    message["Message-ID"] = message_id(notice, sender)
    message["Auto-Submitted"] = "auto-generated"
    values = {
        "name": _shown(opened_.name), "title": opened_.text.title, "paragraphs": opened_.text.paragraphs,
        "web_url": web_url,
    }  # fmt: skip
    message.set_content(_environment.get_template("mail.txt").render(values))
    message.add_alternative(_environment.get_template("mail.html").render(values), subtype="html")
    return message


def message_id(notice: Notice, sender: str) -> str:
    """Return the Message-ID of a notice: from its person and cause alone, so that a mail sent twice is known again."""
    digest = hashlib.sha256(f"{notice.cause}/{notice.person}".encode()).hexdigest()[:40]
    return f"<{digest}@{sender.rpartition('@')[2]}>"


def _shown(name: str | Erased | None) -> str:
    return " ".join(name.split()) if isinstance(name, str) else SOMEBODY
