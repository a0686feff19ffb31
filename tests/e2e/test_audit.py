"""The audit log of a running system: the life of a request stands in it, in causal order, and it verifies."""

import subprocess
import sys
from typing import Any

import pymysql
import pytest
from tests.e2e.company import Company, Employee
from tests.waiting import eventually

from lms.cli.system import System

STORY = (
    "leave.requested", "balance.reserved", "leave.approval-requested", "approval.case-opened", "leave.approved",
    "leave.confirmed", "balance.debited", "absence.confirmed",
)  # fmt: skip


def _recorded(company: Company, auditor: Employee, employee: Employee) -> list[Any]:
    found = company.do("GET", f"/audit?resource={employee.id}&limit=200", auditor)
    return list(found["items"])


def _command(system: System, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "lms.cli.main", *arguments, "--home", str(system.home.folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_the_life_of_a_request_is_recorded_and_proven(company: Company) -> None:
    auditor = company.hire(roles=("employee", "auditor"))
    manager = company.hire(roles=("employee", "manager"))
    anna = company.hire(manager=manager)
    annual = company.leave_type()
    company.policy(annual, 20, "2026-01-01")
    company.becomes(anna, annual, "20.00")
    company.take(anna, manager, annual, "2026-05-04", "2026-05-08", reason="A secret of Anna's")
    records = eventually(
        lambda: (found := _recorded(company, auditor, anna)) and {one["type"] for one in found} >= set(STORY) and found,
        "the story is not in the audit log",
    )
    by_type = {one["type"]: one for one in records}
    versions = [one["version"] for one in records if one["stream"] == f"leave-book-{anna.id}"]
    assert versions == sorted(versions)
    asked, approved = by_type["leave.requested"], by_type["leave.approved"]
    assert (asked["actor"], asked["on_behalf_of"]) == ("service:demo-loader", anna.id)
    assert (approved["actor"], approved["on_behalf_of"]) == ("service:demo-loader", manager.id)
    assert by_type["leave.confirmed"]["actor"] is None, "the system's own doing"
    assert len({by_type[one]["correlation_id"] for one in STORY[:4]}) == 1, "one command led to these"
    assert "secret" not in str(records)
    proven = company.do("POST", "/audit/verify", auditor)
    assert proven["valid"], proven
    assert proven["size"] >= len(STORY)


def test_the_command_line_proves_the_log(system: System, company: Company) -> None:
    company.hire()
    told = _command(system, "audit", "verify")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "drift 0" in told.stdout


@pytest.mark.parametrize(
    "deed", ["UPDATE records SET payload = 'x' LIMIT 1", "DELETE FROM records LIMIT 1", "DROP TABLE records"]
)
def test_the_service_itself_cannot_rewrite_the_log(system: System, company: Company, deed: str) -> None:
    assert company.token
    connection = pymysql.connect(
        host="127.0.0.1", port=system.mysql.port, user="lms_audit", password=system.home.secret("mysql:lms_audit"),
        database="lms_audit_log",
    )  # fmt: skip
    with connection, connection.cursor() as cursor, pytest.raises(pymysql.err.OperationalError, match="denied"):
        cursor.execute(deed)
