"""The database server of an embedded system has no default account, notes who changes it, and speaks TLS when asked."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from tests.certificates import write_certificate
from tests.waiting import eventually

from lms.cli.database_server import DatabaseServer, ServerFailed
from lms.cli.home import Home
from lms.cli.recovery import ADMIN, admin_sql
from lms.cli.servers import BACKUP_USER, DEPLOY, EXPORTER, SCHEMAS, MySQLServer
from lms.cli.trial import running
from lms.kernel.database import Database
from lms.kernel.migrations import migrate

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[3]
OURS = {f"lms_{one}" for one in SCHEMAS} | {"lms_migrator", EXPORTER, BACKUP_USER, ADMIN}


@contextmanager
def database(*options: str, certificate: bool = False) -> Iterator[tuple[MySQLServer, DatabaseServer]]:
    """Run a server as an embedded system has it, with further options; with a certificate it offers TLS."""
    folder = Path(tempfile.mkdtemp(prefix="lms-test-db-"))
    folder.chmod(0o711)
    try:
        home = Home.at(folder)
        process = MySQLServer(home, admin_sql(home))
        process.command += options
        if certificate:
            file = write_certificate(folder / "certificate.pem")
            file.chmod(0o644)  # the server's own account reads it
            process.command += [f"--ssl-cert={file}", f"--ssl-key={file}"]
        password = home.secret(f"mysql:{ADMIN}")
        with running(process, f"mysql://{ADMIN}:{password}@127.0.0.1") as admin:
            yield process, admin
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def options_of(file: Path) -> list[str]:
    """Return the settings of a configuration file as options of the command line."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and line[0] not in "#["]
    return ["--" + line.replace(" = ", "=").replace("_", "-", line.split(" = ")[0].count("_")) for line in lines]


@pytest.fixture(scope="module")
def audited() -> Iterator[tuple[MySQLServer, DatabaseServer]]:
    with database(*options_of(DEPLOY / "mysql" / "audit.cnf"), certificate=True) as found:
        yield found


Audited = tuple[MySQLServer, DatabaseServer]


def sign_in(process: MySQLServer, user: str, password: str) -> None:
    pymysql.connect(host="127.0.0.1", port=process.port, user=user, password=password).close()


def test_there_is_no_account_but_ours_and_those_of_the_machine_itself(audited: Audited) -> None:
    _, admin = audited
    accounts = {(row["User"], row["Host"]) for row in admin.rows("SELECT User, Host FROM mysql.user")}
    assert {user for user, host in accounts if host != "localhost"} == OURS
    assert {host for _, host in accounts} == {"localhost", "127.0.0.1"}
    assert {user for user, host in accounts if host == "localhost"} <= {"root", "mysql", "mariadb.sys"}
    assert not {user for user, _ in accounts} & {"", "test"}


def test_there_is_no_test_schema_and_no_right_on_one(audited: Audited) -> None:
    _, admin = audited
    assert "test" not in admin.schemas()
    assert not admin.rows("SELECT * FROM mysql.db WHERE Db LIKE 'test%%' OR User = ''")


@pytest.mark.parametrize(("user", "password"), [("root", ""), ("root", "root"), ("", ""), ("mysql", ""), ("test", "")])
def test_nobody_signs_in_over_the_network_by_a_default_account(audited: Audited, user: str, password: str) -> None:
    process, _ = audited
    with pytest.raises(pymysql.err.OperationalError) as refusal:
        sign_in(process, user, password)
    assert refusal.value.args[0] in {1045, 1698, 1130}


def test_a_service_has_its_own_schema_and_nothing_else(audited: Audited) -> None:
    process, _ = audited
    seen = DatabaseServer(process.url("lms_balances", "")).schemas()
    assert seen == {"information_schema", "lms_balances", "keyring"}
    with pytest.raises(ServerFailed, match="denied"):
        DatabaseServer(process.url("lms_balances", "")).rows("SELECT * FROM mysql.user")


def test_the_audit_log_of_the_database_has_who_and_what_and_no_values(audited: Audited) -> None:
    process, admin = audited
    admin.execute("CREATE TABLE lms_balances.noted (word VARCHAR(40))", "CREATE USER 'noted'@'127.0.0.1'")
    admin.execute("INSERT INTO lms_balances.noted VALUES ('somebody-ill')", "DROP USER 'noted'@'127.0.0.1'")
    with pytest.raises(pymysql.err.OperationalError):
        sign_in(process, "lms_balances", "guessed")
    noted = (process.home.folder / "mysql" / "server_audit.log").read_text(encoding="utf-8")
    assert re.search(rf",{ADMIN},127\.0\.0\.1,.*CREATE TABLE lms_balances\.noted", noted)
    assert re.search(rf",{ADMIN},127\.0\.0\.1,.*CREATE USER", noted)
    assert re.search(r",lms_balances,127\.0\.0\.1,.*FAILED_CONNECT", noted)
    assert "somebody-ill" not in noted
    with pytest.raises(ServerFailed):
        admin.execute("UNINSTALL SONAME 'server_audit'")


