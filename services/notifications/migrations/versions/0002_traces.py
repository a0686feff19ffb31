from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE mails ADD COLUMN traceparent VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin")
