"""Migrations run while the old version serves: they only add, and take away what no release in use reads any more."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIGRATIONS = sorted(ROOT.glob("services/*/migrations/versions/*.py"))

_BREAKING_CALLS = {
    "drop_table", "drop_column", "drop_constraint", "drop_index", "rename_table", "alter_column", "create_primary_key",
}  # fmt: skip
_BREAKING_SQL = (
    r"\bDROP\s+(TABLE|COLUMN|INDEX|KEY|PRIMARY|VIEW|DATABASE)\b",
    r"\bRENAME\b",
    r"\b(MODIFY|CHANGE)\s+(COLUMN\s+)?`?\w",
    r"\bTRUNCATE\b",
    r"\bDELETE\s+FROM\b",
    r"\bADD\s+(UNIQUE|PRIMARY|CONSTRAINT|CHECK|FOREIGN)\b",
    r"\bCREATE\s+UNIQUE\b",
    r"\bADD\s+(COLUMN\s+)?`?(?!INDEX\b|KEY\b|FULLTEXT\b|PARTITION\b)\w+`?\s(?![^,;]*\bDEFAULT\b)[^,;]*\bNOT\s+NULL\b",
)
"""What an old version that reads and writes meanwhile would stumble over, outside tables that the migration makes."""


def breaks(source: str) -> list[str]:
    """Return what in a migration breaks the version before it; nothing if it names since when nobody needs it.

    `CONTRACTS = "0003"` says: since the release of revision 0003 no code reads what is taken away here.
    """
    tree = ast.parse(source)
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    contracts = constants.get("CONTRACTS")
    if contracts is not None:
        order = (str(contracts), str(constants["down_revision"]))
        return [] if order[0] < order[1] else [f"{order[0]} must have been released before {order[1]}"]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _BREAKING_CALLS:
            found.append(node.func.attr)
        if isinstance(node, ast.Constant | ast.JoinedStr):
            sql = " ".join(_text(node).split())
            if not re.match(r"CREATE TABLE\b", sql, re.IGNORECASE):
                found += [sql for pattern in _BREAKING_SQL if re.search(pattern, sql, re.IGNORECASE)]
    return found


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)


@pytest.mark.parametrize("path", MIGRATIONS, ids=[str(path.relative_to(ROOT / "services")) for path in MIGRATIONS])
def test_a_migration_only_expands(path: Path) -> None:
    assert breaks(path.read_text(encoding="utf-8")) == [], "see CONTRIBUTING.md: expand now, contract a release later"


HEAD = 'revision = "0005"\ndown_revision = "0004"\n'


@pytest.mark.parametrize(
    "statement",
    [
        'op.drop_column("mails", "reason")',
        'op.execute("ALTER TABLE mails DROP COLUMN reason")',
        'op.execute("ALTER TABLE mails RENAME COLUMN reason TO why")',
        'op.execute("ALTER TABLE mails MODIFY reason VARCHAR(20)")',
        'op.execute("ALTER TABLE mails ADD COLUMN importance INTEGER NOT NULL")',
        'op.execute(f"ALTER TABLE mails ADD importance VARCHAR(9) {_ID} NOT NULL")',
        'op.execute("CREATE UNIQUE INDEX mails_once ON mails (cause)")',
        'op.execute("DELETE FROM mails")',
    ],
)
def test_what_breaks_the_old_version_is_found(statement: str) -> None:
    source = f"{HEAD}def upgrade():\n    {statement}\n"
    assert breaks(source)
    assert breaks(f'{HEAD}CONTRACTS = "0003"\ndef upgrade():\n    {statement}\n') == []
    assert breaks(f'{HEAD}CONTRACTS = "0004"\ndef upgrade():\n    {statement}\n'), "that is the same release"


@pytest.mark.parametrize(
    "statement",
    [
        'op.execute("ALTER TABLE mails ADD COLUMN traceparent VARCHAR(60)")',
        'op.execute("ALTER TABLE mails ADD COLUMN importance INTEGER NOT NULL DEFAULT 0")',
        'op.execute("ALTER TABLE mails ADD INDEX mails_kind (kind)")',
        'op.execute("CREATE TABLE more (id INTEGER NOT NULL, PRIMARY KEY (id))")',
    ],
)
def test_what_only_adds_passes(statement: str) -> None:
    assert breaks(f"{HEAD}def upgrade():\n    {statement}\n") == []
