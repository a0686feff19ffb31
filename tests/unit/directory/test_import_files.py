"""Reading and checking the CSV files of an import."""

import pytest

from lms.directory.commands.imports import FileUnreadable, Known, Report, check, read_rows

HEADER = "email,given_name,family_name,department,location,schedule,employed_from,manager_email,roles,cost_centre"
KNOWN = Known(
    departments={"sales": "d1"},
    locations={"berlin": "l1"},
    schedules={"full time": "s1"},
    people={"ben@example.com": "p1"},
)


def line(
    email: str = "anna@example.com",
    *,
    department: str = "Sales",
    location: str = "Berlin",
    schedule: str = "Full time",
    since: str = "2026-01-01",
    manager: str = "",
    roles: str = "",
) -> str:
    return f"{email},Anna,Arendt,{department},{location},{schedule},{since},{manager},{roles},4100"


def checked(*lines: str, granter: tuple[str, ...] = ("hr",)) -> Report:
    content = "\n".join([HEADER, *lines]).encode()
    return check(read_rows(content, 100), KNOWN, granter)


def test_a_right_row_has_no_errors() -> None:
    report = checked(line(manager="BEN@example.com", roles="employee;manager"))
    assert report.errors == ()
    assert [row.line for row in report.valid] == [2]


@pytest.mark.parametrize(
    ("wrong", "column"),
    [
        (line(email=""), "email"),
        (line(email="anna"), "email"),
        (line(email="Ben@Example.com"), "email"),
        (line(department="Sails"), "department"),
        (line(location="Bonn"), "location"),
        (line(schedule="Never"), "schedule"),
        (line(since="1.1.2026"), "employed_from"),
        (line(since="2026-02-30"), "employed_from"),
        (line(manager="nobody@example.com"), "manager_email"),
        (line(roles="boss"), "roles"),
        (line(roles="admin"), "roles"),
        (line(manager="anna@example.com"), "manager_email"),
        (f"{line()},more", "11"),
        (f"{line()},,", "11"),
        (line(roles="employee,manager"), "11"),
    ],
)
def test_a_wrong_cell_is_named_by_line_and_column(wrong: str, column: str) -> None:
    report = checked(line("cleo@example.com"), wrong)
    assert [(error.line, error.column) for error in report.errors] == [(3, column)]
    assert [row.line for row in report.valid] == [2]


def test_a_row_with_more_cells_than_columns_says_how_many() -> None:
    (error,) = checked(f"{line()},one,two").errors
    assert error.detail == "12 cells for 10 columns: quote a cell that has a separator in it."


def test_a_row_may_leave_out_the_last_columns_that_are_optional() -> None:
    assert checked(line().removesuffix(",,,4100")).errors == ()


def test_an_administrator_may_import_administrators() -> None:
    assert checked(line(roles="admin"), granter=("admin",)).errors == ()


def test_every_mistake_is_reported_at_once() -> None:
    report = checked(line(department="Sails", since="soon"), line("anna", location="Bonn"))
    assert [(error.line, error.column) for error in report.errors] == [
        (2, "department"),
        (2, "employed_from"),
        (3, "email"),
        (3, "location"),
    ]


def test_an_address_that_comes_twice_is_wrong_the_second_time() -> None:
    report = checked(line(), line("ANNA@example.com"))
    assert [(error.line, error.column) for error in report.errors] == [(3, "email")]


def test_managers_come_before_their_reports() -> None:
    report = checked(
        line("c@example.com", manager="b@example.com"),
        line("b@example.com", manager="a@example.com"),
        line("a@example.com", manager="ben@example.com"),
    )
    assert [row.email for row in report.valid] == ["a@example.com", "b@example.com", "c@example.com"]


def test_a_row_whose_managers_row_is_wrong_is_wrong_as_well() -> None:
    report = checked(
        line("c@example.com", manager="b@example.com"),
        line("b@example.com", manager="a@example.com"),
        line("a@example.com", department="Sails"),
    )
    assert [(error.line, error.column) for error in report.errors] == [
        (2, "manager_email"),
        (3, "manager_email"),
        (4, "department"),
    ]


def test_a_circle_of_managers_is_wrong() -> None:
    report = checked(line("a@example.com", manager="b@example.com"), line("b@example.com", manager="a@example.com"))
    assert [error.column for error in report.errors] == ["manager_email", "manager_email"]
    assert report.valid == ()


def test_lines_are_counted_across_quoted_line_breaks_and_blank_lines() -> None:
    broken = line().replace("Anna", '"Anna\nMaria"')
    rows = read_rows("\n".join([HEADER, broken, "", line("b@example.com")]).encode(), 10)
    assert [row.line for row in rows] == [2, 5]


def test_a_file_of_a_european_spreadsheet_is_read() -> None:
    content = f"{HEADER}\r\n{line()}".replace(",", ";").encode("utf-8-sig")
    assert [row.email for row in read_rows(content, 10)] == ["anna@example.com"]


@pytest.mark.parametrize(
    "content",
    [
        b"email,given_name\n",
        HEADER.replace("cost_centre", "salary").encode(),
        b"",
        "emäil".encode("latin-1"),
        (HEADER + '\n"open').encode(),
        (HEADER + ", Email").encode(),
    ],
    ids=["missing columns", "unknown column", "empty", "not UTF-8", "not CSV", "a column twice"],
)
def test_an_unreadable_file_is_refused(content: bytes) -> None:
    with pytest.raises(FileUnreadable):
        read_rows(content, 10)


def test_a_column_that_stands_there_twice_is_named_whoever_is_right_of_the_two() -> None:
    with pytest.raises(FileUnreadable) as refused:
        read_rows(f"email,{HEADER}\nanna@example.com,{line('ben@example.com')}".encode(), 10)
    assert [one.pointer for one in refused.value.errors] == ["/lines/1/email"]


def test_a_file_with_too_many_people_is_refused() -> None:
    with pytest.raises(FileUnreadable, match="split it"):
        read_rows(f"{HEADER}\n{line()}\n{line()}".encode(), 1)
