"""A service is launched with what its private file says, and with nothing of it where others could look."""

import json
import subprocess
import sys
from pathlib import Path

MODULE = """
import gc, json, os, sys
from pathlib import Path
print(json.dumps({
    "secret": os.environ["SECRET"],
    "arguments": sys.argv[1:],
    "named": __name__,
    "collecting": gc.isenabled(),
    "shown": "abc123" in Path("/proc/self/environ").read_text() + Path("/proc/self/cmdline").read_text(),
}))
"""
ENVIRONMENT = {"SECRET": "abc123"}


def launched(tmp_path: Path, what: str, *arguments: str, **variables: str) -> dict[str, object]:
    file = tmp_path / "environment.json"
    file.write_text(json.dumps(ENVIRONMENT | variables))
    command = [sys.executable, "-m", "lms.cli.launch", str(file), what, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_script_has_the_variables_of_the_file_which_the_system_does_not_show(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(MODULE)
    assert launched(tmp_path, str(script), "--migrate") == {
        "secret": "abc123",
        "arguments": ["--migrate"],
        "named": "__main__",
        "collecting": False,
        "shown": False,
    }


def test_a_module_of_another_version_is_found_where_the_file_says(tmp_path: Path) -> None:
    package = tmp_path / "older" / "lms" / "requests"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "main.py").write_text(MODULE)
    found = launched(tmp_path, "lms.requests.main", PYTHONPATH=str(tmp_path / "older"))
    assert found["secret"] == "abc123"
    assert found["named"] == "__main__"
