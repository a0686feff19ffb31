"""Failpoints: places where a fault test kills the process on purpose, and checks that it may switch off.

`LMS_FAILPOINTS="relay.after-publish=kill@3,consumer.fencing=off"` kills the process with SIGKILL the third time that it
passes `relay.after-publish`, and switches the consumers' fencing off, so that a test can prove that it would notice.
Before it dies the process leaves a file `<name>.<pid>` in LMS_FAILPOINT_DIR as proof that the failpoint fired. Settings
refuse the variable in production; without it a failpoint costs one look into an empty dict.
"""

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

KILLS = frozenset(
    {
        "command.before-commit", "command.after-commit", "relay.after-read", "relay.after-publish", "relay.after-mark",
        "consumer.before-commit", "consumer.in-batch", "consumer.after-commit",
        "rebuild.in-batch", "rebuild.before-swap", "outside.after-effect",
    }
)  # fmt: skip
SWITCHES = frozenset({"consumer.fencing", "consumer.version-check", "relay.fencing", "store.version-check"})

_KILL = re.compile(r"kill(?:@(\d+))?")


class BadFailpoints(ValueError):
    """LMS_FAILPOINTS does not parse, or names what does not exist."""


@dataclass
class _Kill:
    remaining: int


def parse(text: str) -> tuple[dict[str, int], frozenset[str]]:
    """Return (failpoint → the how-manieth passage kills, switches that are off). Raises BadFailpoints."""
    kills: dict[str, int] = {}
    off: set[str] = set()
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, action = part.partition("=")
        found = _KILL.fullmatch(action)
        if name in KILLS and found is not None:
            kills[name] = int(found.group(1) or 1)
        elif name in SWITCHES and action == "off":
            off.add(name)
        else:
            raise BadFailpoints(
                f"LMS_FAILPOINTS: {part!r} is neither <failpoint>=kill[@N] nor <switch>=off; failpoints are"
                f" {', '.join(sorted(KILLS))}; switches are {', '.join(sorted(SWITCHES))}."
            )
    return kills, frozenset(off)


_counts, _off = parse(os.environ.get("LMS_FAILPOINTS", ""))
_kills = {name: _Kill(count) for name, count in _counts.items()}


def failpoint(name: str) -> None:
    """Mark a place where a fault test may kill the process."""
    if not _kills:
        return
    kill = _kills.get(name)
    if kill is None:
        return
    kill.remaining -= 1
    if kill.remaining == 0:
        folder = os.environ.get("LMS_FAILPOINT_DIR")
        if folder:
            (Path(folder) / f"{name}.{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def disabled(switch: str) -> bool:
    """Say whether a fault test has switched a check off."""
    return switch in _off
