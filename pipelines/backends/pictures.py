"""Pictures on their way from a target into the warehouse, and the small ones that are shown meanwhile.

Belongs here: decoding, keeping, shrinking. Does not: where pictures are kept (`warehouse.pictures`).
"""

import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from warehouse.models.base import JsonObject
from warehouse.pictures import PictureStore, UnknownPictureError, sniff
from warehouse.pictures.decoding import pixels_of

PREVIEW_BYTES: Final = 24 * 1024
"""Of a preview: it is stored with the event that tells of it, and sent to everyone who watches."""
PREVIEW_SECONDS: Final = 2.0
"""Between two previews of a job."""
_PREVIEW_SIDES: Final = (256, 128, 64)
_MAX_PIXELS: Final = 2**26
"""Of a picture that is made smaller; a larger one is a bomb, or takes too long."""


@dataclass(frozen=True, slots=True)
class Made:
    """A picture that a target made."""

    data: bytes
    seed: int | None = None
    infotext: str | None = None


def decoded(text: str) -> bytes:
    """The bytes of a picture in base64, with or without the head of a data URL.

    Raises:
        UnknownPictureError: it is no base64.
    """
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnknownPictureError("the text is no base64") from error


def keep(store: PictureStore, pictures: Sequence[Made]) -> list[JsonObject]:
    """Keep pictures, and what a result says of each. Writes to disk: not for an event loop.

    Raises:
        UnknownPictureError: one of them is no picture.
        OSError: they cannot be written.
    """
    return [
        {
            "sha256": kept.sha256,
            "format": kept.format.value,
            "width": kept.width,
            "height": kept.height,
            "size": kept.size,
            "seed": made.seed,
            "infotext": made.infotext,
        }
        for made, kept in ((made, store.put(made.data)) for made in pictures)
    ]


def small(data: bytes) -> str | None:
    """A picture as a preview in base64, made smaller where it must; None where it cannot be. Computes: not for an
    event loop."""
    try:
        found = sniff(data)
    except UnknownPictureError:
        return None
    if len(data) <= PREVIEW_BYTES:
        return base64.b64encode(data).decode()
    if found.width * found.height > _MAX_PIXELS:
        return None
    try:
        # Where the first bytes told no size, the decoder does.
        picture = pixels_of(data, max_pixels=_MAX_PIXELS)
    except UnknownPictureError:
        return None
    for side in _PREVIEW_SIDES:
        picture.thumbnail((side, side))
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=75)
        if stream.tell() <= PREVIEW_BYTES:
            return base64.b64encode(stream.getvalue()).decode()
    return None
