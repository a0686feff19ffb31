"""The folder of one embedded system: its data, ports, secrets, logs and sockets, kept from one start to the next.

Several systems run side by side, each in a folder of its own (`--home`, `LMS_HOME`, else `.lms`).
"""

import hashlib
import json
import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LONGEST_SOCKET_FOLDER = 80
"""A unix socket's path may have 107 characters; names of up to 27 follow."""


OTHER_ENCRYPTION_KEYS = {"encryption-next": "ENCRYPTION_KEY_NEXT", "encryption-previous": "ENCRYPTION_KEY_PREVIOUS"}
"""The secrets that are there while ENCRYPTION_KEY is rotated, and the variables by which services have them."""


def port_is_free(port: int) -> bool:
    """Say whether a port of the loopback address can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def any_free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Home:
    """The folder, and what `state.json` (ports, demo) and `secrets.json` in it remember."""

    folder: Path
    state: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    attached: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @classmethod
    def at(cls, folder: Path, *, attached: bool = False) -> "Home":
        """Return the home at `folder`, created if need be; what it holds is readable by its owner alone.

        `attached` is for whoever talks to a system that runs: ports are then the ones in use.
        """
        folder = folder.resolve()
        for part in (folder, folder / "logs", folder / "env"):
            part.mkdir(parents=True, exist_ok=True)
        (folder / "env").chmod(0o700)
        home = cls(folder, attached=attached)
        home.state = read(folder / "state.json")
        home.secrets = read(folder / "secrets.json")
        return home

    @property
    def run(self) -> Path:
        """The folder of sockets and pid files; elsewhere when the home's own path is too long for a socket."""
        run = self.folder / "run"
        if len(str(run)) > _LONGEST_SOCKET_FOLDER:
            name = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
            run = Path(tempfile.gettempdir()) / f"lms-{os.getuid()}-{name}"
        run.mkdir(parents=True, exist_ok=True)
        return run

    def secret(self, name: str, length: int = 32) -> str:
        """Return a generated secret, the same at every start; `length` counts random bytes."""
        with self._lock:  # the servers are prepared side by side
            if name not in self.secrets:
                self.secrets[name] = secrets.token_urlsafe(length)
                write(self.folder / "secrets.json", self.secrets)
            return self.secrets[name]

    def keep_secret(self, name: str, value: str) -> None:
        """Keep a secret that was made elsewhere."""
        with self._lock:
            self.secrets[name] = value
            write(self.folder / "secrets.json", self.secrets)

    def change_secrets(self, changes: Mapping[str, str | None]) -> None:
        """Keep and forget (None) several secrets in one step."""
        with self._lock:
            changed = {**self.secrets, **changes}
            self.secrets = {name: value for name, value in changed.items() if value is not None}
            write(self.folder / "secrets.json", self.secrets)

    def encryption_keys(self) -> dict[str, str]:
        """Return the variables that name the encryption keys; while the key is rotated there are two."""
        variables = {"ENCRYPTION_KEY": self.secret("encryption", 48)}
        for name, variable in OTHER_ENCRYPTION_KEYS.items():
            if name in self.secrets:
                variables[variable] = self.secrets[name]
        return variables

    def port(self, name: str, preferred: int | None = None) -> int:
        """Return the port of a part: the one it had, else `preferred`, else any; never one that is taken now."""
        with self._lock:
            return self._port(name, preferred)

    def _port(self, name: str, preferred: int | None) -> int:
        ports = self.state.setdefault("ports", {})
        if self.attached and name in ports:
            return int(ports[name])
        others = {port for other, port in ports.items() if other != name}
        for candidate in (ports.get(name), preferred):
            if candidate is not None and candidate not in others and port_is_free(candidate):
                break
        else:
            candidate = any_free_port()
            while candidate in ports.values():
                candidate = any_free_port()
        if ports.get(name) != candidate:
            ports[name] = candidate
            self.save()
        return int(candidate)

    def save(self) -> None:
        """Write the state."""
        write(self.folder / "state.json", self.state)


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file that its owner alone reads in one step, so that a crash leaves the old one or the new one."""
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(descriptor)  # a key that a power cut takes away takes with it what it sealed
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def read(path: Path) -> dict[str, Any]:
    """Return what such a file holds; nothing where there is none."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
