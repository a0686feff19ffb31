"""The web app: the files of its build, and its one page for every path that is a page of the app."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from lms.gateway import security
from lms.kernel.errors import NotFound
from lms.kernel.problems import problem_response

_PAGE = "index.html"
_NAMED_BY_CONTENT = "/assets/"
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"


class Web:
    """Serves the folder of a build; without one, says how to build it."""

    def __init__(self, folder: Path | None) -> None:
        built = folder is not None and (folder / _PAGE).is_file()
        self._files = StaticFiles(directory=folder) if built else None
        self._compressed = GZipMiddleware(self._answer, minimum_size=1000, compresslevel=6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["lms.route"] = "/{web}"
        await self._compressed(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._found(scope)
        except HTTPException:
            response = problem_response(NotFound("There is no such page."), scope)
        await response(scope, receive, send)

    async def _found(self, scope: Scope) -> Response:
        if self._files is None:
            hint = "The web app is not here: `scripts/web build` builds it. The API is described at /docs."
            return problem_response(NotFound(hint), scope)
        path: str = scope["path"]
        page = path == "/" or "." not in path.rsplit("/", 1)[-1]
        wants_page = "text/html" in (security.first(scope["headers"], b"accept") or "")
        response = await self._files.get_response(_PAGE if page and wants_page else path.lstrip("/"), scope)
        response.headers["Cache-Control"] = _FOR_EVER if path.startswith(_NAMED_BY_CONTENT) else _ASK_FIRST
        return response
