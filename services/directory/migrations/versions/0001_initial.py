from alembic import op

from lms.kernel.keyring import DDL
from lms.kernel.migrations import create_kernel_tables

revision = "0001"
down_revision = None

_OPTIONS = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"

_TABLES = (
    """
    CREATE TABLE people (
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        given_name VARCHAR(120) NOT NULL,
        family_name VARCHAR(120) NOT NULL,
        email VARCHAR(254) NOT NULL,
        email_hmac VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        password_hash VARCHAR(255),
        status VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        created_at DATETIME(6) NOT NULL,
        PRIMARY KEY (employee_id),
        CONSTRAINT people_email_hmac UNIQUE (email_hmac),
        INDEX people_name (family_name, given_name, employee_id)
    )
    """,
    """
    CREATE TABLE reporting_lines (
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        effective_from DATE NOT NULL,
        manager_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
        PRIMARY KEY (employee_id, effective_from)
    )
    """,
    """
    CREATE TABLE sessions (
        session_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        started_at DATETIME(6) NOT NULL,
        expires_at DATETIME(6) NOT NULL,
        revoked_at DATETIME(6),
        PRIMARY KEY (session_id),
        INDEX sessions_employee (employee_id),
        INDEX sessions_expires_at (expires_at)
    )
    """,
    """
    CREATE TABLE refresh_tokens (
        token_hash VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        session_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        issued_at DATETIME(6) NOT NULL,
        used_at DATETIME(6),
        PRIMARY KEY (token_hash),
        INDEX refresh_tokens_session (session_id)
    )
    """,
    """
    CREATE TABLE login_attempts (
        account VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        failures INTEGER NOT NULL,
        locked_until DATETIME(6),
        last_at DATETIME(6) NOT NULL,
        PRIMARY KEY (account),
        INDEX login_attempts_last_at (last_at)
    )
    """,
    """
    CREATE TABLE invitations (
        token_hash VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        expires_at DATETIME(6) NOT NULL,
        PRIMARY KEY (token_hash),
        INDEX invitations_employee (employee_id)
    )
    """,
    """
    CREATE TABLE imports (
        import_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        started_by VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        status VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        total INTEGER NOT NULL,
        skipped INTEGER NOT NULL,
        created_at DATETIME(6) NOT NULL,
        finished_at DATETIME(6),
        PRIMARY KEY (import_id),
        INDEX imports_status (status)
    )
    """,
    """
    CREATE TABLE import_rows (
        import_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        position INTEGER NOT NULL,
        line INTEGER NOT NULL,
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        status VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        payload LONGTEXT,
        error_column VARCHAR(40),
        error VARCHAR(500),
        PRIMARY KEY (import_id, position)
    )
    """,
    """
    CREATE TABLE calendars (
        generation SMALLINT NOT NULL,
        calendar_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        name VARCHAR(120) NOT NULL,
        country VARCHAR(2) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        subdivision VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, calendar_id)
    )
    """,
    """
    CREATE TABLE calendar_holidays (
        generation SMALLINT NOT NULL,
        calendar_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        day DATE NOT NULL,
        name VARCHAR(200) NOT NULL,
        part VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        PRIMARY KEY (generation, calendar_id, day)
    )
    """,
    """
    CREATE TABLE delegations (
        generation SMALLINT NOT NULL,
        delegation_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        delegator_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        delegate_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        first_day DATE NOT NULL,
        last_day DATE NOT NULL,
        revoked BOOL NOT NULL,
        PRIMARY KEY (generation, delegation_id),
        INDEX delegations_delegate (generation, delegate_id),
        INDEX delegations_delegator (generation, delegator_id)
    )
    """,
    """
    CREATE TABLE departments (
        generation SMALLINT NOT NULL,
        department_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        name VARCHAR(120) NOT NULL,
        head_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, department_id)
    )
    """,
    """
    CREATE TABLE employees (
        generation SMALLINT NOT NULL,
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        employed_from DATE NOT NULL,
        last_day DATE,
        roles VARCHAR(100) NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, employee_id)
    )
    """,
    """
    CREATE TABLE employee_assignments (
        generation SMALLINT NOT NULL,
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        kind VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        effective_from DATE NOT NULL,
        value VARCHAR(80),
        PRIMARY KEY (generation, employee_id, kind, effective_from),
        INDEX employee_assignments_value (generation, kind, value)
    )
    """,
    """
    CREATE TABLE locations (
        generation SMALLINT NOT NULL,
        location_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        name VARCHAR(120) NOT NULL,
        country VARCHAR(2) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        subdivision VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin,
        time_zone VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        calendar_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, location_id)
    )
    """,
    """
    CREATE TABLE schedules (
        generation SMALLINT NOT NULL,
        schedule_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        name VARCHAR(120) NOT NULL,
        anchor DATE NOT NULL,
        weeks LONGTEXT NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, schedule_id)
    )
    """,
)


def upgrade() -> None:
    create_kernel_tables(op)  # type: ignore[arg-type]  # the module stands for the Operations in hand
    op.execute(DDL)
    for table in _TABLES:
        op.execute(table.strip() + _OPTIONS)
