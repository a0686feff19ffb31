"""Child processes under supervisord: restarted with back-off, stopped within five seconds, gone when it is.

The guide asks for what a process manager does: supervisord restarts what ends, and kills what does not end in time.
The rest a process does itself, in containers as here (`lms.kernel.service`): it ends when it does not come to listen,
and when it has grown past its memory limit; its `/readyz` is the ready signal. Should supervisord be killed, the kernel
asks every child to end (PR_SET_PDEATHSIG), so that no orphan holds a port or a data folder.
"""

import contextlib
import fcntl
import os
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from lms.cli.home import Home

STOP_SECONDS = 5

SETTLED_SECONDS = 5
"""A process that ends sooner after its start has not started, and is started anew after pauses that grow. To load its
code alone takes a service two seconds."""

_START_SECONDS = 10.0
_STOP_SECONDS = 40.0
_DESCRIPTORS = 512
"""supervisord closes descriptors below this in its children; those above are passed on."""
_STOPPED = frozenset({"STOPPED", "EXITED", "FATAL"})


@dataclass(frozen=True, slots=True)
class Program:
    """A process to supervise; lower priorities start first and stop last. It runs as `user`, if one is named."""

    name: str
    command: tuple[str, ...]
    priority: int
    stop_seconds: int = STOP_SECONDS
    user: str | None = None


def descriptor_for_children(listening: socket.socket) -> int:
    """Return a descriptor of a socket that supervisord passes on to its children."""
    descriptor = fcntl.fcntl(listening, fcntl.F_DUPFD, _DESCRIPTORS)
    os.set_inheritable(descriptor, True)
    return descriptor


def _lives(process: psutil.Process) -> bool:
    """Say whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class NotRunning(Exception):
    """No supervisor runs in this home."""


class Supervisor:
    """supervisord for one home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._socket = home.run / "supervisor.sock"
        self._configuration = home.folder / "supervisord.conf"

    @property
    def logs(self) -> Path:
        """The folder of the programs' logs, one file each."""
        return self._home.folder / "logs"

    def running(self) -> bool:
        """Say whether supervisord answers."""
        try:
            self._call("getState")
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def start(self, programs: list[Program], *, pass_on: tuple[int, ...] = ()) -> None:
        """Start supervisord with these programs, none of them started yet.

        The descriptors of `pass_on` (see `descriptor_for_children`) stay open in it, and in every child.
        """
        self._configuration.write_text(self._text(programs), encoding="utf-8")
        self._socket.unlink(missing_ok=True)
        done = subprocess.run(  # noqa: S603  # our own command
            [str(Path(sys.executable).with_name("supervisord")), "-c", str(self._configuration)],
            capture_output=True, text=True, check=False, start_new_session=True, pass_fds=pass_on,
        )  # fmt: skip
        until = time.monotonic() + _START_SECONDS
        while not self.running():
            if done.returncode or time.monotonic() > until:
                raise RuntimeError(f"supervisord did not start: {done.stdout}{done.stderr}")
            time.sleep(0.05)

    def add(self, programs: list[Program]) -> None:
        """Supervise further programs, none of them started yet; one that is supervised already is left alone."""
        known = self.states()
        new = [program for program in programs if program.name not in known]
        with self._configuration.open("a", encoding="utf-8") as file:
            file.writelines("\n" + self._program(program) for program in new)
        self._call("reloadConfig")
        for program in new:
            self._call("addProcessGroup", program.name)

    def start_program(self, name: str) -> None:
        """Start a program that is stopped; one that runs is left alone."""
        with contextlib.suppress(xmlrpc.client.Fault):
            self._call("startProcess", name, False)

    def stop_program(self, name: str) -> None:
        """Stop a program and wait until it is gone; one that is stopped is left alone."""
        with contextlib.suppress(xmlrpc.client.Fault):
            self._call("stopProcess", name)

    def stop_programs(self, names: Iterable[str]) -> None:
        """Stop programs side by side, and wait until all are gone."""
        waiting = set(names)
        for name in waiting:
            with contextlib.suppress(xmlrpc.client.Fault):
                self._call("stopProcess", name, False)
        until = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < until:
            found = self.states()
            if all(found[name]["statename"] in _STOPPED for name in waiting if name in found):
                return
            time.sleep(0.05)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return each program's state: `statename` (RUNNING, BACKOFF, …), `pid`, `description`."""
        try:
            found = self._call("getAllProcessInfo")
        except OSError as error:
            raise NotRunning(f"Nothing runs in {self._home.folder}; start it by `make up`.") from error
        return {one["name"]: one for one in found}

    def shut_down(self) -> None:
        """Stop supervisord with everything that still runs, the highest priority first; return once it is gone.

        It no longer answers some time before it ends, and removes its socket last: the socket of its successor, were
        that started in between.
        """
        try:
            process = psutil.Process(int(self._call("getPID")))
            self._call("shutdown")
        except (OSError, xmlrpc.client.Error, psutil.NoSuchProcess):
            return
        until = time.monotonic() + _STOP_SECONDS
        while _lives(process) and time.monotonic() < until:
            time.sleep(0.05)

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()

    def _text(self, programs: list[Program]) -> str:
        run, logs = self._home.run, self.logs
        parts = [
            f"[supervisord]\npidfile={run}/supervisord.pid\nlogfile={logs}/supervisord.log\nlogfile_maxbytes=5MB\n"
            f"logfile_backups=1\nchildlogdir={logs}\nloglevel=info\nminfds={_DESCRIPTORS}\n"
            + ("user=root\n" if os.geteuid() == 0 else ""),
            f"[unix_http_server]\nfile={self._socket}\nchmod=0700\n",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
            f"[supervisorctl]\nserverurl=unix://{self._socket}\n",
        ]
        return "\n".join(parts + [self._program(program) for program in programs])

    def _program(self, program: Program) -> str:
        bound = ["setpriv", "--pdeathsig", "TERM"]
        if program.user is not None:
            bound += [f"--reuid={program.user}", f"--regid={program.user}", "--init-groups"]
        command = shlex.join([*bound, *program.command]).replace("%", "%%")
        return (
            f"[program:{program.name}]\ncommand={command}\nautostart=false\nautorestart=true\n"
            f"startsecs={SETTLED_SECONDS}\nstartretries=100\npriority={program.priority}\n"
            f"stopwaitsecs={program.stop_seconds}\n"
            "stopasgroup=false\nkillasgroup=true\nredirect_stderr=true\n"
            f"stdout_logfile={self.logs}/{program.name}.log\nstdout_logfile_maxbytes=10MB\nstdout_logfile_backups=3\n"
        )
