"""Make what `docker compose` needs and nobody may commit: secrets, and the SQL that makes schemas and users.

`make compose-secrets` writes them once: `.env` for docker-compose.yml, `.compose/mysql/users.sql`, and the age identity
that opens the back-ups. What exists is kept, so that a second run changes nothing.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from lms.cli.backup_settings import HOME_IDENTITY
from lms.cli.home import Home
from lms.cli.packing import make_identity
from lms.cli.servers import BACKUP_USER, EXPORTER, SCHEMAS, schemas_and_users
from lms.cli.system import ADMIN_EMAIL, LOADER
from lms.kernel.auth import public_key_of

ROOT = Path(__file__).parents[1]
REPLICATION = "lms_replication"
"""The database user by whom a replica follows."""


def environment(home: Home) -> dict[str, str]:
    """Return the variables that docker-compose.yml interpolates."""
    jwt_secret = home.secret("jwt", 64)
    loader = hashlib.sha256(home.secret("loader").encode()).hexdigest()
    account = {"secret_sha256": loader, "scopes": ["act-for"], "roles": ["hr", "admin"]}
    return {
        "LMS_ENVIRONMENT": "development",
        "GATEWAY_PORT": "8080",
        "MAIL_PORT": "8025",
        "JWT_SECRET": jwt_secret,
        "JWT_PUBLIC_KEY": public_key_of(jwt_secret),
        "ENCRYPTION_KEY": home.secret("encryption", 48),
        "AUDIT_SIGNING_KEY": home.secret("audit", 64),
        "REDIS_PASSWORD": home.secret("redis"),
        "MYSQL_ROOT_PASSWORD": home.secret("mysql:root"),
        "MYSQL_REPLICATION_PASSWORD": _replication_password(home),
        "GRAFANA_PASSWORD": home.secret("grafana"),
        "MYSQL_MIGRATOR_PASSWORD": home.secret("mysql:lms_migrator"),
        "MYSQL_EXPORTER_PASSWORD": home.secret(f"mysql:{EXPORTER}"),
        "MYSQL_BACKUP_PASSWORD": home.secret(f"mysql:{BACKUP_USER}"),
        **{f"MYSQL_{one.upper()}_PASSWORD": home.secret(f"mysql:lms_{one}") for one in SCHEMAS},
        "ADMIN_EMAIL": ADMIN_EMAIL,
        "ADMIN_PASSWORD": home.secret("demo", 12),
        "SERVICE_ACCOUNTS": json.dumps({LOADER: account}),
    }


def write(folder: Path, environment_file: Path) -> None:
    """Write all files; the folder is its owner's alone, for containers read SQL and identity as users of their own."""
    home = Home.at(folder)
    sql = folder / "mysql" / "users.sql"
    folder.chmod(0o700)
    sql.parent.mkdir(exist_ok=True)
    statements = [
        *schemas_and_users(lambda user: home.secret(f"mysql:{user}"), "%"),
        f"CREATE USER IF NOT EXISTS '{REPLICATION}'@'%' IDENTIFIED BY '{_replication_password(home)}';",
        f"GRANT REPLICATION SLAVE ON *.* TO '{REPLICATION}'@'%';",
    ]
    sql.write_text("\n".join(statements) + "\n", "utf-8")
    write_identity(folder)
    lines = [f"{name}='{value}'" for name, value in environment(home).items()]
    descriptor = os.open(environment_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("# Made by `make compose-secrets`; keep it out of every repository and back-up.\n")
        file.write("\n".join(lines) + "\n")


def _replication_password(home: Home) -> str:
    """Return the password by which a replica signs in: MySQL takes 32 characters at most, which are 24 random bytes."""
    return home.secret(f"mysql:{REPLICATION}", 24)


def write_identity(folder: Path) -> None:
    """Write the identity of the back-ups, unless there is one: what was backed up for it nobody else opens."""
    identity = folder / HOME_IDENTITY
    if not identity.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        make_identity(identity)
        identity.chmod(0o644)


def main() -> int:
    """Write the files unless there are any; the identity also where an earlier release wrote none."""
    environment_file = ROOT / ".env"
    if environment_file.exists():
        write_identity(ROOT / ".compose")
        print(f"{environment_file} exists and is kept.")
        return 0
    write(ROOT / ".compose", environment_file)
    print(f"{environment_file} and {ROOT / '.compose'} are written; start by `docker compose up --build`.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
