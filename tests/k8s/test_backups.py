"""In a cluster every kind of back-up has a job and an hour, can do its work, can do nothing else, and is missed."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from tests.commands import arguments_of
from tests.k8s.conftest import (
    Manifest,
    containers,
    labels_of,
    loaded,
    may_speak,
    of,
    pods,
    promtool,
    refusals,
    rules_of,
)

from lms.cli.backup_settings import Backups, BackupSettings
from lms.cli.catalogue import KINDS, OFTEN
from lms.cli.servers import BACKUP_USER

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
BY_THE_SAME_JOB = {"keyring": "database"}
NOTHING_TO_DO = {"files"}
"""In a cluster neither configuration nor uploads are files."""


@pytest.fixture(params=["development", "own_mysql"])
def whole(request: pytest.FixtureRequest) -> list[Manifest]:
    """All resources where LMS backs the databases up itself."""
    found: list[Manifest] = request.getfixturevalue(request.param)
    return found


def jobs(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the jobs of the back-ups by the kind that they make."""
    found = {}
    for one in of(manifests, "CronJob"):
        if one["metadata"]["name"].startswith("backup-"):
            command, kind = container_of(one)["args"]
            assert command == "backup"
            found[kind] = one
    return found


def template_of(job: Manifest) -> Manifest:
    template: Manifest = job["spec"]["jobTemplate"]["spec"]["template"]
    return template


def container_of(job: Manifest) -> Manifest:
    (container,) = template_of(job)["spec"]["containers"]
    found: Manifest = container
    return found


def environment_of(manifests: list[Manifest], job: Manifest) -> dict[str, str]:
    """Return the variables of a job's container; a secret that a store of secrets keeps is there as its name."""
    named = {(one["kind"], one["metadata"]["name"]): one for one in of(manifests, "ConfigMap", "Secret")}
    found: dict[str, str] = {}
    for one in container_of(job)["envFrom"]:
        if "configMapRef" in one:
            found |= named["ConfigMap", one["configMapRef"]["name"]]["data"]
        elif ("Secret", one["secretRef"]["name"]) in named:
            found |= named["Secret", one["secretRef"]["name"]]["stringData"]
    return found | {one["name"]: one["value"] for one in container_of(job).get("env", [])}


def test_every_kind_of_back_up_has_a_job_that_makes_it(whole: list[Manifest]) -> None:
    made = jobs(whole)
    assert {BY_THE_SAME_JOB.get(kind, kind) for kind in KINDS} - NOTHING_TO_DO == set(made)
    for kind, job in made.items():
        assert job["metadata"]["name"] == f"backup-{kind}", "by its name Prometheus knows its kind"
        arguments_of(container_of(job)["args"])


def test_databases_are_backed_up_every_night_and_what_bounds_the_loss_every_five_minutes(whole: list[Manifest]) -> None:
    for kind, job in jobs(whole).items():
        minute, hour, *days = job["spec"]["schedule"].split()
        assert days == ["*", "*", "*"]
        assert job["spec"]["timeZone"] == "Etc/UTC"
        if kind in OFTEN:
            assert (minute.rpartition("/")[2], hour) == ("5", "*"), kind
        else:
            assert minute.isdigit(), kind
            assert hour.isdigit(), kind


def test_where_the_database_is_managed_the_lists_alone_are_left_to_back_up(production: list[Manifest]) -> None:
    assert set(jobs(production)) == {"lists"}
    rds = (ROOT / "deploy/aws/data.yaml").read_text(encoding="utf-8")
    assert "BackupRetentionPeriod: " in rds


def test_production_with_a_mysql_of_ones_own_is_valid_too(tools: Path, built_with_own_mysql: Path) -> None:
    complaints, valid = refusals(tools, built_with_own_mysql)
    assert complaints == []
    assert valid == len(loaded(built_with_own_mysql))


def test_no_job_runs_beside_itself_waits_for_ever_or_starts_when_the_next_one_is_due(whole: list[Manifest]) -> None:
    for kind, job in jobs(whole).items():
        spec, every = job["spec"], 300 if kind in OFTEN else 24 * 3600
        assert spec["concurrencyPolicy"] == "Forbid", kind
        assert 0 < spec["startingDeadlineSeconds"] < every, kind
        assert 0 < spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 24 * 3600, kind
        assert 0 < spec["successfulJobsHistoryLimit"] <= spec["failedJobsHistoryLimit"] < 10, kind
        assert template_of(job)["spec"]["restartPolicy"] == "Never", "what failed can be read"


