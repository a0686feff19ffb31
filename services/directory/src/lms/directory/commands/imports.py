"""Importing people from a CSV file: read and check everything first, then one command per person.

The file is staged as a work list (`import_rows`), managers before their reports, with each person's id already drawn:
a row is done in the transaction that employs the person, so that an import goes on where a crash left it.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, cast, get_args

import orjson

from lms.directory import store
from lms.directory.commands.people import NewPerson, Registry, RoleNotYours, check_roles, join_company
from lms.directory.decider.employee import EmployeeExists
from lms.directory.events import Role
from lms.directory.projections import departments, locations, schedules
from lms.kernel.errors import DomainError, FieldError, Malformed, NotFound, RuleBroken
from lms.kernel.execution import CommandContext, Executor, UnitOfWork
from lms.kernel.ids import new_id

REQUIRED = ("email", "given_name", "family_name", "department", "location", "schedule", "employed_from")
OPTIONAL = ("manager_email", "roles", "cost_centre")
LONGEST = {"email": 254, "given_name": 120, "family_name": 120, "cost_centre": 40}

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_ROLES = frozenset(get_args(Role))


class FileUnreadable(Malformed):
    """The file is no CSV in UTF-8 with the columns that an import needs."""

    code = "import-unreadable"


class ImportInvalid(RuleBroken):
    """Rows of the file are wrong, and the caller did not ask to import the others."""

    code = "import-invalid"


class ImportUnknown(NotFound):
    """No import has this id."""

    code = "import-not-found"


@dataclass(frozen=True)
class RowError:
    """What is wrong where; lines count from 1, the header's. A cell that no column has is named by its number."""

    line: int
    column: str
    detail: str


@dataclass(frozen=True)
class Row:
    """One person of the file, as text; `surplus` are its cells beyond the last column."""

    line: int
    cells: Mapping[str, str]
    surplus: int = 0

    @property
    def email(self) -> str:
        """The address as it is compared."""
        return store.normalised(self.cells["email"])

    @property
    def manager_email(self) -> str:
        """The manager's address as it is compared; empty for nobody."""
        return store.normalised(self.cells.get("manager_email", ""))

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles, separated in the file by blanks, commas, semicolons or bars."""
        return tuple(re.split(r"[\s,;|]+", self.cells.get("roles", "").strip().lower())) or ()


@dataclass(frozen=True)
class Known:
    """What rows may refer to: ids by name or id in lower case, and people's ids by address."""

    departments: Mapping[str, str]
    locations: Mapping[str, str]
    schedules: Mapping[str, str]
    people: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """Which rows of a file can be imported, and everything that is wrong with the others."""

    rows: int
    valid: tuple[Row, ...]
    errors: tuple[RowError, ...]


@dataclass(frozen=True)
class Staged:
    """An import that has been accepted."""

    id: str
    total: int
    skipped: int
    errors: tuple[RowError, ...] = field(default=())


def read_rows(content: bytes, most: int) -> list[Row]:
    """Return the rows of a CSV file (UTF-8; commas or semicolons). Raises FileUnreadable."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileUnreadable("The file is not UTF-8: save it as “CSV UTF-8”.") from error
    first = text.split("\n", 1)[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        _check_columns(columns)
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                named = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
                surplus = max(0, len(cells) - len(columns))
                rows.append(Row(line, dict.fromkeys(columns, "") | named, surplus))
            line = reader.line_num + 1
    except csv.Error as error:
        raise FileUnreadable(f"Line {reader.line_num} is no CSV: {error}.") from error
    if len(rows) > most:
        raise FileUnreadable(f"The file has {len(rows)} people and one import takes {most}: split it.")
    return rows


def check(rows: Sequence[Row], known: Known, granter: Iterable[str]) -> Report:
    """Return what can be imported; a row whose manager's row is wrong is wrong as well."""
    errors = [error for row in rows for error in _row_errors(row, known, tuple(granter))]
    errors += _repeated_addresses(rows)
    valid = _with_sound_managers(rows, {error.line for error in errors}, known, errors)
    return Report(len(rows), tuple(valid), tuple(sorted(errors, key=lambda one: (one.line, one.column))))


