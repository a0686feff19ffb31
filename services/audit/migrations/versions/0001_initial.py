from alembic import op

from lms.kernel.migrations import create_kernel_tables

revision = "0001"
down_revision = None

_OPTIONS = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"

# The schema `lms_audit_log` is made with the database users: the service's own user may only read it and insert.
_LOG = """
    CREATE TABLE IF NOT EXISTS lms_audit_log.records (
        position BIGINT NOT NULL,
        topic VARCHAR(120) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        key_ VARCHAR(160) NOT NULL,
        headers LONGTEXT NOT NULL,
        payload LONGTEXT,
        leaf CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        root CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        event_id VARCHAR(80) NOT NULL,
        source VARCHAR(80) NOT NULL,
        type VARCHAR(120) NOT NULL,
        stream VARCHAR(160) NOT NULL,
        version INTEGER NOT NULL,
        log_epoch INTEGER NOT NULL,
        actor VARCHAR(120),
        occurred_at VARCHAR(40) NOT NULL,
        correlation_id VARCHAR(80) NOT NULL,
        PRIMARY KEY (position),
        UNIQUE INDEX records_stream (stream, log_epoch, version),
        INDEX records_key (key_, position),
        INDEX records_actor (actor, position),
        INDEX records_type (type, position),
        INDEX records_occurred_at (occurred_at, position)
    )
"""

_HEAD = """
    CREATE TABLE head (
        id SMALLINT NOT NULL,
        size BIGINT NOT NULL,
        subtrees LONGTEXT NOT NULL,
        PRIMARY KEY (id)
    )
"""


def upgrade() -> None:
    create_kernel_tables(op)  # type: ignore[arg-type]  # the module stands for the Operations in hand
    op.execute(_LOG.strip() + _OPTIONS)
    op.execute(_HEAD.strip() + _OPTIONS)
    op.execute("INSERT INTO head (id, size, subtrees) VALUES (1, 0, '[]')")
