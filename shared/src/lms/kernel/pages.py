"""Lists in pages: `?limit=&cursor=` in, `{"items": […], "next_cursor": …}` out.

    async def list_requests(page: PageDep, views: ViewsDep) -> Page[RequestAnswer]:
        query = select(t).order_by(t.c.start_date, t.c.id).limit(page.limit + 1)
        if after := page.after(date_value, str):                             # the sort key of the last item shown
            query = query.where(behind((t.c.start_date, t.c.id), after))
        rows = (await views.connection.execute(query)).all()
        return Page.of(rows, page, key=lambda row: (row.start_date, row.id), item=RequestAnswer.of)

A cursor is the last item's sort key in base64url: opaque to callers, no secret, and good for ever.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Self, TypeVar

import orjson
from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, and_, or_

from lms.kernel.errors import Malformed

T = TypeVar("T")
R = TypeVar("R")

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 200


class BadCursor(Malformed):
    """The cursor is none that this list gave out."""

    code = "bad-cursor"


@dataclass(frozen=True, slots=True)
class PageParams:
    """Which page a caller asks for. Query `limit + 1` rows: the extra one tells that there is more."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None

    def after(self, *kinds: Callable[[Any], Any]) -> tuple[Any, ...] | None:
        """Return the sort key to start after, each part read by its kind (`str`, `int`, `date.fromisoformat`).

        None asks for the first page. Raises BadCursor for anything that this list did not give out.
        """
        if self.cursor is None:
            return None
        try:
            parts = orjson.loads(_decoded(self.cursor))
            if not isinstance(parts, list) or len(parts) != len(kinds):
                raise BadCursor("The cursor does not belong to this list; start from the first page.")
            return tuple(kind(part) for kind, part in zip(kinds, parts, strict=True))
        except (ValueError, TypeError):
            raise BadCursor("The cursor cannot be read; start from the first page.") from None


async def page_params(
    limit: Annotated[int, Query(ge=1, le=LARGEST_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> PageParams:
    """Read `limit` and `cursor` from the query."""
    return PageParams(limit, cursor)


PageDep = Annotated[PageParams, Depends(page_params)]


def behind(key: Sequence[ColumnElement[Any]], last: Sequence[Any], *, descending: bool = False) -> ColumnElement[bool]:
    """Return the condition for rows that come after `last` in the order of `key`.

    MySQL finds no range of an index in `(a, b) > (x, y)`, and would read a list from its beginning for every page; in
    `a >= x AND (a > x OR b > y)`, which says the same, it finds one.
    """
    first, value = key[0], last[0]
    further: ColumnElement[bool] = first < value if descending else first > value
    if len(key) == 1:
        return further
    from_here = first <= value if descending else first >= value
    return and_(from_here, or_(further, behind(key[1:], last[1:], descending=descending)))


class Page(BaseModel, Generic[T]):
    """A page of a list; `next_cursor` is null on the last one."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next_cursor: str | None = None

    @classmethod
    def of(
        cls, rows: Sequence[R], params: PageParams, *, key: Callable[[R], Sequence[Any]], item: Callable[[R], T]
    ) -> Self:
        """Return the page of up to `limit` items out of `limit + 1` rows; `key` is what the list is sorted by."""
        shown = rows[: params.limit]
        more = len(rows) > params.limit
        return cls(items=[item(row) for row in shown], next_cursor=_encoded(key(shown[-1])) if more else None)


def _encoded(key: Sequence[Any]) -> str:
    return urlsafe_b64encode(orjson.dumps(list(key))).decode().rstrip("=")


def _decoded(cursor: str) -> bytes:
    return urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
