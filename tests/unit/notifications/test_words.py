"""Notices in words, and mails around them."""

from datetime import date
from typing import Any

import pytest

from lms.kernel.sealed import ERASED
from lms.notifications.commands.rendering import TEMPLATES, Opened, Text, in_words, letter, message_id
from lms.notifications.decider import KINDS, Asked, Notice

ASKED = Asked("annual", date(2026, 4, 1), date(2026, 4, 1))
FACTS = {
    "code": "balance-insufficient", "stood": "yes", "days": "3", "count": "2", "oldest": "2026-03-01",
    "because": "holidays", "costs": "less", "stands": "no",
}  # fmt: skip


def notice(kind: Any, **facts: str) -> Notice:
    return Notice("ben", "e1", kind, "r", 1, "anna", ASKED, {**FACTS, **facts})


def parts(message: Any) -> tuple[str, str]:
    """Return the text and the HTML of a mail."""
    text, page = message.get_body(("plain",)), message.get_body(("html",))
    return str(text.get_content()), str(page.get_content())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_words(kind: Any) -> None:
    for asked in (ASKED, None):
        text = in_words(Notice("ben", "e1", kind, "r", 1, "anna", asked, FACTS), "Anna", {})
        assert text.title
        assert text.paragraphs
        assert "None" not in str(text)


def test_there_are_no_words_for_what_is_never_told() -> None:
    files = {path.stem for path in (TEMPLATES / "notices").iterdir()}
    assert files == {*KINDS, "words"}


def test_a_single_day_and_a_period_are_told_apart() -> None:
    assert "on 2026-04-01" in in_words(notice("leave-confirmed"), "", {}).paragraphs[0]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("balance-insufficient", "Your balance is not sufficient for it."),
        ("rejected", "Your approver has rejected it."),
        ("superseded", "The leave is to be cancelled, so that the change was dropped."),
        ("a-code-of-tomorrow", "The reason is: a-code-of-tomorrow."),
    ],
)
def test_a_refusal_says_why_in_words(code: str, words: str) -> None:
    assert words in " ".join(in_words(notice("leave-refused", code=code), "", {}).paragraphs)


@pytest.mark.parametrize(
    ("because", "words"),
    [
        ("holidays", "because the holidays of your location have changed."),
        ("schedule", "because your work schedule has changed."),
        ("location", "because your location keeps other holidays."),
        ("a-cause-of-tomorrow", "because a-cause-of-tomorrow."),
    ],
)
def test_leave_that_costs_something_else_says_why(because: str, words: str) -> None:
    text = in_words(notice("leave-recharged", because=because, stands="yes"), "", {})
    assert text.title == "Your leave costs less than before"
    assert text.paragraphs[0] == f"Your annual leave on 2026-04-01 costs less than before, {words}"
    assert text.paragraphs[1] == "What it no longer costs is yours again."
    dearer = in_words(notice("leave-recharged", costs="more", stands="no"), "", {})
    assert dearer.paragraphs[0].startswith("Your request for annual leave on 2026-04-01 costs more than before")
    assert len(dearer.paragraphs) == 1


def test_the_reason_stands_in_the_text_as_it_was_written() -> None:
    text = in_words(notice("leave-refused", code="rejected"), "", {"reason": "<b>Quarter\n end</b>"})
    assert "The reason given: <b>Quarter end</b>" in text.paragraphs
    found = Opened(text, "Ben", "ben@test.example")
    plain, page = parts(letter(notice("leave-refused"), found, sender="lms@test.example", web_url=""))
    assert "<b>Quarter end</b>" in plain
    assert "&lt;b&gt;Quarter end&lt;/b&gt;" in page
    assert "<b>" not in page


def test_a_name_cannot_add_a_header() -> None:
    text = in_words(notice("approval-asked"), "Anna\r\nBcc: eve@test.example", {})
    message = letter(
        notice("approval-asked"), Opened(text, "Ben\r\nX: y", "ben@test.example"), sender="lms@test.example",
        web_url="http://lms.example",
    )  # fmt: skip
    assert message["Bcc"] is None
    assert "Hello Ben X: y," in parts(message)[0]
    assert "http://lms.example" in parts(message)[0]


def test_a_mail_has_one_message_id_for_ever_and_another_for_another_person_or_cause() -> None:
    sender = "lms@test.example"
    same = {message_id(notice(kind), sender) for kind in ("leave-confirmed", "leave-refused")}
    assert len(same) == 1
    others = [Notice("clara", "e1", "leave-confirmed"), Notice("ben", "e2", "leave-confirmed")]
    assert len(same | {message_id(one, sender) for one in others}) == 3
    assert same.pop().endswith("@test.example>")


def test_no_mail_is_written_to_somebody_who_was_erased() -> None:
    with pytest.raises(TypeError):
        letter(notice("leave-confirmed"), Opened(Text("t", ()), ERASED, ERASED), sender="a@b.example", web_url="")
