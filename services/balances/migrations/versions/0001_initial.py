from alembic import op

from lms.kernel.migrations import create_kernel_tables

revision = "0001"
down_revision = None

_OPTIONS = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"

_TABLES = (
    """
    CREATE TABLE leave_types (
        generation SMALLINT NOT NULL,
        leave_type VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INTEGER NOT NULL,
        terms LONGTEXT NOT NULL,
        PRIMARY KEY (generation, leave_type)
    )
    """,
    """
    CREATE TABLE policy_versions (
        generation SMALLINT NOT NULL,
        policy_id VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INTEGER NOT NULL,
        leave_type VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        effective_from DATE NOT NULL,
        terms LONGTEXT NOT NULL,
        recorded_at DATETIME(6) NOT NULL,
        PRIMARY KEY (generation, policy_id, version)
    )
    """,
    """
    CREATE TABLE policy_claims (
        leave_type VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        location_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        policy_id VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        PRIMARY KEY (leave_type, location_id)
    )
    """,
    """
    CREATE TABLE ledger_entries (
        generation SMALLINT NOT NULL,
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INTEGER NOT NULL,
        line INTEGER NOT NULL,
        leave_type VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        kind VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        date DATE NOT NULL,
        minutes INTEGER NOT NULL,
        lot_id VARCHAR(120) CHARACTER SET ascii COLLATE ascii_bin,
        request_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
        revision INTEGER,
        policy_id VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin,
        policy_version INTEGER,
        correction BOOLEAN NOT NULL,
        reason LONGTEXT,
        rests_on LONGTEXT,
        event_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        causation_id VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        actor VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin,
        recorded_at DATETIME(6) NOT NULL,
        PRIMARY KEY (generation, employee_id, version, line),
        INDEX ledger_entries_type (generation, employee_id, leave_type, version, line)
    )
    """,
    """
    CREATE TABLE people (
        generation SMALLINT NOT NULL,
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        employed_from DATE NOT NULL,
        last_day DATE,
        PRIMARY KEY (generation, employee_id)
    )
    """,
    """
    CREATE TABLE person_locations (
        generation SMALLINT NOT NULL,
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        effective_from DATE NOT NULL,
        location_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        PRIMARY KEY (generation, employee_id, effective_from)
    )
    """,
    """
    CREATE TABLE person_managers (
        generation SMALLINT NOT NULL,
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        effective_from DATE NOT NULL,
        manager_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
        PRIMARY KEY (generation, employee_id, effective_from)
    )
    """,
    """
    CREATE TABLE accrual_runs (
        through DATE NOT NULL,
        last_employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        done INTEGER NOT NULL,
        total INTEGER NOT NULL,
        started_at DATETIME(6) NOT NULL,
        finished_at DATETIME(6),
        PRIMARY KEY (through)
    )
    """,
)


def upgrade() -> None:
    create_kernel_tables(op)
    for statement in _TABLES:
        op.execute(statement.rstrip() + _OPTIONS)
