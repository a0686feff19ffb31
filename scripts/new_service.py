"""Make a new service that works: `make new-service NAME=attendance`.

Its files come from `scripts/service_template`, a service as small as one can be; its name is entered wherever the
services are listed. What remains is to replace the example's one fact by the service's own: CONTRIBUTING.md goes on
from there, and tests/architecture says what is missing.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "scripts" / "service_template"
_NAME = re.compile(r"^[a-z][a-z]{2,18}$")


class NotDone(Exception):
    """The service was not made; the text says why."""


def create(name: str, root: Path = ROOT) -> list[Path]:
    """Write the service's files and enter it in every list; return the files. Raises NotDone."""
    if not _NAME.match(name):
        raise NotDone(f"{name!r} is no name for a service: take one word of 3 to 19 small letters, such as attendance.")
    folder = root / "services" / name
    if folder.exists():
        raise NotDone(f"{folder} is there already.")
    entries = [(root / path, _entered(root / path, edit(name))) for path, edit in _LISTS.items()]
    made = []
    for source in sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        relative = _renamed(str(source.relative_to(TEMPLATE)), name)
        target = root / "tests" / "unit" / name / source.name if source.parent.name == "tests" else folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_renamed(source.read_text(encoding="utf-8"), name), encoding="utf-8")
        made.append(target)
    for path, text in entries:
        path.write_text(text, encoding="utf-8")
    python = [str(path) for path in made if path.suffix == ".py"]
    subprocess.run(["ruff", "check", "--quiet", "--fix-only", "--select", "I", *python], check=True)  # noqa: S603, S607  # imports are sorted by the new name
    return made


def _renamed(text: str, name: str) -> str:
    return text.replace("specimen", name).replace("Specimen", name.capitalize())


def _entered(path: Path, edits: list[tuple[str, str]]) -> str:
    text = path.read_text(encoding="utf-8")
    for pattern, replacement in edits:
        text, found = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        if not found:
            raise NotDone(
                f"{path} has no line like {pattern}: enter the service by hand, and mend scripts/new_service.py."
            )
    return text


_LISTS: dict[str, Callable[[str], list[tuple[str, str]]]] = {
    "pyproject.toml": lambda name: [
        (r'"lms-gateway", "lms-cli"', f'"lms-{name}", "lms-gateway", "lms-cli"'),
        (r"^(lms-gateway = \{.*\})$", rf"lms-{name} = {{ workspace = true }}\n\1"),
        (r":services/gateway/src", f":services/{name}/src:services/gateway/src"),
    ],
    "scripts/services.py": lambda name: [(r'"gateway"\)', f'"{name}", "gateway")')],
    ".importlinter": lambda name: [(r"^    lms\.audit$", f"    lms.audit\n    lms.{name}")],
    "scripts/asyncapi.py": lambda name: [
        (
            r"^(CHANNELS = \{)$",
            rf'\1\n    "leave.{name}.v1": ("{name.capitalize()}", "The facts of {name}.", "The thing\'s own id."),',
        )
    ],
    "cli/src/lms/cli/system.py": lambda name: [(r'^(SERVICES = .*)"gateway"', rf'\1"{name}", "gateway"')],
    "cli/src/lms/cli/servers.py": lambda name: [(r"^(SCHEMAS = .*)\)$", rf'\1, "{name}")')],
    "services/gateway/src/lms/gateway/routes.py": lambda name: [
        (r'^(    "audit": "audit",)$', rf'\1\n    "things": "{name}",')
    ],
    "services/gateway/src/lms/gateway/settings.py": lambda name: [
        (r"^(    audit_url: .*)$", rf"\1\n    {name}_url: str = Field(min_length=8)"),
        (r'^(            "audit": self.audit_url,)$', rf'\1\n            "{name}": self.{name}_url,'),
    ],
    "docs/configuration.md": lambda name: [
        (r"`LMS_GATEWAY_AUDIT_URL`", f"`LMS_GATEWAY_AUDIT_URL`, `LMS_GATEWAY_{name.upper()}_URL`")
    ],
}
"""Where services are listed, and how a name is entered there."""


def main() -> int:
    """Make the service that the command line names."""
    try:
        made = create(sys.argv[1] if len(sys.argv) > 1 else "")
    except NotDone as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(str(path.relative_to(ROOT)) for path in made))
    print("Now: uv lock && make install contracts docs, then enter it in docker-compose.yml and CHANGELOG.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
