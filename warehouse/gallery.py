"""What a user does with generated pictures: rates, marks and deletes them. Each inside the caller's transaction.

A deleted picture's row stays, marked, for what was generated is history; its bytes go when no other row needs them.
Does not belong here: the bytes (`warehouse.pictures`), reading rows (`warehouse.queries.generated_images`).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from warehouse.audit import Actor
from warehouse.models import GeneratedImage, utc_now

_KEPT = GeneratedImage.deleted_at.is_(None)


def rate(connection: Connection, image_id: str, rating: int | None, actor: Actor) -> bool:
    """Rate a picture, 1..5, or take its rating away; whether there is such a one."""
    return _set(connection, [image_id], actor, rating=rating) == 1


def mark(connection: Connection, ids: Sequence[str], actor: Actor, *, is_favorite: bool) -> int:
    """Mark pictures, or take the mark away; how many there are of them."""
    return _set(connection, ids, actor, is_favorite=is_favorite)


def _set(connection: Connection, ids: Sequence[str], actor: Actor, **values: Any) -> int:
    values |= {"judged_by": actor.key_name, "judged_at": utc_now()}
    return connection.execute(update(GeneratedImage).where(_KEPT, GeneratedImage.id.in_(ids)).values(**values)).rowcount


def delete(connection: Connection, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Delete pictures.

    Returns:
        The ids of those that were there, and the digests of bytes that are needed no more: to be discarded from the
        store once this is committed.
    """
    image = GeneratedImage
    asked = select(image.sha256).where(_KEPT, image.id.in_(ids))
    # All who share the bytes are locked, in order: of two that delete the last two rows, one sees that it is the last.
    rows = connection.execute(
        select(image.id, image.sha256)
        .where(_KEPT, image.sha256.in_(asked))
        .order_by(image.pk)
        .with_for_update(of=image)
    ).all()
    wanted = set(ids)
    deleted = [row.id for row in rows if row.id in wanted]
    connection.execute(update(image).where(image.id.in_(deleted)).values(deleted_at=utc_now()))
    needed = {row.sha256 for row in rows if row.id not in wanted}
    return deleted, sorted({row.sha256 for row in rows} - needed)
