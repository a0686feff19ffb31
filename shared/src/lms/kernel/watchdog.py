"""What a process watches of itself, from a thread, so that a busy event loop does not blind it.

A process that has grown past its memory limit asks itself to stop, in order, and whoever runs it (supervisord, Docker,
Kubernetes) starts it anew: requests in hand finish, where the kernel's out-of-memory killer would cut them off. A stop
that takes too long ends hard.
"""

import contextlib
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

CHECK_SECONDS = 5.0

_SHARE_OF_CONTAINER = 0.9
_MEGABYTE = 1024 * 1024
_HARD_EXIT = 70
_PAGE = resource.getpagesize()

_log = structlog.get_logger(__name__)


def watch_memory(limit_bytes: int, ask_to_stop: Callable[[], object]) -> None:
    """Call `ask_to_stop`, once and from another thread, when the process has more resident memory than the limit."""

    def watch() -> None:
        pause = threading.Event()
        while not pause.wait(CHECK_SECONDS):
            resident = resident_bytes()
            if resident > limit_bytes:
                _log.error(
                    "the process has grown past its memory limit, and stops to be started anew",
                    resident_megabytes=resident // _MEGABYTE, limit_megabytes=limit_bytes // _MEGABYTE,
                )  # fmt: skip
                ask_to_stop()
                return

    threading.Thread(target=watch, name="watch the memory", daemon=True).start()


def end_within(seconds: float) -> None:
    """End the process hard if it has not ended by then."""

    def end() -> None:
        _log.error("the process did not stop in time, and is ended", seconds=seconds)
        os._exit(_HARD_EXIT)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def memory_limit(megabytes: int) -> int:
    """Return the limit in bytes: the one that was set, or nine tenths of the container's where that is less."""
    container = _container_limit()
    wanted = megabytes * _MEGABYTE
    return wanted if container is None else min(wanted, int(container * _SHARE_OF_CONTAINER))


def resident_bytes() -> int:
    """Return how much memory the process has in RAM."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def _container_limit() -> int | None:
    """Return the memory limit of the cgroup (version 2) that the process runs in; None without one."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        own = next((line.removeprefix("0::").strip("/") for line in lines if line.startswith("0::")), "")
        for folder in (Path("/sys/fs/cgroup") / own, Path("/sys/fs/cgroup")):
            file = folder / "memory.max"
            if file.exists():
                return int(file.read_text(encoding="ascii"))  # `max` is no number, and no limit
    return None
