"""The real servers of an embedded system: Kafka, MariaDB or MySQL, and Redis, as child processes.

Each server knows how to prepare its data folder, which command runs it, and how to tell that it is ready. They listen
on the loopback address only; passwords are generated and stand in files that only their owner reads. Durability is as
in production: a commit that was acknowledged survives the process.
"""

import asyncio
import base64
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import pymysql
from aiokafka.admin import AIOKafkaAdminClient
from redis.asyncio import Redis

from lms.cli.home import Home

KAFKA_VERSION = "4.1.0"
JMX_VERSION = "1.0.1"
SCHEMAS = ("directory", "requests", "balances", "approvals", "audit", "notifications")
EXPORTER = "lms_exporter"
"""The database user that reads the server's counters for Prometheus, and no row."""

BACKUP_USER = "lms_backup"
"""The database user that reads everything for back-ups, and writes in RECOVERY_SCHEMA alone."""

AUDIT_LOG = "lms_audit_log"
RECOVERY_SCHEMA = "lms_recovery"
KEYRING_READERS = ("requests", "balances", "approvals", "notifications")

DEPLOY = Path(__file__).parents[4] / "deploy"
"""The configuration that every form of LMS shares; an embedded system runs from a checkout."""

_KEYRING = "keyring"
_LONGEST_INIT_PATH = 90
"""The socket stands beside the init file, and a socket's path may have 107 characters."""


class Missing(Exception):
    """A program that LMS needs is not installed; the text says which package has it."""


class Server(Protocol):
    """A server process of the embedded system; it runs as `user`, if one is named."""

    name: str
    command: list[str]
    user: str | None

    def prepare(self) -> None:
        """Make the data folder and the configuration; harmless to repeat."""
        ...

    async def ready(self) -> bool:
        """Say whether it answers."""
        ...


