"""Preview pictures drawn by code: a landscape of three colours as PNG, a plain field as WebP.

Belongs here: the bytes of the two formats. Does not: which adapter gets which (`library`).
"""

from __future__ import annotations

import struct
import zlib
from random import Random

from warehouse.samples.vocabulary import Colour, Theme

_WIDTH, _HEIGHT = 96, 128


def landscape(random: Random, theme: Theme) -> bytes:
    """A PNG of 96 × 128 pixels: a graded sky, a sun or moon, and ground, in the theme's colours."""
    sky, ground, light = theme.palette
    horizon = random.randint(72, 100)
    radius = random.randint(9, 20)
    centre_x, centre_y = random.randint(20, 76), random.randint(20, 62)
    rows = bytearray()
    for y in range(_HEIGHT):
        colour = _blend(sky, light, y / horizon * 0.5) if y < horizon else _blend(ground, sky, (y - horizon) / 90)
        row = bytearray(bytes(colour) * _WIDTH)
        inside = radius * radius - (y - centre_y) ** 2
        if inside >= 0 and y < horizon:
            half = int(inside**0.5)
            left, right = max(0, centre_x - half), min(_WIDTH, centre_x + half + 1)
            row[3 * left : 3 * right] = bytes(light) * (right - left)
        rows += b"\x00" + row
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(rows), 6)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def field(theme: Theme) -> bytes:
    """A lossless WebP of 96 × 128 pixels in one colour.

    Each of the five prefix codes has a single symbol, which takes no bits: the picture is its header
    (RFC 9649, section 3).
    """
    red, green, blue = _blend(theme.palette[0], theme.palette[2], 0.4)
    bits: list[tuple[int, int]] = [(_WIDTH - 1, 14), (_HEIGHT - 1, 14), (0, 1), (0, 3)]
    bits += [(0, 1), (0, 1), (0, 1)]  # no transform, no colour cache, one group of codes
    for symbol in (green, red, blue, 255):
        bits += [(1, 1), (0, 1), (1, 1), (symbol, 8)]  # simple code, one symbol, of eight bits
    bits += [(1, 1), (0, 1), (0, 1), (0, 1)]  # distances: one symbol, of one bit
    value = position = 0
    for number, width in bits:
        value |= number << position
        position += width
    data = b"\x2f" + value.to_bytes((position + 7) // 8, "little")
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data + b"\x00" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _blend(first: Colour, second: Colour, share: float) -> Colour:
    share = min(max(share, 0.0), 1.0)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
