"""Child processes under supervisord: restarted with back-off, limited in memory, stopped within five seconds.

The guide asks for what a process manager does (restart, ready signal, 1 GB limit, kill time-out); supervisord does it,
and superlance's memmon restarts a service that grows past the limit.
"""

import contextlib
import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from lms.cli.home import Home

MEMORY_LIMIT = "1GB"
STOP_SECONDS = 5

_START_SECONDS = 10.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Program:
    """A process to supervise; lower priorities start first and stop last. `limited` ones are restarted at 1 GB."""

    name: str
    command: tuple[str, ...]
    priority: int
    limited: bool = False
    stop_seconds: int = STOP_SECONDS


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

    def start(self, programs: list[Program]) -> None:
        """Start supervisord with these programs, none of them started yet."""
        self._configuration.write_text(self._text(programs), encoding="utf-8")
        self._socket.unlink(missing_ok=True)
        done = subprocess.run(  # noqa: S603  # our own command
            [str(Path(sys.executable).with_name("supervisord")), "-c", str(self._configuration)],
            capture_output=True, text=True, check=False, start_new_session=True,
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
            f"logfile_backups=1\nchildlogdir={logs}\nloglevel=info\nminfds=1024\n"
            + ("user=root\n" if os.geteuid() == 0 else ""),
            f"[unix_http_server]\nfile={self._socket}\nchmod=0700\n",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
            f"[supervisorctl]\nserverurl=unix://{self._socket}\n",
        ]
        parts += [self._program(program) for program in programs]
        limited = [program.name for program in programs if program.limited]
        if limited:
            memmon = Path(sys.executable).with_name("memmon")
            limits = " ".join(f"-p {name}={MEMORY_LIMIT}" for name in limited)
            parts.append(
                f"[eventlistener:memory-limit]\ncommand={memmon} {limits}\nevents=TICK_60\nautostart=true\n"
                f"stderr_logfile={logs}/memory-limit.log\nstderr_logfile_maxbytes=1MB\nstderr_logfile_backups=1\n"
            )
        return "\n".join(parts)

    def _program(self, program: Program) -> str:
        command = shlex.join(program.command).replace("%", "%%")
        return (
            f"[program:{program.name}]\ncommand={command}\nautostart=false\nautorestart=true\nstartsecs=1\n"
            f"startretries=100\npriority={program.priority}\nstopwaitsecs={program.stop_seconds}\n"
            "stopasgroup=false\nkillasgroup=true\nredirect_stderr=true\n"
            f"stdout_logfile={self.logs}/{program.name}.log\nstdout_logfile_maxbytes=10MB\nstdout_logfile_backups=3\n"
        )