def schemas_and_users(password: Callable[[str], str], host: str) -> list[str]:
    """Return the SQL that makes every schema, and a user for each service who may use its own schema alone.

    `lms_migrator` changes tables; the keyring is written by directory and read by the services that seal or unseal; the
    audit log can be read and added to, and neither changed nor cut, by the service that writes it; `lms_backup` reads
    all of it and the binary log. The users sign in from `host`. Harmless to repeat.
    """
    statements = [f"CREATE DATABASE IF NOT EXISTS `{_KEYRING}`;", *_user("lms_migrator", password, host)]
    for service in SCHEMAS:
        user = f"lms_{service}"
        statements += [
            f"CREATE DATABASE IF NOT EXISTS `{user}`;",
            *_user(user, password, host),
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{user}`.* TO '{user}'@'{host}';",
            f"GRANT ALL ON `{user}`.* TO 'lms_migrator'@'{host}';",
        ]
    statements.append(f"GRANT ALL ON `{_KEYRING}`.* TO 'lms_migrator'@'{host}';")
    statements.append(f"GRANT SELECT, INSERT, UPDATE ON `{_KEYRING}`.* TO 'lms_directory'@'{host}';")
    statements.append(f"CREATE DATABASE IF NOT EXISTS `{AUDIT_LOG}`;")
    statements.append(f"GRANT ALL ON `{AUDIT_LOG}`.* TO 'lms_migrator'@'{host}';")
    statements.append(f"GRANT SELECT, INSERT ON `{AUDIT_LOG}`.* TO 'lms_audit'@'{host}';")
    statements += [
        *_user(EXPORTER, password, host),
        f"GRANT PROCESS, REPLICATION CLIENT ON *.* TO '{EXPORTER}'@'{host}';",
    ]
    statements += [*_user(BACKUP_USER, password, host), f"CREATE DATABASE IF NOT EXISTS `{RECOVERY_SCHEMA}`;"]
    statements.append(
        f"GRANT RELOAD, PROCESS, REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO '{BACKUP_USER}'@'{host}';"
    )
    for schema in (*(f"lms_{one}" for one in SCHEMAS), AUDIT_LOG, _KEYRING):
        statements.append(f"GRANT SELECT, SHOW VIEW, TRIGGER ON `{schema}`.* TO '{BACKUP_USER}'@'{host}';")
    statements.append(f"GRANT ALL ON `{RECOVERY_SCHEMA}`.* TO '{BACKUP_USER}'@'{host}';")
    return statements + [f"GRANT SELECT ON `{_KEYRING}`.* TO 'lms_{one}'@'{host}';" for one in KEYRING_READERS]


def _user(user: str, password: Callable[[str], str], host: str) -> list[str]:
    return [
        f"CREATE USER IF NOT EXISTS '{user}'@'{host}' IDENTIFIED BY '{password(user)}';",
        f"ALTER USER '{user}'@'{host}' IDENTIFIED BY '{password(user)}';",
    ]


def program(*names: str, package: str) -> str:
    """Return the path of the first of the programs that is installed. Raises Missing, which names the package."""
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if found:
            return found
    raise Missing(f"{names[0]} is not installed; run: sudo apt-get install {package}")


def private_file(path: Path, text: str) -> None:
    """Write a file that its owner alone may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


@dataclass
class RedisServer:
    """Redis with an append-only file: losing it costs speed, never a fact."""

    home: Home
    name: str = "redis"
    user: str | None = None

    def __post_init__(self) -> None:
        self.port = self.home.port("redis")
        self._configuration = self.home.folder / "redis.conf"
        self.command = [
            program("redis-server", "valkey-server", package="redis-server"),
            str(self._configuration),
        ]

    @property
    def url(self) -> str:
        """Where clients connect, with the password."""
        return f"redis://:{self.home.secret('redis')}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration."""
        data = self.home.folder / "redis"
        data.mkdir(exist_ok=True)
        private_file(
            self._configuration,
            f"include {DEPLOY / 'redis' / 'redis.conf'}\nbind 127.0.0.1\nport {self.port}\n"
            f"requirepass {self.home.secret('redis')}\ndir {data}\nmaxmemory 256mb\n",
        )

    async def ready(self) -> bool:
        """Say whether it answers a ping."""
        async with Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1) as client:
            return bool(await client.ping())


_ON_TRIAL = ("--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF")


@dataclass
class MySQLServer:
    """MariaDB, or MySQL where that is installed, with every commit on disk before it is acknowledged.

    One that is not `durable` is for trials: it may forget commits, and writes no binary log. At each start an init file
    makes the schemas and one user per service, limited to its own schema. No administrator has a password: they come
    through the socket, in MariaDB as the account of the machine that they are (root, or whoever has started it).
    """

    home: Home
    extra_sql: tuple[str, ...] = ()
    name: str = "mysql"
    user: str | None = None
    durable: bool = True

    def __post_init__(self) -> None:
        self.port = self.home.port("mysql")
        self._data = self.home.folder / "mysql"
        self._tmp = self.home.folder / "mysql-tmp"  # a server that starts deletes the temporary tables that it finds
        self._init = self.home.folder / "mysql-init" / "init.sql"
        short = len(str(self._init)) < _LONGEST_INIT_PATH
        self._socket_folder = self._init.parent if short else self.home.run
        self.user = "mysql" if os.geteuid() == 0 else None
        self._as = [f"--user={self.user}"] if self.user else []
        self._server = program("mariadbd", "mysqld", package="mariadb-server")
        self.command = [
            self._server,
            f"--defaults-file={DEPLOY / 'mysql' / 'my.cnf'}",
            *self._as,
            f"--datadir={self._data}",
            f"--tmpdir={self._tmp}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self._socket_folder / 'mysql.sock'}",
            f"--pid-file={self._data / 'server.pid'}",
            f"--init-file={self._init}",
            *(() if self.durable else _ON_TRIAL),
            "--innodb-buffer-pool-size=256M",
            "--loose-innodb-redo-log-capacity=128M" if self._is_mysql else "--innodb-log-file-size=96M",
        ]

    @property
    def _is_mysql(self) -> bool:
        return Path(self._server).name == "mysqld" and not Path(self._server).resolve().name.startswith("maria")

    def url(self, user: str, schema: str) -> str:
        """Return the URL of a schema for one of our users."""
        return f"mysql://{user}:{self.home.secret(f'mysql:{user}')}@127.0.0.1:{self.port}/{schema}"

    def prepare(self) -> None:
        """Make the data folder once, and the init file at every start."""
        self._init.parent.mkdir(exist_ok=True)
        self._init.parent.chmod(0o700)
        self._tmp.mkdir(exist_ok=True)
        private_file(self._init, "\n".join(self._statements()) + "\n")
        if not (self._data / "mysql").exists():
            shutil.rmtree(self._data, ignore_errors=True)
            self._data.mkdir()
            self._give_to_server()
            self._install()
        self._give_to_server()

    def _install(self) -> None:
        folders = (f"--datadir={self._data}", f"--tmpdir={self._tmp}")
        if self._is_mysql:
            command = [self._server, "--no-defaults", *self._as, "--initialize-insecure", *folders]
        else:
            command = [
                program("mariadb-install-db", "mysql_install_db", package="mariadb-server"),
                "--no-defaults",
                *self._as,
                *folders,
                "--skip-test-db",
                "--auth-root-authentication-method=socket",
                f"--auth-root-socket-user={'mysql' if self._as else pwd.getpwuid(os.geteuid()).pw_name}",
            ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own command
        if done.returncode:
            raise RuntimeError(f"The database could not be created: {done.stdout[-800:]}{done.stderr[-800:]}")

    def _give_to_server(self) -> None:
        """As root the server runs as the user mysql, who must own its files and reach them."""
        if self._as:
            shutil.chown(self._data, "mysql", "mysql")
            shutil.chown(self._tmp, "mysql", "mysql")
            shutil.chown(self._init.parent, "mysql", "mysql")
            shutil.chown(self._socket_folder, "mysql", "mysql")
            shutil.chown(self._init, "mysql", "mysql")
            for parent in (self.home.folder, *self.home.folder.parents):
                mode = parent.stat().st_mode
                if not mode & 0o001 and parent != Path("/"):
                    parent.chmod(mode | 0o001)

    def _statements(self) -> list[str]:
        own = schemas_and_users(lambda user: self.home.secret(f"mysql:{user}"), "127.0.0.1")
        return [*own, *self.extra_sql]

    async def ready(self) -> bool:
        """Say whether our own users may sign in: the init file has then been executed."""

        def sign_in() -> bool:
            connection = pymysql.connect(
                host="127.0.0.1",
                port=self.port,
                user="lms_approvals",
                password=self.home.secret("mysql:lms_approvals"),
                database="lms_approvals",
                connect_timeout=2,
            )
            connection.close()
            return True

        return await asyncio.to_thread(sign_in)


@dataclass
class MailServer:
    """The sink that takes every mail and delivers none; what it took is shown at its URL."""

    home: Home
    name: str = "mail"
    user: str | None = None

    def __post_init__(self) -> None:
        self.smtp_port = self.home.port("mail-smtp")
        self.http_port = self.home.port("mail")
        ports = [str(self.smtp_port), str(self.http_port)]
        self.command = [sys.executable, "-m", "lms.cli.mailsink", str(self.home.folder / "mails"), *ports]

    @property
    def url(self) -> str:
        """Where the mails are shown."""
        return f"http://127.0.0.1:{self.http_port}"

    def prepare(self) -> None:
        """Do nothing: the sink makes its folder."""

    async def ready(self) -> bool:
        """Say whether it listens on both ports."""
        for port in (self.smtp_port, self.http_port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
        return True


@dataclass
class KafkaServer:
    """One Kafka node in KRaft mode, from the jars of Maven Central.

    With `metrics` it has Prometheus's JMX exporter inside, which listens on `metrics_port`.
    """

    home: Home
    metrics: bool = False
    name: str = "kafka"
    user: str | None = None

    def __post_init__(self) -> None:
        self.port = self.home.port("kafka")
        self._controller_port = self.home.port("kafka-controller")
        self._properties = self.home.folder / "kafka.properties"
        self._data = self.home.folder / "kafka"
        self.metrics_port = self.home.port("kafka-metrics")
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lms"
        self._jars = cache / f"kafka-{KAFKA_VERSION}"
        self._agent = cache / f"jmx-{JMX_VERSION}"
        self._java = program("java", package="default-jre-headless")
        self.command = [
            self._java,
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",  # on a few cores the optimising compiler takes half of a start, and of a test
            *(self._agent_options() if self.metrics else []),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            f"{self._jars}/*",
            "kafka.Kafka",
            str(self._properties),
        ]

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Fetch the jars once, format the log folder once, and write the properties."""
        self._fetch("kafka-pom.xml", self._jars)
        if self.metrics:
            self._fetch("jmx-pom.xml", self._agent)
        self._properties.write_text(
            "\n".join(
                [
                    "process.roles=broker,controller",
                    "node.id=1",
                    f"controller.quorum.voters=1@127.0.0.1:{self._controller_port}",
                    f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}",
                    f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}",
                    "controller.listener.names=CONTROLLER",
                    "inter.broker.listener.name=PLAINTEXT",
                    f"log.dirs={self._data}",
                    "offsets.topic.replication.factor=1",
                    "transaction.state.log.replication.factor=1",
                    "transaction.state.log.min.isr=1",
                    "offsets.topic.num.partitions=8",
                    "group.initial.rebalance.delay.ms=0",
                    "group.min.session.timeout.ms=1000",
                    "auto.create.topics.enable=false",
                    "log.retention.ms=-1",
                    "message.max.bytes=4194304",
                    "",
                ]
            ),
            encoding="utf-8",
        )
        if not (self._data / "meta.properties").exists():
            self._format()

    def _format(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        id_ = f"--cluster-id={cluster}"  # one argument: an id may begin with a hyphen
        command = [self._java, "-cp", f"{self._jars}/*", "kafka.tools.StorageTool", "format", id_]
        done = subprocess.run(  # noqa: S603  # our own command
            [*command, "-c", str(self._properties)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"Kafka's log folder could not be formatted: {done.stdout[-800:]}{done.stderr[-800:]}")

    def _agent_options(self) -> list[str]:
        jar = self._agent / f"jmx_prometheus_javaagent-{JMX_VERSION}.jar"
        configuration = Path(__file__).parents[4] / "deploy" / "prometheus" / "jmx-kafka.yml"
        return [f"-javaagent:{jar}=127.0.0.1:{self.metrics_port}:{configuration}"]

    def _fetch(self, pom: str, jars: Path) -> None:
        """Copy the jars of a pom from Maven Central into the user's cache, whole or not at all."""
        if jars.exists():
            return
        maven = program("mvn", package="maven")
        folder = jars.with_name(f"{jars.name}.{secrets.token_hex(4)}")
        folder.mkdir(parents=True)
        (folder / "pom.xml").write_text(files("lms.cli").joinpath(pom).read_text(encoding="utf-8"))
        command = [maven, "-q", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies"]
        for attempt in (1, 2, 3):
            done = subprocess.run(  # noqa: S603  # our own command
                [*command, f"-DoutputDirectory={folder}"], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                break
            if attempt == 3:  # noqa: PLR2004  # the last of the tries above
                shutil.rmtree(folder, ignore_errors=True)
                raise Missing(f"{jars.name} could not be copied from Maven Central: {done.stdout[-800:]}")
        try:
            folder.rename(jars)
        except OSError:  # another system on this machine was faster
            shutil.rmtree(folder, ignore_errors=True)

    async def topics(self, *, milliseconds: int = 40_000) -> list[str]:
        """Return the names of all topics; an answer may take so long."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers, request_timeout_ms=milliseconds)
        try:
            await admin.start()
            return list(await admin.list_topics())
        finally:
            await admin.close()

    async def ready(self) -> bool:
        """Say whether it answers for its topics."""
        await self.topics(milliseconds=2000)
        return True
