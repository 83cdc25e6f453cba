"""`/generation/images` and `/generation/results`: pictures that are there: shown, rated, deleted, taken away."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from serving import encoding, problems
from serving.archives import Entry, archive
from serving.deps import ActorDep, Services, ServicesDep
from serving.schemas.adapter_changes import Moment
from serving.schemas.results import (
    RESULT_ID,
    ChangedResults,
    Export,
    Favorite,
    ImageResult,
    ManyFavorites,
    ManyResults,
    Rating,
)
from warehouse import gallery, ids
from warehouse.models import utc_now
from warehouse.pictures import Infotext, PictureFormat, UnknownPictureError, with_infotext
from warehouse.queries import generated_images as queries
from warehouse.queries.generated_images import WINDOW, ImageFilter, ImageRow, ImageSort

router = APIRouter(prefix="/generation", tags=["generation"])

ResultId = Annotated[str, Path(description="The picture's id.", examples=[RESULT_ID])]

_SORTS: Final = {
    "created_at": ImageSort.NEWEST,
    "created_at_desc": ImageSort.NEWEST,
    "-created_at": ImageSort.NEWEST,
    "newest": ImageSort.NEWEST,
    "created_at_asc": ImageSort.OLDEST,
    "oldest": ImageSort.OLDEST,
    "prompt": ImageSort.PROMPT,
    "prompt_asc": ImageSort.PROMPT,
    "prompt_desc": ImageSort.PROMPT_REVERSED,
    "-prompt": ImageSort.PROMPT_REVERSED,
    "rating": ImageSort.RATING,
    "rating_desc": ImageSort.RATING,
    "-rating": ImageSort.RATING,
}
_SPANS: Final = {"today": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}
_MAX_EXPORT_BYTES: Final = 2**31
_CHUNK: Final = 200
"""Rows of an export that are read at once."""
_SAFE: Final = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}
_PICTURES: Final[dict[str, Any]] = {kind.media_type: {} for kind in PictureFormat}


@router.get(
    "/images/{sha256}",
    summary="Get a generated picture",
    operation_id="get_generated_image",
    response_class=FileResponse,
    responses={
        200: {"description": "The backend's own bytes.", "content": _PICTURES},
        206: {"description": "The part of it that `Range` asked for."},
        304: {"description": "The client has it."},
        **problems.documented(400, 404, 416),
    },
)
def get_image(
    services: ServicesDep,
    request: Request,
    sha256: Annotated[str, Path(description="SHA-256 of its bytes, in hexadecimal.")],
    expires: Annotated[str | None, Query(description="With `signature`: as in `image_url`.")] = None,  # noqa: ARG001
    signature: Annotated[str | None, Query(description="Stands for an API key until `expires`.")] = None,  # noqa: ARG001
) -> Response:
    """The bytes as the backend sent them; they never change under this address."""
    found = services.results.path_of(sha256)
    if found is None:
        raise problems.not_found("picture", sha256)
    path, kind = found
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "private, max-age=31536000, immutable", **_SAFE}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return FileResponse(path, media_type=kind.media_type, headers=headers)


# Results.


def shown(services: Services, row: ImageRow) -> dict[str, Any]:
    """A picture as answers show it: what is not known is absent."""
    fields = {
        "id": row.id,
        "job_id": row.job_id,
        "created_at": row.created_at,
        "image_url": services.results.url(row.sha256),
        "sha256": row.sha256,
        "format": row.format,
        "size": row.size,
        "backend": row.mode,
        "prompt": row.prompt,
        "is_favorite": row.is_favorite,
        "negative_prompt": row.negative_prompt or None,
        # A header that cannot be followed says 0.
        "width": row.width or None,
        "height": row.height or None,
        "steps": row.steps,
        "cfg_scale": row.cfg_scale,
        "seed": row.seed,
        "sampler_name": row.sampler_name or None,
        "rating": row.rating,
        "loras": row.lora_adapters or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _find(services: Services, result_id: str) -> ImageRow:
    key = problems.canonical_id("result", result_id)
    with services.database.read() as connection:
        row = queries.by_ids(connection, [key]).get(key)
    if row is None:
        raise problems.not_found("result", result_id)
    return row


def _known(asked: Sequence[str]) -> list[str]:
    """Those of some ids that can be ids, in their canonical form, each once."""
    return list(dict.fromkeys(key for key in map(ids.canonical, asked) if key is not None))


def _not_among(asked: Sequence[str], found: Sequence[str]) -> list[str]:
    there = set(found)
    return [key for key in dict.fromkeys(asked) if ids.canonical(key) not in there]


@router.get(
    "/results",
    summary="List generated pictures",
    operation_id="list_generation_results",
    response_model=list[ImageResult],
    responses=problems.documented(422),
)
def list_results(
    services: ServicesDep,
    request: Request,
    *,
    limit: Annotated[int, Query(ge=1, le=200, description="Pictures at most.")] = 50,
    page: Annotated[int, Query(ge=1, description="Page number, from 1.")] = 1,
    page_size: Annotated[int | None, Query(ge=1, le=200, description="The same as `limit`.")] = None,
    sort: Annotated[
        str, Query(description="`created_at` (newest first), `created_at_asc`, `prompt`, `prompt_desc` or `rating`.")
    ] = "created_at",
    search: Annotated[str | None, Query(max_length=500, description="Only those with this in their prompt.")] = None,
    min_rating: Annotated[int | None, Query(ge=0, le=5, description="Only those rated so, or better.")] = None,
    width: Annotated[int | None, Query(ge=1, lt=2**31, description="Only those of this width.")] = None,
    height: Annotated[int | None, Query(ge=1, lt=2**31, description="Only those of this height.")] = None,
    is_favorite: Annotated[bool | None, Query(description="Only those that are marked, or are not.")] = None,
    start_date: Annotated[Moment | None, Query(description="Only those made then or later.")] = None,
    end_date: Annotated[Moment | None, Query(description="Only those made before.")] = None,
    date_filter: Annotated[
        str | None, Query(pattern="^(all|today|week|month)$", description="Only those of the last day, 7 or 30 days.")
    ] = None,
) -> Response:
    """Pictures that were not deleted. There are more while a page is full, and `Link` leads to the next.

    Filters and other orders than that of time look at the newest 10,000 pictures.
    """
    order = _SORTS.get(sort)
    if order is None:
        raise problems.invalid(("query", "sort"), f"is one of {', '.join(_SORTS)}")
    if search is not None and "\x00" in search:
        raise problems.invalid(("query", "search"), "holds the character U+0000: leave it out")
    size = page_size or limit
    if (page - 1) * size > WINDOW:
        raise problems.invalid(("query", "page"), f"begins behind {WINDOW:,} pictures: narrow the list instead")
    span = _SPANS.get(date_filter or "all")
    narrowed = ImageFilter(
        search=search or None,
        min_rating=min_rating or None,
        width=width,
        height=height,
        since=_latest(start_date, utc_now() - span if span else None),
        until=end_date,
        is_favorite=is_favorite,
    )
    with services.database.read() as connection:
        rows, has_more = queries.page(connection, narrowed, order, limit=size, offset=(page - 1) * size)
    answer = encoding.answer([shown(services, row) for row in rows])
    if has_more:
        following = request.url.include_query_params(page=page + 1)
        answer.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return answer


def _latest(first: datetime | None, second: datetime | None) -> datetime | None:
    return max((each for each in (first, second) if each is not None), default=None)


@router.get(
    "/results/{result_id}",
    summary="Get one generated picture's record",
    operation_id="get_generation_result",
    response_model=ImageResult,
    responses=problems.documented(404),
)
def get_result(services: ServicesDep, result_id: ResultId) -> Response:
    """One picture, with what it was made of."""
    return encoding.answer(shown(services, _find(services, result_id)))


def _delete(services: Services, asked: Sequence[str]) -> dict[str, Any]:
    with services.database.write() as connection:
        deleted, digests = gallery.delete(connection, _known(asked))
    for digest in digests:
        services.pictures.discard(digest)
    return {"changed": len(deleted), "not_found": _not_among(asked, deleted)}


@router.post(
    "/results/bulk-delete",
    summary="Delete generated pictures",
    operation_id="delete_generation_results",
    response_model=ChangedResults,
    responses=problems.documented(422),
)
@router.delete("/results/bulk-delete", include_in_schema=False)
def delete_results(services: ServicesDep, body: ManyResults) -> Response:
    """Deletes all of them that are there, in one transaction; the rest is named."""
    return encoding.answer(_delete(services, body.ids))


@router.delete(
    "/results/{result_id}",
    summary="Delete a generated picture",
    operation_id="delete_generation_result",
    status_code=HTTPStatus.NO_CONTENT,
    responses=problems.documented(404),
)
def delete_result(services: ServicesDep, result_id: ResultId) -> Response:
    """Deletes the picture. It is shown no more; its bytes go too unless another result has the same ones, at once or,
    where they were made within the hour, with the next upkeep. The generation stays."""
    if _delete(services, [result_id])["not_found"]:
        raise problems.not_found("result", result_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.put(
    "/results/bulk-favorite",
    summary="Mark generated pictures",
    operation_id="mark_generation_results",
    response_model=ChangedResults,
    responses=problems.documented(422),
)
def mark_results(services: ServicesDep, actor: ActorDep, body: ManyFavorites) -> Response:
    """Marks all of them that are there, or takes the mark away, in one transaction; the rest is named."""
    with services.database.write() as connection:
        known = _known(body.ids)
        gallery.mark(connection, known, actor, is_favorite=body.is_favorite)
        found = list(queries.by_ids(connection, known))
    return encoding.answer({"changed": len(found), "not_found": _not_among(body.ids, found)})


@router.put(
    "/results/{result_id}/rating",
    summary="Rate a generated picture",
    operation_id="rate_generation_result",
    response_model=ImageResult,
    responses=problems.documented(404, 422),
)
def rate_result(services: ServicesDep, actor: ActorDep, result_id: ResultId, body: Rating) -> Response:
    """From 1 to 5; null, or 0, takes the rating away."""
    with services.database.write() as connection:
        gallery.rate(connection, problems.canonical_id("result", result_id), body.rating or None, actor)
    return encoding.answer(shown(services, _find(services, result_id)))


@router.put(
    "/results/{result_id}/favorite",
    summary="Mark a generated picture",
    operation_id="mark_generation_result",
    response_model=ImageResult,
    responses=problems.documented(404, 422),
)
def mark_result(services: ServicesDep, actor: ActorDep, result_id: ResultId, body: Favorite) -> Response:
    """Marks it as a favourite, or takes the mark away."""
    with services.database.write() as connection:
        gallery.mark(connection, [problems.canonical_id("result", result_id)], actor, is_favorite=body.is_favorite)
    return encoding.answer(shown(services, _find(services, result_id)))


# Taking pictures away.


def _infotext(row: ImageRow) -> str:
    """What the backend wrote; else what was asked for."""
    if row.infotext:
        return row.infotext
    size = f"{row.width}x{row.height}" if row.width and row.height else None
    names = ("steps", "sampler_name", "scheduler", "cfg_scale", "seed")
    facts = {name: getattr(row, name) for name in names} | {"size": size}
    adapters = [(str(each.get("name")), str(each.get("id"))) for each in row.lora_adapters or () if each]
    return Infotext(row.prompt, str(row.negative_prompt or ""), facts, adapters).text()


def _name(row: ImageRow) -> str:
    # The end of an id is what tells the pictures of one moment apart.
    return f"{row.created_at:%Y%m%d-%H%M%S}-{row.id[-12:]}.{row.format}"


def _copy(services: Services, row: ImageRow) -> bytes | None:
    """A copy of a picture that carries its infotext; None where its bytes are gone."""
    data = services.pictures.get(row.sha256)
    if data is None:
        return None
    try:
        return with_infotext(data, _infotext(row))
    except UnknownPictureError:
        return None  # What lies there was damaged since.


@router.get(
    "/results/{result_id}/download",
    summary="Download a generated picture",
    operation_id="download_generation_result",
    response_class=Response,
    responses={
        200: {"description": "A copy that carries what it was made of, as A1111 writes it.", "content": _PICTURES},
        **problems.documented(404),
    },
)
def download_result(services: ServicesDep, result_id: ResultId) -> Response:
    """A copy of the picture with its infotext: the one that is kept stays as the backend sent it."""
    row = _find(services, result_id)
    data = _copy(services, row)
    if data is None:
        raise problems.Problem(HTTPStatus.NOT_FOUND, f"the bytes of the picture {row.id} are gone from the data folder")
    headers = {"Content-Disposition": f'attachment; filename="{_name(row)}"', "Cache-Control": "private", **_SAFE}
    return Response(data, media_type=PictureFormat(row.format).media_type, headers=headers)


@router.post(
    "/results/export",
    summary="Download generated pictures as a ZIP archive",
    operation_id="export_generation_results",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The archive.", "content": {"application/zip": {}}},
        **problems.documented(404, 422),
    },
)
def export_results(services: ServicesDep, body: Export) -> Response:
    """Copies with their infotexts, up to 1,000 and 2 GiB, sent while they are packed.

    `manifest.json` in it says what each was made of, and which were not there.
    """
    rows = []
    known = _known(body.ids)
    with services.database.read() as connection:
        for start in range(0, len(known), _CHUNK):
            part = known[start : start + _CHUNK]
            found = queries.by_ids(connection, part)
            rows += [found[key] for key in part if key in found]
    if not rows:
        raise problems.Problem(HTTPStatus.NOT_FOUND, "none of these results is there")
    if sum(row.size for row in rows) > _MAX_EXPORT_BYTES:
        raise problems.invalid(
            ("body", "ids"), f"hold more than {_MAX_EXPORT_BYTES // 2**30} GiB: export fewer at once"
        )
    missing = _not_among(body.ids, [row.id for row in rows])
    entries = _entries(services, rows, missing, with_manifest=body.include_metadata)
    name = f"generation-export-{utc_now():%Y%m%d-%H%M%S}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private", **_SAFE}
    return StreamingResponse(archive(entries), media_type="application/zip", headers=headers)


def _entries(
    services: Services, rows: Sequence[ImageRow], missing: list[str], *, with_manifest: bool
) -> Iterator[Entry]:
    packed = []
    for row in rows:
        data = _copy(services, row)
        if data is None:
            missing.append(row.id)
            continue
        yield Entry(_name(row), row.created_at, data)
        packed.append({"file": _name(row), **{k: v for k, v in shown(services, row).items() if k != "image_url"}})
    if with_manifest:
        manifest = msgspec.to_builtins({"results": packed, "missing": missing})
        yield Entry("manifest.json", utc_now(), json.dumps(manifest, indent=2, ensure_ascii=False).encode())
