"""Answers that are files of the library: sent from what was opened below its roots (`warehouse.confinement`).

Does not belong here: which file an answer is, and of what type.
"""

from collections.abc import Mapping
from pathlib import Path

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from warehouse.confinement import OpenedFile


class OpenedFileResponse(FileResponse):
    """Sends a file that is open, ranges and all, and closes it. No path is looked up again."""

    def __init__(self, opened: OpenedFile, *, media_type: str, headers: Mapping[str, str]) -> None:
        # The name of the descriptor, not of the file: what was checked is what is sent.
        name = Path("/dev/fd") / str(opened.stream.fileno())
        super().__init__(name, media_type=media_type, headers=headers, stat_result=opened.status)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._opened.stream.close()


def preview_headers(mtime_ns: int, size: int) -> dict[str, str]:
    """The headers of a preview, which may be anything that a stranger put into a library."""
    return {
        "ETag": f'"{mtime_ns:x}-{size:x}"',
        "Cache-Control": "private, max-age=3600",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
