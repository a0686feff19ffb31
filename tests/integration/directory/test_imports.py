"""Importing people: dry run, all or nothing, the valid ones, and going on after a crash."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from lms.directory.api.access import parts_of
from lms.directory.commands import imports
from lms.directory.commands.people import join_company
from lms.directory.main import import_people
from lms.directory.store import import_rows, invitations, people
from lms.kernel.execution import UnitOfWork

pytestmark = pytest.mark.servers

Headers = dict[str, str]
IMPORT = "/api/v1/imports/employees"
HEADER = "email,given_name,family_name,department,location,schedule,employed_from,manager_email,roles"


def line(name: str, *, manager: str = "", department: str = "Head office") -> str:
    schedule = '"Monday to Friday, 8 h"'
    return f"{name}@example.com,{name.title()},Example,{department},Head office,{schedule},2026-01-01,{manager},"


async def upload(directory: Any, who: Headers, *lines: str, **flags: bool) -> Any:
    files = {"file": ("people.csv", "\n".join([HEADER, *lines]).encode(), "text/csv")}
    return await directory.client.post(IMPORT, files=files, params=flags, headers=who)


async def number_of_people(directory: Any) -> int:
    async with directory.runtime.database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(people)))


async def test_a_dry_run_reports_every_mistake_and_changes_nothing(directory: Any, admin: Headers) -> None:
    report = await upload(directory, admin, line("anna"), line("ben", department="Sails"), line("x y"), dry_run=True)
    assert report.status_code == 200
    assert report.json() == {
        "dry_run": True,
        "rows": 3,
        "valid": 1,
        "errors": [
            {"line": 3, "column": "department", "detail": "There is no department “Sails”."},
            {"line": 4, "column": "email", "detail": "This is no e-mail address."},
        ],
    }
    await import_people(directory.runtime)
    assert await number_of_people(directory) == 1


async def test_nothing_is_imported_when_a_row_is_wrong(directory: Any, admin: Headers) -> None:
    refused = await upload(directory, admin, line("anna"), line("ben", department="Sails"))
    assert refused.status_code == 422
    assert refused.json()["code"] == "import-invalid"
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/lines/3/department"]
    await import_people(directory.runtime)
    assert await number_of_people(directory) == 1


async def test_the_valid_ones_are_imported_when_that_is_wanted(directory: Any, admin: Headers) -> None:
    wrong = line("ben", department="Sails")
    staged = await upload(
        directory, admin, line("anna", manager="cleo@example.com"), wrong, line("cleo"), only_valid=True
    )
    assert staged.status_code == 202
    assert (staged.json()["total"], staged.json()["skipped"]) == (2, 1)
    progress = staged.headers["Location"]
    assert (await directory.client.get(progress, headers=admin)).json()["status"] == "running"
    await import_people(directory.runtime)
    done = (await directory.client.get(progress, headers=admin)).json()
    assert (done["status"], done["done"], done["failed"]) == ("done", 2, 0)
    found = await directory.client.get("/api/v1/employees", params={"q": "anna@example.com"}, headers=admin)
    anna = found.json()["items"][0]
    cleo = await directory.client.get(f"/api/v1/employees/{anna['manager_id']}", headers=admin)
    assert cleo.json()["email"] == "cleo@example.com"
    assert anna["status"] == "invited"
    async with directory.runtime.database.read() as connection:
        assert (await connection.execute(select(invitations))).first() is None, "an invitation that nobody was told"


async def test_a_row_that_became_impossible_fails_alone_with_its_reason(directory: Any, admin: Headers) -> None:
    staged = await upload(directory, admin, line("anna"), line("ben"))
    await directory.employed(admin, "anna@example.com")
    await import_people(directory.runtime)
    done = (await directory.client.get(staged.headers["Location"], headers=admin)).json()
    assert (done["status"], done["done"], done["failed"]) == ("done", 1, 1)
    assert [(error["line"], error["column"]) for error in done["errors"]] == [(2, "email")]


async def test_an_import_goes_on_where_a_crash_left_it(
    directory: Any, admin: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = await upload(directory, admin, *(line(f"person{number}") for number in range(6)))
    calls = 0

    async def crashing(uow: UnitOfWork, *arguments: Any, **fields: Any) -> Any:
        nonlocal calls
        calls += 1
        joined = await join_company(uow, *arguments, **fields)
        if calls == 4:
            raise asyncio.CancelledError
        return joined

    monkeypatch.setattr(imports, "join_company", crashing)
    with pytest.raises(asyncio.CancelledError):
        await import_people(directory.runtime)
    assert await number_of_people(directory) == 4
    await import_people(directory.runtime)
    assert await number_of_people(directory) == 7
    done = (await directory.client.get(staged.headers["Location"], headers=admin)).json()
    assert (done["status"], done["done"], done["failed"]) == ("done", 6, 0)
    assert done["total"] == 6


async def test_two_copies_that_import_at_once_employ_everybody_once(directory: Any, admin: Headers) -> None:
    await upload(directory, admin, *(line(f"person{number}") for number in range(8)))
    parts = parts_of(directory.runtime)
    await asyncio.gather(*(imports.run_imports(parts.executor, parts.registry) for _ in range(3)))
    assert await number_of_people(directory) == 9


async def test_the_work_list_forgets_who_it_was_about(directory: Any, admin: Headers) -> None:
    await upload(directory, admin, line("anna"))
    await import_people(directory.runtime)
    async with directory.runtime.database.read() as connection:
        assert (await connection.scalars(select(import_rows.c.payload))).all() == [None]


async def test_a_file_without_the_columns_is_unreadable_and_says_which(directory: Any, admin: Headers) -> None:
    files = {"file": ("people.csv", b"email,name\n", "text/csv")}
    answer = await directory.client.post(IMPORT, files=files, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "import-unreadable")
    assert {"pointer": "/lines/1/name", "detail": "No import has this column: remove it."} in answer.json()["errors"]
