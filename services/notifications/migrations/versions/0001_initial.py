from alembic import op

from lms.kernel.migrations import create_kernel_tables

revision = "0001"
down_revision = None

_OPTIONS = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"

_ID = "CHARACTER SET ascii COLLATE ascii_bin"

_TABLES = (
    f"""
    CREATE TABLE people (
        generation SMALLINT NOT NULL,
        employee_id VARCHAR(36) {_ID} NOT NULL,
        in_hr BOOLEAN NOT NULL DEFAULT 0,
        last_day DATE,
        sealed_name LONGTEXT,
        sealed_email LONGTEXT,
        erased BOOLEAN NOT NULL DEFAULT 0,
        PRIMARY KEY (generation, employee_id),
        INDEX people_in_hr (generation, in_hr)
    )
    """,
    f"""
    CREATE TABLE revisions (
        generation SMALLINT NOT NULL,
        request_id VARCHAR(36) {_ID} NOT NULL,
        revision INTEGER NOT NULL,
        leave_type VARCHAR(60) {_ID} NOT NULL,
        first_day DATE NOT NULL,
        last_day DATE NOT NULL,
        PRIMARY KEY (generation, request_id, revision)
    )
    """,
    f"""
    CREATE TABLE cases (
        generation SMALLINT NOT NULL,
        request_id VARCHAR(36) {_ID} NOT NULL,
        revision INTEGER NOT NULL,
        employee_id VARCHAR(36) {_ID} NOT NULL,
        leave_type VARCHAR(60) {_ID} NOT NULL,
        kind VARCHAR(20) {_ID} NOT NULL,
        first_day DATE NOT NULL,
        last_day DATE NOT NULL,
        assignees LONGTEXT NOT NULL,
        group_name VARCHAR(20) {_ID},
        status VARCHAR(10) {_ID} NOT NULL,
        decided_by VARCHAR(80) {_ID},
        PRIMARY KEY (generation, request_id, revision),
        INDEX cases_status (generation, status)
    )
    """,
    f"""
    CREATE TABLE inbox (
        id VARCHAR(36) {_ID} NOT NULL,
        employee_id VARCHAR(80) {_ID} NOT NULL,
        cause VARCHAR(100) {_ID} NOT NULL,
        kind VARCHAR(30) {_ID} NOT NULL,
        request_id VARCHAR(36) {_ID},
        revision INTEGER,
        notice LONGTEXT NOT NULL,
        created_at DATETIME(6) NOT NULL,
        read_at DATETIME(6),
        PRIMARY KEY (id),
        UNIQUE INDEX inbox_once (employee_id, cause),
        INDEX inbox_newest (employee_id, id),
        INDEX inbox_cause (cause),
        INDEX inbox_request (request_id, revision, kind)
    )
    """,
    f"""
    CREATE TABLE inboxes (
        employee_id VARCHAR(80) {_ID} NOT NULL,
        changes BIGINT NOT NULL,
        PRIMARY KEY (employee_id)
    )
    """,
    f"""
    CREATE TABLE mails (
        id VARCHAR(36) {_ID} NOT NULL,
        employee_id VARCHAR(80) {_ID} NOT NULL,
        cause VARCHAR(100) {_ID} NOT NULL,
        channel VARCHAR(10) {_ID} NOT NULL,
        kind VARCHAR(30) {_ID} NOT NULL,
        notice LONGTEXT NOT NULL,
        status VARCHAR(10) {_ID} NOT NULL,
        reason VARCHAR(200),
        attempts INTEGER NOT NULL,
        due_at DATETIME(6) NOT NULL,
        created_at DATETIME(6) NOT NULL,
        sent_at DATETIME(6),
        PRIMARY KEY (id),
        UNIQUE INDEX mails_once (employee_id, cause, channel),
        INDEX mails_due (status, due_at),
        INDEX mails_cause (cause)
    )
    """,
    f"""
    CREATE TABLE preferences (
        employee_id VARCHAR(80) {_ID} NOT NULL,
        version INTEGER NOT NULL,
        mail_off LONGTEXT NOT NULL,
        PRIMARY KEY (employee_id)
    )
    """,
)


def upgrade() -> None:
    create_kernel_tables(op)
    for table in _TABLES:
        op.execute(table.strip() + _OPTIONS)
