"""The CloudFormation templates are valid, say what the guide says of AWS, and bring people to the cluster's edge."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.k8s import conftest as cluster
from tests.k8s.conftest import Manifest

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "deploy" / "aws"


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as what they stand for."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix: value}


_Loader.add_multi_constructor("!", _short_form)


def resources(name: str) -> dict[str, Any]:
    """Return the resources of a template."""
    found: dict[str, Any] = yaml.load((TEMPLATES / f"{name}.yaml").read_text("utf-8"), _Loader)["Resources"]  # noqa: S506  # a safe loader
    return found


def of(name: str, kind: str) -> dict[str, Any]:
    """Return the properties of a template's resources of a kind."""
    return {key: one.get("Properties", {}) for key, one in resources(name).items() if one["Type"] == kind}


@pytest.mark.timeout(600)  # a first run also installs the linters
def test_cfn_lint_has_nothing_to_say(tools: Path) -> None:
    told = subprocess.run(
        [
            str(tools / "python" / "bin" / "cfn-lint"), "--regions", "eu-central-1", "--",
            *(str(path) for path in sorted(TEMPLATES.glob("*.yaml"))),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (told.returncode, told.stdout) == (0, ""), told.stdout + told.stderr


def test_the_network_is_the_guides() -> None:
    (vpc,) = of("network", "AWS::EC2::VPC").values()
    assert vpc["CidrBlock"] == "10.0.0.0/16"
    subnets = {name: one["CidrBlock"] for name, one in of("network", "AWS::EC2::Subnet").items()}
    assert subnets == {
        "PublicA": "10.0.1.0/24", "PublicB": "10.0.2.0/24", "PublicC": "10.0.3.0/24",
        "PrivateA": "10.0.10.0/24", "PrivateB": "10.0.20.0/24", "PrivateC": "10.0.30.0/24",
    }  # fmt: skip


def test_stores_are_reached_from_the_application_alone() -> None:
    into: dict[str, list[tuple[int, Any]]] = {}
    for one in of("network", "AWS::EC2::SecurityGroupIngress").values():
        into.setdefault(one["GroupId"]["Ref"], []).append((one.get("FromPort", -1), one.get("SourceSecurityGroupId")))
    application = {"Ref": "ApplicationGroup"}
    assert into["DatabaseGroup"] == [(3306, application)]
    assert into["RedisGroup"] == [(6379, application)]
    assert into["KafkaGroup"] == [(9096, application)]
    assert into["ApplicationGroup"] == [(8080, {"Ref": "LoadBalancerGroup"}), (-1, application)]
    assert 22 not in {one.get("FromPort") for one in of("network", "AWS::EC2::SecurityGroupIngress").values()}


def test_stores_may_speak_with_nobody_outwards() -> None:
    groups = of("network", "AWS::EC2::SecurityGroup")
    for name in ("DatabaseGroup", "RedisGroup", "KafkaGroup", "FilesGroup"):
        assert [one["CidrIp"] for one in groups[name]["SecurityGroupEgress"]] == ["127.0.0.1/32"]


def test_the_database_is_in_two_zones_encrypted_and_backed_up_for_30_days_with_two_replicas() -> None:
    databases = of("data", "AWS::RDS::DBInstance")
    primary = databases.pop("Database")
    assert primary["MultiAZ"] is primary["StorageEncrypted"] is primary["DeletionProtection"] is True
    assert primary["PubliclyAccessible"] is False
    mapping = yaml.load((TEMPLATES / "data.yaml").read_text("utf-8"), _Loader)["Mappings"]  # noqa: S506  # a safe loader
    assert mapping["Days"]["Kept"]["Backups"] == 30
    assert [one["SourceDBInstanceIdentifier"] for one in databases.values()] == [{"Ref": "Database"}] * 2


def test_the_database_is_as_durable_as_my_cnf_says() -> None:
    (parameters,) = (one["Parameters"] for one in of("data", "AWS::RDS::DBParameterGroup").values())
    written = dict(
        line.split(" = ")
        for line in (ROOT / "deploy/mysql/my.cnf").read_text("utf-8").splitlines()
        if " = " in line and not line.startswith("#")
    )
    for name in (
        "innodb_flush_log_at_trx_commit", "sync_binlog", "max_connections", "connect_timeout", "wait_timeout",
        "binlog_format", "character_set_server", "collation_server", "transaction_isolation",
    ):  # fmt: skip
        assert parameters[name] == written[name], name
    assert parameters["require_secure_transport"] == "1"


def test_redis_has_three_nodes_over_zones_and_evicts_as_redis_conf_says() -> None:
    (redis,) = of("data", "AWS::ElastiCache::ReplicationGroup").values()
    assert redis["NumCacheClusters"] == 3
    assert redis["MultiAZEnabled"] is redis["AutomaticFailoverEnabled"] is redis["TransitEncryptionEnabled"] is True
    (parameters,) = of("data", "AWS::ElastiCache::ParameterGroup").values()
    policy = parameters["Properties"]["maxmemory-policy"]
    assert f"maxmemory-policy {policy}\n" in (ROOT / "deploy/redis/redis.conf").read_text("utf-8")


def test_kafka_has_three_brokers_that_two_must_acknowledge_and_asks_everybody_who_they_are() -> None:
    (kafka,) = of("data", "AWS::MSK::Cluster").values()
    assert kafka["NumberOfBrokerNodes"] == 3
    assert kafka["ClientAuthentication"]["Unauthenticated"] == {"Enabled": False}
    (configuration,) = of("data", "AWS::MSK::Configuration").values()
    for line in ("min.insync.replicas=2", "auto.create.topics.enable=false", "allow.everyone.if.no.acl.found=false"):
        assert line in configuration["ServerProperties"]


def test_buckets_are_private_encrypted_and_let_old_things_go() -> None:
    buckets = of("data", "AWS::S3::Bucket")
    assert set(buckets) == {"Backups"}, "LMS keeps no uploads"
    for one in buckets.values():
        assert set(one["PublicAccessBlockConfiguration"].values()) == {True}
        assert one["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert one["LifecycleConfiguration"]["Rules"]
    assert buckets["Backups"]["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Days"] == 30


def test_back_ups_may_delete_what_is_over_and_nobody_else_does_or_before_the_lock_ends() -> None:
    bucket = of("data", "AWS::S3::Bucket")["Backups"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, "what is deleted is hidden"
    for rule in bucket["LifecycleConfiguration"]["Rules"]:
        assert "ExpirationInDays" not in rule, "the newest back-up of a kind stays, however old it is"
    (policy,) = of("cluster", "AWS::IAM::Role")["BackupRole"]["Policies"]
    actions = {one for rule in policy["PolicyDocument"]["Statement"] for one in rule["Action"]}
    assert "s3:DeleteObject" in actions
    assert not actions & {"s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"}
    (identity,) = [
        one for one in of("cluster", "AWS::EKS::PodIdentityAssociation").values() if one["Namespace"] == "lms"
    ]
    assert identity["ServiceAccount"] == "backup", "k8s/base/backups/account.yaml"


def _only_looks(statement: dict[str, Any]) -> bool:
    """Say whether a statement allows to look alone, which many of AWS's calls can limit to nothing smaller."""
    return all(":Describe" in one for one in statement["Action"])


def test_no_role_may_do_everything_and_what_is_kept_survives_the_stack() -> None:
    for name in ("network", "data", "cluster", "edge"):
        for key, role in of(name, "AWS::IAM::Role").items():
            for policy in role.get("Policies", []):
                for statement in policy["PolicyDocument"]["Statement"]:
                    assert "*" not in str(statement["Action"]), key
                    assert _only_looks(statement) or statement["Resource"] != "*", key
    kept = resources("data")
    for key in ("Key", "Kafka", "Files", "Backups"):
        assert kept[key]["DeletionPolicy"] == "Retain", key
    assert kept["Database"]["DeletionPolicy"] == "Snapshot"


def test_people_come_by_tls_and_only_files_named_by_their_content_are_cached() -> None:
    (distribution,) = (one["DistributionConfig"] for one in of("edge", "AWS::CloudFront::Distribution").values())
    default = distribution["DefaultCacheBehavior"]
    assert default["ViewerProtocolPolicy"] == "redirect-to-https"
    assert default["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "Managed-CachingDisabled"
    assert [one["PathPattern"] for one in distribution["CacheBehaviors"]] == ["/assets/*"]
    assert distribution["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    redirect = of("edge", "AWS::ElasticLoadBalancingV2::Listener")["Http"]["DefaultActions"][0]
    assert redirect["RedirectConfig"]["StatusCode"] == "HTTP_301"


# The way from the balancer to the edge --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def on_aws(tools: Path) -> list[Manifest]:
    """All resources of production with what AWS's load balancer needs, as kustomize builds them."""
    done = subprocess.run(
        [str(tools / "bin" / "kustomize"), "build", str(TEMPLATES / "overlay")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the one resource of a kind with this name, behind which kustomize may write a hash."""
    (found,) = [
        one
        for one in cluster.of(manifests, kind)
        if re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", one["metadata"]["name"])
    ]
    return found


def test_the_copies_of_the_edge_are_the_balancers_targets(on_aws: list[Manifest]) -> None:
    (binding,) = cluster.of(on_aws, "TargetGroupBinding")
    (group,) = of("edge", "AWS::ElasticLoadBalancingV2::TargetGroup").values()
    # What the definition knows (v1beta1); anything else the cluster would refuse.
    assert binding["apiVersion"] == "elbv2.k8s.aws/v1beta1"
    assert set(binding["spec"]) == {"serviceRef", "targetGroupARN", "targetType"}
    assert binding["spec"]["targetType"] == group["TargetType"] == "ip"
    assert re.fullmatch(
        r"arn:aws:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup/lms/[0-9a-f]{16}",
        binding["spec"]["targetGroupARN"],
    )
    outputs = yaml.load((TEMPLATES / "edge.yaml").read_text("utf-8"), _Loader)["Outputs"]  # noqa: S506  # a safe loader
    assert outputs["TargetGroupArn"] == {"Value": {"Ref": "Edge"}}

    service = named(on_aws, "Service", binding["spec"]["serviceRef"]["name"])
    (port,) = [one for one in service["spec"]["ports"] if one["name"] == binding["spec"]["serviceRef"]["port"]]
    pod = named(on_aws, "Deployment", "edge")["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (listens,) = [
        one["containerPort"]
        for container in pod["spec"]["containers"]
        for one in container["ports"]
        if one["name"] == port["targetPort"]
    ]
    assert (group["Protocol"], group["Port"]) == ("HTTPS", listens)


def test_the_balancer_is_the_only_way_in(on_aws: list[Manifest]) -> None:
    assert [
        one["metadata"]["name"] for one in cluster.of(on_aws, "Service") if one["spec"].get("type") == "LoadBalancer"
    ] == []
    assert "externalTrafficPolicy" not in named(on_aws, "Service", "edge")["spec"], "of a LoadBalancer alone"


def test_the_edge_answers_a_balancer_that_says_no_name_and_counts_the_people_behind_it(on_aws: list[Manifest]) -> None:
    configuration = named(on_aws, "ConfigMap", "edge")["data"]
    assert configuration["LMS_EDGE_BEHIND_BALANCER"] == "true"
    public = [one["CidrBlock"] for name, one in of("network", "AWS::EC2::Subnet").items() if name.startswith("Public")]
    assert configuration["LMS_EDGE_TRUSTED_PROXIES"].split(",")[:3] == public
    script = (ROOT / "deploy/nginx/edge").read_text("utf-8")
    for variable in configuration:
        assert f"${{{variable}:" in script, f"{variable} is nothing that the edge reads"


def test_a_mail_server_that_is_away_takes_no_copy_out() -> None:
    (group,) = of("edge", "AWS::ElasticLoadBalancingV2::TargetGroup").values()
    assert group["HealthCheckProtocol"] == "HTTPS"
    assert group["HealthCheckPath"] == "/readyz", "/health is 503 without the mail server"
    assert group["Matcher"] == {"HttpCode": "200"}
    nginx = ROOT / "deploy" / "nginx"
    assert "location = /readyz {" in (nginx / "readyz.conf").read_text("utf-8")
    servers = [one for one in (nginx / "nginx.conf").read_text("utf-8").split("server {") if "${HTTPS_LISTEN}" in one]
    assert len(servers) == 2, "of our name, and of any other: a balancer's probe names an address"
    assert all("readyz.conf;" in one for one in servers)


def test_a_copy_that_is_replaced_goes_when_the_balancer_knows(on_aws: list[Manifest]) -> None:
    labels = named(on_aws, "Namespace", "lms")["metadata"]["labels"]
    assert labels["elbv2.k8s.aws/pod-readiness-gate-inject"] == "enabled"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = named(on_aws, "Deployment", "edge")["spec"]["template"]["spec"]
    (nginx,) = pod["containers"]
    (group,) = of("edge", "AWS::ElasticLoadBalancingV2::TargetGroup").values()
    waits = nginx["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert waits >= 2 * group["HealthCheckIntervalSeconds"]
    assert pod["terminationGracePeriodSeconds"] > waits + 10, "nginx lets requests finish for ten seconds"


def test_the_controller_may_enter_targets_into_this_group_and_change_nothing_else() -> None:
    (policy,) = of("edge", "AWS::IAM::Role")["ControllerRole"]["Policies"]
    changes = [
        (one["Action"], one["Resource"]) for one in policy["PolicyDocument"]["Statement"] if not _only_looks(one)
    ]
    assert changes == [
        (["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"], {"Ref": "Edge"})
    ]
    (identity,) = of("edge", "AWS::EKS::PodIdentityAssociation").values()
    assert (identity["Namespace"], identity["ServiceAccount"]) == ("kube-system", "aws-load-balancer-controller")
    deployment = (ROOT / "docs/deployment.md").read_text("utf-8")
    assert "AWS Load Balancer Controller" in deployment, "it is among what a cluster needs"
    assert "kubectl apply -k deploy/aws/overlay" in deployment


@pytest.mark.timeout(600)
def test_what_is_applied_on_aws_fits_its_schemas(tools: Path, on_aws: list[Manifest], tmp_path: Path) -> None:
    others = [one for one in on_aws if one["kind"] != "TargetGroupBinding"]  # its fields are looked at above
    (tmp_path / "aws.yaml").write_text(yaml.safe_dump_all(others), encoding="utf-8")
    assert cluster.refusals(tools, tmp_path / "aws.yaml") == ([], len(others))
