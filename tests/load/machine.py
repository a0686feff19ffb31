"""What the figures were taken on: the machine, the versions, and how durable its database is."""

import os
import platform
import statistics
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import pymysql
from sqlalchemy.engine import make_url

SYNCS = 200
_SETTINGS = ("log_bin", "sync_binlog", "innodb_flush_log_at_trx_commit", "binlog_format", "innodb_buffer_pool_size")
_LIBRARIES = ("fastapi", "uvicorn", "sqlalchemy", "aiomysql", "aiokafka", "aiohttp", "redis", "pydantic")


def machine(mysql_url: str, folder: Path, kafka_version: str) -> dict[str, str]:
    """Return what a reader must know to compare, by name; `folder` is on the disk that the database writes to."""
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    busy = psutil.cpu_percent(interval=2.0)
    database, settings = _database(mysql_url)
    return {
        "processor": f"{processor}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "busy with other work before": f"{busy:.0f} %, load {os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "libraries": ", ".join(f"{one} {version(one)}" for one in _LIBRARIES),
        "servers": f"Kafka {kafka_version}, {database}, Redis {_redis()}",
        "database": settings,
        "write of 4 KiB and fsync": f"{fsync_milliseconds(folder):.2f} ms (median of {SYNCS})",
    }


def fsync_milliseconds(folder: Path, times: int = SYNCS) -> float:
    """Return the median time of a small write that is forced to the disk: what a durable commit waits for."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def _database(url: str) -> tuple[str, str]:
    parsed = make_url(url)
    connection = pymysql.connect(
        host=parsed.host or "", port=parsed.port or 0, user=parsed.username, password=str(parsed.password or "")
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        found = str((cursor.fetchone() or ("unknown",))[0])
        cursor.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN {_SETTINGS}")
        settings = dict(cursor.fetchall())
    shown = ", ".join(f"{name}={settings[name]}" for name in _SETTINGS if name in settings)
    return ("MariaDB " if "maria" in found.lower() else "MySQL ") + found.split("-", maxsplit=1)[0], shown


def _redis() -> str:
    done = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False)
    return next((part[2:] for part in done.stdout.split() if part.startswith("v=")), "unknown")