def test_none_runs_as_root_and_each_writes_in_folders_of_its_own(own_mysql: list[Manifest]) -> None:
    for kind, job in jobs(own_mysql).items():
        spec = template_of(job)["spec"]
        own = {one["name"] for one in spec["volumes"] if one.get("emptyDir", {}).get("sizeLimit")}
        assert spec["securityContext"]["runAsNonRoot"] is True, kind
        for container in containers(template_of(job)):
            user = container["securityContext"].get("runAsUser", spec["securityContext"]["runAsUser"])
            assert user > 0, kind
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, kind
            written = {one["name"] for one in container["volumeMounts"] if not one.get("readOnly")}
            assert written <= own, kind
            assert "/tmp" in {one["mountPath"] for one in container["volumeMounts"]}, "where it stages"  # noqa: S108


def test_a_job_has_all_that_the_command_wants_and_its_key_opens_what_it_makes(
    development: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secret,) = [one for one in of(development, "Secret") if one["metadata"]["name"] == "backup-identity"]
    for kind, job in jobs(development).items():
        with monkeypatch.context() as environment:
            for name, value in environment_of(development, job).items():
                environment.setenv(name, value)
            settings = BackupSettings()
        assert settings.database_url is not None, kind
        identity = _mounted(job, str(settings.identity_file))
        assert identity["secret"]["secretName"] == "backup-identity", kind
        (tmp_path / "identity.txt").write_text(secret["stringData"][PurePosixPath(str(settings.identity_file)).name])
        opened = settings.model_copy(update={"identity_file": tmp_path / "identity.txt", "url": str(tmp_path)})
        assert Backups.of(opened, lambda _: None).opened().to_public() is not None
        assert _mounted(job, settings.url)["persistentVolumeClaim"]["claimName"] == "backups", kind


def _mounted(job: Manifest, path: str) -> dict[str, Any]:
    """Return the volume that a path of a job's container lies on."""
    (name,) = [
        one["name"] for one in container_of(job)["volumeMounts"] if PurePosixPath(path).is_relative_to(one["mountPath"])
    ]
    (volume,) = [one for one in template_of(job)["spec"]["volumes"] if one["name"] == name]
    found: dict[str, Any] = volume
    return found


def test_the_lists_that_are_backed_up_are_those_that_the_services_write(production: list[Manifest]) -> None:
    job = jobs(production)["lists"]
    (common,) = [one["data"] for one in of(production, "ConfigMap") if "LMS_DIRECTORY_ERASURE_LIST" in one["data"]]
    written = {
        "directory": common["LMS_DIRECTORY_ERASURE_LIST"],
        "audit": common["LMS_AUDIT_CHECKPOINT_FILE"],
    }
    read = environment_of(production, job)["LMS_BACKUP_LISTS"].split(":")
    claims = {PurePosixPath(path).name: _mounted(job, path)["persistentVolumeClaim"] for path in read}
    assert claims == {
        PurePosixPath(path).name: {"claimName": f"{service}-data", "readOnly": True}
        for service, path in written.items()
    }


def test_what_is_made_is_tried_on_a_server_of_the_same_version_that_goes_with_the_job(
    development: list[Manifest],
) -> None:
    job = jobs(development)["database"]
    (scratch,) = template_of(job)["spec"]["initContainers"]
    ((_, server),) = [(name, pod) for name, pod in pods(development) if name == "StatefulSet mysql"]
    assert scratch["image"] == server["spec"]["containers"][0]["image"]
    assert scratch["restartPolicy"] == "Always", "beside the job, not before it"
    assert "--bind-address=127.0.0.1" in scratch["args"]
    url = make_url(environment_of(development, job)["LMS_BACKUP_SCRATCH_URL"])
    assert (url.host, url.port) == ("127.0.0.1", 3306)
    for one in jobs(development).values():
        assert "--no-trial" not in container_of(one)["args"], "what was not tried does not count"


def test_back_ups_know_the_user_who_may_read_everything_and_nobody_else_does(development: list[Manifest]) -> None:
    secrets = {one["metadata"]["name"]: one["stringData"] for one in of(development, "Secret")}
    assert make_url(secrets["backup"]["LMS_BACKUP_DATABASE_URL"]).username == BACKUP_USER
    for name, template in pods(development):
        sources = [one for container in containers(template) for one in container.get("envFrom", [])]
        known = {one["secretRef"]["name"] for one in sources if "secretRef" in one}
        mounted = {one["secret"]["secretName"] for one in template["spec"].get("volumes", []) if "secret" in one}
        if name.startswith("CronJob backup-"):
            assert (known, mounted) == ({"backup"}, {"backup-identity"}), name
        else:
            assert not (known | mounted) & {"backup", "backup-identity"}, name


