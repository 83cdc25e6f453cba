"""`/adapters`: lists, one adapter, its tags, provenance and preview image; registering, editing, deleting.

Belongs here: translating requests and errors. Does not: what a change does (`warehouse.catalog`).
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import Field

from serving import encoding, problems
from serving.deps import ActorDep, AdapterId, ServicesDep
from serving.files import OpenedFileResponse, preview_headers
from serving.schemas.adapter_changes import (
    Activation,
    AdapterCreate,
    AdapterUpdate,
    BulkAnswer,
    BulkChange,
    Deactivation,
)
from serving.schemas.adapters import AdapterAnswer, AdapterPage, Provenance, TagList
from serving.stored import NO_PREVIEW, stored_preview
from warehouse import confinement, ids
from warehouse.catalog import editing, many, registering
from warehouse.catalog.errors import FieldError, NameTakenError, NoSuchAdapterError
from warehouse.catalog.many import Order, Result
from warehouse.queries import adapters, breakdowns, cursors, pages
from warehouse.queries.filters import make_filter
from warehouse.queries.pages import Sort, SortKey
from warehouse.storage import is_stored

router = APIRouter(prefix="/adapters", tags=["adapters"])

_log = logging.getLogger(__name__)

_SORT_NAMES = {
    "name": SortKey.NAME,
    "created_at": SortKey.CREATED_AT,
    "updated_at": SortKey.UPDATED_AT,
    "last_updated": SortKey.UPDATED_AT,
    "downloads": SortKey.DOWNLOADS,
    "rating": SortKey.RATING,
    "size": SortKey.SIZE,
    "file_size": SortKey.SIZE,
    "relevance": SortKey.RELEVANCE,
}
PREVIEW_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}
"""What a preview can be; anything else (SVG can hold scripts) is not served."""


def known_id(adapter_id: str) -> str:
    """The id of an adapter in its canonical form; see `problems.canonical_id`."""
    return problems.canonical_id("adapter", adapter_id)


def parse_sort(text: str | None, *, with_question: bool) -> Sort:
    """An order as clients write it: `name`, `-name`, `name_asc`, `name_desc`; by default relevance, else name."""
    if not text:
        return Sort(SortKey.RELEVANCE) if with_question else Sort(SortKey.NAME)
    name, descending = text, False
    if name.startswith("-"):
        name, descending = name[1:], True
    elif name.endswith("_desc"):
        name, descending = name.removesuffix("_desc"), True
    else:
        name = name.removesuffix("_asc")
    key = _SORT_NAMES.get(name)
    if key is None:
        raise problems.invalid(("query", "sort"), f"is one of {', '.join(_SORT_NAMES)}, with - before it to reverse")
    if key is SortKey.RELEVANCE and not with_question:
        raise problems.invalid(("query", "sort"), "relevance orders the matches of a question: send q as well")
    return Sort(key, descending and key is not SortKey.RELEVANCE)


Tag = Annotated[str, Field(max_length=200)]


@router.get(
    "",
    summary="List adapters",
    operation_id="list_adapters",
    response_model=AdapterPage,
    responses=problems.documented(422),
)
def list_adapters(
    services: ServicesDep,
    *,
    active: Annotated[bool | None, Query(description="Only those in use, or only those that are not.")] = None,
    tag: Annotated[
        list[Tag], Query(max_length=20, description="A whole tag, in any case; repeated: all of them.")
    ] = [],  # noqa: B006 - FastAPI copies it
    tags: Annotated[str, Query(max_length=2000, description="Tags, comma-separated: any of them.")] = "",
    base_model: Annotated[str, Query(max_length=200, description="As the adapters spell it.")] = "",
    q: Annotated[
        str,
        Query(
            max_length=2000,
            description='Words and "quoted phrases" in name, version, author, description, tags, trigger words.',
            examples=["ink dragon"],
        ),
    ] = "",
    search: Annotated[str, Query(max_length=2000, description="The same as `q`.")] = "",
    sort: Annotated[
        str | None,
        Query(
            description="name, created_at, updated_at, downloads, rating, size; `-` before it or `_desc` behind it "
            "reverses. Unknown values come last. Default: relevance with `q`, else name.",
            examples=["-downloads"],
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Adapters a page.")] = 100,
    offset: Annotated[int, Query(ge=0, description="Adapters to skip, up to 10,000; beyond that use `cursor`.")] = 0,
    page: Annotated[int | None, Query(ge=1, description="Page number from 1, instead of `offset`.")] = None,
    per_page: Annotated[int | None, Query(ge=1, le=500, description="The same as `limit`.")] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before, instead of `offset`.")] = None,
) -> Response:
    """Adapters that pass every filter given, in a total and stable order.

    `total` is exact. Deep pages are reached by `cursor`, at the same cost as the first.
    """
    size = per_page or limit
    question = q or search
    narrowed = make_filter(
        active=active, all_tags=tag, any_tags=tags.split(","), base_model=base_model, question=question
    )
    order = parse_sort(sort, with_question=narrowed.question is not None)
    skip = (page - 1) * size if page is not None else offset
    try:
        with services.database.read() as connection:
            found = pages.page(connection, narrowed, order, limit=size, offset=skip, cursor=cursor or None)
    except cursors.CursorError as error:
        raise problems.invalid(("query", "cursor"), str(error)) from error
    except pages.OffsetError as error:
        raise problems.invalid(("query", "page" if page is not None else "offset"), str(error)) from error
    return encoding.answer(
        {
            "items": [encoding.adapter(row, services.signer) for row in found.rows],
            "total": found.total,
            "limit": size,
            "offset": found.offset,
            "next_cursor": found.next_cursor,
            "ranked_among": found.ranked_among,
            "filtered": found.total,
            "page": found.offset // size + 1,
            "pages": -(-found.total // size),
            "per_page": size,
        }
    )


@router.get(
    "/tags",
    summary="List tags with their counts",
    operation_id="list_tags",
    response_model=TagList,
    responses=problems.documented(422),
)
def list_tags(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Tags at most.")] = 1_000,
) -> Response:
    """The tags that most adapters have, the most frequent first."""
    with services.database.read() as connection:
        counted = breakdowns.counted(connection, "tag", limit=limit)
    return encoding.answer(
        {"tags": [tag for tag, _ in counted], "counts": [{"tag": tag, "count": count} for tag, count in counted]}
    )


@contextmanager
def _changing() -> Iterator[None]:
    """Turns what the catalog refuses into problems."""
    try:
        yield
    except NoSuchAdapterError as error:
        raise problems.not_found("adapter", error.adapter_id) from error
    except NameTakenError as error:
        raise problems.Problem(HTTPStatus.CONFLICT, str(error)) from error
    except FieldError as error:
        raise problems.invalid(("body", error.field), str(error)) from error


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    summary="Register an adapter",
    operation_id="create_adapter",
    response_model=AdapterAnswer,
    responses=problems.documented(409, 422),
)
def create_adapter(services: ServicesDep, actor: ActorDep, body: AdapterCreate) -> Response:
    """Make an adapter for a weight file that is there; name and version are unique together.

    What is stated stays when a later sync meets the file and reads the documents beside it; the rest comes from them.
    """
    with _changing():
        row = registering.register(services.database, services.settings, body.sent(), actor)
    answer = encoding.answer({"adapter": encoding.adapter(row, services.signer)}, HTTPStatus.CREATED)
    answer.headers["Location"] = f"{encoding.API}/adapters/{row.id}"
    return answer


@router.post(
    "/bulk",
    summary="Change many adapters at once",
    operation_id="change_adapters",
    response_model=BulkAnswer,
    responses=problems.documented(422),
)
def change_adapters(services: ServicesDep, actor: ActorDep, body: BulkChange) -> Response:
    """Activate, deactivate, mark, tag or delete up to 1,000 adapters in one transaction, with a result for each id.

    An unknown id is a result (`not_found`) and stops nothing.
    """
    canonical = {given: key for given in body.lora_ids if (key := ids.canonical(given)) is not None}
    order = Order(body.action, body.tags or (), body.ordinal)
    known = many.change_many(services.database, list(dict.fromkeys(canonical.values())), order, actor)
    results = [known.get(canonical.get(given, ""), Result.NOT_FOUND) for given in body.lora_ids]
    counts = Counter(results)
    return encoding.answer(
        {
            "action": body.action,
            "results": [
                {"lora_id": given, "status": result} for given, result in zip(body.lora_ids, results, strict=True)
            ],
            **{result.value: counts[result] for result in Result},
        }
    )


@router.get(
    "/{adapter_id}",
    summary="Get one adapter",
    operation_id="get_adapter",
    response_model=AdapterAnswer,
    responses=problems.documented(404),
)
def get_adapter(services: ServicesDep, adapter_id: AdapterId) -> Response:
    """One adapter with every field."""
    with services.database.read() as connection:
        row = adapters.get(connection, known_id(adapter_id))
    if row is None:
        raise problems.not_found("adapter", adapter_id)
    return encoding.answer({"adapter": encoding.adapter(row, services.signer)})


@router.patch(
    "/{adapter_id}",
    summary="Edit an adapter",
    operation_id="update_adapter",
    response_model=AdapterAnswer,
    responses=problems.documented(404, 409, 422),
)
def update_adapter(services: ServicesDep, actor: ActorDep, adapter_id: AdapterId, body: AdapterUpdate) -> Response:
    """Change the fields that are sent; null clears a field that may be unknown.

    What is edited is the user's from then on (`provenance` says `user`), and no sync changes it, until a later call
    names it in `reset`. A value that is the same already changes nothing.
    """
    canonical = known_id(adapter_id)
    with _changing():
        row = editing.update(
            services.database, services.settings, canonical, body.sent(), actor, reset=frozenset(body.reset)
        )
    return encoding.answer({"adapter": encoding.adapter(row, services.signer)})


@router.delete(
    "/{adapter_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Delete an adapter",
    operation_id="delete_adapter",
    response_class=Response,
    responses=problems.documented(404),
)
def delete_adapter(services: ServicesDep, actor: ActorDep, adapter_id: AdapterId) -> Response:
    """Delete an adapter with its vectors and all that hangs on it. Its files are never touched.

    A later sync does not bring it back unless its files change.
    """
    canonical = known_id(adapter_id)
    with _changing():
        editing.delete(services.database, canonical, actor)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post(
    "/{adapter_id}/activate",
    summary="Activate an adapter",
    operation_id="activate_adapter",
    response_model=AdapterAnswer,
    responses=problems.documented(404, 422),
)
def activate_adapter(
    services: ServicesDep, actor: ActorDep, adapter_id: AdapterId, body: Activation | None = None
) -> Response:
    """Take an adapter into the composed prompt. The body may be absent; without an ordinal the earlier one stays."""
    fields = {"active": True} if body is None or body.ordinal is None else {"active": True, "ordinal": body.ordinal}
    canonical = known_id(adapter_id)
    with _changing():
        row = editing.update(services.database, services.settings, canonical, fields, actor, action="activate")
    return encoding.answer({"adapter": encoding.adapter(row, services.signer)})


@router.post(
    "/{adapter_id}/deactivate",
    summary="Deactivate an adapter",
    operation_id="deactivate_adapter",
    response_model=AdapterAnswer,
    responses=problems.documented(404, 422),
)
def deactivate_adapter(
    services: ServicesDep,
    actor: ActorDep,
    adapter_id: AdapterId,
    body: Deactivation | None = None,  # noqa: ARG001 - read, so that a body that says something is refused
) -> Response:
    """Take an adapter out of the composed prompt; it keeps its ordinal for the next time."""
    canonical = known_id(adapter_id)
    fields = {"active": False}
    with _changing():
        row = editing.update(services.database, services.settings, canonical, fields, actor, action="deactivate")
    return encoding.answer({"adapter": encoding.adapter(row, services.signer)})


@router.get(
    "/{adapter_id}/provenance",
    summary="Say where an adapter's fields come from",
    operation_id="get_adapter_provenance",
    response_model=Provenance,
    responses=problems.documented(404),
)
def get_provenance(services: ServicesDep, adapter_id: AdapterId) -> Response:
    """Which document, header or user gave each field, and when it was last read."""
    canonical = known_id(adapter_id)
    with services.database.read() as connection:
        found = adapters.provenance(connection, canonical)
    if found is None:
        raise problems.not_found("adapter", adapter_id)
    sources = {**found.sources, **dict.fromkeys(found.user_columns, "user")}
    return encoding.answer(
        {
            "id": canonical,
            "last_ingested_at": found.last_ingested_at,
            "fields": [{"field": field, "source": sources[field]} for field in sorted(sources)],
        }
    )


@router.get(
    "/{adapter_id}/preview",
    summary="Get an adapter's preview image",
    operation_id="get_adapter_preview",
    response_class=FileResponse,
    responses={
        200: {
            "description": "The image, or a short video, as it lies beside the weight file.",
            "content": {media_type: {} for media_type in sorted(set(PREVIEW_TYPES.values()))},
        },
        206: {"description": "The part of it that `Range` asked for."},
        304: {"description": "Not changed since the `ETag` that was sent."},
        **problems.documented(400, 404, 416),
    },
)
def get_preview(
    services: ServicesDep,
    request: Request,
    adapter_id: AdapterId,
    expires: Annotated[str | None, Query(description="With `signature`: as in `preview_url`.")] = None,  # noqa: ARG001
    signature: Annotated[str | None, Query(description="Stands for an API key until `expires`.")] = None,  # noqa: ARG001
) -> Response:
    """The local preview image. `preview_url` of an adapter is this with a signature, so that a browser can show it."""
    with services.database.read() as connection:
        exists, stored = adapters.preview_path(connection, known_id(adapter_id))
        roots = confinement.library_roots(connection, services.settings)
    if not exists:
        raise problems.not_found("adapter", adapter_id)
    media_type = PREVIEW_TYPES.get(Path(stored).suffix.lower()) if stored else None
    if stored is None or media_type is None:
        raise problems.Problem(HTTPStatus.NOT_FOUND, NO_PREVIEW)
    if is_stored(stored):
        return stored_preview(services.settings, request, stored, roots, media_type)
    try:
        opened = confinement.open_under_roots(Path(stored), roots)
    except confinement.OutsideRootsError as error:
        _log.warning("a preview outside the library was not opened", extra={"path": stored})
        raise problems.Problem(
            HTTPStatus.NOT_FOUND, "this adapter's preview lies outside the library folders"
        ) from error
    except confinement.NoFileError as error:
        raise problems.Problem(HTTPStatus.NOT_FOUND, NO_PREVIEW) from error
    headers = preview_headers(opened.status.st_mtime_ns, opened.status.st_size)
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        opened.stream.close()
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return OpenedFileResponse(opened, media_type=media_type, headers=headers)