async def known_to(uow: UnitOfWork, emails: store.EmailIndex, rows: Sequence[Row]) -> Known:
    """Return what the rows may refer to."""
    addresses = {row.email for row in rows} | {row.manager_email for row in rows} - {""}
    by_hmac = {value: address for address in addresses for value in emails.hmacs_of(address)}
    found = await store.ids_by_email(uow.connection, list(by_hmac))
    most = 10_000
    return Known(
        departments=_names(await departments.find(uow.connection, limit=most), "department_id"),
        locations=_names(await locations.find(uow.connection, limit=most), "location_id"),
        schedules=_names(await schedules.find(uow.connection, limit=most), "schedule_id"),
        people={by_hmac[value]: employee_id for value, employee_id in found.items()},
    )


async def report(uow: UnitOfWork, emails: store.EmailIndex, rows: Sequence[Row], granter: Iterable[str]) -> Report:
    """Check a file and change nothing."""
    return check(rows, await known_to(uow, emails, rows), granter)


async def stage(
    uow: UnitOfWork,
    emails: store.EmailIndex,
    rows: Sequence[Row],
    granter: Iterable[str],
    *,
    started_by: str,
    only_valid: bool,
) -> Staged:
    """Write the work list. Raises ImportInvalid, naming every line and column, unless only valid rows are wanted."""
    known = await known_to(uow, emails, rows)
    checked = check(rows, known, granter)
    if checked.errors and not only_valid:
        raise ImportInvalid(
            f"Nothing was imported: {checked.rows - len(checked.valid)} of {checked.rows} rows are wrong. "
            "Correct them, or repeat with only_valid=true to import the others.",
            tuple(
                FieldError(f"/lines/{one.line}/{one.column}", f"Line {one.line}, {one.column}: {one.detail}")
                for one in checked.errors
            ),
        )
    ids = {row.email: new_id() for row in checked.valid}
    people = {**known.people, **ids}
    import_id = new_id()
    work = [
        {
            "position": position,
            "line": row.line,
            "employee_id": ids[row.email],
            "status": "pending",
            "payload": orjson.dumps(_person(row, known, people)).decode(),
        }
        for position, row in enumerate(checked.valid, start=1)
    ]
    skipped = checked.rows - len(checked.valid)
    await store.add_import(
        uow.connection, import_id, work, started_by=started_by, skipped=skipped, now=datetime.now(UTC)
    )
    return Staged(import_id, len(work), skipped, checked.errors)


async def run_imports(executor: Executor, registry: Registry) -> None:
    """Do every row that is still to do, one transaction a person; stopping anywhere loses nothing."""
    running = await executor.run(lambda uow: store.running_imports(uow.connection))
    for import_id, started_by in running:
        context = CommandContext(actor=started_by)
        while await _import_next(executor, registry, import_id, context):
            pass


async def _import_next(executor: Executor, registry: Registry, import_id: str, context: CommandContext) -> bool:
    position = 0

    async def employ(uow: UnitOfWork) -> bool:
        nonlocal position
        row = await store.lock_next_row(uow.connection, import_id)
        if row is None:
            await store.finish_import(uow.connection, import_id, datetime.now(UTC))
            return False
        position = row.position
        await join_company(uow, registry, row.employee_id, _new_person(orjson.loads(row.payload)))
        await store.finish_row(uow.connection, import_id, row.position)
        return True

    try:
        return await executor.run(employ, context=context)
    except EmployeeExists:
        refusal = None
    except DomainError as error:
        refusal = ("", "; ".join([str(error), *(one.detail for one in error.errors)]))
        if error.errors:
            refusal = (error.errors[0].pointer.lstrip("/"), refusal[1])
    await executor.run(lambda uow: store.finish_row(uow.connection, import_id, position, refusal), context=context)
    return True


def _check_columns(columns: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]
    repeated = [name for name, times in Counter(columns).items() if times > 1 and name not in unknown]
    errors = [FieldError(f"/lines/1/{name}", "This column is missing.") for name in missing]
    errors += [FieldError(f"/lines/1/{name}", "No import has this column: remove it.") for name in unknown]
    errors += [FieldError(f"/lines/1/{name}", "This column stands here twice: remove one.") for name in repeated]
    if errors:
        raise FileUnreadable(
            f"The first line must name, once, the columns {', '.join(REQUIRED)}; it may name {', '.join(OPTIONAL)}.",
            tuple(errors),
        )


