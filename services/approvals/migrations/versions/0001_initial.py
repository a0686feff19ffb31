from alembic import op

from lms.kernel.migrations import create_kernel_tables

revision = "0001"
down_revision = None

_OPTIONS = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"

_ID = "CHARACTER SET ascii COLLATE ascii_bin"

_TABLES = (
    f"""
    CREATE TABLE employees (
        generation SMALLINT NOT NULL,
        employee_id VARCHAR(36) {_ID} NOT NULL,
        employed_from DATE NOT NULL,
        last_day DATE,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, employee_id)
    )
    """,
    f"""
    CREATE TABLE employee_assignments (
        generation SMALLINT NOT NULL,
        employee_id VARCHAR(36) {_ID} NOT NULL,
        kind VARCHAR(12) {_ID} NOT NULL,
        effective_from DATE NOT NULL,
        value VARCHAR(36) {_ID},
        PRIMARY KEY (generation, employee_id, kind, effective_from),
        INDEX employee_assignments_value (generation, kind, value)
    )
    """,
    f"""
    CREATE TABLE delegations (
        generation SMALLINT NOT NULL,
        delegation_id VARCHAR(36) {_ID} NOT NULL,
        delegator_id VARCHAR(36) {_ID} NOT NULL,
        delegate_id VARCHAR(36) {_ID} NOT NULL,
        first_day DATE NOT NULL,
        last_day DATE NOT NULL,
        PRIMARY KEY (generation, delegation_id),
        INDEX delegations_delegate (generation, delegate_id)
    )
    """,
    f"""
    CREATE TABLE policies (
        generation SMALLINT NOT NULL,
        policy_id VARCHAR(60) {_ID} NOT NULL,
        version INTEGER NOT NULL,
        leave_type VARCHAR(60) {_ID} NOT NULL,
        effective_from DATE NOT NULL,
        locations LONGTEXT,
        steps LONGTEXT NOT NULL,
        PRIMARY KEY (generation, policy_id, version),
        INDEX policies_leave_type (generation, leave_type)
    )
    """,
    f"""
    CREATE TABLE approval_cases (
        generation SMALLINT NOT NULL,
        request_id VARCHAR(36) {_ID} NOT NULL,
        revision INTEGER NOT NULL,
        employee_id VARCHAR(36) {_ID} NOT NULL,
        leave_type VARCHAR(60) {_ID} NOT NULL,
        kind VARCHAR(20) {_ID} NOT NULL,
        start_date DATE NOT NULL,
        end_date DATE NOT NULL,
        days_minutes INTEGER NOT NULL,
        group_name VARCHAR(20) {_ID},
        status VARCHAR(20) {_ID} NOT NULL,
        decided_by VARCHAR(80) {_ID},
        on_behalf_of VARCHAR(36) {_ID},
        opened_at DATETIME(6) NOT NULL,
        updated_at DATETIME(6) NOT NULL,
        PRIMARY KEY (generation, request_id, revision),
        INDEX approval_cases_opened (generation, status, opened_at, request_id, revision),
        INDEX approval_cases_employee (generation, employee_id, status),
        INDEX approval_cases_decided_by (generation, decided_by)
    )
    """,
    f"""
    CREATE TABLE approval_assignees (
        generation SMALLINT NOT NULL,
        request_id VARCHAR(36) {_ID} NOT NULL,
        revision INTEGER NOT NULL,
        assignee_id VARCHAR(36) {_ID} NOT NULL,
        PRIMARY KEY (generation, request_id, revision, assignee_id),
        INDEX approval_assignees_assignee (generation, assignee_id)
    )
    """,
    """
    CREATE TABLE routing_day (
        id INTEGER NOT NULL,
        day DATE NOT NULL,
        PRIMARY KEY (id)
    )
    """,
)


def upgrade() -> None:
    create_kernel_tables(op)
    for table in _TABLES:
        op.execute(table.strip() + _OPTIONS)
