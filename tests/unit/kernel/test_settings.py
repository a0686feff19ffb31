from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from lms.kernel.settings import BadSettings, KernelSettings, Strength, load

RANDOM = "q8Zr1Vx0Lk7WmT5pYc3NhJ9dFb2GsKaUeRwXo6iQyPz4CvBnMt8HjD1lSfEuAgO0"
GOOD = {
    "DATABASE_URL": "mysql://lms_requests:n0tGue55ed@db:3306/lms_requests",
    "REDIS_URL": "redis://redis:6379/0",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "ENCRYPTION_KEY": RANDOM[:40],
    "JWT_PUBLIC_KEY": "MCowBQYDK2VwAyEA" + "x" * 44,
}


class Own(KernelSettings):
    model_config = SettingsConfigDict(env_prefix="LMS_REQUESTS_")

    retries: int = 3
    jwt_secret: Annotated[SecretStr, Strength(64)] = Field(SecretStr(RANDOM), validation_alias="JWT_SECRET")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_a_service_reads_its_own_variables_and_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMS_REQUESTS_RETRIES", "5")
    monkeypatch.setenv("LMS_PORT", "9001")
    settings = load(Own)
    assert (settings.retries, settings.port, settings.production) == (5, 9001, False)


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("LMS_REQUESTS_RETRIES", "many")
    with pytest.raises(BadSettings) as refusal:
        load(Own)
    lines = str(refusal.value).splitlines()
    assert lines[0].startswith("DATABASE_URL: not set")
    assert lines[1].startswith("LMS_REQUESTS_RETRIES: ")


def test_a_wrong_value_is_never_repeated_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://lms:hunter22@db/lms")
    with pytest.raises(BadSettings) as refusal:
        load(KernelSettings)
    assert "DATABASE_URL: names postgres" in str(refusal.value)
    assert "hunter22" not in str(refusal.value)


def test_tls_needs_the_file_of_the_authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = "mysql://lms_requests:n0tGue55ed@db:3306/lms_requests?ssl_ca="
    monkeypatch.setenv("DATABASE_URL", f"{url}{tmp_path / 'ca.pem'}")
    with pytest.raises(BadSettings, match="DATABASE_URL: asks for TLS, and the file of the authority") as refusal:
        load(KernelSettings)
    assert "n0tGue55ed" not in str(refusal.value)
    (tmp_path / "ca.pem").touch()
    assert load(KernelSettings).database_url.get_secret_value().endswith("ca.pem")


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("ENCRYPTION_KEY", "short", "has 5 characters and needs at least 32"),
        ("ENCRYPTION_KEY", "your-encryption-key-for-sensitive-data-32-chars", "placeholder"),
        ("ENCRYPTION_KEY", "ab" * 20, "different characters"),
        ("JWT_SECRET", "your-ultra-secure-jwt-secret-64-characters-minimum-production" + RANDOM, "placeholder"),
        ("DATABASE_URL", "mysql://lms:password@db:3306/lms_requests", "well-known password"),
        ("DATABASE_URL", "mysql://root:n0tGue55ed@db:3306/lms_requests", "root"),
        ("LMS_FAILPOINTS", "relay.after-publish=kill", "failpoints"),
    ],
)
def test_production_refuses_weak_settings(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv("LMS_ENVIRONMENT", "production")
    load(Own)
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettings, match=complaint) as refusal:
        load(Own)
    assert str(refusal.value).startswith(f"{variable}: ")


def test_one_key_seals_and_those_of_a_rotation_open_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    current, other = GOOD["ENCRYPTION_KEY"], RANDOM[20:60]
    monkeypatch.setenv("ENCRYPTION_KEY_NEXT", "")
    monkeypatch.setenv("ENCRYPTION_KEY_PREVIOUS", "")
    assert load(KernelSettings).encryption_keys() == (current,), "a variable that is there and empty names no key"
    for variable in ("ENCRYPTION_KEY_NEXT", "ENCRYPTION_KEY_PREVIOUS"):
        monkeypatch.setenv(variable, other)
        assert load(KernelSettings).encryption_keys() == (current, other)
    monkeypatch.setenv("ENCRYPTION_KEY_NEXT", "short")
    with pytest.raises(BadSettings, match=r"^ENCRYPTION_KEY_NEXT: has 5 characters and needs at least 32"):
        load(KernelSettings)


REPLICA = "mysql://lms_requests:n0tGue55ed@replica:3306/"


def test_there_need_be_no_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(KernelSettings).replica_database_url is None
    monkeypatch.setenv("REPLICA_DATABASE_URL", "")
    assert load(KernelSettings).replica_database_url is None, "a variable that is there and empty says the same"


def test_a_replica_has_the_schema_of_its_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICA_DATABASE_URL", f"{REPLICA}lms_requests")
    assert load(KernelSettings).replica_database_url == SecretStr(f"{REPLICA}lms_requests")
    monkeypatch.setenv("REPLICA_DATABASE_URL", f"{REPLICA}lms_balances")
    with pytest.raises(
        BadSettings, match=r"^REPLICA_DATABASE_URL: names the schema lms_balances, and DATABASE_URL lms_req"
    ):
        load(KernelSettings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("REPLICA_DATABASE_URL", "postgres://replica/lms_requests"), ("LMS_REPLICA_LAG_SECONDS", "2"),
     ("LMS_REPLICA_LAG_SECONDS", "31")],
)  # fmt: skip
def test_a_wrong_setting_of_the_replica_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettings, match=f"^{variable}: "):
        load(KernelSettings)
