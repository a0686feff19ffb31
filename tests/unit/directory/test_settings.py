"""What the environment says of cookies, under the production guide's names, and what is refused at the start."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from lms.directory.api import auth
from lms.directory.api.access import Parts
from lms.directory.commands.sessions import SignedIn
from lms.directory.settings import Settings
from lms.kernel.auth import TokenSigner
from lms.kernel.settings import BadSettings, load

RANDOM = "q8Zr1Vx0Lk7WmT5pYc3NhJ9dFb2GsKaUeRwXo6iQyPz4CvBnMt8HjD1lSfEuAgO0"
GOOD = {
    "DATABASE_URL": "mysql://lms_directory:n0tGue55ed@db:3306/lms_directory",
    "REDIS_URL": "redis://redis:6379/0",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "ENCRYPTION_KEY": RANDOM[:40],
    "JWT_PUBLIC_KEY": "MCowBQYDK2VwAyEA" + "x" * 44,
    "JWT_SECRET": RANDOM,
}
COOKIES = ("COOKIE_SECURE", "LMS_DIRECTORY_COOKIE_SECURE", "SESSION_SECURE", "COOKIE_SAME_SITE")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*COOKIES, "LMS_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def cookies_of(settings: Settings) -> list[str]:
    """Return the cookies that a browser gets which signs in."""
    parts = cast("Parts", SimpleNamespace(settings=settings, signer=TokenSigner(RANDOM)))
    signed_in = cast(
        "SignedIn", SimpleNamespace(employee_id="e", roles=("employee",), session_id="s", refresh_token="r")
    )
    answer: Any = auth._token_answer(parts, signed_in, in_body=False)
    found: list[str] = answer.headers.getlist("set-cookie")
    assert [one.partition("=")[0] for one in found] == ["lms_access", "lms_refresh", "lms_csrf"]
    return found


def test_without_a_word_cookies_are_strict_and_travel_in_clear_in_development_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert all("SameSite=strict" in one and "Secure" not in one for one in cookies_of(load(Settings)))
    monkeypatch.setenv("LMS_ENVIRONMENT", "test")
    assert all("SameSite=strict" in one and "Secure" in one for one in cookies_of(load(Settings)))


@pytest.mark.parametrize("name", ["COOKIE_SECURE", "SESSION_SECURE", "LMS_DIRECTORY_COOKIE_SECURE"])
def test_cookies_are_kept_to_tls_under_the_guides_names_and_the_old_one(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "true")
    assert all("Secure" in one for one in cookies_of(load(Settings)))
    monkeypatch.setenv("LMS_ENVIRONMENT", "test")
    monkeypatch.setenv(name, "false")
    assert all("Secure" not in one for one in cookies_of(load(Settings)))


def test_cookies_may_come_along_with_a_link_from_another_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COOKIE_SAME_SITE", "lax")
    assert all("SameSite=lax" in one for one in cookies_of(load(Settings)))


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("COOKIE_SECURE", "certainly", "valid boolean"),
        ("LMS_DIRECTORY_COOKIE_SECURE", "certainly", "valid boolean"),
        ("SESSION_SECURE", "certainly", "valid boolean"),
        ("COOKIE_SAME_SITE", "none", "'strict' or 'lax'"),
    ],
)
def test_a_wrong_value_stops_the_process_which_names_it_and_says_why(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as refusal:
        load(Settings)
    (line,) = str(refusal.value).splitlines()
    assert line.startswith(f"{name}: ")
    assert complaint in line
    assert value not in line


@pytest.mark.parametrize("other", ["SESSION_SECURE", "LMS_DIRECTORY_COOKIE_SECURE"])
def test_names_of_one_setting_that_say_otherwise_are_refused(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.setenv("COOKIE_SECURE", "true")
    monkeypatch.setenv(other, "false")
    with pytest.raises(BadSettings, match=f"COOKIE_SECURE is true, {other} is false: they are names of one setting"):
        load(Settings)
    monkeypatch.setenv(other, "true")
    assert load(Settings).secure_cookies
