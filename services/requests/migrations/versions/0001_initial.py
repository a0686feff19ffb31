from alembic import op

from lms.kernel.migrations import create_kernel_tables

revision = "0001"
down_revision = None

_OPTIONS = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"

_YEARS = range(2020, 2041)

_TABLES = (
    """
    CREATE TABLE employees (
        generation SMALLINT NOT NULL,
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        employed_from DATE NOT NULL,
        last_day DATE,
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
        value VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
        PRIMARY KEY (generation, employee_id, kind, effective_from),
        INDEX employee_assignments_value (generation, kind, value)
    )
    """,
    """
    CREATE TABLE schedules (
        generation SMALLINT NOT NULL,
        schedule_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        anchor DATE NOT NULL,
        weeks LONGTEXT NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, schedule_id)
    )
    """,
    """
    CREATE TABLE locations (
        generation SMALLINT NOT NULL,
        location_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        calendar_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, location_id)
    )
    """,
    """
    CREATE TABLE calendars (
        generation SMALLINT NOT NULL,
        calendar_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, calendar_id)
    )
    """,
    """
    CREATE TABLE calendar_holidays (
        generation SMALLINT NOT NULL,
        calendar_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        day DATE NOT NULL,
        part VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        PRIMARY KEY (generation, calendar_id, day)
    )
    """,
    """
    CREATE TABLE leave_types (
        generation SMALLINT NOT NULL,
        leave_type VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        name VARCHAR(80) NOT NULL,
        unit VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        needs_approval BOOL NOT NULL,
        attachment_after_days INTEGER,
        min_notice_days INTEGER NOT NULL,
        max_length_days INTEGER,
        reason_visible_to VARCHAR(200) NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, leave_type)
    )
    """,
    """
    CREATE TABLE policies (
        generation SMALLINT NOT NULL,
        policy_id VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INTEGER NOT NULL,
        leave_type VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        effective_from DATE NOT NULL,
        locations LONGTEXT,
        waiting_period_days INTEGER NOT NULL,
        blackouts LONGTEXT NOT NULL,
        stream_version INTEGER NOT NULL,
        PRIMARY KEY (generation, policy_id, version),
        INDEX policies_leave_type (generation, leave_type)
    )
    """,
)

_LEAVE_REQUESTS = """
CREATE TABLE leave_requests (
    generation SMALLINT NOT NULL,
    request_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    revision INTEGER NOT NULL,
    start_date DATE NOT NULL,
    end_date DATE NOT NULL,
    employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    leave_type VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    start_part VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    end_part VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    from_time TIME,
    to_time TIME,
    days LONGTEXT NOT NULL,
    entitlement_minutes INTEGER NOT NULL,
    scheduled_minutes INTEGER NOT NULL,
    reason LONGTEXT,
    requested_by VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    recorded_at DATETIME(6) NOT NULL,
    status VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    code VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin,
    shown BOOL NOT NULL,
    settled BOOL NOT NULL,
    open_revision INTEGER,
    updated_at DATETIME(6) NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (generation, request_id, revision, start_date),
    INDEX leave_requests_complex (generation, employee_id, status, start_date, end_date),
    INDEX leave_requests_dates (generation, start_date, end_date)
)
"""


def _partitions() -> str:
    """One partition a year, and one each for what lies before and after: a later migration splits the last."""
    years = ", ".join(f"PARTITION y{year} VALUES LESS THAN ({year + 1})" for year in _YEARS)
    return (
        f" PARTITION BY RANGE (YEAR(start_date)) (PARTITION earlier VALUES LESS THAN ({_YEARS[0]}), {years},"
        " PARTITION later VALUES LESS THAN MAXVALUE)"
    )


def upgrade() -> None:
    create_kernel_tables(op)
    for table in _TABLES:
        op.execute(table.strip() + _OPTIONS)
    op.execute(_LEAVE_REQUESTS.strip() + _OPTIONS + _partitions())
