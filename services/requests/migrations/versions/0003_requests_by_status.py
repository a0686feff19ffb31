from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE leave_requests ADD INDEX leave_requests_status (generation, status, shown, request_id),"
        " ALGORITHM=INPLACE, LOCK=NONE"
    )
