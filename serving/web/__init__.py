"""The page at `/` and the API reference at `/docs`: plain files that load nothing from elsewhere.

Belongs here: the files and how they are served. Does not: anything that answers questions; the page asks the API.
"""

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FOLDER = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The files change with an update of the service: ask each time, by ETag.
    "Cache-Control": "no-cache",
}


class _Static(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def install(app: FastAPI) -> None:
    """Serve the pages and their files."""

    async def index(_request: Request) -> Response:
        return FileResponse(_FOLDER / "index.html", headers=_HEADERS)

    async def docs(_request: Request) -> Response:
        return FileResponse(_FOLDER / "docs.html", headers=_HEADERS)

    app.add_route("/", index, include_in_schema=False)
    app.add_route("/docs", docs, include_in_schema=False)
    app.mount("/static", _Static(directory=_FOLDER / "static"), name="static")
