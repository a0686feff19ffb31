"""The audit rules of the host are well-formed, watch what they must, and name what compose really has."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/host/lms.rules"
RULES = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line.strip() and not line.startswith("#")]
VOLUME = re.compile(r"/var/lib/docker/volumes/lms_(\w+)/_data")


def target_of(rule: str) -> str:
    """Return the path that a rule watches."""
    found = re.search(r"(?:-w |-F (?:dir|path)=)(\S+)", rule)
    assert found is not None, rule
    return found[1]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_one_that_auditctl_understands(rule: str) -> None:
    words = shlex.split(rule)
    if words[0] == "-w":
        assert (len(words), words[2], words[4]) == (6, "-p", "-k"), rule
        permissions, key = words[3], words[5]
    else:
        assert words[:2] == ["-a", "always,exit"], rule
        assert words[2::2] == ["-F"] * (len(words) // 2 - 1), "each field stands behind an -F of its own"
        fields = dict(re.split(r"!=|=", one, maxsplit=1) for one in words[3::2])
        assert set(fields) == {"dir", "perm", "uid", "key"}, rule
        assert fields["uid"].isdigit(), "a name must be known where the rules are loaded"
        permissions, key = fields["perm"], fields["key"]
    assert set(permissions) <= set("rwxa"), rule
    assert permissions
    assert re.fullmatch(r"lms-[a-z]+", key), rule
    assert target_of(rule).startswith("/"), rule


def test_configuration_secrets_keyring_lists_and_the_rules_themselves_are_watched() -> None:
    keys = {re.split(r"-k |key=", rule)[-1] for rule in RULES}
    assert keys == {"lms-secrets", "lms-config", "lms-lists", "lms-database", "lms-access", "lms-audit"}
    page = (ROOT / "docs/hardening.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in page for key in keys)


def test_the_volumes_and_files_are_those_of_compose() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    volumes = {match[1] for rule in RULES if (match := VOLUME.search(rule))}
    assert volumes == {"erasures", "checkpoints", "mysql"}
    assert volumes <= set(compose["volumes"])
    assert compose["name"] == "lms", "which begins the volumes' names"
    made = {".env", ".compose/", "backup-identity.txt"}
    for rule in RULES:
        path = target_of(rule)
        if path.startswith("/srv/lms/") and path.removeprefix("/srv/lms/") not in made:
            assert (ROOT / path.removeprefix("/srv/lms/")).exists(), path


def test_the_services_user_is_left_out_where_it_writes_itself() -> None:
    user = re.search(r"--uid (\d+)", (ROOT / "services/audit/Dockerfile").read_text(encoding="utf-8"))
    assert user is not None
    for rule in RULES:
        if "lms-lists" in rule:
            assert f"-F uid!={user[1]} " in rule
