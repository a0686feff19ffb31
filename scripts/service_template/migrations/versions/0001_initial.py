from alembic import op

from lms.kernel.migrations import create_kernel_tables

revision = "0001"
down_revision = None

_THINGS = """
    CREATE TABLE things (
        generation SMALLINT NOT NULL,
        thing_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        name VARCHAR(120) NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (generation, thing_id),
        INDEX things_name (generation, name, thing_id)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci
"""


def upgrade() -> None:
    create_kernel_tables(op)  # type: ignore[arg-type]  # the module stands for the Operations in hand
    op.execute(_THINGS)
