"""The resources of Config Connector are valid, and say what the guide says of Google Cloud."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cloud.test_aws import ROOT

pytestmark = pytest.mark.timeout(600)  # a first run also installs the linters

FOLDER = ROOT / "deploy" / "gcp"


def _checked(tools: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tools / "python" / "bin" / "python"), str(ROOT / "scripts/config_connector.py"), *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_resource_fits_its_model(tools: Path) -> None:
    told = _checked(tools, *sorted(FOLDER.glob("*.yaml")))
    assert (told.returncode, told.stdout) == (0, "every resource fits its model\n"), told.stdout + told.stderr


@pytest.mark.parametrize(
    ("kind", "spec", "complaint"),
    [("SQLInstance", {"setting": {}}, "spec.setting"), ("NoSuchKind", {}, "there is no model of this kind")],
)
def test_the_check_does_refuse(tools: Path, tmp_path: Path, kind: str, spec: dict[str, Any], complaint: str) -> None:
    wrong = {"apiVersion": "sql.cnrm.cloud.google.com/v1beta1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    told = _checked(tools, tmp_path / "wrong.yaml")
    assert told.returncode == 1
    assert complaint in told.stdout


def _of(kind: str) -> list[dict[str, Any]]:
    documents = [one for path in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text("utf-8"))]
    return [one["spec"] for one in documents if one["kind"] == kind]


def test_the_nodes_are_the_guides() -> None:
    (pool,) = _of("ContainerNodePool")
    assert (pool["nodeConfig"]["machineType"], pool["nodeConfig"]["diskSizeGb"]) == ("e2-standard-4", 100)
    assert pool["autoscaling"]["totalMaxNodeCount"] == 10


def test_the_database_is_highly_available_durable_and_private_with_two_replicas() -> None:
    primary, *replicas = _of("SQLInstance")
    settings = primary["settings"]
    assert settings["availabilityType"] == "REGIONAL"
    assert settings["backupConfiguration"]["backupRetentionSettings"]["retainedBackups"] == 30
    assert settings["ipConfiguration"] == {
        "ipv4Enabled": False, "privateNetworkRef": {"name": "lms"}, "requireSsl": True,
    }  # fmt: skip
    flags = {one["name"]: one["value"] for one in settings["databaseFlags"]}
    assert (flags["innodb_flush_log_at_trx_commit"], flags["sync_binlog"]) == ("1", "1")
    assert [one["masterInstanceRef"] for one in replicas] == [{"name": "lms"}] * 2


def test_redis_is_highly_available_and_evicts_as_redis_conf_says() -> None:
    (redis,) = _of("RedisInstance")
    assert (redis["tier"], redis["memorySizeGb"]) == ("STANDARD_HA", 5)
    policy = redis["redisConfigs"]["maxmemory-policy"]
    assert f"maxmemory-policy {policy}\n" in (ROOT / "deploy/redis/redis.conf").read_text("utf-8")


def test_the_only_bucket_is_the_back_ups_which_lets_lms_delete_what_is_over_and_takes_nothing_by_its_age() -> None:
    (bucket,) = _of("StorageBucket")  # LMS keeps no uploads
    assert bucket["publicAccessPrevention"] == "enforced"
    assert bucket["versioning"] == {"enabled": True}, "what is deleted is hidden"
    assert "retentionPolicy" not in bucket, "it would refuse the deletion"
    deletes = [one["condition"] for one in bucket["lifecycleRule"] if one["action"]["type"] == "Delete"]
    assert deletes == [{"daysSinceNoncurrentTime": 30}], "the newest back-up of a kind stays, however old it is"
