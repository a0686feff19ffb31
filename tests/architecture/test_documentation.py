"""The pages say what the code does."""

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings
from scripts import openapi, services
from tests.commands import arguments_of

from lms.cli.backup_settings import BackupSettings
from lms.kernel.failpoints import KILLS, SWITCHES
from lms.kernel.settings import variable

ROOT = Path(__file__).parents[2]
PAPERS = sorted((ROOT / "docs" / "papers").glob("*.md"))
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *PAPERS)
FOLDERS = ("cli", "deploy", "docs", "examples", "k8s", "scripts", "services", "shared", "tests", "web")
"""What the name of a file or folder begins with, where a page names one."""

SOC2 = (
    "Data encryption at rest and in transit", "Access controls and authentication", "Audit logging and monitoring",
    "Incident response procedures", "Change management processes", "Backup and recovery procedures",
    "Vendor risk management",
)  # fmt: skip
GDPR = (
    "Data processing agreements", "Right to erasure implementation", "Data portability features",
    "Privacy by design principles", "Consent management", "Data breach notification procedures",
)  # fmt: skip
"""The production guide's lists."""


ABSENT = {
    "Attachments": "attachment", "Encashment": "encash", "overtime": "overtime", "Reports": "report",
    "simulation of a policy": "simulat", "iCal": "ical", "Webhooks": "webhook", "OIDC": "oidc", "Consents": "consent",
    "export": "export", "leave.access.v1": "leave.access.",
}  # fmt: skip
"""What CHANGELOG.md says is not there yet, and what a route or topic of it would have in its name."""


def names_in(page: Path) -> set[str]:
    """Return what stands in code on a page: `like this`."""
    return set(re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8")))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_every_setting_is_explained_and_no_other() -> None:
    models: list[type[BaseSettings]] = [*(service.settings for service in services.load()), BackupSettings]
    known = {variable(name, field, settings) for settings in models for name, field in settings.model_fields.items()}
    rows = [
        line.split("|")[1]
        for line in (ROOT / "docs/configuration.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    explained = {name for row in rows for name in re.findall(r"`([A-Z][A-Z_]+)`", row)}
    assert explained - known == set(), "docs/configuration.md explains settings that nobody reads"
    assert known - explained == set(), "docs/configuration.md lacks settings"


def test_what_is_said_not_to_be_there_yet_is_not_there() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    section = text.partition("### Not there yet\n")[2].partition("\n###")[0]
    there = [*openapi.generate()["paths"], *(topic for service in services.load() for topic in service.publishes)]
    for said, name in ABSENT.items():
        assert said in section, f"CHANGELOG.md does not say that there is no {said}"
        assert not [one for one in there if name in one], f"{said}: no longer absent"


def test_every_failpoint_is_passed_by_code_and_killed_at_by_a_test_and_every_switch_is_off_in_one() -> None:
    sources = "".join(one.read_text("utf-8") for root in ("shared", "services") for one in (ROOT / root).rglob("*.py"))
    folders = (ROOT / "tests/faults", ROOT / "tests/integration")
    tests = "".join(one.read_text("utf-8") for folder in folders for one in folder.rglob("*.py"))
    assert {one for one in KILLS if f'failpoint("{one}")' not in sources} == set()
    assert {one for one in SWITCHES if f'disabled("{one}")' not in sources} == set()
    assert {one for one in KILLS | SWITCHES if f'"{one}' not in tests} == set()


def test_every_test_that_a_page_names_exists() -> None:
    for page in PAGES:
        for file, name in re.findall(r"`(tests/[\w/.]+\.py)::(\w+)`", page.read_text(encoding="utf-8")):
            assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{page.name}: {file}::{name}"


def test_the_gateways_readme_names_each_of_its_modules() -> None:
    folder = ROOT / "services/gateway/src/lms/gateway"
    modules = {one.name for one in folder.glob("*.py")} - {"__init__.py", "main.py", "settings.py"}
    assert modules - names_in(ROOT / "services/gateway/README.md") == set()


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z][a-z0-9-]*)", page.read_text(encoding="utf-8")))
        assert named <= targets, f"{page.name} names {named - targets}"


def test_links_to_a_heading_name_one_that_is_there() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
            there = page if not target else page.parent / target
            assert anchor in anchors_of(there), f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", [*PAPERS, ROOT / "docs/hardening.md"], ids=lambda page: page.stem)
def test_files_and_commands_that_a_paper_names_exist(page: Path) -> None:
    named = names_in(page)
    paths = {one for one in named if re.fullmatch(r"[\w./-]+", one) and one.partition("/")[0] in FOLDERS}
    assert {one for one in paths if "/" in one and not (ROOT / one).exists()} == set()
    for one in sorted(one for one in named if one.startswith("lms ")):
        arguments_of(one.split()[1:])


@pytest.mark.parametrize("page", PAPERS, ids=lambda page: page.stem)
def test_routes_that_a_paper_names_exist(page: Path) -> None:
    routes = {re.sub(r"{\w+}", "{}", path): set(item) for path, item in openapi.generate()["paths"].items()}
    for one in names_in(page):
        found = re.fullmatch(r"(?:([A-Z]+) )?(/api/v1/[^?…]+)(?:\?.*)?", one)
        if found is not None:
            verb, path = found.groups()
            methods = routes.get(re.sub(r"{\w+}", "{}", path), set())
            assert (verb or "get").lower() in methods, f"{page.name} names `{one}`"


@pytest.mark.parametrize(("page", "lines"), [("soc2", SOC2), ("gdpr", GDPR)])
def test_each_line_of_a_list_of_the_guide_is_answered_in_its_order(page: str, lines: tuple[str, ...]) -> None:
    text = (ROOT / "docs/papers" / f"{page}.md").read_text(encoding="utf-8")
    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| ")]
    answered = [row[0].removeprefix("| ") for row in rows if row[0].removeprefix("| ") in lines]
    assert tuple(answered) == lines
    for row in rows:
        if row[0].removeprefix("| ") in lines:
            _, how, evidence = row
            assert len(how) > 20, row
            assert "](" in evidence or "`" in evidence or "routes below" in evidence, row


def test_each_paper_is_listed() -> None:
    index = (ROOT / "docs/papers/README.md").read_text(encoding="utf-8")
    assert {page.stem for page in PAPERS} - {"README"} == set(re.findall(r"\]\(([\w-]+)\.md\)", index))
