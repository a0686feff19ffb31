"""The tuned configuration of the databases is what the servers really take."""

from pathlib import Path

import pymysql
import pytest
from redis import Redis
from tests.conftest import TESTER

from lms.cli.servers import DEPLOY
from lms.cli.system import System

SMALLER = {"innodb_buffer_pool_size", "innodb_log_file_size", "innodb_redo_log_capacity", "maxmemory"}
"""What the embedded form and compose override, since a laptop is no database server."""

_SUFFIXES = {"k": 1024, "m": 1024**2, "g": 1024**3, "kb": 1024, "mb": 1024**2, "gb": 1024**3}


def lines(path: Path, *, mysql: bool = True) -> list[tuple[str, str]]:
    """Return the settings of a configuration file, as they are written; of my.cnf those that the server reads."""
    found, read = [], True
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            read = line == "[mysqld]" or (line == "[mariadb]" and not mysql)
        elif line.strip() and not line.startswith("#") and read:
            name, _, value = line.partition(" ")
            found.append((name, value.removeprefix("= ").strip()))
    return found


def same(written: str, effective: str) -> bool:
    """Say whether a value in a file and one that a server tells are the same."""
    return _plain(written) == _plain(effective)


def _plain(value: str) -> str:
    value = value.lower()
    for suffix, factor in _SUFFIXES.items():
        if value.endswith(suffix) and value.removesuffix(suffix).isdigit():
            return str(int(value.removesuffix(suffix)) * factor)
    return {"on": "1", "yes": "1", "off": "0", "no": "0"}.get(value, value).removesuffix(".000000")


def differing_mysql(connection: "pymysql.Connection[pymysql.cursors.Cursor]") -> dict[str, tuple[str, str]]:
    """Return the lines of my.cnf that a server took otherwise: (written, effective)."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL VARIABLES")
        effective = dict(cursor.fetchall())
    mysql = "MariaDB" not in effective["version"]
    found = {}
    for name, value in lines(DEPLOY / "mysql" / "my.cnf", mysql=mysql):
        known = name.removeprefix("loose_")
        if known == "transaction_isolation" and not mysql:
            known = "tx_isolation"  # the option has one name in both, the variable has not
        if known in SMALLER or (name.startswith("loose_") and not mysql):
            continue
        if name == "log_bin":
            assert effective["log_bin_basename"].endswith(f"/{value}"), effective["log_bin_basename"]
        elif name == "loose_mysqlx":
            assert "mysqlx_port" not in effective, "the X protocol listens"
        elif not same(value, effective[known]):
            found[name] = (value, effective[known])
    return found


def test_the_database_server_runs_with_every_line_of_my_cnf(servers: System) -> None:
    with pymysql.connect(
        host="127.0.0.1", port=servers.mysql.port, user=TESTER, password=servers.home.secret(f"mysql:{TESTER}")
    ) as connection:
        assert differing_mysql(connection) == {}


def test_redis_runs_with_every_line_of_redis_conf(servers: System) -> None:
    written: dict[str, str] = {}
    for name, value in lines(DEPLOY / "redis" / "redis.conf"):
        written[name] = f"{written[name]} {value}" if name in written else value
    with Redis.from_url(servers.redis.url, decode_responses=True) as redis:
        effective = {name: str(redis.config_get(name)[name]) for name in written}
    buffers = effective.pop("client-output-buffer-limit")
    assert f"pubsub {32 * 1024**2} {8 * 1024**2} 60" in buffers
    del written["client-output-buffer-limit"]
    assert {name: value for name, value in written.items() if not same(value, effective[name])} == {
        "maxmemory": "4gb"
    }, "all but the size is as it is written"


@pytest.mark.parametrize("gone", ["query_cache_type", "query_cache_size", "expire_logs_days"])
def test_lines_that_mysql_8_no_longer_knows_are_not_written(gone: str) -> None:
    assert gone not in {name for name, _ in lines(DEPLOY / "mysql" / "my.cnf")}
