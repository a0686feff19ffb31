"""The `lms` commands that pages name."""

from collections.abc import Sequence
from typing import Any

from typer.main import get_command

from lms.cli.main import app


def arguments_of(words: Sequence[str]) -> list[str]:
    """Return the words behind the command that others name, after `lms`; fail where there is no such command."""
    command: Any = get_command(app)
    left = list(words)
    while left and hasattr(command, "commands"):
        assert left[0] in command.commands, f"there is no `lms {' '.join(words)}`"
        command = command.commands[left.pop(0)]
    return left
