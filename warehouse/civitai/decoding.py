"""Bytes to JSON values: encoding, size and depth limits, and refusals that say what, where and what to do.

What belongs here: everything about a document that can be judged before its keys are looked at.
"""

import json
import re
from typing import Any, NoReturn

import msgspec

from warehouse.civitai.verdicts import ReasonCode

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
"""The largest real document seen is below 1 MiB; beyond this a file is not metadata."""

_UTF8_BOM = b"\xef\xbb\xbf"
_BOMS = (
    (b"\xff\xfe\x00\x00", ReasonCode.UTF32, "UTF-32 (little endian)"),
    (b"\x00\x00\xfe\xff", ReasonCode.UTF32, "UTF-32 (big endian)"),
    (b"\xff\xfe", ReasonCode.UTF16, "UTF-16 (little endian)"),
    (b"\xfe\xff", ReasonCode.UTF16, "UTF-16 (big endian)"),
)
_NOT_A_NUMBER = re.compile(r"[:\[,]\s*(-?Infinity|NaN)\b|\A\s*(-?Infinity|NaN)\b")
_BAD_CHARACTERS = re.compile("[\x00\ud800-\udfff]")
_ESCAPED_BAD = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Refusal(Exception):  # noqa: N818 - a verdict about a document, not a fault of the program
    """A document that cannot be used; `code` is the typed reason and the message the sentence for people."""

    def __init__(self, code: ReasonCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode(raw: bytes, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> tuple[Any, bool]:
    """The JSON value of a document, and whether characters that no database stores had to be replaced.

    Accepts UTF-8 with or without a byte order mark and tolerates repeated keys (the last one counts).
    Raises `Refusal` with a typed reason for everything else.
    """
    if len(raw) > max_bytes:
        raise Refusal(
            ReasonCode.TOO_LARGE,
            f"The document has {len(raw):,} bytes; at most {max_bytes:,} are read. Metadata is never that large: "
            "check that this is not an export of a whole site, and split it into one file per model.",
        )
    body = raw[3:] if raw.startswith(_UTF8_BOM) else raw
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The fast decoder has one kind of error for everything: the slow path names the reason.
        return _decode_slowly(raw, body)
    if _ESCAPED_BAD.search(body):
        return _scrub(value)
    return value, False


def _decode_slowly(raw: bytes, body: bytes) -> tuple[Any, bool]:
    _refuse_other_formats(raw, body)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Refusal(
            ReasonCode.NOT_UTF8,
            f"Byte 0x{body[error.start]:02x} at offset {error.start} (line {line}) is not UTF-8. "
            "Save the file again with the encoding UTF-8.",
        ) from None
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    except _NotFiniteError as error:
        raise _not_finite(text, str(error)) from None
    except json.JSONDecodeError as error:
        raise Refusal(
            ReasonCode.NOT_JSON,
            f"Not valid JSON at line {error.lineno}, column {error.colno} (offset {error.pos}): "
            f"{error.msg.removesuffix(' starting at')}. "
            "Repair the line, or delete the file and let the tool that wrote it fetch it again.",
        ) from None
    except ValueError as error:
        raise Refusal(ReasonCode.NUMBER_OUT_OF_RANGE, f"A number cannot be read: {error}.") from None
    return _scrub(value)


def _refuse_other_formats(raw: bytes, body: bytes) -> None:
    for mark, code, name in _BOMS:
        if raw.startswith(mark):
            raise Refusal(
                code, f"The file is encoded as {name}; metadata is UTF-8. Save it again with the encoding UTF-8."
            )
    start = body[:512].strip()
    if not body.strip():
        raise Refusal(ReasonCode.EMPTY_FILE, "The file is empty. Delete it, or fetch the metadata again.")
    if not body.strip(b"\x00"):
        raise Refusal(
            ReasonCode.EMPTY_FILE,
            "The file holds only zero bytes, as after an interrupted write. Delete it, or fetch the metadata again.",
        )
    if start[:4].count(b"\x00") == 2 and start[:1] in (b"{", b"\x00"):
        raise Refusal(
            ReasonCode.UTF16,
            "The file is encoded as UTF-16 without a byte order mark; metadata is UTF-8. "
            "Save it again with the encoding UTF-8.",
        )
    if start[:9].lower() == b"<!doctype" or start[:5].lower() == b"<html":
        raise Refusal(
            ReasonCode.HTML_PAGE,
            "The file is an HTML page, probably an error page saved in place of the answer. Fetch the metadata again.",
        )
    if start.startswith(b"version https://git-lfs"):
        raise Refusal(
            ReasonCode.GIT_LFS_POINTER,
            "The file is a Git LFS pointer, not the document itself. Run `git lfs pull` in its repository.",
        )


class _NotFiniteError(Exception):
    pass


def _refuse_constant(literal: str) -> NoReturn:
    raise _NotFiniteError(literal)


def _finite(literal: str) -> float:
    value = float(literal)
    if value in (float("inf"), float("-inf")):
        raise _NotFiniteError(literal)
    return value


def _not_finite(text: str, literal: str) -> Refusal:
    if literal in ("NaN", "Infinity", "-Infinity"):
        found = _NOT_A_NUMBER.search(text)
        where = f" at line {text.count(chr(10), 0, found.start()) + 1} (offset {found.start()})" if found else ""
        return Refusal(
            ReasonCode.NOT_A_NUMBER,
            f"{literal}{where} is not JSON. Replace it by null or a number.",
        )
    return Refusal(
        ReasonCode.NUMBER_OUT_OF_RANGE,
        f"The number {literal[:40]} is beyond what a double can hold. Replace it by null or a smaller number.",
    )


def _too_deep() -> Refusal:
    return Refusal(
        ReasonCode.TOO_DEEP,
        "Objects or lists are nested far deeper than any metadata is (hundreds of levels): the file is damaged or "
        "hostile. Delete it, or fetch the metadata again.",
    )


def _scrub(value: Any) -> tuple[Any, bool]:
    """The value without NUL characters and lone surrogates, which no database stores; and whether there were any."""
    changed = False

    def clean(text: str) -> str:
        nonlocal changed
        replaced = _BAD_CHARACTERS.sub(lambda found: "" if found[0] == "\x00" else _REPLACEMENT, text)
        changed = changed or replaced != text
        return replaced

    def walk(node: Any) -> Any:
        if isinstance(node, str):
            return clean(node)
        if isinstance(node, list):
            return [walk(item) for item in node]
        if isinstance(node, dict):
            return {clean(key): walk(item) for key, item in node.items()}
        return node

    try:
        return walk(value), changed
    except RecursionError:
        raise _too_deep() from None
