"""Make a new service that works: `make new-service NAME=attendance`.

Its files come from `scripts/service_template`, a service as small as one can be; its name is entered wherever the
services are listed. What remains is to make what is generated, and to replace the example's one fact by the service's
own: CONTRIBUTING.md goes on from there, and tests/architecture/test_places.py says what is missing.
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
        target = root / _place(source.relative_to(TEMPLATE), name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_renamed(source.read_text(encoding="utf-8"), name), encoding="utf-8")
        made.append(target)
    for path, text in entries:
        path.write_text(text, encoding="utf-8")
    # Imports are sorted by the new name, and lines may have become too long for one.
    written = [str(path) for path in (*made, *(path for path, _ in entries)) if path.suffix == ".py"]
    subprocess.run(["ruff", "check", "--quiet", "--fix-only", "--select", "I", *written], cwd=root, check=True)  # noqa: S603, S607  # our own
    subprocess.run(["ruff", "format", "--quiet", *written], cwd=root, check=True)  # noqa: S603, S607  # our own
    return made


def _place(path: Path, name: str) -> Path:
    """Return where a file of the template goes."""
    top, *rest = path.parts
    if top == "tests":
        return Path("tests", "unit", name, *rest)
    if top == "k8s":
        return Path("k8s", "base", "services", name, *rest)
    return Path("services", name, _renamed(str(path), name))


def _renamed(text: str, name: str) -> str:
    for written in (str.lower, str.capitalize, str.upper):
        text = text.replace(written("specimen"), written(name))
    return text


def _entered(path: Path, edits: list[tuple[str, str]]) -> str:
    text = path.read_text(encoding="utf-8")
    for pattern, replacement in edits:
        text, found = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        if not found:
            raise NotDone(
                f"{path} has no line like {pattern}: enter the service by hand, and mend scripts/new_service.py."
            )
    return text


_CHANNEL = """\
    "leave.specimen.v1": (
        "Specimen",
        "The facts of specimen.",
        "The thing's own id.",
    ),
"""

_COMPOSE = """\
  specimen-migrate:
    <<: *migration
    image: lms-specimen
    build: {context: ., dockerfile: services/specimen/Dockerfile}
    environment:
      <<: *stores
      DATABASE_URL: mysql://lms_specimen:${MYSQL_SPECIMEN_PASSWORD}@mysql:3306/lms_specimen
      MIGRATION_DATABASE_URL: mysql://lms_migrator:${MYSQL_MIGRATOR_PASSWORD}@mysql:3306/lms_specimen

  specimen:
    <<: *service
    image: lms-specimen
    environment:
      <<: *stores
      DATABASE_URL: mysql://lms_specimen:${MYSQL_SPECIMEN_PASSWORD}@mysql:3306/lms_specimen
    depends_on:
      redis: {condition: service_healthy}
      specimen-migrate: {condition: service_completed_successfully}

"""

_EXTERNAL = """\
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  name: {0}
spec:
  refreshInterval: 1h
  secretStoreRef: {{kind: SecretStore, name: lms}}
  target: {{name: {0}, creationPolicy: Owner}}
  dataFrom:
    - extract: {{key: lms/{0}}}
