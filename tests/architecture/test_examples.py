"""An example stands by itself: whoever copies the folder installs what its pyproject.toml names, and nothing else."""

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))


def imported_by(files: list[Path]) -> set[str]:
    """Return the packages that files import, but for Python's own and theirs."""
    own = {file.stem for file in files} | {file.parent.name for file in files}
    found: set[str] = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        match node:
            case ast.Import(names=names):
                found |= {one.name.partition(".")[0] for one in names}
            case ast.ImportFrom(module=str(module)):
                found.add(module.partition(".")[0])
    return found - own - set(sys.stdlib_module_names)


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w-]", one, maxsplit=1)[0] for one in requirements}


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_an_example_names_what_it_and_its_tests_import(folder: Path) -> None:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sources, tests = sorted(folder.glob("src/**/*.py")), sorted(folder.glob("tests/**/*.py"))
    needed = names_of(project["dependencies"])
    assert imported_by(sources) == needed
    assert imported_by([*sources, *tests]) <= needed | names_of(project["optional-dependencies"]["test"])
