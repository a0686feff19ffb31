from datetime import date

import pytest

from lms.kernel.pages import BadCursor, Page, PageParams

ROWS = [(date(2027, 1, day), f"id-{day}") for day in range(1, 6)]


def page(params: PageParams) -> Page[str]:
    after = params.after(date.fromisoformat, str)
    rows = [row for row in ROWS if after is None or row > after][: params.limit + 1]
    return Page[str].of(rows, params, key=lambda row: row, item=lambda row: row[1])


def test_pages_follow_one_another_without_gap_or_repeat() -> None:
    seen: list[str] = []
    params = PageParams(limit=2)
    while True:
        found = page(params)
        seen += found.items
        if found.next_cursor is None:
            break
        params = PageParams(limit=2, cursor=found.next_cursor)
    assert seen == [row[1] for row in ROWS]


@pytest.mark.parametrize("cursor", ["!", "abc", "é", "W10", "WyJ4IiwieSJd", "eyJhIjoxfQ"])
def test_a_cursor_that_the_list_did_not_give_out_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        PageParams(cursor=cursor).after(date.fromisoformat, str)
