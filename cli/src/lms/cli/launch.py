"""Become a service: read the environment from a private file, then run a module, or a script, in this very process.

`python -m lms.cli.launch ENVIRONMENT.json MODULE ARGUMENTS…` keeps secrets out of argument lists, of the supervisor's
configuration and of what the system shows of a process. Garbage is not collected while the module is imported: what
imports leave stays, and to walk over it again and again is a sixth of a start.
"""

import gc
import json
import os
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run the module, with the file's variables added to the environment, and a PYTHONPATH among them heeded."""
    file, module, *arguments = sys.argv[1:]
    variables: dict[str, str] = json.loads(Path(file).read_text(encoding="utf-8"))
    os.environ.update(variables)
    sys.path[:0] = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = [module, *arguments]
    gc.disable()  # until `collect_seldom`
    if module.endswith(".py"):
        runpy.run_path(module, run_name="__main__")
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