# The ways out ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["database", "log", "lists"])
@pytest.mark.parametrize(
    ("target", "port", "may"),
    [("mysql", 3306, True), ("redis", 6379, False), ("mail", 2525, False), ("directory-api", 8000, False)],
)
def test_a_back_up_reaches_the_database_and_no_other_part(
    development: list[Manifest], kind: str, target: str, port: int, *, may: bool
) -> None:
    source, there = labels_of(development, f"backup-{kind}"), labels_of(development, target)
    assert may_speak(development, source, there, port) is may
    assert not may_speak(development, there, source, port)


def test_it_leaves_the_cluster_for_the_bucket_alone_and_asks_the_node_who_it_is(own_mysql: list[Manifest]) -> None:
    for one in jobs(own_mysql).values():
        labels = template_of(one)["metadata"]["labels"]
        out = [
            rule
            for policy in of(own_mysql, "NetworkPolicy")
            if policy["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()
            for rule in policy["spec"].get("egress", [])
            if policy["metadata"]["name"] not in {"mysql", "mysql-outside", "names"}
        ]
        ways = {
            (peer["ipBlock"]["cidr"], port["port"]): peer["ipBlock"].get("except", [])
            for rule in out
            for peer in rule["to"]
            for port in rule["ports"]
        }
        assert set(ways) == {("0.0.0.0/0", 443), ("169.254.170.23/32", 80)}
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(ways["0.0.0.0/0", 443])


# Whether they are missed ----------------------------------------------------------------------------------------------


def _series(metric: str, **values: str) -> list[dict[str, str]]:
    return [
        {"series": f'{metric}{{namespace="lms",job="kube-state-metrics",cronjob="backup-{kind}"}}', "values": value}
        for kind, value in values.items()
    ]


ONCE, AGAIN_AND_AGAIN = "0+0x400", "0+300x400"
"""The instant of the last success, every five minutes."""
CREATED = _series("kube_cronjob_created", database=ONCE, log=ONCE, lists=ONCE)


def _fire(folder: Path, manifests: list[Manifest], series: list[dict[str, str]], cases: list[Any]) -> None:
    """Have promtool compare which alerts fire with those that should, by the rules of production."""
    promtool(folder, {name: rules_of(manifests, name) for name in ("lms-backups", "lms-safety")}, series, cases)


def test_a_job_that_no_longer_succeeds_is_told_of_with_all_that_it_makes(
    production: list[Manifest], tmp_path: Path
) -> None:
    succeeded = _series(
        "kube_cronjob_status_last_successful_time", database=ONCE, log=AGAIN_AND_AGAIN, lists=AGAIN_AND_AGAIN
    )
    cases = [
        {"alertname": "BackupTooOld", "eval_time": "25h", "exp_alerts": []},
        {"alertname": "BackupTooOld", "eval_time": "27h", "exp_alerts": [_old("database"), _old("keyring")]},
        {"alertname": "BackupMissing", "eval_time": "27h", "exp_alerts": []},
    ]
    _fire(tmp_path, production, succeeded + CREATED, cases)


def test_a_job_that_never_succeeded_is_told_of_though_others_do(production: list[Manifest], tmp_path: Path) -> None:
    succeeded = _series("kube_cronjob_status_last_successful_time", database=AGAIN_AND_AGAIN, lists=AGAIN_AND_AGAIN)
    cases = [
        {"alertname": "BackupMissing", "eval_time": "25h", "exp_alerts": []},
        {"alertname": "BackupMissing", "eval_time": "27h", "exp_alerts": [_never("backup-log")]},
        {"alertname": "BackupTooOld", "eval_time": "27h", "exp_alerts": []},
    ]
    _fire(tmp_path, production, succeeded + CREATED, cases)


def _old(kind: str) -> dict[str, Any]:
    return _fired(
        "BackupTooOld",
        f"The newest back-up of {kind} is 1d 3h 0m 0s old",
        "Back-ups are daily. What is lost in a disaster grows by the hour.",
        kind=kind,
    )


def _never(cronjob: str) -> dict[str, Any]:
    return _fired(
        "BackupMissing",
        f"The job {cronjob} has never succeeded",
        "There is no back-up of what it is for.",
        cronjob=cronjob,
    )


def _fired(alert: str, summary: str, description: str, **labels: str) -> dict[str, Any]:
    return {
        "exp_labels": {**labels, "severity": "critical"},
        "exp_annotations": {
            "summary": summary,
            "description": description,
            "runbook_url": f"docs/runbooks/{alert}.md",
            "dashboard_url": "/d/lms-overview",
        },
    }
