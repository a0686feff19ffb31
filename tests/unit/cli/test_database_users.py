"""The command with which the page on deployment has schemas and users made."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

from lms.cli.servers import SCHEMAS

PAGE = Path(__file__).parents[3] / "docs" / "deployment.md"


def test_the_command_of_the_page_draws_one_password_for_each_user(tmp_path: Path) -> None:
    (block,) = [
        textwrap.dedent(one)
        for one in re.findall(r"^ *```sh\n(.*?)^ *```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        if "schemas_and_users" in one
    ]
    assert "…" not in block
    command = block.replace("scripts/run python", f"'{sys.executable}'")
    told = subprocess.run(["sh", "-eu", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    written = tmp_path / "users.sql"
    assert written.stat().st_mode & 0o077 == 0, "passwords are for nobody else"
    drawn: dict[str, set[str]] = {}
    for user, password in re.findall(r"USER.* '(\w+)'@'%' IDENTIFIED BY '([^']+)';", written.read_text("utf-8")):
        drawn.setdefault(user, set()).add(password)
    assert set(drawn) == {"lms_migrator", "lms_exporter", "lms_backup", *(f"lms_{one}" for one in SCHEMAS)}
    assert all(len(one) == 1 for one in drawn.values()), "CREATE and ALTER say the same"
    assert len(set.union(*drawn.values())) == len(drawn)
