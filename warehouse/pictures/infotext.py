"""The infotext: what a picture was made of, in the text that A1111 invented and every tool reads.

Belongs here: composing the text, and writing it into a copy of a picture (PNG chunk `parameters`, EXIF UserComment of
JPEG and WebP). Does not: reading infotexts of others.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from warehouse.pictures.formats import PictureFormat, UnknownPictureError, sniff

_EXIF_IFD: Final = 0x8769
_USER_COMMENT: Final = 0x9286
_NEEDS_QUOTES: Final = (",", ":", "\n", '"')
_FACTS: Final = (
    ("Steps", "steps"),
    ("Sampler", "sampler_name"),
    ("Schedule type", "scheduler"),
    ("CFG scale", "cfg_scale"),
    ("Seed", "seed"),
    ("Size", "size"),
    ("Model", "model"),
    ("Denoising strength", "denoising_strength"),
    ("Clip skip", "clip_skip"),
)
"""(as the text names it, as parameters do), in the order that A1111 writes."""


@dataclass(frozen=True, slots=True)
class Infotext:
    """What a picture was made of."""

    prompt: str
    negative_prompt: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Parameters by their usual names; those that are absent or None are left out."""
    adapters: Sequence[tuple[str, str]] = ()
    """(name, id) of the adapters that were used."""

    def text(self) -> str:
        """The text: prompt, negative prompt, one line of facts."""
        lines = [self.prompt]
        if self.negative_prompt:
            lines.append(f"Negative prompt: {self.negative_prompt}")
        facts = [f"{label}: {_quoted(self.facts[key])}" for label, key in _FACTS if self.facts.get(key) is not None]
        if self.adapters:
            facts.append(f"LoRA ids: {_quoted(', '.join(f'{name}: {key}' for name, key in self.adapters))}")
        facts.append("Version: LoRA Manager")
        lines.append(", ".join(facts))
        return "\n".join(lines)


def _quoted(value: Any) -> str:
    """A value as the line of facts can hold it: one that holds its separators stands in quotes, as JSON."""
    text = str(value)
    return msgspec.json.encode(text).decode() if any(mark in text for mark in _NEEDS_QUOTES) else text


def with_infotext(data: bytes, text: str) -> bytes:
    """A copy of a picture that carries a text, its pixels untouched.

    Raises:
        UnknownPictureError: the bytes are no picture, or its header says no size.
    """
    found = sniff(data)
    if found.format is PictureFormat.PNG:
        return _in_png(data, text)
    if found.format is PictureFormat.JPEG:
        return _in_jpeg(data, _exif(text))
    if not found.width or not found.height:
        raise UnknownPictureError("the header of the WebP says no size")
    return _in_webp(data, _exif(text), found.width, found.height)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _in_png(data: bytes, text: str) -> bytes:
    """Behind the header, in place of any text of that name: as tEXt where Latin-1 can say it, else as iTXt."""
    parts = [data[:8]]
    position = 8
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        body = data[position + 8 : position + 8 + length]
        if not (kind in (b"tEXt", b"iTXt", b"zTXt") and body.startswith(b"parameters\0")):
            parts.append(data[position:end])
        if kind == b"IHDR":
            parts.append(_text_chunk(text))
        position = end
    return b"".join(parts)


def _text_chunk(text: str) -> bytes:
    try:
        return _chunk(b"tEXt", b"parameters\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return _chunk(b"iTXt", b"parameters\0\0\0\0\0" + text.encode("utf-8", "replace"))


def _exif(text: str) -> bytes:
    """EXIF with a UserComment alone."""
    from PIL import Image

    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be", "surrogatepass")
    return exif.tobytes()


def _in_jpeg(data: bytes, exif: bytes) -> bytes:
    """As the first segment, in place of an EXIF segment that is there; a text beyond a segment's 64 KB is cut off."""
    parts = [data[:2]]
    if len(exif) + 2 <= 0xFFFF:
        parts.append(b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif)
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and 0xE0 <= data[position + 1] <= 0xEF:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        is_exif = data[position + 1] == 0xE1 and data[position + 4 : position + 10] == b"Exif\0\0"
        if not is_exif:
            parts.append(data[position:end])
        position = end
    return b"".join([*parts, data[position:]])


def _in_webp(data: bytes, exif: bytes, width: int, height: int) -> bytes:
    """As an EXIF chunk at the end, with the extended header that announces it."""
    chunks: list[tuple[bytes, bytes]] = []
    position = 12
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        chunks.append((data[position : position + 4], data[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    body = dict(chunks).get(b"VP8X")
    flags = (body[0] if body else 0x10 if any(kind == b"VP8L" for kind, _ in chunks) else 0) | 0x08
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    kept = [(kind, part) for kind, part in chunks if kind not in (b"VP8X", b"EXIF")]
    parts = [(b"VP8X", bytes([flags, 0, 0, 0]) + size), *kept, (b"EXIF", exif.removeprefix(b"Exif\0\0"))]
    encoded = b"".join(
        kind + len(part).to_bytes(4, "little") + part + (b"\0" if len(part) % 2 else b"") for kind, part in parts
    )
    return b"RIFF" + (len(encoded) + 4).to_bytes(4, "little") + b"WEBP" + encoded