def _row_errors(row: Row, known: Known, granter: tuple[str, ...]) -> Iterable[RowError]:
    yield from _surplus_errors(row)
    for column in REQUIRED:
        if not row.cells[column]:
            yield RowError(row.line, column, "Fill this in.")
    for column, longest in LONGEST.items():
        if len(row.cells.get(column, "")) > longest:
            yield RowError(row.line, column, f"At most {longest} characters.")
    if row.email and not _EMAIL.fullmatch(row.email):
        yield RowError(row.line, "email", "This is no e-mail address.")
    if row.email in known.people:
        yield RowError(row.line, "email", "Another person has this e-mail address.")
    named = (
        ("department", known.departments),
        ("location", known.locations),
        ("schedule", known.schedules),
    )
    for column, ids in named:
        if row.cells[column] and row.cells[column].lower() not in ids:
            yield RowError(row.line, column, f"There is no {column} “{row.cells[column]}”.")
    if row.cells["employed_from"] and _day(row.cells["employed_from"]) is None:
        yield RowError(row.line, "employed_from", "Write the date as YYYY-MM-DD.")
    yield from _role_errors(row, granter)


def _surplus_errors(row: Row) -> Iterable[RowError]:
    if row.surplus:
        columns = len(row.cells)
        detail = f"{columns + row.surplus} cells for {columns} columns: quote a cell that has a separator in it."
        yield RowError(row.line, str(columns + 1), detail)


def _role_errors(row: Row, granter: tuple[str, ...]) -> Iterable[RowError]:
    unknown = [role for role in row.roles if role and role not in _ROLES]
    if unknown:
        yield RowError(row.line, "roles", f"Unknown: {', '.join(unknown)}. Roles: {', '.join(get_args(Role))}.")
        return
    try:
        check_roles(granter, (), _roles(row))
    except RoleNotYours as error:
        yield RowError(row.line, "roles", str(error))


def _repeated_addresses(rows: Sequence[Row]) -> Iterable[RowError]:
    first: dict[str, int] = {}
    for row in rows:
        if row.email in first:
            yield RowError(row.line, "email", f"Line {first[row.email]} has the same e-mail address.")
        elif row.email:
            first[row.email] = row.line


def _with_sound_managers(rows: Sequence[Row], wrong: set[int], known: Known, errors: list[RowError]) -> list[Row]:
    """Return the sound rows, managers first; add an error for each row whose manager cannot be employed before."""
    of_file = {row.email: row for row in rows}
    waiting = [row for row in rows if row.line not in wrong]
    employed = set(known.people) | {""}
    ordered: list[Row] = []
    while waiting:
        ready = [row for row in waiting if row.manager_email in employed]
        if not ready:
            break
        ordered += ready
        employed |= {row.email for row in ready}
        done = {row.line for row in ready}
        waiting = [row for row in waiting if row.line not in done]
    for row in waiting:
        manager = of_file.get(row.manager_email)
        if manager is None:
            detail = f"Nobody has the address “{row.manager_email}”, neither here nor in the directory."
        elif manager.line in wrong:
            detail = f"The manager's row, line {manager.line}, is wrong."
        else:
            detail = f"The manager's row, line {manager.line}, cannot come first: a circle, or a wrong row above."
        errors.append(RowError(row.line, "manager_email", detail))
    return ordered


def _person(row: Row, known: Known, people: Mapping[str, str]) -> dict[str, Any]:
    return {
        "email": row.email,
        "given_name": row.cells["given_name"],
        "family_name": row.cells["family_name"],
        "department_id": known.departments[row.cells["department"].lower()],
        "location_id": known.locations[row.cells["location"].lower()],
        "manager_id": people[row.manager_email] if row.manager_email else None,
        "schedule_id": known.schedules[row.cells["schedule"].lower()],
        "employed_from": row.cells["employed_from"],
        "roles": _roles(row),
        "cost_centre": row.cells.get("cost_centre", ""),
    }


def _new_person(fields: dict[str, Any]) -> NewPerson:
    person = NewPerson(**fields)
    return replace(person, employed_from=date.fromisoformat(fields["employed_from"]), roles=tuple(fields["roles"]))


def _roles(row: Row) -> tuple[Role, ...]:
    return cast("tuple[Role, ...]", tuple(role for role in row.roles if role))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        return None


def _names(rows: Sequence[Any], id_column: str) -> dict[str, str]:
    """Return ids by name and by id; of two with one name, neither by name."""
    names = Counter(row.name.lower() for row in rows)
    ids = {row.name.lower(): getattr(row, id_column) for row in rows if names[row.name.lower()] == 1}
    return ids | {getattr(row, id_column): getattr(row, id_column) for row in rows}
