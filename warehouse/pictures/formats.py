"""Which format a picture has, by its bytes: a backend says PNG and sends JPEG.

Does not belong here: decoding. A header is read, never a pixel, so that no picture can be a bomb.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_START_OF_FRAME: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


class UnknownPictureError(ValueError):
    """Bytes that are no picture of a known format."""


class PictureFormat(StrEnum):
    """A format of pictures; its value is the extension of files."""

    PNG = "png"
    JPEG = "jpg"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        """As HTTP says it."""
        return {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}[self.value]


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the first bytes of a picture say."""

    format: PictureFormat
    width: int
    """Pixels; 0 where the header cannot be followed."""
    height: int


def sniff(data: bytes) -> Sniffed:
    """The format and size of a picture.

    Raises:
        UnknownPictureError: it is none that is known.
    """
    if data.startswith(_PNG) and len(data) >= 24:
        return Sniffed(PictureFormat.PNG, *struct.unpack(">II", data[16:24]))
    if data.startswith(b"\xff\xd8\xff"):
        return Sniffed(PictureFormat.JPEG, *_jpeg_size(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Sniffed(PictureFormat.WEBP, *_webp_size(data))
    raise UnknownPictureError("the bytes are neither PNG, JPEG nor WebP")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the first frame header; markers are walked by their lengths."""
    position = 2
    while position + 9 < len(data):
        if data[position] != 0xFF:
            return 0, 0
        marker = data[position + 1]
        if marker == 0xFF:  # padding before a marker
            position += 1
            continue
        if marker in _START_OF_FRAME:
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return width, height
        if 0xD0 <= marker <= 0xD8 or marker == 0x01:  # markers without a length
            position += 2
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
