from alembic import op

revision = "0004"
down_revision = "0003"

_RUNS = """
    CREATE TABLE recharge_runs (
        change_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        cause VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        subject VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        subject_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        dates LONGTEXT,
        last_employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        done INTEGER NOT NULL,
        total INTEGER NOT NULL,
        started_at DATETIME(6) NOT NULL,
        finished_at DATETIME(6),
        PRIMARY KEY (change_id),
        INDEX recharge_runs_open (finished_at, started_at)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci
"""


def upgrade() -> None:
    op.execute(_RUNS.strip())
