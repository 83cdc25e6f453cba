"""The pixels of a picture that a stranger made: of few formats, bounded, and never an error of another kind.

Belongs here: the one place where Pillow decodes. Does not: format and size by the first bytes (`formats`).
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from warehouse.pictures.formats import UnknownPictureError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")
"""Pillow knows fifty more, and has some of them decoded by other programs."""
MAX_PIXELS: Final = 64_000_000


def pixels_of(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> "Image":
    """The picture as RGB; of one that moves the first frame.

    Raises:
        UnknownPictureError: it is none of these formats, has more pixels, or is broken. The message says what.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as opened:
            size = opened.width, opened.height
            if size[0] * size[1] <= max_pixels:
                return opened.convert("RGB")
    except Exception as error:
        # Its readers raise whatever a broken file makes them: OSError, ValueError, SyntaxError, EOFError, and more.
        raise UnknownPictureError(f"it cannot be decoded ({type(error).__name__}: {error})") from error
    raise UnknownPictureError(f"{size[0]} × {size[1]} pixels are too many")
