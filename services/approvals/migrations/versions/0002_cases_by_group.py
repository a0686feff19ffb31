from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE approval_cases ADD INDEX approval_cases_group (generation, group_name, status),"
        " ALGORITHM=INPLACE, LOCK=NONE"
    )