def test_the_statements_of_the_runbook_for_slow_queries_work(audited: Audited) -> None:
    process, admin = audited
    migrate(ROOT / "services/requests/migrations", process.url("lms_migrator", "lms_requests"))
    page = (ROOT / "docs/runbooks/slow-queries.md").read_text(encoding="utf-8")
    statements = [line for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    slow, processes, explain, transactions, innodb = (one.rstrip(";") for one in statements)
    admin.rows("SELECT SLEEP(1.1)")
    eventually(lambda: "SLEEP" in str(admin.rows(slow)), "the slow statement is not in the slow log")
    assert admin.rows(processes)
    (plan,) = admin.rows(explain)
    assert "leave_requests_complex" in plan["possible_keys"], "an empty table is read by its primary key"
    with admin.connect() as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM lms_requests.alembic_version FOR UPDATE")
        assert holder.thread_id() in {row["trx_mysql_thread_id"] for row in admin.rows(transactions)}
    (status,) = admin.rows(innodb)
    assert "TRANSACTIONS" in str(status["Status"])


def test_whoever_has_started_the_server_comes_in_as_the_runbook_says(audited: Audited) -> None:
    process, _ = audited
    page = (ROOT / "docs/runbooks/slow-queries.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^mariadb -S .*$", page, re.MULTILINE)
    typed = command.replace(".lms", str(process.home.folder)).split()
    done = subprocess.run([*typed, "-N", "-e", "SHOW GRANTS"], capture_output=True, text=True, check=False)
    assert "GRANT ALL PRIVILEGES ON *.*" in done.stdout, done.stderr


# TLS ------------------------------------------------------------------------------------------------------------------


async def cipher(url: str) -> str:
    """Return by which cipher a service's connection is encrypted; empty for one in clear."""
    opened = Database(url, pool_size=1)
    try:
        async with opened.transaction() as connection:
            row = (await connection.execute(text("SHOW SESSION STATUS LIKE 'Ssl_cipher'"))).one()
            return str(row[1])
    finally:
        await opened.close()


async def test_a_service_whose_url_names_an_authority_speaks_tls(audited: Audited) -> None:
    process, admin = audited
    url = process.url("lms_balances", "lms_balances")
    assert await cipher(url) == ""
    assert await cipher(f"{url}?ssl_ca={process.home.folder / 'certificate.pem'}")
    admin.execute("ALTER USER 'lms_balances'@'127.0.0.1' REQUIRE SSL")
    try:
        assert await cipher(f"{url}?ssl_ca={process.home.folder / 'certificate.pem'}")
        with pytest.raises(DBAPIError, match="denied"):
            await cipher(url)
    finally:
        admin.execute("ALTER USER 'lms_balances'@'127.0.0.1' REQUIRE NONE")


async def test_a_server_with_another_authoritys_certificate_is_refused(audited: Audited, tmp_path: Path) -> None:
    process, _ = audited
    other = write_certificate(tmp_path / "other.pem")
    with pytest.raises(DBAPIError):
        await cipher(f"{process.url('lms_balances', 'lms_balances')}?ssl_ca={other}")


def test_migrations_speak_tls_by_the_same_url(audited: Audited) -> None:
    process, admin = audited
    admin.execute("ALTER USER 'lms_migrator'@'127.0.0.1' REQUIRE SSL")
    url = process.url("lms_migrator", "lms_approvals")
    try:
        migrate(ROOT / "services/approvals/migrations", f"{url}?ssl_ca={process.home.folder / 'certificate.pem'}")
        with pytest.raises(OperationalError, match="denied"):
            migrate(ROOT / "services/approvals/migrations", url)
    finally:
        admin.execute("ALTER USER 'lms_migrator'@'127.0.0.1' REQUIRE NONE")
    assert admin.rows("SELECT version_num FROM lms_approvals.alembic_version")


async def test_a_server_that_offers_no_tls_is_refused_when_it_is_demanded(tmp_path: Path) -> None:
    authority = write_certificate(tmp_path / "authority.pem")
    with database("--skip-ssl") as (process, _):
        url = process.url("lms_balances", "lms_balances")
        assert await cipher(url) == ""
        with pytest.raises(OperationalError, match="offers no TLS"):
            await cipher(f"{url}?ssl_ca={authority}")
