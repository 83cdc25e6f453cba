"""Previews that lie in stores: sent on as they come, with one request to the store for each answer.

Belongs here: ranges, and what a failure of the store means to who asks. Does not: which object a preview is
(`routers.adapters`), the requests (`warehouse.storage`).
"""

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from serving import problems
from serving.files import preview_headers
from warehouse import confinement
from warehouse.settings import Settings
from warehouse.storage import ChangedError, ExtraMissingError, LibraryRoot, ObjectStream, Span, object_at

NO_PREVIEW = "this adapter has no preview image beside its weight file"
_PATIENCE_SECONDS = 5.0
"""Who waits for a picture waits for no store that is away."""
_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")

_log = logging.getLogger(__name__)


def stored_preview(
    settings: Settings, request: Request, stored: str, roots: Sequence[LibraryRoot], media_type: str
) -> Response:
    """A preview that lies in a store, sent on with one request to it."""
    span = _span_of(request.headers.get("range"))
    try:
        confinement.require_under_roots(stored, roots)
        access = settings.library_access
        patience = min(access.retry_seconds, _PATIENCE_SECONDS)
        bucket, key = object_at(stored, dataclasses.replace(access, retry_seconds=patience))
        stream = bucket.stream(key, span)
    except (confinement.OutsideRootsError, FileNotFoundError) as error:
        raise problems.Problem(HTTPStatus.NOT_FOUND, NO_PREVIEW) from error
    except ChangedError as error:
        raise problems.Problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "the preview has no such range") from error
    except (ExtraMissingError, OSError) as error:
        _log.warning("a preview could not be got from its store", extra={"path": stored, "reason": str(error)})
        raise problems.Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "the store of this preview cannot be had now; try again later"
        ) from error
    headers = preview_headers(stream.mtime_ns, stream.size)
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return _streamed(stream, is_part=span is not None, media_type=media_type, headers=headers)


def _span_of(header: str | None) -> Span | None:
    """What a `Range` header asks for, as a store is asked for it; None for all of it, also where the header is of
    another unit or of several ranges, which may be passed over."""
    found = _ONE_RANGE.fullmatch((header or "").replace(" ", ""))
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return (-int(last), None) if int(last) else None
    if not last:
        return int(first), None
    return (int(first), int(last) + 1) if int(first) <= int(last) else None


def _streamed(stream: ObjectStream, *, is_part: bool, media_type: str, headers: Mapping[str, str]) -> StreamingResponse:
    """An answer that sends an object of a store on as it comes."""
    more = {"Accept-Ranges": "bytes", "Content-Length": str(stream.stop - stream.start)}
    if is_part:
        more["Content-Range"] = f"bytes {stream.start}-{stream.stop - 1}/{stream.size}"
    status = HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK
    return StreamingResponse(stream.chunks, status, {**headers, **more}, media_type)
