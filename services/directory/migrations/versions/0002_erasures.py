from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
    CREATE TABLE erasures (
        employee_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        requested_by VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        requested_at DATETIME(6) NOT NULL,
        confirmed_by VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        confirmed_at DATETIME(6),
        PRIMARY KEY (employee_id)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci
    """)
