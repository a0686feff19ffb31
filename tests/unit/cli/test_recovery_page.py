"""The page on recovery names commands, services and variables that are there."""

import re
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from lms.cli.database_server import _DUMP
from lms.cli.main import app
from lms.cli.servers import AUDIT_LOG, SCHEMAS
from lms.cli.trial import KEYRING

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "recovery.md").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
DRILL = "\n".join(
    re.findall(r"^```sh\n(.*?)^```$", PAGE.partition("### The drill in containers")[2], re.DOTALL | re.MULTILINE)
)


def test_every_command_of_lms_is_there_with_its_options() -> None:
    seen = 0
    for line in "\n".join(BLOCKS).splitlines():
        found = re.search(r"(?:^|\s|exec backup )lms ((?:backup|backups|restore|drill)\b.*)", line.partition("#")[0])
        if found is None:
            continue
        command: Any = get_command(app)
        words = found[1].split()
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= known, line
        seen += 1
    assert seen > 10


def test_the_drill_in_containers_runs_what_compose_has() -> None:
    services = yaml.safe_load(COMPOSE)["services"]
    variables = re.findall(r"\b([A-Z_]+)=", DRILL.partition("docker compose")[0])
    assert "SMTP_HOST" in variables, "no mail goes to anybody"
    assert [one for one in variables if f"${{{one}" not in COMPOSE] == []
    ports = {"GATEWAY_PORT", "MAIL_PORT", "EDGE_HTTP_PORT", "EDGE_HTTPS_PORT"}
    assert ports <= set(variables), "the drill takes no port of the system beside it"
    started = [one for one in services.values() if one.get("profiles", ["edge"])[0] == "edge"]
    published = re.findall(r"\$\{(\w+)", " ".join(port for one in started for port in one.get("ports", [])))
    assert set(published) == ports
    for loop in re.findall(r"for service in (.*?); do", DRILL):
        assert set(loop.split()) == set(SCHEMAS)
    assert {"mysql", "restore", "nginx"} <= set(services)
    assert "--profile backup" not in DRILL, "it would add to the back-ups of the system that it is a copy of"


def test_the_dump_of_a_managed_database_is_made_as_ours_are_and_has_every_schema() -> None:
    told = DRILL.replace("\\\n", " ")
    (dump,) = re.findall(r"--entrypoint mysqldump restore (.*?)\|", told, re.DOTALL)
    assert set(_DUMP["mysql"]) <= set(dump.split())
    assert set(dump.partition("--databases")[2].split()) == {KEYRING, AUDIT_LOG, *(f"lms_{one}" for one in SCHEMAS)}


def test_each_form_has_a_drill_for_every_month() -> None:
    rows = PAGE.partition("**Every month**")[2].partition("### ")[0]
    for form in (
        "an embedded system",
        "containers",
        "a cluster with a MySQL of one's own",
        "a cluster with a managed database",
    ):
        assert form in rows
