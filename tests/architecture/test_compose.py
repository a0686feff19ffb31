"""What docker-compose.yml wants of a host is made by one command, and kept by the next."""

import re
from pathlib import Path

import pytest
import yaml
from scripts import compose

from lms.cli.home import Home
from lms.cli.packing import identity_in

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compose, "ROOT", tmp_path)
    return tmp_path


def content_of(folder: Path) -> dict[str, str]:
    return {str(one.relative_to(folder)): one.read_text() for one in folder.rglob("*") if one.is_file()}


def test_every_variable_without_a_default_is_made(tmp_path: Path) -> None:
    wanted = set(re.findall(r"\$\{(\w+)", TEXT)) - set(re.findall(r"\$\{(\w+):[-+]", TEXT))
    assert "MYSQL_BACKUP_PASSWORD" in wanted
    assert wanted <= set(compose.environment(Home.at(tmp_path)))


def test_a_replica_can_be_given_its_password(tmp_path: Path) -> None:
    password = compose.environment(Home.at(tmp_path))["MYSQL_REPLICATION_PASSWORD"]
    assert len(password) == 32, "more than that CHANGE REPLICATION SOURCE refuses"


def test_every_file_that_is_mounted_is_made(checkout: Path) -> None:
    assert compose.main() == 0
    wanted = set(re.findall(r"\./(\.compose/[\w./-]+\.\w+)", TEXT))
    assert wanted == {".compose/mysql/users.sql", ".compose/backup-identity.txt"}
    assert wanted <= set(content_of(checkout))


def test_a_second_run_changes_nothing(checkout: Path) -> None:
    compose.main()
    before = content_of(checkout)
    compose.main()
    assert content_of(checkout) == before


def test_an_older_checkout_gets_the_identity_of_its_back_ups(checkout: Path) -> None:
    (checkout / ".env").write_text("GATEWAY_PORT='8080'\n")
    compose.main()
    assert identity_in(checkout / ".compose/backup-identity.txt").to_public() is not None
    assert (checkout / ".env").read_text() == "GATEWAY_PORT='8080'\n"


def test_none_but_the_owner_gets_at_secrets_that_containers_read_as_others(checkout: Path) -> None:
    compose.main()
    assert (checkout / ".compose").stat().st_mode & 0o777 == 0o700
    assert (checkout / ".env").stat().st_mode & 0o777 == 0o600
    assert (checkout / ".compose/backup-identity.txt").stat().st_mode & 0o777 == 0o644


def test_a_restore_never_starts_by_itself_and_trials_are_reached_by_back_ups_alone() -> None:
    services = yaml.safe_load(TEXT)["services"]
    assert services["restore"]["deploy"] == {"replicas": 0}
    on_trial = {name for name, one in services.items() if "trial" in one.get("networks", [])}
    assert on_trial == {"backup", "mysql-trial"}
    assert services["mysql-trial"]["networks"] == ["trial"]
    assert services["mysql-trial"]["image"] == services["mysql"]["image"], (
        "what is restored is tried on its own version"
    )
