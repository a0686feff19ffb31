"""Maintenance from a shell: `lms maintenance enable|disable|status|run -- COMMAND`.

`run` does the whole window: it closes the door, waits for what is in hand, runs the command, waits until every part is
healthy, and opens the door, also when the command fails or is interrupted. Only when the system is not healthy
afterwards does the door stay shut: whoever is on call decides then.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from lms.cli.home import Home
from lms.cli.system import LOADER

Tell = Callable[[str], None]

_POLL_SECONDS = 0.5


class Refused(Exception):
    """The gateway does not do it, or cannot be reached; the text says why."""


class Interrupted(Exception):
    """SIGTERM or SIGHUP came."""


class Gateway:
    """The gateway's address, and a way to a token that lets one in during maintenance."""

    def __init__(self, url: str, *, token: str = "", client_id: str = "", client_secret: str = "") -> None:
        self.url = url
        self._token = token
        self._account = {"client_id": client_id, "client_secret": client_secret}

    @classmethod
    def of(cls, folder: Path) -> "Gateway":
        """Return the gateway that LMS_URL names, with LMS_TOKEN or a service account's secret; else the home's."""
        url = os.environ.get("LMS_URL")
        if url is not None:
            token, secret = os.environ.get("LMS_TOKEN", ""), os.environ.get("LMS_CLIENT_SECRET", "")
            if not token and not secret:
                raise Refused("Set LMS_TOKEN, or LMS_CLIENT_ID and LMS_CLIENT_SECRET of a service account, as well.")
            account = os.environ.get("LMS_CLIENT_ID", "")
            return cls(url.rstrip("/"), token=token, client_id=account, client_secret=secret)
        home = Home.at(folder, attached=True)
        if "public" not in home.state.get("ports", {}):
            raise Refused(f"There is no system in {home.folder}; start it by `make up`, or set LMS_URL.")
        return cls(f"http://127.0.0.1:{home.port('public')}", client_id=LOADER, client_secret=home.secret("loader"))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request as an administrator; return its answer. Raises Refused."""
        try:
            with httpx.Client(base_url=self.url, timeout=30) as client:
                answer = self._sent(client, method, path, body)
                if answer.status_code == httpx.codes.UNAUTHORIZED and self._account["client_secret"]:
                    self._token = ""  # it has expired meanwhile
                    answer = self._sent(client, method, path, body)
        except httpx.TransportError as error:
            raise Refused(f"{self.url} cannot be reached: {error}") from error
        if not answer.is_success:
            raise Refused(f"{self.url} refuses: {answer.status_code} {_said(answer)}")
        return answer.json()

    def _sent(self, client: httpx.Client, method: str, path: str, body: Any) -> httpx.Response:
        if not self._token:
            given = client.post("/api/v1/auth/token", json=self._account)
            if not given.is_success:
                return given
            self._token = str(given.json()["access_token"])
        return client.request(method, path, json=body, headers={"Authorization": f"Bearer {self._token}"})

    def healthy(self) -> str | None:
        """Return None when every part is healthy, else what is said of it."""
        try:
            answer = httpx.get(f"{self.url}/health", timeout=10)
        except httpx.TransportError as error:
            return str(error)
        if answer.is_success:
            return None
        checks = answer.json().get("checks", {})
        down = [name for name, check in checks.items() if check["status"] != "up"]
        return ", ".join(down) or f"unhealthy ({answer.status_code})"


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]


def patiently(work: Callable[[], Any], seconds: float) -> Any:
    """Do what the gateway may refuse for a moment, again and again for so long. Raises the last Refused."""
    until = time.monotonic() + seconds
    while True:
        try:
            return work()
        except Refused:
            if time.monotonic() >= until:
                raise
            time.sleep(_POLL_SECONDS)


def drain(gateway: Gateway, seconds: float) -> bool:
    """Wait, for at most so long, until no request from before the maintenance is in hand; say whether none is."""
    until = time.monotonic() + seconds
    while not gateway.call("GET", "/admin/maintenance")["drained"]:
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def becomes_healthy(gateway: Gateway, seconds: float) -> str | None:
    """Wait, for at most so long, until every part is healthy; return None then, else what still is not."""
    until = time.monotonic() + seconds
    while (found := gateway.healthy()) is not None and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    return found


@dataclass(frozen=True)
class Window:
    """A maintenance window: how long to wait for what, and what callers are told meanwhile."""

    drain_seconds: float = 30.0
    health_seconds: float = 120.0
    message: str = ""
    retry_after_seconds: int = 120
    force: bool = False

    def run(self, gateway: Gateway, command: Sequence[str], tell: Tell) -> int:
        """Run a command in the window and return its exit code; 1 if it was not run, or the system is not healthy.

        Raises Refused when the window could not be opened.
        """
        body = {"message": self.message, "retry_after_seconds": self.retry_after_seconds}
        code = 1
        with _signals_raise():
            gateway.call("POST", "/admin/maintenance/enable", body)
            tell("Maintenance is on; new work is refused.")
            try:
                code = self._work(gateway, command, tell)
            except (KeyboardInterrupt, Interrupted):
                tell("Interrupted.")
            except (Refused, OSError) as error:
                tell(f"{error}")
        return self._close(gateway, code, tell)

    def _work(self, gateway: Gateway, command: Sequence[str], tell: Tell) -> int:
        if not drain(gateway, self.drain_seconds) and not self.force:
            tell(f"Requests are still in hand after {self.drain_seconds:.0f} s, so nothing was run (see --force).")
            return 1
        tell(f"Running {command[0]}.")
        return subprocess.run(command, check=False).returncode  # noqa: S603  # what the operator typed

    def _close(self, gateway: Gateway, code: int, tell: Tell) -> int:
        sick = becomes_healthy(gateway, self.health_seconds)
        if sick is not None:
            tell(f"The system is not healthy: {sick}. Maintenance stays on; `lms maintenance disable` opens the door.")
            return code or 1
        patiently(lambda: gateway.call("POST", "/admin/maintenance/disable"), self.health_seconds)
        tell("Every part is healthy. Maintenance is off.")
        return code


@contextmanager
def _signals_raise() -> Iterator[None]:
    def interrupt(number: int, _: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
