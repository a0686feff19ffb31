"""Kafka, MySQL and Redis in containers: the second provider of the tests' servers.

The versions are those of docker-compose.yml, so that the kernel's tests also run on MySQL where the child processes are
MariaDB. The containers are stopped by the session that started them.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from lms.cli.home import any_free_port

KAFKA, MYSQL, REDIS = "apache/kafka:4.1.0", "mysql:8.4", "redis:7.4"
BASE = "python:3.11-slim"

_PASSWORD = "only-for-this-session"  # of a container that lives as long as the session


@dataclass(frozen=True)
class Started:
    """Where the containers are; `mysql` is a URL without a schema."""

    mysql: str
    kafka: str
    redis: str


@cache
def why_not() -> str | None:
    """Return what is missing for containers, or None."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return "no Docker engine answers"
    for image in (BASE, KAFKA, MYSQL, REDIS):
        if _fails("docker", "image", "inspect", image) and _fails("docker", "pull", "--quiet", image):
            return f"the image {image} is not here and cannot be pulled"
    return None


@contextmanager
def started() -> Iterator[Started]:
    """Start the three servers, and stop them at the end."""
    testcontainers_config.ryuk_disabled = True  # its helper image is one more to have, and these are stopped here
    with ExitStack() as running:
        kafka_port = any_free_port()
        redis = running.enter_context(
            DockerContainer(REDIS).with_exposed_ports(6379).waiting_for(_says("Ready to accept connections"))
        )
        mysql = running.enter_context(
            DockerContainer(MYSQL)
            .with_exposed_ports(3306)
            .with_env("MYSQL_ROOT_PASSWORD", _PASSWORD)
            .with_command(
                "--transaction-isolation=READ-COMMITTED --character-set-server=utf8mb4"
                " --collation-server=utf8mb4_bin --sync-binlog=1 --innodb-flush-log-at-trx-commit=1 --mysqlx=OFF"
            )
            .waiting_for(_says(r"port: 3306 "))  # the server that sets things up first has no port
        )
        # The broker tells clients its address, so its port must be the same inside and outside.
        running.enter_context(
            DockerContainer(KAFKA)
            .with_bind_ports(kafka_port, kafka_port)
            .with_env("KAFKA_NODE_ID", "1")
            .with_env("KAFKA_PROCESS_ROLES", "broker,controller")
            .with_env("KAFKA_LISTENERS", f"PLAINTEXT://:{kafka_port},CONTROLLER://:9093")
            .with_env("KAFKA_ADVERTISED_LISTENERS", f"PLAINTEXT://127.0.0.1:{kafka_port}")
            .with_env("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
            .with_env("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT")
            .with_env("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093")
            .with_env("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1")
            .with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
            .with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
            .with_env("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0")
            .with_env("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "1000")
            .with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
            .with_env("KAFKA_MESSAGE_MAX_BYTES", "4194304")
            .waiting_for(_says("Kafka Server started"))
        )
        host = mysql.get_container_host_ip().replace("localhost", "127.0.0.1")
        yield Started(
            f"mysql://root:{_PASSWORD}@{host}:{mysql.get_exposed_port(3306)}/",
            f"127.0.0.1:{kafka_port}",
            f"redis://{host}:{redis.get_exposed_port(6379)}/0",
        )


def _says(pattern: str) -> LogMessageWaitStrategy:
    return LogMessageWaitStrategy(re.compile(pattern)).with_startup_timeout(120)


def _fails(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0