---
"""

_LISTS: dict[str, Callable[[str], list[tuple[str, str]]]] = {
    "pyproject.toml": lambda name: [
        (r'"lms-gateway", "lms-cli"', rf'"lms-{name}", \g<0>'),
        (r"^lms-gateway = \{.*\}$", rf"lms-{name} = {{ workspace = true }}\n\g<0>"),
        (r":services/gateway/src", rf":services/{name}/src\g<0>"),
    ],
    "scripts/services.py": lambda name: [(r'^NAMES = \([^)]*"notifications"', rf'\g<0>, "{name}"')],
    ".importlinter": lambda name: [(r"^    lms\.audit$", rf"\g<0>\n    lms.{name}")],
    "scripts/asyncapi.py": lambda name: [(r"^CHANNELS = \{\n", rf"\g<0>{_renamed(_CHANNEL, name)}")],
    "cli/src/lms/cli/system.py": lambda name: [(r'^SERVICES = \([^)]*"notifications"', rf'\g<0>, "{name}"')],
    "cli/src/lms/cli/servers.py": lambda name: [(r'^SCHEMAS = \([^)]*"notifications"', rf'\g<0>, "{name}"')],
    "services/audit/src/lms/audit/consumers.py": lambda name: [
        (r'^    "leave\.approvals\.v1",$', rf'\g<0>\n    "leave.{name}.v1",')
    ],
    "services/gateway/src/lms/gateway/main.py": lambda name: [
        (r'^        "audit": partial\(.*\),$', rf'\g<0>\n        "{name}": partial(check, service="{name}"),')
    ],
    "services/gateway/src/lms/gateway/routes.py": lambda name: [
        (r'^    "audit": "audit",$', rf'\g<0>\n    "{name}": "{name}",')
    ],
    "services/gateway/src/lms/gateway/settings.py": lambda name: [
        (r"^    audit_url: .*$", rf"\g<0>\n    {name}_url: str = Field(min_length=8)"),
        (r'^            "audit": self\.audit_url,$', rf'\g<0>\n            "{name}": self.{name}_url,'),
    ],
    "tests/integration/gateway/test_gateway.py": lambda name: [
        (r'^    services = \{[^}]*"notifications"', rf'\g<0>, "{name}"')
    ],
    "docker-compose.yml": lambda name: [
        (r"^  gateway:$", rf"{_renamed(_COMPOSE, name)}\g<0>"),
        (
            r"^      LMS_GATEWAY_AUDIT_URL: .*$",
            rf"\g<0>\n      LMS_GATEWAY_{name.upper()}_URL: http://{name}:8000",
        ),
        (r"^      audit: \{condition: service_healthy\}$", rf"\g<0>\n      {name}: {{condition: service_healthy}}"),
        (
            r"^      audit-migrate: (.*)\n      notifications-migrate: .*$",
            rf"\g<0>\n      {name}-migrate: \1",
        ),
    ],
    "k8s/base/services/kustomization.yaml": lambda name: [(r", gateway\]$", rf", {name}\g<0>")],
    "k8s/base/services/gateway/kustomization.yaml": lambda name: [
        (
            r"^      - LMS_GATEWAY_AUDIT_URL=.*$",
            rf"\g<0>\n      - LMS_GATEWAY_{name.upper()}_URL=http://{name}-api:8000",
        )
    ],
    "k8s/base/network.yaml": lambda name: [(r"(operator: In, values: \[directory, .*)\]\}$", rf"\1, {name}]}}")],
    "k8s/overlays/production/kustomization.yaml": lambda name: [
        (
            r"^  - \{name: lms-audit, newName: (.*)/audit, (.*)$",
            rf"\g<0>\n  - {{name: lms-{name}, newName: \1/{name}, \2",
        )
    ],
    "k8s/overlays/production/secrets.yaml": lambda name: [
        (
            r"^apiVersion: .*\nkind: ExternalSecret\nmetadata:\n  name: gateway$",
            rf"{_EXTERNAL.format(name)}{_EXTERNAL.format(name + '-migration')}\g<0>",
        )
    ],
    "deploy/metrics.yaml": lambda name: [(r"^(  upstream: \{values: \[.*)\]\}$", rf"\1, {name}]}}")],
    "deploy/prometheus/targets/compose/lms.yml": lambda name: [
        (r"^- targets: \[gateway:8000\]$", rf"- targets: [{name}:8000]\n  labels: {{service: {name}}}\n\g<0>")
    ],
    "deploy/prometheus/rules/availability.yml": lambda name: [
        (r'^( +or label_replace\(vector\(1\), "service", )"audit"(.*)$', rf'\g<0>\n\1"{name}"\2')
    ],
    "deploy/prometheus/tests/availability.yml": lambda name: [
        (
            r"""^( +- series: 'up\{job="lms",service=")audit(".*")audit(.*)\n( +values: .*)$""",
            rf"\g<0>\n\1{name}\2{name}\3\n\4",
        )
    ],
    "docs/architecture.md": lambda name: [(r"^\| `gateway` \| .*$", rf"| `{name}` | things | `thing-…` |\n\g<0>")],
    "docs/recovery.md": lambda name: [
        (r"^(?:for service in|  (lms_)directory) .*notifications", rf"\g<0> \g<1>{name}")
    ],
    "docs/configuration.md": lambda name: [(r"`LMS_GATEWAY_AUDIT_URL`", rf"\g<0>, `LMS_GATEWAY_{name.upper()}_URL`")],
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
    print("Now: scripts/run uv lock && make install contracts docs k8s, and a line in CHANGELOG.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
