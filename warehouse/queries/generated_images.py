"""Generated pictures as they are shown: pages of those that are kept, and some of them by id.

A page in the order of time is a walk over the index of kept pictures. For other orders and for filters no index is
kept: they look at the newest `WINDOW` pictures alone. Does not belong here: ratings and deletions
(`warehouse.gallery`), and the bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, func, select

from warehouse.models import GeneratedImage

WINDOW = 10_000
"""Pictures that are looked at, and rows that a page may skip."""


class ImageRow(msgspec.Struct, frozen=True):
    """A picture as it is shown."""

    pk: int
    id: str
    job_id: str
    position: int
    mode: str
    sha256: str
    format: str
    width: int
    height: int
    size: int
    seed: int | None
    prompt: str
    infotext: str | None
    created_at: datetime
    rating: int | None
    is_favorite: bool
    negative_prompt: Any
    steps: Any
    cfg_scale: Any
    sampler_name: Any
    scheduler: Any
    lora_adapters: Any


_PARAMS = ("negative_prompt", "steps", "cfg_scale", "sampler_name", "scheduler", "lora_adapters")
"""What is shown of the parameters. The rest is left in the table: it may hold pictures of its own."""
_COLUMNS = tuple(
    GeneratedImage.params[name] if name in _PARAMS else GeneratedImage.__table__.c[name]
    for name in ImageRow.__struct_fields__
)
_KEPT = GeneratedImage.deleted_at.is_(None)


class ImageSort(StrEnum):
    """An order; those that are equal in it are newest first."""

    NEWEST = "newest"
    OLDEST = "oldest"
    PROMPT = "prompt"
    PROMPT_REVERSED = "prompt reversed"
    RATING = "rating"
    """The best first, those without one last."""


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """What a page is narrowed to; every condition given must hold."""

    search: str | None = None
    """Occurs in the prompt, whatever its case."""
    min_rating: int | None = None
    width: int | None = None
    height: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    is_favorite: bool | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it lets everything through."""
        return all(getattr(self, each.name) is None for each in fields(self))

    def conditions(self) -> list[ColumnElement[bool]]:
        """As SQL."""
        image, found = GeneratedImage, list[ColumnElement[bool]]()
        if self.search is not None:
            found.append(func.lower(image.prompt).contains(self.search.lower(), autoescape=True))
        if self.min_rating is not None:
            found.append(image.rating >= self.min_rating)
        if self.width is not None:
            found.append(image.width == self.width)
        if self.height is not None:
            found.append(image.height == self.height)
        if self.since is not None:
            found.append(image.created_at >= self.since)
        if self.until is not None:
            found.append(image.created_at < self.until)
        if self.is_favorite is not None:
            found.append(image.is_favorite.is_(self.is_favorite))
        return found


def page(
    connection: Connection, narrowed: ImageFilter, sort: ImageSort, *, limit: int, offset: int
) -> tuple[list[ImageRow], bool]:
    """One page of the pictures that are kept, and whether there are more behind it.

    Args:
        offset: at most `WINDOW`.
    """
    pks = list(connection.execute(_keys(narrowed, sort).limit(limit + 1).offset(offset)).scalars())
    shown = pks[:limit]
    statement = select(*_COLUMNS).where(GeneratedImage.pk.in_(shown))
    found = {row.pk: ImageRow(*row) for row in connection.execute(statement)}
    return [found[pk] for pk in shown if pk in found], len(pks) > limit


def _keys(narrowed: ImageFilter, sort: ImageSort) -> Select[int]:
    pk = GeneratedImage.pk
    by_time = pk.asc() if sort is ImageSort.OLDEST else pk.desc()
    walk = select(pk).where(_KEPT).order_by(by_time)
    if narrowed.is_empty and sort in (ImageSort.NEWEST, ImageSort.OLDEST):
        return walk
    window = walk.limit(WINDOW).subquery()
    orders: dict[ImageSort, ColumnElement[Any]] = {
        ImageSort.PROMPT: GeneratedImage.prompt.asc(),
        ImageSort.PROMPT_REVERSED: GeneratedImage.prompt.desc(),
        ImageSort.RATING: func.coalesce(GeneratedImage.rating, 0).desc(),
    }
    order = [orders[sort], by_time] if sort in orders else [by_time]
    return select(pk).join(window, window.c.pk == pk).where(*narrowed.conditions()).order_by(*order)


def by_ids(connection: Connection, ids: Sequence[str]) -> dict[str, ImageRow]:
    """The pictures of public ids, by id; those that are deleted or were never there are absent."""
    if not ids:
        return {}
    statement = select(*_COLUMNS).where(_KEPT, GeneratedImage.id.in_(ids))
    return {row.id: ImageRow(*row) for row in connection.execute(statement)}


def needed_among(connection: Connection, digests: Sequence[str]) -> set[str]:
    """Those of some digests whose bytes a picture that is kept needs."""
    image = GeneratedImage
    return set(connection.execute(select(image.sha256).where(_KEPT, image.sha256.in_(digests)).distinct()).scalars())


def deleted_among(connection: Connection, digests: Sequence[str]) -> set[str]:
    """Those of some digests that pictures have, all of which were deleted: their bytes are shown no more, though they
    may still lie there."""
    image = GeneratedImage
    known = set(connection.execute(select(image.sha256).where(image.sha256.in_(digests)).distinct()).scalars())
    return known - needed_among(connection, digests)
