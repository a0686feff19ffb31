"""Become a service: read the environment from a private file, then replace this process by the command.

`python -m lms.cli.launch ENVIRONMENT.json COMMAND…` keeps secrets out of argument lists and of the supervisor's
configuration.
"""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Replace this process by the command, with the file's variables added to the environment."""
    file, command = sys.argv[1], sys.argv[2:]
    os.environ.update(json.loads(Path(file).read_text(encoding="utf-8")))
    os.execvp(command[0], command)  # noqa: S606  # our own command, no shell


if __name__ == "__main__":
    main()
