"""docker-compose.yml as data: its variables filled in, its merges made."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-+?])([^{}]*))?\}")


def document(**variables: str) -> dict[str, Any]:
    """Return the file as compose reads it; a variable without a default that is not given stands for its own name."""

    def value(found: "re.Match[str]") -> str:
        name, mark, word = found.groups()
        given = variables.get(name, "")
        if mark == "+":
            return word if given else ""
        return given or (word if mark == "-" else name)

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: filled(one) for key, one in node.items()}
        if isinstance(node, list):
            return [filled(one) for one in node]
        if not isinstance(node, str):
            return node
        while (text := _VARIABLE.sub(value, node)) != node:  # from the innermost on: a default may hold a variable
            node = text
        return node.replace("$$", "$")

    read: dict[str, Any] = filled(yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    return read


def services(**variables: str) -> dict[str, dict[str, Any]]:
    """Return the services by their names."""
    found: dict[str, dict[str, Any]] = document(**variables)["services"]
    return found


@dataclass(frozen=True)
class Mount:
    """What stands where in a container; `source` is a path of the host, a volume's name, or nothing for a tmpfs."""

    source: str | None
    target: PurePosixPath
    read_only: bool

    @property
    def of_the_host(self) -> bool:
        """Say whether it is a file or folder of the host."""
        return self.source is not None and self.source.startswith((".", "/"))


def mounts(service: dict[str, Any]) -> list[Mount]:
    """Return what is mounted into a service's containers."""
    found = [Mount(None, PurePosixPath(one.partition(":")[0]), read_only=False) for one in service.get("tmpfs", [])]
    for one in service.get("volumes", []):
        if isinstance(one, str):
            source, target, *options = one.split(":")
            found.append(Mount(source, PurePosixPath(target), "ro" in ",".join(options).split(",")))
        else:
            found.append(Mount(one["source"], PurePosixPath(one["target"]), one.get("read_only", False)))
    return found


def tracked(path: PurePosixPath, files: frozenset[str]) -> bool:
    """Say whether a path of the checkout is a file of git's, or a folder with one."""
    name = str(path)
    return name in files or any(one.startswith(f"{name}/") for one in files)
